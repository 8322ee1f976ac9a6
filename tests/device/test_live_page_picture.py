# SPDX-License-Identifier: Apache-2.0
"""What the live page shows of a result: the frame and the network's input, pixel for pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.classifier import Classifier, load_classifier
from device.live_page.picture import Slot, input_pixels
from device.preprocess import InputSpec, PixelFormat, Preprocessor
from device.results import Result
from tests.device.live_page_stage import result_of

Painter = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


def decoded(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


@pytest.mark.parametrize(
    ("format", "shape", "dtype"),
    [
        (PixelFormat.GREY8, (48, 64), np.uint8),
        (PixelFormat.YUYV, (48, 64, 2), np.uint8),
        (PixelFormat.RGB565, (48, 64), np.uint16),
        (PixelFormat.RGB565_BE, (48, 64, 2), np.uint8),
    ],
)
def test_every_pixel_format_can_be_shown(
    classifier: Classifier, format: PixelFormat, shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    pixels: Any = np.full(shape, 128, dtype)
    slot = Slot()
    slot.fill(result_of(classifier, pixels, format))
    jpeg, _ = slot.encode()
    expected = Preprocessor(InputSpec(48, 64, color="BGR")).pixels(pixels, format)
    assert np.abs(decoded(jpeg).astype(int) - expected).max() < 8


def test_a_large_frame_is_sent_small_and_in_its_proportions(classifier: Classifier) -> None:
    for height, width, sent in (
        (960, 1280, (480, 640)),
        (1500, 700, (640, 299)),
        (3, 2000, (1, 640)),
        (100, 90, (100, 90)),
    ):
        slot = Slot()
        slot.fill(result_of(classifier, np.zeros((height, width, 3), np.uint8)))
        assert decoded(slot.encode()[0]).shape[:2] == sent


def test_the_input_is_shown_byte_for_byte(classifier: Classifier) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    slot = Slot()
    result = result_of(classifier, pixels)
    slot.fill(result)
    given = result.input.astype(np.int16) + 128  # scale 1/128, zero point 0, mean and std 128
    assert np.array_equal(decoded(slot.encode()[1])[..., ::-1], given)


IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375), "scale": 0.0187, "zero_point": -14}


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(4, 256),
        InputSpec(4, 256, color="BGR"),
        InputSpec(4, 256, channels=1, color="GREY"),
        InputSpec(4, 256, mean=(127.0,) * 3, zero_point=-1),
        InputSpec(4, 256, **IMAGENET),  # type: ignore[arg-type]
        InputSpec(4, 256, color="BGR", mean=(0.0,) * 3, std=(255.0,) * 3, scale=1 / 255, zero_point=-128),
    ],
)
def test_what_is_shown_of_the_input_is_what_was_quantised(spec: InputSpec) -> None:
    pixels = np.empty((4, 256, spec.channels), np.uint8)
    pixels[:] = np.arange(256)[:, np.newaxis]
    pixels[:, ::3] = (200, 100, 20)[: spec.channels]
    shown = input_pixels(Preprocessor(spec).quantize(pixels), spec)
    expected = pixels[..., 0] if spec.channels == 1 else pixels[..., ::-1] if spec.color == "RGB" else pixels
    step = max(spec.std) * spec.scale
    assert np.abs(shown.astype(int) - expected).max() <= (0 if step <= 1 else 1)


def test_the_frame_is_copied_before_its_memory_is_used_again(classifier: Classifier, plain: Painter) -> None:
    pixels = plain("red")
    slot = Slot()
    result = result_of(classifier, pixels)
    slot.fill(result)
    pixels[:] = 255
    result.input[:] = 0
    jpeg, png = slot.encode()
    assert np.abs(decoded(jpeg).astype(int) - (30, 30, 220)).max() < 8
    assert (decoded(png) == (30, 30, 220)).all()


def test_memory_is_reused_from_frame_to_frame_and_a_new_size_is_no_trouble(
    classifier: Classifier, plain: Painter
) -> None:
    slot = Slot()
    slot.fill(result_of(classifier, plain("red")))
    first = slot._pixels
    slot.fill(result_of(classifier, plain("blue")))
    assert slot._pixels is first
    slot.fill(result_of(classifier, plain("blue", 30, 40)))
    assert decoded(slot.encode()[0]).shape == (30, 40, 3)


def test_a_frame_that_nothing_can_show_is_left_out(classifier: Classifier, plain: Painter) -> None:
    result: Result = result_of(classifier, plain("red"))
    odd = replace(result, frame=replace(result.frame, pixels=np.zeros((4, 4, 7), np.uint8)))
    slot = Slot()
    slot.fill(odd)
    jpeg, png = slot.encode()
    assert jpeg == b""
    assert png
