# SPDX-License-Identifier: Apache-2.0
"""Keeps native libraries from writing to the user's stderr: what they have to say is told in one line by the kit."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

_TAIL_BYTES = 4096
_ONE_AT_A_TIME = threading.RLock()
"""Two threads that interleave would each put back what the other had put there, and stderr would be lost for good."""


@contextmanager
def native_stderr() -> Iterator[Callable[[], str]]:
    """Catch what C and C++ code writes to file descriptor 2 inside the block.

    Yields a function that returns what was caught so far, at most the last 4 kB. The descriptor belongs to the whole
    process, so the block must be short: opening a model, opening a camera.
    """
    with _ONE_AT_A_TIME:
        yield from _caught_stderr()


def _caught_stderr() -> Iterator[Callable[[], str]]:
    _flush_stderr()
    caught = _memory_file()
    try:
        saved = os.dup(2)
    except OSError:  # a service without stderr: there is nothing to keep clean
        saved = -1
    if caught is None or saved < 0:
        if caught is not None:
            caught.close()
        if saved >= 0:
            os.close(saved)
        yield lambda: ""
        return
    with caught:

        def tail() -> str:
            # pread leaves the offset alone: the descriptor shares it with whoever is writing.
            size = os.fstat(caught.fileno()).st_size
            start = max(0, size - _TAIL_BYTES)
            return os.pread(caught.fileno(), _TAIL_BYTES, start).decode("utf-8", "replace")

        os.dup2(caught.fileno(), 2)
        try:
            yield tail
        finally:
            _flush_stderr()
            os.dup2(saved, 2)
            os.close(saved)


def _memory_file() -> BinaryIO | None:
    """A file for what is caught; None where the system has no place for one: a clean stderr is not worth failing."""
    try:
        if sys.platform == "linux":
            return os.fdopen(os.memfd_create("stderr"), "w+b")
        return tempfile.TemporaryFile()
    except OSError:
        return None


def _flush_stderr() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
