# SPDX-License-Identifier: Apache-2.0
"""Reading a FlatBuffer from an untrusted file: every offset and length is checked before it is followed.

The format is described at https://flatbuffers.dev/internals. The generated Python classes follow any offset, also a
negative one or one beyond the file, which is why they are not used here.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Vectors may be shared, but a file in which the vectors add up to many times its size was made to fill the memory.
_SHARING_FACTOR = 8
_SHARING_FLOOR_BYTES = 1 << 16


class FlatBufferError(Exception):
    """An offset or a length points outside the file; the message says which and where."""


class FlatBuffer:
    """The bytes of a file and the bounds-checked access to them.

    Args:
        data: the whole file.

    Raises:
        FlatBufferError: from every method, when the file would have to be read outside its bounds.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._budget_bytes = max(_SHARING_FACTOR * len(data), _SHARING_FLOOR_BYTES)

    def check(self, position: int, length: int, what: str) -> None:
        """Raise unless ``length`` bytes from ``position`` on lie in the file."""
        if position < 0 or length < 0 or position + length > len(self.data):
            raise FlatBufferError(
                f"{what} at byte {position} with {length} bytes leaves the {len(self.data)}-byte file"
            )

    def spend(self, length: int, what: str) -> None:
        """Account for ``length`` bytes about to be read: no more than a few times the file may be."""
        self._budget_bytes -= length
        if self._budget_bytes < 0:
            raise FlatBufferError(
                f"{what} and the vectors before it add up to far more than the {len(self.data)}-byte file"
            )

    def u16(self, position: int, what: str) -> int:
        """The unsigned 16-bit number at ``position``."""
        self.check(position, 2, what)
        return int.from_bytes(self.data[position : position + 2], "little")

    def u32(self, position: int, what: str) -> int:
        """The unsigned 32-bit number at ``position``."""
        self.check(position, 4, what)
        return int.from_bytes(self.data[position : position + 4], "little")

    def root(self) -> Table:
        """The root table."""
        return Table(self, self.u32(0, "the root table"), "the root table")


class Table:
    """One table of the file. A slot is the number of a field in the schema, counted from 0.

    Args:
        buffer: the file.
        position: where the table starts.
        what: how messages call it.
    """

    def __init__(self, buffer: FlatBuffer, position: int, what: str) -> None:
        buffer.check(position, 4, what)
        (back,) = struct.unpack_from("<i", buffer.data, position)
        vtable = position - back
        size = buffer.u16(vtable, f"the vtable of {what}")
        if size < 4 or size % 2:
            raise FlatBufferError(f"the vtable of {what} says it has {size} bytes")
        buffer.check(vtable, size, f"the vtable of {what}")
        # A table takes at least its own 4 bytes, so that a vector of offsets to one and the same table is paid for.
        buffer.spend(4, what)
        self._buffer = buffer
        self._position = position
        self._vtable = vtable
        self._slots = (size - 4) // 2
        self._what = what

    def _field(self, slot: int) -> int:
        """Where the field lies, or 0 when the file leaves it out."""
        if slot >= self._slots:
            return 0
        offset = self._buffer.u16(self._vtable + 4 + 2 * slot, f"field {slot} of {self._what}")
        return self._position + offset if offset else 0

    def scalar(self, slot: int, code: str, default: int) -> int:
        """An integer field; ``code`` is the letter of the `struct` module."""
        return int(self._scalar(slot, code, default))

    def real(self, slot: int, default: float) -> float:
        """A float32 field; may be infinite or not a number."""
        return self._scalar(slot, "f", default)

    def _scalar(self, slot: int, code: str, default: float) -> float:
        position = self._field(slot)
        if not position:
            return default
        self._buffer.check(position, struct.calcsize("<" + code), f"field {slot} of {self._what}")
        value: float = struct.unpack_from("<" + code, self._buffer.data, position)[0]
        return value

    def _target(self, slot: int) -> int:
        position = self._field(slot)
        if not position:
            return 0
        return position + self._buffer.u32(position, f"field {slot} of {self._what}")

    def _vector(self, slot: int, item_bytes: int) -> tuple[int, int] | None:
        """Start and number of items of a vector field, both checked, or None when the file leaves it out."""
        position = self._target(slot)
        if not position:
            return None
        what = f"vector {slot} of {self._what}"
        count = self._buffer.u32(position, what)
        self._buffer.check(position + 4, count * item_bytes, what)
        self._buffer.spend(count * item_bytes, what)
        return position + 4, count

    def table(self, slot: int, what: str) -> Table | None:
        """A sub-table, or None."""
        position = self._target(slot)
        return Table(self._buffer, position, what) if position else None

    def tables(self, slot: int, what: str) -> tuple[Table, ...]:
        """A vector of tables; ``what`` gets the index appended ("tensor" gives "tensor 3")."""
        vector = self._vector(slot, 4)
        if vector is None:
            return ()
        start, count = vector
        return tuple(
            Table(self._buffer, start + 4 * i + self._buffer.u32(start + 4 * i, what), f"{what} {i}")
            for i in range(count)
        )

    def octets(self, slot: int) -> bytes:
        """A vector of bytes or a string, without its terminating zero; empty when the file leaves it out."""
        vector = self._vector(slot, 1)
        if vector is None:
            return b""
        start, count = vector
        return self._buffer.data[start : start + count]

    def outside(self, start: int, count: int) -> bytes:
        """Bytes at an absolute position of the file, where files too large for a flatbuffer keep their data."""
        what = f"data of {self._what}"
        self._buffer.check(start, count, what)
        self._buffer.spend(count, what)
        return self._buffer.data[start : start + count]

    def numbers(self, slot: int, dtype: str) -> NDArray[Any]:
        """A vector of numbers as a new array; ``dtype`` is numpy's, little-endian ("<i4"). Empty when left out."""
        vector = self._vector(slot, np.dtype(dtype).itemsize)
        if vector is None:
            return np.empty(0, dtype)
        start, count = vector
        return np.frombuffer(self._buffer.data, dtype, count, start).copy()
