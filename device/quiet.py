# SPDX-License-Identifier: Apache-2.0
"""Keeps native libraries from writing to the user's stderr: what they have to say is told in one line by the kit."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TAIL_BYTES = 4096


@contextmanager
def native_stderr() -> Iterator[Callable[[], str]]:
    """Catch what C and C++ code writes to file descriptor 2 inside the block.

    Yields a function that returns what was caught so far, at most the last 4 kB. The descriptor belongs to the whole
    process, so the block must be short: opening a model, opening a camera.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # a service without stderr: there is nothing to keep clean
        yield lambda: ""
        return
    with tempfile.TemporaryFile() as caught:

        def tail() -> str:
            # pread leaves the offset alone: the descriptor shares it with whoever is writing.
            size = os.fstat(caught.fileno()).st_size
            start = max(0, size - _TAIL_BYTES)
            return os.pread(caught.fileno(), _TAIL_BYTES, start).decode("utf-8", "replace")

        os.dup2(caught.fileno(), 2)
        try:
            yield tail
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
