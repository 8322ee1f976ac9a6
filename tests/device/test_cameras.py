# SPDX-License-Identifier: Apache-2.0
"""USB cameras, with a stand-in for ``cv2.VideoCapture``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from device import cameras
from device.frames import SourceError, opencv_format
from device.preprocess import PixelFormat
from device.sources import open_source
from tests.device.fake_camera import FakeCapture, picture

Plug = Callable[[FakeCapture], FakeCapture]
RED = cv2.cvtColor(picture("red"), cv2.COLOR_RGB2BGR)


def test_grey_cameras_are_read_as_grey_and_unknown_layouts_are_an_error() -> None:
    assert opencv_format(np.full((4, 6), 9, np.uint8), "camera 0") is PixelFormat.GREY8
    with pytest.raises(SourceError, match=r"camera 0: expected 8-bit .* found uint16 \(4, 6\)"):
        opencv_format(np.zeros((4, 6), np.uint16), "camera 0")


@pytest.mark.parametrize("spec", ["77", "usb:77", "camera:77", "/dev/video77"])
def test_a_camera_that_does_not_exist_is_told_and_opencv_keeps_quiet(
    spec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError, match="camera 77 not found: there is no /dev/video77"):
        open_source(spec)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Plug:
    def plug(capture: FakeCapture) -> FakeCapture:
        monkeypatch.setattr(cameras, "_check_device", lambda number: None)
        monkeypatch.setattr(cameras, "_open_v4l2", lambda number: capture)
        return capture

    return plug


def test_a_usb_camera_delivers_what_opencv_reads_and_a_lost_frame_is_passed_over(plug_in: Plug) -> None:
    capture = plug_in(FakeCapture([RED, None, RED, *[None] * 4, RED]))
    with open_source("usb:0") as source:
        assert (source.live, source.total) == (True, None)
        frames = iter(source)
        got = [next(frames) for _ in range(3)]
        assert all(frame.format is PixelFormat.BGR888 and np.array_equal(frame.pixels, RED) for frame in got)
        assert [frame.name for frame in got] == ["camera 0#0", "camera 0#1", "camera 0#2"]
        with pytest.raises(SourceError, match="5 reads in a row failed"):
            next(frames)
    assert capture.released


def test_a_read_that_took_as_long_as_opencv_waits_is_the_end(plug_in: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "READ_TIMEOUT_S", 0)
    plug_in(FakeCapture([RED, None, RED]))
    with open_source("usb:0") as source:
        frames = iter(source)
        next(frames)
        with pytest.raises(SourceError, match="camera 0 delivers no pictures: a read failed"):
            next(frames)


def test_opencv_writes_into_a_frame_that_was_given_back(plug_in: Plug) -> None:
    capture = plug_in(FakeCapture([RED, RED, RED]))
    with open_source("usb:0") as source:
        frames = iter(source)
        first, second = next(frames), next(frames)
        source.recycle(first)
        third = next(frames)
    assert third.pixels is first.pixels
    assert second.pixels is not first.pixels
    assert [offered is None for offered in capture.offered] == [True, True, False]


def test_a_frame_is_as_old_as_the_driver_says_if_its_clock_is_ours(plug_in: Plug) -> None:
    capture = plug_in(FakeCapture([RED, RED, RED, RED, RED]))
    before = time.monotonic()
    with open_source("usb:0") as source:
        time.sleep(0.02)
        now = time.monotonic()
        first = (now - 0.01) * 1000
        capture.stamps = [first, first, (before - 1) * 1000, (now + 1000) * 1000, 0.0]
        frames = iter(source)
        taken = [next(frames).captured_at for _ in range(5)]
    assert taken[0] == pytest.approx(now - 0.01, abs=1e-4)
    # One that stands still, before the camera was opened, a time to come, and none at all: as old as its delivery.
    assert all(now <= each <= time.monotonic() for each in taken[1:])


class AskedCamera(FakeCapture):
    """Remembers how it was opened and what was asked of it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__([])
        self.arguments = arguments
        self.asked: dict[int, float] = {}

    def set(self, what: int, value: float) -> None:
        self.asked[what] = value


@pytest.mark.skipif(sys.platform != "linux", reason="V4L2 is Linux's")
def test_a_camera_is_asked_for_small_pictures_and_the_newest_and_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", AskedCamera)
    monkeypatch.setenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "")
    monkeypatch.delenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT")
    camera = cameras._open_v4l2(3)
    assert camera.arguments == (3, cv2.CAP_V4L2)
    assert camera.asked == {
        cv2.CAP_PROP_FRAME_WIDTH: 640,
        cv2.CAP_PROP_FRAME_HEIGHT: 480,
        cv2.CAP_PROP_BUFFERSIZE: 1,
    }
    assert os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] == "3"


@pytest.mark.skipif(sys.platform != "linux", reason="V4L2 is Linux's")
def test_why_a_camera_cannot_be_opened_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["video10", "video2", "video-codec", "video0"]
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter(folder / name for name in names))
    with pytest.raises(SourceError, match=r"cameras there are: usb:0, usb:2, usb:10 \("):
        open_source("usb:77")
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SourceError, match="no permission for /dev/video77"):
        open_source("usb:77")


def test_what_others_tell_while_a_camera_is_opened_is_seen(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Opening(AskedCamera):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            os.write(2, b"from another thread")

    monkeypatch.setattr(cv2, "VideoCapture", Opening)
    cameras._open_v4l2(0)
    assert capfd.readouterr().err == "from another thread", "a driver that hangs would keep it for ever"


def test_a_camera_in_use_is_told_and_let_go(plug_in: Plug) -> None:
    capture = plug_in(FakeCapture([], opened=False))
    with pytest.raises(SourceError, match="camera 3 cannot be opened: it is in use"):
        open_source("3")
    assert capture.released
