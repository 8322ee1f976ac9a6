# SPDX-License-Identifier: Apache-2.0
"""The live page as the runner sees it: results go in, a browser shows them, and the classifier does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from device.live_page.address import DEFAULT_HOST, DEFAULT_PORT, check_token, is_loopback, listen, new_token, page_url
from device.live_page.guard import Guard
from device.live_page.hub import Hub
from device.live_page.picture import Slot
from device.live_page.server import PageServer, quiet_logs
from device.live_page.state import Events, MachineWatch, Meter, process_json, shown_json
from device.machine import MachineState, read_state
from device.results import Result

UPDATE_S: Final = 1 / 8
"""Seconds between two pictures, at least."""

SLOWEST_UPDATE_S: Final = 2.0
PAGE_SHARE: Final = 0.08
"""Of one core that the page may take; on a slow machine the pictures come less often."""

COPY_SHARE: Final = 0.01
"""Of the classifier's time that copying frames may take."""

HEARTBEAT_S: Final = 1.0
"""Without a new frame the state is sent this often."""

CLOSE_S: Final = 0.4
NICENESS: Final = 5


class _Has(enum.Enum):
    """Who has the slot. Each value is left by one thread only, so that no lock is needed."""

    PAGE = enum.auto()
    WANTED = enum.auto()  # the classifier may fill it
    CLASSIFIER = enum.auto()  # filling, or filled and the page does not know yet


class LivePage:
    """A small web server in a thread of its own.

    Args:
        address: IP address or host name to listen on.
        port: 0 takes any that is free.
        token: what viewers must know. On an address that other machines reach, one is made if it is None.
        max_clients: that may watch at a time.
        top: classes to show, at most as many as the results have.
        source: what the pictures come from, for people.
        describe: the runtime and how much of the network XNNPACK took, for people.
        read: asks the machine for its state.
    """

    def __init__(
        self,
        address: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        token: str | None = None,
        max_clients: int = 8,
        top: int = 5,
        source: str = "",
        describe: str = "",
        read: Callable[[], MachineState] = read_state,
    ) -> None:
        if token is not None:
            check_token(token)
        self._address, self._port, self._token = address, port, token
        self._max_clients, self._top = max_clients, top
        self._facts = {"source": source, "runtime": describe}
        self._meter, self._events, self._machine, self._slot = Meter(), Events(), MachineWatch(read), Slot()
        self._started_at = time.monotonic()
        self._has = _Has.PAGE
        self._number = 0
        self._pictures = (b"", b"")
        self._shown: dict[str, Any] = {}
        self._captured_at = 0.0
        self._thread: threading.Thread | None = None
        self._refused: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> str:
        """Listen and serve.

        Returns:
            What to open in a browser, with the token if one is needed: to be shown to the user and to nobody else.

        Raises:
            LitesightError: the address or port cannot be had.
            OSError: the system has no descriptor left.
        """
        sockets = listen(self._address, self._port)
        own = is_loopback(sockets)
        if self._token is None and not own:
            self._token = new_token()
        url = page_url(self._address, sockets, self._token)
        guard = Guard(self._token, self._address)
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(sockets, guard, ready), name="litesight page", daemon=True
        )
        self._thread.start()
        ready.wait()
        if self._refused is not None:
            raise self._refused
        return url

    def publish(self, result: Result) -> None:
        """Show a result. Takes microseconds; while somebody watches, also a copy of the pixels a few times a second."""
        self._meter.add(result.classification.ms)
        if self._has is not _Has.WANTED or self._closed:
            return
        self._has = _Has.CLASSIFIER
        self._slot.fill(result)
        self._tell(self._filled_event.set)

    def note(self, text: str) -> None:
        """Show a line about the source or the machine: reopened, frozen, a new model."""
        self._events.add(text)

    def close(self) -> None:
        """Close every connection and end the thread, in less than half a second; again does no harm."""
        self._closed = True
        if self._thread is None:
            return
        self._tell(self._stop_event.set)
        self._thread.join(CLOSE_S)

    def _tell(self, callback: Callable[[], object]) -> None:
        # RuntimeError: the loop has ended meanwhile.
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(callback)

    # What follows runs in the page's own thread.

    def _run(self, sockets: list[socket.socket], guard: Guard, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(sockets, guard, ready))
        except OSError as error:
            if ready.is_set():
                raise
            self._refused = error  # start() tells it
            for each in sockets:
                each.close()
        finally:
            ready.set()

    async def _serve(self, sockets: list[socket.socket], guard: Guard, ready: threading.Event) -> None:
        _be_nice()
        quiet_logs()
        self._loop = asyncio.get_running_loop()
        self._filled_event, self._stop_event = asyncio.Event(), asyncio.Event()
        hub = Hub(self._max_clients)
        server = PageServer(guard, hub)
        server.add_sockets(sockets)
        ready.set()
        pump = asyncio.create_task(self._pump(hub))
        stop = asyncio.create_task(self._stop_event.wait())
        try:
            await asyncio.wait((pump, stop), return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
        finally:
            hub.drop_all()
            server.close()

    async def _pump(self, hub: Hub) -> None:
        """Send whoever waits the newest result, and keep within the shares."""
        began, cpu = time.monotonic(), time.thread_time()
        while True:
            await hub.waits.wait()
            # Encoding, sending, answering requests: whatever this thread has done since then counts.
            used = time.thread_time() - cpu
            period = min(SLOWEST_UPDATE_S, max(UPDATE_S, used / PAGE_SHARE, self._slot.copy_s / COPY_SHARE))
            await asyncio.sleep(began + period - time.monotonic())
            began, cpu = time.monotonic(), time.thread_time()
            if not hub.waits.is_set():
                continue
            if self._has is _Has.PAGE:
                self._has = _Has.WANTED
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._filled_event.wait(), HEARTBEAT_S)
            if self._filled_event.is_set():
                self._filled_event.clear()
                self._take()
            hub.send(self._state(len(hub)), self._number, self._pictures)

    def _take(self) -> None:
        shown = self._slot.shown
        assert shown is not None
        self._pictures = self._slot.encode()
        self._number += 1
        self._shown = shown_json(shown, self._top)
        self._captured_at = shown.captured_at
        self._has = _Has.PAGE

    def _state(self, viewers: int) -> dict[str, Any]:
        state = {
            **self._facts,
            **self._meter.summary(),
            **process_json(self._started_at),
            "number": self._number,
            "viewers": viewers,
            "events": self._events.to_json(),
            "machine": self._machine.look(),
        }
        if self._shown:
            state |= self._shown
            state["age_ms"] = round((time.monotonic() - self._captured_at) * 1000, 1)
        return state


def _be_nice() -> None:
    """Let the classifier's threads go first where the system can tell threads apart."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
