# SPDX-License-Identifier: Apache-2.0
"""A frame, and what every source of frames has in common."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from device.errors import LitesightError
from device.preprocess import PixelFormat

_KEPT_ARRAYS: Final = 6
"""One is filled, two wait for the network, one is in it, one waits to be told, one is told."""


class SourceError(LitesightError):
    """A source that is missing, unreadable or holds no picture."""


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        pixels: uint8, as ``format`` describes it; the receiver's, until it hands the frame back to its source.
        name: the photo's path, or the source's name and the frame's number.
        index: counts the frames of the source from 0.
        captured_at: ``time.monotonic()`` in seconds when the picture was taken or, where nobody knows, delivered.
        format: RGB888 of photos; cameras and videos deliver what costs them nothing, such as BGR888.
    """

    pixels: NDArray[np.uint8]
    name: str
    index: int
    captured_at: float
    format: PixelFormat = PixelFormat.RGB888


class Source(Protocol):
    """Frames in order; opened on construction, closed at the end of the ``with`` block.

    Attributes:
        name: for messages.
        live: a camera: it never ends, and frames that are not fetched are lost.
        total: how many frames there will be; None if nobody knows.
    """

    name: str
    live: bool
    total: int | None

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...
    def recycle(self, frame: Frame) -> None:
        """Take a frame back whose pixels nobody looks at any more; its memory may be used for a later one."""
        ...

    def close(self) -> None:
        """Give the device or file back; again does no harm."""
        ...


def opencv_format(pixels: NDArray[Any], name: str) -> PixelFormat:
    """How to read what ``cv2.VideoCapture`` delivers: BGR, or grey from some cameras.

    Raises:
        SourceError: another layout, which a driver delivers when OpenCV does not know its format.
    """
    if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
        return PixelFormat.BGR888
    if pixels.dtype == np.uint8 and pixels.ndim == 2:
        return PixelFormat.GREY8
    raise SourceError(f"{name}: expected 8-bit colour or grey pictures, found {pixels.dtype} {pixels.shape}")


class FrameMemory:
    """Arrays that came back from whoever looked at them, to be filled again. Any thread may give and take."""

    def __init__(self) -> None:
        self._free: deque[NDArray[Any]] = deque(maxlen=_KEPT_ARRAYS)
        self._lock = threading.Lock()

    def take(self) -> NDArray[Any] | None:
        """An array with whatever its last use left in it; None if there is none: whoever fills it makes one."""
        with self._lock:
            return self._free.pop() if self._free else None

    def take_shaped(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of this shape, new if there is none."""
        while (array := self.take()) is not None:
            if array.shape == shape and array.dtype == dtype:
                return array
        return np.empty(shape, dtype)

    def give(self, array: NDArray[Any]) -> None:
        """Take an array back; a second time does no harm, and what is a view of another is not taken."""
        with self._lock:
            if array.base is None and not any(array is free for free in self._free):
                self._free.append(array)


class Closing:
    """The ``with`` block of a source, and no memory that is used again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def recycle(self, frame: Frame) -> None:
        """Nothing to do where every frame is new."""

    def close(self) -> None:
        """Give the device or file back; again does no harm."""


def timed(source: Source) -> Iterator[tuple[Frame, float]]:
    """The frames of ``source``, each with the milliseconds that getting it took."""
    frames = iter(source)
    while True:
        started = time.perf_counter_ns()
        frame = next(frames, None)
        if frame is None:
            return
        yield frame, (time.perf_counter_ns() - started) / 1e6
