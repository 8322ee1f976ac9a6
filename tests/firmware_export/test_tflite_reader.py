# SPDX-License-Identifier: Apache-2.0
"""A .tflite is a file from anywhere: what it says is read right, and what it lies about is refused in one line."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_export.tflite_reader import (
    Model,
    ModelError,
    Operator,
    Tensor,
    count_multiply_adds,
    ops_used,
    read_model,
    require_int8,
)

DATA = Path(__file__).resolve().parent / "data"
TINY = (DATA / "tiny_int8.tflite").read_bytes()
# Untyped.
flatbuffers: Any = importlib.import_module("flatbuffers")


def test_the_graph_is_what_the_generated_reader_finds() -> None:
    """The generated classes read the same file without checks; on a good file both must agree."""
    model = read_model(TINY)
    reference = tflite.Model.GetRootAsModel(TINY, 0)
    graph = reference.Subgraphs(0)
    assert len(model.tensors) == graph.TensorsLength()
    for tensor in model.tensors:
        raw = graph.Tensors(tensor.index)
        assert tensor.name == raw.Name().decode()
        assert tensor.shape == tuple(raw.ShapeAsNumpy())
        quantization = raw.Quantization()
        if tensor.scales:
            np.testing.assert_array_equal(np.array(tensor.scales, np.float32), quantization.ScaleAsNumpy())
            np.testing.assert_array_equal(tensor.zero_points, quantization.ZeroPointAsNumpy())
            assert tensor.quantized_dimension == (quantization.QuantizedDimension() if len(tensor.scales) > 1 else 0)
        buffer = reference.Buffers(raw.Buffer())
        assert tensor.data == (buffer.DataAsNumpy().tobytes() if buffer.DataLength() else b"")
        assert tensor.is_constant == bool(tensor.data)
    for op in model.operators:
        raw_op = graph.Operators(op.index)
        assert op.inputs == tuple(raw_op.InputsAsNumpy())
        assert op.outputs == tuple(raw_op.OutputsAsNumpy())
        code = reference.OperatorCodes(raw_op.OpcodeIndex())
        assert op.name == tflite.opcode2name(code.BuiltinCode())
        assert op.version == code.Version()
    assert model.size_bytes == len(TINY)
    assert (model.input.dtype, model.input.shape) == ("int8", (1, 16, 16, 3))
    assert (model.input.scales, model.input.zero_points) == ((1 / 128,), (0,))


def test_multiply_adds_are_counted_by_layer() -> None:
    stem = 8 * 8 * 8 * (3 * 3 * 3)
    block1 = 64 * 8 * 16 + 64 * 16 * 9 + 64 * 16 * 8
    block2 = 64 * 8 * 16 + 16 * 16 * 25 + 16 * 16 * 12
    head = 16 * 12 * 24 + 24 * 4
    assert count_multiply_adds(read_model(TINY)) == stem + block1 + block2 + head


def test_ops_are_named_once() -> None:
    assert ops_used(read_model(TINY)) == ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN")


def test_a_float_model_is_refused_with_tensor_and_type() -> None:
    model = read_model((DATA / "tiny_float.tflite").read_bytes())
    with pytest.raises(ModelError, match=r"expected a fully int8 model, found float32 input 'serving_default_image:0'"):
        require_int8(model)


def test_an_output_without_dimensions_is_refused() -> None:
    model = read_model(TINY)
    tensors = list(model.tensors)
    tensors[model.outputs[0]] = replace(model.output, shape=())
    with pytest.raises(ModelError, match=r"expected an output of 1 x classes, found \(\)"):
        require_int8(replace(model, tensors=tuple(tensors)))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x1c\0\0\0TFL2" + bytes(64), b"GIF89a" * 20])
def test_another_file_is_not_taken_for_a_model(data: bytes) -> None:
    with pytest.raises(ModelError, match="not a TensorFlow Lite model"):
        read_model(data)


def read_or_refuse(data: bytes) -> None:
    """The only exception that any file may cause is ModelError, in one line."""
    message = ""
    try:
        model = read_model(data)
        require_int8(model)
        count_multiply_adds(model)
        ops_used(model)
    except ModelError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 600


@given(st.integers(0, len(TINY) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(ModelError):
        # The last bytes of a flatbuffer are the vtable or string that was written first: all of it is used.
        read_model(TINY[:length])


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(TINY) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@example([(0, 255), (1, 255), (2, 255), (3, 255)])
@example([(0, 252), (1, 255), (2, 255), (3, 127)])
def test_changed_bytes_never_crash_the_reader(changes: list[tuple[int, int]]) -> None:
    data = bytearray(TINY)
    for position, value in changes:
        data[position] = value
    read_or_refuse(bytes(data))


INTERESTING = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, len(TINY), 1 << 24)


@settings(max_examples=400)
@given(st.integers(0, len(TINY) // 4 - 1), st.sampled_from(INTERESTING))
def test_hostile_offsets_and_lengths_never_crash_the_reader(word: int, value: int) -> None:
    data = bytearray(TINY)
    struct.pack_into("<I", data, 4 * word, value)
    read_or_refuse(bytes(data))


@given(st.binary(max_size=200))
def test_noise_with_the_right_identifier_never_crashes_the_reader(noise: bytes) -> None:
    read_or_refuse(noise[:4].ljust(4, b"\0") + b"TFL3" + noise[4:])


def test_a_small_file_cannot_fill_the_memory() -> None:
    """Ten thousand tensors that all share one long name: 140 kB that would unfold to a gigabyte."""
    builder = flatbuffers.Builder(1 << 20)
    name = builder.CreateString("x" * 100_000)
    tflite.TensorStart(builder)
    tflite.TensorAddName(builder, name)
    tensor = tflite.TensorEnd(builder)
    builder.StartVector(4, 10_000, 4)
    for _ in range(10_000):
        builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors)
    graph = tflite.SubGraphEnd(builder)
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddSubgraphs(builder, graphs)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    with pytest.raises(ModelError, match="add up to far more than"):
        read_model(bytes(builder.Output()))


Place = Callable[[tflite.Model], int]


def field(table: Any, slot: int) -> int:
    """Where a scalar field lies in the file, by the generated reader's own tables."""
    tab = table._tab
    offset = tab.Offset(4 + 2 * slot)
    assert offset, "the fixture leaves this field out"
    return int(tab.Pos + offset)


def tensor(model: tflite.Model, index: int) -> tflite.Tensor:
    return model.Subgraphs(0).Tensors(index)


def vector_item(table: Any, slot: int, item: int) -> int:
    tab = table._tab
    return int(tab.Vector(tab.Offset(4 + 2 * slot)) + 4 * item)


PATCHES: list[tuple[str, Place, bytes, str]] = [
    (
        "type",
        lambda m: field(tensor(m, 0), 1),
        b"\x63",
        r"'serving_default_image:0' \(tensor 0\) has the unknown type 99",
    ),
    ("buffer", lambda m: field(tensor(m, 1), 2), b"\xff\xff\0\0", r"tensor 1\) refers to buffer 65535 of"),
    (
        "shape",
        lambda m: vector_item(tensor(m, 0), 0, 1),
        b"\xff\xff\xff\xff",
        r"tensor 0\) has a dynamic shape: \(1, -1",
    ),
    ("size", lambda m: vector_item(tensor(m, 0), 0, 1), b"\0\0\0\x7f", r"tensor 0\) has an impossible shape"),
    ("data", lambda m: vector_item(tensor(m, 3), 0, 0), b"\x07\0\0\0", r"tensor 3\) is .*: expected \d+ bytes of data"),
    ("scale", lambda m: vector_item(tensor(m, 0).Quantization(), 2, 0), b"\0\0\xc0\x7f", "negative or not a number"),
    ("zero", lambda m: vector_item(tensor(m, 0).Quantization(), 3, 0), b"\x80", "zero point 128 is out of range"),
    (
        "opcode",
        lambda m: field(m.Subgraphs(0).Operators(2), 0),
        b"\x63\0\0\0",
        "operator 2 refers to operator code 99 of 5",
    ),
    ("input", lambda m: vector_item(m.Subgraphs(0).Operators(0), 1, 0), b"\x63\0\0\0", r"operator 0 \(CONV_2D\) refer"),
    ("order", lambda m: vector_item(m.Subgraphs(0).Operators(0), 1, 0), b"\x1a\0\0\0", "which nothing has written"),
    (
        "output",
        lambda m: vector_item(m.Subgraphs(0), 2, 0),
        b"\xff\xff\xff\xff",
        "the graph's outputs refer to tensor -1",
    ),
]


@pytest.mark.parametrize(("place", "value", "message"), [p[1:] for p in PATCHES], ids=[p[0] for p in PATCHES])
def test_a_lie_in_the_file_is_named(place: Place, value: bytes, message: str) -> None:
    data = bytearray(TINY)
    position = place(tflite.Model.GetRootAsModel(TINY, 0))
    data[position : position + len(value)] = value
    with pytest.raises(ModelError, match=message):
        read_model(bytes(data))


@pytest.mark.parametrize(("old", "new"), [(127, 3), (3, 0)])
def test_old_and_new_field_of_the_operator_code_are_read(old: int, new: int) -> None:
    """Codes above 127 stand in the new field only, and then the old one is 127; old files have the old one only."""
    data = bytearray(TINY)
    reference = tflite.Model.GetRootAsModel(TINY, 0)
    index = next(
        i
        for i in range(reference.OperatorCodesLength())
        if reference.OperatorCodes(i).BuiltinCode() == tflite.BuiltinOperator.CONV_2D
    )
    code = reference.OperatorCodes(index)
    data[field(code, 0)] = old
    data[field(code, 3)] = 150 if old == 127 else new
    names = {op.name for op in read_model(bytes(data)).operators}
    assert ("GELU" if old == 127 else "CONV_2D") in names


def test_the_dynamic_batch_of_keras_is_one() -> None:
    data = bytearray(TINY)
    position = vector_item(tensor(tflite.Model.GetRootAsModel(TINY, 0), 0), 0, 0)
    data[position : position + 4] = b"\xff\xff\xff\xff"
    model = read_model(bytes(data))
    assert model.input.shape == (1, 16, 16, 3)
    require_int8(model)


def int8_tensor(index: int, shape: tuple[int, ...], dtype: str = "int8", scale: float = 0.5) -> Tensor:
    return Tensor(index, f"t{index}", shape, dtype, (scale,), (0,), 0, False, b"")


@pytest.mark.parametrize(
    ("tensors", "inputs", "message"),
    [
        ((int8_tensor(0, (1, 4, 4, 3)), int8_tensor(1, (1, 2), "float32")), (0,), "found float32 output 't1'"),
        ((int8_tensor(0, (1, 4, 4, 3), "uint8"), int8_tensor(1, (1, 2))), (0,), "found uint8 input 't0'"),
        ((int8_tensor(0, (1, 4, 4, 3), scale=0.0), int8_tensor(1, (1, 2))), (0,), "one scale above 0 for the input"),
        ((int8_tensor(0, (2, 4, 4, 3)), int8_tensor(1, (1, 2))), (0,), r"1 x height x width x channels, found \(2, 4"),
        ((int8_tensor(0, (1, 4, 4, 3)), int8_tensor(1, (1, 2, 2))), (0,), r"1 x classes, found \(1, 2, 2\)"),
        ((int8_tensor(0, (1, 4, 4, 3)), int8_tensor(1, (1, 2))), (0, 0), "one input, found 2"),
    ],
)
def test_what_is_not_an_int8_classifier_is_refused(
    tensors: tuple[Tensor, ...], inputs: tuple[int, ...], message: str
) -> None:
    model = Model(tensors, (Operator(0, "MEAN", "", 1, (0,), (1,)),), inputs, (1,), "", 0)
    with pytest.raises(ModelError, match=message):
        require_int8(model)


def test_a_float_tensor_in_the_middle_is_refused() -> None:
    tensors = (int8_tensor(0, (1, 4, 4, 3)), int8_tensor(1, (1, 2), "float32"), int8_tensor(2, (1, 2)))
    ops = (Operator(0, "DEQUANTIZE", "", 1, (0,), (1,)), Operator(1, "QUANTIZE", "", 1, (1,), (2,)))
    with pytest.raises(ModelError, match="found float32 tensor 't1'"):
        require_int8(Model(tensors, ops, (0,), (2,), "", 0))
