# SPDX-License-Identifier: Apache-2.0
"""The training loop: AdamW, warm-up and cosine, and a checkpoint after every epoch from which a killed run goes on.

Nothing depends on what happened before the current epoch but the weights and the optimiser's state: the order of the
photos, their augmentation and the dropout masks are functions of (seed, epoch). So a resumed run ends where an unbroken
one ends.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from device.atomic import write_file
from device.errors import LitesightError
from device.progress import Progress, silent
from train_host.recipe import CHECKPOINT_NAME, Recipe

_CHECKPOINT_VERSION: Final = 1

# float32 (b, h, w, c) normalised and int32 (b,), for split "train" or "val" and an epoch from 0.
Batches = Callable[[str, int], Any]
Row = dict[str, float]


def learning_rate_at(step: int, total_steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up to ``peak``, then half a cosine to 0 at ``total_steps``; ``step`` counts from 0."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    share = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


def train(
    model: tf_keras.Model,
    batches: Batches,
    recipe: Recipe,
    *,
    work: Path | None = None,
    resume: bool = False,
    identity: Mapping[str, Any] | None = None,
    class_weights: Sequence[float] | NDArray[np.floating[Any]] | None = None,
    validate: bool = True,
    progress: Progress = silent,
) -> list[Row]:
    """Trains ``model`` in place.

    Args:
        model: from `build_model`; logits out.
        batches: gives the dataset of a split ("train", "val") for an epoch from 0; of known length.
        recipe: how.
        work: directory of the checkpoint; None keeps none.
        resume: go on after the last finished epoch if ``work`` has a checkpoint; without one, begin.
        identity: what else must be the same in a resumed run (architecture, data): anything JSON can hold.
        class_weights: factor on the loss of each class, to balance a skewed set.
        validate: whether there is a "val" split.
        progress: wraps the batches of each epoch.

    Returns:
        A row per epoch: epoch (from 1), loss, accuracy, learning_rate, and with ``validate`` val_loss and val_accuracy.
        Training accuracy is that of the augmented photos during the epoch; loss has the label smoothing, val_loss not.

    Raises:
        LitesightError: the loss is no longer finite, a resumed run has another configuration, the checkpoint is
            damaged, or it cannot be written. The checkpoint of the last good epoch stays, also after Ctrl-C.
    """
    config = _config(recipe, identity, class_weights)
    optimizer = tf_keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    optimizer.build(model.trainable_variables)
    variables = [*model.variables, *optimizer.variables]
    history: list[Row] = []
    checkpoint = work / CHECKPOINT_NAME if work is not None else None
    if checkpoint is not None and checkpoint.exists():
        if resume:
            history = _restore(checkpoint, variables, config)
        else:
            # Whoever starts anew and is killed in the first epoch must not resume the old run.
            _remove(checkpoint)
    outputs = int(model.output_shape[-1])
    weights = np.ones(outputs, np.float32) if class_weights is None else np.asarray(class_weights, np.float32)
    if weights.shape != (outputs,):
        raise LitesightError(f"expected a weight for each of {outputs} classes, found {weights.size}")
    step, score = _step(model, optimizer, recipe.label_smoothing, weights), _scorer(model)
    for epoch in range(len(history), recipe.epochs):
        _seed_dropout(model, recipe.seed, epoch)
        row: Row = {"epoch": epoch + 1}
        row |= _train_epoch(step, optimizer, batches("train", epoch), recipe, epoch, progress)
        if validate:
            row |= _validate(score, batches("val", epoch))
        history.append(row)
        if checkpoint is not None:
            _save(checkpoint, variables, history, config)
    return history


def _train_epoch(
    step: Callable[..., Any], optimizer: Any, dataset: Any, recipe: Recipe, epoch: int, progress: Progress
) -> Row:
    per_epoch = int(dataset.cardinality())
    if per_epoch < 1:
        raise LitesightError(f"expected a training set of known length, found {per_epoch} batches")
    total, warmup = recipe.epochs * per_epoch, round(recipe.warmup_epochs * per_epoch)
    loss_sum, right, seen, rate = 0.0, 0, 0, 0.0
    label = f"Epoch {epoch + 1}/{recipe.epochs}"
    for index, (x, y) in enumerate(progress(dataset, label, per_epoch)):
        count = int(y.shape[0])
        # The statistics of a handful of left-over photos would disturb batch normalisation.
        if index and 2 * count < recipe.batch_size:
            continue
        rate = learning_rate_at(epoch * per_epoch + index, total, warmup, recipe.learning_rate)
        optimizer.learning_rate.assign(rate)
        loss, hits = step(x, y)
        loss_sum += float(loss) * count
        if not math.isfinite(loss_sum):
            raise LitesightError(
                f"training diverged: the loss is {float(loss)} in epoch {epoch + 1}, batch {index + 1}",
                hint=f"try a lower learning rate than {recipe.learning_rate:g}; the last good epoch is kept",
            )
        right += int(hits)
        seen += count
    return {"loss": loss_sum / seen, "accuracy": right / seen, "learning_rate": rate}


def _validate(score: Callable[..., Any], dataset: Any) -> Row:
    loss_sum, right, seen = 0.0, 0, 0
    for x, y in dataset:
        loss, hits = score(x, y)
        loss_sum, right, seen = loss_sum + float(loss), right + int(hits), seen + int(y.shape[0])
    if not seen:
        raise LitesightError("expected photos for validation, found none")
    return {"val_loss": loss_sum / seen, "val_accuracy": right / seen}


def _traced(function: Callable[..., Any], model: tf_keras.Model) -> Callable[..., Any]:
    # One trace serves the smaller last batch too.
    signature = [tf.TensorSpec(model.input_shape, tf.float32), tf.TensorSpec((None,), tf.int32)]
    traced: Callable[..., Any] = tf.function(function, input_signature=signature)
    return traced


def _hits(logits: Any, y: Any) -> Any:
    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), y), tf.int32))


def _step(
    model: tf_keras.Model, optimizer: Any, smoothing: float, class_weights: NDArray[np.float32]
) -> Callable[..., Any]:
    classes = len(class_weights)
    factors = tf.constant(class_weights)
    variables = model.trainable_variables

    def step(x: Any, y: Any) -> Any:
        target = tf.one_hot(y, classes) * (1.0 - smoothing) + smoothing / classes
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            losses = tf.nn.softmax_cross_entropy_with_logits(target, logits)
            loss = tf.reduce_mean(losses * tf.gather(factors, y))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss, _hits(logits, y)

    return _traced(step, model)


def _scorer(model: tf_keras.Model) -> Callable[..., Any]:
    def score(x: Any, y: Any) -> Any:
        logits = model(x, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        return tf.reduce_sum(losses), _hits(logits, y)

    return _traced(score, model)


def _seed_dropout(model: tf_keras.Model, seed: int, epoch: int) -> None:
    for index, layer in enumerate(layer for layer in model.layers if isinstance(layer, tf_keras.layers.Dropout)):
        # The layer's generator lives as long as the traced step, and tf_keras has no public way to set it back.
        generator = layer._random_generator._generator
        state = np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint64)[0]
        generator.reset_from_seed(int(state >> np.uint64(1)))


def _config(
    recipe: Recipe,
    identity: Mapping[str, Any] | None,
    class_weights: Sequence[float] | NDArray[np.floating[Any]] | None,
) -> dict[str, Any]:
    weights = None if class_weights is None else [round(float(weight), 6) for weight in class_weights]
    config = {"recipe": asdict(recipe), "class_weights": weights, **(identity or {})}
    # Through JSON and back, so that a tuple compares equal with the list that the checkpoint gives.
    result: dict[str, Any] = json.loads(json.dumps(config))
    return result


def _save(path: Path, variables: Sequence[Any], history: Sequence[Row], config: Mapping[str, Any]) -> None:
    meta = {"version": _CHECKPOINT_VERSION, "config": config, "history": history}
    arrays = {f"v{index}": variable.numpy() for index, variable in enumerate(variables)}
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    write_file(path, stream.getvalue())


def _restore(path: Path, variables: Sequence[Any], config: Mapping[str, Any]) -> list[Row]:
    meta, arrays = _read(path)
    for name, before, now in _differences(meta["config"], config):
        raise LitesightError(
            f"cannot resume: {name} was {before!r} and is now {now!r}",
            hint="use the options of the first run, or start anew without resuming",
        )
    expected = [tuple(variable.shape) for variable in variables]
    if [array.shape for array in arrays] != expected:
        raise _damaged(path, "its weights do not fit the network")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    history: list[Row] = meta["history"]
    return history


def _read(path: Path) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    try:
        # From memory: numpy leaves the file open when its content is no archive.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            arrays = [file[f"v{index}"] for index in range(len(file.files) - 1)]
        if meta["version"] != _CHECKPOINT_VERSION:
            raise _damaged(path, f"its version is {meta['version']}, expected {_CHECKPOINT_VERSION}")
        if not isinstance(meta["history"], list) or not isinstance(meta["config"], dict):
            raise ValueError("history and config have the wrong type")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, str(error)) from error
    return meta, arrays


def _damaged(path: Path, reason: str) -> LitesightError:
    return LitesightError(f"cannot resume from {path}: {reason}", hint="delete it and start anew")


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise LitesightError(f"cannot replace the old checkpoint {path}: {error.strerror}") from error


def _differences(before: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        yield name, before, now
