# SPDX-License-Identifier: Apache-2.0
"""Every portable kernel gives TFLM's bytes and writes nowhere but in its own memory, whatever the shapes and scales."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.firmware_export.static_host import Network, Run, run_networks, tflm_outputs, with_inputs
from tests.firmware_export.tflite_builder import RandomNetwork

Tool = Callable[[str], str]
Outputs = dict[str, NDArray[np.int8]]
Make = Callable[[RandomNetwork], int]


def _case(make: Make, name: str, seed: int) -> Network:
    net = RandomNetwork(seed)
    # What rounds differently in one of a thousand outputs needs thousands.
    return with_inputs(name, net.finish(make(net)), count=400 if "_of_many" in name else 3)


CONVOLUTIONS: dict[str, Make] = {
    "pointwise": lambda n: n.conv(n.input(5, 7, 6), 9),
    "pointwise_even": lambda n: n.conv(n.input(2, 8, 4), 4, activation="RELU6"),
    "pointwise_of_one_pixel": lambda n: n.conv(n.input(1, 1, 5), 3),
    "pointwise_one_channel": lambda n: n.conv(n.input(3, 2, 1), 1),
    "pointwise_stride": lambda n: n.conv(n.input(7, 6, 5), 4, stride=2),
    "conv_same": lambda n: n.conv(n.input(9, 8, 3), 7, kernel=3),
    "conv_valid": lambda n: n.conv(n.input(9, 8, 3), 7, kernel=3, padding="VALID"),
    "conv_stem": lambda n: n.conv(n.input(12, 12, 3), 8, kernel=3, stride=2, activation="RELU6"),
    "conv_uneven_padding": lambda n: n.conv(n.input(8, 6, 2), 3, kernel=(4, 2), stride=(2, 3)),
    "conv_uneven_stride": lambda n: n.conv(n.input(11, 7, 2), 4, kernel=(3, 5), stride=(1, 2)),
    "conv_dilated": lambda n: n.conv(n.input(9, 10, 2), 4, kernel=3, dilation=(2, 3)),
    "conv_dilated_in_x": lambda n: n.conv(n.input(5, 11, 3), 3, kernel=(1, 3), dilation=(1, 4)),
    "conv_larger_than_map": lambda n: n.conv(n.input(2, 3, 2), 5, kernel=(5, 7)),
    "conv_dilated_past_map": lambda n: n.conv(n.input(3, 3, 2), 5, kernel=3, dilation=4),
    "conv_one_column": lambda n: n.conv(n.input(6, 1, 4), 3, kernel=3),
    "conv_whole_map": lambda n: n.conv(n.input(4, 3, 5), 6, kernel=(4, 3), padding="VALID"),
    "conv_whole_map_same": lambda n: n.conv(n.input(3, 3, 2), 2, kernel=3),
    "conv_per_tensor": lambda n: n.conv(n.input(6, 5, 3), 5, kernel=3, per_channel=False),
    "conv_without_bias": lambda n: n.conv(n.input(6, 5, 3), 5, kernel=3, bias=False),
    "conv_relu": lambda n: n.conv(n.input(6, 5, 3), 5, kernel=3, activation="RELU"),
    "conv_relu_n1": lambda n: n.conv(n.input(6, 5, 3), 5, kernel=3, activation="RELU_N1_TO_1"),
    "conv_shift_to_the_left": lambda n: n.conv(n.input(4, 5, 3, scale=0.5), 6, scale=0.0004),
    "conv_scale_of_almost_nothing": lambda n: n.conv(n.input(4, 5, 3, scale=1e-9), 6, scale=1.0),
    "conv_scales_far_apart": lambda n: _scales_far_apart(n),
    "conv_accumulators_at_the_limit": lambda n: _large_bias(n, n.conv(n.input(4, 5, 3), 6, scale=2e5)),
    "conv_window_at_the_limit": lambda n: _large_bias(n, n.conv(n.input(4, 5, 3), 6, kernel=3, scale=2e5)),
    "conv_deep": lambda n: n.conv(n.input(2, 3, 700), 3),
    "fully_connected": lambda n: n.fully_connected(n.input(4, 3, 5), 10),
    "fully_connected_per_channel": lambda n: n.fully_connected(n.input(2, 2, 8), 7, per_channel=True),
    "fully_connected_clamped": lambda n: n.fully_connected(n.input(1, 1, 8), 7, activation="RELU"),
    "fully_connected_without_bias": lambda n: n.fully_connected(n.input(1, 1, 8), 7, bias=False),
}

DEPTHWISE: dict[str, Make] = {
    "depthwise": lambda n: n.depthwise(n.input(7, 6, 5)),
    "depthwise_stride": lambda n: n.depthwise(n.input(8, 8, 4), stride=2, activation="RELU6"),
    "depthwise_5x5": lambda n: n.depthwise(n.input(9, 10, 3), kernel=5),
    "depthwise_valid": lambda n: n.depthwise(n.input(6, 7, 3), padding="VALID"),
    "depthwise_uneven": lambda n: n.depthwise(n.input(7, 9, 2), kernel=(2, 4), stride=(2, 3)),
    "depthwise_dilated": lambda n: n.depthwise(n.input(10, 9, 3), dilation=(3, 2)),
    "depthwise_larger_than_map": lambda n: n.depthwise(n.input(2, 1, 3), kernel=5),
    "depthwise_of_one_pixel": lambda n: n.depthwise(n.input(1, 1, 6)),
    "depthwise_multiplier": lambda n: n.depthwise(n.input(5, 6, 3), multiplier=4),
    "depthwise_of_one_channel": lambda n: n.depthwise(n.input(6, 6, 1), multiplier=8),
    "depthwise_per_tensor": lambda n: n.depthwise(n.input(5, 6, 3), per_channel=False),
    "depthwise_without_bias": lambda n: n.depthwise(n.input(5, 6, 3), bias=False),
    "depthwise_planar": lambda n: n.depthwise(n.conv(n.input(7, 6, 3), 5)),
    "depthwise_beside_an_addition": lambda n: _depthwise_residual(n),
    "depthwise_planar_odd": lambda n: n.depthwise(n.conv(n.input(7, 7, 3), 5, kernel=3, stride=2), kernel=5),
    "depthwise_planar_stride": lambda n: n.depthwise(n.conv(n.input(9, 8, 3), 6), stride=2),
    "depthwise_planar_multiplier": lambda n: n.depthwise(n.conv(n.input(5, 5, 2), 3), multiplier=2, dilation=2),
    "depthwise_planar_large": lambda n: n.depthwise(n.conv(n.input(3, 2, 2), 3), kernel=(7, 5)),
    "depthwise_at_the_limit": lambda n: _large_bias(n, n.depthwise(n.input(4, 5, 6), scale=2e5)),
    "depthwise_shift_to_the_left": lambda n: n.depthwise(n.input(4, 5, 3, scale=0.5), scale=0.0003),
}

OTHERS: dict[str, Make] = {
    "add": lambda n: _residual(n),
    "add_relu": lambda n: _residual(n, activation="RELU"),
    "add_relu6": lambda n: _residual(n, activation="RELU6", scale=0.03),
    "add_coarse": lambda n: _residual(n, scale=3.0),
    "add_to_itself": lambda n: _to_itself(n),
    "mean": lambda n: n.mean(n.input(7, 5, 6)),
    "mean_scaled": lambda n: n.mean(
        n.input(4, 9, 3, scale=0.1, zero_point=3), scale=0.01, zero_point=-5, keep_dims=True
    ),
    "mean_of_one_pixel": lambda n: n.mean(n.input(1, 1, 4)),
    "mean_of_a_row": lambda n: n.mean(n.input(1, 6, 4)),
    "max_pool": lambda n: n.pool(n.input(8, 8, 3), kind="MAX"),
    "max_pool_same": lambda n: n.pool(n.input(7, 9, 3), kind="MAX", kernel=3, padding="SAME"),
    "max_pool_clamped": lambda n: n.pool(n.input(5, 5, 2), kind="MAX", kernel=(3, 2), stride=1, activation="RELU"),
    "average_pool": lambda n: n.pool(n.input(8, 8, 3)),
    "average_pool_same": lambda n: n.pool(n.input(7, 6, 5), kernel=(3, 5), stride=(2, 1), padding="SAME"),
    "average_pool_of_all": lambda n: n.pool(n.input(6, 7, 4), kernel=(6, 7), stride=1),
    "average_pool_clamped": lambda n: n.pool(n.input(5, 5, 2), kernel=3, stride=1, activation="RELU6"),
    "pad": lambda n: n.relu(n.pad(n.input(4, 3, 2), top=1, bottom=2, left=3, right=0)),
    "pad_into_conv": lambda n: n.conv(n.pad(n.input(7, 6, 2), top=1, left=1), 3, kernel=3, stride=2, padding="VALID"),
    "pad_into_depthwise": lambda n: n.depthwise(n.pad(n.input(5, 5, 2), bottom=3, right=2), padding="VALID"),
    "pad_into_pool": lambda n: n.pool(n.pad(n.input(5, 4, 2), top=2, left=1), kind="MAX"),
    "relu": lambda n: n.relu(n.input(4, 5, 3)),
    "relu6": lambda n: n.relu(n.input(4, 5, 3), "RELU6"),
    "quantize": lambda n: n.quantize(n.input(4, 5, 3)),
    "softmax": lambda n: n.softmax(n.fully_connected(n.input(2, 2, 5), 10, scale=0.1)),
    "softmax_flat": lambda n: n.softmax(n.fully_connected(n.input(1, 1, 5), 100, scale=0.001)),
    "softmax_steep": lambda n: n.softmax(n.fully_connected(n.input(1, 1, 5), 7, scale=1.0)),
    "softmax_beta": lambda n: n.softmax(n.fully_connected(n.input(1, 1, 5), 20, scale=0.05), beta=2.5),
    "softmax_of_many": lambda n: n.softmax(n.reshape(n.input(1, 1, 24, scale=0.01), (1, 24))),
    "softmax_of_many_steep": lambda n: n.softmax(n.reshape(n.input(1, 1, 24, scale=0.3), (1, 24))),
    "softmax_of_one": lambda n: n.softmax(n.fully_connected(n.input(1, 1, 5), 1)),
    "reshape": lambda n: n.fully_connected(n.reshape(n.conv(n.input(4, 3, 2), 6), (1, 72)), 5),
}


def _large_bias(n: RandomNetwork, y: int) -> int:
    """Sums that come close to both ends of int32."""
    room = 1 << 20
    ends = np.array([2**31 - room, -(2**31) + room] * 3, np.int32)
    _replace(n, n.operators[-1].inputs[2], data=ends.tobytes())
    return y


def _replace(n: RandomNetwork, tensor: int, **changes: Any) -> None:
    n.tensors[tensor] = dataclasses.replace(n.tensors[tensor], **changes)


def _residual(n: RandomNetwork, activation: str = "NONE", scale: float | None = None) -> int:
    x = n.input(5, 6, 4)
    return n.add(x, n.conv(x, 4, kernel=3), activation=activation, scale=scale)


def _depthwise_residual(n: RandomNetwork) -> int:
    x = n.conv(n.input(5, 6, 3), 4)
    return n.add(n.depthwise(x), x)


def _to_itself(n: RandomNetwork) -> int:
    x = n.input(3, 4, 2)
    return n.add(x, x)


def _scales_far_apart(n: RandomNetwork) -> int:
    """Channels whose shifts do not fit into the packed words, a multiplier of 0 among them."""
    x = n.input(4, 4, 3, scale=0.1)
    y = n.conv(x, 6)
    weights, bias = n.operators[-1].inputs[1:3]
    scales = tuple(float(np.float32(s)) for s in (1e-12, 1e-5, 1e-3, 1e-2, 0.1, 0.5))
    _replace(n, weights, scales=scales)
    _replace(n, bias, scales=tuple(0.1 * s for s in scales))
    return y


CASES = CONVOLUTIONS | DEPTHWISE | OTHERS
TRIVIAL = ("conv_scale_of_almost_nothing", "softmax_of_one")


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    return [_case(make, name, seed) for seed, (name, make) in enumerate(CASES.items())]


@pytest.fixture(scope="module")
def expected(networks: list[Network], tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    pytest.importorskip("tflite_micro")
    return tflm_outputs(networks, tmp_path_factory.mktemp("tflm"))


@pytest.fixture(scope="module")
def found(
    networks: list[Network], tmp_path_factory: pytest.TempPathFactory, require_tool: Tool, run_tool: Run
) -> Outputs:
    return run_networks(networks, tmp_path_factory.mktemp("static"), run_tool, require_tool("gcc"))


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_gives_the_bytes_of_tflm(name: str, expected: Outputs, found: Outputs) -> None:
    np.testing.assert_array_equal(found[name], expected[name])
    assert len(np.unique(expected[name])) > 1 or name in TRIVIAL, "the case tests nothing"
