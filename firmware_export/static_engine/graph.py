# SPDX-License-Identifier: Apache-2.0
"""From the file's operators to the layers of the static engine.

What only moves or renames values disappears: RESHAPE, a PAD before a convolution, a QUANTIZE that changes nothing,
float32 or uint8 edges. An operator that the engine does not compute is an error that names it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from firmware_export.int8_core import int8_core
from firmware_export.static_engine import graph_convolutions, graph_maps, graph_values
from firmware_export.static_engine.graph_operation import (
    LARGEST_DIMENSION,
    Margins,
    Operand,
    Operation,
    Size,
    describe,
    is_vector,
    padded_size,
)
from firmware_export.static_engine.graph_window import margins_are_thin
from firmware_export.static_engine.layers import Feature, Graph, Layer
from firmware_export.tflite_reader import Model, ModelError, Operator, Tensor

_RESHAPE = "RESHAPE"
_PAD = "PAD"
_QUANTISE_HINT = "the static engine runs int8 networks; quantise it with the converter's full-integer mode"


@dataclass(frozen=True)
class _Kind:
    """What is known of a kind of operator before its shapes are.

    Attributes:
        name: of its layers.
        build: makes the layer, and the size of its output.
        activations: how many of the first inputs are feature maps.
        inputs: how many inputs it may have.
    """

    name: str
    build: Callable[[Operation], tuple[Layer, Size]]
    activations: int
    inputs: tuple[int, ...]


_KINDS: Mapping[str, _Kind] = {
    "CONV_2D": _Kind("conv", graph_convolutions.convolution, 1, (2, 3)),
    "DEPTHWISE_CONV_2D": _Kind("depthwise", graph_convolutions.depthwise, 1, (2, 3)),
    "FULLY_CONNECTED": _Kind("fully_connected", graph_convolutions.fully_connected, 1, (2, 3)),
    "ADD": _Kind("add", graph_maps.addition, 2, (2,)),
    "MEAN": _Kind("mean", graph_maps.mean, 1, (2,)),
    "AVERAGE_POOL_2D": _Kind("average_pool", graph_maps.pool, 1, (1,)),
    "MAX_POOL_2D": _Kind("max_pool", graph_maps.pool, 1, (1,)),
    _PAD: _Kind("pad", graph_maps.pad, 1, (2, 3)),
    "RELU": _Kind("relu", graph_values.relu, 1, (1,)),
    "RELU6": _Kind("relu6", graph_values.relu6, 1, (1,)),
    "QUANTIZE": _Kind("quantize", graph_values.quantize, 1, (1,)),
    "SOFTMAX": _Kind("softmax", graph_values.softmax, 1, (1,)),
}

SUPPORTED = tuple(sorted((*_KINDS, _RESHAPE)))
"""The operators that the static engine computes."""

LARGEST_OPERATORS = 4096
"""Far more than a microcontroller has time for; a file can hold millions."""


def build_graph(model: Model) -> Graph:
    """The layers of a model, every number resolved.

    Args:
        model: int8 inside; with float32 or uint8 edges, the graph is that of its int8 core (see ``int8_core``).

    Raises:
        ModelError: it is not of the kind that the static engine computes, or contradicts itself; names the operator and
            the tensor.
    """
    core = int8_core(model)
    for indices, what in ((core.inputs, "input"), (core.outputs, "output")):
        if len(indices) != 1:
            raise ModelError(f"expected a network with one {what}, found {len(indices)}")
    if len(core.operators) > LARGEST_OPERATORS:
        raise ModelError(f"expected a network of at most {LARGEST_OPERATORS} operators, found {len(core.operators)}")
    return _GraphBuilder(core).build()


class _GraphBuilder:
    """Goes through the operators in order.

    ``_operands`` says for every tensor that was computed in which feature map its values are.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._operators = _needed(model)
        self._readers: defaultdict[int, list[Operator]] = defaultdict(list)
        for op in self._operators:
            for index in op.inputs:
                self._readers[index].append(op)
        self._operands: dict[int, Operand] = {}
        self._features: list[Feature] = []
        self._layers: list[Layer] = []

    def build(self) -> Graph:
        """The graph."""
        self._read_input()
        for op in self._operators:
            self._read_operator(op)
        output = self._operands.get(self._model.outputs[0])
        if output is None or not self._layers:
            raise ModelError(f"expected a network that computes its output, found none: {self._model.output.label}")
        return Graph(tuple(self._features), tuple(self._layers), 0, output.index)

    def _read_input(self) -> None:
        tensor = self._model.input
        _check_int8(tensor, "the network's input")
        size = self._input_size(tensor)
        self._operands[tensor.index] = self._add_feature(tensor, size)

    def _input_size(self, tensor: Tensor) -> Size:
        """Of the input; when all that reads it gives it another shape, that one."""
        shapes = [tensor.shape]
        index = tensor.index
        while (reader := self._only_reader(index)) is not None:
            if reader.name != _RESHAPE or len(reader.outputs) != 1:
                break
            index = reader.outputs[0]
            shape = self._model.tensors[index].shape
            if math.prod(shape) != tensor.elements:
                break
            shapes.append(shape)
        # A vector in between would hide the map's shape.
        maps = [shape for shape in shapes if len(shape) == 4 and not is_vector(shape)]
        return _size_of(maps[-1] if maps else shapes[0], f"the network's input {tensor.label}")

    def _read_operator(self, op: Operator) -> None:
        kind = _KINDS.get(op.name)
        if kind is None and op.name != _RESHAPE:
            for tensor in (self._model.tensors[i] for i in op.outputs):
                if tensor.dtype == "float32":
                    _check_int8(tensor, op.label)
            raise ModelError(
                f"{op.label}: the static engine does not compute it",
                hint="it computes " + ", ".join(SUPPORTED) + "; the tflm engine computes more",
            )
        if len(op.outputs) != 1 or len(op.inputs) not in (kind.inputs if kind else (1, 2)):
            raise ModelError(
                f"{op.label}: expected {' or '.join(map(str, kind.inputs if kind else (1, 2)))} inputs and one output, "
                f"found {len(op.inputs)} and {len(op.outputs)}"
            )
        output = self._model.tensors[op.outputs[0]]
        _check_int8(output, op.label)
        if kind is None:
            self._operands[output.index] = _reshaped(op, self._operand(op, op.inputs[0]), output)
            return
        operands = tuple(self._operand(op, i) for i in _activation_inputs(op) if not self._is_constant_term(op, i))
        operation = Operation(self._model, op, operands, output, len(self._features), kind.name)
        if op.name == _PAD and (margins := self._margins_for_reader(operation)) is not None:
            self._operands[output.index] = Operand(output, operands[0].feature, operands[0].index, margins)
            return
        layer, size = kind.build(operation)
        _check_output(operation, size)
        if graph_values.is_identity(layer, operands[0], operation):
            self._operands[output.index] = Operand(output, operands[0].feature, operands[0].index)
            return
        self._operands[output.index] = self._add_feature(output, size)
        self._layers.append(layer)

    def _is_constant_term(self, op: Operator, index: int) -> bool:
        return op.name == "ADD" and index >= 0 and self._model.tensors[index].is_constant

    def _operand(self, op: Operator, index: int) -> Operand:
        operand = self._operands.get(index)
        if operand is None:
            what = self._model.tensors[index].label if index >= 0 else "an input that is left out"
            raise ModelError(f"{op.label}: expected a computed feature map, found {what}")
        return operand

    def _add_feature(self, tensor: Tensor, size: Size) -> Operand:
        for dimension in size:
            if not 1 <= dimension <= LARGEST_DIMENSION:
                raise ModelError(f"expected sizes of 1 to {LARGEST_DIMENSION}, found {describe(tensor)}")
        feature = Feature(tensor.name, *size, scale=tensor.scales[0], zero_point=tensor.zero_points[0])
        self._features.append(feature)
        return Operand(tensor, feature, len(self._features) - 1)

    def _only_reader(self, index: int) -> Operator | None:
        """The operator that reads a tensor, when there is one. Nothing that is needed reads the network's output."""
        readers = self._readers[index]
        return readers[0] if len(readers) == 1 else None

    def _margins_for_reader(self, operation: Operation) -> Margins | None:
        """The margins of a PAD, when the one convolution that reads it can take them over."""
        margins, output = graph_maps.margins_of(operation), operation.output
        reader = self._only_reader(output.index)
        if reader is None or reader.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or reader.options.padding != "VALID":
            return None
        weights = self._model.tensors[reader.inputs[1]] if len(reader.inputs) > 1 and reader.inputs[1] >= 0 else None
        if (
            weights is None
            or len(weights.shape) != 4
            or operation.operands[0].zero_point != operation.output_zero_point
        ):
            return None
        _check_output(operation, padded_size(operation.operands[0], margins))
        return margins if margins_are_thin(margins, weights.shape[1:3], reader.options.dilation) else None


def _needed(model: Model) -> tuple[Operator, ...]:
    """The operators that the output depends on. Converters leave computations of shapes that nothing else reads."""
    needed = set(model.outputs)
    operators: list[Operator] = []
    for op in reversed(model.operators):
        if needed.intersection(op.outputs):
            operators.append(op)
            needed.update(_activation_inputs(op))
    return tuple(reversed(operators))


def _activation_inputs(op: Operator) -> tuple[int, ...]:
    """Inputs that are feature maps; all of them for an operator that is not known."""
    if op.name == _RESHAPE:
        return op.inputs[:1]
    kind = _KINDS.get(op.name)
    return op.inputs if kind is None else op.inputs[: kind.activations]


def _check_int8(tensor: Tensor, what: str) -> None:
    if tensor.dtype != "int8":
        raise ModelError(f"{what}: expected int8, found {tensor.dtype}: {tensor.label}", hint=_QUANTISE_HINT)
    if len(tensor.scales) != 1 or tensor.scales[0] <= 0:
        raise ModelError(f"{what}: expected one scale above 0, found {tensor.scales[:4]}: {tensor.label}")


def _size_of(shape: tuple[int, ...], what: str) -> Size:
    if is_vector(shape):
        return 1, 1, shape[-1]
    if len(shape) != 4 or shape[0] != 1:
        raise ModelError(f"{what}: expected 1 x height x width x channels, found {shape}")
    return shape[1], shape[2], shape[3]


def _reshaped(op: Operator, operand: Operand, output: Tensor) -> Operand:
    """The same values under another shape.

    Raises:
        ModelError: they would lie elsewhere, or mean something else.
    """
    source = operand.tensor
    if output.elements != source.elements:
        raise ModelError(
            f"{op.label}: expected as many values as before, found {describe(source)} and {describe(output)}"
        )
    if (output.scales, output.zero_points) != (source.scales, source.zero_points):
        raise ModelError(f"{op.label}: expected an output quantised as the input: {output.label}")
    if output.shape != (1, *operand.size) and not is_vector(output.shape):
        raise ModelError(
            f"{op.label}: expected a reshape to a vector, found {describe(source)} to {describe(output)}",
            hint="the static engine computes maps row by row and cannot rearrange them",
        )
    return Operand(output, operand.feature, operand.index)


def _check_output(operation: Operation, size: Size) -> None:
    """The declared shape against the computed size; a flattened map stays one."""
    shape = operation.output.shape
    is_flat = bool(operation.operands) and is_vector(operation.operands[0].tensor.shape)
    if shape == (1, *size):
        return
    if is_vector(shape) and shape[-1] == math.prod(size) and (is_flat or size[:2] == (1, 1)):
        return
    raise operation.error(f"expected an output of {(1, *size)}, found {describe(operation.output)}")
