# SPDX-License-Identifier: Apache-2.0
"""Reading a .tflite: the graph as plain facts, from a file that nobody vouches for.

Field numbers are those of TensorFlow Lite's schema, version 3 (`schema.fbs`).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError
from firmware_export.flatbuffer import FlatBuffer, FlatBufferError, Table
from firmware_export.operator_options import NO_OPTIONS, Options, read_options

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
CUSTOM = "CUSTOM"

MAX_DIMENSION = 1 << 24
MAX_ELEMENTS = 1 << 31
MAX_RANK = 8

_DTYPES = (
    *("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64"),
    *("complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16"),
)
_ITEM_BYTES = {
    **{
        "float32": 4,
        "float16": 2,
        "int32": 4,
        "uint8": 1,
        "int64": 8,
        "bool": 1,
        "int16": 2,
        "complex64": 8,
        "int8": 1,
    },
    **{"float64": 8, "complex128": 16, "uint64": 8, "uint32": 4, "uint16": 2, "bfloat16": 2},
}


class ModelError(LitesightError):
    """A .tflite that is damaged, or not of the kind that is needed."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of the graph.

    Attributes:
        index: its number in the file.
        name: its name in the file; may be empty.
        shape: sizes; a dynamic batch (-1 in the file) is 1 here.
        dtype: numpy's name where numpy has the type ("int8", "float32"); "int4" and the like otherwise.
        scales: one scale, one per channel of ``quantized_dimension``, or none.
        zero_points: as many as there are scales.
        quantized_dimension: the axis of the channels when there is more than one scale.
        is_constant: whether the file holds its values.
        data: the values of a constant, little-endian, row-major; else empty.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    quantized_dimension: int
    is_constant: bool
    data: bytes

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes that the values take, 0 where a type has no fixed size."""
        return _size_bytes(self.dtype, self.elements)

    @property
    def label(self) -> str:
        """How messages call it: "'serving_input:0' (tensor 3)"."""
        return f"{_shorten(self.name)!r} (tensor {self.index})"


@dataclass(frozen=True)
class Operator:
    """One operator of the graph.

    Attributes:
        index: its place in the order of execution.
        name: the schema's name ("CONV_2D"), "CUSTOM" for a custom operator.
        custom_name: the name of a custom operator, else empty.
        version: version of the operator.
        inputs: tensor indices; -1 is an optional input that is left out.
        outputs: tensor indices.
        options: padding, strides and the like.
    """

    index: int
    name: str
    custom_name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options = NO_OPTIONS

    @property
    def label(self) -> str:
        """How messages call it: "operator 3 (CONV_2D)"."""
        name = f"{CUSTOM} {_shorten(self.custom_name)!r}" if self.name == CUSTOM else self.name
        return f"operator {self.index} ({name})"


@dataclass(frozen=True)
class Model:
    """The one graph of a .tflite.

    Attributes:
        tensors: all tensors, by index.
        operators: in the order of execution.
        inputs: tensor indices of the graph's inputs.
        outputs: tensor indices of the graph's outputs.
        description: what the converter wrote into the file.
        size_bytes: size of the file.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    description: str
    size_bytes: int

    @property
    def input(self) -> Tensor:
        """The first input."""
        return self.tensors[self.inputs[0]]

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.tensors[self.outputs[0]]


def read_model(data: bytes) -> Model:
    """Read a .tflite.

    Args:
        data: the whole file.

    Raises:
        ModelError: the file is damaged, is not a .tflite, or has more than one graph; the message names the
            operator or tensor where there is one.
    """
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        found = f"{len(data)} bytes" if len(data) < 8 else repr(data[4:8])
        raise ModelError(f"not a TensorFlow Lite model: expected the identifier TFL3 at byte 4, found {found}")
    try:
        return _read(data)
    except FlatBufferError as error:
        raise ModelError(f"the .tflite is damaged: {error}", hint="convert or download it again") from error


def require_int8(model: Model) -> None:
    """Check that the model takes one int8 image, gives one int8 vector, and computes nothing in float.

    Raises:
        ModelError: it does not; names the tensor and its type.
    """
    _require_one(model.inputs, "input")
    _require_one(model.outputs, "output")
    hint = "quantise it with litesight train, or with the converter's full-integer mode and int8 inputs and outputs"
    edges = {model.inputs[0]: "input", model.outputs[0]: "output"}
    for index in (*edges, *(i for op in model.operators for i in (*op.inputs, *op.outputs) if i >= 0)):
        tensor = model.tensors[index]
        if index in edges and tensor.dtype != "int8":
            raise ModelError(
                f"expected a fully int8 model, found {tensor.dtype} {edges[index]} {tensor.label}", hint=hint
            )
        if tensor.dtype in ("float32", "float16", "float64", "bfloat16"):
            raise ModelError(f"expected a fully int8 model, found {tensor.dtype} tensor {tensor.label}", hint=hint)
        if index in edges and (len(tensor.scales) != 1 or tensor.scales[0] <= 0):
            raise ModelError(f"expected one scale above 0 for the {edges[index]} {tensor.label}, found {tensor.scales}")
    shape = model.input.shape
    if len(shape) != 4 or shape[0] != 1:
        raise ModelError(f"expected an input of 1 x height x width x channels, found {shape}: {model.input.label}")
    if not model.output.shape or model.output.elements != model.output.shape[-1]:
        raise ModelError(f"expected an output of 1 x classes, found {model.output.shape}: {model.output.label}")


def ops_used(model: Model) -> tuple[str, ...]:
    """The operators' names, each once, sorted; custom ones as "CUSTOM:name"."""
    return tuple(sorted({f"{CUSTOM}:{op.custom_name}" if op.name == CUSTOM else op.name for op in model.operators}))


def count_multiply_adds(model: Model) -> int:
    """Multiply-adds of the convolutions and fully connected layers of one inference, padding counted as if computed.

    Raises:
        ModelError: a layer's shapes contradict each other.
    """
    return sum(_multiply_adds(model, op) for op in model.operators)


def _multiply_adds(model: Model, op: Operator) -> int:
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    if len(op.inputs) < 2 or op.inputs[1] < 0 or not op.outputs:
        raise ModelError(f"{op.label} has no weights or no output")
    weights, output = model.tensors[op.inputs[1]], model.tensors[op.outputs[0]]
    rank = 2 if op.name == "FULLY_CONNECTED" else 4
    if len(weights.shape) != rank:
        raise ModelError(f"{op.label}: expected weights of {rank} dimensions, found {weights.shape}: {weights.label}")
    # (out, height, width, in), (1, height, width, out) and (out, in): each output element costs one filter.
    per_output = weights.shape[1] * weights.shape[2] if op.name == "DEPTHWISE_CONV_2D" else math.prod(weights.shape[1:])
    return output.elements * per_output


def _read(data: bytes) -> Model:
    root = FlatBuffer(data).root()
    version = root.scalar(0, "I", 0)
    if version != SCHEMA_VERSION:
        raise ModelError(f"expected a .tflite of schema version {SCHEMA_VERSION}, found {version}")
    subgraphs = root.tables(2, "graph")
    if len(subgraphs) != 1:
        raise ModelError(f"expected a .tflite with one graph, found {len(subgraphs)}")
    graph = subgraphs[0]
    buffers = [_buffer_bytes(table, data) for table in root.tables(4, "buffer")]
    tensors = tuple(_tensor(i, table, buffers) for i, table in enumerate(graph.tables(0, "tensor")))
    opcodes = [_opcode(table) for table in root.tables(1, "operator code")]
    operators = tuple(_operator(i, table, opcodes, len(tensors)) for i, table in enumerate(graph.tables(3, "operator")))
    model = Model(
        tensors=tensors,
        operators=operators,
        inputs=_indices(graph, 1, len(tensors), "the graph's inputs", optional=False),
        outputs=_indices(graph, 2, len(tensors), "the graph's outputs", optional=False),
        description=root.octets(3).decode("utf-8", "replace"),
        size_bytes=len(data),
    )
    _check_order(model)
    return model


def _buffer_bytes(table: Table, data: bytes) -> bytes:
    offset, size = table.scalar(1, "Q", 0), table.scalar(2, "Q", 0)
    # Files above 2 GB keep the data behind the flatbuffer; 0 and 1 stand for "not so".
    if offset <= 1:
        return table.octets(0)
    return table.outside(offset, size)


def _tensor(index: int, table: Table, buffers: list[bytes]) -> Tensor:
    name = table.octets(3).decode("utf-8", "replace")
    label = f"{_shorten(name)!r} (tensor {index})"
    type_code = table.scalar(1, "b", 0)
    if not 0 <= type_code < len(_DTYPES):
        raise ModelError(f"{label} has the unknown type {type_code}")
    dtype = _DTYPES[type_code]
    shape = _shape(table, label)
    buffer = table.scalar(2, "I", 0)
    if buffer >= max(len(buffers), 1):
        raise ModelError(f"{label} refers to buffer {buffer} of {len(buffers)}")
    data = buffers[buffer] if buffers else b""
    expected = _size_bytes(dtype, math.prod(shape))
    if data and expected and len(data) != expected:
        raise ModelError(f"{label} is {dtype} {shape}: expected {expected} bytes of data, found {len(data)}")
    scales, zero_points, dimension = _quantization(table, shape, dtype, label)
    return Tensor(index, name, shape, dtype, scales, zero_points, dimension, bool(data), data)


def _shape(table: Table, label: str) -> tuple[int, ...]:
    shape = [int(size) for size in table.numbers(0, "<i4")]
    if shape and shape[0] == -1:
        shape[0] = 1
    if len(shape) > MAX_RANK:
        raise ModelError(f"{label} has {len(shape)} dimensions; at most {MAX_RANK} are expected")
    if -1 in shape:
        raise ModelError(
            f"{label} has a dynamic shape: {tuple(shape)}", hint="convert the model with a fixed input shape"
        )
    if any(not 0 <= size <= MAX_DIMENSION for size in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(f"{label} has an impossible shape: {tuple(shape)}")
    return tuple(shape)


def _quantization(
    table: Table, shape: tuple[int, ...], dtype: str, label: str
) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    quantization = table.table(4, f"the quantisation of {label}")
    if quantization is None:
        return (), (), 0
    scales = quantization.numbers(2, "<f4")
    if not len(scales):
        return (), (), 0
    zero_points = quantization.numbers(3, "<i8")
    dimension = quantization.scalar(6, "i", 0)
    if not bool(np.all(np.isfinite(scales) & (scales >= 0))):
        raise ModelError(f"{label} has a scale that is negative or not a number")
    if len(zero_points) == 0:
        zero_points = np.zeros(len(scales), np.int64)
    if len(zero_points) != len(scales):
        raise ModelError(f"{label} has {len(scales)} scales and {len(zero_points)} zero points")
    if len(scales) > 1 and not (0 <= dimension < len(shape) and shape[dimension] == len(scales)):
        raise ModelError(f"{label} {shape} has {len(scales)} scales along dimension {dimension}")
    _check_zero_points(zero_points, dtype, label)
    return tuple(float(s) for s in scales), tuple(int(z) for z in zero_points), dimension if len(scales) > 1 else 0


def _check_zero_points(zero_points: NDArray[Any], dtype: str, label: str) -> None:
    if dtype not in ("int8", "uint8", "int16"):
        return
    limits = np.iinfo(dtype)
    low, high = int(np.min(zero_points)), int(np.max(zero_points))
    if low < limits.min or high > limits.max:
        raise ModelError(f"{label} is {dtype}: its zero point {low if low < limits.min else high} is out of range")


def _opcode(table: Table) -> tuple[str, str, int]:
    # Codes above 127 do not fit the old field; old files have only the old one.
    code = max(table.scalar(0, "b", 0), table.scalar(3, "i", 0))
    name = _builtin_names().get(code)
    if name is None:
        raise ModelError(f"the model uses the operator code {code}, which is not known here")
    return name, table.octets(1).decode("utf-8", "replace") if name == CUSTOM else "", table.scalar(2, "i", 1)


@functools.cache
def _builtin_names() -> dict[int, str]:
    from tflite.BuiltinOperator import BuiltinOperator

    return {code: name for name, code in vars(BuiltinOperator).items() if isinstance(code, int)}


def _operator(index: int, table: Table, opcodes: list[tuple[str, str, int]], tensors: int) -> Operator:
    code = table.scalar(0, "I", 0)
    if code >= len(opcodes):
        raise ModelError(f"operator {index} refers to operator code {code} of {len(opcodes)}")
    name, custom_name, version = opcodes[code]
    label = f"operator {index} ({name})"
    inputs = _indices(table, 1, tensors, f"the inputs of {label}", optional=True)
    outputs = _indices(table, 2, tensors, f"the outputs of {label}", optional=False)
    return Operator(index, name, custom_name, version, inputs, outputs, read_options(table, name, label))


def _indices(table: Table, slot: int, tensors: int, what: str, *, optional: bool) -> tuple[int, ...]:
    indices = tuple(int(i) for i in table.numbers(slot, "<i4"))
    for index in indices:
        if not (-1 if optional else 0) <= index < tensors:
            raise ModelError(f"{what} refer to tensor {index} of {tensors}")
    return indices


def _check_order(model: Model) -> None:
    """Every tensor is written once, before it is read."""
    written = set(model.inputs)
    for op in model.operators:
        for index in op.inputs:
            if index >= 0 and index not in written and not _is_given(model.tensors[index]):
                raise ModelError(f"{op.label} reads {model.tensors[index].label}, which nothing has written")
        for index in op.outputs:
            if index in written or model.tensors[index].is_constant:
                raise ModelError(f"{op.label} writes {model.tensors[index].label}, which is written already")
            written.add(index)
    for index in model.outputs:
        if index not in written and not model.tensors[index].is_constant:
            raise ModelError(f"nothing writes the graph's output {model.tensors[index].label}")


def _is_given(tensor: Tensor) -> bool:
    # An empty list of sizes or axes is a constant of no bytes.
    return tensor.is_constant or tensor.elements == 0


def _require_one(indices: tuple[int, ...], what: str) -> None:
    if len(indices) != 1:
        raise ModelError(f"expected a model with one {what}, found {len(indices)}")


def _size_bytes(dtype: str, elements: int) -> int:
    if dtype == "int4":
        return (elements + 1) // 2
    return _ITEM_BYTES.get(dtype, 0) * elements


def _shorten(name: str) -> str:
    return name if len(name) <= 60 else name[:57] + "..."
