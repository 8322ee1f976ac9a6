# SPDX-License-Identifier: Apache-2.0
"""From checked photos to batches: every photo is decoded and preprocessed once into a file, then streamed by tf.data.

The pixels are those of :class:`device.preprocess.Preprocessor`, so training sees what the chip will see. The order and
the augmentation of an epoch are pure functions of (seed, epoch): a resumed run meets the very batches that an unbroken
one would have met.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from device.atomic import cannot_write
from device.errors import LitesightError
from device.images import decode_image, printable, read_bytes
from device.preprocess import InputSpec, Preprocessor
from device.progress import Progress, silent
from train_host.augmentation import RANDOM_COLUMNS, Augmentation, vary
from train_host.dataset import Photo, representative

__all__ = ["Augmentation", "PixelCache", "build_cache", "class_weights", "make_batches", "representative"]

_CACHE_VERSION: Final = 1
# Decoded photos that wait to be written: enough to keep the threads busy, few enough to stay small.
_WAITING_PER_THREAD = 4
# Keeps the random numbers of the order apart from those of the augmentation.
_ORDER, _AUGMENTATION = 0, 1

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class PixelCache:
    """Preprocessed photos in a .npy file: uint8 (n, height, width, channels) in the order they were given."""

    path: Path
    spec: InputSpec
    count: int

    def pixels(self) -> NDArray[np.uint8]:
        """The photos, mapped read-only: rows are read from disk when they are used."""
        if not self.count:  # an empty file cannot be mapped
            return np.empty((0, self.spec.height, self.spec.width, self.spec.channels), np.uint8)
        return _mapped(self.path)


@functools.lru_cache(maxsize=4)
def _mapped(path: Path) -> NDArray[np.uint8]:
    # One mapping for all epochs: tf.data holds on to what it was given, and every mapping counts as memory in use.
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def build_cache(
    photos: Sequence[Photo], spec: InputSpec, directory: Path, *, progress: Progress = silent
) -> PixelCache:
    """Decode and preprocess ``photos`` into a file below ``directory``, or find the file that an earlier call made.

    The file's name is a hash of the photos' content and of what decides the pixels, so a changed photo list or input
    size never meets an old file. It appears whole or not at all.

    Raises:
        LitesightError: a photo is gone, unreadable or not the one that was scanned; ``directory`` cannot be written.
    """
    shape = (len(photos), spec.height, spec.width, spec.channels)
    key = json.dumps([_CACHE_VERSION, spec.resize, spec.color, shape, [photo.sha256 for photo in photos]])
    path = directory / f"pixels-{hashlib.sha256(key.encode('ascii')).hexdigest()[:32]}.npy"
    cache = PixelCache(path, spec, len(photos))
    if path.is_file():
        return cache
    # One name per content: what a killed run left behind is overwritten, never piled up.
    temporary = path.with_name(f".{path.name}.partial")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            # Plain writes, not a memory map: on a full disk a map ends the process with a signal.
            for pixels in progress(_preprocessed(photos, spec), "Reading photos", len(photos)):
                stream.write(pixels.tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(directory, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return cache


def make_batches(
    cache: PixelCache,
    labels: Sequence[int] | NDArray[np.integer[Any]],
    *,
    batch_size: int,
    augment: Augmentation | None = None,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = False,
) -> Any:
    """One epoch of batches in which every photo comes once; the last batch may be smaller.

    Args:
        cache: the photos.
        labels: class index of each photo of ``cache``.
        batch_size: photos in a batch.
        augment: how to vary the photos; None for none, as for validation and test.
        seed, epoch: decide the order and the augmentation, and nothing else does.
        shuffle: a new order in every epoch; otherwise that of ``cache``.

    Returns:
        A ``tf.data.Dataset`` of known length: float32 (b, height, width, channels), normalised as
        ``(pixel - mean) / std``, and int32 (b,).

    Raises:
        LitesightError: numbers do not fit together.
    """
    targets = np.asarray(labels, np.int32)
    if targets.shape != (cache.count,):
        raise LitesightError(f"expected a label for each of {cache.count} photos, found {len(targets)}")
    if batch_size < 1:
        raise LitesightError(f"the batch size must be at least 1, found {batch_size}")
    spec = cache.spec
    if augment is not None and augment.rot90 and spec.height != spec.width:
        raise LitesightError(f"augmentation: rot90 needs a square input, found {spec.width} x {spec.height}")
    pixels = cache.pixels()
    order = _generator(seed, epoch, _ORDER).permutation(cache.count) if shuffle else np.arange(cache.count)
    # Indexed by photo, not by place in the epoch: batch size and order do not change how a photo is varied.
    randoms = np.zeros((0, RANDOM_COLUMNS), np.float32)
    if augment is not None:
        randoms = _generator(seed, epoch, _AUGMENTATION).random((cache.count, RANDOM_COLUMNS), np.float32)

    def fetch(step: np.integer[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        chosen = order[int(step) * batch_size : (int(step) + 1) * batch_size]
        batch = pixels[chosen]
        if augment is not None:
            batch = vary(batch, randoms[chosen], augment, spec)
        return np.ascontiguousarray(batch), targets[chosen]

    mean, std = tf.constant(spec.mean, tf.float32), tf.constant(spec.std, tf.float32)

    def load(step: Any) -> tuple[Any, Any]:
        batch, classes = tf.numpy_function(fetch, [step], (tf.uint8, tf.int32), stateful=False)
        batch = tf.ensure_shape(batch, (None, spec.height, spec.width, spec.channels))
        return (tf.cast(batch, tf.float32) - mean) / std, tf.ensure_shape(classes, (None,))

    steps = -(-cache.count // batch_size)
    batches = tf.data.Dataset.range(steps).map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(2)


def class_weights(labels: Sequence[int] | NDArray[np.integer[Any]], n: int) -> NDArray[np.float32]:
    """A weight per class, (n,) float32, inversely proportional to how often it occurs in ``labels``.

    Scaled so that the weights of all photos average 1: a weighted loss has the size of an unweighted one. A class
    that does not occur gets 0.

    Raises:
        LitesightError: a label is not in 0 to ``n`` - 1.
    """
    targets = np.asarray(labels, np.int64)
    if targets.size and not 0 <= targets.min() <= targets.max() < n:
        raise LitesightError(f"expected class indices from 0 to {n - 1}, found {targets.min()} to {targets.max()}")
    counts = np.bincount(targets, minlength=n)
    present = np.count_nonzero(counts)
    weights = np.divide(targets.size, counts * present, out=np.zeros(n), where=counts > 0)
    return weights.astype(np.float32)


def _generator(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    # Philox is counter-based and the same on every system; SeedSequence keeps neighbouring seeds apart.
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed % 2**64, epoch, purpose])))


def _preprocessed(photos: Sequence[Photo], spec: InputSpec) -> Iterator[NDArray[np.uint8]]:
    threads = min(8, os.cpu_count() or 1)
    own = threading.local()  # a Preprocessor serves one thread

    def one(photo: Photo) -> NDArray[np.uint8]:
        data = read_bytes(photo.path)
        name = printable(photo.path)
        if hashlib.sha256(data).hexdigest() != photo.sha256:
            raise LitesightError(f"{name}: the photo has changed since it was checked", hint="start again")
        if not hasattr(own, "preprocessor"):
            own.preprocessor = Preprocessor(spec)
        try:
            pixels: NDArray[np.uint8] = own.preprocessor.pixels(decode_image(data, str(photo.path)))
        except LitesightError as error:
            if error.message.startswith(name):
                raise
            raise LitesightError(f"{name}: {error.message}", hint=error.hint) from error
        return pixels

    return _in_order(one, photos, threads)


def _in_order(work: Callable[[_Item], _Result], items: Sequence[_Item], threads: int) -> Iterator[_Result]:
    """Results in the order of ``items``; unlike ``Executor.map``, only a few wait in memory for their turn."""
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="photo-cache")
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= threads * _WAITING_PER_THREAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
