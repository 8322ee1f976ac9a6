# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite in tf_keras: float32 pixels in, logits out.

The output is logits: softmax would cost a kernel and an output scale of 1/256 on the chip, and the host or the
application can apply it to the few classes it shows.
"""

from __future__ import annotations

from typing import Any

import tf_keras

from train_host.scaling import Architecture, Block, blocks, head_channels, stem_channels

BATCH_NORM_EPSILON = 1e-3
# Fine-tuning sees a few hundred steps; with 0.99 the statistics of the first, badly placed steps would still count.
BATCH_NORM_MOMENTUM = 0.95

# As in the EfficientNet release.
_CONV_INITIALIZER = {"class_name": "VarianceScaling", "config": {"scale": 2.0, "mode": "fan_out"}}


def build_model(arch: Architecture, *, drop_path: float = 0.0) -> tf_keras.Model:
    """The network with fresh weights.

    Args:
        arch: its shape.
        drop_path: stochastic depth: the chance, in training, to leave out the last residual block; earlier blocks
            proportionally less. Adds nothing to inference.

    Returns:
        A functional model from float32 (batch, resolution, resolution, channels), normalised, to float32
        (batch, classes) logits. Its layers are named as in "block2a_expand_conv".
    """
    inputs = tf_keras.Input((arch.resolution, arch.resolution, arch.channels), name="image")
    x = _conv(inputs, "stem", stem_channels(arch), kernel=3, stride=2)
    x = _norm_relu6(x, "stem")
    table = blocks(arch)
    for index, block in enumerate(table):
        x = _mbconv(x, block, drop_path * index / len(table))
    x = _conv(x, "head", head_channels(arch), kernel=1)
    x = _norm_relu6(x, "head")
    x = tf_keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = _dropout(x, "dropout", arch.dropout)
    # Zeros: every class equally likely. The release's initialiser is scaled for 1000 classes; with two of them it would
    # start at a loss far above chance.
    x = tf_keras.layers.Dense(arch.classes, kernel_initializer="zeros", name="classifier")(x)
    return tf_keras.Model(inputs, x, name="efficientnet_lite")


def _mbconv(inputs: Any, block: Block, drop_path: float) -> Any:
    x = inputs
    if block.expand_ratio != 1:
        x = _conv(x, f"{block.name}_expand", block.expanded_channels, kernel=1)
        x = _norm_relu6(x, f"{block.name}_expand")
    x = tf_keras.layers.DepthwiseConv2D(
        block.kernel,
        strides=block.stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_CONV_INITIALIZER,
        name=f"{block.name}_depthwise_conv",
    )(x)
    x = _norm_relu6(x, f"{block.name}_depthwise")
    x = _conv(x, f"{block.name}_project", block.out_channels, kernel=1)
    x = _norm(x, f"{block.name}_project")
    if block.residual:
        if drop_path > 0:
            x = _dropout(x, f"{block.name}_drop", drop_path, (None, 1, 1, 1))
        x = tf_keras.layers.Add(name=f"{block.name}_add")([inputs, x])
    return x


def _conv(inputs: Any, name: str, channels: int, *, kernel: int, stride: int = 1) -> Any:
    return tf_keras.layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=_CONV_INITIALIZER,
        name=f"{name}_conv",
    )(inputs)


def _norm(inputs: Any, name: str) -> Any:
    return tf_keras.layers.BatchNormalization(
        epsilon=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM, name=f"{name}_bn"
    )(inputs)


def _norm_relu6(inputs: Any, name: str) -> Any:
    # ReLU6 and not swish: its bounded range quantises well, and it fuses into the convolution.
    return tf_keras.layers.ReLU(6.0, name=f"{name}_relu6")(_norm(inputs, name))


def _dropout(inputs: Any, name: str, rate: float, noise_shape: tuple[int | None, ...] | None = None) -> Any:
    # A generator of its own, so that training can set it back at each epoch and a resumed run draws the same masks.
    return tf_keras.layers.Dropout(rate, noise_shape=noise_shape, force_generator=True, name=name)(inputs)
