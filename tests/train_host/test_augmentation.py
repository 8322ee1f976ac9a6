# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.errors import LitesightError
from device.preprocess import InputSpec
from train_host.augmentation import RANDOM_COLUMNS, Augmentation, vary

OFF = Augmentation(horizontal_flip=False, crop=0, stretch=0, shift=0, brightness=0, contrast=0, saturation=0)
SPEC = InputSpec(16, 16)


def photos(n: int = 4, spec: InputSpec = SPEC) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (n, spec.height, spec.width, spec.channels), dtype=np.uint8)


def randoms(value: float, n: int = 4) -> NDArray[np.float32]:
    """One number for every use; 0.5 is the middle of every range and flips nothing."""
    return np.full((n, RANDOM_COLUMNS), value, np.float32)


def with_only(**changes: object) -> Augmentation:
    return Augmentation(**(vars(OFF) | changes))


@pytest.mark.parametrize("value", [0.0, 0.3, 0.99])
def test_with_everything_off_the_photo_is_untouched(value: float) -> None:
    assert np.array_equal(vary(photos(), randoms(value), OFF, SPEC), photos())


@pytest.mark.parametrize("value", [0.25, 0.75])
def test_a_flip_mirrors_half_of_the_photos_the_right_way(value: float) -> None:
    flipped = value < 0.5
    across = vary(photos(), randoms(value), with_only(horizontal_flip=True), SPEC)
    assert np.array_equal(across, photos()[:, :, ::-1] if flipped else photos())
    down = vary(photos(), randoms(value), with_only(vertical_flip=True), SPEC)
    assert np.array_equal(down, photos()[:, ::-1] if flipped else photos())


def test_quarter_turns_are_exact_and_all_four_occur() -> None:
    turned = [vary(photos(), randoms(value), with_only(rot90=True), SPEC) for value in (0.1, 0.3, 0.6, 0.9)]
    expected = [np.rot90(photos(), turns, (1, 2)) for turns in range(4)]
    assert all(any(np.array_equal(one, other) for other in expected) for one in turned)
    assert len({one.tobytes() for one in turned}) == 4


def test_quarter_turns_of_oblong_photos_are_refused() -> None:
    spec = InputSpec(16, 20)
    with pytest.raises(LitesightError, match="rot90 needs a square input, found 20 x 16"):
        vary(photos(spec=spec), randoms(0.5), with_only(rot90=True), spec)


def test_a_crop_enlarges_a_part_and_never_reaches_beyond_the_photo() -> None:
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, np.newaxis] * 16, (16, 16))
    batch = np.ascontiguousarray(np.broadcast_to(ramp.T[np.newaxis, :, :, np.newaxis], (2, 16, 16, 3)))
    for value in (0.0, 0.5, 0.99):
        row = randoms(value, 2)
        row[:, 4] = 0.99  # the largest crop
        cropped = vary(batch, row, with_only(crop=0.75), SPEC)[0, :, :, 0].astype(int)
        assert (np.diff(cropped, axis=1) >= 0).all()  # a reflection would fall
        assert np.ptp(cropped[8]) == pytest.approx(240 / 2, abs=10)  # a quarter of the area is half of the side


def test_brightness_and_contrast_move_as_far_as_they_say() -> None:
    grey = np.full((2, 16, 16, 3), 100, np.uint8)
    grey[:, :8] = 140
    assert vary(grey, randoms(0.0, 2), with_only(brightness=0.1), SPEC).mean() == pytest.approx(120 - 25.5, abs=0.6)
    flat = vary(grey, randoms(0.0, 2), with_only(contrast=0.5), SPEC)
    assert (flat[0, 0, 0, 0], flat[0, 15, 0, 0]) == (130, 110)


@pytest.mark.parametrize(("color", "red"), [("RGB", 0), ("BGR", 2)])
def test_saturation_knows_the_channel_order(color: str, red: int) -> None:
    spec = InputSpec(16, 16, color=color)
    pure = np.zeros((1, 16, 16, 3), np.uint8)
    pure[..., red] = 200
    pale = vary(pure, randoms(0.0, 1), with_only(saturation=1.0), spec)
    assert (np.abs(pale.astype(int) - round(0.299 * 200)) <= 1).all()


def test_a_grey_input_keeps_its_one_channel() -> None:
    spec = InputSpec(16, 20, channels=1, color="GREY")
    varied = vary(photos(spec=spec), randoms(0.7), Augmentation(cutout=0.3), spec)
    assert varied.shape == (4, 16, 20, 1)
    assert varied.dtype == np.uint8


def test_a_cutout_blanks_a_square_with_what_the_network_sees_as_zero() -> None:
    spec = InputSpec(16, 16, mean=(10.0, 20.0, 30.0))
    cut = vary(photos(spec=spec), randoms(0.5), with_only(cutout=0.5), spec)
    changed = (cut != photos(spec=spec)).any(axis=-1)
    assert changed.sum(axis=(1, 2)).tolist() == [64] * 4
    assert (cut[changed] == (10, 20, 30)).all()


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), color=st.sampled_from(["RGB", "BGR", "GREY"]), width=st.integers(4, 24))
def test_a_photo_is_varied_the_same_alone_and_in_a_batch(seed: int, color: str, width: int) -> None:
    spec = InputSpec(16, width, channels=1 if color == "GREY" else 3, color=color)
    options = Augmentation(vertical_flip=True, rotation=20, cutout=0.3)
    row = np.random.default_rng(seed).random((4, RANDOM_COLUMNS), np.float32)
    batch, before = photos(spec=spec), photos(spec=spec)
    together = vary(batch, row, options, spec)
    assert np.array_equal(batch, before)  # it may be a read-only map of a file
    for index in range(4):
        alone = vary(batch[index : index + 1], row[index : index + 1], options, spec)
        assert np.array_equal(alone[0], together[index])


@pytest.mark.parametrize(("name", "value"), [("crop", 1.0), ("shift", -0.1), ("brightness", 1.1), ("rotation", 181.0)])
def test_a_value_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(LitesightError, match=rf"augmentation: {name} must be 0 to .*, found {value}"):
        Augmentation(**{name: value})  # type: ignore[arg-type]  # the name decides the type
