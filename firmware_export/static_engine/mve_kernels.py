# SPDX-License-Identifier: Apache-2.0
"""Kernels for cores with MVE, the vector extension of Armv8.1-M that is also called Helium (Cortex-M55)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.fixed_point import requantize
from firmware_export.static_engine.kernel import Kernel
from firmware_export.static_engine.layers import (
    Addition,
    Convolution,
    Depthwise,
    Feature,
    Graph,
    Layer,
    Mean,
)
from firmware_export.static_engine.layout import planar_features
from firmware_export.static_engine.mve_streams import (
    channels_of,
    depthwise_stream,
    four_stream,
    is_rectified,
    pair_stream,
)
from firmware_export.static_engine.portable_kernels import reads_input_in_place

_VECTOR = 16
_EXACT_SCALE = (1 << 30, 0)

# litesight_mve_pairs.h
_PAIR_DEPTHS = (8, 16, 24, 32)
_TWO_IN_A_REGISTER = 8
# litesight_mve_wide.h
_CHANNELS_TOGETHER = 4
_TILE_PIXELS = 3
_LARGEST_OFFSET = (1 << 16) - 1
# litesight_conv_windows.c
_WINDOWS_BYTES = 768
_WINDOWS_PIXELS = 12
# litesight_conv_small.c
_SMALL_WINDOW_PIXELS = 24
_SMALL_WINDOW_PITCH = 34
# litesight_mve_windows.h, litesight_mve_scatter.h and litesight_mve_interleave.h
_COLUMNS_BYTES = 768
_SHORT_ROW = 8
_MOST_CHANNELS = 7
_MOST_INTERLEAVED = 255 // 15


def kernel_for(layer: Layer, graph: Graph) -> Kernel | None:
    """The MVE kernel of a layer, None where the portable one has to do."""
    if isinstance(layer, Convolution):
        return _convolution(layer, graph)
    if isinstance(layer, Depthwise):
        return _depthwise(layer, graph)
    if isinstance(layer, Addition):
        return _addition(layer)
    if isinstance(layer, Mean):
        return Kernel("litesight_mean_step", ("litesight_mean.c",))
    return None


def _convolution(layer: Convolution, graph: Graph) -> Kernel | None:
    channels, output = channels_of(layer), graph.features[layer.output]
    if channels is None or max(output.channels, output.width) * _VECTOR > _LARGEST_OFFSET:
        return None
    depth = layer.weights[0].size
    is_even, rectified = output.channels % 2 == 0, is_rectified(layer.requantization)
    if layer.window.is_pointwise:
        together = _pixels_together(depth, output.width)
        if is_even and together:
            planar = "_planar" if rectified and layer.output in planar_features(graph) else ""
            return _kernel(f"pointwise_{depth}_{together}{planar}", "pointwise_pairs", pair_stream(channels, depth))
    elif is_even and rectified and output.width % 4 == 0 and _is_small_window(layer):
        scratch = min(output.width, _SMALL_WINDOW_PIXELS) * _SMALL_WINDOW_PITCH
        return _kernel("conv_small", "conv_small", pair_stream(channels, 2 * _VECTOR), scratch)
    if output.channels < _CHANNELS_TOGETHER:
        return None
    stream = four_stream(channels, _VECTOR)
    if layer.window.is_pointwise:
        return _kernel("pointwise_wide", "pointwise_wide", stream)
    scratch = 0 if reads_input_in_place(layer, graph) else _windows_bytes(layer, output.width)
    return _kernel("conv_windows", "conv_windows", stream, scratch)


def _pixels_together(depth: int, width: int) -> str:
    """How many pixels of a row litesight_mve_pairs.h computes together; empty where it does not."""
    if depth not in _PAIR_DEPTHS:
        return ""
    if width % 4 == 0:
        return "four"
    return "three" if width % 3 == 0 and depth != _TWO_IN_A_REGISTER else ""


def _is_small_window(layer: Convolution) -> bool:
    """Whether litesight_conv_small.c can copy its windows, whose rows it writes 16 bytes at a time."""
    row, depth = layer.weights[0, 0].size, layer.weights[0].size
    return (
        depth <= 2 * _VECTOR
        and row <= _VECTOR
        and depth - row + _VECTOR <= _SMALL_WINDOW_PITCH
        and layer.window.dilation_x == 1
    )


def _windows_bytes(layer: Convolution, width: int) -> int:
    """Scratch memory of litesight_conv_windows.c: windows of some pixels, written and read 16 bytes at a time."""
    row, depth = int(layer.weights[0, 0].size), int(layer.weights[0].size)
    pitch = depth - row + _VECTOR if row < _VECTOR else depth
    block = min(max(_WINDOWS_BYTES // _TILE_PIXELS // pitch, 1) * _TILE_PIXELS, _WINDOWS_PIXELS)
    return min(block, width) * pitch + _VECTOR


def _depthwise(layer: Depthwise, graph: Graph) -> Kernel | None:
    channels = channels_of(layer)
    if channels is None or not _is_usual(layer, graph):
        return None
    source, output = graph.features[layer.inputs[0]], graph.features[layer.output]
    size, is_planar = layer.window.kernel_height, layer.inputs[0] in planar_features(graph)
    name = f"depthwise_{size}x{size}"
    suffix = "_stride_2" if layer.window.stride_y == 2 else ""
    suffix += "_rectified" if is_rectified(layer.requantization) else ""
    if size == 3 and not is_planar:
        suffix += "_interleaved"
    elif size == 3 and source.width <= _SHORT_ROW:
        suffix += "_short"
    scratch = _columns_bytes(layer, source, output, is_planar)
    return _kernel(name + suffix, name, depthwise_stream(channels), scratch)


def _is_usual(layer: Depthwise, graph: Graph) -> bool:
    """Whether there is a kernel for the window, and for how the input lies."""
    window = layer.window
    source, output = graph.features[layer.inputs[0]], graph.features[layer.output]
    size = window.kernel_height
    is_planar = layer.inputs[0] in planar_features(graph)
    return (
        (window.kernel_height, window.kernel_width) in ((3, 3), (5, 5))
        and (window.stride_y, window.stride_x) in ((1, 1), (2, 2))
        and (window.dilation_y, window.dilation_x) == (1, 1)
        and source.channels == output.channels
        and output.channels * _VECTOR <= _LARGEST_OFFSET
        and max(_overhang(layer, source, output)) <= size // 2
        and (is_planar or (size == 3 and source.channels <= _MOST_INTERLEAVED))
    )


def _overhang(layer: Depthwise, source: Feature, output: Feature) -> tuple[int, int, int, int]:
    """Rows and columns by which the outermost windows protrude: top, left, bottom, right."""
    window = layer.window
    bottom = (output.height - 1) * window.stride_y - window.pad_top + window.kernel_height - source.height
    right = (output.width - 1) * window.stride_x - window.pad_left + window.kernel_width - source.width
    return window.pad_top, window.pad_left, bottom, right


def _columns_bytes(layer: Depthwise, source: Feature, output: Feature, is_planar: bool) -> int:
    """Scratch memory as litesight_mve_scatter.h and litesight_mve_interleave.h divide it up."""
    size, stride, left, width = layer.window.kernel_height, layer.window.stride_x, layer.window.pad_left, source.width
    column, outside, per_load = (4 if size == 3 else 5), 0, 1
    if size == 5 or (is_planar and width <= _SHORT_ROW):
        area = (left + (_up(width, _VECTOR) + 4 if width > _VECTOR else width + size // 2 + 1)) * column
        per_load = 1 if width > _SHORT_ROW else min(_VECTOR // width, _MOST_CHANNELS)
    else:
        area = (left + _up(width, _VECTOR) + 1) * column
        outside = _up(width, _VECTOR) * (1 if is_planar else source.channels)
    group = max(1, _COLUMNS_BYTES // (per_load * area)) * per_load
    # Of a row four or eight outputs are computed, some of them from whatever lies behind the columns.
    read = ((_up(output.width, 4) + 3) * stride + 1) * column + 2 * _VECTOR
    return outside + max(group * area + _VECTOR, (group - 1) * area + read)


def _addition(layer: Addition) -> Kernel | None:
    if _EXACT_SCALE not in zip(layer.multipliers, layer.shifts, strict=True):
        return None
    name = "upwards" if _may_round_upwards(layer) else "exact"
    return Kernel(f"litesight_add_{name}_step", ("litesight_add_exact.c",))


def _may_round_upwards(layer: Addition) -> bool:
    """Whether no pair of inputs gives another output if halves are rounded upwards instead of away from zero."""
    outputs = []
    for rescale in (requantize, _requantize_upwards):
        values = [
            rescale((np.arange(-128, 128) - zero_point) << layer.left_shift, multiplier, shift)
            for zero_point, multiplier, shift in zip(layer.zero_points, layer.multipliers, layer.shifts, strict=True)
        ]
        scale = layer.requantization
        sums = rescale(np.add.outer(values[0], values[1]), scale.multipliers[0], scale.shifts[0]) + scale.zero_point
        outputs.append(np.clip(sums, scale.minimum, scale.maximum))
    return np.array_equal(outputs[0], outputs[1])


def _requantize_upwards(values: NDArray[np.int64], multiplier: int, shift: int) -> NDArray[np.int64]:
    """``fixed_point.requantize`` but for halves; the shift is not to the left."""
    product = (values * int(multiplier) + (1 << 30)) >> 31
    right = -int(shift)
    rounded: NDArray[np.int64] = (product + ((1 << right) >> 1)) >> right
    return rounded


def _kernel(name: str, source: str, weights: bytes, scratch_bytes: int = 0) -> Kernel:
    return Kernel(
        f"litesight_{name}_step", (f"litesight_{source}.c",), weights, _up(scratch_bytes, 4), weights_hold_channels=True
    )


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
