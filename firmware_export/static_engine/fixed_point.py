# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Lite Micro's fixed-point arithmetic: from real scales to integer multipliers, and what is done with them.

Formulas: tensorflow/lite/kernels/internal/quantization_util.cc, common.cc and kernel_util.cc of tflite-micro, compiled
for a host (no TFLITE_SINGLE_ROUNDING, no TFLITE_EMULATE_FLOAT), and gemmlowp's fixedpoint.h.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from device.errors import LitesightError

INT32_MIN = -(1 << 31)
INT32_MAX = (1 << 31) - 1

_SMALLEST_SHIFT = -31
_LARGEST_SHIFT = 30


class FixedPointError(LitesightError):
    """A scale that TFLM's integer arithmetic cannot express; the caller names the layer."""


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A factor as a Q31 multiplier and a power of two: real = multiplier / 2**31 * 2**shift.

    Args:
        real: at least 0.

    Returns:
        Multiplier, 0 or 2**30 to 2**31 - 1, and shift, positive to the left. (0, 0) for 0 and for what is so small
        that every product would be shifted out.

    Raises:
        FixedPointError: the factor is negative, not finite, or 2**30 and more.
    """
    if not (math.isfinite(real) and real >= 0):
        raise FixedPointError(f"expected a finite factor of at least 0, found {real}")
    mantissa, shift = math.frexp(real)
    # The product has 53 bits after the binary point's move: floor(x + 0.5) is exact, and rounds halves up like TFLM.
    multiplier = math.floor(mantissa * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier >>= 1
        shift += 1
    if multiplier == 0 or shift < _SMALLEST_SHIFT:
        return 0, 0
    if shift > _LARGEST_SHIFT:
        raise FixedPointError(f"expected a factor below 2**{_LARGEST_SHIFT}, found {real:g}")
    return multiplier, shift


def quantize_multiplier_below_one(real: float) -> tuple[int, int]:
    """``quantize_multiplier`` of a factor that must shift to the right; TFLM stops with anything else.

    Raises:
        FixedPointError: the factor is not above 0, or not below 1 when rounded to 31 bits.
    """
    multiplier, shift = quantize_multiplier(real)
    if real <= 0 or shift > 0:
        raise FixedPointError(f"expected a factor between 0 and 1, found {real:g}")
    return multiplier, shift


def requantize(values: ArrayLike, multipliers: ArrayLike, shifts: ArrayLike) -> NDArray[np.int64]:
    """values * multiplier / 2**31 * 2**shift, rounded twice as TFLM does (MultiplyByQuantizedMultiplier).

    First the product is rounded to a multiple of 2**31, halves up, then the shift to the right rounds halves away from
    zero.

    Args:
        values: int32 range, also after a shift to the left.
        multipliers: Q31; broadcast against the values.
        shifts: positive to the left; broadcast likewise.
    """
    x, q, shift = (np.asarray(array, np.int64) for array in (values, multipliers, shifts))
    product = ((x << np.maximum(shift, 0)) * q + (1 << 30)) >> 31
    right = np.maximum(-shift, 0)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    rounded: NDArray[np.int64] = (product + half - ((product < 0) & (right > 0))) >> right
    return rounded


def quantize_real(real: float, scale: float, zero_point: int) -> int:
    """The integer that stands for a real number, not clamped: round(real / scale) + zero_point in float32.

    Halves are rounded away from zero.

    Raises:
        FixedPointError: it leaves the int32 range.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        quotient = float(np.float32(real) / np.float32(scale))
    if not (math.isfinite(quotient) and INT32_MIN <= quotient <= INT32_MAX):
        raise FixedPointError(f"expected a scale in which {real:g} is an int32, found {scale:g}")
    return int(math.copysign(math.floor(abs(quotient) + 0.5), quotient)) + zero_point


def activation_range(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """Least and largest int8 that a fused activation lets through (CalculateActivationRangeQuantized).

    Args:
        activation: the schema's name.
        scale: of the output.
        zero_point: of the output.

    Raises:
        FixedPointError: TFLM does not compute this activation, or the scale is too small for it.
    """
    limits: dict[str, tuple[float | None, float | None]] = {
        "NONE": (None, None),
        "RELU": (0.0, None),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }
    if activation not in limits:
        raise FixedPointError(f"expected a fused activation of {', '.join(limits)}, found {activation}")
    low, high = limits[activation]
    return (
        -128 if low is None else max(-128, quantize_real(low, scale, zero_point)),
        127 if high is None else min(127, quantize_real(high, scale, zero_point)),
    )
