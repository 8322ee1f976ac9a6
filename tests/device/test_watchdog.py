# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.watchdog import MAX_STATUS_BYTES, Notifier

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Clock:
    """Seconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Manager:
    """The other end: systemd's socket."""

    def __init__(self, address: str | bytes, named: str) -> None:
        self.named = named
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def heard(self) -> list[str]:
        """Every message that waits."""
        self.socket.setblocking(False)
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(8192).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    if request.param == "path":
        made = Manager(str(tmp_path / "notify"), str(tmp_path / "notify"))
    elif sys.platform.startswith("linux"):
        name = f"litesight-test-{os.getpid()}"
        made = Manager(b"\0" + name.encode(), f"@{name}")
    else:
        pytest.skip("only Linux has abstract sockets")
    with made.socket:
        yield made


def environment(manager: Manager, timeout_us: str = "30000000", pid: str | None = None) -> dict[str, str]:
    return {
        "NOTIFY_SOCKET": manager.named,
        "WATCHDOG_USEC": timeout_us,
        "WATCHDOG_PID": str(os.getpid()) if pid is None else pid,
        "HOME": "/home/pi",
    }


def notify(variables: dict[str, str], clock: Clock | None = None) -> Notifier:
    return Notifier.from_environment(variables, clock or Clock())


def test_the_manager_hears_every_state(manager: Manager) -> None:
    with notify(environment(manager)) as notifier:
        assert notifier.active
        assert notifier.watched
        notifier.ready("61 of 61 operators")
        notifier.alive()
        notifier.status("30 frames a second")
    assert not notifier.active
    assert manager.heard() == [
        "READY=1\nSTATUS=61 of 61 operators",
        "WATCHDOG=1",
        "STATUS=30 frames a second",
        "STOPPING=1",
    ]


def test_a_sign_of_life_goes_out_three_times_within_the_timeout_and_not_once_a_frame(manager: Manager) -> None:
    clock = Clock()
    with notify(environment(manager, "30000000"), clock) as notifier:
        for _ in range(300):  # 30 seconds at ten frames a second
            notifier.alive()
            clock.now += 0.1
        assert manager.heard() == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize("timeout", ["", "0", "soon", "-5", "²", "1e6"])
def test_without_a_timeout_no_sign_of_life_is_sent_but_states_are(manager: Manager, timeout: str) -> None:
    with notify(environment(manager, timeout)) as notifier:
        notifier.alive()
        notifier.ready()
        assert not notifier.watched
        assert manager.heard() == ["READY=1"]


@pytest.mark.parametrize(("pid", "watched"), [("", True), (str(os.getpid()), True), ("1", False), ("x", False)])
def test_a_watchdog_meant_for_another_process_is_left_alone(manager: Manager, pid: str, watched: bool) -> None:
    with notify(environment(manager, pid=pid)) as notifier:
        notifier.alive()
        assert manager.heard() == (["WATCHDOG=1"] if watched else [])


def test_children_do_not_inherit_the_variables_and_nothing_else_is_taken(manager: Manager) -> None:
    variables = environment(manager)
    notify(variables).close()
    assert variables == {"HOME": "/home/pi"}


def test_children_of_the_real_environment_do_not_inherit_them(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(manager).items():
        monkeypatch.setenv(name, value)
    Notifier.from_environment().close()
    code = f"import os; print([name for name in {VARIABLES!r} if name in os.environ])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert child.stdout == "[]\n"


@pytest.mark.parametrize("named", ["", "@", "/", "relative/path", "vsock:2:1234", "/x\0y", "/" + "x" * 300])
def test_no_socket_or_one_that_cannot_be_is_silence(named: str) -> None:
    with notify({"NOTIFY_SOCKET": named, "WATCHDOG_USEC": "3"}) as notifier:
        notifier.ready("a")
        notifier.alive()
        notifier.status("b")


def test_outside_of_a_service_nothing_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> socket.socket:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    notifier = notify({})
    assert not notifier.active
    assert not notifier.watched
    notifier.ready()
    notifier.alive()


def test_a_manager_that_has_gone_and_comes_back_is_heard_again(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    clock = Clock()
    first = Manager(path, path)
    notifier = notify(environment(first), clock)
    first.socket.close()
    Path(path).unlink()
    notifier.ready()
    notifier.alive()
    second = Manager(path, path)
    with second.socket, notifier:
        clock.now += 1.1  # a tenth of the pause: a sign that was not taken is soon repeated
        notifier.alive()
        assert second.heard() == ["WATCHDOG=1"]


def test_a_manager_that_never_reads_does_not_hold_up_a_frame(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    clock = Clock()
    manager = Manager(path, path)
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with manager.socket, filler, notify(environment(manager), clock) as notifier:
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.sendto(b"full", path)
        notifier.alive()
        assert notifier._socket is not None
        assert notifier._socket.gettimeout() == 0.0, "a full queue is not waited for"
        assert set(manager.heard()) == {"full"}
        clock.now += 11
        notifier.alive()
        assert manager.heard() == ["WATCHDOG=1"]


def test_after_close_nothing_is_sent_and_a_second_close_is_no_fault(manager: Manager) -> None:
    notifier = notify(environment(manager))
    notifier.close()
    notifier.close()
    notifier.ready()
    notifier.alive()
    assert not notifier.active
    assert manager.heard() == []


@given(st.text(alphabet=st.characters(), max_size=1500))
def test_any_status_is_one_assignment_that_systemd_takes(text: str) -> None:
    name = f"litesight-status-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(b"\0" + name.encode())
        manager.settimeout(5)
        notifier = notify({"NOTIFY_SOCKET": f"@{name}"})
        notifier.status(text)
        notifier.close()
        message = manager.recv(8192)
    assert message.startswith(b"STATUS=")
    assert b"\n" not in message
    assert len(message) <= MAX_STATUS_BYTES + len(b"STATUS=")
    assert message.decode().isprintable()
