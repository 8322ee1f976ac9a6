# SPDX-License-Identifier: Apache-2.0
"""What a viewer sees of one result: the frame as a JPEG, and the network's input as a PNG of the very same bytes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.errors import LitesightError
from device.pixel_steps import Buffers, UInt8Array
from device.postprocess import Prediction
from device.preprocess import InputSpec, PixelFormat, Preprocessor
from device.results import Result, StageTimes

MAX_SIDE: Final = 640
"""Pixels of the longer side of the picture that is sent."""

JPEG_QUALITY: Final = 75


@dataclass(frozen=True)
class Shown:
    """A result without its pixels, which live in the :class:`Slot`.

    Attributes:
        name, index, captured_at: of the frame.
        width, height: of the frame, in pixels.
    """

    name: str
    index: int
    captured_at: float
    width: int
    height: int
    label: str | None
    predictions: tuple[Prediction, ...]
    ms: StageTimes
    bundle: Bundle


class Slot:
    """Room for one result, used again and again; either the classifier's thread or the page's has it, never both."""

    def __init__(self) -> None:
        self.shown: Shown | None = None
        self.copy_s = 0.0
        """Seconds that the last copy took from the classifier."""
        self._buffers = Buffers()
        self._pixels: NDArray[Any] = np.empty(0, np.uint8)
        self._format = PixelFormat.RGB888
        self._input: NDArray[np.int8] = np.empty(0, np.int8)
        self._scaler: Preprocessor | None = None

    def fill(self, result: Result) -> None:
        """Copy a result whose memory is about to be used again. Called by the classifier's thread: only copies."""
        started = time.perf_counter()
        frame = result.frame
        self._pixels = self._buffers.array("pixels", frame.pixels.shape, frame.pixels.dtype)
        np.copyto(self._pixels, frame.pixels)
        self._input = self._buffers.array("input", result.input.shape, np.int8)
        np.copyto(self._input, result.input)
        self._format = frame.format
        height, width = frame.pixels.shape[:2]
        self.shown = Shown(
            frame.name,
            frame.index,
            frame.captured_at,
            width,
            height,
            result.label,
            result.predictions,
            result.classification.ms,
            result.bundle,
        )
        self.copy_s = time.perf_counter() - started

    def encode(self) -> tuple[bytes, bytes]:
        """(JPEG of the frame, PNG of the input). Called by the page's thread; empty is what cannot be shown."""
        if self.shown is None:
            return b"", b""
        height, width = self._pixels.shape[:2]
        target = _fitting(width, height)
        if self._scaler is None or (self._scaler.spec.width, self._scaler.spec.height) != target:
            # The preprocessing knows every pixel format; without a crop it is a scaler to OpenCV's order of colours.
            self._scaler = Preprocessor(InputSpec(width=target[0], height=target[1], color="BGR"))
        try:
            jpeg = _encoded(".jpg", self._scaler.pixels(self._pixels, self._format))
        except LitesightError:  # a frame of a shape that no network takes either
            jpeg = b""
        return jpeg, _encoded(".png", input_pixels(self._input, self.shown.bundle.manifest.input))


def input_pixels(quantized: NDArray[np.int8], spec: InputSpec) -> UInt8Array:
    """The 8-bit picture that the network was given: (height, width, 3) in OpenCV's order, or (height, width) grey.

    Args:
        quantized: int8 (height, width, channels).
        spec: how it was quantised.
    """
    steps = quantized.view(np.uint8)
    if spec.table() is None:
        pixels = steps ^ np.uint8(0x80)
    else:
        pixels = np.empty_like(steps)
        values = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64)
        for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
            real = spec.scale * (values - spec.zero_point) * std + mean
            table = np.clip(np.floor(real + 0.5), 0, 255).astype(np.uint8)
            pixels[..., channel] = table[steps[..., channel]]
    if spec.channels == 1:
        return pixels[..., 0]
    return pixels[..., ::-1] if spec.color == "RGB" else pixels


def _fitting(width: int, height: int) -> tuple[int, int]:
    """The size in which a frame is sent: never larger than it is, its proportions kept."""
    longest = max(width, height, MAX_SIDE)
    return max(1, round(width * MAX_SIDE / longest)), max(1, round(height * MAX_SIDE / longest))


def _encoded(suffix: str, pixels: UInt8Array) -> bytes:
    import cv2

    # Runs of equal differences: as small as the thorough search on photos, in a quarter of its time.
    png = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else png
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    return data.tobytes() if ok else b""
