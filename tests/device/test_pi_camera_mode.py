# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.pi_camera_mode import best_mode, stream_size

sides = st.integers(240, 9000)


@given(st.tuples(sides, sides), st.none() | st.integers(1, 5000), st.sampled_from([2, 16, 32, 64]))
def test_a_picture_is_even_fits_the_sensor_and_has_enough_for_the_network(
    sensor: tuple[int, int], short_side: int | None, alignment: int
) -> None:
    width, height = stream_size(sensor, short_side, lambda width: width % alignment == 0)
    assert width % alignment == height % 2 == 0
    assert 0 < width <= sensor[0]
    assert 0 < height <= sensor[1]
    wanted = 480 if short_side is None else max(240, 2 * short_side)
    has_it = sensor[0] - alignment >= wanted * sensor[0] / min(sensor)
    if has_it:
        assert min(width, height) >= wanted
        assert width <= wanted * sensor[0] / min(sensor) + alignment + 2
    # The sensor's aspect ratio, but for rounding to an even height.
    assert abs(height - width * sensor[1] / sensor[0]) < 2


def mode(size: tuple[int, int], view: tuple[int, int, int, int], fps: float = 30.0, bits: int = 10) -> dict[str, Any]:
    return {"size": size, "crop_limits": view, "fps": fps, "bit_depth": bits}


ALL = (0, 0, 4000, 3000)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (mode((2000, 1500), ALL), mode((1000, 750), (1000, 750, 2000, 1500))),  # sees all
        (mode((2000, 1500), ALL), mode((2000, 1000), (0, 500, 4000, 2000))),
        (mode((2000, 1500), ALL), mode((4000, 3000), ALL)),  # smaller
        (mode((1000, 750), ALL), mode((500, 375), ALL)),  # need not be enlarged
        (mode((1000, 750), ALL), mode((1000, 500), ALL)),
        (mode((1000, 750), ALL, 30.0), mode((1000, 750), ALL, 10.0, bits=12)),  # fast enough
        (mode((1000, 750), ALL, 40.0, bits=10), mode((1000, 750), ALL, 80.0, bits=8)),  # more bits
        (mode((1000, 750), ALL, 60.0), mode((1000, 750), ALL, 40.0)),  # less distortion of what moves
        (mode((1000, 750), (16, 0, 3950, 2962)), mode((4000, 3000), ALL)),  # all but a few columns
    ],
)
def test_of_two_modes_the_better_is_taken(better: dict[str, Any], worse: dict[str, Any]) -> None:
    assert best_mode([better, worse], (640, 600), 30.0) is better
    assert best_mode([worse, better], (640, 600), 30.0) is better


def test_of_modes_that_are_all_too_small_the_largest_is_taken() -> None:
    large = mode((800, 600), ALL)
    assert best_mode([mode((400, 300), ALL), large], (1000, 750), 30.0) is large


def test_a_camera_without_sensor_modes_has_no_best_one() -> None:
    assert best_mode([], (640, 480), 30.0) is None
    assert best_mode([{"format": "MJPEG"}], (640, 480), 30.0) is None


@given(
    st.lists(
        st.builds(
            mode,
            st.tuples(sides, sides),
            st.tuples(st.integers(0, 99), st.integers(0, 99), sides, sides),
            st.floats(1, 300),
            st.sampled_from([8, 10, 12]),
        ),
        min_size=1,
    ),
    st.tuples(sides, sides),
)
def test_the_mode_taken_sees_as_much_as_any(modes: list[dict[str, Any]], size: tuple[int, int]) -> None:
    taken = best_mode(modes, size, 30.0)
    assert taken in modes
    assert taken is not None
    most = max(each["crop_limits"][2] * each["crop_limits"][3] for each in modes)
    assert taken["crop_limits"][2] * taken["crop_limits"][3] >= 0.94 * most
