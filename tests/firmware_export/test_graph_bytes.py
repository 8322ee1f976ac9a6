# SPDX-License-Identifier: Apache-2.0
"""The graph of the static engine, run as its docstrings say, gives TFLM's bytes: no formula is wrong or left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from device.bundle import Golden
from firmware_export import tflm_oracle
from firmware_export.static_engine.graph import build_graph
from firmware_export.tflite_reader import read_model
from tests.firmware_export import graph_interpreter
from tests.firmware_export.random_network import random_network
from tests.firmware_export.tflite_builder import RandomNetwork


def interpret(data: bytes, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    return graph_interpreter.run(build_graph(read_model(data)), inputs)


def assert_same_as_tflm(data: bytes, inputs: NDArray[np.int8]) -> None:
    np.testing.assert_array_equal(interpret(data, inputs), tflm_oracle.run(data, inputs).outputs)


def test_the_tiny_network_gives_its_golden_vectors(tiny_bytes: bytes, tiny_golden: Golden) -> None:
    np.testing.assert_array_equal(interpret(tiny_bytes, tiny_golden.inputs), tiny_golden.outputs)


@pytest.mark.parametrize("seed", range(8))
def test_a_random_network_gives_tflms_bytes(require_oracle: None, seed: int) -> None:
    generated = random_network(seed)
    assert_same_as_tflm(generated.data, generated.inputs)


Build = Callable[[RandomNetwork, int], int]
SPREAD = np.arange(-128, 128).astype(np.int8).reshape(1, 8, 8, 4)
EXTREMES: dict[str, Build] = {
    "a convolution whose outputs are larger than its accumulators": lambda net, x: net.conv(x, 3, scale=1e-5),
    "a convolution whose multiplier is flushed to zero": lambda net, x: net.conv(x, 3, scale=3e7, zero_point=7),
    "a fully connected layer, whose scales are multiplied in float32": lambda net, x: net.fully_connected(x, 40),
    "an ADD of which one summand vanishes": lambda net, x: net.add(
        net.quantize(x, scale=1e5), net.quantize(x, scale=1e-5)
    ),
    "an ADD with a small output scale": lambda net, x: net.add(x, x, scale=1e-4),
    "a MEAN with a multiplier above one": lambda net, x: net.mean(x, axes=(-2, -3), scale=1e-3),
    "a MEAN with a shift that has no room for 1/n": lambda net, x: net.mean(x, axes=(2, 1), scale=1e8),
    "a RELU with another scale": lambda net, x: net.relu(x, scale=0.013, zero_point=-20),
    "a RELU6 whose output claims another scale": lambda net, x: net.relu(x, "RELU6", scale=0.5, zero_point=3),
    "a QUANTIZE that spreads": lambda net, x: net.quantize(x, scale=1e-6, zero_point=-1),
    "a flat ADD": lambda net, x: net.add(net.flatten(x), net.flatten(net.relu(x))),
    "a wide PAD before a convolution": lambda net, x: net.conv(
        net.pad(x, top=5, right=4), 2, kernel=2, padding="VALID"
    ),
}


@pytest.mark.parametrize("build", EXTREMES.values(), ids=EXTREMES.keys())
def test_an_extreme_gives_tflms_bytes(require_oracle: None, build: Build) -> None:
    net = RandomNetwork(seed=3)
    data = net.finish(build(net, net.input(8, 8, 4, scale=0.07, zero_point=-11)))
    assert_same_as_tflm(data, SPREAD)


@pytest.mark.parametrize("scale", [2.0**-25.9, 0.11, 40.0])
def test_a_softmax_of_any_scale_gives_tflms_bytes(require_oracle: None, scale: float) -> None:
    net = RandomNetwork(seed=3)
    data = net.finish(net.softmax(net.flatten(net.input(1, 1, 256, scale=scale))))
    inputs = np.stack([SPREAD.reshape(1, 1, 256), np.zeros((1, 1, 256), np.int8)])
    assert_same_as_tflm(data, inputs)
