# SPDX-License-Identifier: Apache-2.0
"""Whole networks with random weights, in the style of those that people put on microcontrollers."""

from __future__ import annotations

from tests.firmware_export.tflite_builder import RandomNetwork


def efficientnet(seed: int = 1) -> bytes:
    """EfficientNet-Lite: inverted residuals with 3x3 and 5x5 windows, a softmax-free head."""
    net = RandomNetwork(seed)
    x = net.conv(net.input(24, 20, 3), 8, kernel=3, stride=2, activation="RELU6")
    for channels, kernel, stride in ((8, 3, 1), (12, 3, 2), (12, 5, 1), (16, 5, 2), (16, 3, 1)):
        x = _inverted_residual(net, x, channels, kernel, stride)
    x = net.conv(x, 24, activation="RELU6")
    return net.finish(net.fully_connected(net.mean(x), 7))


def resnet(seed: int = 2) -> bytes:
    """ResNet: two convolutions and a shortcut, with a 1x1 of stride 2 where the size changes."""
    net = RandomNetwork(seed)
    x = net.conv(net.input(16, 16, 3), 8, kernel=3, activation="RELU")
    for channels, stride in ((8, 1), (12, 2), (16, 2)):
        y = net.conv(x, channels, kernel=3, stride=stride, activation="RELU")
        y = net.conv(y, channels, kernel=3)
        shortcut = x if stride == 1 else net.conv(x, channels, stride=stride)
        x = net.add(y, shortcut, activation="RELU")
    x = net.pool(x, kernel=4, stride=4)
    return net.finish(_softmax(net, net.fully_connected(net.flatten(x), 5)))


def mobilenet(seed: int = 3) -> bytes:
    """MobileNetV1: a depthwise and a pointwise layer in turn, padded on one side as its converter does."""
    net = RandomNetwork(seed)
    x = net.pad(net.input(25, 18, 1), bottom=1, right=1)
    x = net.conv(x, 6, kernel=3, stride=2, padding="VALID", activation="RELU6")
    for channels, stride in ((8, 1), (12, 2), (12, 1), (20, 2)):
        x = net.depthwise(x, stride=stride, activation="RELU6")
        x = net.conv(x, channels, activation="RELU6")
    x = net.pool(x, kernel=3, stride=1)
    return net.finish(_softmax(net, net.fully_connected(net.reshape(x, (1, 20)), 3)))


def odd_one(seed: int = 4) -> bytes:
    """What no family has together: maps read by many, pools, lookups and dilated windows."""
    net = RandomNetwork(seed)
    x = net.quantize(net.conv(net.input(15, 17, 3), 6, kernel=(5, 3), stride=(1, 2)))
    left = net.depthwise(x, kernel=3, dilation=2)
    right = net.relu(net.pool(x, kind="MAX", kernel=3, stride=1, padding="SAME"))
    x = net.add(left, right)
    x = net.add(x, net.depthwise(net.conv(x, 6, kernel=3, dilation=(1, 2)), kernel=5))
    x = net.pool(x, kernel=3, stride=2, padding="SAME")
    x = net.depthwise(net.pad(x, top=1, left=2), stride=2, multiplier=2, padding="VALID")
    return net.finish(net.fully_connected(net.conv(x, 4), 9, per_channel=True))


def random_network(seed: int) -> bytes:
    """A chain of random layers with now and then a shortcut."""
    net = RandomNetwork(seed)
    rng = net.rng
    x = net.input(int(rng.integers(6, 20)), int(rng.integers(6, 20)), int(rng.choice([1, 3])))
    for _ in range(int(rng.integers(3, 9))):
        kernel, stride = (int(rng.integers(1, 5)), int(rng.integers(1, 5))), int(rng.integers(1, 3))
        padding = "SAME" if min(net.tensors[x].shape[1:3]) < 5 else str(rng.choice(["SAME", "VALID"]))
        kind = rng.integers(6)
        if kind == 0:
            x = net.conv(x, int(rng.integers(1, 12)), kernel=kernel, stride=stride, padding=padding)
        elif kind == 1:
            x = net.depthwise(net.conv(x, int(rng.integers(1, 12))), kernel=kernel, stride=stride, padding=padding)
        elif kind == 2:
            x = net.add(x, net.conv(x, net.tensors[x].shape[3], kernel=kernel, activation="RELU6"))
        elif kind == 3:
            x = net.pool(x, kind=str(rng.choice(["MAX", "AVERAGE"])), kernel=2, stride=stride, padding="SAME")
        elif kind == 4:
            x = net.add(net.relu(x), net.depthwise(x, kernel=kernel))
        else:
            x = net.conv(x, int(rng.integers(4, 16)), activation="RELU")
    return net.finish(net.fully_connected(x, 6))


def _inverted_residual(net: RandomNetwork, x: int, channels: int, kernel: int, stride: int) -> int:
    depth = net.tensors[x].shape[3]
    y = net.conv(x, 3 * depth, activation="RELU6")
    y = net.conv(net.depthwise(y, kernel=kernel, stride=stride, activation="RELU6"), channels)
    return net.add(x, y) if stride == 1 and channels == depth else y


def _softmax(net: RandomNetwork, x: int) -> int:
    """Scales grow from layer to layer; the exponent is brought back to where the outputs differ a little."""
    return net.softmax(x, beta=0.05 / net.tensors[x].scales[0])


def everything(seed: int = 5) -> bytes:
    """A network with a layer for every kernel."""
    net = RandomNetwork(seed)
    x = net.conv(net.input(14, 12, 3), 6, kernel=3, stride=2, activation="RELU6")
    x = net.relu(net.pad(net.conv(x, 8), top=1, left=1))
    y = net.depthwise(net.conv(x, 8, kernel=(1, 3)))
    x = net.pool(net.pool(net.add(x, y), kind="MAX"), kernel=3, stride=1, padding="SAME")
    return net.finish(_softmax(net, net.fully_connected(net.mean(x), 4)))
