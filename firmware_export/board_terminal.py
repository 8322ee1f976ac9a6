# SPDX-License-Identifier: Apache-2.0
"""An emulated board's serial line as a terminal of this machine, for programs of others."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boards.board import Board
from boards.byte_stream import ByteStream
from boards.emulator import EmulatedTerminal, emulate_terminal
from boards.terminal_stream import open_terminal
from device.errors import LitesightError

BOOT_TIMEOUT_S = 60.0
_SESSION_CPU_S = 7 * 24 * 3600
_ANSWER = re.compile(rb"m-name-dut-\[[^\]]*\]\r\nm-ready\r\n")
_RETRY_S = 1.0
_QUIET_S = 0.3


@contextmanager
def served(board: Board, elf: Path) -> Iterator[EmulatedTerminal]:
    """Boot a firmware with its serial line on a terminal; when the block ends, so does the emulator.

    Yields:
        The terminal. The board has started and nothing waits to be read: the public runner takes a greeting
        that it finds for the answer to its first command, and is one answer behind from then on.

    Raises:
        LitesightError: the firmware does not start.
    """
    with emulate_terminal(board, elf, cpu_limit_s=_SESSION_CPU_S) as terminal:
        with open_terminal(terminal.path) as stream:
            await_start(stream)
        yield terminal


def await_start(stream: ByteStream, timeout_s: float = BOOT_TIMEOUT_S) -> None:
    """Ask until the firmware answers, then read all that is left.

    Raises:
        LitesightError: it did not answer in time.
    """
    received = b""
    deadline = time.monotonic() + timeout_s
    while not _ANSWER.search(received):
        if time.monotonic() > deadline:
            raise LitesightError(f"the board did not start within {timeout_s:g} s, received {received[-100:]!r}")
        # What comes before the board listens is lost.
        stream.write(b"%name%", _RETRY_S)
        received += _read_until_quiet(stream, _RETRY_S)
    _read_until_quiet(stream, _QUIET_S)


def _read_until_quiet(stream: ByteStream, quiet_s: float) -> bytes:
    received = b""
    while came := stream.read(quiet_s if not received else _QUIET_S):
        received += came
    return received
