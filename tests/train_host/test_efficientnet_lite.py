# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from train_host.efficientnet_lite import build_model
from train_host.scaling import Architecture, count_parameters, variant_architecture

SMALL = variant_architecture("lite0", classes=3, width=0.1, depth=0.5, resolution=32)


@pytest.mark.parametrize(
    "arch",
    [
        SMALL,
        variant_architecture("lite0", classes=1000),
        variant_architecture("lite0", classes=5, width=0.35, scale_stem_and_head=False, resolution=48, channels=1),
        variant_architecture("lite3", classes=10, width=0.3, depth=0.6, resolution=33),
    ],
)
def test_the_built_network_has_the_counted_parameters(arch: Architecture) -> None:
    model = build_model(arch)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == count_parameters(arch)
    assert model.input_shape == (None, arch.resolution, arch.resolution, arch.channels)
    assert model.output_shape == (None, arch.classes)


def test_layer_names_stay_as_they_are() -> None:
    names = [layer.name for layer in build_model(SMALL).layers]
    assert names[:9] == [
        "image",
        "stem_conv",
        "stem_bn",
        "stem_relu6",
        "block1a_depthwise_conv",
        "block1a_depthwise_bn",
        "block1a_depthwise_relu6",
        "block1a_project_conv",
        "block1a_project_bn",
    ]
    assert {"block2a_expand_conv", "block4b_add", "block7a_project_bn"} < set(names)
    assert names[-6:] == ["head_conv", "head_bn", "head_relu6", "pool", "dropout", "classifier"]


def test_the_output_is_logits_and_starts_undecided() -> None:
    output = build_model(SMALL)(np.ones((2, 32, 32, 3), np.float32), training=False)
    assert np.array_equal(output, np.zeros((2, 3), np.float32))


def test_stochastic_depth_changes_training_and_nothing_else() -> None:
    plain, dropping = build_model(SMALL), build_model(SMALL, drop_path=0.5)
    dropping.set_weights(list(plain.get_weights()) + dropping.get_weights()[len(plain.get_weights()) :])
    assert any(layer.name == "block6b_drop" for layer in dropping.layers)
    assert not any(layer.name.endswith("_drop") for layer in plain.layers)


def test_it_converts_to_full_int8_with_the_few_ops_that_chips_have() -> None:
    # One residual block and no more layers than it takes: conversion is slow.
    model = build_model(variant_architecture("lite0", classes=3, width=0.1, depth=0.3, resolution=32))
    rng = np.random.default_rng(0)
    photos = rng.uniform(-1, 1, (8, 1, 32, 32, 3)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([photo] for photo in photos)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    interpreter = tf.lite.Interpreter(
        model_content=converter.convert(), experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    ops = {details["op_name"] for details in interpreter._get_ops_details()}
    assert ops == {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED"}
