# SPDX-License-Identifier: Apache-2.0
"""The kernels for the DSP extension give TFLM's bytes on an emulated Cortex-M4, and refuse what they cannot pack."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from firmware_export.static_engine import dsp_kernels, kernel_sets
from firmware_export.static_engine.dsp_channels import packable_channels
from firmware_export.static_engine.fixed_point import requantize
from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.layers import Convolution, Depthwise, Requantization
from firmware_export.tflite_reader import read_model
from tests.firmware_export.channel_layers import pointwise, trained_layers
from tests.firmware_export.static_board import run_on_board
from tests.firmware_export.static_host import Network, tflm_outputs, with_inputs
from tests.firmware_export.tflite_builder import RandomNetwork

Tool = Callable[[str], str]

BOARD = "mps2-an386"
WIDTHS = (*range(1, 17), 18, 20, 24, 26, 30, 36)
SOURCES = Path(kernel_sets.__file__).parents[1] / "c" / "static" / "dsp"
BASELINES = Path(__file__).resolve().parents[3] / "shared" / "baselines"


def depthwise(width: int, kernel: int, stride: int, kind: str) -> bytes:
    """One depthwise layer, its input planar after a convolution or interleaved, its output rectified or not."""
    net = RandomNetwork(np.random.default_rng([width, kernel, stride, len(kind)]))
    if kind == "planar":
        x = _rectified(net, net.input(6, width, 3), 5)
    else:
        # Behind a number of channels that is not a multiple of 4, a copy might write what is there anyway.
        x = net.input(int(net.rng.integers(1, 7)), width, 8 if width < 4 else int(net.rng.integers(1, 10)))
    if kind == "linear":
        return net.finish(net.depthwise(x, kernel=kernel, stride=stride))
    if kind == "unpadded":
        return net.finish(net.depthwise(net.pad(x, top=4), kernel=kernel, padding="VALID", activation="RELU"))
    return net.finish(net.depthwise(x, kernel=kernel, stride=stride, activation="RELU6", zero_point=-128))


def _rectified(net: RandomNetwork, x: int, channels: int) -> int:
    return net.conv(x, channels, activation="RELU6", zero_point=-128)


def windows(width: int) -> bytes:
    """Convolutions with large windows, with and without padding, to fewer and fewer pixels and to vectors."""
    net = RandomNetwork(width)
    x = net.conv(net.input(9, width, 4), 5, kernel=(2, 3), activation="RELU")
    x = net.conv(x, 12, kernel=3, stride=2)
    x = net.conv(x, 8, kernel=2, padding="VALID") if width > 2 else x
    x = net.conv(x, 6, kernel=(3, 1), dilation=(2, 1), activation="RELU6")
    x = net.conv(x, 7, stride=2, activation="RELU_N1_TO_1")
    x = net.fully_connected(x, 11, activation="RELU")
    return net.finish(net.fully_connected(x, 6, per_channel=True))


def tall() -> bytes:
    """A window whose rows are single bytes."""
    net = RandomNetwork(1)
    return net.finish(net.conv(net.input(12, 7, 1), 3, kernel=(8, 1), padding="VALID"))


def alone(width: int, kind: str) -> bytes:
    """One layer with thousands of outputs, for what rounds differently once in a thousand."""
    net = RandomNetwork(width)
    if kind == "expansion":
        x = _rectified(net, net.input(12, width, 8), 24)
        return net.finish(net.depthwise(x, kernel=3, activation="RELU6", zero_point=-128))
    x = net.input(96 // width, width, 20)
    return net.finish(net.conv(x, 23) if kind == "linear" else _rectified(net, x, 22))


def addition(larger: float, smaller: float, output: float, zero_point: int = -3) -> bytes:
    """The larger scale belongs to the second input."""
    net = RandomNetwork(1)
    a = net.input(8, 12, 16, scale=smaller)
    b = net.conv(a, 16, scale=larger, zero_point=zero_point)
    return net.finish(net.add(a, b, scale=output))


def narrow_activations() -> bytes:
    """Additions and layers whose activation cuts the range short on both sides."""
    net = RandomNetwork(5)
    x = net.input(5, 6, 3)
    for scale in (0.01, 0.03, 0.08):
        y = net.conv(x, 3, activation="RELU6", scale=scale, zero_point=-100)
        z = net.depthwise(y, activation="RELU6", scale=scale, zero_point=-120)
        x = net.add(net.conv(y, 3), z, activation="RELU6", scale=2 * scale, zero_point=-90)
    return net.finish(x)


def bottleneck(width: int) -> bytes:
    """Layers that wait for each other's rows."""
    net = RandomNetwork(width)
    x = net.conv(net.input(9, width, 3), 8, kernel=3, stride=2, activation="RELU6", zero_point=-128)
    y = net.depthwise(_rectified(net, x, 12), kernel=5, activation="RELU6", zero_point=-128)
    x = net.add(x, net.conv(y, 8))
    y = net.depthwise(_rectified(net, x, 12), kernel=3, stride=2, activation="RELU6", zero_point=-128)
    return net.finish(net.conv(y, 7))


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    made = {
        f"{kind}_{kernel}_{stride}_{width}": depthwise(width, kernel, stride, kind)
        for width in WIDTHS
        for kernel in (3, 5)
        for stride in (1, 2)
        for kind in ("planar", "interleaved")
    }
    made |= {
        f"linear_{kernel}_{stride}": depthwise(7, kernel, stride, "linear") for kernel in (3, 5) for stride in (1, 2)
    }
    made |= {f"unpadded_{kernel}": depthwise(9, kernel, 1, "unpadded") for kernel in (3, 5)}
    made |= {f"{kind}_{width}": alone(width, kind) for kind in ("linear", "rectified") for width in (1, 2, 3, 4, 6)}
    made |= {f"windows_{width}": windows(width) for width in (1, 2, 3, 6, 10, 13)}
    made |= {f"image_{width}": bottleneck(width) for width in (12, 15, 24, 25)}
    # Ties, equal scales, and constants that nearly leave 32 bits or would leave them.
    scales = {
        "ties": (0.5, 0.25, 1.0),
        "equal": (0.5, 0.5, 0.7),
        "far": (0.5, 0.036, 0.6),
        "farther": (0.5, 0.018, 0.6),
    }
    made |= {f"add_{name}": addition(*some, zero_point=-128) for name, some in scales.items()}
    made["add_near"] = addition(0.5, 0.3, 0.6)
    made |= {"expansion": alone(12, "expansion"), "narrow_activations": narrow_activations(), "tall": tall()}
    return [with_inputs(name, data, count=2) for name, data in made.items()]


def test_all_loops_give_the_bytes_of_tflm_and_write_nowhere_else(
    networks: list[Network], tmp_path: Path, require_tool: Tool
) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    pytest.importorskip("tflite_micro")
    expected = tflm_outputs(networks, tmp_path)
    found = run_on_board(networks, tmp_path, board=BOARD, kernel_set="dsp")
    for network in networks:
        np.testing.assert_array_equal(found[network.name], expected[network.name], err_msg=network.name)


def test_the_networks_above_need_every_kernel(networks: list[Network]) -> None:
    used = set()
    for network in networks:
        graph = build_graph(read_model(network.data))
        used |= {kernel.function for kernel in kernel_sets.kernels_for(graph, "dsp")}
    there = {name for path in SOURCES.glob("*.c") for name in re.findall(r"^void (\w+_step)\(", path.read_text(), re.M)}
    assert there <= used, f"no network needs {sorted(there - used)}"


@pytest.mark.parametrize("name", ["efflite_w025_96", "efflite_w035_d05_48"])
def test_the_published_networks_need_no_portable_convolution(name: str) -> None:
    path = BASELINES / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside the repository")
    graph = build_graph(read_model(path.read_bytes()))
    slow = [
        layer.label
        for layer in graph.layers
        if (kernel := dsp_kernels.kernel_for(layer, graph)) is None or kernel.function.endswith("_any_step")
    ]
    assert all("MEAN" in label for label in slow), slow


@given(trained_layers(-27), st.integers(-128, 127), st.integers(0, 2**32))
def test_packed_channels_give_the_same_outputs(layer: Convolution, zero_point: int, seed: int) -> None:
    packed = packable_channels(layer, zero_point)
    if packed is None:
        return
    assert abs(packed.bias).max() < 1 << 23
    assert set(packed.shifts) <= set(range(1, 17))
    weights = layer.weights.reshape(len(layer.weights), -1).astype(np.int64)
    inputs = np.random.default_rng(seed).integers(-128, 128, (50, weights.shape[1]))
    inputs[0], inputs[1] = np.where(weights[0] > 0, 127, -128), np.where(weights[0] > 0, -128, 127)
    scale = layer.requantization
    expected = _outputs(inputs @ weights.T + layer.bias, scale.multipliers, scale.shifts, scale)
    found = _outputs(
        inputs @ packed.weights.T.astype(np.int64) + packed.bias, packed.multipliers, -packed.shifts, scale
    )
    np.testing.assert_array_equal(found, expected)


def test_a_depthwise_bias_is_for_inputs_less_their_zero_point() -> None:
    net = RandomNetwork(1)
    graph = build_graph(read_model(net.finish(net.depthwise(net.input(4, 4, 6, zero_point=37)))))
    layer = graph.layers[0]
    assert isinstance(layer, Depthwise)
    packed = packable_channels(layer, 37)
    assert packed is not None
    np.testing.assert_array_equal(packed.bias, layer.bias + 37 * layer.weights.sum(axis=(0, 1), dtype=np.int64))


def _outputs(
    accumulators: NDArray[np.int64],
    multipliers: NDArray[np.integer],
    shifts: NDArray[np.integer],
    scale: Requantization,
) -> NDArray[np.int64]:
    values = requantize(accumulators, multipliers, shifts) + scale.zero_point
    return np.clip(values, scale.minimum, scale.maximum)


@given(trained_layers(-27), st.integers(0, 2**32))
def test_the_arithmetic_of_the_loops_is_that_of_tflm(layer: Convolution, seed: int) -> None:
    """The formulas that litesight_dot.h promises."""
    packed = packable_channels(layer, 0)
    if packed is None:
        return
    scale, rng = layer.requantization, np.random.default_rng(seed)
    accumulators = rng.integers(-(1 << 23) + 1, 1 << 23, (200, len(packed.bias))) >> rng.integers(0, 22, (200, 1))
    shifts, zero = packed.shifts, 2 * scale.zero_point + 1
    if scale.minimum < scale.zero_point:
        doubled = 2 * accumulators
        product = (doubled * packed.multipliers + (1 << 31)) >> 32
        found = (product + (zero << (shifts - 1)) - (doubled < 0)) >> shifts
    else:
        product = (256 * accumulators * packed.multipliers) >> 32
        found = (product + (zero << (shifts + 6)) + 64) >> (shifts + 7)
        assert abs(product + (zero << (shifts + 6)) + 64).max() < 1 << 31
    expected = _outputs(accumulators, packed.multipliers, -shifts, scale)
    np.testing.assert_array_equal(np.clip(found, scale.minimum, scale.maximum), expected)


def test_a_large_bias_is_left_to_the_portable_kernel_unless_the_output_is_constant() -> None:
    weights = np.full((1, 4), 127, np.int8)
    scale = Requantization(np.array([1 << 30], np.int32), np.array([-15], np.int32), -128, -128, 127)
    for bias, is_packable in ((1000, True), ((1 << 23) + 1000, False), (1 << 30, True), (-(1 << 30), True)):
        packed = packable_channels(pointwise(weights, np.array([bias], np.int32), scale), 0)
        assert (packed is not None) is is_packable, bias


def test_a_shift_to_the_left_is_left_to_the_portable_kernel() -> None:
    scale = Requantization(np.array([1 << 30], np.int32), np.array([1], np.int32), 0, -128, 127)
    assert packable_channels(pointwise(np.ones((1, 1), np.int8), np.zeros(1, np.int32), scale), 0) is None


def test_layers_that_only_move_bytes_have_no_kernel_here() -> None:
    net = RandomNetwork(1)
    graph = build_graph(read_model(net.finish(net.pad(net.relu(net.pool(net.input(4, 4, 3))), top=1))))
    assert [dsp_kernels.kernel_for(layer, graph) for layer in graph.layers] == [None] * len(graph.layers)
