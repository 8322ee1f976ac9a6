# SPDX-License-Identifier: Apache-2.0
"""Native messages must not reach the user, and keeping them away must not fail the command."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from device import quiet
from device.interpreter import open_interpreter
from device.quiet import native_stderr

NETWORK = Path(__file__).parent / "data/tiny_int8.tflite"


def test_what_native_code_says_is_caught_and_the_rest_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    with native_stderr() as caught:
        os.write(2, b"native noise")
        assert caught() == "native noise"
    os.write(2, b"a real message")
    assert capfd.readouterr().err == "a real message"


def test_no_temporary_directory_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    with native_stderr() as caught:
        os.write(2, b"noise")
        if sys.platform == "linux":
            assert caught() == "noise"


def test_without_any_place_for_messages_the_network_opens_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quiet, "_memory_file", lambda: None)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    with native_stderr() as caught:
        os.write(2, b"noise")
        assert caught() == ""
    assert capfd.readouterr().err == "noise"
    if before:
        assert len(os.listdir("/proc/self/fd")) == before, "no descriptor is lost"  # noqa: PTH208
    assert open_interpreter(NETWORK, threads=1).ops_total == 4


def test_without_a_stderr_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with native_stderr() as caught:
        os.write(2, b"noise")
        assert caught() == "noise"


def test_two_threads_do_not_lose_stderr_to_each_other(capfd: pytest.CaptureFixture[str]) -> None:
    """A camera is opened again while a model is opened: the second must not put back what the first had put there."""
    inside, leave = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def catch(number: int) -> None:
        with native_stderr():
            inside[number].set()
            leave[number].wait(20)

    threads = [threading.Thread(target=catch, args=(number,)) for number in (0, 1)]
    threads[0].start()
    assert inside[0].wait(20)
    threads[1].start()
    assert not inside[1].wait(0.1), "the second waits for the first"
    for number in (0, 1):
        leave[number].set()
        threads[number].join(20)
    os.write(2, b"a real message")
    assert capfd.readouterr().err == "a real message"


def test_one_inside_the_other_is_no_deadlock() -> None:
    with native_stderr(), native_stderr():
        pass
