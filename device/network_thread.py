# SPDX-License-Identifier: Apache-2.0
"""The network in a thread of its own: it goes on with the next frame while the answer to the last one is told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from device.capture import CLOSE_TIMEOUT_S, Capture, Prepared
from device.errors import LitesightError
from device.handover import Handover

TURN_S: Final = 0.2
"""So often, at least, the thread looks whether it is to end."""

HANG_S: Final = 60.0
"""So long one frame may take on the slowest board; then the runtime hangs, and only a new process helps."""


@dataclass(frozen=True)
class Answered:
    """A frame behind the network.

    Attributes:
        prepared: the frame.
        output: (classes,) int8; None if the network failed.
        error: why it failed.
        started_ns, ended_ns: ``time.perf_counter_ns()`` around the network.
    """

    prepared: Prepared
    output: NDArray[Any] | None
    error: LitesightError | None
    started_ns: int
    ended_ns: int


class NetworkThread:
    """Answers what a capture delivers. At most one answer waits, and the network is at most one frame ahead of it."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._busy_since: float | None = None  # of ``time.monotonic()``, while a frame is in the network
        self._answers = Handover(self._invoke, 1, "network")
        self._answers.start()

    @property
    def ended(self) -> bool:
        """Whether no answer will come any more."""
        return self._answers.ended

    def next(self, timeout_s: float) -> Answered | None:
        """The next answer; None if none came in time or there are no more.

        Raises:
            LitesightError: the source failed for good, or the network hangs.
        """
        answer = self._answers.take(timeout_s)
        since = self._busy_since
        if answer is None and since is not None and time.monotonic() - since > HANG_S:
            raise LitesightError(
                f"the network has not answered a frame for {HANG_S:g} s", hint="start again; litesight service does so"
            )
        return answer

    def close(self) -> None:
        """Stop after the frame in hand; a network that takes longer is left alone. Again does no harm."""
        self._answers.close(CLOSE_TIMEOUT_S)

    def _invoke(self, answers: Handover[Answered]) -> None:
        while answers.wanted and not self._capture.ended:
            prepared = self._capture.next(TURN_S)
            # The next frame is begun before this answer is taken: waiting for another thread to wake costs 0.1 ms.
            if prepared is not None:
                self._busy_since = time.monotonic()
                answer = _answer(prepared)
                self._busy_since = None
                answers.give(answer)


def _answer(prepared: Prepared) -> Answered:
    output: NDArray[Any] | None = None
    fault: LitesightError | None = None
    started = time.perf_counter_ns()
    try:
        output = prepared.classifier.invoke(prepared.input)
    except LitesightError as error:
        fault = error
    return Answered(prepared, output, fault, started, time.perf_counter_ns())
