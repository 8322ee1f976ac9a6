# SPDX-License-Identifier: Apache-2.0
"""The representative dataset of the quantisation: the user's photos, or natural photos that a package ships.

A network that comes without its training photos is calibrated on the photos that ``scikit-image`` ships (a face, a cat,
a cup, a motorcycle, a rocket, textures, the sky) and on crops of them at several scales: real pixels, never noise, and
none that anyone measures accuracy on.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError
from device.images import printable, read_image
from device.preprocess import InputSpec, Preprocessor

PACKAGE = "scikit-image"
PHOTOS = (
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png"),
    *("grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg"),
    "rocket.jpg",
)
SMALLEST_CROP = 0.35
"""Side of the smallest crop, as a share of the photo's shorter side."""


@dataclass(frozen=True)
class CalibrationPhoto:
    """A photo of the representative dataset: how the pinned list names it, and its pixels.

    Attributes:
        line: its line in ``calibration.txt``.
        pixels: gives the preprocessed uint8 (height, width, channels).
    """

    line: str
    pixels: Callable[[], NDArray[np.uint8]]


def photo_for_calibration(path: Path, line: str, spec: InputSpec) -> CalibrationPhoto:
    """A photo file as a member of the representative dataset; what does not fit on a line is escaped in its name."""
    return CalibrationPhoto(printable(line), lambda: Preprocessor(spec).pixels(read_image(path)).copy())


def natural_photos(count: int, spec: InputSpec, *, seed: int = 0) -> list[CalibrationPhoto]:
    """A representative dataset of crops, the whole photos first.

    Args:
        count: how many.
        spec: the network's input.
        seed: chooses the crops.

    Raises:
        LitesightError: the package that ships the photos is not installed.
    """
    directory = photo_directory()
    rng = np.random.default_rng(seed)
    crops = []
    for index in range(count):
        name = PHOTOS[index % len(PHOTOS)]
        height, width = _read(directory / name).shape[:2]
        share = 1.0 if index < len(PHOTOS) else float(rng.uniform(SMALLEST_CROP, 1.0))
        side = max(1, round(min(height, width) * share))
        x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
        mirrored = bool(rng.integers(0, 2))
        line = f"{PACKAGE}-{version(PACKAGE)}/{name} crop {x},{y} {side}x{side}{' mirrored' if mirrored else ''}"
        pixels = functools.partial(_crop, directory / name, (x, y, side), mirrored, spec)
        crops.append(CalibrationPhoto(line, pixels))
    return crops


def photo_directory() -> Path:
    """Where the installed package keeps its photos.

    Raises:
        LitesightError: the package is not installed.
    """
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise LitesightError(
            f"calibrating needs photos, and the package {PACKAGE}, which ships some, is not installed",
            hint=f"pip install {PACKAGE}, or give your own: --calibration FOLDER",
        )
    return Path(found.origin).parent / "data"


def _crop(path: Path, box: tuple[int, int, int], mirrored: bool, spec: InputSpec) -> NDArray[np.uint8]:
    x, y, side = box
    region = _read(path)[y : y + side, x : x + side]
    return Preprocessor(spec).pixels(region[:, ::-1] if mirrored else region).copy()


@functools.lru_cache(maxsize=len(PHOTOS))
def _read(path: Path) -> NDArray[np.uint8]:
    return read_image(path)
