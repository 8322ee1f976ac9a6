# SPDX-License-Identifier: Apache-2.0
"""A frame, and what every source of frames has in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError


class SourceError(LitesightError):
    """A source that is missing, unreadable or holds no picture."""


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        pixels: (height, width, 3) uint8, RGB; the receiver may keep it.
        name: the photo's path, or the source's name and the frame's number.
        index: counts the frames of the source from 0.
        captured_at: ``time.monotonic()`` in seconds when the frame was there.
    """

    pixels: NDArray[np.uint8]
    name: str
    index: int
    captured_at: float


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


def opencv_to_rgb(pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB of what ``cv2.VideoCapture`` delivers: BGR, or grey from some cameras.

    Raises:
        SourceError: another layout, which a driver delivers when OpenCV does not know its format.
    """
    import cv2

    if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    if pixels.dtype == np.uint8 and pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    raise SourceError(f"{name}: expected 8-bit colour or grey pictures, found {pixels.dtype} {pixels.shape}")


class Closing:
    """The ``with`` block of a source."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the device or file back; again does no harm."""
