# SPDX-License-Identifier: Apache-2.0
"""Networks that are int8 inside but take or give float32 or uint8: their int8 part, and the way in and out of it.

The converter's default puts QUANTIZE behind a float32 input and DEQUANTIZE before a float32 output, and with uint8
edges a QUANTIZE at each end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.tflite_reader import Model, Operator, Tensor


def int8_core(model: Model) -> Model:
    """The model between its int8 input and its int8 output.

    A float32 edge is cut off with its QUANTIZE or DEQUANTIZE. A uint8 edge q becomes the int8 edge q - 128, and a
    QUANTIZE that does just that is cut off. What has no such edges, or several inputs or outputs, stays as it is.
    Operators keep their numbers.
    """
    if len(model.inputs) == 1:
        model = _without_input_edge(model)
    if len(model.outputs) == 1:
        model = _without_output_edge(model)
    return model


def encode_input(model: Model, core: Model, values: NDArray[np.int8]) -> NDArray[Any]:
    """What the whole model must be given so that its core reads these int8 values.

    Args:
        model: with any edges.
        core: ``int8_core(model)``.
        values: for the core's first input.

    Returns:
        int8, uint8 or float32, as the model's first input.
    """
    if model.input.dtype == "uint8":
        return (values.astype(np.int16) + 128).astype(np.uint8)
    if model.input.dtype == "float32":
        # A multiple of the scale lies half a step from the next rounding: float32's error is far smaller.
        steps = values.astype(np.float32) - np.float32(core.input.zero_points[0])
        return steps * np.float32(core.input.scales[0])
    return values


def decode_output(model: Model, core: Model, values: NDArray[Any]) -> NDArray[np.int8]:
    """The int8 values of the core's first output, from what the whole model gave.

    Args:
        model: with any edges.
        core: ``int8_core(model)``.
        values: int8, uint8 or float32, as the model's first output.
    """
    if model.output.dtype == "uint8":
        return (values.astype(np.int16) - 128).astype(np.int8)
    if model.output.dtype == "float32":
        steps: NDArray[np.float64] = np.rint(values.astype(np.float64) / core.output.scales[0])
        return np.clip(steps + core.output.zero_points[0], -128, 127).astype(np.int8)
    return values.astype(np.int8)


def _without_input_edge(model: Model) -> Model:
    edge, index = model.input, model.inputs[0]
    readers = [op for op in model.operators if index in op.inputs]
    if edge.dtype not in ("float32", "uint8"):
        return model
    if len(readers) != 1 or not _converts(readers[0], "QUANTIZE"):
        return model
    inner = model.tensors[readers[0].outputs[0]]
    if inner.dtype != "int8":
        return model
    if edge.dtype == "float32" or _is_moved_by_128(edge, inner):
        return replace(model, inputs=(inner.index,), operators=_without(model, readers[0]))
    return _as_int8(model, edge)


def _without_output_edge(model: Model) -> Model:
    edge, index = model.output, model.outputs[0]
    writers = [op for op in model.operators if index in op.outputs]
    if edge.dtype not in ("float32", "uint8") or len(writers) != 1 or any(index in op.inputs for op in model.operators):
        return model
    if not _converts(writers[0], "DEQUANTIZE" if edge.dtype == "float32" else "QUANTIZE"):
        return model
    inner = model.tensors[writers[0].inputs[0]]
    if inner.dtype != "int8":
        return model
    if edge.dtype == "float32" or _is_moved_by_128(edge, inner):
        return replace(model, outputs=(inner.index,), operators=_without(model, writers[0]))
    return _as_int8(model, edge)


def _converts(op: Operator, name: str) -> bool:
    return op.name == name and len(op.inputs) == 1 and op.inputs[0] >= 0 and len(op.outputs) == 1


def _is_moved_by_128(edge: Tensor, inner: Tensor) -> bool:
    if len(edge.zero_points) != 1 or len(inner.zero_points) != 1:
        return False
    return edge.scales == inner.scales and edge.zero_points[0] - 128 == inner.zero_points[0]


def _without(model: Model, op: Operator) -> tuple[Operator, ...]:
    return tuple(other for other in model.operators if other is not op)


def _as_int8(model: Model, edge: Tensor) -> Model:
    moved = replace(edge, dtype="int8", zero_points=tuple(zero - 128 for zero in edge.zero_points))
    return replace(model, tensors=tuple(moved if tensor is edge else tensor for tensor in model.tensors))
