# SPDX-License-Identifier: Apache-2.0
"""Pictures that look alike are found, and pictures that do not are kept apart."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.perceptual_hash import HashIndex, hamming, perceptual_hash

Picture = NDArray[Any]

SEEDS = st.integers(0, 2**32 - 1)
HASHES = st.integers(0, 2**64 - 1)


def scene(seed: int, height: int = 240, width: int = 320) -> Picture:
    """A picture of soft shapes with some fine texture, in BGR, neither very dark nor very bright."""
    random = np.random.default_rng(seed)
    coarse = cv2.resize(random.uniform(50, 200, (9, 12, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(random.uniform(-10, 10, (60, 80, 3)), (width, height), interpolation=cv2.INTER_LINEAR)
    picture: Picture = np.clip(coarse + fine, 0, 255).astype(np.uint8)
    return picture


def bits_between(one: Picture, two: Picture) -> int:
    return (perceptual_hash(one) ^ perceptual_hash(two)).bit_count()


@settings(max_examples=20)
@given(SEEDS, st.floats(0.9, 1.1), st.integers(-15, 15))
def test_a_change_of_light_is_the_same_picture(seed: int, contrast: float, brightness: int) -> None:
    picture = scene(seed)
    changed = np.clip(picture * contrast + brightness, 0, 255).astype(np.uint8)
    assert bits_between(picture, changed) < 6


@settings(max_examples=20)
@given(SEEDS, st.integers(40, 95))
def test_a_recompressed_picture_is_the_same(seed: int, quality: int) -> None:
    picture = scene(seed)
    jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    assert bits_between(picture, np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))) < 6


@settings(max_examples=20)
@given(SEEDS, st.floats(0.4, 2.0))
def test_a_resized_picture_is_the_same(seed: int, factor: float) -> None:
    picture = scene(seed)
    resized = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    assert bits_between(picture, resized) < 6


@settings(max_examples=20)
@given(SEEDS)
def test_the_noise_of_a_camera_is_no_new_picture_in_light_or_in_the_dark(seed: int) -> None:
    random = np.random.default_rng(seed)
    dark = np.full((240, 320, 3), 8, np.uint8)
    for picture in (scene(seed), dark):
        noisy = np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
        assert bits_between(picture, noisy) < 6


@settings(max_examples=20)
@given(SEEDS, SEEDS)
def test_different_pictures_are_far_apart(one: int, two: int) -> None:
    if one != two:
        assert bits_between(scene(one), scene(two)) >= 10


def test_a_thing_in_another_place_is_another_picture() -> None:
    def ball(x: int, y: int) -> Picture:
        plain = np.full((240, 320, 3), 90, np.uint8)
        return cv2.circle(plain, (x, y), 40, (200, 200, 200), -1)

    places = [(60, 60), (160, 60), (260, 60), (60, 180), (160, 180), (260, 180)]
    for one, two in combinations(places, 2):
        assert bits_between(ball(*one), ball(*two)) >= 6
    assert bits_between(ball(60, 60), ball(62, 60)) < 6


def test_how_bright_a_plain_picture_is_has_no_say() -> None:
    assert len({perceptual_hash(np.full((240, 320), grey, np.uint8)) for grey in (0, 20, 128, 255)}) == 1


def test_edges_along_the_sides_count() -> None:
    """They are in the first row and the first column of the frequencies."""
    upright = np.full((48, 64), 40, np.uint8)
    upright[:, 20:] = 200
    assert bits_between(upright, np.ascontiguousarray(upright.T)) >= 6


def test_grey_and_colour_of_the_same_picture_agree_and_nothing_is_written_to() -> None:
    picture = scene(1)
    kept = picture.copy()
    grey: Picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    assert perceptual_hash(picture) == perceptual_hash(grey)
    assert np.array_equal(picture, kept)
    assert 0 <= perceptual_hash(np.zeros((1, 1), np.uint8)) < 2**64


@given(st.lists(HASHES, max_size=300), HASHES)
def test_the_distance_is_the_number_of_different_bits(hashes: list[int], hash: int) -> None:
    expected = [(each ^ hash).bit_count() for each in hashes]
    assert hamming(np.array(hashes, np.uint64), hash).tolist() == expected


@given(st.lists(HASHES, max_size=300), HASHES, st.sets(st.integers(0, 63)), st.integers(0, 64))
def test_an_index_finds_whatever_is_nearer_than_the_distance(
    hashes: list[int], hash: int, flipped: set[int], distance: int
) -> None:
    index = HashIndex()
    near = hash ^ sum(1 << bit for bit in flipped)
    for each in [*hashes, near]:
        index.add(each)
    assert len(index) == len(hashes) + 1
    assert index.has_near(hash, distance) == any((each ^ hash).bit_count() < distance for each in [*hashes, near])


def test_an_empty_index_has_nothing_near() -> None:
    assert not HashIndex().has_near(0, 64)
