# SPDX-License-Identifier: Apache-2.0
"""ADD, MEAN, AVERAGE_POOL_2D, MAX_POOL_2D and PAD as layers.

Formulas: add_common.cc, pooling_common.cc, pad_common.cc, reduce_common.cc and reference/reduce.h of tflite-micro.
"""

from __future__ import annotations

import numpy as np

from firmware_export.static_engine.fixed_point import (
    activation_range,
    quantize_multiplier,
    quantize_multiplier_below_one,
)
from firmware_export.static_engine.graph_operation import (
    LARGEST_DIMENSION,
    Margins,
    Operation,
    Size,
    describe,
    is_vector,
    padded_size,
)
from firmware_export.static_engine.graph_window import window_over_map
from firmware_export.static_engine.layers import Addition, Layer, Mean, Pad, Pool

_LEFT_SHIFT = 20
_LARGEST_SCALE_DIFFERENCE = 1e-6
_PADDINGS = 1
_AXES = 1


def addition(operation: Operation) -> tuple[Layer, Size]:
    """ADD of two maps of one size.

    Raises:
        ModelError: one is a constant or of another size.
    """
    if len(operation.operands) != 2:
        raise operation.error("expected two computed maps, found a constant", hint="fold it into a bias")
    a, b = operation.operands
    shapes = a.tensor.shape, b.tensor.shape
    if a.size != b.size or (shapes[0] != shapes[1] and not all(map(is_vector, shapes))):
        raise operation.error(
            f"expected two maps of one size, found {describe(a.tensor)} and {describe(b.tensor)}",
            hint="the static engine does not broadcast",
        )
    twice_largest = 2 * max(a.scale, b.scale)
    with operation.named_errors():
        pairs = [quantize_multiplier_below_one(operand.scale / twice_largest) for operand in (a, b)]
        output = quantize_multiplier_below_one(twice_largest / ((1 << _LEFT_SHIFT) * operation.output_scale))
        limits = activation_range(operation.op.options.activation, operation.output_scale, operation.output_zero_point)
    layer = Addition(
        name=operation.name,
        label=operation.op.label,
        inputs=operation.features,
        output=operation.output_index,
        left_shift=_LEFT_SHIFT,
        zero_points=(a.zero_point, b.zero_point),
        multipliers=(pairs[0][0], pairs[1][0]),
        shifts=(pairs[0][1], pairs[1][1]),
        requantization=operation.requantization(
            np.array(output[:1], np.int32), np.array(output[1:], np.int32), *limits
        ),
    )
    return layer, a.size


def mean(operation: Operation) -> tuple[Layer, Size]:
    """MEAN over height and width.

    Raises:
        ModelError: it is over other axes.
    """
    operand = operation.map()
    axes = operation.numbers(_AXES, "axes")
    reduced = {axis + 4 if axis < 0 else axis for axis in axes}
    # An axis of size 1 can be reduced or not: the values are the same.
    large = {axis for axis, size in enumerate(operand.tensor.shape) if size > 1}
    if not reduced <= {0, 1, 2, 3} or (large & {1, 2}) - reduced or 3 in reduced:
        raise operation.error(f"expected a mean over height and width, axes (1, 2), found axes {axes[:8]}")
    count = operand.feature.height * operand.feature.width
    with operation.named_errors():
        multiplier, shift = quantize_multiplier(operand.scale / operation.output_scale)
    # QuantizedMeanOrSum folds 1/count into the multiplier, with as many more bits as the shift has room for.
    more = min(count.bit_length() - 1, 32, 31 + shift)
    multipliers, shifts = np.array([(multiplier << more) // count], np.int32), np.array([shift - more], np.int32)
    largest = max(operand.zero_point + 128, 127 - operand.zero_point, 128)
    operation.check_accumulators(np.array([largest * count], np.int64), shifts)
    layer = Mean(
        name=operation.name,
        label=operation.op.label,
        inputs=operation.features,
        output=operation.output_index,
        input_zero_point=operand.zero_point,
        requantization=operation.requantization(multipliers, shifts, -128, 127),
    )
    return layer, (1, 1, operand.feature.channels)


def pool(operation: Operation) -> tuple[Layer, Size]:
    """AVERAGE_POOL_2D and MAX_POOL_2D.

    Raises:
        ModelError: the window does not fit, or the output is quantised otherwise than the input.
    """
    operand = operation.map()
    difference = abs(operand.scale - operation.output_scale)
    if difference > _LARGEST_SCALE_DIFFERENCE or operand.zero_point != operation.output_zero_point:
        raise operation.error(
            f"expected an output quantised as the input, {operand.scale:g} and {operand.zero_point}, found "
            f"{operation.output_scale:g} and {operation.output_zero_point}: {operation.output.label}"
        )
    window, size = window_over_map(operation, operation.op.options.pool_size)
    with operation.named_errors():
        limits = activation_range(operation.op.options.activation, operation.output_scale, operation.output_zero_point)
    operation.check_accumulators(
        np.array([128 * window.kernel_height * window.kernel_width], np.int64), np.zeros(1, np.int32)
    )
    layer = Pool(
        name=operation.name,
        label=operation.op.label,
        inputs=operation.features,
        output=operation.output_index,
        window=window,
        is_average=operation.op.name == "AVERAGE_POOL_2D",
        minimum=limits[0],
        maximum=limits[1],
    )
    return layer, (*size, operand.feature.channels)


def pad(operation: Operation) -> tuple[Layer, Size]:
    """PAD that no window takes over.

    Raises:
        ModelError: as ``margins_of``.
    """
    operand, margins = operation.map(), margins_of(operation)
    layer = Pad(
        name=operation.name,
        label=operation.op.label,
        inputs=operation.features,
        output=operation.output_index,
        top=margins.top,
        left=margins.left,
        value=operation.output_zero_point,
    )
    return layer, padded_size(operand, margins)


def margins_of(operation: Operation) -> Margins:
    """What a PAD puts around its map.

    Raises:
        ModelError: it pads the batch or the channels, or by negative or huge amounts.
    """
    operation.map()
    if len(operation.op.inputs) != 2:
        raise operation.error("expected a PAD by zeros, found one with a value of its own")
    numbers = operation.numbers(_PADDINGS, "paddings")
    if len(numbers) != 8 or any(numbers[:2]) or any(numbers[6:]):
        raise operation.error(f"expected paddings of height and width only, found {numbers[:16]}")
    if not all(0 <= number <= LARGEST_DIMENSION for number in numbers):
        raise operation.error(f"expected paddings of 0 to {LARGEST_DIMENSION}, found {numbers}")
    return Margins(*numbers[2:6])
