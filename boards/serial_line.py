# SPDX-License-Identifier: Apache-2.0
"""Talks to a board over its serial line, in the command set of MLPerf Tiny (mlcommons/tiny, benchmark/api).

A command is text that ends with ``%``. The board answers in lines, the last of which is ``m-ready``; it greets with
the same line when it has started. ``e-[…]`` tells why a command was refused, ``m-fault-[…]`` that the program crashed.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Sequence

from boards.byte_stream import ByteStream
from device.errors import LitesightError
from device.progress import Progress, silent

READY = "m-ready"
STARTED = "m-init-done"
TERMINATOR = "%"
CHUNK_BYTES = 31
"""Of data in one ``db`` command: what the public runner sends, and what any firmware of the command set must take."""
MAXIMUM_LINE_BYTES = 1 << 16
MAXIMUM_ANSWER_BYTES = 1 << 22
SHOWN = 160

_FAULT = re.compile(r"m-fault-\[(.*?)\]?$")
_REFUSED = re.compile(r"e-\[(.*?)\]?$")


class SerialLine:
    """The client.

    Args:
        stream: where the bytes travel; whoever opened it closes it.
        timeout_s: until a command must be answered in full, unless the call says otherwise.

    Every method raises LitesightError if the board does not answer in time, answers something else (what came is shown,
    escaped and shortened), refuses, faults, restarts, or is gone. After such an error the line is of no more use.
    """

    def __init__(self, stream: ByteStream, *, timeout_s: float = 10.0) -> None:
        self._stream = stream
        self._timeout_s = timeout_s
        self._whole: deque[str] = deque()
        self._partial = b""

    def wait_ready(self, timeout_s: float | None = None) -> tuple[str, ...]:
        """Wait until the board has started.

        Returns:
            The lines of its greeting. Noise before them is left out: a line that powers up delivers some.
        """
        lines = self._until_ready("the board's start", timeout_s, starting=True)
        return tuple(line for line in lines if _is_text(line))

    def command(self, text: str, timeout_s: float | None = None) -> tuple[str, ...]:
        """Send a command and collect its answer.

        Args:
            text: the command, without the ``%``.
            timeout_s: until the whole answer must have come; that of the line if None.

        Returns:
            The answer's lines, without ``m-ready``.
        """
        if not text.isascii() or not text.isprintable() or not text or TERMINATOR in text:
            raise ValueError(f"not a command: {text!r}")
        self._forget_old()
        seconds = self._timeout_s if timeout_s is None else timeout_s
        self._stream.write(f"{text}{TERMINATOR}".encode("ascii"), seconds)
        return self._until_ready(f"{_short(text)!r}", timeout_s, starting=False)

    def ask(self, text: str, key: str) -> str:
        """Send a command whose answer has the line ``m-KEY-[VALUE]``, and return the value."""
        lines = self.command(text)
        return self._value(text, lines, re.compile(rf"m-{re.escape(key)}-\[(.*)\]"))

    def name(self) -> str:
        """What the board calls itself."""
        return self.ask("name", "name-dut")

    def profile(self) -> str:
        """The command set and its version."""
        return self.ask("profile", "profile")

    def model(self) -> str:
        """Which model the board runs."""
        return self.ask("profile", "model")

    def help(self) -> tuple[str, ...]:
        """The commands that the board knows, for people."""
        return self.command("help")

    def timestamp(self) -> int:
        """The board's own time in microseconds, modulo 2^32; on an emulated board not a time, see the firmware."""
        return int(self._value("timestamp", self.command("timestamp"), re.compile(r"m-lap-us-(\d{1,20})")))

    def load(self, content: bytes, *, chunk_bytes: int = CHUNK_BYTES, progress: Progress = silent) -> None:
        """Fill the board's input buffer (``db load N``, then ``db HH…`` until all is there).

        Args:
            content: one byte at least.
            chunk_bytes: how many go into one command.
            progress: over the chunks.
        """
        if not content or chunk_bytes < 1:
            raise ValueError("nothing to load")
        answer = self.command(f"db load {len(content)}")
        if not any(f"{len(content)} bytes" in line and line.startswith("m-[") for line in answer):
            raise _unexpected(f"'db load {len(content)}'", f"m-[Expecting {len(content)} bytes]", answer)
        for start in progress(range(0, len(content), chunk_bytes), "loading", -(-len(content) // chunk_bytes)):
            answer = self.command(f"db {content[start : start + chunk_bytes].hex()}")
        if "m-load-done" not in answer:
            raise _unexpected("the last bytes of a load", "m-load-done", answer)

    def infer(self, inferences: int = 1, warmups: int = 0, timeout_s: float | None = None) -> tuple[str, ...]:
        """Run the model on what was loaded.

        Returns:
            The answer's lines, ``m-lap-us-…`` before and after the inferences among them.
        """
        answer = self.command(f"infer {inferences} {warmups}", timeout_s)
        if "m-infer-done" not in answer:
            raise _unexpected("'infer'", "m-infer-done", answer)
        return answer

    def results(self) -> tuple[float, ...]:
        """The output of the last inference as numbers."""
        text = self.ask("results", "results")
        try:
            values = tuple(float(word) for word in text.split(","))
        except ValueError:
            values = (math.nan,)
        if not all(map(math.isfinite, values)):
            raise LitesightError(f"expected numbers in m-results-[…], received {_short(text)!r}")
        return values

    def _value(self, command: str, lines: Sequence[str], pattern: re.Pattern[str]) -> str:
        for line in lines:
            if match := pattern.fullmatch(line):
                return match.group(1)
        expected = pattern.pattern.replace(r"\[(.*)\]", "[…]").replace("(.*)", "…").replace("\\", "")
        raise _unexpected(f"{command!r}", expected, lines)

    def _forget_old(self) -> None:
        """What came unasked belongs to no answer; a fault among it must not go unnoticed."""
        while came := self._stream.read(0.0):
            self._receive(came)
            for line in self._whole:
                _refuse_fault(line, "waiting for a command")
            self._whole.clear()
            self._partial = self._partial[-MAXIMUM_LINE_BYTES:]
        self._whole.clear()
        self._partial = b""

    def _receive(self, came: bytes) -> None:
        *whole, self._partial = (self._partial + came).split(b"\n")
        self._whole += (line.replace(b"\0", b"").strip(b"\r").decode("latin-1") for line in whole)

    def _until_ready(self, what: str, timeout_s: float | None, *, starting: bool) -> tuple[str, ...]:
        seconds = self._timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + seconds
        lines: list[str] = []
        total = 0
        while True:
            while self._whole:
                line = self._whole.popleft()
                if line == READY:
                    if not starting:
                        _refuse_refusal(lines, what)
                    return tuple(lines)
                _refuse_fault(line, what)
                if not starting:
                    _refuse_other_text(line, what)
                if line:
                    lines.append(line)
            left = deadline - time.monotonic()
            came = self._stream.read(left) if left > 0 else b""
            if not came:
                raise _silence(what, seconds, lines, self._partial)
            self._receive(came)
            total += len(came)
            if len(self._partial) > MAXIMUM_LINE_BYTES or total > MAXIMUM_ANSWER_BYTES:
                first = (lines or [*self._whole, self._partial.decode("latin-1")])[0]
                raise LitesightError(
                    f"expected lines and {READY} in answer to {what}, received {total:,} bytes without an end, "
                    f"beginning with {_short(first)!r}",
                    hint="wrong baud rate, or another program on the board?",
                )


def _refuse_refusal(lines: Sequence[str], what: str) -> None:
    for line in lines:
        if refused := _REFUSED.match(line):
            raise LitesightError(f"the board refused {what}: {_short(refused.group(1))}")


def _refuse_other_text(line: str, what: str) -> None:
    if line == STARTED:
        raise LitesightError(f"the board restarted during {what}", hint="power, reset button or watchdog?")
    if not _is_text(line):
        raise LitesightError(
            f"expected text in answer to {what}, received {_short(line)!r}", hint="wrong baud rate or a loose wire?"
        )


def _refuse_fault(line: str, what: str) -> None:
    if fault := _FAULT.search(line):
        raise LitesightError(f"the board's program crashed during {what}: {_short(fault.group(1))}")


def _silence(what: str, seconds: float, lines: Sequence[str], rest: bytes) -> LitesightError:
    if not lines and not rest:
        found = "received nothing"
        hint = "is it the right port, and does the board run the right program?"
    else:
        parts = [f"{len(lines)} lines, the last {_short(lines[-1])!r}"] if lines else []
        parts += [f"the unfinished line {_short(rest.decode('latin-1'))!r}"] if rest else []
        found = f"received {' and '.join(parts)}"
        hint = "wrong baud rate, or did the board stop?"
    return LitesightError(f"expected {READY} in answer to {what} within {seconds:g} s, {found}", hint=hint)


def _unexpected(what: str, expected: str, lines: Sequence[str]) -> LitesightError:
    found = f"received {_short(' '.join(lines))!r}" if lines else "received none"
    return LitesightError(
        f"expected the line {expected} in answer to {what}, {found}", hint="another program on the board?"
    )


def _is_text(line: str) -> bool:
    return all(" " <= character <= "~" or character == "\t" for character in line)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text):,} characters)"
