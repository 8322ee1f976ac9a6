# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.errors import LitesightError, UsageError
from device.frames import SourceError
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


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("", "empty --source"),
        ("usb:x", "camera such as usb:0"),
        ("camera:", "camera such as usb:0"),
        ("picamera2:-1", "camera such as usb:0"),
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


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceError, match="found a pipe or device"):
        open_source(str(tmp_path / "pipe.mp4"))


def test_importing_the_sources_does_not_import_opencv() -> None:
    code = "import sys, device.sources, device.commands.run, device.commands.bench; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
