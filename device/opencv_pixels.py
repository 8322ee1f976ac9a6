# SPDX-License-Identifier: Apache-2.0
"""Frames of any format as OpenCV wants pictures: for files, for pages, for the eye."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.pixel_steps import Buffers, from_rgb565, from_yuyv, interleave
from device.preprocess import PixelFormat


def opencv_pixels(frame: NDArray[Any], format: PixelFormat) -> NDArray[np.uint8]:
    """(height, width, 3) BGR, or (height, width) of a grey frame; the colours are those that a network is given.

    Args:
        frame: C-contiguous, as ``format`` describes it; not written to. Where nothing is to be converted it is what
            comes back.
    """
    height, width = frame.shape[:2]
    if format is PixelFormat.BGR888:
        return frame
    if format is PixelFormat.RGB888:
        return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
    if format is PixelFormat.GREY8:
        return frame.reshape(height, width)
    if format is PixelFormat.YUYV:
        planes = from_yuyv(frame.reshape(height, width // 2, 4), Buffers())
    else:
        # Also of a (height, width) uint16 frame: its memory counts.
        raw = frame.view(np.uint8).reshape(height, width, 2)
        low, high = (0, 1) if format is PixelFormat.RGB565 else (1, 0)
        planes = from_rgb565(raw[..., high], raw[..., low], Buffers())
    return interleave(planes[::-1], Buffers())
