# SPDX-License-Identifier: Apache-2.0
"""Where a training keeps its checkpoint and caches until its bundle is written: ``BUNDLE.training`` beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from device.atomic import cannot_write, lock_directory
from device.errors import LitesightError, UsageError
from train_host.recipe import CHECKPOINT_NAME

MARKER: Final = "litesight-training"
"""Lies in every work directory. What has no marker is the user's and is never removed."""


def work_directory(output: Path) -> Path:
    """The work directory of a bundle."""
    output = output.resolve()
    return output.with_name(f"{output.name}.training")


def is_resumable(output: Path) -> bool:
    """Whether an interrupted training of ``output`` has a finished epoch."""
    work = work_directory(output)
    return (work / MARKER).is_file() and (work / CHECKPOINT_NAME).is_file()


@contextmanager
def open_work(output: Path, source: Path, *, resume: bool, restart: bool) -> Iterator[Path]:
    """Yield the work directory, locked for this process.

    It is removed when the block ends well. When it does not, it stays for ``resume`` if an epoch was finished.

    Args:
        output: the bundle to be.
        source: the photos, which neither may touch.
        resume: go on with what is there; where nothing is, begin.
        restart: throw away what is there.

    Raises:
        LitesightError: the directory is the user's, or in use, or cannot be made.
        UsageError: photos and output lie in each other, or an interrupted training is there and neither flag was given.
    """
    work = work_directory(output)
    _keep_apart(source, output, work)
    if work.exists() and not (work / MARKER).is_file() and any(work.iterdir()):
        raise LitesightError(
            f"{work} exists and is not a training's: it would hold the checkpoint",
            hint="choose another output, or move it away",
        )
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = lock_directory(work)
    except OSError as error:
        raise cannot_write(work, error) from error
    if lock is None:
        raise LitesightError(f"another training of {output} is running", hint="choose another output, or wait for it")
    try:
        if is_resumable(output) and not (resume or restart):
            raise UsageError(
                f"{work} holds an interrupted training", hint="go on with --resume, or throw it away with --restart"
            )
        if not (resume and is_resumable(output)):
            _empty(work)
        (work / MARKER).touch()
        yield work
        shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise cannot_write(work, error) from error
    finally:
        # Caches and unpacked photos without a finished epoch are of no use to anybody.
        if not is_resumable(output):
            shutil.rmtree(work, ignore_errors=True)
        os.close(lock)


def _keep_apart(source: Path, output: Path, work: Path) -> None:
    photos, target = source.resolve(), output.resolve()
    for first, second in ((photos, target), (target, photos), (photos, work), (work, photos)):
        if first == second or first in second.parents:
            raise UsageError(
                f"the photos {source} and the output {output} lie in each other", hint="choose an output elsewhere"
            )


def _empty(work: Path) -> None:
    for entry in work.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
