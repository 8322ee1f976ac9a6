# SPDX-License-Identifier: Apache-2.0
"""Videos: from files, and from addresses in the network."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device import video as videos
from device.errors import UsageError
from device.frames import Frame, SourceError
from device.preprocess import PixelFormat
from device.sources import open_source
from device.video import VideoFile, without_password
from tests.device.fake_camera import COLOURS, FakeCapture, picture


def colour(frame: Frame) -> str:
    assert frame.format is PixelFormat.BGR888
    return COLOURS[::-1][int(frame.pixels.reshape(-1, 3).mean(axis=0).argmax())]


REPOSITORY = Path(__file__).parents[2]
COLOURS_OF_THE_CLIP = ["red", "red", "green", "green", "blue", "blue"]


def test_a_video_is_delivered_to_its_end_in_its_colours(video: Path) -> None:
    with open_source(str(video)) as source:
        frames = list(source)
    assert isinstance(source, VideoFile)
    assert not source._video.isOpened(), "or the file would be held"
    assert (source.live, source.total) == (False, 6)
    assert [colour(frame) for frame in frames] == COLOURS_OF_THE_CLIP
    assert [frame.name for frame in frames] == [f"{video}#{number}" for number in range(6)]
    assert [frame.index for frame in frames] == list(range(6))
    assert frames[0].pixels.shape == (48, 64, 3)
    assert frames[0].pixels.dtype == np.uint8


def test_a_frame_stays_as_it_was_until_it_is_given_back_and_then_its_memory_is_used(video: Path) -> None:
    with open_source(str(video)) as source:
        frames = iter(source)
        first, second = next(frames), next(frames)
        kept = first.pixels.copy()
        source.recycle(second)
        third = next(frames)
        assert np.shares_memory(third.pixels, second.pixels)
        assert colour(third) == "green"
        list(frames)
        assert np.array_equal(first.pixels, kept)


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


@pytest.mark.parametrize("name", ["2026-11-24T18:03:12.mkv", "http:clip.mkv"])
def test_a_colon_in_the_name_of_a_file_is_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "clip.mkv"), cv2.VideoWriter.fourcc(*"FFV1"), 10.0, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    (tmp_path / "clip.mkv").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_source(name) as source:
        assert [frame.name for frame in source] == [f"{name}#0"]


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
    assert [colour(frame) for frame in frames[:3]] == COLOURS_OF_THE_CLIP[:3]


def test_a_cut_video_does_not_make_ffmpeg_chatter(cut_video: Path) -> None:
    # In a process of its own: FFmpeg reads its log level once, and the fixture has used it here already.
    code = "import sys; from device.sources import open_source; print(len(list(open_source(sys.argv[1]))))"
    child = subprocess.run(
        [sys.executable, "-c", code, str(cut_video)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (child.returncode, child.stderr) == (0, "")
    assert int(child.stdout) >= 3


@contextmanager
def served(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server on loopback that ends with the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Quiet:
    def log_message(self, *arguments: Any) -> None:
        pass


class QuietFiles(Quiet, SimpleHTTPRequestHandler):
    pass


class Stream(Quiet, BaseHTTPRequestHandler):
    """Motion JPEG as network cameras send it: six pictures, then the connection breaks off."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(6):
            ok, data = cv2.imencode(".jpg", cv2.cvtColor(picture("blue", number), cv2.COLOR_RGB2BGR))
            assert ok
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data.tobytes() + b"\r\n")


def test_a_video_behind_an_address_is_a_video(video: Path) -> None:
    with served(partial(QuietFiles, directory=video.parent)) as address:  # noqa: SIM117
        with open_source(f"{address}/{video.name}") as source:
            assert not source.live
            assert [colour(frame) for frame in source] == COLOURS_OF_THE_CLIP


class BreaksOff(Quiet, BaseHTTPRequestHandler):
    """Promises a whole video and delivers the first half."""

    data = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        self.wfile.write(self.data[: len(self.data) // 2])


def test_a_video_behind_an_address_that_breaks_off_is_no_success(tmp_path: Path) -> None:
    # Larger than what FFmpeg wants to see before it believes in a video.
    writer = cv2.VideoWriter(str(tmp_path / "long.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    for number in range(120):
        writer.write(cv2.cvtColor(picture("red", number, 240, 320), cv2.COLOR_RGB2BGR))
    writer.release()
    BreaksOff.data = (tmp_path / "long.avi").read_bytes()
    with served(BreaksOff) as address, open_source(f"{address}/long.avi") as source:
        frames = iter(source)
        assert colour(next(frames)) == "red"
        with pytest.raises(SourceError, match=r"long\.avi broke off after \d\d of about 120 frames"):
            list(frames)


def test_a_stream_is_live_and_ends_when_it_breaks_off() -> None:
    with served(Stream) as address, open_source(f"{address}/stream?token=secret") as source:
        assert source.live
        assert source.name == f"{address}/stream?…"
        colours = [colour(frame) for frame in source]
    assert set(colours) == {"blue"}
    assert len(colours) >= 4


def test_an_address_at_which_nobody_answers_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "OPEN_TIMEOUT_MS", 300)
    monkeypatch.setattr(videos, "READ_TIMEOUT_MS", 300)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for scheme in ("http", "rtsp"):
            with pytest.raises(SourceError, match=rf"^{scheme}://…@127\.0\.0\.1:{port}/x: expected a video") as caught:
                open_source(f"{scheme}://user:secret@127.0.0.1:{port}/x")
            assert "secret" not in str(caught.value)


def test_an_address_that_refuses_is_one_line_without_the_password(tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    source = f"http://user:secret@127.0.0.1:{port}/"
    # In a process of its own: FFmpeg reads its log level once, and other tests have used it here already.
    command = [sys.executable, "litesight.py", "run", str(tiny_bundle), "--source", source]
    child = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (child.returncode, child.stdout) == (1, "")
    runtime, error = child.stderr.splitlines()
    assert "XNNPACK" in runtime
    assert error.startswith(f"litesight: error: http://…@127.0.0.1:{port}/: expected a video")


def test_what_others_tell_while_an_address_is_opened_is_seen(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Slow(FakeCapture):
        def read(self, image: Any = None) -> Any:
            os.write(2, b"from another thread")
            return super().read(image)

    monkeypatch.setattr(videos, "_open", lambda address, network: Slow([picture("red")]))
    assert open_source("rtsp://host/stream").live
    assert capfd.readouterr().err == "from another thread"


@pytest.mark.parametrize("address", ["ftp://host/clip.mp4", "file:///etc/passwd", "concat://a|b"])
def test_only_addresses_of_cameras_are_taken(address: str) -> None:
    with pytest.raises(UsageError, match=r"expected an address that starts with rtsp://, rtsps://, http://, https://"):
        open_source(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://host/stream", "rtsp://host/stream"),
        ("rtsp://user:pass@host:554/a@b", "rtsp://…@host:554/a@b"),
        ("rtsp://user:p@ss@host/", "rtsp://…@host/"),
        ("http://host/x?user=me&pwd=secret", "http://host/x?…"),
        ("http://host/\x1b[31m", "http://host/\\x1b[31m"),
    ],
)
def test_what_is_secret_in_an_address_is_not_shown(address: str, shown: str) -> None:
    assert without_password(address) == shown
