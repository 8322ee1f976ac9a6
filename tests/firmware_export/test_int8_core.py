# SPDX-License-Identifier: Apache-2.0
"""Networks with float32 or uint8 edges: the int8 part is found, and TFLM's run of the whole is that of the part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_export import tflm_oracle
from firmware_export.export_source import open_source
from firmware_export.int8_core import decode_output, encode_input, int8_core
from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.layers import Lookup
from firmware_export.tflite_reader import ModelError, read_model, require_int8
from tests.firmware_export import graph_interpreter
from tests.firmware_export.tflite_builder import RandomNetwork

SHAPE = (1, 6, 5, 3)
ALL_VALUES = np.arange(-128, 128).astype(np.int8)


def network(edges: str, *, scale: float = 0.05, zero_point: int = -9) -> bytes:
    """A small classifier whose edges are of a type; with "uint8" the inner quantisation may differ from the edge's."""
    net = RandomNetwork(seed=5)
    if edges == "int8":
        x = net.input(*SHAPE[1:], scale=0.05, zero_point=-9)
    else:
        is_quantised = edges == "uint8"
        edge = net.tensor(
            SHAPE, dtype=edges, scales=0.05 if is_quantised else (), zero_points=119 if is_quantised else ()
        )
        net.graph_inputs.append(edge)
        x = net.quantize(edge, scale=scale, zero_point=zero_point)
    x = net.softmax(net.fully_connected(net.conv(x, 4, kernel=3), 5, scale=0.3))
    if edges == "float32":
        x = net.dequantize(x)
    elif edges == "uint8":
        x = net.quantize(x, scale=1 / 256 if scale == 0.05 else 1 / 200, zero_point=0, dtype="uint8")
    return net.finish(x)


@pytest.fixture(scope="module")
def inputs() -> NDArray[np.int8]:
    values = np.random.default_rng(1).integers(-128, 128, (6, *SHAPE[1:]), np.int8)
    values.reshape(-1)[:256] = ALL_VALUES
    return values


@pytest.mark.parametrize("edges", ["float32", "uint8"])
def test_edges_that_say_the_same_are_cut_off(require_oracle: None, edges: str, inputs: NDArray[np.int8]) -> None:
    """The same network with int8 edges gives the same bytes."""
    data, bare = network(edges), network("int8")
    core = int8_core(read_model(data))
    require_int8(core)
    assert [op.name for op in core.operators] == ["CONV_2D", "FULLY_CONNECTED", "SOFTMAX"]
    # Numbers stay those of the file, for the messages.
    assert [op.index for op in core.operators] == [1, 2, 3]
    assert core.input.scales == pytest.approx((0.05,))
    assert core.input.zero_points == (-9,)
    expected = tflm_oracle.run(bare, inputs).outputs
    np.testing.assert_array_equal(tflm_oracle.run(data, inputs).outputs, expected)
    np.testing.assert_array_equal(graph_interpreter.run(build_graph(read_model(data)), inputs), expected)


def test_uint8_edges_of_another_scale_become_lookups(require_oracle: None, inputs: NDArray[np.int8]) -> None:
    data = network("uint8", scale=0.07, zero_point=11)
    graph = build_graph(read_model(data))
    assert [isinstance(layer, Lookup) for layer in graph.layers] == [True, False, False, False, True]
    assert (graph.features[0].zero_point, graph.features[graph.output].zero_point) == (-9, -128)
    np.testing.assert_array_equal(graph_interpreter.run(graph, inputs), tflm_oracle.run(data, inputs).outputs)


@pytest.mark.parametrize("scale", [1e-30, 0.0078431377, 0.1, 3.7, 1e30])
@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_every_int8_goes_in_and_out_of_float32_unchanged(scale: float, zero_point: int) -> None:
    net = RandomNetwork()
    net.graph_inputs.append(net.tensor((1, 16, 16, 1), dtype="float32"))
    inner = net.quantize(0, scale=scale, zero_point=zero_point)
    model = read_model(net.build((0,), (net.dequantize(net.pool(inner, kernel=1, stride=1)),)))
    core = int8_core(model)
    real = encode_input(model, core, ALL_VALUES)
    assert real.dtype == np.float32
    # AffineQuantize of reference/quantize.h: division and rounding in float32.
    again = np.round(real / np.float32(scale)) + zero_point
    np.testing.assert_array_equal(again, ALL_VALUES)
    np.testing.assert_array_equal(decode_output(model, core, real), ALL_VALUES)


@pytest.mark.parametrize("edges", ["float32", "uint8"])
def test_only_who_can_do_with_it_gets_the_core(require_oracle: None, tmp_path: Path, edges: str) -> None:
    """The TFLM engine hands the network its int8 input directly; it needs the file's own edges to be int8."""
    path = tmp_path / "model.tflite"
    path.write_bytes(network(edges))
    with pytest.raises(ModelError, match=f"found {edges} input"):
        open_source(path)
    source = open_source(path, int8_edges=False)
    assert (source.model.input.dtype, source.is_probability) == ("int8", True)
    assert source.golden.outputs.shape == (4, 5)
    require_int8(source.model)


def test_float32_inside_stays_an_error() -> None:
    net = RandomNetwork()
    x = net.dequantize(net.fully_connected(net.input(4, 4, 1), 3))
    y = net.tensor((1, 3), dtype="float32")
    net.operator("SOFTMAX", (x,), (y,))
    model = read_model(net.finish(y))
    assert int8_core(model) == model
    with pytest.raises(ModelError, match=r"operator 1 \(DEQUANTIZE\): expected int8, found float32: 't4'"):
        build_graph(model)


def test_a_float32_input_that_two_operators_read_is_left_alone() -> None:
    net = RandomNetwork()
    x = net.tensor(SHAPE, dtype="float32")
    net.graph_inputs.append(x)
    model = read_model(net.finish(net.add(net.quantize(x), net.quantize(x))))
    assert int8_core(model) == model
    with pytest.raises(ModelError, match="the network's input: expected int8, found float32"):
        build_graph(model)


def test_a_uint8_network_is_refused() -> None:
    net = RandomNetwork()
    x = net.tensor(SHAPE, dtype="uint8", scales=0.1, zero_points=3)
    net.graph_inputs.append(x)
    model = read_model(net.finish(net.conv(x, 3)))
    assert int8_core(model) == model
    with pytest.raises(ModelError, match="the network's input: expected int8, found uint8"):
        build_graph(model)


@pytest.mark.parametrize("middle", ["nothing", "QUANTIZE", "DEQUANTIZE", "both"])
def test_a_network_that_is_only_edges_is_refused(middle: str) -> None:
    net = RandomNetwork()
    kind = "int8" if middle == "DEQUANTIZE" else "float32"
    x = net.tensor(SHAPE, dtype=kind, scales=0.1 if kind == "int8" else (), zero_points=0 if kind == "int8" else ())
    y = net.quantize(x) if middle in ("QUANTIZE", "both") else x
    y = net.dequantize(y) if middle in ("DEQUANTIZE", "both") else y
    with pytest.raises(ModelError, match="expected"):
        build_graph(read_model(net.build((x,), (y,))))
