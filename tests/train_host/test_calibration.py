# SPDX-License-Identifier: Apache-2.0
"""The pinned list must tell which pixels were used, and be the same every time."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from device.images import read_image
from device.preprocess import InputSpec, Preprocessor
from train_host.calibration import PHOTOS, natural_photos, photo_directory, photo_for_calibration

SPEC = InputSpec(32, 32)


def test_a_line_of_the_list_is_enough_to_make_the_pixels_again() -> None:
    for photo in natural_photos(len(PHOTOS) + 5, SPEC)[-8:]:
        found = re.fullmatch(r"scikit-image-[\d.]+/(\S+) crop (\d+),(\d+) (\d+)x\4( mirrored)?", photo.line)
        assert found, photo.line
        x, y, side = (int(found[index]) for index in (2, 3, 4))
        region = read_image(photo_directory() / found[1])[y : y + side, x : x + side]
        region = region[:, ::-1] if found[5] else region
        np.testing.assert_array_equal(photo.pixels(), Preprocessor(SPEC).pixels(region))


def test_a_file_name_with_a_newline_stays_one_line(tmp_path: Path) -> None:
    assert "\n" not in photo_for_calibration(tmp_path / "a\nb.png", "a\nb.png", SPEC).line


def test_the_list_is_pinned_and_has_every_photo() -> None:
    lines = [photo.line for photo in natural_photos(40, SPEC)]
    assert lines == [photo.line for photo in natural_photos(40, SPEC)]
    assert lines != [photo.line for photo in natural_photos(40, SPEC, seed=1)]
    assert {line.split("/")[1].split(" ")[0] for line in lines} == set(PHOTOS)
    assert len(set(lines)) == 40
