# SPDX-License-Identifier: Apache-2.0
"""The network in a thread of its own: it goes on with the next frame while the answer to the last one is told."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from device.capture import CLOSE_TIMEOUT_S, Capture, Prepared
from device.errors import LitesightError

TURN_S: Final = 0.2
"""So often, at least, the thread looks whether it is to end."""


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
    """Answers what a capture delivers. At most one answer waits: a frame is fetched when it can be told soon."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        # Guards all below.
        self._changed = threading.Condition()
        self._answer: Answered | None = None
        self._error: BaseException | None = None
        self._closed = self._finished = False
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether no answer will come any more."""
        with self._changed:
            return self._closed or (self._finished and self._answer is None and self._error is None)

    def next(self, timeout_s: float) -> Answered | None:
        """The next answer; None if none came in time or there are no more.

        Raises:
            LitesightError: the source failed for good.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None or self._finished or self._closed, timeout_s)
            answer, self._answer = self._answer, None
            if answer is not None:
                self._changed.notify_all()
            elif self._error is not None:
                error, self._error = self._error, None
                raise error
            return answer

    def close(self) -> None:
        """Stop after the frame in hand; a network that takes longer is left alone. Again does no harm."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _work(self) -> None:
        try:
            while self._wait_for_room() and not self._capture.ended:
                prepared = self._capture.next(TURN_S)
                if prepared is not None:
                    self._hand_over(_answer(prepared))
        except BaseException as error:  # told where answers are fetched
            with self._changed:
                self._error = error
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """False if nobody wants answers any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._answer is None or self._closed)
            return not self._closed

    def _hand_over(self, answer: Answered) -> None:
        with self._changed:
            self._answer = answer
            self._changed.notify_all()


def _answer(prepared: Prepared) -> Answered:
    output: NDArray[Any] | None = None
    fault: LitesightError | None = None
    started = time.perf_counter_ns()
    try:
        output = prepared.classifier.invoke(prepared.input)
    except LitesightError as error:
        fault = error
    return Answered(prepared, output, fault, started, time.perf_counter_ns())
