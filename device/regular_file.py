# SPDX-License-Identifier: Apache-2.0
"""Reads files that somebody else made: never a pipe, which would wait for ever, and never more than is expected."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from device.errors import LitesightError


class RegularFileError(LitesightError):
    """Something that is not a regular file, or larger than anything of its kind."""


def read_regular(path: Path, limit: int) -> bytes:
    """The content of the regular file ``path``.

    Args:
        path: of the file.
        limit: the most bytes that it may have; a larger one is refused unread.

    Raises:
        RegularFileError: a folder, a pipe or a device, or larger than ``limit``.
        OSError: it is missing or unreadable.
    """
    # O_NONBLOCK: opening a named pipe must not wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            what = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe or device"
            raise RegularFileError(f"{path}: expected a regular file, found {what}")
        if facts.st_size > limit:
            raise RegularFileError(f"{path} has {facts.st_size} bytes; at most {limit} are expected")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            # It may have grown since: one byte too many shows it, and no more are read.
            data = stream.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise RegularFileError(f"{path} grows while it is read; at most {limit} bytes are expected")
    return data
