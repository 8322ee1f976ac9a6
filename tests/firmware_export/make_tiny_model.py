# SPDX-License-Identifier: Apache-2.0
"""Makes the fixtures in ``data/``: run ``python tests/firmware_export/make_tiny_model.py`` on a host with TensorFlow.

Two small networks with random weights, both of the EfficientNet-Lite family: a stem, an inverted bottleneck with a
residual connection, one with stride 2, a head. ``tiny_int8.tflite`` is fully int8 and comes with ``tiny_golden.npz``
(inputs and what TFLM gives for them); ``tiny_float.tflite`` is the float32 original.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from device.bundle import golden_bytes
from firmware_export import tflm_oracle

DATA = Path(__file__).resolve().parent / "data"
SIZE = 16
CLASSES = 4


def conv_bn(x: object, name: str, filters: int, kernel: int, stride: int = 1, relu: bool = True) -> object:
    """Convolution, batch normalisation, ReLU6."""
    x = layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x


def block(x: object, name: str, filters: int, kernel: int, stride: int) -> object:
    """An inverted bottleneck without squeeze-and-excite."""
    inputs = x
    x = conv_bn(x, f"{name}_expand", 16, 1)
    x = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_dwconv")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = conv_bn(x, f"{name}_project", filters, 1, relu=False)
    return layers.Add(name=f"{name}_add")([x, inputs]) if stride == 1 else x


def main() -> int:
    """Write the three files."""
    tf_keras.utils.set_random_seed(7)
    inputs = layers.Input((SIZE, SIZE, 3), name="image")
    x = conv_bn(inputs, "stem", 8, 3, 2)
    x = block(x, "block1a", 8, 3, 1)
    x = block(x, "block2a", 12, 5, 2)
    x = conv_bn(x, "head", 24, 1)
    x = layers.GlobalAveragePooling2D()(x)
    model = tf_keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x))

    rng = np.random.default_rng(7)
    images = rng.uniform(-1.0, 127.0 / 128.0, (64, SIZE, SIZE, 3)).astype(np.float32)
    images[0, 0, 0] = (-1.0, 127.0 / 128.0, 0.0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.8, 1.6, layer.gamma.shape))
            layer.beta.assign(rng.uniform(-0.3, 1.0, layer.beta.shape))

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (DATA / "tiny_float.tflite").write_bytes(converter.convert())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    data = converter.convert()
    (DATA / "tiny_int8.tflite").write_bytes(data)

    golden = rng.integers(-128, 128, (4, SIZE, SIZE, 3), dtype=np.int8)
    result = tflm_oracle.run(data, golden)
    (DATA / "tiny_golden.npz").write_bytes(golden_bytes(golden, result.outputs, result.name))
    print(result.outputs, result.arena_bytes, len(data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
