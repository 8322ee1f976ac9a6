# SPDX-License-Identifier: Apache-2.0
"""The MVE kernels give TFLM's bytes on an emulated Cortex-M55, and refuse what they cannot pack."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from firmware_export.static_engine import kernel_sets, mve_kernels
from firmware_export.static_engine.fixed_point import requantize
from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.layers import Convolution, Depthwise, Requantization
from firmware_export.static_engine.mve_streams import channels_of, is_rectified
from firmware_export.tflite_reader import read_model
from tests.firmware_export.channel_layers import pointwise, trained_layers
from tests.firmware_export.static_board import run_on_board
from tests.firmware_export.static_host import Network, tflm_outputs, with_inputs
from tests.firmware_export.tflite_builder import RandomNetwork

Tool = Callable[[str], str]

BOARD = "mps3-an547"
WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 22, 33)
SOURCES = Path(kernel_sets.__file__).parents[1] / "c" / "static" / "mve"
BASELINES = Path(__file__).resolve().parents[3] / "shared" / "baselines"


def depthwise_layers(width: int) -> bytes:
    """Windows of 3x3 and 5x5 over rows of this width: stride 1 and 2, planar and interleaved, rectified and not."""
    net = RandomNetwork(width)
    x = net.conv(net.input(5, width, 3), 10, kernel=3, activation="RELU6", zero_point=-128)
    x = net.add(x, net.depthwise(x, activation="RELU6", zero_point=-128))
    x = net.add(x, net.depthwise(x))
    for kernel in (3, 5):
        y = net.depthwise(_rectified(net, x, 21), kernel=kernel, activation="RELU6", zero_point=-128)
        x = net.add(x, net.conv(y, 10))
        x = net.add(x, net.depthwise(net.conv(x, 10), kernel=kernel, zero_point=5))
    ends = [net.depthwise(x, stride=2), net.depthwise(_rectified(net, x, 10), stride=2, activation="RELU")]
    ends.append(net.depthwise(x, stride=2, activation="RELU6", zero_point=-128))
    for kernel in (3, 5):
        ends.append(net.depthwise(net.conv(x, 10), kernel=kernel, stride=2))
        ends.append(net.depthwise(_rectified(net, x, 10), kernel=kernel, stride=2, activation="RELU6", zero_point=-128))
    x = ends[0]
    for end in ends[1:]:
        x = net.add(x, end)
    return net.finish(x)


def pointwise_layers(width: int) -> bytes:
    """Depths for which there are kernels of their own, and others, to few channels."""
    net = RandomNetwork(1000 + width)
    x = net.input(3, width, 8)
    for depth in (16, 24, 32, 5, 17, 40, 8):
        rectified = net.depthwise(_rectified(net, x, depth + depth % 2), activation="RELU6", zero_point=-128)
        x = net.conv(net.conv(rectified, depth), depth)
        # Of few input channels to a planar and an interleaved map, of many to few and to an odd number.
        x = net.add(x, net.conv(_rectified(net, x, 10), depth))
        x = net.add(x, net.conv(net.conv(x, 4, activation="RELU"), depth, activation="RELU"))
    x = net.add(x, net.conv(net.depthwise(net.conv(x, 8)), 8))
    return net.finish(net.fully_connected(net.mean(x), 10))


def windows(width: int) -> bytes:
    """Convolutions with windows of all sorts, with and without padding, and to vectors."""
    net = RandomNetwork(width)
    x = net.conv(net.input(9, width, 2), 6, kernel=3, activation="RELU6", zero_point=-128)
    x = net.conv(x, 5, kernel=(2, 3), activation="RELU")
    x = net.conv(x, 12, kernel=3, stride=2)
    x = net.conv(x, 8, kernel=2, padding="VALID") if width > 2 else x
    x = net.conv(x, 6, kernel=(3, 1), dilation=(2, 1), activation="RELU6")
    x = net.conv(x, 7, kernel=(1, 3), dilation=(1, 2), activation="RELU_N1_TO_1")
    x = net.fully_connected(x, 11, activation="RELU")
    return net.finish(net.fully_connected(x, 6, per_channel=True))


def small_windows() -> bytes:
    """What cameras' images are put through first: with padding on each side, and on none."""
    net = RandomNetwork(7)
    x = net.conv(net.input(10, 56, 3), 6, kernel=3, activation="RELU6", zero_point=-128)
    y = net.depthwise(net.conv(net.conv(x, 3), 8, kernel=3, stride=2, activation="RELU6", zero_point=-128))
    y = net.conv(net.conv(y, 1), 4, kernel=5, padding="VALID", activation="RELU6", zero_point=-128)
    return net.finish(net.conv(y, 2, kernel=(1, 3), padding="VALID", activation="RELU6", zero_point=-128))


def extreme_scales() -> bytes:
    """Shifts that are zero or to the left, saturated outputs, activations that cut the range short."""
    net = RandomNetwork(5)
    x = net.input(5, 8, 8)
    for scale, zero_point in ((0.0004, -128), (0.002, 3), (0.01, -100), (0.3, -128)):
        y = net.conv(x, 8, activation="RELU6", scale=scale, zero_point=zero_point)
        z = net.depthwise(y, activation="RELU6", scale=scale, zero_point=zero_point)
        x = net.add(net.conv(z, 8, scale=scale), net.conv(y, 8, scale=3 * scale), activation="RELU6", zero_point=-90)
    return net.finish(net.add(x, net.conv(x, 8, scale=100.0)))


def _rectified(net: RandomNetwork, x: int, channels: int) -> int:
    return net.conv(x, channels, activation="RELU6", zero_point=-128)


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    made = {f"depthwise_{width}": depthwise_layers(width) for width in WIDTHS}
    made |= {f"pointwise_{width}": pointwise_layers(width) for width in (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)}
    made |= {f"windows_{width}": windows(width) for width in (1, 2, 3, 6, 13)}
    made |= {"small_windows": small_windows(), "extreme_scales": extreme_scales()}
    return [with_inputs(name, data, count=2) for name, data in made.items()]


def test_all_kernels_give_the_bytes_of_tflm_and_write_nowhere_else(
    networks: list[Network], tmp_path: Path, require_tool: Tool
) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    pytest.importorskip("tflite_micro")
    expected = tflm_outputs(networks, tmp_path)
    found: dict[str, NDArray[np.int8]] = {}
    # All of them together need more memory than the board has.
    for half in (0, 1):
        folder = tmp_path / str(half)
        folder.mkdir()
        found |= run_on_board(networks[half::2], folder, board=BOARD, kernel_set="mve")
    for network in networks:
        np.testing.assert_array_equal(found[network.name], expected[network.name], err_msg=network.name)


def test_the_networks_above_need_every_kernel(networks: list[Network]) -> None:
    used = set()
    for network in networks:
        graph = build_graph(read_model(network.data))
        used |= {kernel.function for kernel in kernel_sets.kernels_for(graph, "mve")}
    text = "".join(path.read_text() for path in SOURCES.glob("*.c"))
    there = set(re.findall(r"^void (litesight_\w+_step)\(", text, re.MULTILINE))
    for depth, pixels in re.findall(r"^POINTWISE\((\d+), \S+ (\w+)", text, re.MULTILINE):
        there |= {f"litesight_pointwise_{depth}_{pixels}{planar}_step" for planar in ("", "_planar")}
    assert len(there) > 30
    assert there <= used, f"no network needs {sorted(there - used)}"


@pytest.mark.parametrize("name", ["efflite_w025_96", "efflite_w035_d05_48"])
def test_the_published_networks_need_no_portable_kernel(name: str) -> None:
    path = BASELINES / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside the repository")
    graph = build_graph(read_model(path.read_bytes()))
    slow = [layer.label for layer in graph.layers if mve_kernels.kernel_for(layer, graph) is None]
    assert not slow


@given(trained_layers(-30), st.integers(0, 2**32))
def test_the_arithmetic_of_the_kernels_is_that_of_tflm(layer: Convolution, seed: int) -> None:
    """VQRDMULH, VRSHL and what litesight_mve.h does in between."""
    channels = channels_of(layer)
    if channels is None:
        return
    words, scale = channels.scales.astype(np.int64), layer.requantization
    bias, right = words[:, 0] >> 8, -words[:, 0].astype(np.int8).astype(np.int64)
    weights = layer.weights.reshape(len(bias), -1).astype(np.int64)
    inputs = np.random.default_rng(seed).integers(-128, 128, (50, weights.shape[1]))
    inputs[0], inputs[1] = np.where(weights[0] > 0, 127, -128), np.where(weights[0] > 0, -128, 127)
    sums = inputs @ channels.weights.reshape(weights.shape).T.astype(np.int64) + bias
    scaled = (sums * words[:, 1] + (1 << 30)) >> 31
    if not is_rectified(scale):
        scaled -= scaled < 0
    half = np.where(right > 0, 1 << np.maximum(right - 1, 0), 0)
    found = np.clip(((scaled + half) >> right) + scale.zero_point, scale.minimum, scale.maximum)
    accumulators = inputs @ weights.T + layer.bias
    expected = np.clip(
        requantize(accumulators, scale.multipliers, scale.shifts) + scale.zero_point, scale.minimum, scale.maximum
    )
    np.testing.assert_array_equal(found, expected)


def test_a_large_bias_is_left_to_the_portable_kernel_unless_the_output_is_constant() -> None:
    weights = np.full((1, 4), 127, np.int8)
    scale = Requantization(np.array([1 << 30], np.int32), np.array([-15], np.int32), -128, -128, 127)
    for bias, fits in ((1000, True), ((1 << 23) - 1, True), (1 << 23, False), (1 << 30, True), (-(1 << 30), True)):
        layer = pointwise(weights, np.array([bias], np.int32), scale)
        assert (channels_of(layer) is not None) is fits, bias


@pytest.mark.parametrize(
    ("shift", "zero_point", "fits"), [(1, -128, False), (0, -128, True), (0, 3, False), (-1, 3, True)]
)
def test_shifts_that_would_be_rounded_otherwise_are_left_to_the_portable_kernel(
    shift: int, zero_point: int, fits: bool
) -> None:
    scale = Requantization(np.array([1 << 30], np.int32), np.array([shift], np.int32), zero_point, -128, 127)
    layer = pointwise(np.ones((1, 1), np.int8), np.zeros(1, np.int32), scale)
    assert (channels_of(layer) is not None) is fits


def test_windows_of_a_depthwise_layer_without_a_kernel_are_left_to_the_portable_one() -> None:
    net = RandomNetwork(1)
    x = net.input(8, 8, 20)
    for kernel, stride, dilation in ((4, 1, 1), ((3, 5), 1, 1), (3, 3, 1), (3, 1, 2), (5, (1, 2), 1)):
        x = net.depthwise(net.conv(x, 20), kernel=kernel, stride=stride, dilation=dilation)
    x = net.depthwise(x)
    graph = build_graph(read_model(net.finish(x)))
    depthwise = [layer for layer in graph.layers if isinstance(layer, Depthwise)]
    assert [mve_kernels.kernel_for(layer, graph) for layer in depthwise] == [None] * 6
