# SPDX-License-Identifier: Apache-2.0
"""Runs a static engine's graph in numpy, layer by layer and slowly: what every kernel must compute.

It is written from the docstrings of ``layers``, so that graph and kernels can be tested apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine import layers
from firmware_export.static_engine.fixed_point import requantize

Map = NDArray[np.int64]


def run(graph: layers.Graph, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    """The network's outputs.

    Args:
        graph: what ``build_graph`` made.
        inputs: int8, (n, ...), each with as many values as the network's input.

    Returns:
        int8, (n, values of the output).
    """
    return np.stack([features(graph, one)[graph.output].reshape(-1) for one in inputs]).astype(np.int8)


def features(graph: layers.Graph, values: NDArray[np.int8]) -> list[Map]:
    """Every feature map of one inference, by index."""
    source = graph.features[graph.input]
    computed: dict[int, Map] = {
        graph.input: values.astype(np.int64).reshape(source.height, source.width, source.channels)
    }
    for layer in graph.layers:
        output = graph.features[layer.output]
        result = _compute(layer, [computed[i] for i in layer.inputs], graph)
        assert result.shape == (output.height, output.width, output.channels), layer.label
        assert result.min() >= -128, layer.label
        assert result.max() <= 127, layer.label
        computed[layer.output] = result
    return [computed[i] for i in range(len(graph.features))]


def _compute(layer: layers.Layer, inputs: list[Map], graph: layers.Graph) -> Map:
    output = graph.features[layer.output]
    x, zero_point = inputs[0], graph.features[layer.inputs[0]].zero_point
    match layer:
        case layers.Convolution():
            windows = _windows(x, layer.window, output, fill=zero_point)
            sums = np.tensordot(windows, layer.weights.astype(np.int64), axes=((2, 3, 4), (1, 2, 3)))
            return _requantized(_checked(sums + layer.bias, layer.accumulator_bound), layer.requantization)
        case layers.Depthwise():
            repeated = np.repeat(x, output.channels // x.shape[2], axis=2)
            windows = _windows(repeated, layer.window, output, fill=zero_point)
            sums = (windows * layer.weights.astype(np.int64)).sum(axis=(2, 3))
            return _requantized(_checked(sums + layer.bias, layer.accumulator_bound), layer.requantization)
        case layers.Addition():
            terms = [
                requantize((x - zero) << layer.left_shift, multiplier, shift)
                for x, zero, multiplier, shift in zip(
                    inputs, layer.zero_points, layer.multipliers, layer.shifts, strict=True
                )
            ]
            return _requantized(terms[0] + terms[1], layer.requantization)
        case layers.Pool():
            return _pooled(x, layer, output)
        case layers.Mean():
            sums = (x - layer.input_zero_point).sum(axis=(0, 1), keepdims=True)
            return _requantized(sums, layer.requantization)
        case layers.Pad():
            result = np.full((output.height, output.width, output.channels), layer.value, np.int64)
            result[layer.top : layer.top + x.shape[0], layer.left : layer.left + x.shape[1]] = x
            return result
        case layers.Lookup():
            return layer.table.astype(np.int64)[x + 128]
        case layers.Softmax():
            return np.array(_softmax(x.reshape(-1).tolist(), layer)).reshape(x.shape)
        case _:
            raise AssertionError(f"{layer.label}: no such layer")


def _checked(sums: Map, bound: int) -> Map:
    assert np.abs(sums).max() <= bound < 1 << 31
    return sums


def _requantized(values: Map, requantization: layers.Requantization) -> Map:
    scaled = requantize(values, requantization.multipliers, requantization.shifts) + requantization.zero_point
    return np.clip(scaled, requantization.minimum, requantization.maximum)


def _windows(x: Map, window: layers.Window, output: layers.Feature, fill: int) -> Map:
    """(output height, output width, kernel height, kernel width, channels); ``fill`` outside the map."""
    rows = (
        np.arange(output.height)[:, None] * window.stride_y
        - window.pad_top
        + np.arange(window.kernel_height) * window.dilation_y
    )
    columns = (
        np.arange(output.width)[:, None] * window.stride_x
        - window.pad_left
        + np.arange(window.kernel_width) * window.dilation_x
    )
    height, width, _ = x.shape
    taken = x[
        rows.clip(0, height - 1)[:, None, :, None],
        columns.clip(0, width - 1)[None, :, None, :],
    ]
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[None, :, None, :]
    windows: Map = np.where(inside[..., None], taken, fill)
    return windows


def _pooled(x: Map, layer: layers.Pool, output: layers.Feature) -> Map:
    outside = 1000
    windows = _windows(x, layer.window, output, fill=outside)
    is_inside = windows != outside
    if layer.is_average:
        sums, counts = np.where(is_inside, windows, 0).sum(axis=(2, 3)), is_inside.sum(axis=(2, 3))
        magnitudes = (np.abs(sums) + counts // 2) // counts
        result = np.sign(sums) * magnitudes
    else:
        result = np.where(is_inside, windows, -128).max(axis=(2, 3))
    clipped: Map = np.clip(result, layer.minimum, layer.maximum)
    return clipped


def _softmax(values: list[int], layer: layers.Softmax) -> list[int]:
    """reference/softmax.h and GetReciprocal of tflite-micro, one_over_one_plus_x_for_x_in_0_1 of gemmlowp."""
    differences = [max(values) - value for value in values]
    exponentials = [int(layer.exponentials[d]) if d < layer.terms else 0 for d in differences]
    total = sum((e + (1 << 11)) >> 12 for e in exponentials)
    assert total < 1 << 31
    headroom = 32 - total.bit_length()
    scale = _one_over_one_plus((total << headroom) - (1 << 31))
    exponent = 12 - headroom + 31 - 8
    return [
        min(max(_round_shift(_high_mul(scale, e), exponent) - 128, -128), 127) if d < layer.terms else -128
        for e, d in zip(exponentials, differences, strict=True)
    ]


def _one_over_one_plus(x: int) -> int:
    """1 / (1 + x) in Q0.31 for x of Q0.31 in [0, 1): three steps of Newton's method in Q2.29."""
    half = (x + (1 << 31) - 1 + 1) >> 1
    y = 1515870810 + _high_mul(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - _high_mul(half, y)
        y += _saturate(_high_mul(y, error) << 2)
    return _saturate(y << 1)


def _high_mul(a: int, b: int) -> int:
    return (a * b + (1 << 30)) >> 31


def _round_shift(value: int, exponent: int) -> int:
    return (value + (1 << (exponent - 1)) - (value < 0)) >> exponent


def _saturate(value: int) -> int:
    return min(max(value, -(1 << 31)), (1 << 31) - 1)
