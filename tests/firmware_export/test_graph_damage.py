# SPDX-License-Identifier: Apache-2.0
"""Whatever a file says, reading it ends in a graph or in one line: no crash, no endless loop, no gigabytes."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import LitesightError
from firmware_export.static_engine.graph import build_graph
from firmware_export.tflite_reader import read_model
from tests.firmware_export import graph_interpreter
from tests.firmware_export.tflite_builder import NO_TENSOR, RandomNetwork
from tests.firmware_export.tflite_writer import OPTIONS_TABLES

TINY = (Path(__file__).resolve().parent / "data" / "tiny_int8.tflite").read_bytes()
_SMALL_BYTES = 1 << 12


def every_operator() -> tuple[RandomNetwork, int]:
    """A network in which each operator of the family occurs, and its output."""
    net = RandomNetwork(seed=1)
    x = net.conv(net.pad(net.input(13, 10, 3), bottom=1, left=2), 8, kernel=3, stride=2, padding="VALID")
    x = net.pool(x, kind="MAX", kernel=(3, 2), stride=1, padding="SAME")
    y = net.depthwise(x, kernel=3, dilation=2, activation="RELU6")
    x = net.relu(net.quantize(net.add(x, y, activation="RELU")), "RELU6")
    x = net.depthwise(net.relu(x), kernel=2, multiplier=2, per_channel=False, bias=False)
    y = net.mean(net.pad(net.pool(x), top=1), keep_dims=True)
    y = net.fully_connected(net.reshape(y, (1, 16), with_tensor=False), 6, per_channel=True)
    return net, net.softmax(y, beta=0.5)


@functools.cache
def files() -> tuple[bytes, bytes]:
    net, output = every_operator()
    return net.finish(output), TINY


def read_and_run(data: bytes) -> None:
    """A graph that was accepted keeps its promises: shapes, int8 everywhere, accumulators within their bound."""
    message = ""
    try:
        graph = build_graph(read_model(data))
    except LitesightError as error:
        message = str(error)
    else:
        if max(feature.size_bytes for feature in graph.features) <= _SMALL_BYTES:
            values = np.resize(np.arange(-128, 128), graph.features[0].size_bytes).astype(np.int8)
            graph_interpreter.run(graph, values[None])
    assert "\n" not in message
    assert len(message) < 900


@settings(max_examples=200)
@given(st.data())
def test_changed_bytes_end_in_a_graph_or_in_one_line(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(files())))
    position = st.integers(0, len(content) - 4)
    for place, value in data.draw(st.lists(st.tuples(position, st.integers(0, 255)), max_size=4)):
        content[place] = value
    numbers = st.sampled_from([0, 1, -1, 255, 65536, (1 << 31) - 1, -(1 << 31)])
    for place, number in data.draw(st.lists(st.tuples(position, numbers), max_size=2)):
        content[place : place + 4] = number.to_bytes(4, "little", signed=True)
    read_and_run(bytes(content))


SIZES = st.sampled_from([0, 1, 2, 3, 8, 13, 65535, 65536, 1 << 24])
SCALES = st.sampled_from([0.0, 1e-45, 1e-38, 1 / 256, 1.0, 1e38])
NAMES = st.sampled_from(sorted({*OPTIONS_TABLES, "RELU", "RELU6", "CUSTOM", "CONCATENATION"}))
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 5, 100])


@settings(max_examples=120)
@given(st.data())
def test_changed_facts_end_in_a_graph_or_in_one_line(data: st.DataObject) -> None:
    """The file itself is sound, what it says is not."""
    net, output = every_operator()
    tensor = st.integers(0, len(net.tensors) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            place = data.draw(tensor)
            net.tensors[place] = replace(net.tensors[place], **data.draw(tensor_changes(net, place)))
        else:
            place = data.draw(st.integers(0, len(net.operators) - 1))
            net.operators[place] = replace(net.operators[place], **data.draw(operator_changes(net, place)))
    outputs = [data.draw(tensor) if data.draw(st.integers(0, 9)) == 0 else output]
    read_and_run(net.build(net.graph_inputs, outputs))


def tensor_changes(net: RandomNetwork, index: int) -> st.SearchStrategy[dict[str, Any]]:
    tensor = net.tensors[index]
    count, length = len(tensor.scales), len(tensor.data)
    sizes = st.tuples(*(st.one_of(st.just(size), SIZES) for size in tensor.shape))
    return st.one_of(
        st.fixed_dictionaries({"shape": sizes}),
        st.fixed_dictionaries({"scales": st.tuples(*[SCALES] * count)}),
        st.fixed_dictionaries({"zero_points": st.tuples(*[st.integers(-128, 127)] * count)}),
        st.just({"scales": (), "zero_points": ()}),
        st.fixed_dictionaries({"dtype": st.sampled_from(["int8", "uint8", "float32", "int32", "int16"])}),
        st.fixed_dictionaries({"data": st.one_of(st.just(b""), st.binary(min_size=length, max_size=length))}),
    )


def operator_changes(net: RandomNetwork, index: int) -> st.SearchStrategy[dict[str, Any]]:
    operator = net.operators[index]
    others = st.integers(NO_TENSOR, len(net.tensors) - 1)
    inputs = st.tuples(*(st.one_of(st.just(i), others) for i in operator.inputs))
    changes = [
        st.fixed_dictionaries({"inputs": inputs}),
        st.just({"inputs": operator.inputs[:-1]}),
        st.fixed_dictionaries({"name": NAMES, "options": st.none()}),
        st.just({"options": None}),
    ]
    numbers = [key for key, value in (operator.options or {}).items() if type(value) is int]
    if numbers:
        some = st.dictionaries(st.sampled_from(numbers), NUMBERS, min_size=1)
        changes.append(some.map(lambda new: {"options": {**(operator.options or {}), **new}}))
    return st.one_of(*changes)
