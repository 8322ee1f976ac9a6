# SPDX-License-Identifier: Apache-2.0
"""The layers that each operator becomes, with numbers worked out by hand."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pytest

from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.layers import (
    Addition,
    Convolution,
    Depthwise,
    Feature,
    Graph,
    Layer,
    Lookup,
    Mean,
    Pad,
    Pool,
    Softmax,
    Window,
)
from firmware_export.tflite_reader import read_model
from tests.firmware_export.tflite_builder import NO_TENSOR, RandomNetwork

L = TypeVar("L", bound=Layer)


def graph_of(net: RandomNetwork, output: int) -> Graph:
    return build_graph(read_model(net.finish(output)))


def only(graph: Graph, kind: type[L]) -> L:
    """The one layer of a kind."""
    (layer,) = [layer for layer in graph.layers if isinstance(layer, kind)]
    return layer


def size(feature: Feature) -> tuple[int, int, int]:
    return feature.height, feature.width, feature.channels


def test_a_convolutions_numbers_are_the_files() -> None:
    net = RandomNetwork()
    x = net.input(1, 1, 3, scale=0.5, zero_point=10)
    values = np.array([[1, -2, 3], [-128, 127, 5]], np.int8).reshape(2, 1, 1, 3)
    weights = net.tensor(values.shape, scales=[0.25, 2.0], zero_points=[0, 0], data=values)
    bias = net.tensor((2,), dtype="int32", data=np.array([100, -7], np.int32))
    y = net.feature((1, 1, 1, 2), scale=0.5, zero_point=-3)
    net.operator("CONV_2D", (x, weights, bias), (y,), {"StrideH": 1, "StrideW": 1, "FusedActivationFunction": 3})
    graph = graph_of(net, y)
    layer = only(graph, Convolution)
    assert (layer.name, layer.label, layer.inputs, layer.output) == ("conv_0", "operator 0 (CONV_2D)", (0,), 1)
    np.testing.assert_array_equal(layer.weights, values)
    # 100 - 10 * (1 - 2 + 3) and -7 - 10 * (-128 + 127 + 5).
    assert layer.bias.tolist() == [80, -47]
    assert layer.bias.dtype == np.int32
    # 47 + 128 * (128 + 127 + 5).
    assert layer.accumulator_bound == 33327
    requantization = layer.requantization
    # 0.5 * 0.25 / 0.5 = 2**-2 and 0.5 * 2 / 0.5 = 2**1.
    assert requantization.multipliers.tolist() == [1 << 30, 1 << 30]
    assert requantization.shifts.tolist() == [-1, 2]
    assert (requantization.zero_point, requantization.minimum, requantization.maximum) == (-3, -3, 9)
    assert graph.features[0] == Feature("input", 1, 1, 3, 0.5, 10)
    assert size(graph.features[graph.output]) == (1, 1, 2)
    assert (graph.input, graph.output) == (0, 1)


@pytest.mark.parametrize(
    ("height", "kernel", "stride", "dilation", "padding", "rows", "pad_top"),
    [
        (8, 3, 2, 1, "SAME", 4, 0),
        (9, 3, 2, 1, "SAME", 5, 1),
        (8, 5, 2, 1, "SAME", 4, 1),
        (8, 2, 1, 1, "SAME", 8, 0),
        (8, 3, 1, 2, "SAME", 8, 2),
        (49, 10, 2, 1, "SAME", 25, 4),
        (7, 1, 3, 1, "SAME", 3, 0),
        (2, 5, 3, 1, "SAME", 1, 1),
        (8, 3, 2, 1, "VALID", 3, 0),
        (7, 3, 1, 3, "VALID", 1, 0),
    ],
)
def test_windows_lie_as_in_tensorflow(
    height: int, kernel: int, stride: int, dilation: int, padding: str, rows: int, pad_top: int
) -> None:
    """Where the padding is odd, TensorFlow puts more of it at the bottom and right."""
    for across in (False, True):
        net = RandomNetwork()
        x = net.input(*((9, height) if across else (height, 9)), 2)
        x = net.conv(
            x,
            3,
            kernel=(1, kernel) if across else (kernel, 1),
            stride=(1, stride) if across else (stride, 1),
            dilation=(1, dilation) if across else (dilation, 1),
            padding=padding,
        )
        graph = graph_of(net, x)
        window, output = only(graph, Convolution).window, graph.features[graph.output]
        expected = (pad_top, 0, rows, 9)
        assert (window.pad_top, window.pad_left, output.height, output.width) == (
            (expected[1], expected[0], expected[3], expected[2]) if across else expected
        )
        assert (window.stride_x if across else window.stride_y) == stride
        assert (window.dilation_x if across else window.dilation_y) == dilation


def test_a_depthwise_layer_may_multiply_channels() -> None:
    net = RandomNetwork()
    graph = graph_of(net, net.depthwise(net.input(6, 7, 2, zero_point=3), kernel=(3, 2), multiplier=3, bias=False))
    layer = only(graph, Depthwise)
    assert layer.weights.shape == (3, 2, 6)
    assert layer.window == Window(3, 2, pad_top=1)
    np.testing.assert_array_equal(layer.bias, -3 * layer.weights.astype(int).sum(axis=(0, 1)))
    assert layer.macs_per_pixel == 36
    assert layer.name == "depthwise_0"


def test_one_scale_counts_for_all_channels() -> None:
    net = RandomNetwork()
    x = net.depthwise(net.conv(net.input(4, 4, 3), 5, per_channel=False), per_channel=False)
    graph = graph_of(net, net.fully_connected(x, 4))
    for layer in graph.layers:
        assert isinstance(layer, Convolution | Depthwise)
        requantization, channels = layer.requantization, len(layer.bias)
        assert len(requantization.multipliers) == len(requantization.shifts) == channels
        assert len(set(requantization.multipliers.tolist())) == 1


def test_the_one_scale_of_a_fully_connected_layer_is_multiplied_in_float32() -> None:
    """Unlike a convolution's, and unlike scales by channel."""
    multipliers = []
    for kind in ("FULLY_CONNECTED", "CONV_2D"):
        net = RandomNetwork()
        x = net.input(1, 1, 1, scale=0.1)
        shape = (1, 1) if kind == "FULLY_CONNECTED" else (1, 1, 1, 1)
        weights = net.tensor(shape, scales=0.3, zero_points=0, data=np.ones(shape, np.int8))
        y = net.feature((1, 1) if kind == "FULLY_CONNECTED" else (1, 1, 1, 1), scale=1.0)
        net.operator(kind, (x, weights), (y,), {} if kind == "FULLY_CONNECTED" else {"StrideH": 1, "StrideW": 1})
        multipliers += only(graph_of(net, y), Convolution).requantization.multipliers.tolist()
    product = float(np.float32(0.1)) * float(np.float32(0.3))
    assert multipliers[0] == round(float(np.float32(product)) * 2**36)
    assert multipliers[1] == round(product * 2**36)
    assert multipliers[0] != multipliers[1]


def test_a_fully_connected_layer_is_a_window_over_the_whole_map() -> None:
    for flat in (False, True):
        net = RandomNetwork()
        x = net.conv(net.input(4, 3, 2), 5)
        graph = graph_of(net, net.fully_connected(net.flatten(x) if flat else x, 7, per_channel=True))
        layer = graph.layers[-1]
        assert isinstance(layer, Convolution)
        assert len(graph.layers) == 2
        assert (layer.window, layer.weights.shape) == (Window(4, 3), (7, 4, 3, 5))
        assert size(graph.features[graph.output]) == (1, 1, 7)
        # Row-major in the file, so that only the shape changes.
        values = np.frombuffer(net.tensors[net.operators[-1].inputs[1]].data, np.int8)
        np.testing.assert_array_equal(layer.weights.reshape(-1), values)


def test_a_bias_may_be_missing_or_shared() -> None:
    net = RandomNetwork()
    x = net.input(3, 3, 4, zero_point=0)
    first = net.conv(x, 4)
    shared = net.operators[0].inputs[2]
    weights = net.weights((4, 1, 1, 4), per_channel=False, axis=0)
    second = net.feature((1, 3, 3, 4), zero_point=0)
    net.operator("CONV_2D", (x, weights, shared), (second,), {"StrideH": 1, "StrideW": 1})
    third = net.feature((1, 3, 3, 4))
    net.operator("CONV_2D", (second, weights, NO_TENSOR), (third,), {"StrideH": 1, "StrideW": 1})
    graph = graph_of(net, net.add(first, third))
    biases = [layer.bias.tolist() for layer in graph.layers if isinstance(layer, Convolution)]
    assert biases[0] == biases[1] == np.frombuffer(net.tensors[shared].data, np.int32).tolist()
    assert biases[2] == [0, 0, 0, 0]


def test_an_additions_scales_are_relative_to_the_larger_one() -> None:
    net = RandomNetwork()
    a = net.input(2, 2, 1, scale=0.5, zero_point=4)
    b = net.quantize(a, scale=0.25, zero_point=-6)
    graph = graph_of(net, net.add(a, b, scale=0.5, zero_point=1, activation="RELU"))
    layer = only(graph, Addition)
    assert (layer.inputs, layer.left_shift, layer.zero_points) == ((0, 1), 20, (4, -6))
    # 0.5 / 1 and 0.25 / 1; 1 / (2**20 * 0.5) = 2**-19.
    assert (layer.multipliers, layer.shifts) == ((1 << 30, 1 << 30), (0, -1))
    assert layer.requantization.multipliers.tolist() == [1 << 30]
    assert layer.requantization.shifts.tolist() == [-18]
    assert (layer.requantization.zero_point, layer.requantization.minimum) == (1, 1)


@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (-2, -3), (1, -2), (0, 1, 2), (1, 2, 2)])
@pytest.mark.parametrize("keep_dims", [False, True])
def test_a_mean_divides_in_its_multiplier(axes: tuple[int, ...], keep_dims: bool) -> None:
    net = RandomNetwork()
    x = net.input(3, 4, 5, scale=0.5, zero_point=7)
    y = net.feature((1, 1, 1, 5) if keep_dims else (1, 5), scale=0.25, zero_point=-2)
    net.operator("MEAN", (x, net.constant(list(axes))), (y,), {"KeepDims": keep_dims})
    layer = only(graph_of(net, y), Mean)
    # 0.5 / 0.25 = 2**30 * 2**2; 12 elements take 3 more bits: 2**30 * 2**3 // 12.
    assert layer.requantization.multipliers.tolist() == [(1 << 33) // 12]
    assert layer.requantization.shifts.tolist() == [2 - 3]
    assert (layer.input_zero_point, layer.requantization.zero_point) == (7, -2)
    assert (layer.requantization.minimum, layer.requantization.maximum) == (-128, 127)


def test_a_mean_divides_by_what_its_shift_has_room_for() -> None:
    """2**-30 is 2**30 shifted by 29 to the right, and no more than 31 are possible."""
    net = RandomNetwork()
    layer = only(graph_of(net, net.mean(net.input(3, 4, 1, scale=1.0), scale=2.0**30)), Mean)
    assert layer.requantization.multipliers.tolist() == [(1 << 32) // 12]
    assert layer.requantization.shifts.tolist() == [-31]


def test_a_mean_over_a_row_is_one_over_the_map() -> None:
    net = RandomNetwork()
    assert only(graph_of(net, net.mean(net.input(1, 6, 2), axes=(2,), keep_dims=True)), Mean)


def test_pools_have_windows_and_ranges() -> None:
    net = RandomNetwork()
    x = net.input(9, 8, 2, scale=0.1, zero_point=-100)
    x = net.pool(x, kind="MAX", kernel=(3, 2), stride=(2, 1), padding="SAME", activation="RELU6")
    graph = graph_of(net, net.pool(x, kernel=(5, 8), stride=1))
    first, second = graph.layers
    assert isinstance(first, Pool)
    assert isinstance(second, Pool)
    assert (first.name, first.is_average, first.minimum, first.maximum) == ("max_pool_0", False, -100, -40)
    assert first.window == Window(3, 2, 2, 1, pad_top=1)
    assert (second.name, second.is_average, second.minimum, second.maximum) == ("average_pool_1", True, -128, 127)
    assert [size(feature) for feature in graph.features] == [(9, 8, 2), (5, 8, 2), (1, 1, 2)]


def test_a_pad_is_part_of_the_convolution_that_reads_it() -> None:
    net = RandomNetwork()
    x = net.pad(net.input(8, 7, 3), top=1, bottom=2, left=0, right=1)
    graph = graph_of(net, net.depthwise(net.conv(x, 4, kernel=3, stride=2, padding="VALID"), kernel=1))
    assert [layer.name for layer in graph.layers] == ["conv_1", "depthwise_2"]
    assert only(graph, Convolution).window == Window(3, 3, 2, 2, pad_top=1, pad_left=0)
    assert size(graph.features[1]) == (5, 3, 4)


def test_a_pad_that_a_window_cannot_take_over_is_a_layer() -> None:
    for case in ("read twice", "SAME", "pool", "too thick", "another zero point", "output"):
        net = RandomNetwork()
        x = net.input(8, 8, 2, scale=0.1, zero_point=5)
        y = net.pad(x, top=3 if case == "too thick" else 1, left=2)
        if case == "another zero point":
            net.tensors[y] = type(net.tensors[y])(**{**vars(net.tensors[y]), "zero_points": (6,)})
        if case == "pool":
            z = net.pool(y, kernel=3, stride=1)
        elif case != "output":
            z = net.conv(y, 2, kernel=3, padding="SAME" if case == "SAME" else "VALID")
        if case == "read twice":
            z = net.add(z, net.depthwise(y, padding="VALID"))
        graph = graph_of(net, y if case == "output" else z)
        layer = only(graph, Pad)
        assert (layer.top, layer.left) == (3 if case == "too thick" else 1, 2), case
        assert layer.value == (6 if case == "another zero point" else 5), case


def test_lookups_hold_every_value() -> None:
    net = RandomNetwork()
    x = net.relu(net.input(2, 2, 1, scale=0.5, zero_point=-10), scale=0.25, zero_point=-20)
    x = net.relu(x, "RELU6", scale=0.25, zero_point=-20)
    graph = graph_of(net, net.quantize(x, scale=0.5, zero_point=0))
    relu, relu6, quantize = graph.layers
    assert isinstance(relu, Lookup)
    assert isinstance(relu6, Lookup)
    assert isinstance(quantize, Lookup)
    assert [layer.name for layer in graph.layers] == ["relu_0", "relu6_1", "quantize_2"]
    assert [int(relu.table[q + 128]) for q in (-128, -10, -9, 63, 64, 127)] == [-20, -20, -18, 126, 127, 127]
    assert [int(relu6.table[q + 128]) for q in (-128, -21, -19, 3, 4, 5, 127)] == [-20, -20, -19, 3, 4, 4, 4]
    # Without a shift to the right, TFLM rounds halves up: -0.5, 0.5 and 73.5.
    assert [int(quantize.table[q + 128]) for q in (-128, -21, -20, -19, 127)] == [-54, 0, 0, 1, 74]


def test_a_quantise_that_changes_nothing_disappears() -> None:
    net = RandomNetwork()
    x = net.input(2, 2, 1, scale=0.5, zero_point=-10)
    graph = graph_of(net, net.conv(net.quantize(x, scale=0.5, zero_point=-10), 2))
    assert [layer.name for layer in graph.layers] == ["conv_1"]
    assert graph.layers[0].inputs == (0,)


@pytest.mark.parametrize(("scale", "zero_point"), [(0.5, -128), (0.01, 3)])
def test_a_relu_that_only_renames_values_stays(scale: float, zero_point: int) -> None:
    """Its bytes are the input's, but they mean something else to whoever pads with the zero point."""
    net = RandomNetwork()
    x = net.relu(net.input(4, 4, 2, scale=0.01, zero_point=-128), "RELU6", scale=scale, zero_point=zero_point)
    graph = graph_of(net, net.conv(x, 2, kernel=3))
    relu = graph.layers[0]
    assert isinstance(relu, Lookup)
    np.testing.assert_array_equal(relu.table, np.arange(-128, 128))
    assert graph.features[1].scale == pytest.approx(scale)
    assert graph.features[1].zero_point == zero_point


def test_the_scales_of_a_relu_are_divided_in_float32() -> None:
    """One of the few pairs of scales for which it shows: 71 becomes 186, in double precision 187."""
    net = RandomNetwork()
    x = net.input(2, 2, 1, scale=0.09844586998224258, zero_point=-71)
    layer = only(graph_of(net, net.relu(x, scale=0.03747805207967758, zero_point=-128)), Lookup)
    assert layer.table[128] == 186 - 128


def test_a_softmax_has_a_table() -> None:
    net = RandomNetwork()
    layer = only(graph_of(net, net.softmax(net.fully_connected(net.input(2, 2, 2), 6, scale=0.125), beta=2.0)), Softmax)
    # 31 * 2**26 / 2**25 + 1, for 0.25 * 2**26 = 0.5 * 2**25.
    assert layer.terms == 63
    assert layer.exponentials[4] / 2**31 == pytest.approx(np.exp(-1), abs=1e-6)


@pytest.mark.parametrize("with_tensor", [False, True])
@pytest.mark.parametrize("with_options", [False, True])
def test_a_reshape_that_leaves_the_bytes_disappears(with_tensor: bool, with_options: bool) -> None:
    net = RandomNetwork()

    def reshape(x: int, *shape: int) -> int:
        return net.reshape(x, shape, with_tensor=with_tensor, with_options=with_options)

    x = reshape(net.conv(net.input(3, 4, 2), 5), 1, 60)
    x = reshape(reshape(net.relu(x), 1, 1, 1, 60), 1, 3, 4, 5)
    x = net.mean(net.conv(x, 2))
    graph = graph_of(net, net.softmax(reshape(reshape(x, 1, 1, 1, 2), 2), beta=1))
    assert [layer.name.split("_")[0] for layer in graph.layers] == ["conv", "relu", "conv", "mean", "softmax"]
    assert size(graph.features[2]) == (3, 4, 5)


def test_an_input_takes_the_shape_that_all_its_readers_give_it() -> None:
    net = RandomNetwork()
    x = net.reshape(net.reshape(net.input(1, 1, 60), (1, 60)), (1, 5, 4, 3))
    graph = graph_of(net, net.conv(x, 2, kernel=3))
    assert size(graph.features[0]) == (5, 4, 3)


def test_what_the_output_does_not_need_disappears() -> None:
    """Also the computation of a shape that a converter leaves behind, in operators that the engine lacks."""
    net = RandomNetwork()
    x = net.input(4, 4, 2)
    y = net.conv(x, 3)
    net.conv(y, 5)
    shape = net.tensor((4,), dtype="int32")
    net.operator("SHAPE", (y,), (shape,))
    flat = net.feature((1, 48), scale=net.tensors[y].scales[0], zero_point=net.tensors[y].zero_points[0])
    net.operator("RESHAPE", (y, shape), (flat,))
    graph = graph_of(net, net.fully_connected(flat, 2))
    assert [layer.name for layer in graph.layers] == ["conv_0", "fully_connected_4"]
    assert len(graph.features) == 3


def test_features_are_written_before_they_are_read() -> None:
    net = RandomNetwork()
    x = net.conv(net.input(6, 6, 3), 4, kernel=3)
    y = net.depthwise(x)
    graph = graph_of(net, net.mean(net.add(net.add(x, y), x)))
    written = {graph.input}
    for layer in graph.layers:
        assert written.issuperset(layer.inputs)
        assert layer.output not in written
        written.add(layer.output)
    assert written == set(range(len(graph.features)))


def test_labels_are_the_files() -> None:
    net = RandomNetwork()
    x = net.tensor((1, 2, 2, 1), name="serving:0", scales=0.5, zero_points=0)
    net.graph_inputs.append(x)
    graph = graph_of(net, net.conv(x, 1))
    assert graph.features[0].name == "serving:0"
    assert graph.layers[0].label == "operator 0 (CONV_2D)"
