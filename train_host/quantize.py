# SPDX-License-Identifier: Apache-2.0
"""From a Keras network to .tflite files: full int8, and float32, float16 and dynamic-range for comparison."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError
from device.preprocess import InputSpec


class Format(Enum):
    """The numbers in a .tflite file."""

    INT8 = "int8"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_RANGE = "dynamic-range"


def normalize(pixels: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """Pixels as the float network sees them: ``(pixel - mean) / std``.

    Args:
        pixels: uint8, (..., channels).
        spec: mean and standard deviation per channel.

    Returns:
        float32 of the same shape.
    """
    mean = np.asarray(spec.mean, np.float32)
    std = np.asarray(spec.std, np.float32)
    return ((pixels.astype(np.float32) - mean) / std).astype(np.float32)


class Converter:
    """Turns one network into .tflite files; it is traced once, which takes longer than a conversion.

    Args:
        model: a ``tf_keras.Model``, float32 (n, height, width, channels) → (n, classes).
        spec: geometry and normalisation of the input.
    """

    def __init__(self, model: Any, spec: InputSpec) -> None:
        import tensorflow as tf

        # A batch of one, not Keras's dynamic one: engines for chips refuse a shape with -1 in it.
        signature = tf.TensorSpec((1, spec.height, spec.width, spec.channels), tf.float32, name="image")
        self._function = tf.function(lambda image: model(image, training=False)).get_concrete_function(signature)
        # The converter saves what it is given, and saving a Keras model traces each of its layers again. A bare module
        # with the variables is all it needs: a quarter of the time.
        self._holder = tf.Module()
        self._holder.variables_of_model = model.variables
        self._spec = spec

    def convert(self, target: Format, representative: Iterable[NDArray[np.uint8]] | None = None) -> bytes:
        """The flatbuffer in the numbers of ``target``.

        Args:
            target: the numbers of the result.
            representative: for ``INT8``, the preprocessed photos, uint8 (height, width, channels) each.

        Returns:
            The flatbuffer. For ``INT8`` its input has the scale and zero point of the ``spec``.

        Raises:
            LitesightError: the converter chose another input quantisation than the ``spec`` states.
        """
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_concrete_functions([self._function], self._holder)
        if target is not Format.FLOAT32:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if target is Format.FLOAT16:
            converter.target_spec.supported_types = [tf.float16]
        if target is Format.INT8:
            if representative is None:
                raise ValueError("int8 needs representative photos")
            photos = representative
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.int8
            converter.inference_output_type = tf.int8
            converter.representative_dataset = lambda: ([x] for x in _full_range(photos, self._spec))
        with _stderr_silenced():
            flatbuffer = bytes(converter.convert())
        if target is Format.INT8:
            _check_input(flatbuffer, self._spec)
        return flatbuffer


def _full_range(photos: Iterable[NDArray[np.uint8]], spec: InputSpec) -> Iterator[NDArray[np.float32]]:
    """The photos as float batches of one, of which the first holds black and white.

    The converter takes the input's scale from the extremes it sees. With both ends of the pixel range among them, mean
    128 and std 128 give (1 - 1/128 + 1) / 255 = 1/128 and zero point 0 exactly, whatever the photos. Two corner
    pixels of one photo are set for it.
    """
    for index, photo in enumerate(photos):
        pixels = photo
        if index == 0:
            pixels = photo.copy()
            pixels[0, 0] = 0
            pixels[-1, -1] = 255
        yield normalize(pixels[np.newaxis], spec)


def _check_input(flatbuffer: bytes, spec: InputSpec) -> None:
    from firmware_export.tflite_reader import read_model

    model = read_model(flatbuffer)
    tensor = model.tensors[model.inputs[0]]
    scale, zero_point = float(tensor.scales[0]), int(tensor.zero_points[0])
    if not np.isclose(scale, spec.scale, rtol=1e-6) or zero_point != spec.zero_point:
        raise LitesightError(
            f"the converter gave the input scale {scale} and zero point {zero_point}; "
            f"expected {spec.scale} and {spec.zero_point}",
            hint="the representative photos do not span the range of the normalisation",
        )


@contextlib.contextmanager
def _stderr_silenced() -> Iterator[None]:
    """Hide what the converter's C++ prints whatever the log level; its failures are exceptions and stay."""
    with Path(os.devnull).open("wb") as sink:
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
