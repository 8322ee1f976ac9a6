# SPDX-License-Identifier: Apache-2.0
"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED as layers.

Formulas: conv_common.cc, depthwise_conv_common.cc, fully_connected_common.cc and PopulateConvolutionQuantizationParams
in kernel_util.cc of tflite-micro.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.fixed_point import activation_range, quantize_multiplier
from firmware_export.static_engine.graph_operation import Operation, Size, describe
from firmware_export.static_engine.graph_window import window_over_map
from firmware_export.static_engine.layers import Convolution, Depthwise, Layer, Requantization, Window
from firmware_export.tflite_reader import Tensor

_WEIGHTS = 1
_BIAS = 2


def convolution(operation: Operation) -> tuple[Layer, Size]:
    """CONV_2D.

    Raises:
        ModelError: what the static engine does not compute, or shapes that contradict each other.
    """
    weights = _weights(operation, 4)
    channels, height, width, depth = weights.shape
    operand = operation.map()
    if depth != operand.feature.channels:
        kind = " (a grouped convolution)" if operand.feature.channels % depth == 0 else ""
        raise operation.error(
            f"expected weights for {operand.feature.channels} input channels, found {depth}{kind}: {weights.label}"
        )
    window, size = window_over_map(operation, (height, width))
    return _convolution(operation, weights, window, per_tensor_in_float32=False), (*size, channels)


def fully_connected(operation: Operation) -> tuple[Layer, Size]:
    """FULLY_CONNECTED: a convolution whose window is the whole map, for the order of the values is the same.

    Raises:
        ModelError: as ``convolution``.
    """
    if operation.op.options.weights_format != 0:
        raise operation.error(f"expected row-major weights, found weights format {operation.op.options.weights_format}")
    weights = _weights(operation, 2)
    operand = operation.operands[0]
    channels, depth = weights.shape
    if depth != operand.tensor.elements:
        raise operation.error(
            f"expected weights of outputs x {operand.tensor.elements}, as many as one input has values, found "
            f"{describe(weights)}"
        )
    window = Window(operand.feature.height, operand.feature.width)
    return _convolution(operation, weights, window, per_tensor_in_float32=True), (1, 1, channels)


def depthwise(operation: Operation) -> tuple[Layer, Size]:
    """DEPTHWISE_CONV_2D.

    Raises:
        ModelError: as ``convolution``.
    """
    weights = _weights(operation, 4)
    one, height, width, channels = weights.shape
    operand = operation.map()
    expected = operand.feature.channels * operation.op.options.depth_multiplier
    if one != 1 or channels != expected:
        raise operation.error(
            f"expected weights of 1 x height x width x {operand.feature.channels} channels * depth multiplier "
            f"{operation.op.options.depth_multiplier}, found {describe(weights)}"
        )
    window, size = window_over_map(operation, (height, width))
    values = _values(weights).reshape(height, width, channels)
    sums = values.sum(axis=(0, 1), dtype=np.int64)
    magnitudes = np.abs(values.astype(np.int16)).sum(axis=(0, 1), dtype=np.int64)
    requantization = _requantization(operation, weights, channels, axis=3, per_tensor_in_float32=False)
    bias, bound = _bias(operation, sums, magnitudes, requantization)
    layer = Depthwise(
        name=operation.name,
        label=operation.op.label,
        inputs=operation.features,
        output=operation.output_index,
        window=window,
        weights=values,
        bias=bias,
        requantization=requantization,
        accumulator_bound=bound,
    )
    return layer, (*size, channels)


def _convolution(operation: Operation, weights: Tensor, window: Window, *, per_tensor_in_float32: bool) -> Layer:
    channels = weights.shape[0]
    depth = operation.operands[0].feature.channels
    values = _values(weights).reshape(channels, window.kernel_height, window.kernel_width, depth)
    sums = values.sum(axis=(1, 2, 3), dtype=np.int64)
    magnitudes = np.abs(values.astype(np.int16)).sum(axis=(1, 2, 3), dtype=np.int64)
    requantization = _requantization(operation, weights, channels, axis=0, per_tensor_in_float32=per_tensor_in_float32)
    bias, bound = _bias(operation, sums, magnitudes, requantization)
    return Convolution(
        name=operation.name,
        label=operation.op.label,
        inputs=operation.features,
        output=operation.output_index,
        window=window,
        weights=values,
        bias=bias,
        requantization=requantization,
        accumulator_bound=bound,
    )


def _weights(operation: Operation, rank: int) -> Tensor:
    weights = operation.constant(_WEIGHTS, "int8", "weights")
    if len(weights.shape) != rank or 0 in weights.shape:
        raise operation.error(f"expected weights of {rank} dimensions, found {describe(weights)}")
    if any(weights.zero_points):
        raise operation.error(
            f"expected weights with zero point 0, found {next(filter(None, weights.zero_points))}: {weights.label}",
            hint="convert it with symmetric weights; post-training quantisation of TensorFlow 2 does",
        )
    return weights


def _values(weights: Tensor) -> NDArray[np.int8]:
    return np.frombuffer(weights.data, np.int8)


def _requantization(
    operation: Operation, weights: Tensor, channels: int, *, axis: int, per_tensor_in_float32: bool
) -> Requantization:
    count = len(weights.scales)
    if count not in (1, channels) or (count > 1 and weights.quantized_dimension != axis):
        raise operation.error(
            f"expected one scale, or one for each of {channels} output channels along dimension {axis}, found {count} "
            f"along dimension {weights.quantized_dimension}: {weights.label}"
        )
    source = operation.operands[0].scale
    with operation.named_errors():
        if count == 1 and per_tensor_in_float32:
            # FULLY_CONNECTED alone multiplies the two scales in float32 (GetQuantizedConvolutionMultipler).
            with np.errstate(over="ignore", under="ignore"):
                products = [float(np.float32(source) * np.float32(weights.scales[0]))]
        else:
            products = [source * scale for scale in weights.scales]
        pairs = [quantize_multiplier(product / operation.output_scale) for product in products]
        limits = activation_range(operation.op.options.activation, operation.output_scale, operation.output_zero_point)
    multipliers, shifts = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    repeats = channels // count
    return operation.requantization(np.repeat(multipliers, repeats), np.repeat(shifts, repeats), *limits)


def _bias(
    operation: Operation, sums: NDArray[np.int64], magnitudes: NDArray[np.int64], requantization: Requantization
) -> tuple[NDArray[np.int32], int]:
    """The bias with the input's zero point folded in, and the bound of the accumulators."""
    bias = np.zeros(len(sums), np.int64)
    if len(operation.op.inputs) > _BIAS and operation.op.inputs[_BIAS] >= 0:
        tensor = operation.constant(_BIAS, "int32", "bias")
        if tensor.elements != len(sums):
            raise operation.error(f"expected a bias of {len(sums)} values, found {describe(tensor)}")
        bias += np.frombuffer(tensor.data, "<i4")
    bias -= operation.operands[0].zero_point * sums
    bound = operation.check_accumulators(np.abs(bias) + 128 * magnitudes, requantization.shifts)
    return bias.astype(np.int32), bound
