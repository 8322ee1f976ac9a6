# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM ask a loop to end after the frame in hand, and end the process if that takes too long."""

from __future__ import annotations

import os
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self

GRACE_S: Final = 0.8
"""So long the frame in hand may take; a service must be gone within a second."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Inside its ``with`` block the two signals set ``signal`` instead of breaking off whatever runs.

    A line that is being written is therefore written to its end. If the block does not end within ``GRACE_S`` after a
    signal (the network is slow, a reader of our output has fallen asleep) the process ends with status 128 + number.

    Attributes:
        signal: the number of the signal that came; None before.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._ended = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self._wake: socket.socket | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python hands signals to the main thread only
        # First of all: a signal that is only noted would not end a process that is stuck.
        self._listen()
        for each in _SIGNALS:
            # Ignored signals stay so: a shell starts background jobs like that.
            if signal.getsignal(each) is not signal.SIG_IGN:
                self._before[each] = signal.signal(each, self._note)
        return self

    def _listen(self) -> None:
        # Python runs its handlers between two instructions of the main thread, which may be inside the network. What is
        # written to this socket is written at once.
        self._wake, woken = socket.socketpair()
        self._wake.setblocking(False)  # or Python refuses it
        self._wakeup_before = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(woken,), name="stop", daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._wake is not None:
            for each, handler in self._before.items():
                signal.signal(each, handler)
            signal.set_wakeup_fd(self._wakeup_before)
            self._wake.close()

    @property
    def requested(self) -> bool:
        """Whether one of the signals came."""
        return self.signal is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number

    def _watch(self, woken: socket.socket) -> None:
        with woken:
            while (received := woken.recv(1)) and received[0] not in self._before:
                pass  # another signal, which is not ours
            if received and not self._ended.wait(GRACE_S):
                os._exit(128 + received[0])
