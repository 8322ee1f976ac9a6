# SPDX-License-Identifier: Apache-2.0
"""Weights as the MVE kernels read them: a stream in which every channel's scale comes with its weights.

A scale is two words: the bias, of 24 bits, above a byte with the shift, which is negative to the right as the
instruction VRSHL wants it; and the multiplier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.fixed_point import requantize
from firmware_export.static_engine.layers import Convolution, Depthwise, Requantization

_BIAS_BOUND = 1 << 23
_ONE_HALF = 1 << 30
_LARGEST_SHIFT = 31


@dataclass(frozen=True)
class Channels:
    """The output channels of a layer.

    Attributes:
        scales: int32, (channels, 2): bias and shift, multiplier.
        weights: int8, (channels, kernel height, kernel width, channels in); the last is 1 of a depthwise layer.
    """

    scales: NDArray[np.int32]
    weights: NDArray[np.int8]


def is_rectified(scale: Requantization) -> bool:
    """Whether everything negative becomes the least output, so that it does not matter how it is rounded."""
    return scale.minimum == scale.zero_point


def channels_of(layer: Convolution | Depthwise) -> Channels | None:
    """The layer's channels, or others that give the same outputs; None where some do not fit.

    A shift to the left does not fit, nor a large bias. Nor, unless the layer is rectified, no shift at all: the kernels
    round values as TFLM rounds what is shifted. But what channels with a large bias give is often one value, whatever
    the input; another bias then does as well.
    """
    scale = layer.requantization
    weights = layer.weights
    if isinstance(layer, Depthwise):
        weights = np.ascontiguousarray(weights.transpose(2, 0, 1)[..., np.newaxis])
    bias, multipliers = layer.bias.astype(np.int64), scale.multipliers.astype(np.int64)
    right = -scale.shifts.astype(np.int64)
    fits = (np.abs(bias) < _BIAS_BOUND) & (right >= (0 if is_rectified(scale) else 1)) & (right <= _LARGEST_SHIFT)
    constants = _constants(weights.reshape(len(bias), -1).astype(np.int64), bias, scale)
    if (~fits & (constants == _NOT_CONSTANT)).any():
        return None
    # Rounded twice: halved, and halved again.
    bias = np.where(fits, bias, 4 * (constants - scale.zero_point))
    shifts = np.where(fits, right, 1)
    words = np.stack([(bias << 8) | (-shifts & 0xFF), np.where(fits, multipliers, _ONE_HALF)], axis=1)
    return Channels(words.astype("<i4"), np.where(fits[:, np.newaxis, np.newaxis, np.newaxis], weights, np.int8(0)))


_NOT_CONSTANT = 1 << 10


def _constants(weights: NDArray[np.int64], bias: NDArray[np.int64], scale: Requantization) -> NDArray[np.int64]:
    """What each channel gives whatever the inputs are."""
    positive, negative = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    first, last = (
        np.clip(requantize(values, scale.multipliers, scale.shifts) + scale.zero_point, scale.minimum, scale.maximum)
        for values in (bias - 128 * positive + 127 * negative, bias + 127 * positive - 128 * negative)
    )
    return np.where(first == last, first, _NOT_CONSTANT)


def pair_stream(channels: Channels, depth: int) -> bytes:
    """Of every two channels their scales and their weights, filled up with zeros to ``depth``."""
    weights = _filled_up(channels, depth)
    return b"".join(
        channels.scales[c : c + 2].tobytes() + weights[c : c + 2].tobytes() for c in range(0, len(weights), 2)
    )


def four_stream(channels: Channels, depth: int) -> bytes:
    """Of every four channels biases and shifts, multipliers, and the weights of channels 0, 2, 1 and 3.

    A rest of less than four channels becomes the last four. Weights are filled up with zeros to at least ``depth``.
    """
    weights = _filled_up(channels, depth)
    count = len(weights)
    parts = []
    for first in [*range(0, count - 3, 4), *([count - 4] if count % 4 else [])]:
        parts.append(np.ascontiguousarray(channels.scales[first : first + 4].T).tobytes())
        parts.append(weights[[first, first + 2, first + 1, first + 3]].tobytes())
    return b"".join(parts)


def depthwise_stream(channels: Channels) -> bytes:
    """Channel by channel, weights column by column; a zero follows a column of three, which makes it a word."""
    count, size = channels.weights.shape[:2]
    columns = np.zeros((count, size, 4 if size == 3 else size), np.int8)
    columns[..., :size] = channels.weights[..., 0].transpose(0, 2, 1)
    return b"".join(scale.tobytes() + taps.tobytes() for scale, taps in zip(channels.scales, columns, strict=True))


def _filled_up(channels: Channels, depth: int) -> NDArray[np.int8]:
    flat = channels.weights.reshape(len(channels.weights), -1)
    filled = np.zeros((flat.shape[0], max(depth, flat.shape[1])), np.int8)
    filled[:, : flat.shape[1]] = flat
    return filled
