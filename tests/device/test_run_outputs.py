# SPDX-License-Identifier: Apache-2.0
"""``litesight run`` with all that may hang on it: page, collected frames, slots, signatures, the service manager."""

from __future__ import annotations

import argparse
import errno
import io
import json
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import litesight
from device import sources
from device.commands import run as run_command
from device.frames import Frame, SourceError
from device.signature import new_key, sign
from device.slots import create_slots
from tests.device.fake_camera import ScriptedCamera, picture
from tests.device.websocket_client import Watcher

PATIENT_S = 30.0


def run(*arguments: str | Path) -> int:
    return litesight.main(["run", *map(str, arguments)])


class StepByStep(ScriptedCamera):
    """Delivers a frame whenever the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Semaphore(0)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(1000):
            assert self.go.acquire(timeout=PATIENT_S)
            yield Frame(picture("red", index), f"camera 0#{index}", index, time.monotonic())


def test_the_page_shows_what_is_classified(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = StepByStep()
    monkeypatch.setattr(sources, "open_source", lambda spec, on_bad, short_side: camera)
    ended: list[int] = []
    thread = threading.Thread(
        target=lambda: ended.append(run(tiny_bundle, "--source", "usb:0", "--web", "0", "--limit", "60", "--top", "2"))
    )
    thread.start()
    try:
        told, deadline = "", time.monotonic() + PATIENT_S
        while not (found := re.search(r"live page at (http://127\.0\.0\.1:\d+/)\n", told)):
            assert time.monotonic() < deadline, told
            told += capsys.readouterr().err
            time.sleep(0.01)
        with Watcher(found[1]) as watcher:
            state: dict[str, Any] = {}
            while state.get("label") is None:
                assert time.monotonic() < deadline, state
                camera.go.release()
                state = watcher.look()[0]
                watcher.more()
        assert state["label"] == "red"
        assert state["source"] == "usb:0"
        assert len(state["predictions"]) == 2
        assert "XNNPACK" in state["runtime"]
    finally:
        while thread.is_alive():
            assert time.monotonic() < deadline + PATIENT_S
            camera.go.release()
            thread.join(0.02)
    assert ended == [0]


def test_frames_are_collected_in_class_folders_and_counted_at_the_end(
    tiny_bundle: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "next training"
    assert run(tiny_bundle, "--source", video, "--save", "all", "--save-to", folder) == 0
    assert sorted(path.parent.name for path in folder.glob("*/*.png")) == ["blue", "green", "red"]
    assert "frames for the next training: 3 saved, 3 like a saved one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--save-to", "x"], "--save-to needs --save"),
        (["--save", "sometimes"], "uncertain, all"),
        (["--web-token", "0123456789abcdef"], "--web-token needs --web"),
        (["--web", "127.0.0.1"], "expected [ADDRESS:]PORT"),
        (["--web", "0", "--web-token", "short"], "at least 16"),
    ],
)
def test_options_that_make_no_sense_are_one_line_and_status_2(
    tiny_bundle: Path, video: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = run(tiny_bundle, "--source", video, *options)
    except SystemExit as stop:
        status = int(stop.code or 0)
    err = capsys.readouterr().err
    assert status == 2
    assert told in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_told_and_the_source_let_go(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = ScriptedCamera(picture("red"))
    monkeypatch.setattr(sources, "open_source", lambda spec, on_bad, short_side: camera)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(tiny_bundle, "--source", "usb:0", "--web", taken.getsockname()[1]) == 1
    assert "Address already in use" in capsys.readouterr().err
    assert camera.closed.is_set()


def test_a_directory_of_slots_stands_for_its_active_model(
    good_bundle: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slots = create_slots(tmp_path / "models")
    staging = slots.stage()
    shutil.copytree(good_bundle, staging, dirs_exist_ok=True)
    slots.switch(slots.receive(staging).slot)
    assert run(tmp_path / "models", "--source", video, "--json") == 0
    labels = [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()]
    assert labels == ["red", "red", "green", "green", "blue", "blue"]


def test_a_key_that_comes_while_the_runner_runs_counts_for_the_model_that_comes_with_it(
    make_bundle: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys are changed as docs/deploy.md says, and no restart is needed."""
    slots = create_slots(tmp_path / "models")
    (slots.root / "keys").mkdir()

    def deployed(name: str) -> Path:
        path = make_bundle(name, license=name)
        private, public = new_key(tmp_path / f"of {name}")
        sign(path, private)
        shutil.copy(public, slots.root / "keys")
        slots.switch(slots.receive(path).slot)
        return slots.current()

    deployed("first")
    parser = argparse.ArgumentParser()
    run_command.configure(parser)
    model = run_command._open_model(parser.parse_args([str(slots.root), "--source", "usb:0"]))
    try:
        second, deadline = deployed("second"), time.monotonic() + PATIENT_S
        while model.current().bundle.path != second:
            assert time.monotonic() < deadline, capsys.readouterr().err
            time.sleep(0.01)
    finally:
        model.close()


def test_a_new_model_that_lacks_a_reject_class_does_not_keep_a_runner_from_starting(
    make_bundle: Callable[..., Path], video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A power cut right after a deploy: the service must come up with the old model, not end for good."""
    slots = create_slots(tmp_path / "models")
    good, other = (
        slots.receive(make_bundle(f"of {labels[0]}", labels)).slot
        for labels in (("red", "green", "blue"), ("one", "two", "three"))
    )
    slots.switch(good)
    slots.switch(other)
    assert run(slots.root, "--source", video, "--reject", "typo") == 2
    assert slots.current() == other, "a misspelt label is no fault of the model's"
    assert run(slots.root, "--source", video, "--reject", "red") == 0
    assert "expected a class of the model to reject, found 'red'" in capsys.readouterr().err
    assert slots.current() == good
    slots.switch(other)
    slots.prove(other)
    assert run(slots.root, "--source", video, "--reject", "red") == 2
    assert slots.current() == other, "a model that has proved itself is not given up for an option"


def test_a_runner_that_demands_signatures_refuses_others(
    tiny_bundle: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = new_key(tmp_path / "mine")
    _, other = new_key(tmp_path / "other")
    capsys.readouterr()
    assert run(tiny_bundle, "--source", video, "--require-signature", public) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    sign(tiny_bundle, private)
    assert run(tiny_bundle, "--source", video, "--require-signature", other) == 1
    assert run(tiny_bundle, "--source", video, "--require-signature", other, "--require-signature", public) == 0


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        yield listening


def said(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_a_service_says_when_it_is_ready_alive_and_going(
    tiny_bundle: Path, video: Path, manager: socket.socket
) -> None:
    assert run(tiny_bundle, "--source", video) == 0
    messages = said(manager)
    assert messages[0].startswith("READY=1")
    assert "WATCHDOG=1" in messages
    assert messages[-1].startswith("STOPPING=1")


def test_a_fault_that_no_restart_mends_has_a_status_of_its_own_in_a_service(
    tiny_bundle: Path, video: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny_bundle / "model.tflite").write_bytes(b"")
    assert run(tiny_bundle, "--source", video) == 78
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert run(tiny_bundle, "--source", video) == 1


def test_a_camera_that_is_missing_is_worth_another_start(
    tiny_bundle: Path, manager: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_bundle, "--source", "usb:77") == 1
    assert not any(message.startswith("READY=1") for message in said(manager))


class Stubborn(ScriptedCamera):
    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no such device")
        yield


def test_a_camera_that_is_being_opened_again_is_no_dead_service(
    tiny_bundle: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    opened = []

    def open_source(spec: str, on_bad: Any, short_side: int) -> ScriptedCamera:
        opened.append(spec)
        return Stubborn() if len(opened) < 3 else ScriptedCamera(picture("red", 1))

    monkeypatch.setattr(sources, "open_source", open_source)
    assert run(tiny_bundle, "--source", "usb:0", "--limit", "1") == 0
    messages = said(manager)
    # 0.5 s and 1 s of waiting, a sign of life every 0.1 s of turns that take 0.2 s.
    assert messages.count("WATCHDOG=1") >= 5
    assert any(message.startswith("STATUS=") and "opened again" in message for message in messages)


def test_the_status_of_a_service_shows_no_password(
    tiny_bundle: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "open_source", lambda spec, on_bad, short_side: ScriptedCamera(picture("red", 0)))
    assert run(tiny_bundle, "--source", "rtsp://user:secret@10.0.0.7/?key=secret", "--limit", "1") == 0
    messages = said(manager)
    assert messages[0] == "READY=1\nSTATUS=classifying camera 0"
    assert "secret" not in "".join(messages)


class Gone(io.StringIO):
    """A stream that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_nobody_who_reads_stderr_is_no_reason_to_stop(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras = [ScriptedCamera(picture("red", 0), SourceError("camera 0 is gone")), ScriptedCamera(picture("blue", 1))]
    monkeypatch.setattr(sources, "open_source", lambda spec, on_bad, short_side: cameras.pop(0))
    monkeypatch.setattr(sys, "stderr", Gone())
    assert run(tiny_bundle, "--source", "usb:0", "--limit", "2", "--json") == 0
    assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == ["red", "blue"]
