# SPDX-License-Identifier: Apache-2.0
"""A collection of frames: whole files or none, no duplicates, never more than its limit."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device import bundle as bundles
from device import frame_files, frame_store
from device.bundle import Bundle
from device.errors import LitesightError
from device.frame_files import LOG, logged_frames, saved_frames
from device.frame_store import RESERVE_BYTES, FrameStore, NoRoomError, Outcome, Shot
from device.images import read_image
from device.manifest import OutputSpec
from device.postprocess import top_k
from device.preprocess import InputSpec, PixelFormat, Preprocessor

REPOSITORY = Path(__file__).parents[2]
PLENTY = 1 << 40
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return bundles.load(tiny_bundle)


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path / "frames", PLENTY, 6)


def scene(seed: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A picture that looks like no other, RGB."""
    coarse = np.random.default_rng(seed).uniform(40, 215, (6, 8, 3))
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def shot(bundle: Bundle, pixels: NDArray[Any], likeliest: str = "red", **changes: Any) -> Shot:
    scores = np.array([100 if each == likeliest else -20 for each in bundle.labels], np.int8)
    predictions = top_k(scores, bundle.labels, bundle.manifest.output, 3)
    values: dict[str, Any] = {
        "pixels": pixels,
        "format": PixelFormat.RGB888,
        "name": "usb:0#7",
        "index": 7,
        "taken_at": 1_764_007_392.25,
        "label": likeliest,
        "predictions": predictions,
        "likeliest": likeliest,
        "scores": scores,
        "bundle": bundle,
    }
    return Shot(**values | changes)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` and what is in it; a folder has an entry without content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="ascii").splitlines()]


def test_a_frame_and_its_line_say_what_the_network_saw_and_said(store: FrameStore, bundle: Bundle) -> None:
    pixels = scene(0)
    assert store.save(shot(bundle, pixels, "green", label=None)) is Outcome.SAVED
    (path,) = pictures(store.folder)
    assert re.fullmatch(
        r"green/20251124T180312\.250000Z-000007-[0-9a-f]{16}\.png", path.relative_to(store.folder).as_posix()
    )
    assert np.array_equal(read_image(path), pixels)
    (line,) = lines(store.folder)
    assert line["file"] == path.relative_to(store.folder).as_posix()
    assert line["time"] == "2025-11-24T18:03:12.250000Z"
    assert line["frame"] == {"name": "usb:0#7", "index": 7, "width": 64, "height": 48, "format": "RGB888"}
    assert line["label"] is None
    assert line["model"] == {"name": "tiny", "sha256": bundle.model_sha256}
    # From the line alone: the input, the answer.
    spec = line["input"]
    assert InputSpec(spec["height"], spec["width"], spec["channels"], spec["color"]) == bundle.manifest.input
    again = top_k(np.array(line["scores"], np.int8), bundle.labels, OutputSpec(**line["output"]), 3)
    assert again[0].label == "green"
    assert [(each["index"], each["label"]) for each in line["predictions"]] == [(p.index, p.label) for p in again]


FORMATS: dict[PixelFormat, Callable[[np.random.Generator], NDArray[Any]]] = {
    PixelFormat.RGB888: lambda random: random.integers(0, 256, (38, 64, 3), np.uint8),
    PixelFormat.BGR888: lambda random: random.integers(0, 256, (38, 64, 3), np.uint8),
    PixelFormat.GREY8: lambda random: random.integers(0, 256, (38, 64, 1), np.uint8),
    PixelFormat.RGB565: lambda random: random.integers(0, 65536, (38, 64), np.uint16),
    PixelFormat.RGB565_BE: lambda random: random.integers(0, 256, (38, 64, 2), np.uint8),
    PixelFormat.YUYV: lambda random: random.integers(0, 256, (38, 64, 2), np.uint8),
}


@pytest.mark.parametrize("format", FORMATS)
def test_the_saved_picture_gives_the_network_the_same_bytes(
    store: FrameStore, bundle: Bundle, format: PixelFormat
) -> None:
    for seed in range(5):
        frame = FORMATS[format](np.random.default_rng(seed))
        kept = frame.copy()
        assert store.save(shot(bundle, frame, format=format, index=seed)) is Outcome.SAVED
        assert np.array_equal(frame, kept)
        saved = read_image(next(store.folder.rglob(f"*-00000{seed}-*.png")))
        preprocess = Preprocessor(InputSpec(20, 20))
        assert np.array_equal(preprocess(saved), preprocess(frame, format))


def test_what_looks_like_a_kept_frame_of_its_class_is_not_kept_again(store: FrameStore, bundle: Bundle) -> None:
    assert store.save(shot(bundle, scene(0))) is Outcome.SAVED
    brighter = cv2.add(scene(0), np.full_like(scene(0), 10)).astype(np.uint8)
    before = tree(store.folder)
    assert store.save(shot(bundle, scene(0))) is Outcome.DUPLICATE
    assert store.save(shot(bundle, brighter)) is Outcome.DUPLICATE
    assert tree(store.folder) == before
    # Another answer to the same scene teaches something.
    assert store.save(shot(bundle, brighter, "blue")) is Outcome.SAVED
    assert store.save(shot(bundle, scene(1))) is Outcome.SAVED
    assert len(pictures(store.folder)) == len(lines(store.folder)) == 3


def test_a_distance_of_zero_keeps_everything(tmp_path: Path, bundle: Bundle) -> None:
    store = FrameStore(tmp_path, PLENTY, 0)
    assert [store.save(shot(bundle, scene(0), index=n)) for n in range(3)] == [Outcome.SAVED] * 3


@pytest.mark.parametrize("lost", ["nothing", "log", "deleted", "moved", "moved down and log"])
def test_a_restart_does_not_collect_the_same_again(store: FrameStore, bundle: Bundle, lost: str) -> None:
    """The files remember, and where a user has tidied up the log does."""
    store.save(shot(bundle, scene(0)))
    (path,) = pictures(store.folder)
    if lost == "log":
        (store.folder / LOG).unlink()
    elif lost == "deleted":
        path.unlink()
    elif lost == "moved":
        (store.folder / "blue").mkdir()
        path.rename(store.folder / "blue" / path.name)
    elif lost == "moved down and log":
        (store.folder / LOG).unlink()
        (path.parent / "monday" / "noon").mkdir(parents=True)
        path.rename(path.parent / "monday" / "noon" / path.name)
    again = FrameStore(store.folder, PLENTY, 6)
    assert again.save(shot(bundle, scene(0))) is Outcome.DUPLICATE
    assert again.save(shot(bundle, scene(1))) is Outcome.SAVED
    if lost == "moved":
        assert again.save(shot(bundle, scene(0), "blue")) is Outcome.DUPLICATE


def test_the_folder_never_holds_more_than_its_limit_whoever_filled_it(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "red" / "my own").mkdir(parents=True)
    (tmp_path / "red" / "my own" / "photo.jpg").write_bytes(bytes(20_000))
    store = FrameStore(tmp_path, 60_000, 6)
    saved = 0

    def fill() -> None:
        nonlocal saved
        for saved in range(1000):
            store.save(shot(bundle, scene(saved), index=saved))

    with pytest.raises(NoRoomError, match=r"has reached its limit of 60 kB \(move frames away or raise --save-limit\)"):
        fill()
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert 50_000 < size <= 60_000
    assert saved == len(pictures(tmp_path)) == len(lines(tmp_path)) > 1
    # Again after a restart; and when room has been made it goes on.
    store = FrameStore(tmp_path, 60_000, 6)
    with pytest.raises(NoRoomError):
        store.save(shot(bundle, scene(2000)))
    (tmp_path / "red" / "my own" / "photo.jpg").unlink()
    assert store.save(shot(bundle, scene(2000))) is Outcome.SAVED


@pytest.mark.parametrize(
    ("total", "free", "fits"),
    [
        (10**12, RESERVE_BYTES + 100_000, True),
        (10**12, RESERVE_BYTES + 100, False),
        (10**9, 50_100_000, True),
        (10**9, 50_000_100, False),
    ],
)
def test_the_rest_of_the_disk_is_left_to_others(
    store: FrameStore, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, total: int, free: int, fits: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(total, total - free, free))
    if fits:
        assert store.save(shot(bundle, scene(0))) is Outcome.SAVED
        return
    with pytest.raises(NoRoomError, match=r"less than \d+ MB are free on the disk of .*frames \(free some space\)"):
        store.save(shot(bundle, scene(0)))
    assert tree(store.folder) == {}


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullAfterSomeBytes(io.FileIO):
    """Takes a part of the first write and refuses the second, as a disk does that fills up."""

    def write(self, data: Any) -> int:
        return super().write(bytes(data)[:100]) if self.tell() == 0 else int(full())


def fail_open(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    opened = os.open

    def refuse(path: Any, *arguments: Any) -> int:
        return int(full()) if str(path).endswith(suffix) else opened(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the class folder cannot be made": lambda patch: patch.setattr(Path, "mkdir", full),
    "the file cannot be made": lambda patch: fail_open(patch, ".partial"),
    "the file is cut": lambda patch: patch.setattr(os, "fdopen", lambda fd, *_, **__: FullAfterSomeBytes(fd, "wb")),
    "the file cannot be named": lambda patch: patch.setattr(Path, "rename", full),
    "the log cannot be opened": lambda patch: fail_open(patch, LOG),
    "the log takes nothing": lambda patch: patch.setattr(os, "write", full),
    "the log is cut": lambda patch: cut_log(patch),
}


def cut_log(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: len(data) // 2]))


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_is_full_at_any_step_leaves_nothing_half_written(
    store: FrameStore, bundle: Bundle, fault: str, is_first: bool
) -> None:
    if is_first:
        store.refresh()
    else:
        store.save(shot(bundle, scene(0), "blue"))
    before = tree(store.folder)
    with pytest.MonkeyPatch.context() as patch:
        FAULTS[fault](patch)
        with pytest.raises(OSError, match="No space left"):
            store.save(shot(bundle, scene(1)))
    after = tree(store.folder)
    after = {name: content for name, content in after.items() if (name, content) != (LOG, b"")}
    assert after == before
    # The frame was not kept, so it is no duplicate; and the log goes on with a whole line.
    assert store.save(shot(bundle, scene(1))) is Outcome.SAVED
    assert len(lines(store.folder)) == len(pictures(store.folder)) == 2 - is_first


CHILD = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import importlib.util
spec = importlib.util.spec_from_file_location("helpers", {module!r})
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
bundle = helpers.bundles.load(Path({bundle!r}))
store = helpers.FrameStore(Path({folder!r}), helpers.PLENTY, 6)
store.save(helpers.shot(bundle, helpers.scene(0)))
for limit in (1, 20, (store.folder / helpers.LOG).stat().st_size + 10, resource.RLIM_INFINITY):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        print(store.save(helpers.shot(bundle, helpers.scene(1, 4, 4) if limit > 1 else helpers.scene(1))).value)
    except OSError as error:
        print(error.errno)
"""


def test_a_limit_of_the_system_on_files_leaves_nothing_half_written_either(tmp_path: Path, tiny_bundle: Path) -> None:
    """Real short writes: RLIMIT_FSIZE lets the first bytes of a file pass and refuses the rest."""
    folder = tmp_path / "frames"
    code = CHILD.format(tests=str(REPOSITORY), module=__file__, bundle=str(tiny_bundle), folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    refused = [str(errno.EFBIG), str(errno.EFBIG), str(errno.ENOSPC)]
    assert done.stdout.split() == [*refused, "saved"]
    assert len(lines(folder)) == len(pictures(folder)) == 2
    assert sorted(path.name for path in folder.iterdir()) == [LOG, "red"]
    assert all(not path.name.startswith(".") for path in folder.rglob("*"))


def test_after_a_cut_line_the_next_one_is_whole(store: FrameStore, bundle: Bundle) -> None:
    store.save(shot(bundle, scene(0)))
    with (store.folder / LOG).open("ab") as stream:
        stream.write(b'{"file": "red/2025')
    again = FrameStore(store.folder, PLENTY, 6)
    assert again.save(shot(bundle, scene(1))) is Outcome.SAVED
    whole = (store.folder / LOG).read_bytes().split(b"\n")
    assert [len(whole), whole[1], whole[3]] == [4, b'{"file": "red/2025', b""]
    assert json.loads(whole[2])["file"] in [
        path.relative_to(store.folder).as_posix() for path in pictures(store.folder)
    ]


NAME = "20251124T180312.250000Z-000007-00000000000000ff.png"


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=40) | st.just(f'{{"file": "a/{NAME}"'.encode()), max_size=8))
def test_whatever_stands_in_the_log_the_whole_lines_are_found(
    tmp_path_factory: pytest.TempPathFactory, junk: list[bytes]
) -> None:
    log = tmp_path_factory.mktemp("log") / LOG
    log.write_bytes(b"\n".join(junk) + f'\n{{"file": "caf\\u00e9/{NAME}", "schema": 1}}\n'.encode())
    found = list(logged_frames(log))
    assert found[-1] == ("café", 255)
    assert all(name in ("a", "café") for name, _ in found)


def test_what_a_crash_or_a_power_cut_left_is_swept_and_nothing_else(store: FrameStore, bundle: Bundle) -> None:
    store.save(shot(bundle, scene(0)))
    (whole,) = pictures(store.folder)
    red = store.folder / "red"
    cut = red / whole.name.replace("-000007-", "-000008-")
    cut.write_bytes(whole.read_bytes()[:-1])
    (red / whole.name.replace("-000007-", "-000009-")).touch()
    stale, fresh = (red / f".{whole.name.replace('-000007-', f'-00001{n}-')}.partial" for n in (0, 1))
    for path in (stale, fresh):
        path.write_bytes(b"half")
    hour_ago = time.time() - 3600
    os.utime(stale, (hour_ago, hour_ago))
    for mine in ("photo.png", ".notes.partial", "empty.png"):
        (red / mine).write_bytes(b"")
        os.utime(red / mine, (hour_ago, hour_ago))
    frames, total = saved_frames(store.folder)
    names = {path.name for path in red.iterdir()}
    assert names == {whole.name, fresh.name, "photo.png", ".notes.partial", "empty.png"}
    assert [(frame.name, frame.folder) for frame in frames] == [(whole.name, "red")]
    assert total == sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())


def test_only_the_last_frames_are_read_for_their_end(
    store: FrameStore, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_files, "_UNPROVEN", 2)
    for index in range(4):
        store.save(shot(bundle, scene(index), taken_at=1e9 + index))
    for path in pictures(store.folder):
        path.write_bytes(path.read_bytes()[:-1])
    # An empty one needs no reading.
    pictures(store.folder)[0].write_bytes(b"")
    frames, _ = saved_frames(store.folder)
    assert [path.name for path in pictures(store.folder)] == sorted(frame.name for frame in frames)
    assert [path.name[:18] for path in pictures(store.folder)] == ["20010909T014641.00"]


def test_links_are_not_followed_out_of_the_folder(store: FrameStore, bundle: Bundle, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "large").write_bytes(bytes(1000))
    (store.folder / "red").symlink_to(elsewhere)
    assert saved_frames(store.folder)[1] < 1000
    with pytest.raises(LitesightError, match=r"expected a class folder, found a file or a link: .*red"):
        store.save(shot(bundle, scene(0)))
    assert store.save(shot(bundle, scene(0), "blue")) is Outcome.SAVED
    assert [path.name for path in elsewhere.iterdir()] == ["large"]


def test_a_log_that_is_a_link_a_pipe_or_a_folder_is_not_written_to(
    store: FrameStore, bundle: Bundle, tmp_path: Path
) -> None:
    log = store.folder / LOG
    (tmp_path / "precious").write_text("mine")
    log.symlink_to(tmp_path / "precious")
    refusal = r"expected a regular file, found a folder, a link or a pipe: .*frames\.jsonl"
    with pytest.raises(LitesightError, match=refusal):
        store.save(shot(bundle, scene(0)))
    with pytest.raises(LitesightError, match=refusal):
        list(logged_frames(log))
    log.unlink()
    store.refresh()
    makers: tuple[Callable[[], None], ...] = (
        lambda: log.symlink_to(tmp_path / "precious"),
        lambda: os.mkfifo(log),
        lambda: log.mkdir(),
    )
    for make in makers:
        make()
        with pytest.raises(LitesightError, match=refusal):
            store.save(shot(bundle, scene(0)))
        log.rmdir() if log.is_dir() else log.unlink()
    assert (tmp_path / "precious").read_text() == "mine"
    assert pictures(store.folder) == []


def test_a_folder_that_vanished_is_not_made_again_but_used_when_it_is_back(
    store: FrameStore, bundle: Bundle, tmp_path: Path
) -> None:
    store.save(shot(bundle, scene(0)))
    store.folder.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(NoRoomError, match=r"frames has vanished or is on another disk \(put the disk back"):
            store.save(shot(bundle, scene(1)))
    assert not store.folder.exists()
    (tmp_path / "away").rename(store.folder)
    assert store.save(shot(bundle, scene(1))) is Outcome.SAVED
    # A new folder knows nothing of the old frames.
    store.folder.rename(tmp_path / "away")
    store.folder.mkdir()
    assert store.save(shot(bundle, scene(0))) is Outcome.SAVED


def test_the_empty_place_of_a_stick_that_was_pulled_out_is_not_filled(
    store: FrameStore, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(shot(bundle, scene(0)))
    identity = frame_store._identity
    monkeypatch.setattr(frame_store, "_identity", lambda folder: (identity(folder)[0] + 1, 2))
    # The same stick under another device number: its log is there.
    assert store.save(shot(bundle, scene(0))) is Outcome.DUPLICATE
    monkeypatch.setattr(frame_store, "_identity", lambda folder: (identity(folder)[0] + 2, 2))
    log = (store.folder / LOG).read_bytes()
    (store.folder / LOG).unlink()
    with pytest.raises(NoRoomError, match="has vanished or is on another disk"):
        store.save(shot(bundle, scene(1)))
    (store.folder / LOG).write_bytes(log)
    assert store.save(shot(bundle, scene(1))) is Outcome.SAVED


@pytest.mark.native  # of the emulated machine /proc is an ordinary folder
def test_a_place_that_takes_no_files_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing" / "there")
    with pytest.raises(LitesightError, match=r"expected a folder to save frames in, found the file .*file"):
        FrameStore(tmp_path / "file", PLENTY, 6)
    with pytest.raises(LitesightError, match=r"cannot write .*file/inside: Not a directory"):
        FrameStore(tmp_path / "file" / "inside", PLENTY, 6)
    # /proc refuses everybody, root too.
    with pytest.raises(LitesightError, match=r"cannot write /proc/frames"):
        FrameStore(Path("/proc/frames"), PLENTY, 6)
    with pytest.raises(LitesightError, match=r"cannot write /proc: "):
        FrameStore(Path("/proc"), PLENTY, 6)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_relative_folder_of_a_directory_that_was_removed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(LitesightError, match="cannot write frames: No such file or directory"):
        FrameStore(Path("frames"), PLENTY, 6)


def test_a_link_to_a_folder_and_a_relative_folder_stay_where_they_were(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path)
    store = FrameStore(Path("link"), PLENTY, 6)
    monkeypatch.chdir("/")
    assert store.save(shot(bundle, scene(0))) is Outcome.SAVED
    assert len(pictures(tmp_path / "disk")) == 1


def test_labels_that_are_no_names_stay_inside(tmp_path: Path, make_bundle: Callable[..., Path]) -> None:
    awkward = bundles.load(make_bundle(labels=("../out", "frames.jsonl", "a/b")))
    store = FrameStore(tmp_path / "frames", PLENTY, 6)
    for label in awkward.labels:
        assert store.save(shot(awkward, scene(0), label)) is Outcome.SAVED
    assert len({path.parent for path in pictures(store.folder)}) == len(lines(store.folder)) == 3
    assert all(path.parent.parent == store.folder for path in pictures(store.folder))
    again = FrameStore(store.folder, PLENTY, 6)
    assert [again.save(shot(awkward, scene(0), label)) for label in awkward.labels] == [Outcome.DUPLICATE] * 3
