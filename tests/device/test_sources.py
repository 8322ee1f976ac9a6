# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device import cameras
from device.errors import LitesightError, UsageError
from device.frames import SourceError, opencv_to_rgb
from device.sources import open_source

Painter = Callable[..., np.ndarray[Any, Any]]
Saver = Callable[[Path, np.ndarray[Any, Any]], Path]


def brightest(pixels: np.ndarray[Any, Any]) -> int:
    return int(pixels.reshape(-1, 3).mean(axis=0).argmax())


def test_a_photo_is_one_frame_in_rgb(tmp_path: Path, plain: Painter, save: Saver) -> None:
    path = save(tmp_path / "a photo – ü.png", plain("blue", 20, 30))
    before = time.monotonic()
    with open_source(str(path)) as source:
        frames = list(source)
    assert (source.live, source.total, len(frames)) == (False, 1, 1)
    assert np.array_equal(frames[0].pixels, plain("blue", 20, 30))
    assert (frames[0].name, frames[0].index) == (str(path), 0)
    assert before <= frames[0].captured_at <= time.monotonic()


def test_a_folder_delivers_its_photos_sorted(photos: Path) -> None:
    with open_source(str(photos)) as source:
        frames = list(source)
    assert source.total == 3
    assert [Path(frame.name).name for frame in frames] == ["blue.png", "green.png", "red.png"]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [brightest(frame.pixels) for frame in frames] == [2, 1, 0]


def test_a_bad_photo_in_a_folder_is_reported_and_the_others_are_delivered(photos: Path) -> None:
    (photos / "green" / "a note.jpg").write_text("not a photo")
    bad: list[LitesightError] = []
    with open_source(str(photos), on_bad=bad.append) as source:
        assert [frame.index for frame in source] == [0, 1, 2]
    assert len(bad) == 1
    assert "a note.jpg" in str(bad[0])


def test_a_bad_photo_in_a_folder_is_an_error_where_nobody_listens(photos: Path) -> None:
    (photos / "a.jpg").write_text("not a photo")
    with pytest.raises(LitesightError, match=r"a\.jpg"), open_source(str(photos)) as source:
        list(source)


def test_a_video_is_delivered_to_its_end_in_rgb(video: Path) -> None:
    with open_source(str(video)) as source:
        frames = list(source)
    assert (source.live, source.total) == (False, 6)
    assert [brightest(frame.pixels) for frame in frames] == [0, 0, 1, 1, 2, 2]
    assert [frame.name for frame in frames] == [f"{video}#{number}" for number in range(6)]
    assert frames[0].pixels.shape == (48, 64, 3)
    assert frames[0].pixels.dtype == np.uint8


def test_frames_of_a_video_stay_as_they_were_when_the_next_one_comes(video: Path) -> None:
    with open_source(str(video)) as source:
        frames = iter(source)
        first = next(frames).pixels
        kept = first.copy()
        list(frames)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("", "empty --source"),
        ("usb:x", "camera such as usb:0"),
        ("camera:", "camera such as usb:0"),
        ("picamera2:-1", "camera such as usb:0"),
        ("rtsp://10.0.0.1/stream", "found the address"),
    ],
)
def test_a_source_that_cannot_be_is_a_usage_error(spec: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        open_source(spec)


def test_a_missing_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no source .*nothing\.jpg: no such file"):
        open_source(str(tmp_path / "nothing.jpg"))


def test_a_folder_without_photos_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(SourceError, match="expected a folder of photos, found none"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"a text", b"RIFF\x10\0\0\0AVI LIST", b"\0" * 5000])
def test_a_video_that_cannot_be_decoded_is_told_in_one_line_and_opencv_keeps_quiet(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"clip\.mp4: expected a photo or a video") as caught:
        open_source(str(path))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def cut_video(video: Path) -> Path:
    """Ends within its fifth frame."""
    data = video.read_bytes()
    starts = [match.start() for match in re.finditer(b"00dc", data[: data.index(b"idx1")])]
    video.write_bytes(data[: starts[4] + 20])
    return video


def test_a_cut_video_delivers_what_it_has(cut_video: Path) -> None:
    with open_source(str(cut_video)) as source:
        frames = list(source)
    assert 3 <= len(frames) < 6
    assert [brightest(frame.pixels) for frame in frames[:3]] == [0, 0, 1]


def test_a_cut_video_does_not_make_ffmpeg_chatter(cut_video: Path) -> None:
    # In a process of its own: FFmpeg reads its log level once, and the fixture has used it here already.
    code = "import sys; from device.sources import open_source; print(len(list(open_source(sys.argv[1]))))"
    child = subprocess.run(
        [sys.executable, "-c", code, str(cut_video)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (child.returncode, child.stderr) == (0, "")
    assert int(child.stdout) >= 3


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceError, match="found a pipe or device"):
        open_source(str(tmp_path / "pipe.mp4"))


def test_grey_cameras_become_rgb_and_unknown_layouts_an_error() -> None:
    assert opencv_to_rgb(np.full((4, 6), 9, np.uint8), "camera 0").shape == (4, 6, 3)
    with pytest.raises(SourceError, match=r"camera 0: expected 8-bit .* found uint16 \(4, 6\)"):
        opencv_to_rgb(np.zeros((4, 6), np.uint16), "camera 0")


@pytest.mark.parametrize("spec", ["77", "usb:77", "camera:77", "/dev/video77"])
def test_a_camera_that_does_not_exist_is_told_and_opencv_keeps_quiet(
    spec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError, match="camera 77 not found: there is no /dev/video77"):
        open_source(spec)
    assert capfd.readouterr() == ("", "")


class FakeCapture:
    """What the kit uses of ``cv2.VideoCapture``; ``reads`` are BGR pictures, or None for a read that fails."""

    def __init__(self, reads: list[np.ndarray[Any, Any] | None], opened: bool = True) -> None:
        self.reads, self.opened, self.released = reads, opened, False

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.opened

    def read(self) -> tuple[bool, np.ndarray[Any, Any] | None]:
        pixels = self.reads.pop(0) if self.reads else None
        return pixels is not None, pixels

    def release(self) -> None:
        self.released = True


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeCapture], FakeCapture]:
    def plug(capture: FakeCapture) -> FakeCapture:
        monkeypatch.setattr(cameras, "_check_device", lambda number: None)
        monkeypatch.setattr(cameras, "_open_v4l2", lambda number: capture)
        return capture

    return plug


def test_a_usb_camera_delivers_rgb_and_a_lost_frame_is_passed_over(
    plug_in: Callable[[FakeCapture], FakeCapture], plain: Painter
) -> None:
    red = cv2.cvtColor(plain("red"), cv2.COLOR_RGB2BGR)
    capture = plug_in(FakeCapture([red, None, red, *[None] * 4, red]))
    with open_source("usb:0") as source:
        assert (source.live, source.total) == (True, None)
        frames = iter(source)
        got = [next(frames) for _ in range(3)]
        assert [brightest(frame.pixels) for frame in got] == [0, 0, 0]
        assert [frame.name for frame in got] == ["camera 0#0", "camera 0#1", "camera 0#2"]
        with pytest.raises(SourceError, match="5 reads in a row failed"):
            next(frames)
    assert capture.released


def test_a_camera_in_use_is_told_and_let_go(plug_in: Callable[[FakeCapture], FakeCapture]) -> None:
    capture = plug_in(FakeCapture([], opened=False))
    with pytest.raises(SourceError, match="camera 3 cannot be opened: it is in use"):
        open_source("3")
    assert capture.released


def test_importing_the_sources_does_not_import_opencv() -> None:
    code = "import sys, device.sources, device.commands.run, device.commands.bench; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
