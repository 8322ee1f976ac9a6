# SPDX-License-Identifier: Apache-2.0
"""What the tests build is a model that the reader and TFLM accept; otherwise they would test nothing."""

from __future__ import annotations

import numpy as np

from firmware_export import tflm_oracle
from firmware_export.tflite_reader import ops_used, read_model
from tests.firmware_export.tflite_builder import RandomNetwork


def every_operator() -> bytes:
    """A network in which each operator of the family occurs."""
    net = RandomNetwork(seed=1)
    x = net.conv(net.pad(net.input(13, 10, 3, batch_is_dynamic=True), bottom=1, left=2), 8, kernel=3, stride=2)
    x = net.pool(x, kind="MAX", kernel=(3, 2), stride=1, padding="SAME")
    y = net.depthwise(x, kernel=3, dilation=2, activation="RELU6")
    x = net.relu(net.quantize(net.add(x, y, activation="RELU")), "RELU6")
    x = net.pool(net.depthwise(net.relu(x), kernel=2, multiplier=2, per_channel=False, bias=False), kernel=2, stride=2)
    y = net.mean(x, keep_dims=True)
    y = net.fully_connected(net.reshape(y, (1, 16), with_tensor=False), 6, per_channel=True)
    return net.finish(net.softmax(y, beta=0.5))


def test_tflm_runs_a_network_of_every_operator(require_oracle: None) -> None:
    data = every_operator()
    model = read_model(data)
    assert set(ops_used(model)) == {
        *("ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "MEAN", "PAD"),
        *("QUANTIZE", "RELU", "RELU6", "RESHAPE", "SOFTMAX"),
    }
    inputs = np.random.default_rng(0).integers(-128, 128, (2, 13, 10, 3), np.int8)
    outputs = tflm_oracle.run(data, inputs).outputs
    assert outputs.shape == (2, 6)
    # A softmax: the probabilities add up to one, in steps of 1/256.
    assert np.all(np.abs((outputs.astype(int) + 128).sum(axis=1) - 256) < 6)


def test_the_same_seed_gives_the_same_file() -> None:
    assert every_operator() == every_operator()
