# SPDX-License-Identifier: Apache-2.0
"""The exporter's arithmetic is TFLM's: multipliers, double rounding, the ranges of activations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from firmware_export.static_engine.fixed_point import (
    FixedPointError,
    activation_range,
    quantize_multiplier,
    quantize_multiplier_below_one,
    quantize_real,
    requantize,
)


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (0.5, (1 << 30, 0)),
        (1.0, (1 << 30, 1)),
        (0.75, (3 << 29, 0)),
        (3.0, (3 << 29, 2)),
        # 1 - 2**-33 rounds to 2**31, which is halved.
        (1 - 2**-33, (1 << 30, 1)),
        (1 - 2**-31, ((1 << 31) - 1, 0)),
        # Exactly half a step is rounded up.
        (0.5 + 2**-32, ((1 << 30) + 1, 0)),
        (2.0**-32, (1 << 30, -31)),
        (2.0**-33, (0, 0)),
        # Rounding lifts it over the limit below which everything is 0.
        (2.0**-32 * (1 - 2**-33), (1 << 30, -31)),
        (2.0**29, (1 << 30, 30)),
    ],
)
def test_a_factor_becomes_a_multiplier_and_a_shift(real: float, expected: tuple[int, int]) -> None:
    assert quantize_multiplier(real) == expected


@pytest.mark.parametrize("real", [-0.1, math.inf, math.nan, 2.0**30])
def test_a_factor_out_of_range_is_refused(real: float) -> None:
    with pytest.raises(FixedPointError, match="expected a"):
        quantize_multiplier(real)


@pytest.mark.parametrize("real", [0.0, 1.0, 1 - 2**-33, 1.5])
def test_what_tflm_stops_at_in_an_addition_is_refused(real: float) -> None:
    with pytest.raises(FixedPointError, match="expected a factor between 0 and 1"):
        quantize_multiplier_below_one(real)


def test_a_factor_below_one_is_taken() -> None:
    assert quantize_multiplier_below_one(1 - 2**-31) == ((1 << 31) - 1, 0)
    assert quantize_multiplier_below_one(2.0**-40) == (0, 0)


def tflm_multiply(x: int, multiplier: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier in gemmlowp's own steps: truncating division, remainder against threshold."""
    product = (x << max(shift, 0)) * multiplier
    nudge = (1 << 30) if product >= 0 else 1 - (1 << 30)
    high = abs(product + nudge) // (1 << 31)
    high = high if product + nudge >= 0 else -high
    right = max(-shift, 0)
    mask = (1 << right) - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> right) + (1 if (high & mask) > threshold else 0)


MULTIPLIERS = st.one_of(st.just(0), st.integers(1 << 29, (1 << 31) - 1))


@given(st.integers(-(1 << 31), (1 << 31) - 1), MULTIPLIERS, st.integers(-31, 30))
def test_requantize_is_tflms_double_rounding(x: int, multiplier: int, shift: int) -> None:
    assume(abs(x) << max(shift, 0) < 1 << 31)
    assert int(requantize(x, multiplier, shift)) == tflm_multiply(x, multiplier, shift)


@given(st.integers(-300, 300), st.integers(0, 12))
def test_requantize_rounds_halves_away_from_zero_in_the_second_step(x: int, right: int) -> None:
    # The multiplier of 2**30 halves exactly after a shift to the left: only the second rounding is left.
    value = x * 2
    expected = math.floor(abs(x) / (1 << right) + 0.5) * (1 if x >= 0 else -1) if right else x
    assert int(requantize(value, 1 << 30, -right)) == expected


def test_requantize_takes_channels() -> None:
    values = requantize(np.array([[100, 100], [-101, 3]]), np.array([1 << 30, 3 << 29]), np.array([0, 1]))
    # -50.5 is rounded up in the first step.
    assert values.tolist() == [[50, 150], [-50, 5]]


@pytest.mark.parametrize(
    ("real", "scale", "zero_point", "expected"),
    [
        (6.0, 0.5, -128, -116),
        (-1.0, 2.0, 3, 2),
        (1.0, 2.0, 3, 4),
        (6.0, 0.0235294122248888, -128, 127),
        (0.0, 7, -5, -5),
    ],
)
def test_a_real_number_is_quantised_with_halves_away_from_zero(
    real: float, scale: float, zero_point: int, expected: int
) -> None:
    assert quantize_real(real, scale, zero_point) == expected


@pytest.mark.parametrize("scale", [1e-38, 1e-45, 0.0])
def test_a_scale_in_which_a_number_is_no_int32_is_refused(scale: float) -> None:
    with pytest.raises(FixedPointError, match="expected a scale in which 6 is an int32"):
        quantize_real(6.0, scale, 0)


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "expected"),
    [
        ("NONE", 0.1, 3, (-128, 127)),
        ("RELU", 0.1, 3, (3, 127)),
        ("RELU6", 0.1, 3, (3, 63)),
        ("RELU6", 0.01, 3, (3, 127)),
        ("RELU_N1_TO_1", 0.1, 3, (-7, 13)),
        ("RELU_N1_TO_1", 0.001, 3, (-128, 127)),
    ],
)
def test_an_activation_is_a_range(activation: str, scale: float, zero_point: int, expected: tuple[int, int]) -> None:
    assert activation_range(activation, scale, zero_point) == expected


@pytest.mark.parametrize("activation", ["TANH", "SIGN_BIT"])
def test_an_activation_that_tflm_would_leave_out_is_refused(activation: str) -> None:
    with pytest.raises(FixedPointError, match=f"found {activation}"):
        activation_range(activation, 0.1, 0)
