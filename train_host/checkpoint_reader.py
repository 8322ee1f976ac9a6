# SPDX-License-Identifier: Apache-2.0
"""Reads the tensors of a PyTorch .pth file without PyTorch and without running anything that the file says.

A .pth file is a pickle, and a pickle is a program: loading one from a stranger can run any command. This reader does
not use `pickle` at all. It interprets the thirty-odd opcodes that a state dict needs, knows four kinds of global
(ordered dict, tensor, parameter, typed storage), and refuses every other opcode and name.

Formats: the legacy one (five pickles, then the raw storages; PyTorch before 1.6) and the zip one (``data.pkl`` beside
one member per storage).
"""

from __future__ import annotations

import io
import math
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError

MAX_FILE_BYTES = 1 << 30
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

Tensor = NDArray[Any]

# Little-endian on disk, whatever the machine.
_STORAGE_TYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_CALLABLES = {
    "collections OrderedDict": "dict",
    "torch._utils _rebuild_tensor_v2": "tensor",
    "torch._utils _rebuild_parameter": "parameter",
}


class CheckpointError(LitesightError):
    """The file is no state dict that can be read safely."""


@dataclass(frozen=True)
class _Callable:
    """A global that REDUCE may apply."""

    kind: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _TensorView:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_MARK = object()


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Every tensor of a state dict.

    Args:
        path: a .pth file in the legacy or the zip format. A dict with a "state_dict" entry is followed into it.

    Returns:
        Name → array, in the order of the file, in the file's own dtypes; copies, so nothing of the file stays mapped.

    Raises:
        CheckpointError: the file cannot be read, is malformed, or holds anything else than tensors.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise CheckpointError(f"{path}: expected a checkpoint of at most {MAX_FILE_BYTES} bytes, found {size}")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return parse_checkpoint(data)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path}: {error.message}", hint="fetch the file again, from a source you trust"
        ) from error


def parse_checkpoint(data: bytes) -> dict[str, Tensor]:
    """`read_checkpoint` for bytes already in memory."""
    try:
        with warnings.catch_warnings():
            # pickletools warns of a stray backslash in a name, which is then refused as unknown.
            warnings.simplefilter("ignore", DeprecationWarning)
            return _parse_zip(data) if data[:4] == b"PK\x03\x04" else _parse_legacy(data)
    except CheckpointError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, EOFError) as error:
        # What pickletools, zipfile and struct raise on a malformed argument.
        raise CheckpointError(f"malformed checkpoint: {error}") from error


def _parse_legacy(data: bytes) -> dict[str, Tensor]:
    stream = io.BytesIO(data)
    if _unpickle(stream) != LEGACY_MAGIC:
        raise CheckpointError("not a PyTorch checkpoint: wrong magic number")
    protocol = _unpickle(stream)
    if protocol != LEGACY_PROTOCOL:
        raise CheckpointError(f"expected legacy protocol {LEGACY_PROTOCOL}, found {protocol!r}")
    system = _unpickle(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError("expected a little-endian checkpoint")
    storages: dict[str, _Storage] = {}
    tree = _unpickle(stream, storages)
    keys = _unpickle(stream)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("the list of storages is malformed")
    buffers: dict[str, Tensor] = {}
    for key in keys:
        if key not in storages or key in buffers:
            raise CheckpointError(f"storage {key!r} is unknown or stored twice")
        storage = storages[key]
        count = int.from_bytes(_read(stream, 8), "little")
        if count != storage.count:
            raise CheckpointError(f"storage {key!r}: expected {storage.count} elements, found {count}")
        raw = _read(stream, count * storage.dtype.itemsize)
        buffers[key] = np.frombuffer(raw, storage.dtype)
    if stream.read(1):
        raise CheckpointError("unexpected bytes after the last storage")
    return _tensors(tree, buffers)


def _parse_zip(data: bytes) -> dict[str, Tensor]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl" and name.count("/") <= 1]
        if len(pickles) != 1:
            raise CheckpointError(f"expected one data.pkl in the archive, found {len(pickles)}")
        root = pickles[0].removesuffix("data.pkl")

        def read(name: str) -> bytes:
            info = members.get(name)
            if info is None:
                raise CheckpointError(f"{name!r} is missing in the archive")
            # torch.save stores; a compressed member could unpack to any size.
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data):
                raise CheckpointError(f"{name!r}: expected a stored, not a compressed, member")
            return archive.read(info)

        if root + "byteorder" in members and read(root + "byteorder") != b"little":
            raise CheckpointError("expected a little-endian checkpoint")
        storages: dict[str, _Storage] = {}
        tree = _unpickle(io.BytesIO(read(pickles[0])), storages)
        buffers: dict[str, Tensor] = {}
        for key, storage in storages.items():
            raw = read(f"{root}data/{key}")
            if len(raw) != storage.count * storage.dtype.itemsize:
                expected = storage.count * storage.dtype.itemsize
                raise CheckpointError(f"storage {key!r}: expected {expected} bytes, found {len(raw)}")
            buffers[key] = np.frombuffer(raw, storage.dtype)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        # zipfile raises RuntimeError for encrypted members.
        raise CheckpointError(f"malformed archive: {error}") from error
    return _tensors(tree, buffers)


def _read(stream: io.BytesIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise CheckpointError(f"truncated: expected {count} more bytes, found {len(data)}")
    return data


def _tensors(tree: object, buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(tree, dict) and isinstance(tree.get("state_dict"), dict):
        tree = tree["state_dict"]
    if not isinstance(tree, dict):
        raise CheckpointError(f"expected a dict of tensors, found {type(tree).__name__}")
    result: dict[str, Tensor] = {}
    # Tied weights share a storage, but thousands of views of one would fill the memory.
    allowed = 4 * sum(buffer.nbytes for buffer in buffers.values())
    total = 0
    for name, view in tree.items():
        if not isinstance(name, str) or not isinstance(view, _TensorView):
            raise CheckpointError(f"expected a tensor at {name!r}, found {type(view).__name__}")
        if view.storage.key not in buffers:
            raise CheckpointError(f"{name}: storage {view.storage.key!r} is missing")
        total += math.prod(view.shape) * view.storage.dtype.itemsize
        if total > allowed:
            raise CheckpointError(f"the tensors take more than {allowed} bytes, four times what the file stores")
        result[name] = _gather(buffers[view.storage.key], view)
    return result


def _gather(buffer: Tensor, view: _TensorView) -> Tensor:
    flat = buffer[view.offset :]
    strides = tuple(step * buffer.dtype.itemsize for step in view.strides)
    # `_tensor` has checked that every element lies inside the storage.
    return np.array(np.lib.stride_tricks.as_strided(flat, view.shape, strides, writeable=False))


def _unpickle(stream: io.BytesIO, storages: dict[str, _Storage] | None = None) -> Any:
    """Interprets one pickle from the stream; ``storages`` collects what it refers to."""
    machine = _Machine({} if storages is None else storages)
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "STOP":
            return machine.pop()
        step = _STEPS.get(opcode.name)
        if step is None:
            raise CheckpointError(f"refused: pickle instruction {opcode.name} has no place among tensors")
        step(machine, argument)
    raise CheckpointError("truncated pickle")


class _Machine:
    """The stack and memo of one pickle."""

    def __init__(self, storages: dict[str, _Storage]) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages = storages

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise CheckpointError("malformed pickle: the stack is empty")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while self.stack:
            item = self.stack.pop()
            if item is _MARK:
                return items[::-1]
            items.append(item)
        raise CheckpointError("malformed pickle: no mark on the stack")

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise CheckpointError(f"malformed pickle: expected a {kind.__name__} on the stack")
        return self.stack[-1]


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return step


def _set_items(machine: _Machine, items: list[Any]) -> None:
    target = machine.top(dict)
    if len(items) % 2:
        raise CheckpointError("malformed pickle: a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | int):
            raise CheckpointError(f"expected names as keys, found {type(key).__name__}")
        target[key] = value


def _set_item(machine: _Machine, _: Any) -> None:
    value = machine.pop()
    key = machine.pop()
    _set_items(machine, [key, value])


def _append(machine: _Machine, items: list[Any]) -> None:
    machine.top(list).extend(items)


def _put(machine: _Machine, index: int | None) -> None:
    if not machine.stack or machine.stack[-1] is _MARK:
        raise CheckpointError("malformed pickle: nothing to remember")
    machine.memo[len(machine.memo) if index is None else index] = machine.stack[-1]


def _get(machine: _Machine, index: int) -> None:
    if index not in machine.memo:
        raise CheckpointError(f"malformed pickle: memo {index} was never set")
    machine.stack.append(machine.memo[index])


def _global(machine: _Machine, name: str) -> None:
    module, _, attribute = name.partition(" ")
    if name in _CALLABLES:
        machine.stack.append(_Callable(_CALLABLES[name]))
    elif module == "torch" and attribute in _STORAGE_TYPES:
        machine.stack.append(_STORAGE_TYPES[attribute])
    else:
        raise CheckpointError(f"refused: the file asks for {module}.{attribute}, which is no tensor")


def _stack_global(machine: _Machine, _: Any) -> None:
    attribute, module = machine.pop(), machine.pop()
    if not isinstance(attribute, str) or not isinstance(module, str):
        raise CheckpointError("malformed pickle: a global needs two names")
    _global(machine, f"{module} {attribute}")


def _persistent(machine: _Machine, _: Any) -> None:
    # ("storage", type, key, device, element count[, view]); views were dropped before protocol 1001 became usual.
    match machine.pop():
        case ("storage", np.dtype() as dtype, str() as key, str(), int() as count, *rest) if rest in ([], [None]):
            pass
        case _:
            raise CheckpointError("malformed reference to a storage")
    if not 0 <= count <= MAX_FILE_BYTES:
        raise CheckpointError(f"storage {key!r}: expected a sensible element count, found {count}")
    storage = _Storage(key, dtype, count)
    if machine.storages.setdefault(key, storage) != storage:
        raise CheckpointError(f"storage {key!r} is described twice, differently")
    machine.stack.append(storage)


def _reduce(machine: _Machine, _: Any) -> None:
    arguments, function = machine.pop(), machine.pop()
    if not isinstance(function, _Callable) or not isinstance(arguments, tuple):
        raise CheckpointError("refused: the file calls something that is no tensor constructor")
    if function.kind == "dict" and arguments == ():
        machine.stack.append({})
    elif function.kind == "tensor":
        machine.stack.append(_tensor(arguments))
    elif function.kind == "parameter" and arguments and isinstance(arguments[0], _TensorView):
        machine.stack.append(arguments[0])
    else:
        raise CheckpointError(f"malformed {function.kind}")


def _tensor(arguments: tuple[Any, ...]) -> _TensorView:
    match arguments:
        case (_Storage() as storage, int() as offset, tuple() as shape, tuple() as strides, *_):
            pass
        case _:
            raise CheckpointError("malformed tensor")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or len(shape) > 8 or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise CheckpointError(f"malformed tensor: shape {shape}, strides {strides}, offset {offset}")
    count = math.prod(shape)
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    # The first bound keeps stride 0 from turning one element into a gigabyte.
    if count > storage.count or (count > 0 and last >= storage.count) or offset > storage.count:
        raise CheckpointError(f"tensor of shape {shape} reaches beyond its storage of {storage.count} elements")
    return _TensorView(storage, offset, shape, strides if count else (0,) * len(shape))


def _build(machine: _Machine, _: Any) -> None:
    # PyTorch hangs version numbers on its dict; nothing here needs them.
    machine.pop()
    machine.top(dict)


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, argument: None,
    "FRAME": lambda machine, argument: None,
    "MARK": lambda machine, argument: machine.stack.append(_MARK),
    "NONE": lambda machine, argument: machine.stack.append(None),
    "NEWTRUE": lambda machine, argument: machine.stack.append(True),
    "NEWFALSE": lambda machine, argument: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, argument: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, argument: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, argument: machine.stack.append(()),
    "TUPLE": lambda machine, argument: machine.stack.append(tuple(machine.pop_to_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, argument: _set_items(machine, machine.pop_to_mark()),
    "APPEND": lambda machine, argument: _append(machine, [machine.pop()]),
    "APPENDS": lambda machine, argument: _append(machine, machine.pop_to_mark()),
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "BINPERSID": _persistent,
    "REDUCE": _reduce,
    "BUILD": _build,
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"), _push),
}
