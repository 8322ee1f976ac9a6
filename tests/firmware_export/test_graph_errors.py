# SPDX-License-Identifier: Apache-2.0
"""What the static engine cannot compute, or what contradicts itself, is refused in one line that names the place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from firmware_export.static_engine.graph import build_graph
from firmware_export.tflite_reader import ModelError, read_model
from tests.firmware_export.tflite_builder import RandomNetwork

Build = Callable[[RandomNetwork], int]


def change(net: RandomNetwork, index: int, **fields: Any) -> int:
    """Another value for what the file says of a tensor."""
    net.tensors[index] = replace(net.tensors[index], **fields)
    return index


def with_options(net: RandomNetwork, output: int, **options: int) -> int:
    """Other options for the last operator."""
    operator = net.operators[-1]
    net.operators[-1] = replace(operator, options={**(operator.options or {}), **options})
    return output


def conv_with_weights(net: RandomNetwork, shape: tuple[int, ...], output: tuple[int, ...], **fields: Any) -> int:
    x = net.input(4, 4, 4)
    weights = change(net, net.weights(shape, per_channel=False, axis=0), **fields)
    y = net.feature(output)
    net.operator("CONV_2D", (x, weights), (y,), {"StrideH": 1, "StrideW": 1})
    return y


def unary(net: RandomNetwork, name: str, **options: Any) -> int:
    x = net.input(4, 4, 2)
    y = net.feature((1, 4, 4, 2))
    net.operator(name, (x,), (y,), **options)
    return y


def mean_over(net: RandomNetwork, axes: list[int], shape: tuple[int, ...]) -> int:
    x = net.input(4, 4, 2)
    y = net.feature(shape)
    net.operator("MEAN", (x, net.constant(axes)), (y,), {})
    return y


def pad_by(net: RandomNetwork, paddings: list[list[int]], shape: tuple[int, ...], dtype: str = "int32") -> int:
    x = net.input(4, 4, 2, scale=0.1, zero_point=0)
    y = net.feature(shape, scale=0.1, zero_point=0)
    net.operator("PAD", (x, net.constant(paddings, dtype)), (y,), {})
    return y


def computed_constant(net: RandomNetwork, name: str) -> int:
    x = net.input(4, 4, 2)
    y = net.feature((1, 4, 4, 2))
    net.operator(name, (x, net.conv(x, 2)), (y,), {"StrideH": 1, "StrideW": 1})
    return y


def softmax_of(net: RandomNetwork, channels: int, **fields: Any) -> int:
    x = net.input(1, 1, channels)
    return change(net, net.softmax(x), **fields)


CASES: dict[str, tuple[Build, str]] = {
    "unknown operator": (
        lambda net: unary(net, "LOGISTIC"),
        r"operator 0 \(LOGISTIC\): the static engine does not compute it \(it computes ADD, .*tflm engine",
    ),
    "custom operator": (
        lambda net: unary(net, "CUSTOM", custom_code="my op"),
        r"operator 0 \(CUSTOM 'my op'\): the static engine does not compute it",
    ),
    "float32 inside": (
        lambda net: net.quantize(net.dequantize(net.conv(net.input(4, 4, 2), 2))),
        r"operator 1 \(DEQUANTIZE\): expected int8, found float32: 't4' \(tensor 4\) \(.*full-integer",
    ),
    "int16 map": (
        lambda net: change(net, net.conv(net.input(4, 4, 2), 2), dtype="int16"),
        r"operator 0 \(CONV_2D\): expected int8, found int16: 't2' \(tensor 2\)",
    ),
    "map without a scale": (
        lambda net: change(net, net.relu(net.input(4, 4, 2)), scales=(), zero_points=()),
        r"operator 0 \(RELU\): expected one scale above 0, found \(\): 't1'",
    ),
    "map with the scale 0": (
        lambda net: change(net, net.relu(net.input(4, 4, 2)), scales=(0.0,)),
        r"expected one scale above 0, found \(0.0,\)",
    ),
    "map with scales by channel": (
        lambda net: change(
            net, net.relu(net.input(4, 4, 2)), scales=(0.1, 0.2), zero_points=(0, 0), quantized_dimension=3
        ),
        r"expected one scale above 0, found \(0.1",
    ),
    "batch of two": (
        lambda net: net.relu(change(net, net.input(4, 4, 2), shape=(2, 4, 4, 2))),
        r"the network's input 'input' \(tensor 0\): expected 1 x height x width x channels, found \(2, 4, 4, 2\)",
    ),
    "input of no size": (
        lambda net: net.relu(net.input(0, 4, 2)),
        r"expected sizes of 1 to 65535, found \(1, 0, 4, 2\): 'input'",
    ),
    "input of rank 3": (
        lambda net: net.relu(net.input(4, 3)),
        r"expected 1 x height x width x channels, found \(1, 4, 3\)",
    ),
    "huge input": (lambda net: net.relu(net.input(70000, 1, 1)), r"expected sizes of 1 to 65535, found \(1, 70000"),
    "weights with a zero point": (
        lambda net: conv_with_weights(net, (2, 1, 1, 4), (1, 4, 4, 2), zero_points=(3,)),
        r"operator 0 \(CONV_2D\): expected weights with zero point 0, found 3: 't1' \(tensor 1\)",
    ),
    "float32 weights": (
        lambda net: conv_with_weights(net, (2, 1, 1, 4), (1, 4, 4, 2), dtype="float32", data=bytes(32)),
        r"operator 0 \(CONV_2D\): expected weights of type int8, found float32: 't1'",
    ),
    "weights of rank 2": (
        lambda net: conv_with_weights(net, (2, 4), (1, 4, 4, 2)),
        r"expected weights of 4 dimensions, found \(2, 4\): 't1'",
    ),
    "grouped convolution": (
        lambda net: conv_with_weights(net, (2, 1, 1, 2), (1, 4, 4, 2)),
        r"operator 0 \(CONV_2D\): expected weights for 4 input channels, found 2 \(a grouped convolution\): 't1'",
    ),
    "weights for other channels": (
        lambda net: conv_with_weights(net, (2, 1, 1, 3), (1, 4, 4, 2)),
        r"expected weights for 4 input channels, found 3: 't1'",
    ),
    "scales along another axis": (
        lambda net: conv_with_weights(
            net, (4, 1, 1, 4), (1, 4, 4, 4), scales=(0.1,) * 4, zero_points=(0,) * 4, quantized_dimension=3
        ),
        r"one for each of 4 output channels along dimension 0, found 4 along dimension 3",
    ),
    "output of another height": (
        lambda net: conv_with_weights(net, (2, 1, 1, 4), (1, 3, 4, 2)),
        r"operator 0 \(CONV_2D\): expected an output of \(1, 4, 4, 2\), found \(1, 3, 4, 2\): 't2' \(tensor 2\)",
    ),
    "output that is flat of itself": (
        lambda net: conv_with_weights(net, (2, 1, 1, 4), (1, 32)),
        r"expected an output of \(1, 4, 4, 2\), found \(1, 32\)",
    ),
    "output of other channels": (
        lambda net: conv_with_weights(net, (2, 1, 1, 4), (1, 4, 4, 3)),
        r"expected an output of \(1, 4, 4, 2\), found \(1, 4, 4, 3\)",
    ),
    "computed weights": (
        lambda net: computed_constant(net, "CONV_2D"),
        r"operator 1 \(CONV_2D\): expected constant weights, found values computed at run time: 't3'",
    ),
    "computed depthwise weights": (
        lambda net: computed_constant(net, "DEPTHWISE_CONV_2D"),
        r"operator 1 \(DEPTHWISE_CONV_2D\): expected constant weights",
    ),
    "no stride": (
        lambda net: with_options(net, net.conv(net.input(4, 4, 2), 2), StrideH=0),
        r"operator 0 \(CONV_2D\): expected a stride of 1 to 255 along the height, found 0",
    ),
    "huge stride": (
        lambda net: with_options(net, net.conv(net.input(4, 4, 2), 2), StrideW=256),
        r"expected a stride of 1 to 255 along the width, found 256",
    ),
    "negative dilation": (
        lambda net: with_options(net, net.depthwise(net.input(4, 4, 2)), DilationWFactor=-1),
        r"operator 0 \(DEPTHWISE_CONV_2D\): expected a dilation of 1 to 255 along the width, found -1",
    ),
    "window larger than the map": (
        lambda net: with_options(net, net.depthwise(net.input(4, 4, 2), kernel=5), Padding=1),
        r"expected a map with a height of at least the window's 5, found \(1, 4, 4, 2\): 'input'",
    ),
    "pool without a window": (
        lambda net: with_options(net, net.pool(net.input(4, 4, 2)), FilterWidth=0),
        r"operator 0 \(AVERAGE_POOL_2D\): expected a window of 1 to 65535 along the width, found 0",
    ),
    "pool that requantises": (
        lambda net: change(net, net.pool(net.input(4, 4, 2, zero_point=3), kind="MAX"), zero_points=(4,)),
        r"operator 0 \(MAX_POOL_2D\): expected an output quantised as the input, .* and 3, found .* and 4: 't1'",
    ),
    "pool that rescales": (
        lambda net: change(net, net.pool(net.input(4, 4, 2, scale=0.5)), scales=(0.25,)),
        r"operator 0 \(AVERAGE_POOL_2D\): expected an output quantised as the input, 0.5 and",
    ),
    "depth multiplier that is not the weights'": (
        lambda net: with_options(net, net.depthwise(net.input(4, 4, 2), multiplier=2), DepthMultiplier=1),
        r"x 2 channels \* depth multiplier 1, found \(1, 3, 3, 4\): 't1'",
    ),
    "fused activation that nobody computes": (
        lambda net: with_options(net, net.conv(net.input(4, 4, 2), 2), FusedActivationFunction=4),
        r"operator 0 \(CONV_2D\): expected a fused activation of NONE, RELU, RELU6, RELU_N1_TO_1, found TANH: 't2'",
    ),
    "bias of another length": (
        lambda net: conv_bias(net, np.zeros(3, np.int32)),
        r"operator 0 \(CONV_2D\): expected a bias of 2 values, found \(3,\): 't2'",
    ),
    "bias of another type": (
        lambda net: conv_bias(net, np.zeros(2, np.int64)),
        r"expected bias of type int32, found int64: 't2'",
    ),
    "bias that overflows with the zero point": (
        lambda net: conv_bias(net, np.array([0, (1 << 31) - 1], np.int32)),
        r"operator 0 \(CONV_2D\): expected accumulators below 2\*\*31, found a bound of 2147486\d\d\d: 't3'",
    ),
    "accumulators that overflow when shifted to the left": (
        lambda net: net.conv(net.input(4, 4, 2, scale=100.0), 2, scale=1e-5),
        r"operator 0 \(CONV_2D\): expected accumulators below 2\*\*31, found a bound of \d+: 't2'.*calibrated",
    ),
    "scales of a huge ratio": (
        lambda net: net.conv(net.input(4, 4, 2, scale=1e10), 2, scale=1e-10),
        r"operator 0 \(CONV_2D\): expected a factor below 2\*\*30, found",
    ),
    "shuffled weights": (
        lambda net: with_options(net, net.fully_connected(net.input(4, 4, 2), 2), WeightsFormat=1),
        r"operator 0 \(FULLY_CONNECTED\): expected row-major weights, found weights format 1",
    ),
    "a fully connected layer over the channels of every pixel": (
        lambda net: fully_connected_by_pixel(net),
        r"expected weights of outputs x 32, as many as one input has values, found \(3, 2\): 't1'",
    ),
    "ADD with a constant": (
        lambda net: add_of(net, net.input(4, 4, 2), net.weights((1, 4, 4, 2), per_channel=False, axis=0)),
        r"operator 0 \(ADD\): expected two computed maps, found a constant",
    ),
    "ADD that broadcasts": (
        lambda net: add_of(net, x := net.input(4, 4, 2), net.mean(x, keep_dims=True)),
        r"operator 1 \(ADD\): expected two maps of one size, found \(1, 4, 4, 2\): 'input' .* and \(1, 1, 1, 2\): 't1'",
    ),
    "ADD of a map and its flattened self": (
        lambda net: add_of(net, x := net.input(4, 4, 2), net.flatten(net.relu(x))),
        r"operator 2 \(ADD\): expected two maps of one size",
    ),
    "ADD whose output scale is too small for TFLM": (
        lambda net: net.add(x := net.input(4, 4, 2, scale=1.0), x, scale=1e-6),
        r"operator 0 \(ADD\): expected a factor between 0 and 1, found 1.90735: 't1'",
    ),
    "MEAN over the channels": (
        lambda net: mean_over(net, [3], (1, 4, 4, 1)),
        r"operator 0 \(MEAN\): expected a mean over height and width, axes \(1, 2\), found axes \(3,\)",
    ),
    "MEAN over everything": (lambda net: mean_over(net, [1, 2, 3], (1, 1)), r"found axes \(1, 2, 3\)"),
    "MEAN whose sums overflow": (
        lambda net: net.mean(net.input(3000, 3000, 1, zero_point=-128)),
        r"operator 0 \(MEAN\): expected accumulators below 2\*\*31, found a bound of 2295000000: 't1'",
    ),
    "MEAN over the width": (lambda net: mean_over(net, [2], (1, 4, 1, 2)), r"found axes \(2,\)"),
    "MEAN over an axis that is not there": (lambda net: mean_over(net, [1, 2, 7], (1, 2)), r"axes \(1, 2, 7\)"),
    "MEAN over nothing": (lambda net: mean_over(net, [], (1, 4, 4, 2)), r"found axes \(\)"),
    "PAD of the channels": (
        lambda net: pad_by(net, [[0, 0], [0, 0], [0, 0], [0, 1]], (1, 4, 4, 3)),
        r"operator 0 \(PAD\): expected paddings of height and width only, found \(0, 0, 0, 0, 0, 0, 0, 1\)",
    ),
    "PAD of the batch": (
        lambda net: pad_by(net, [[0, 1], [0, 0], [0, 0], [0, 0]], (2, 4, 4, 2)),
        r"expected paddings of height and width only",
    ),
    "PAD that crops": (
        lambda net: pad_by(net, [[0, 0], [0, -1], [0, 0], [0, 0]], (1, 3, 4, 2)),
        r"expected paddings of 0 to 65535, found",
    ),
    "PAD by int64": (
        lambda net: pad_by(net, [[0, 0], [0, 1], [0, 0], [0, 0]], (1, 5, 4, 2), "int64"),
        r"operator 0 \(PAD\): expected paddings of type int32, found int64: 't2'",
    ),
    "PAD to another size than declared": (
        lambda net: net.conv(pad_by(net, [[0, 0], [0, 1], [0, 0], [0, 0]], (1, 6, 4, 2)), 2, kernel=3, padding="VALID"),
        r"operator 0 \(PAD\): expected an output of \(1, 5, 4, 2\), found \(1, 6, 4, 2\): 't1'",
    ),
    "RESHAPE to another map": (
        lambda net: net.relu(net.reshape(net.relu(net.input(4, 4, 2)), (1, 2, 8, 2))),
        r"operator 1 \(RESHAPE\): expected a reshape to a vector, found \(1, 4, 4, 2\): 't1' .* to \(1, 2, 8, 2\)",
    ),
    "RESHAPE to another number of values": (
        lambda net: net.reshape(net.relu(net.input(4, 4, 2)), (1, 33)),
        r"operator 1 \(RESHAPE\): expected as many values as before, found \(1, 4, 4, 2\): 't1' .* and \(1, 33\)",
    ),
    "RESHAPE to another scale": (
        lambda net: change(net, net.flatten(net.relu(net.input(4, 4, 2))), scales=(0.123,)),
        r"operator 1 \(RESHAPE\): expected an output quantised as the input: 't2'",
    ),
    "convolution of a flattened map": (
        lambda net: net.conv(net.reshape(net.relu(net.input(4, 4, 2)), (1, 1, 1, 32)), 2),
        r"operator 2 \(CONV_2D\): expected a map of 1 x height x width x channels, found \(1, 1, 1, 32\)",
    ),
    "RESHAPE of an input that others read as it is": (
        lambda net: net.add(
            net.mean(net.relu(x := net.input(4, 4, 2))), net.mean(net.relu(net.reshape(x, (1, 2, 8, 2))))
        ),
        r"\(RESHAPE\): expected a reshape to a vector, found \(1, 4, 4, 2\): 'input'",
    ),
    "SOFTMAX of a map": (
        lambda net: net.softmax(net.relu(net.input(4, 4, 2))),
        r"operator 1 \(SOFTMAX\): expected a vector, found \(1, 4, 4, 2\): 't1'",
    ),
    "SOFTMAX of a flattened map": (
        lambda net: net.softmax(net.flatten(net.relu(net.input(4, 4, 2)))),
        r"operator 2 \(SOFTMAX\): expected a vector",
    ),
    "SOFTMAX of too many": (
        lambda net: softmax_of(net, 4096),
        r"operator 0 \(SOFTMAX\): expected at most 4095 values, found \(1, 1, 1, 4096\)",
    ),
    "SOFTMAX to another scale": (
        lambda net: softmax_of(net, 5, scales=(1 / 255,)),
        r"operator 0 \(SOFTMAX\): expected an output with scale 1/256 and zero point -128, found 0.00392157 and -128",
    ),
    "SOFTMAX without beta": (
        lambda net: with_options(net, softmax_of(net, 5), Beta=0),
        r"operator 0 \(SOFTMAX\): expected beta \* scale above 2\*\*-26, found 0",
    ),
    "QUANTIZE by a huge ratio": (
        lambda net: net.quantize(net.input(4, 4, 2, scale=1.0, zero_point=0), scale=2.0**-24),
        r"operator 0 \(QUANTIZE\): expected a ratio of the scales below 2\*\*23, found 1.67772e\+07: 't1'",
    ),
    "RELU6 of a scale that has no 6": (
        lambda net: net.relu(net.input(4, 4, 2, scale=1e-30), "RELU6"),
        r"operator 0 \(RELU6\): expected a scale in which 6 is an int32, found 1e-30",
    ),
    "network that computes nothing": (
        lambda net: net.flatten(net.input(4, 4, 2)),
        r"expected a network that computes its output, found none: 't1'",
    ),
    "input left out": (
        lambda net: add_of(net, net.input(4, 4, 2), -1),
        r"operator 0 \(ADD\): expected a computed feature map, found an input that is left out",
    ),
    "too few inputs": (
        lambda net: unary(net, "ADD", options={}),
        r"operator 0 \(ADD\): expected 2 inputs and one output, found 1 and 1",
    ),
}


def conv_bias(net: RandomNetwork, values: np.ndarray[tuple[int, ...], Any]) -> int:
    x = net.input(4, 4, 2, scale=0.1, zero_point=-1)
    weights = net.tensor((2, 1, 1, 2), scales=0.1, zero_points=0, data=np.full((2, 1, 1, 2), 10, np.int8))
    bias = net.tensor(values.shape, dtype=values.dtype.name, data=values)
    y = net.feature((1, 4, 4, 2), scale=0.1)
    net.operator("CONV_2D", (x, weights, bias), (y,), {"StrideH": 1, "StrideW": 1})
    return y


def fully_connected_by_pixel(net: RandomNetwork) -> int:
    x, weights = net.input(4, 4, 2), net.weights((3, 2), per_channel=False, axis=0)
    y = net.feature((1, 4, 4, 3))
    net.operator("FULLY_CONNECTED", (x, weights), (y,), {"KeepNumDims": True})
    return y


def add_of(net: RandomNetwork, a: int, b: int) -> int:
    y = net.feature((1, 4, 4, 2))
    net.operator("ADD", (a, b), (y,), {})
    return y


@pytest.mark.parametrize(("build", "message"), CASES.values(), ids=CASES.keys())
def test_it_is_refused_by_name(build: Build, message: str) -> None:
    net = RandomNetwork(seed=2)
    model = read_model(net.build([0], [build(net)]))
    with pytest.raises(ModelError, match=message) as caught:
        build_graph(model)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("what", ["input", "output"])
def test_a_network_with_two_edges_is_refused(what: str) -> None:
    net = RandomNetwork()
    x, y = net.input(4, 4, 2), net.input(4, 4, 2)
    outputs = (net.add(x, y),) if what == "input" else (net.relu(x), net.relu(x))
    model = read_model(net.build((x, y) if what == "input" else (x,), outputs))
    with pytest.raises(ModelError, match=f"expected a network with one {what}, found 2"):
        build_graph(model)


def test_a_network_of_a_million_operators_is_refused() -> None:
    net = RandomNetwork()
    x = net.input(1, 1, 1)
    for _ in range(4097):
        x = net.relu(x, scale=1.0, zero_point=0)
    with pytest.raises(ModelError, match="expected a network of at most 4096 operators, found 4097"):
        build_graph(read_model(net.build((0,), (x,))))


def test_an_overflow_of_a_huge_window_is_refused() -> None:
    """131,072 products of -128 and -128 are the first sum that int32 does not hold."""
    net = RandomNetwork()
    x = net.input(1, 4, 1 << 15, scale=1.0, zero_point=0)
    values = np.full((1, 1 << 17), -128, np.int8)
    weights = net.tensor(values.shape, scales=1.0, zero_points=0, data=values)
    y = net.feature((1, 1), scale=1000.0)
    net.operator("FULLY_CONNECTED", (x, weights), (y,), {})
    with pytest.raises(ModelError, match=r"operator 0 \(FULLY_CONNECTED\): .* found a bound of 2147483648"):
        build_graph(read_model(net.finish(y)))
    values[0, 0] = -127
    net.tensors[weights] = replace(net.tensors[weights], data=values.tobytes())
    build_graph(read_model(net.finish(y)))
