# SPDX-License-Identifier: Apache-2.0
"""The table with which the chip turns int8 outputs into probabilities without floating point.

``firmware_export/c/litesight_score.h`` states how it is used.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ONE = 1 << 16
_TABLE_ONE = 1 << 30


def probability_table(scale: float, zero_point: int, *, is_probability: bool) -> tuple[int, ...]:
    """256 unsigned 32-bit numbers.

    Args:
        scale, zero_point: of the int8 output.
        is_probability: whether the network ends in a softmax. Then entry ``q + 128`` is the probability of output q in
            units of 2^-16. Else entry d is exp(-scale * d) in units of 2^-30, for the distance d to the best output.
    """
    if is_probability:
        return tuple(max(0, min(ONE, round(scale * (q - zero_point) * ONE))) for q in range(-128, 128))
    return tuple(round(math.exp(-scale * distance) * _TABLE_ONE) for distance in range(256))


def probabilities(
    output: NDArray[np.int8], scale: float, zero_point: int, *, is_probability: bool
) -> NDArray[np.uint32]:
    """What the chip computes, in units of 2^-16.

    Args:
        output: int8, (classes,).
    """
    table = probability_table(scale, zero_point, is_probability=is_probability)
    scores = [int(q) for q in output]
    if is_probability:
        return np.array([table[q + 128] for q in scores], np.uint32)
    best = max(scores)
    total = sum(table[best - q] for q in scores)
    return np.array([(table[best - q] * ONE + total // 2) // total for q in scores], np.uint32)
