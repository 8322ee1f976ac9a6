# SPDX-License-Identifier: Apache-2.0
"""Random networks of every operator that the static engine computes, for comparisons with TFLM byte for byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.firmware_export.tflite_builder import RandomNetwork

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
BLOCKS = ("conv", "pointwise", "depthwise", "add", "pool", "pad", "lookup", "bottleneck")


@dataclass(frozen=True)
class Generated:
    """A network and inputs for it.

    Attributes:
        data: the .tflite.
        inputs: int8, (n, height, width, channels).
    """

    data: bytes
    inputs: np.ndarray[tuple[int, ...], np.dtype[np.int8]]


def random_network(seed: int, *, blocks: int = 5, inputs: int = 2) -> Generated:
    """A chain of random blocks on a small map, and one of the usual ends.

    Args:
        seed: the same one gives the same network.
        blocks: how many.
        inputs: how many; among them the extremes.
    """
    rng = np.random.default_rng(seed)
    net = RandomNetwork(rng)
    shape = tuple(int(size) for size in rng.integers(3, 14, 2)), int(rng.integers(1, 7))
    x = net.input(*shape[0], shape[1])
    for _ in range(blocks):
        x = _block(net, rng, x)
    data = net.finish(_end(net, rng, x))
    values = rng.integers(-128, 128, (inputs, *shape[0], shape[1]), np.int8)
    values[0].flat[: values[0].size // 2] = rng.choice([-128, 127], values[0].size // 2)
    return Generated(data, values)


def _block(net: RandomNetwork, rng: np.random.Generator, x: int) -> int:
    _, height, width, channels = net.tensors[x].shape
    kernel = int(rng.integers(1, min(height, 5) + 1)), int(rng.integers(1, min(width, 5) + 1))
    stride = (int(rng.choice([1, 1, 2, 3])), int(rng.choice([1, 1, 2, 3]))) if min(height, width) > 3 else (1, 1)
    padding, activation = str(rng.choice(["SAME", "VALID"])), str(rng.choice(ACTIVATIONS))
    per_channel, bias = bool(rng.integers(2)), bool(rng.integers(4))
    dilation = (
        (int(rng.integers(1, 4)), int(rng.integers(1, 4))) if padding == "SAME" and rng.integers(3) == 0 else (1, 1)
    )
    match str(rng.choice(BLOCKS)):
        case "conv":
            return net.conv(
                x,
                int(rng.integers(1, 9)),
                kernel=kernel,
                stride=stride,
                dilation=dilation,
                padding=padding,
                activation=activation,
                per_channel=per_channel,
                bias=bias,
            )
        case "pointwise":
            return net.conv(x, int(rng.integers(1, 20)), activation=activation, per_channel=per_channel, bias=bias)
        case "depthwise":
            return net.depthwise(
                x,
                kernel=kernel,
                stride=stride,
                dilation=dilation,
                padding=padding,
                activation=activation,
                multiplier=1 if channels > 8 else int(rng.integers(1, 4)),
                per_channel=per_channel,
                bias=bias,
            )
        case "add":
            return net.add(x, net.quantize(x), activation=activation)
        case "pool":
            kind = str(rng.choice(["AVERAGE", "MAX"]))
            return net.pool(x, kind=kind, kernel=kernel, stride=stride, padding=padding, activation=activation)
        case "pad":
            top, bottom, left, right = (int(size) for size in rng.integers(0, 3, 4))
            padded = net.pad(x, top=top, bottom=bottom, left=left, right=right)
            if rng.integers(2):
                return padded
            return net.conv(padded, 4, kernel=kernel, stride=stride, padding="VALID", activation=activation)
        case "lookup":
            return net.relu(x, str(rng.choice(["RELU", "RELU6"])))
        case _:
            wide = net.conv(x, 2 * channels, activation="RELU6")
            return net.add(x, net.conv(net.depthwise(wide, kernel=kernel, activation="RELU6"), channels))


def _end(net: RandomNetwork, rng: np.random.Generator, x: int) -> int:
    match int(rng.integers(5)):
        case 0:
            return x
        case 1:
            return net.mean(x, keep_dims=bool(rng.integers(2)))
        case 2:
            return net.fully_connected(x, 5, per_channel=bool(rng.integers(2)), activation="RELU")
        case 3:
            return net.softmax(net.fully_connected(net.flatten(x), 7), beta=float(rng.uniform(0.2, 3)))
        case _:
            _, height, width, _ = net.tensors[x].shape
            pooled = net.pool(x, kernel=(height, width), stride=(height, width))
            return net.softmax(net.fully_connected(net.flatten(pooled), 3))
