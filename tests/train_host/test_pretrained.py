# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from device.errors import LitesightError
from train_host.checkpoint_reader import read_checkpoint
from train_host.efficientnet_lite import BATCH_NORM_EPSILON, build_model
from train_host.pretrained import (
    assign_weights,
    checkpoint_path,
    has_pretrained,
    imagenet_architecture,
    imagenet_labels,
    imagenet_weights,
    load_pretrained,
    weights_from_tensors,
)
from train_host.scaling import variant_architecture


@pytest.fixture(scope="module")
def tensors() -> dict[str, NDArray[Any]]:
    return read_checkpoint(checkpoint_path())


def test_the_labels_are_a_thousand_different_names_in_the_order_of_the_outputs() -> None:
    labels = imagenet_labels()
    assert len(labels) == len(set(labels)) == 1000
    facts = {0: "tench", 285: "Egyptian cat", 463: "bucket", 817: "sports car", 999: "toilet tissue"}
    assert {index: labels[index] for index in facts} == facts


def test_the_full_width_network_gets_every_weight(tensors: dict[str, NDArray[Any]]) -> None:
    arch = imagenet_architecture(32)
    model = build_model(arch)
    load_pretrained(model, arch)
    found = model.get_layer("block5c_depthwise_conv").get_weights()[0]
    assert np.array_equal(found[:, :, 7, 0], tensors["_blocks.10._depthwise_conv.weight"][7, 0])
    assert np.array_equal(
        model.get_layer("head_conv").get_weights()[0][0, 0], tensors["_conv_head.weight"][..., 0, 0].T
    )
    assert np.array_equal(model.get_layer("classifier").get_weights()[0], tensors["_fc.weight"].T)


def test_the_shift_of_the_normalisation_is_folded_exactly(tensors: dict[str, NDArray[Any]]) -> None:
    weights = imagenet_weights()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 27)).astype(np.float64)
    kernel = weights["stem_conv/kernel"].reshape(27, 32).astype(np.float64)

    def normed(x: NDArray[Any], mean: NDArray[Any]) -> NDArray[Any]:
        gain = weights["stem_bn/gamma"] / np.sqrt(weights["stem_bn/variance"] + BATCH_NORM_EPSILON)
        result: NDArray[Any] = (x @ kernel - mean) * gain + weights["stem_bn/beta"]
        return result

    theirs = normed((pixels - 127) / 128, tensors["_bn0.running_mean"])
    ours = normed((pixels - 128) / 128, weights["stem_bn/mean"])
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_missing_or_misshapen_or_extra_tensor_is_named(tensors: dict[str, NDArray[Any]]) -> None:
    arch = imagenet_architecture()
    short = {name: array for name, array in tensors.items() if name != "_bn0.bias"}
    with pytest.raises(LitesightError, match=r"lacks the tensor _bn0\.bias"):
        weights_from_tensors(short, arch)
    with pytest.raises(LitesightError, match=r"_fc\.bias: expected shape \(1000,\), found \(3,\)"):
        weights_from_tensors({**tensors, "_fc.bias": np.zeros(3)}, arch)
    with pytest.raises(LitesightError, match="such as extra"):
        weights_from_tensors({**tensors, "extra": np.zeros(3)}, arch)


def test_a_narrow_network_starts_from_chosen_channels_and_a_fresh_classifier() -> None:
    arch = variant_architecture("lite0", classes=2, width=0.2, depth=0.5, resolution=32)
    model = build_model(arch)
    before = model.get_layer("block6b_project_conv").get_weights()[0]
    photos = np.random.default_rng(0).uniform(-1, 1, (8, 32, 32, 3)).astype(np.float32)
    load_pretrained(model, arch, photos)
    assert not np.array_equal(model.get_layer("block6b_project_conv").get_weights()[0], before)
    assert not model.get_layer("classifier").get_weights()[0].any()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_grey_network_sees_what_the_colour_network_sees_in_a_grey_photo() -> None:
    photos = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 1)).astype(np.float32)
    outputs = []
    for channels in (1, 3):
        arch = variant_architecture("lite0", classes=1000, resolution=32, channels=channels)
        model = build_model(arch)
        load_pretrained(model, arch)
        outputs.append(np.asarray(model(np.repeat(photos, channels, axis=-1), training=False)))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-3)


def test_what_cannot_be_started_is_refused() -> None:
    wide = variant_architecture("lite4", classes=2, resolution=32)
    assert not has_pretrained(wide)
    with pytest.raises(LitesightError, match=r"up to width 1\.0\. Received: width 1\.4"):
        load_pretrained(tf_keras.Sequential(), wide)
    narrow = variant_architecture("lite0", classes=2, width=0.1, resolution=32)
    assert has_pretrained(narrow)
    with pytest.raises(LitesightError, match="needs training photos"):
        load_pretrained(tf_keras.Sequential(), narrow)


def test_weights_of_another_shape_are_refused_by_name() -> None:
    model = build_model(variant_architecture("lite0", classes=2, width=0.1, depth=0.1, resolution=16))
    with pytest.raises(LitesightError, match="classifier/kernel: expected shape"):
        assign_weights(
            model, {"classifier/kernel": np.zeros((3, 3), np.float32), "classifier/bias": np.zeros(2, np.float32)}
        )
    with pytest.raises(LitesightError, match="weights for classifier/bias are missing"):
        assign_weights(model, {"classifier/kernel": np.zeros((3, 3), np.float32)})
