# SPDX-License-Identifier: Apache-2.0
"""Boots a program on the emulated board and gives its serial line."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from boards.board import Board
from boards.tool import find_tool
from device.errors import LitesightError, UsageError

CPU_LIMIT_S = 3600
"""Processor time after which the system ends an emulator, should this program be killed and leave it behind."""
CHUNK = 65536
LAST_WORDS = 200


def emulator_argv(board: Board, elf: Path, *, serial: str, tool: str = "") -> list[str]:
    """The command line of the emulator.

    Args:
        board: an emulated one.
        elf: the program.
        serial: QEMU's description of where the serial line goes, e.g. ``chardev:serial`` or ``pty``.
        tool: path of the emulator; its name if empty.

    Raises:
        UsageError: nothing emulates the board.
    """
    if board.emulator is None:
        raise UsageError(f"nothing emulates {board.id}", hint="litesight boards shows how each board runs")
    unused = [argument for _ in range(board.emulator.serial) for argument in ("-serial", "null")]
    return [
        tool or board.emulator.tool,
        "-M",
        board.emulator.machine,
        # The program must not reach the host's network.
        "-nic",
        "none",
        "-icount",
        "shift=0",
        "-nographic",
        "-monitor",
        "none",
        *unused,
        "-serial",
        serial,
        "-kernel",
        str(elf),
    ]


class Emulator:
    """A running emulator, from :func:`emulate`; its serial line is a :class:`boards.byte_stream.ByteStream`."""

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket, stderr: Path) -> None:
        self.process = process
        self._line = line
        self._stderr = stderr

    def read(self, timeout_s: float) -> bytes:
        """What the program has sent; ``b""`` if nothing came for ``timeout_s``.

        Raises:
            LitesightError: the emulator ended; its last words are in the message.
        """
        ready, _, _ = select.select([self._line], [], [], timeout_s)
        if not ready:
            return b""
        try:
            content = self._line.recv(CHUNK)
        except OSError:
            content = b""
        if not content:
            raise self._ended()
        return content

    def write(self, content: bytes, timeout_s: float) -> None:
        """Send to the program.

        Raises:
            LitesightError: the emulator ended, or the program does not take it within ``timeout_s``.
        """
        self._line.settimeout(timeout_s)
        try:
            self._line.sendall(content)
        except TimeoutError:
            raise LitesightError(
                f"the program on the emulated board took no more input for {timeout_s:g} s",
                hint="it may hang or have halted",
            ) from None
        except OSError:
            raise self._ended() from None
        finally:
            self._line.settimeout(None)

    def _ended(self) -> LitesightError:
        return _ended(self.process, self._stderr)


class EmulatedTerminal:
    """A running emulator, from :func:`emulate_terminal`, whose serial line is a terminal.

    Attributes:
        path: of the terminal, to be opened in place of ``/dev/ttyUSB0``.
    """

    def __init__(self, process: subprocess.Popen[bytes], path: Path, stderr: Path) -> None:
        self.process = process
        self.path = path
        self._stderr = stderr

    def wait(self) -> NoReturn:
        """Wait for as long as the emulator runs.

        Raises:
            LitesightError: it ended; its last words are in the message.
        """
        self.process.wait()
        raise _ended(self.process, self._stderr)


@contextlib.contextmanager
def emulate(board: Board, elf: Path, *, cpu_limit_s: int = CPU_LIMIT_S) -> Iterator[Emulator]:
    """Boot a program; when the block ends so does the emulator.

    Args:
        board: an emulated one.
        elf: a program built for it.
        cpu_limit_s: processor time after which it is ended in any case.

    Raises:
        UsageError: nothing emulates the board.
        LitesightError: the emulator is not installed or does not start.
    """
    argv = emulator_argv(board, elf, serial="chardev:line")
    argv[0] = find_tool(argv[0], argv[0])
    if not elf.is_file():
        raise LitesightError(f"{elf}: expected a program, found nothing there")
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory(prefix="litesight-emulator-") as directory:
        stderr = Path(directory) / "stderr"
        with ours:
            with theirs:
                descriptor = theirs.fileno()
                argv[1:1] = ["-chardev", f"socket,id=line,fd={descriptor}"]
                process = _start(argv, stderr, pass_fds=(descriptor,))
            with _ending(process, cpu_limit_s):
                yield Emulator(process, ours, stderr)


@contextlib.contextmanager
def emulate_terminal(board: Board, elf: Path, *, cpu_limit_s: int = CPU_LIMIT_S) -> Iterator[EmulatedTerminal]:
    """Boot a program with its serial line on a pseudo-terminal, for programs of others that open a port.

    Raises:
        UsageError, LitesightError: as :func:`emulate`.
    """
    argv = emulator_argv(board, elf, serial="chardev:line")
    argv[0] = find_tool(argv[0], argv[0])
    if not elf.is_file():
        raise LitesightError(f"{elf}: expected a program, found nothing there")
    with tempfile.TemporaryDirectory(prefix="litesight-emulator-") as directory:
        stderr, terminal = Path(directory) / "stderr", Path(directory) / "terminal"
        argv[1:1] = ["-chardev", "pty,id=line"]
        process = _start(argv, stderr, stdout=terminal)
        with _ending(process, cpu_limit_s):
            yield EmulatedTerminal(process, _terminal(process, terminal, stderr), stderr)


def emulate_until(board: Board, elf: Path, marker: str = "m-end-[", *, timeout_s: float = 60.0) -> str:
    """Boot a program, return what it prints up to and with the line that has ``marker``, and end it.

    Args:
        board: an emulated one.
        elf: a program built for it; start-up code prints ``m-end-[STATUS]`` when its ``main`` returns.
        marker: where to stop.
        timeout_s: for all of it.

    Raises:
        LitesightError: the program faulted, the emulator died, or the marker did not come in time.
    """
    deadline = time.monotonic() + timeout_s
    received = b""
    with emulate(board, elf) as emulator:
        while True:
            came = emulator.read(max(0.0, deadline - time.monotonic()))
            received += came
            text = received.decode("utf-8", errors="backslashreplace").replace("\r\n", "\n")
            fault = text.find("m-fault-[")
            if fault >= 0 and "\n" in text[fault:]:
                raise LitesightError(
                    f"the program faulted: {text[fault:].splitlines()[0]}", hint=f"before: {text[:fault][-300:]!r}"
                )
            if marker in text and "\n" in text[text.index(marker) :]:
                return text
            if not came:
                raise LitesightError(
                    f"{marker!r} did not come within {timeout_s:g} s; the program printed {text[-300:]!r}"
                )


def _start(
    argv: Sequence[str], stderr: Path, *, pass_fds: Sequence[int] = (), stdout: Path | None = None
) -> subprocess.Popen[bytes]:
    with stderr.open("wb") as errors, (stdout or Path(os.devnull)).open("wb") as output:
        try:
            return subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=errors, pass_fds=pass_fds
            )
        except OSError as error:
            raise LitesightError(f"{Path(argv[0]).name} cannot be started: {error.strerror or error}") from None


@contextlib.contextmanager
def _ending(process: subprocess.Popen[bytes], cpu_limit_s: int) -> Iterator[None]:
    """Whatever happens, the process is gone afterwards."""
    try:
        with contextlib.suppress(OSError):  # ended already
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (cpu_limit_s, cpu_limit_s))
            resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
        yield
    finally:
        process.kill()
        process.wait()


def _terminal(process: subprocess.Popen[bytes], stdout: Path, stderr: Path) -> Path:
    """The path that QEMU tells: ``char device redirected to /dev/pts/3 (label line)``."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        told = stdout.read_text(encoding="utf-8", errors="replace")
        # What follows the path shows that it is there in full.
        if match := re.search(r"(/dev/\S+) \(label", told):
            return Path(match.group(1))
        time.sleep(0.02)
    raise LitesightError(f"the emulator opened no terminal: {_last_words(stderr)}")


def _ended(process: subprocess.Popen[bytes], stderr: Path) -> LitesightError:
    """How an emulator ended whose serial line is closed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    status = process.returncode
    if status is None:
        how = "closed the serial line"
    elif status < 0:
        how = f"was ended by signal {-status}"
    else:
        how = f"ended with status {status}"
    return LitesightError(f"the emulator {how}: {_last_words(stderr)}")


def _last_words(stderr: Path) -> str:
    """The first lines that are no warning: a crash is told first, then QEMU lists registers."""
    lines = stderr.read_text(encoding="utf-8", errors="backslashreplace").splitlines()
    text = " ".join(" ".join(line for line in lines if "warning:" not in line).split())
    return text[:LAST_WORDS] or "it said nothing"
