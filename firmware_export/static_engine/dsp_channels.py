# SPDX-License-Identifier: Apache-2.0
"""Weights and requantisation as the DSP kernels pack them: bias and shift in one word.

A bias has 24 bits there, a shift is 1 to 16 and goes to the right. Networks after training have channels that do not
fit: their weights are next to nothing, so that the scale is minute, the bias up to 2**30 and the shift beyond 20. But
what such a channel gives is one value, whatever its input; any other bias, shift and weights that give this value do as
well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.fixed_point import requantize
from firmware_export.static_engine.layers import Convolution, Depthwise

_BOUND = 1 << 23
_SMALLEST_SHIFT = 1
_LARGEST_SHIFT = 16
_ONE_HALF = 1 << 30


@dataclass(frozen=True)
class Channels:
    """The output channels of a layer.

    Attributes:
        weights: int8, (channels, values of a window).
        bias: int64, (channels,), below 2**23 in magnitude; of a convolution for inputs as they are, of a depthwise
            layer for inputs less their zero point.
        multipliers: int64, (channels,).
        shifts: int64, (channels,), 1 to 16, to the right.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int64]
    multipliers: NDArray[np.int64]
    shifts: NDArray[np.int64]


def packable_channels(layer: Convolution | Depthwise, zero_point: int) -> Channels | None:
    """The layer's channels, or others that give the same outputs; None where some do not fit.

    Args:
        layer: with any requantisation.
        zero_point: of the input.
    """
    scale = layer.requantization
    weights = _by_channel(layer)
    bias = layer.bias.astype(np.int64)
    multipliers, shifts = scale.multipliers.astype(np.int64), -scale.shifts.astype(np.int64)
    least, largest = _accumulators(weights, bias)
    if isinstance(layer, Depthwise):
        bias = bias + zero_point * weights.sum(axis=1, dtype=np.int64)
    fits = (shifts >= _SMALLEST_SHIFT) & (shifts <= _LARGEST_SHIFT)
    for values in (least, largest, bias):
        fits &= np.abs(values) < _BOUND
    first, last = (
        np.clip(requantize(values, multipliers, -shifts) + scale.zero_point, scale.minimum, scale.maximum)
        for values in (least, largest)
    )
    if not (fits | (first == last)).all():
        return None
    # (accumulator / 2 rounded) / 2 rounded
    constant = 4 * (first - scale.zero_point)
    return Channels(
        weights=np.where(fits[:, np.newaxis], weights, np.int8(0)),
        bias=np.where(fits, bias, constant),
        multipliers=np.where(fits, multipliers, _ONE_HALF),
        shifts=np.where(fits, shifts, 1),
    )


def _by_channel(layer: Convolution | Depthwise) -> NDArray[np.int8]:
    if isinstance(layer, Depthwise):
        return np.ascontiguousarray(layer.weights.reshape(-1, layer.weights.shape[-1]).T)
    return layer.weights.reshape(layer.weights.shape[0], -1)


def _accumulators(weights: NDArray[np.int8], bias: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and largest accumulator of every channel, of all inputs that there are."""
    wide = weights.astype(np.int64)
    positive, negative = (np.maximum(wide, 0).sum(axis=1), np.minimum(wide, 0).sum(axis=1))
    return bias - 128 * positive + 127 * negative, bias + 127 * positive - 128 * negative
