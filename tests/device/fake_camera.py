# SPDX-License-Identifier: Apache-2.0
"""Cameras without a camera: what the kit uses of ``cv2.VideoCapture``, and sources that do what a test tells them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device.frames import Closing, Frame
from device.preprocess import PixelFormat

COLOURS: Final = ("red", "green", "blue")


class FakeCapture:
    """Stands for ``cv2.VideoCapture``; ``reads`` are BGR pictures, or None for a read that fails."""

    def __init__(self, reads: list[NDArray[Any] | None], opened: bool = True, stamps: Sequence[float] = ()) -> None:
        self.reads, self.opened, self.released = reads, opened, False
        self.stamps = list(stamps)
        self.offered: list[NDArray[Any] | None] = []

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.opened

    def read(self, image: NDArray[Any] | None = None) -> tuple[bool, NDArray[Any] | None]:
        self.offered.append(image)
        pixels = self.reads.pop(0) if self.reads else None
        if pixels is not None and image is not None and image.shape == pixels.shape:
            np.copyto(image, pixels)
            return True, image
        return pixels is not None, None if pixels is None else pixels.copy()

    def get(self, what: int) -> float:
        return self.stamps.pop(0) if self.stamps else 0.0

    def release(self) -> None:
        self.released = True


class Hang:
    """A read that does not come back until the test says so."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()


class ScriptedCamera(Closing):
    """Delivers its script: an array is a frame, an error is raised, a Hang hangs.

    After its script it waits until it is closed. Attributes for the test: ``closed``, ``given_back``, ``exhausted``.
    """

    live = True
    total: int | None = None

    def __init__(self, *script: Any, name: str = "camera 0", age_s: float = 0.0) -> None:
        self.name, self.script, self.age_s = name, script, age_s
        self.closed = threading.Event()
        self.exhausted = threading.Event()
        self.given_back: list[int] = []

    def __iter__(self) -> Iterator[Frame]:
        for index, item in enumerate(self.script):
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Hang):
                item.begun.set()
                item.over.wait(60)
                continue
            yield Frame(item, f"{self.name}#{index}", index, time.monotonic() - self.age_s, PixelFormat.RGB888)
        self.exhausted.set()
        self.closed.wait(60)

    def recycle(self, frame: Frame) -> None:
        self.given_back.append(frame.index)

    def close(self) -> None:
        self.closed.set()


def picture(colour: str, number: int = 0, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB in one of the colours, with noise; another ``number`` is another noise."""
    pixels = np.random.default_rng(number).integers(0, 40, (height, width, 3), np.uint8)
    pixels[..., COLOURS.index(colour)] += 200
    return pixels
