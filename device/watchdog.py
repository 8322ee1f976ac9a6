# SPDX-License-Identifier: Apache-2.0
"""Tells systemd that the service is ready, alive and going: the protocol of sd_notify(3), without libsystemd.

The service manager names a datagram socket in ``$NOTIFY_SOCKET`` and, where the unit has ``WatchdogSec=``, the time
within which it wants a sign of life in ``$WATCHDOG_USEC`` (sd_watchdog_enabled(3)). Standard library only.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final

SIGNS_PER_TIMEOUT: Final = 3
"""Signs of life within the time after which systemd ends a silent service; sd_watchdog_enabled(3) asks for two."""

MAX_STATUS_BYTES: Final = 1000
"""systemd passes over a message longer than 4096 bytes (PIPE_BUF) whole."""

_MAX_WAIT_S: Final = 1.0
"""How long READY=1 and STOPPING=1 may wait for a manager that is slow to read. Nothing else waits at all."""


class Notifier:
    """The way to the service manager; outside of a service every method does nothing.

    No method raises for what happens at the other end: a classifier does not stop because nobody listens. As a context
    manager it says :meth:`stopping` at the end of the block.
    """

    def __init__(
        self, address: str | bytes | None, timeout_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Use :meth:`from_environment`.

        Args:
            address: of an AF_UNIX datagram socket, as Python writes it; None for no socket.
            timeout_s: after which the manager takes silence for death; 0 if it does not watch.
            clock: monotonic seconds.
        """
        self._address = address
        self._clock = clock
        self._socket = _datagram_socket() if address is not None else None
        self._pause = timeout_s / SIGNS_PER_TIMEOUT if self._socket is not None and timeout_s > 0 else math.inf
        self._due = -math.inf if self._pause < math.inf else math.inf

    @classmethod
    def from_environment(
        cls, environment: MutableMapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> Notifier:
        """Read where and how often the manager wants to hear, and take the variables out of ``environment``.

        A child that inherited them could keep a dead parent alive.
        """
        path = environment.pop("NOTIFY_SOCKET", "")
        timeout = environment.pop("WATCHDOG_USEC", "")
        meant_for = environment.pop("WATCHDOG_PID", "")
        watched = timeout.isascii() and timeout.isdigit() and meant_for in ("", str(os.getpid()))
        return cls(_address(path), int(timeout[:18]) / 1e6 if watched else 0.0, clock)

    def __enter__(self) -> Notifier:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping()

    @property
    def active(self) -> bool:
        """Whether a service manager wants to hear."""
        return self._socket is not None

    @property
    def watched(self) -> bool:
        """Whether the manager ends this process when :meth:`alive` is not called."""
        return self._pause < math.inf

    def ready(self, status: str = "") -> None:
        """Start-up is over: ``systemctl start`` returns."""
        self._send(f"READY=1{_status(status)}", _MAX_WAIT_S)

    def alive(self) -> None:
        """Say so, if it is time; to be called once a frame or turn of a loop. Only a reading of the clock otherwise."""
        now = self._clock()
        if now >= self._due:
            # If it was not taken, the next turn tries again.
            self._due = now + self._pause if self._send("WATCHDOG=1") else now + self._pause / 10

    def status(self, text: str) -> None:
        """One line that ``systemctl status`` shows."""
        self._send(f"STATUS={_line(text)}")

    def stopping(self, status: str = "") -> None:
        """The end has begun: the last message, after which the socket is closed."""
        self._send(f"STOPPING=1{_status(status)}", _MAX_WAIT_S)
        self.close()

    def close(self) -> None:
        """Let go of the socket; every method does nothing from then on."""
        channel, self._socket = self._socket, None
        self._due = self._pause = math.inf
        if channel is not None:
            channel.close()

    def _send(self, message: str, wait_s: float = 0.0) -> bool:
        """Whether the manager's socket took the message."""
        if self._socket is None or self._address is None:
            return False
        try:
            self._socket.settimeout(wait_s)
            self._socket.sendto(message.encode(), self._address)
        except OSError:  # the manager is away or busy
            return False
        return True


def _datagram_socket() -> socket.socket | None:
    try:
        return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except (OSError, AttributeError):  # no descriptor left, or no Unix
        return None


def _address(path: str) -> str | bytes | None:
    """How Python writes the address; None for one of another family, such as vsock, or that is no address."""
    if "\0" in path or len(path) < 2:
        return None
    if path.startswith("@"):  # in the abstract namespace: a zero byte in front, unix(7)
        return b"\0" + os.fsencode(path[1:])
    return path if path.startswith("/") else None


def _status(text: str) -> str:
    return f"\nSTATUS={_line(text)}" if text else ""


def _line(text: str) -> str:
    """``text`` on one line, short enough, and in characters that UTF-8 has."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line.encode("utf-8", "replace")[:MAX_STATUS_BYTES].decode("utf-8", "ignore")
