# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.errors import LitesightError
from train_host.channel_selection import Weights, choose_channels, fit_ridge, narrow_weights
from train_host.efficientnet_lite import build_model
from train_host.pretrained import assign_weights
from train_host.scaling import Architecture, blocks, head_channels, stem_channels, variant_architecture

# Stage widths 16, 16, 16, 24, 32, 48, 80: wide enough that something can be dropped, small enough to be quick.
WIDE = replace(
    variant_architecture("lite0", classes=4, width=0.25, depth=0.5, resolution=32, scale_stem_and_head=True),
    dropout=0.0,
)
NARROW = replace(WIDE, width=0.13)
PHOTOS = np.random.default_rng(0).uniform(-1, 1, (48, 32, 32, 3)).astype(np.float32)


def _random_weights(arch: Architecture, seed: int = 0) -> Weights:
    return {name: array.copy() for name, array in _cached_weights(arch, seed).items()}


@functools.cache
def _cached_weights(arch: Architecture, seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for layer in build_model(arch).layers:
        for variable in layer.weights:
            name = variable.name.rpartition("/")[2].partition(":")[0]
            name = {"depthwise_kernel": "kernel", "moving_mean": "mean", "moving_variance": "variance"}.get(name, name)
            shape = tuple(variable.shape)
            if name in ("gamma", "variance"):
                value = rng.uniform(0.5, 1.5, shape)
            elif name == "kernel":
                fan_in = np.prod(shape[:2]) if "depthwise" in layer.name else np.prod(shape[:-1])
                value = rng.normal(0, (2 / fan_in) ** 0.5, shape)
            else:
                value = rng.normal(0, 0.3, shape)
            weights[f"{layer.name}/{name}"] = value.astype(np.float32)
    return weights


def _silence(weights: Weights, arch: Architecture, keep: Architecture) -> None:
    """Makes every channel beyond those that ``keep`` has give exactly nothing."""
    rng = np.random.default_rng(3)
    streams: dict[str, NDArray[Any]] = {}

    def quiet(norm: str, channels: int, kept: int) -> NDArray[Any]:
        dead = np.sort(rng.permutation(channels)[kept:])
        for variable in ("gamma", "beta"):
            weights[f"{norm}_bn/{variable}"][dead] = 0
        return dead

    dead = quiet("stem", stem_channels(arch), stem_channels(keep))
    weights["block1a_depthwise_bn/beta"][dead] = 0
    weights["block1a_depthwise_bn/mean"][dead] = 0
    for block, slim in zip(blocks(arch), blocks(keep), strict=True):
        if block.expand_ratio != 1:
            expanded = quiet(f"{block.name}_expand", block.expanded_channels, slim.expanded_channels)
            for variable in ("beta", "mean"):
                weights[f"{block.name}_depthwise_bn/{variable}"][expanded] = 0
        stage = str(block.stage)
        if stage not in streams:
            streams[stage] = quiet(f"{block.name}_project", block.out_channels, slim.out_channels)
        for variable in ("gamma", "beta"):
            weights[f"{block.name}_project_bn/{variable}"][streams[stage]] = 0
    quiet("head", head_channels(arch), head_channels(keep))


def _features(arch: Architecture, weights: Weights, photos: NDArray[Any]) -> NDArray[Any]:
    """Logits of the four classes, with the wide network's classifier on the kept head channels."""
    model = build_model(arch)
    kept = weights.get("head/channels", np.arange(head_channels(arch))).astype(int)
    full = {**weights, "classifier/kernel": weights["classifier/kernel"][kept]}
    assign_weights(model, full)
    return np.asarray(model(photos, training=False))


@pytest.mark.parametrize("reconstruct", [True, False])
def test_dropping_only_silent_channels_changes_no_output(reconstruct: bool) -> None:
    wide = _random_weights(WIDE)
    _silence(wide, WIDE, NARROW)
    narrow = narrow_weights(wide, WIDE, NARROW, PHOTOS, reconstruct=reconstruct)
    narrow |= {name: array for name, array in wide.items() if name.startswith("classifier/")}
    fresh = np.random.default_rng(9).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    expected = _features(WIDE, wide, fresh)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(_features(NARROW, narrow, fresh), expected, rtol=1e-3, atol=1e-3)


def test_refitting_brings_the_narrow_network_nearer_to_the_wide_one() -> None:
    wide = _random_weights(WIDE, seed=1)
    target = _features(WIDE, wide, PHOTOS)
    errors = {}
    for reconstruct in (True, False):
        narrow = narrow_weights(wide, WIDE, NARROW, PHOTOS, reconstruct=reconstruct)
        narrow |= {name: array for name, array in wide.items() if name.startswith("classifier/")}
        errors[reconstruct] = float(np.abs(_features(NARROW, narrow, PHOTOS) - target).mean())
    assert errors[True] < 0.8 * errors[False]


def test_batch_normalisation_gets_the_statistics_of_its_new_input() -> None:
    narrow = narrow_weights(_random_weights(WIDE), WIDE, NARROW, PHOTOS)
    model = build_model(NARROW)
    assign_weights(model, narrow)
    layer = model.get_layer("block1a_project_bn")
    seen = np.asarray(type(model)(model.input, layer.input)(PHOTOS, training=False))
    np.testing.assert_allclose(narrow["block1a_project_bn/mean"], seen.mean(axis=(0, 1, 2)), atol=2e-3)
    np.testing.assert_allclose(narrow["block1a_project_bn/variance"], seen.var(axis=(0, 1, 2)), rtol=0.05)


def test_fewer_repeats_keep_the_leading_blocks_and_more_begin_as_the_identity() -> None:
    wide = _random_weights(WIDE)
    shallow, deep = replace(WIDE, depth=0.3), replace(WIDE, depth=0.6)
    assert len(blocks(shallow)) < len(blocks(WIDE)) < len(blocks(deep))
    names = {name.partition("_")[0] for name in narrow_weights(wide, WIDE, shallow, PHOTOS) if name.startswith("block")}
    assert names == {block.name for block in blocks(shallow)}
    longer = narrow_weights(wide, WIDE, deep, PHOTOS) | {"classifier/bias": wide["classifier/bias"]}
    longer["classifier/kernel"] = wide["classifier/kernel"]
    np.testing.assert_allclose(_features(deep, longer, PHOTOS), _features(WIDE, wide, PHOTOS), rtol=1e-3, atol=1e-3)


def test_a_wider_network_or_no_photos_are_refused() -> None:
    wide = _random_weights(WIDE)
    with pytest.raises(LitesightError, match=r"up to width 0\.25\. Received: width 0\.9"):
        narrow_weights(wide, WIDE, replace(WIDE, width=0.9), PHOTOS)
    with pytest.raises(LitesightError, match="needs training photos"):
        narrow_weights(wide, WIDE, NARROW, PHOTOS[:0])


def test_of_two_channels_that_say_the_same_one_is_kept() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    x = np.column_stack([3 * x[:, 0], 3 * x[:, 0], x[:, 1]])
    assert set(choose_channels(np.cov(x.T), np.eye(3), 2)) in ({0, 2}, {1, 2})


def test_a_loud_channel_that_nobody_reads_is_dropped() -> None:
    assert list(choose_channels(np.diag([100.0, 1.0, 1.0]), np.diag([0.0, 1.0, 1.0]), 2)) == [1, 2]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_exactly_the_asked_number_of_different_channels_is_chosen(
    channels: int, count: int, rank: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(channels, rank)) * 10.0 ** rng.integers(-6, 6)
    chosen = choose_channels(factor @ factor.T, rng.normal(size=(channels, 3)), count)
    assert list(chosen) == sorted(set(chosen.tolist()))
    assert len(chosen) == min(count, channels)
    assert set(chosen.tolist()) <= set(range(channels))


def test_a_kernel_that_already_fits_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    x, start = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=(6, 4)).astype(np.float32)
    kernel, bias = fit_ridge(x, x @ start + 2, start)
    np.testing.assert_allclose(kernel, start, atol=1e-5)
    np.testing.assert_allclose(bias, 2, atol=1e-5)
