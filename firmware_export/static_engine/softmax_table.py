# SPDX-License-Identifier: Apache-2.0
"""The exponentials of TFLM's int8 softmax, computed at export time.

A softmax of int8 values takes exp(beta * scale * (q - max q)) of at most 256 differences. Formulas: softmax_common.cc
and reference/softmax.h of tflite-micro, exp_on_negative_values of gemmlowp's fixedpoint.h.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.fixed_point import INT32_MAX, FixedPointError, quantize_multiplier

LARGEST_CHANNELS = 4095
"""TFLM sums the exponentials in Q12.19: with more channels, equal ones would overflow."""

_INTEGER_BITS = 5
_FRACTION_BITS = 31 - _INTEGER_BITS

# exp(-2**i) in Q0.31, for i from -2 to 4.
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_OF_MINUS_EIGHTH = 1895147668
_ONE_THIRD = 715827883


def softmax_exponentials(scale: float, beta: float) -> tuple[NDArray[np.int32], int]:
    """exp(beta * scale * -d) for d = 0 to 255 in Q0.31, and how many of them count.

    Args:
        scale: of the input.
        beta: of the operator.

    Returns:
        int32, (256,), 0 from the number of terms on; and that number, 1 to 256.

    Raises:
        FixedPointError: beta * scale is not above 2**-26, where TFLM stops.
    """
    factor = min(beta * scale * (1 << _FRACTION_BITS), float(INT32_MAX))
    if not factor > 1:
        raise FixedPointError(f"expected beta * scale above 2**-{_FRACTION_BITS}, found {beta * scale:g}")
    multiplier, shift = _multiplier_above_one(factor)
    # From this difference on, the product would leave Q5.26.
    radius = math.floor(((1 << _INTEGER_BITS) - 1) * (1 << _FRACTION_BITS) / (1 << shift))
    terms = min(radius + 1, 256)
    table = np.zeros(256, np.int32)
    for difference in range(terms):
        table[difference] = exp_on_negative_value(_high_mul(-difference << shift, multiplier))
    return table, terms


def exp_on_negative_value(value: int) -> int:
    """exp of a Q5.26 number of at most 0, in Q0.31: a polynomial for what is below 1/4, a product for the rest."""
    if value == 0:
        return INT32_MAX
    quarter = 1 << (_FRACTION_BITS - 2)
    below_quarter = (value & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_0(below_quarter << _INTEGER_BITS)
    remainder = below_quarter - value
    for exponent, factor in enumerate(_EXP_OF_POWERS, start=-2):
        if remainder & (1 << (_FRACTION_BITS + exponent)):
            result = _high_mul(result, factor)
    return result


def _exp_between_minus_quarter_and_0(value: int) -> int:
    """A Taylor series of four terms around -1/8, in Q0.31."""
    x = value + (1 << 28)
    x2 = _high_mul(x, x)
    x3 = _high_mul(x2, x)
    x4 = _high_mul(x2, x2)
    cubic = _high_mul(_divide_by_power(x4, 2) + x3, _ONE_THIRD)
    return _EXP_OF_MINUS_EIGHTH + _high_mul(_EXP_OF_MINUS_EIGHTH, x + _divide_by_power(cubic + x2, 1))


def _multiplier_above_one(factor: float) -> tuple[int, int]:
    # 2**31 - 1 has shift 31, one more than quantize_multiplier lets through.
    multiplier, shift = quantize_multiplier(factor / 2)
    return multiplier, shift + 1


def _high_mul(a: int, b: int) -> int:
    """a * b / 2**31, rounded to the nearest, halves up (SaturatingRoundingDoublingHighMul)."""
    return (a * b + (1 << 30)) >> 31


def _divide_by_power(value: int, exponent: int) -> int:
    """value / 2**exponent of a value of at least 0, rounded to the nearest, halves up (RoundingDivideByPOT)."""
    return (value + (1 << (exponent - 1))) >> exponent
