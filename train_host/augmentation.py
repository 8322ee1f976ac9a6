# SPDX-License-Identifier: Apache-2.0
"""Random changes to training photos, as a pure function of pixels and a row of random numbers.

All geometry is one affine map and all colour one 3 x 4 matrix, so that a photo is resampled and rounded once each. The
random numbers come from outside, a row per photo, and decide everything: the same row gives the same picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError
from device.preprocess import InputSpec

# One column of random numbers per use.
_FLIP_X, _FLIP_Y, _TURN, _ANGLE, _AREA, _ASPECT, _MOVE_X, _MOVE_Y = range(8)
_BRIGHTNESS, _CONTRAST, _SATURATION, _CUT_X, _CUT_Y = range(8, 13)
RANDOM_COLUMNS: Final = 13

_LUMA: Final = {"RGB": (0.299, 0.587, 0.114), "BGR": (0.114, 0.587, 0.299)}  # ITU-R BT.601


@dataclass(frozen=True)
class Augmentation:
    """How much training photos vary. The defaults suit photos of everyday things; 0 or False turns a change off.

    Attributes:
        horizontal_flip: mirror half of the photos; off where left and right mean something (letters, arrows).
        vertical_flip: the same upside down; on for views from above, through a microscope and of flat parts.
        rot90: turn by 0, 90, 180 or 270 degrees; square inputs only.
        rotation: largest turn either way, in degrees.
        crop: largest share of the area that a random crop takes away, 0 to below 1.
        stretch: largest change of the aspect ratio: 0.15 for 1/1.15 to 1.15.
        shift: largest move beyond the edge, as a share of the side; what enters is a reflection.
        brightness: largest change, as a share of the full range (255).
        contrast, saturation: largest change of the factor: 0.2 for 0.8 to 1.2.
        cutout: side of a square that is blanked, as a share of the shorter side.

    Raises:
        LitesightError: a value is out of its range.
    """

    horizontal_flip: bool = True
    vertical_flip: bool = False
    rot90: bool = False
    rotation: float = 0.0
    crop: float = 0.35
    stretch: float = 0.15
    shift: float = 0.05
    brightness: float = 0.1
    contrast: float = 0.2
    saturation: float = 0.2
    cutout: float = 0.0

    def __post_init__(self) -> None:
        limits = {"rotation": 180.0, "crop": 0.95, "stretch": 1.0, "shift": 0.5}
        limits |= dict.fromkeys(("brightness", "contrast", "saturation", "cutout"), 1.0)
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise LitesightError(f"augmentation: {name} must be 0 to {limit:g}, found {value}")


def vary(
    pixels: NDArray[np.uint8], randoms: NDArray[np.float32], options: Augmentation, spec: InputSpec
) -> NDArray[np.uint8]:
    """Vary every photo of a batch.

    Args:
        pixels: (n, height, width, channels) in the channel order of ``spec``; not changed.
        randoms: (n, RANDOM_COLUMNS) uniform in [0, 1).

    Returns:
        A new array like ``pixels``.

    Raises:
        LitesightError: quarter turns are asked of photos that are not square.
    """
    n, height, width, channels = pixels.shape
    if options.rot90 and height != width:
        raise LitesightError(f"augmentation: rot90 needs a square input, found {width} x {height}")
    maps = _affine_maps(randoms.astype(np.float64), options, height, width)
    colours = _colour_matrices(pixels, randoms.astype(np.float64), options, spec)
    result = np.empty_like(pixels)
    for index in range(n):
        # The maps lead from the result to the photo, so OpenCV must not invert them.
        moved = cv2.warpAffine(
            pixels[index],
            maps[index],
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        result[index] = cv2.transform(moved, colours[index]).reshape(height, width, channels)
    if options.cutout:
        _cut_out(result, randoms, options.cutout, spec)
    return result


def _signed(randoms: NDArray[np.float64], column: int) -> NDArray[np.float64]:
    return 2 * randoms[:, column] - 1


def _affine_maps(randoms: NDArray[np.float64], options: Augmentation, height: int, width: int) -> NDArray[np.float64]:
    """(n, 2, 3): photo position = map · (x, y, 1) of the result, in pixels, pixel centres at whole numbers."""
    n = len(randoms)
    area = 1 - options.crop * randoms[:, _AREA]
    # The crop never reaches beyond the photo, only the shift does.
    aspect = np.exp(_signed(randoms, _ASPECT) * math.log1p(options.stretch))
    zoom_x = np.minimum(np.sqrt(area * aspect), 1)
    zoom_y = np.minimum(np.sqrt(area / aspect), 1)
    angle = np.radians(_signed(randoms, _ANGLE) * options.rotation)
    if options.rot90:
        angle = angle + np.floor(randoms[:, _TURN] * 4) * (math.pi / 2)
    flip_x = np.where((randoms[:, _FLIP_X] < 0.5) & options.horizontal_flip, -1.0, 1.0)
    flip_y = np.where((randoms[:, _FLIP_Y] < 0.5) & options.vertical_flip, -1.0, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    moved = np.stack(
        [
            centre[0] + _signed(randoms, _MOVE_X) * ((1 - zoom_x) / 2 + options.shift) * width,
            centre[1] + _signed(randoms, _MOVE_Y) * ((1 - zoom_y) / 2 + options.shift) * height,
        ],
        axis=1,
    )
    maps = np.empty((n, 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = cos * zoom_x * flip_x, -sin * zoom_x * flip_y
    maps[:, 1, 0], maps[:, 1, 1] = sin * zoom_y * flip_x, cos * zoom_y * flip_y
    maps[:, :, 2] = moved - maps[:, :, :2] @ centre
    return maps


def _colour_matrices(
    pixels: NDArray[np.uint8], randoms: NDArray[np.float64], options: Augmentation, spec: InputSpec
) -> NDArray[np.float64]:
    """(n, channels, channels + 1): colour' = matrix · (colour, 1); contrast turns about each photo's own mean."""
    n, channels = len(randoms), spec.channels
    contrast = 1 + _signed(randoms, _CONTRAST) * options.contrast
    offset = _signed(randoms, _BRIGHTNESS) * options.brightness * 255
    offset += (1 - contrast) * pixels.mean(axis=(1, 2, 3))
    matrices = np.empty((n, channels, channels + 1))
    matrices[:, :, channels] = offset[:, np.newaxis]
    if spec.color in _LUMA:
        saturation = (1 + _signed(randoms, _SATURATION) * options.saturation)[:, np.newaxis, np.newaxis]
        mixed = saturation * np.eye(channels) + (1 - saturation) * np.array(_LUMA[spec.color])
        matrices[:, :, :channels] = contrast[:, np.newaxis, np.newaxis] * mixed
    else:
        matrices[:, :, :channels] = contrast[:, np.newaxis, np.newaxis]
    return matrices


def _cut_out(pixels: NDArray[np.uint8], randoms: NDArray[Any], share: float, spec: InputSpec) -> None:
    """Blank a square of each photo with the normalisation's mean, which the network sees as 0."""
    _, height, width, _ = pixels.shape
    side = max(1, round(share * min(height, width)))
    blank = np.clip(np.round(spec.mean), 0, 255).astype(np.uint8)
    for photo, row in zip(pixels, randoms, strict=True):
        # Centres over the whole photo, so that corners are hidden as often as the middle.
        top, left = int(row[_CUT_Y] * height) - side // 2, int(row[_CUT_X] * width) - side // 2
        photo[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = blank
