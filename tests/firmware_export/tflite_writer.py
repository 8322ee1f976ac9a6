# SPDX-License-Identifier: Apache-2.0
"""Writes a .tflite with the generated classes of the schema: whatever it is told, also contradictions."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tflite

# Untyped.
flatbuffers: Any = importlib.import_module("flatbuffers")
schema: Any = tflite

Options: TypeAlias = Mapping[str, int | float | bool | Sequence[int]]

OPTIONS_TABLES = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "MEAN": "ReducerOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "PAD": "PadOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "QUANTIZE": "QuantizeOptions",
    "DEQUANTIZE": "DequantizeOptions",
}
"""The schema's options by operator. RELU and RELU6 have none."""


@dataclass(frozen=True)
class BuiltTensor:
    """A tensor to be written; see ``ModelBuilder.tensor``."""

    shape: tuple[int, ...]
    name: str
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    quantized_dimension: int
    data: bytes
    shape_signature: tuple[int, ...] | None


@dataclass(frozen=True)
class BuiltOperator:
    """An operator to be written; see ``ModelBuilder.operator``."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options | None
    version: int
    custom_code: str


def write(
    tensors: Sequence[BuiltTensor],
    operators: Sequence[BuiltOperator],
    inputs: Sequence[int],
    outputs: Sequence[int],
    description: str,
) -> bytes:
    """The file."""
    builder = flatbuffers.Builder(1 << 16)
    codes = list(dict.fromkeys((op.name, op.custom_code, op.version) for op in operators))
    # Buffer 0 is the empty one, by the schema's convention.
    blobs = [b"", *(tensor.data for tensor in tensors if tensor.data)]
    buffers = [_buffer(builder, blob) for blob in blobs]
    numbers = iter(range(1, len(blobs)))
    tensor_tables = [_tensor(builder, tensor, next(numbers) if tensor.data else 0) for tensor in tensors]
    operator_tables = [_operator(builder, op, codes) for op in operators]
    opcodes = [_opcode(builder, *code) for code in codes]
    tensor_vector, operator_vector = _tables(builder, tensor_tables), _tables(builder, operator_tables)
    input_vector, output_vector = _int32s(builder, inputs), _int32s(builder, outputs)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensor_vector)
    schema.SubGraphAddInputs(builder, input_vector)
    schema.SubGraphAddOutputs(builder, output_vector)
    schema.SubGraphAddOperators(builder, operator_vector)
    graphs = _tables(builder, [schema.SubGraphEnd(builder)])
    buffer_vector, opcode_vector = _tables(builder, buffers), _tables(builder, opcodes)
    text = builder.CreateString(description)
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddOperatorCodes(builder, opcode_vector)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddDescription(builder, text)
    schema.ModelAddBuffers(builder, buffer_vector)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def _buffer(builder: Any, blob: bytes) -> int:
    # The runtime reads int32 in place; the format wants its buffers at multiples of 16.
    vector = None
    if blob:
        builder.StartVector(1, len(blob), 16)
        builder.head -= len(blob)
        builder.Bytes[builder.head : builder.head + len(blob)] = blob
        vector = builder.EndVector()
    schema.BufferStart(builder)
    if vector is not None:
        schema.BufferAddData(builder, vector)
    return int(schema.BufferEnd(builder))


def _tensor(builder: Any, tensor: BuiltTensor, buffer: int) -> int:
    name = builder.CreateString(tensor.name)
    shape = _int32s(builder, tensor.shape)
    signature = None if tensor.shape_signature is None else _int32s(builder, tensor.shape_signature)
    quantization = _quantization(builder, tensor) if tensor.scales else None
    schema.TensorStart(builder)
    schema.TensorAddShape(builder, shape)
    schema.TensorAddType(builder, getattr(schema.TensorType, tensor.dtype.upper()))
    schema.TensorAddBuffer(builder, buffer)
    schema.TensorAddName(builder, name)
    if quantization is not None:
        schema.TensorAddQuantization(builder, quantization)
    if signature is not None:
        schema.TensorAddShapeSignature(builder, signature)
    return int(schema.TensorEnd(builder))


def _quantization(builder: Any, tensor: BuiltTensor) -> int:
    scales = builder.CreateNumpyVector(np.array(tensor.scales, np.float32))
    zero_points = builder.CreateNumpyVector(np.array(tensor.zero_points, np.int64))
    schema.QuantizationParametersStart(builder)
    schema.QuantizationParametersAddScale(builder, scales)
    schema.QuantizationParametersAddZeroPoint(builder, zero_points)
    schema.QuantizationParametersAddQuantizedDimension(builder, tensor.quantized_dimension)
    return int(schema.QuantizationParametersEnd(builder))


def _operator(builder: Any, op: BuiltOperator, codes: list[tuple[str, str, int]]) -> int:
    inputs, outputs = _int32s(builder, op.inputs), _int32s(builder, op.outputs)
    table = OPTIONS_TABLES.get(op.name, "")
    options = _options(builder, table, op.options) if table and op.options is not None else None
    schema.OperatorStart(builder)
    schema.OperatorAddOpcodeIndex(builder, codes.index((op.name, op.custom_code, op.version)))
    schema.OperatorAddInputs(builder, inputs)
    schema.OperatorAddOutputs(builder, outputs)
    if options is not None:
        schema.OperatorAddBuiltinOptionsType(builder, getattr(schema.BuiltinOptions, table))
        schema.OperatorAddBuiltinOptions(builder, options)
    return int(schema.OperatorEnd(builder))


def _options(builder: Any, table: str, options: Options) -> int:
    vectors = {key: _int32s(builder, value) for key, value in options.items() if isinstance(value, Sequence)}
    getattr(schema, f"{table}Start")(builder)
    for key, value in options.items():
        getattr(schema, f"{table}Add{key}")(builder, vectors.get(key, value))
    return int(getattr(schema, f"{table}End")(builder))


def _opcode(builder: Any, name: str, custom_code: str, version: int) -> int:
    code = int(getattr(schema.BuiltinOperator, name))
    text = builder.CreateString(custom_code) if custom_code else None
    schema.OperatorCodeStart(builder)
    schema.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, 127))
    if text is not None:
        schema.OperatorCodeAddCustomCode(builder, text)
    schema.OperatorCodeAddVersion(builder, version)
    schema.OperatorCodeAddBuiltinCode(builder, code)
    return int(schema.OperatorCodeEnd(builder))


def _int32s(builder: Any, values: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.int32)))


def _tables(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
