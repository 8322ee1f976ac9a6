# SPDX-License-Identifier: Apache-2.0
"""A terminal device as a byte stream: the pseudo-terminal of an emulator."""

from __future__ import annotations

import contextlib
import os
import select
import time
import tty
from collections.abc import Iterator
from pathlib import Path

from device.errors import LitesightError

CHUNK = 65536


class TerminalStream:
    """Reads and writes a descriptor of a terminal; a :class:`boards.byte_stream.ByteStream`."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self._name = descriptor, name

    def read(self, timeout_s: float) -> bytes:
        """What has arrived; ``b""`` if nothing did for ``timeout_s``."""
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if not ready:
            return b""
        try:
            content = os.read(self._descriptor, CHUNK)
        except OSError as error:
            raise LitesightError(f"{self._name}: the other side is gone: {error.strerror or error}") from None
        if not content:
            raise LitesightError(f"{self._name}: the other side is gone")
        return content

    def write(self, content: bytes, timeout_s: float) -> None:
        """Send all of it within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while content:
            _, ready, _ = select.select([], [self._descriptor], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise LitesightError(f"{self._name}: took no more input for {timeout_s:g} s")
            try:
                content = content[os.write(self._descriptor, content) :]
            except OSError as error:
                raise LitesightError(f"{self._name}: the other side is gone: {error.strerror or error}") from None


@contextlib.contextmanager
def open_terminal(path: Path) -> Iterator[TerminalStream]:
    """Open a terminal for bytes as they are: no echo, no line editing, no translation of line ends.

    Raises:
        LitesightError: it cannot be opened or is no terminal.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise LitesightError(f"{path}: cannot be opened: {error.strerror or error}") from None
    try:
        if not os.isatty(descriptor):
            raise LitesightError(f"{path}: expected a terminal, found something else")
        tty.setraw(descriptor)
        yield TerminalStream(descriptor, str(path))
    finally:
        os.close(descriptor)
