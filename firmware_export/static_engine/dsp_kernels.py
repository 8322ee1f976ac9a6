# SPDX-License-Identifier: Apache-2.0
"""Kernels for cores with the DSP extension (Armv7E-M and Armv8-M Mainline: Cortex-M4, M7, M33)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.dsp_channels import Channels, packable_channels
from firmware_export.static_engine.kernel import Kernel
from firmware_export.static_engine.layers import Addition, Convolution, Depthwise, Feature, Graph, Layer, Requantization
from firmware_export.static_engine.layout import planar_features
from firmware_export.static_engine.portable_kernels import reads_input_in_place

_UNROLLED = 8
"""Values of a pixel that the loops of litesight_dot.h take at a time."""

_NARROW_LOOPS = {1: (1, 4), 2: (2, 2), 3: (3, 2), 5: (3, 2)}
"""By the width of the output: how many pixels and channels are computed together."""

_ROW_PIXELS = 24
"""Of litesight_pointwise_8.c."""

_ONE_BLOCK = {
    (3, 1): (1, 2, 3, 4, 5, 6),
    (3, 2): (4, 6, 8),
    (5, 1): (1, 2, 3, 4, 5, 6, 12),
    (5, 2): (3, 4, 6, 8, 12, 24),
}
"""Widths of the inputs that have a depthwise loop of their own, by size and stride of the window."""

_WIDE = {(3, 1): 7, (3, 2): 12, (5, 1): 8, (5, 2): 14}
"""Least width of the input for the loop of wide rows, by size and stride."""

_TRANSPOSED_CHANNELS = 4
"""Of litesight_depthwise_row.c."""

_BESIDE_ROW = 16
"""Of litesight_depthwise_rows.h."""

_EXACT = (1 << 30, 0)
"""Multiplier and shift of the input of an addition that has the larger scale."""

_LARGEST_ADD_SHIFT = 22
_ADD_ZERO_BITS = 11


def kernel_for(layer: Layer, graph: Graph) -> Kernel | None:
    """The DSP kernel of a layer, None where the portable one has to do."""
    if isinstance(layer, Convolution):
        return _convolution(layer, graph)
    if isinstance(layer, Depthwise):
        return _depthwise(layer, graph)
    if isinstance(layer, Addition):
        return _addition(layer)
    return None


def _is_linear(scale: Requantization) -> bool:
    """Whether outputs below the zero point occur: the sign of an accumulator then matters when it is rounded."""
    return scale.minimum < scale.zero_point


def _convolution(layer: Convolution, graph: Graph) -> Kernel | None:
    channels = packable_channels(layer, graph.features[layer.inputs[0]].zero_point)
    if channels is None:
        return None
    width = graph.features[layer.output].width
    is_linear = _is_linear(layer.requantization)
    values = _up(channels.weights.shape[1], _UNROLLED)
    if layer.weights.shape[1:] == (3, 3, 3) and width >= 6 and layer.window.dilation_x == layer.window.dilation_y == 1:
        stream = _stream(channels, is_linear, 1, _image_order(channels.weights))
        return _kernel("conv_3x3x3", stream, 2 * 6 * 32, "dot_6x1")
    if layer.window.is_pointwise and _is_expansion(layer, graph, values):
        return _kernel("pointwise_8", _stream(channels, is_linear, 1), 2 * values * min(width, _ROW_PIXELS), "dot_8")
    pixels, together = _loop(width)
    loop = f"{pixels}x{together}"
    stream = _stream(channels, is_linear, together)
    panel = 0 if pixels == 1 else 2 * values * pixels
    if layer.window.is_pointwise or reads_input_in_place(layer, graph):
        shared = () if pixels == 1 else ("pointwise_row",)
        return _kernel(f"pointwise_{loop}", stream, panel, f"dot_{loop}", *shared)
    return _kernel(f"conv_{loop}", stream, panel + values + 4, f"dot_{loop}")


def _kernel(name: str, weights: bytes, scratch_bytes: int, *shared: str) -> Kernel:
    sources = tuple(f"litesight_{source}.c" for source in (name, *shared))
    return Kernel(f"litesight_{name}_step", sources, weights, scratch_bytes, weights_hold_channels=True)


def _is_expansion(layer: Convolution, graph: Graph, values: int) -> bool:
    """Whether litesight_pointwise_8.c can do it."""
    return (
        values == _UNROLLED
        and graph.features[layer.output].width % 4 == 0
        and layer.output in planar_features(graph)
        and not _is_linear(layer.requantization)
    )


def _loop(width: int) -> tuple[int, int]:
    """Pixels and channels together: of six and four pixels those that compute fewer of them twice."""
    if width in _NARROW_LOOPS:
        return _NARROW_LOOPS[width]
    return (6, 1) if width >= 6 and _up(width, 6) <= _up(width, 4) else (4, 1)


def _image_order(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """The values of a 3x3 window of three channels in the order of litesight_conv_3x3x3.c."""
    rows = weights.reshape(-1, 3, 9)
    return np.concatenate([rows[:, :, :8].reshape(-1, 24), rows[:, :, 8]], axis=1)


def _stream(
    channels: Channels, is_linear: bool, together: int, ordered_weights: NDArray[np.int8] | None = None
) -> bytes:
    """Weights, biases, shifts and multipliers as litesight_dot.h describes them."""
    weights = channels.weights if ordered_weights is None else ordered_weights
    count, values = weights.shape
    padded, size = _up(count, together), _up(values, _UNROLLED)
    block = np.zeros((padded, size), np.int8)
    block[:count, :values] = weights
    blocks = block.reshape(padded // together, together, size // 4, 4).transpose(0, 2, 1, 3)
    bias = np.zeros(padded + together, np.int64)
    bias[:count] = channels.bias
    words = np.zeros((padded, 2), np.int64)
    words[:, 0] = bias[together:] << 8
    words[:count, 0] |= channels.shifts + (-1 if is_linear else 6)
    words[:count, 1] = channels.multipliers
    tails = words.astype("<i4").reshape(padded // together, 2 * together)
    parts = [(bias[:together] << 8).astype("<i4").tobytes()]
    for some, tail in zip(blocks, tails, strict=True):
        parts += [some.tobytes(), tail.tobytes()]
    return b"".join(parts)


def _depthwise(layer: Depthwise, graph: Graph) -> Kernel | None:
    window = layer.window
    feature, output = graph.features[layer.inputs[0]], graph.features[layer.output]
    size, stride = window.kernel_width, window.stride_x
    if (
        (window.kernel_height, window.stride_y) != (size, stride)
        or (size, stride) not in _WIDE
        or (window.dilation_y, window.dilation_x) != (1, 1)
        or feature.channels != output.channels
    ):
        return None
    channels = packable_channels(layer, feature.zero_point)
    if channels is None:
        return None
    name = f"depthwise_{size}x{size}" + ("" if stride == 1 else f"s{stride}")
    weights = _depthwise_stream(channels, size)
    loop = _depthwise_loop(layer, feature, output)
    if loop:
        is_planar = layer.inputs[0] in planar_features(graph)
        scratch = 0 if is_planar else size * _TRANSPOSED_CHANNELS * feature.width + 4
        return _kernel(f"{name}_{loop}", weights, scratch, "depthwise_row")
    return _kernel(f"{name}_any", weights, size * _up(window.pad_left + feature.width + _BESIDE_ROW, 4))


def _depthwise_loop(layer: Depthwise, feature: Feature, output: Feature) -> str:
    """The loop for rows of this width, "" if there is none."""
    window, width = layer.window, feature.width
    size, stride = window.kernel_width, window.stride_x
    padding = max((output.width - 1) * stride + size - width, 0)
    is_same = output.width == -(-width // stride) and window.pad_left == padding // 2
    if not is_same or _is_linear(layer.requantization):
        return ""
    if width in _ONE_BLOCK[size, stride]:
        return str(width)
    return "wide" if width >= _WIDE[size, stride] and width % stride == 0 else ""


def _depthwise_stream(channels: Channels, size: int) -> bytes:
    """Words and weights as litesight_depthwise.h describes them."""
    words = np.zeros((len(channels.bias) + 1, 2), np.int64)
    words[:-1, 0] = channels.bias << 8
    words[1:, 0] |= channels.shifts + (6 if size == 3 else -1)
    words[1:, 1] = channels.multipliers
    return words.astype("<i4").tobytes() + channels.weights.tobytes()


def _addition(layer: Addition) -> Kernel | None:
    """See litesight_add_larger.c for what it takes."""
    scales = tuple(zip(layer.multipliers, layer.shifts, strict=True))
    if layer.left_shift != 20 or _EXACT not in scales:
        return None
    smaller = 1 if scales[0] == _EXACT else 0
    shift, output_shift = -layer.shifts[smaller], -int(layer.requantization.shifts[0])
    zero = abs(layer.zero_points[1 - smaller]) << shift
    if shift < 1 or zero >= 1 << _ADD_ZERO_BITS or not 1 <= output_shift <= _LARGEST_ADD_SHIFT:
        return None
    return Kernel("litesight_add_larger_step", ("litesight_add_larger.c",))


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
