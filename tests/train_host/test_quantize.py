# SPDX-License-Identifier: Apache-2.0
"""The converted network must be the trained one, with the input that chips are promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device.interpreter import load_runtime, open_interpreter
from device.preprocess import InputSpec
from firmware_export.tflite_reader import read_model, require_int8
from train_host.efficientnet_lite import build_model
from train_host.quantize import Converter, Format, normalize
from train_host.scaling import Architecture

SPEC = InputSpec(24, 24)


@pytest.fixture(scope="module")
def model() -> Any:
    import tf_keras

    tf_keras.utils.set_random_seed(4)
    built = build_model(
        Architecture(variant="custom", width=0.1, depth=0.3, resolution=24, scale_stem_and_head=True, classes=3)
    )
    # The classifier starts at zero, and a network that always answers 0 would agree with anything.
    built.get_layer("classifier").set_weights([np.random.default_rng(0).normal(0, 50, (128, 3)), np.zeros(3)])
    return built


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    """Dull ones: their pixels span 100 to 150 only."""
    rng = np.random.default_rng(0)
    return [rng.integers(100, 150, (24, 24, 3), dtype=np.uint8) for _ in range(8)]


@pytest.fixture(scope="module")
def converter(model: Any) -> Converter:
    return Converter(model, SPEC)


@pytest.mark.parametrize("target", [Format.FLOAT32, Format.FLOAT16, Format.DYNAMIC_RANGE])
def test_float_formats_give_the_trained_networks_answers(
    converter: Converter, model: Any, photos: list[NDArray[np.uint8]], target: Format
) -> None:
    x = normalize(np.stack(photos), SPEC)
    wanted = model(x, training=False).numpy()
    interpreter = open_interpreter(converter.convert(target))
    found = np.stack([interpreter.invoke(photo) for photo in x])
    assert np.ptp(wanted) > 1
    share = 1e-4 if target is Format.FLOAT32 else 0.05
    np.testing.assert_allclose(found, wanted, atol=share * np.ptp(wanted))


def test_int8_input_is_exact_even_for_dull_photos_and_the_batch_is_one(
    converter: Converter, model: Any, photos: list[NDArray[np.uint8]]
) -> None:
    before = [photo.copy() for photo in photos]
    flatbuffer = converter.convert(Format.INT8, photos)
    graph = read_model(flatbuffer)
    require_int8(graph)
    assert (graph.input.scales, graph.input.zero_points) == ((1 / 128,), (0,))
    # The reader takes a dynamic batch for 1; engines for chips do not.
    details = load_runtime().module.Interpreter(model_content=flatbuffer).get_input_details()[0]
    assert details["shape_signature"].tolist() == [1, 24, 24, 3]
    assert all((photo == old).all() for photo, old in zip(photos, before, strict=True)), "the photos are not changed"
    interpreter = open_interpreter(flatbuffer)
    wanted = model(normalize(np.stack(photos), SPEC), training=False).numpy()
    facts = interpreter.output
    found = np.stack([interpreter.invoke((photo ^ 0x80).view(np.int8)) for photo in photos])
    np.testing.assert_allclose(
        (found.astype(np.float32) - facts.zero_point) * facts.scale, wanted, atol=0.15 * np.ptp(wanted)
    )


def test_weights_are_per_channel(converter: Converter, photos: list[NDArray[np.uint8]]) -> None:
    graph = read_model(converter.convert(Format.INT8, photos))
    stem = next(op for op in graph.operators if op.name == "CONV_2D")
    weights = graph.tensors[stem.inputs[1]]
    assert len(weights.scales) == weights.shape[0] > 1


def test_normalize_is_what_the_int8_input_means() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    real = normalize(pixels, InputSpec(16, 16))
    np.testing.assert_array_equal(real * 128, (pixels ^ 0x80).view(np.int8))
