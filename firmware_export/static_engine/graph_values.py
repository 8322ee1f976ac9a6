# SPDX-License-Identifier: Apache-2.0
"""RELU, RELU6, QUANTIZE and SOFTMAX as layers.

Formulas: activations_common.cc, activations.h, reference/requantize.h and softmax_common.cc of tflite-micro.
"""

from __future__ import annotations

import numpy as np

from firmware_export.static_engine.fixed_point import INT32_MAX, quantize_multiplier, quantize_real, requantize
from firmware_export.static_engine.graph_operation import Operand, Operation, Size, describe
from firmware_export.static_engine.layers import Layer, Lookup, Softmax
from firmware_export.static_engine.softmax_table import LARGEST_CHANNELS, softmax_exponentials

_SOFTMAX_SCALE = 1 / 256
_SOFTMAX_ZERO_POINT = -128


def relu(operation: Operation) -> tuple[Layer, Size]:
    """RELU, which requantises.

    Raises:
        ModelError: the scales' ratio is too large.
    """
    operand = operation.operands[0]
    with np.errstate(over="ignore"):
        # CalculateReluOpData divides in float32.
        ratio = float(np.float32(operand.scale) / np.float32(operation.output_scale))
    return _requantizing_lookup(operation, ratio, minimum=operation.output_zero_point)


def relu6(operation: Operation) -> tuple[Layer, Size]:
    """RELU6, which TFLM computes in the input's quantisation, whatever the output's is.

    Raises:
        ModelError: the input's scale is too small.
    """
    operand = operation.operands[0]
    with operation.named_errors():
        six = min(127, quantize_real(6.0, operand.scale, operand.zero_point))
    table = np.clip(np.arange(-128, 128), operand.zero_point, six).astype(np.int8)
    return _lookup(operation, table), operand.size


def quantize(operation: Operation) -> tuple[Layer, Size]:
    """QUANTIZE of int8 to int8.

    Raises:
        ModelError: the scales' ratio is too large.
    """
    return _requantizing_lookup(operation, operation.operands[0].scale / operation.output_scale, minimum=-128)


def softmax(operation: Operation) -> tuple[Layer, Size]:
    """SOFTMAX of a vector.

    Raises:
        ModelError: it is of a map, of too many values, or its output is not quantised by 1/256 and -128.
    """
    operand = operation.operands[0]
    height, width, channels = operand.size
    if (height, width) != (1, 1):
        raise operation.error(f"expected a vector, found {describe(operand.tensor)}")
    if channels > LARGEST_CHANNELS:
        raise operation.error(f"expected at most {LARGEST_CHANNELS} values, found {describe(operand.tensor)}")
    if (operation.output_scale, operation.output_zero_point) != (_SOFTMAX_SCALE, _SOFTMAX_ZERO_POINT):
        raise operation.error(
            f"expected an output with scale 1/256 and zero point {_SOFTMAX_ZERO_POINT}, found "
            f"{operation.output_scale:g} and {operation.output_zero_point}: {operation.output.label}"
        )
    with operation.named_errors():
        exponentials, terms = softmax_exponentials(operand.scale, operation.op.options.beta)
    layer = Softmax(
        name=operation.name,
        label=operation.op.label,
        inputs=operation.features,
        output=operation.output_index,
        exponentials=exponentials,
        terms=terms,
    )
    return layer, operand.size


def is_identity(layer: Layer, operand: Operand, operation: Operation) -> bool:
    """Whether a layer changes neither the values nor what they mean."""
    return (
        isinstance(layer, Lookup)
        and np.array_equal(layer.table, np.arange(-128, 128))
        and operand.tensor.scales == operation.output.scales
        and operand.tensor.zero_points == operation.output.zero_points
    )


def _requantizing_lookup(operation: Operation, ratio: float, *, minimum: int) -> tuple[Layer, Size]:
    operand = operation.operands[0]
    with operation.named_errors():
        multiplier, shift = quantize_multiplier(ratio)
    differences = np.arange(-128, 128) - operand.zero_point
    if max(abs(differences)) << max(shift, 0) > INT32_MAX:
        raise operation.error(f"expected a ratio of the scales below 2**23, found {ratio:g}: {operation.output.label}")
    values = requantize(differences, multiplier, shift) + operation.output_zero_point
    return _lookup(operation, np.clip(values, minimum, 127).astype(np.int8)), operand.size


def _lookup(operation: Operation, table: np.ndarray[tuple[int, ...], np.dtype[np.int8]]) -> Lookup:
    return Lookup(
        name=operation.name,
        label=operation.op.label,
        inputs=operation.features,
        output=operation.output_index,
        table=table,
    )
