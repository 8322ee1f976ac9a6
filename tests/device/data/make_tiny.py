# SPDX-License-Identifier: Apache-2.0
"""Makes the tiny networks beside this file; needs TensorFlow. Run: python tests/device/data/make_tiny.py

Every network takes 16×16×3 and tells which colour channel is the brightest, so a test can say beforehand what the
answer to a red photo is, and a swapped colour order shows up as another label.

* tiny_int8.tflite: full int8, input scale 1/128, zero point 0, logits.
* tiny_float.tflite: the same in float32.
* tiny_mixed.tflite: float32 with two ops in the middle that XNNPACK does not take.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 16
HERE = Path(__file__).parent


def network(keras: Any, middle: Any = None) -> Any:
    """Average, then three logits that grow with the mean of red, green and blue."""
    inputs = keras.Input((SIDE, SIDE, 3), batch_size=1)
    x = keras.layers.Conv2D(3, 3, strides=2, padding="same", activation="relu6", name="stem")(inputs)
    if middle is not None:
        x = middle(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
    stem = np.zeros((3, 3, 3, 3), np.float32)
    stem[1, 1] = np.eye(3)
    depthwise = np.zeros((3, 3, 3, 1), np.float32)
    depthwise[1, 1] = 1
    model.get_layer("stem").set_weights([stem, np.ones(3, np.float32)])
    model.get_layer("depthwise").set_weights([depthwise, np.zeros(3, np.float32)])
    model.get_layer("logits").set_weights([4 * np.eye(3, dtype=np.float32), np.full(3, -4, np.float32)])
    return model


def photos() -> Iterator[list[np.ndarray[Any, Any]]]:
    """Plain colours and noise over the whole range that a pixel can have after normalisation."""
    random = np.random.default_rng(0)
    for number in range(64):
        pixels = random.integers(0, 256, (1, SIDE, SIDE, 3))
        if number < 8:
            pixels[...] = [255 * (number >> bit & 1) for bit in range(3)]
        yield [((pixels - 128) / 128).astype(np.float32)]


def main() -> None:
    import tensorflow as tf
    import tf_keras as keras

    plain = network(keras)
    converter = tf.lite.TFLiteConverter.from_keras_model(plain)
    (HERE / "tiny_float.tflite").write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = photos
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (HERE / "tiny_int8.tflite").write_bytes(converter.convert())

    def not_for_xnnpack(x: Any) -> Any:
        return tf.reverse(tf.cumsum(x, axis=1) - tf.cumsum(x, axis=1, exclusive=True), axis=[1])

    mixed = network(keras, keras.layers.Lambda(not_for_xnnpack))
    (HERE / "tiny_mixed.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(mixed).convert())


if __name__ == "__main__":
    main()
