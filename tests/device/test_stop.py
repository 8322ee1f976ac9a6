# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and Ctrl-C: between two frames if that is soon, and in any case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from device.stop import Stop

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_what_runs_goes_on(number: int) -> None:
    before = signal.getsignal(number), signal.set_wakeup_fd(-1)
    with Stop() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 30
        while not stop.requested and time.monotonic() < deadline:
            time.sleep(0.001)
        assert stop.signal == number
    assert (signal.getsignal(number), signal.set_wakeup_fd(-1)) == before


def test_outside_the_main_thread_signals_are_left_to_the_main_thread() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def work() -> None:
        with Stop() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert not stop.requested
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_watch_is_set_up_before_a_signal_could_be_merely_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, install = [], signal.signal

    def installing(number: int, handler: Any) -> Any:
        watched.append(descriptor := signal.set_wakeup_fd(-1))
        signal.set_wakeup_fd(descriptor)
        return install(number, handler)

    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", installing)
        with Stop():
            patch.undo()
    assert len(watched) == 2
    assert -1 not in watched


OTHERS = """
import os, signal, time
from device import stop
stop.GRACE_S = 0.01
signal.signal(signal.SIGUSR1, lambda number, frame: None)
with stop.Stop() as stop:
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.3)
    print(stop.requested)
"""


def test_another_signal_ends_nothing() -> None:
    child = subprocess.run(
        [sys.executable, "-c", OTHERS], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert (child.returncode, child.stdout) == (0, "False\n"), child.stderr


# "stuck": the main thread does not come round, as in a network that takes a minute.
STUCK = """
import ctypes, sys
from device.stop import Stop
with Stop() as stop:
    print("ready", flush=True)
    if sys.argv[1] == "stuck":
        for _ in range(60):  # a signal wakes it early
            ctypes.CDLL(None).sleep(1)
    while not stop.requested:
        pass
print("ended", flush=True)
"""


@pytest.mark.parametrize(("how", "status", "said"), [("stuck", 143, ""), ("free", 0, "ended\n")])
def test_a_process_that_is_stuck_ends_all_the_same(how: str, status: int, said: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, how], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == said
        assert process.wait(timeout=30) == status
