# SPDX-License-Identifier: Apache-2.0
"""Inferences on a board, over its serial line: exact bytes in and out, and what they took."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boards.serial_line import SerialLine
from device.errors import LitesightError
from device.progress import Progress, silent
from firmware_export.firmware import FRAME

_INFER_TIMEOUT_S = 300.0
_SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Measurement:
    """One inference.

    Attributes:
        output: int8, (classes,).
        ticks: of the board's counter, without the wait for rows.
        stack_bytes: the deepest the stack has been, from its top.
    """

    output: NDArray[np.int8]
    ticks: int
    stack_bytes: int


@dataclass(frozen=True)
class StepTime:
    """One op in one inference.

    Attributes:
        op: 0 for the source of the rows, or index of a layer + 1.
        steps: how many.
        ticks: of all of them.
    """

    op: int
    steps: int
    ticks: int


class BoardInference:
    """A board that has started and runs the firmware of ``firmware``.

    Args:
        line: to the board.
        form: FRAME or ROWS, as the firmware was built.
        classes: length of the output.

    Every method raises LitesightError if the board answers something else, or nothing.
    """

    def __init__(self, line: SerialLine, form: str, classes: int) -> None:
        self._line = line
        self._form = form
        self._classes = classes

    def check_model(self, sha256: str) -> None:
        """Compare the model on the board with the one that is meant."""
        found = self._line.ask("profile", "sha256")
        if found != sha256:
            raise LitesightError(
                f"expected the model {sha256[:_SHOWN_DIGITS]}… on the board, found {found[:_SHOWN_DIGITS]}…",
                hint="build and start it again",
            )

    def run(self, values: NDArray[np.int8], *, progress: Progress = silent) -> Measurement:
        """Run the network once.

        Args:
            values: int8, (height, width, channels).
            progress: over the rows that are sent.
        """
        self._line.command("bytes int8")
        if self._form == FRAME:
            # Sending is no part of what the stack is measured for.
            self._line.load(values.tobytes(), progress=progress)
            self._line.command("paint")
            self._line.infer(1, 0, _INFER_TIMEOUT_S)
        else:
            self._line.command("paint")
            self._send_rows(values, progress)
        return Measurement(
            output=self._output(), ticks=self._number("ticks", "ticks"), stack_bytes=self._number("stack", "stack")
        )

    def step_times(self) -> tuple[StepTime, ...]:
        """What the ops of the latest inference took; only with a firmware that measures steps."""
        answer = self._line.command("steps")
        matches = [re.fullmatch(r"m-step-\[(\d{1,10}),(\d{1,10}),(\d{1,10})]", line) for line in answer]
        times = tuple(StepTime(*map(int, match.groups())) for match in matches if match)
        if len(times) != len(answer) or not times:
            raise LitesightError(f"expected lines m-step-[op,steps,ticks] from the board, received {answer[:3]!r}")
        return times

    def _send_rows(self, values: NDArray[np.int8], progress: Progress) -> None:
        answer = self._line.command("rows", _INFER_TIMEOUT_S)
        for index, row in enumerate(progress(values, "rows", len(values))):
            if answer != (f"m-row-{index}",):
                raise LitesightError(f"expected m-row-{index} from the board, received {' '.join(answer)[:80]!r}")
            answer = self._line.command(row.tobytes().hex(), _INFER_TIMEOUT_S)
        if "m-rows-done" not in answer:
            raise LitesightError(
                f"expected m-rows-done after {len(values)} rows, received {' '.join(answer)[:80]!r}",
                hint="does the board run another model?",
            )

    def _output(self) -> NDArray[np.int8]:
        text = self._line.ask("output", "output")
        if not re.fullmatch(r"(?:[0-9a-f]{2})*", text) or len(text) != 2 * self._classes:
            raise LitesightError(
                f"expected {2 * self._classes} hexadecimal digits, the output's {self._classes} bytes, from the board, "
                f"received {len(text)} characters: {text[:40]!r}"
            )
        return np.frombuffer(bytes.fromhex(text), np.int8)

    def _number(self, command: str, key: str) -> int:
        text = self._line.ask(command, key)
        if not re.fullmatch(r"\d{1,20}", text):
            raise LitesightError(f"expected a number in m-{key}-[…] from the board, received {text[:40]!r}")
        return int(text)
