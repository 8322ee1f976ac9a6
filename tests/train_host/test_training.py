# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given
from hypothesis import strategies as st

from device.errors import LitesightError
from train_host.recipe import CHECKPOINT_NAME, Recipe
from train_host.training import Row, _seed_dropout, learning_rate_at, train

RECIPE = Recipe(epochs=3, learning_rate=0.03, batch_size=8, seed=5)
COUNT = 24


def _model(seed: int = 1, dropout: float = 0.2) -> tf_keras.Model:
    """Batch normalisation, dropout and a classifier: all that has state, in what is traced in a moment."""
    tf_keras.utils.set_random_seed(seed)
    inputs = tf_keras.Input((16, 16, 3))
    x = tf_keras.layers.Conv2D(4, 3, strides=4, use_bias=False)(inputs)
    x = tf_keras.layers.ReLU(6.0)(tf_keras.layers.BatchNormalization(momentum=0.5)(x))
    x = tf_keras.layers.GlobalAveragePooling2D()(x)
    x = tf_keras.layers.Dropout(dropout, force_generator=True, name="dropout")(x)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(2)(x))


def _batches(split: str, epoch: int) -> Any:
    rng = np.random.default_rng([split == "val", epoch if split == "train" else 0])
    y = rng.integers(0, 2, COUNT).astype(np.int32)
    x = rng.normal(0, 0.2, (COUNT, 16, 16, 3)).astype(np.float32)
    # Learnable: the class is the sign of the whole photo.
    x += np.where(y, 0.7, -0.7).astype(np.float32)[:, None, None, None]
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(RECIPE.batch_size)


class _KilledError(Exception):
    """Stands for the end of the process."""


def _killed_in(epoch_to_die: int) -> Any:
    def batches(split: str, epoch: int) -> Any:
        if split == "train" and epoch == epoch_to_die:
            raise _KilledError
        return _batches(split, epoch)

    return batches


def read_history(work: Path) -> list[Row]:
    """The rows of the epochs that the checkpoint has finished; empty without one."""
    if not (work / CHECKPOINT_NAME).exists():
        return []
    with np.load(work / CHECKPOINT_NAME, allow_pickle=False) as file:
        rows: list[Row] = json.loads(file["meta"].tobytes())["history"]
    return rows


def _same(ours: list[Row], theirs: list[Row]) -> None:
    assert [row["epoch"] for row in ours] == [row["epoch"] for row in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("killed_in", [1, 2])
def test_a_resumed_run_ends_where_an_unbroken_one_ends(killed_in: int, tmp_path: Path) -> None:
    unbroken = _model()
    history = train(unbroken, _batches, RECIPE)
    killed = _model()
    with pytest.raises(_KilledError):
        train(killed, _killed_in(killed_in), RECIPE, work=tmp_path)
    assert len(read_history(tmp_path)) == killed_in
    # The new process has a network with other random weights.
    resumed = _model(seed=99)
    _same(train(resumed, _batches, RECIPE, work=tmp_path, resume=True), history)
    for ours, theirs in zip(resumed.get_weights(), unbroken.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_dropout_masks_depend_on_the_epoch_and_not_on_what_ran_before() -> None:
    masks = []
    for start in (0, 1):
        model = _model(dropout=0.5)
        layer = model.get_layer("dropout")
        seen = []
        for epoch in range(start, 3):
            _seed_dropout(model, 7, epoch)
            seen.append(np.asarray(layer(tf.ones((4, 64)), training=True)))
        masks.append(seen)
    assert np.array_equal(masks[0][1], masks[1][0])
    assert np.array_equal(masks[0][2], masks[1][1])
    assert not np.array_equal(masks[0][0], masks[0][1])


def test_the_history_tells_both_splits_and_training_learns(tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=8)
    history = train(_model(), _batches, recipe, work=tmp_path)
    assert set(history[0]) == {"epoch", "loss", "accuracy", "learning_rate", "val_loss", "val_accuracy"}
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["accuracy"] > 0.9
    rates = [row["learning_rate"] for row in history]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.1 * rates[0]
    assert read_history(tmp_path) == history


def test_without_a_validation_split_none_is_asked_for() -> None:
    def only_train(split: str, epoch: int) -> Any:
        assert split == "train"
        return _batches(split, epoch)

    history = train(_model(), only_train, replace(RECIPE, epochs=1), validate=False)
    assert "val_loss" not in history[0]


@pytest.mark.parametrize(
    ("changed", "identity", "message"),
    [
        (replace(RECIPE, learning_rate=0.02), {"data": "a"}, r"recipe\.learning_rate was 0\.03 and is now 0\.02"),
        (replace(RECIPE, epochs=4), {"data": "a"}, r"recipe\.epochs was 3 and is now 4"),
        (RECIPE, {"data": "b"}, "data was 'a' and is now 'b'"),
        (RECIPE, {}, "data was 'a' and is now None"),
    ],
)
def test_resuming_with_another_configuration_is_refused_and_says_what_differs(
    changed: Recipe, identity: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(_KilledError):
        train(_model(), _killed_in(1), RECIPE, work=tmp_path, identity={"data": "a"})
    with pytest.raises(LitesightError, match=message):
        train(_model(), _batches, changed, work=tmp_path, identity=identity, resume=True)
    assert len(read_history(tmp_path)) == 1


def test_a_finished_run_resumes_to_itself_without_training(tmp_path: Path) -> None:
    first = _model()
    history = train(first, _batches, replace(RECIPE, epochs=1), work=tmp_path)

    def never(split: str, epoch: int) -> Any:
        raise AssertionError

    again = _model()
    assert train(again, never, replace(RECIPE, epochs=1), work=tmp_path, resume=True) == history
    for ours, theirs in zip(again.get_weights(), first.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_starting_anew_forgets_the_old_checkpoint_at_once(tmp_path: Path) -> None:
    train(_model(), _batches, replace(RECIPE, epochs=1), work=tmp_path)
    with pytest.raises(_KilledError):
        train(_model(), _killed_in(0), RECIPE, work=tmp_path)
    assert read_history(tmp_path) == []


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_epoch(tmp_path: Path) -> None:
    def batches(split: str, epoch: int) -> Any:
        data = _batches(split, epoch)
        return data.map(lambda x, y: (x * math.nan, y)) if split == "train" and epoch == 1 else data

    model = _model()
    with pytest.raises(LitesightError, match="diverged: the loss is nan in epoch 2, batch 1"):
        train(model, batches, RECIPE, work=tmp_path)
    assert len(read_history(tmp_path)) == 1
    fresh = _model()
    history = train(fresh, _batches, RECIPE, work=tmp_path, resume=True)
    assert all(np.isfinite(weight).all() for weight in fresh.get_weights())
    assert len(history) == 3


def test_ctrl_c_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    def progress(iterable: Any, label: str, total: int | None = None) -> Any:
        if label == "Epoch 2/3":
            raise KeyboardInterrupt
        assert total == 3
        return iter(iterable)

    with pytest.raises(KeyboardInterrupt):
        train(_model(), _batches, RECIPE, work=tmp_path, progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]
    assert len(read_history(tmp_path)) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", None])
def test_a_damaged_checkpoint_is_an_error_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    train(_model(), _batches, replace(RECIPE, epochs=1), work=tmp_path)
    path = tmp_path / CHECKPOINT_NAME
    path.write_bytes(path.read_bytes()[:-4000] if content is None else content)
    with pytest.raises(LitesightError, match="cannot resume from"):
        train(_model(), _batches, replace(RECIPE, epochs=1), work=tmp_path, resume=True)


def test_class_weights_raise_the_loss_of_the_rare_class() -> None:
    def ones(split: str, epoch: int) -> Any:
        return _batches(split, epoch).map(lambda x, y: (x, tf.ones_like(y)))

    recipe = replace(RECIPE, epochs=1, learning_rate=1e-6)
    light = train(_model(), ones, recipe, class_weights=[1.0, 1.0])[0]["loss"]
    heavy = train(_model(), ones, recipe, class_weights=[1.0, 3.0])[0]["loss"]
    assert heavy == pytest.approx(3 * light, rel=0.01)
    with pytest.raises(LitesightError, match="a weight for each of 2 classes, found 3"):
        train(_model(), ones, recipe, class_weights=[1.0, 1.0, 1.0])


def test_a_tiny_last_batch_is_left_out() -> None:
    sizes = []

    def progress(iterable: Any, label: str, total: int | None = None) -> Any:
        for x, y in iterable:
            sizes.append(len(y))
            # Poison: if it were used, the loss would not be finite.
            yield (x * (math.nan if len(y) < 4 else 1.0), y)

    def ragged(split: str, epoch: int) -> Any:
        return _batches(split, epoch).unbatch().take(18).batch(8).apply(tf.data.experimental.assert_cardinality(3))

    train(_model(), ragged, replace(RECIPE, epochs=1), validate=False, progress=progress)
    assert sizes == [8, 8, 2]


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing(total: int, warm_share: float) -> None:
    warmup = int(total * warm_share)
    rates = [learning_rate_at(step, total, warmup, 0.1) for step in range(total + 1)]
    assert all(0 <= rate <= 0.1 * (1 + 1e-12) for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[total] == pytest.approx(0, abs=1e-12) or warmup == total


@pytest.mark.parametrize(
    "changes", [{"epochs": 0}, {"learning_rate": math.nan}, {"batch_size": 1}, {"label_smoothing": 1.0}]
)
def test_an_impossible_recipe_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(LitesightError, match=f"{next(iter(changes))} must be between"):
        Recipe(**changes)
