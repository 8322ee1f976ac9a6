# SPDX-License-Identifier: Apache-2.0
"""Collecting frames never harms the classifier: no waiting, no exception, and every wanted frame is accounted for."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device import bundle as bundles
from device import frame_saver
from device.bundle import Bundle
from device.errors import LitesightError
from device.frame_saver import MIN_DISTANCE, FrameSaver
from device.frame_store import FrameStore, Outcome, Shot
from device.frames import Frame
from device.images import read_image
from device.postprocess import top_k
from device.preprocess import PixelFormat
from device.results import Classification, Result, StageTimes
from device.save_rule import SaveRule, parse_rule

REPOSITORY = Path(__file__).parents[2]
PLENTY = 1 << 40
LONG_S = 60.0

MakeSaver = Callable[..., FrameSaver]


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return bundles.load(tiny_bundle)


@pytest.fixture
def said() -> list[str]:
    """What the saver reported."""
    return []


@pytest.fixture
def make_saver(tmp_path: Path, said: list[str]) -> Iterator[MakeSaver]:
    """``make_saver(rule, **options)``: into tmp_path/frames, closed at the end."""
    savers = []

    def make(rule: str = "all", limit_bytes: int = PLENTY, **options: Any) -> FrameSaver:
        saver = FrameSaver(tmp_path / "frames", parse_rule(rule), limit_bytes, MIN_DISTANCE, said.append, **options)
        savers.append(saver)
        return saver

    yield make
    for saver in savers:
        saver.close(LONG_S)
        assert not saver._thread.is_alive()


def scene(seed: int) -> NDArray[np.uint8]:
    """A picture that looks like no other, RGB."""
    coarse = np.random.default_rng(seed).uniform(40, 215, (6, 8, 3))
    return cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def result_of(bundle: Bundle, pixels: NDArray[Any], index: int = 0, likeliest: str = "red") -> Result:
    scores = np.array([100 if each == likeliest else -20 for each in bundle.labels], np.int8)
    predictions = top_k(scores, bundle.labels, bundle.manifest.output, 3)
    classification = Classification(predictions, StageTimes(0, 0, 0), scores)
    frame = Frame(pixels, f"test#{index}", index, time.monotonic())
    return Result(frame, classification, predictions, likeliest, np.zeros((16, 16, 3), np.int8), bundle)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text(encoding="ascii").splitlines()]


class HangingDisk:
    """Every save waits for :attr:`go_on`, as on a card that is busy with itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hangs, self.go_on = threading.Event(), threading.Event()
        save = FrameStore.save

        def wait(store: FrameStore, shot: Shot) -> Outcome:
            self.hangs.set()
            assert self.go_on.wait(LONG_S)
            return save(store, shot)

        monkeypatch.setattr(FrameStore, "save", wait)


def has_dropped(saver: FrameSaver, count: int) -> bool:
    return saver.dropped == count


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_frames_are_copied_before_their_memory_is_used_again(
    make_saver: MakeSaver, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HangingDisk(monkeypatch)
    memory = scene(0).copy()
    before = time.time()
    with make_saver() as saver:
        for index in range(3):
            memory[:] = scene(index)
            result = result_of(bundle, memory, index)
            saver.offer(result)
            result.classification.output[:] = 0
        memory[:] = 0
        disk.go_on.set()
        saver.close(LONG_S)
    assert (saver.saved, saver.duplicates, saver.dropped) == (3, 0, 0)
    for index, line in enumerate(lines(tmp_path / "frames")):
        assert line["frame"]["index"] == index
        assert line["scores"] == [100, -20, -20]
        assert np.array_equal(read_image(tmp_path / "frames" / line["file"]), scene(index))
        taken = time.mktime(time.strptime(line["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        assert before - 2 < taken < time.time() + 1


def test_a_slow_disk_makes_frames_drop_and_nobody_wait(
    make_saver: MakeSaver, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HangingDisk(monkeypatch)
    saver = make_saver()
    for index in range(100):
        saver.offer(result_of(bundle, scene(index), index))  # would hang here
        if index == 0:
            assert disk.hangs.wait(LONG_S)
    # One is being saved and four are queued.
    assert saver.dropped == 95
    disk.go_on.set()
    saver.close(LONG_S)
    assert (saver.saved, saver.duplicates, saver.dropped) == (5, 0, 95)


def test_where_waiting_costs_no_frame_all_are_saved(
    make_saver: MakeSaver, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HangingDisk(monkeypatch)
    saver = make_saver(patient=True)

    def offer_all() -> None:
        for index in range(12):
            saver.offer(result_of(bundle, scene(index), index))

    offering = threading.Thread(target=offer_all)
    offering.start()
    assert disk.hangs.wait(LONG_S)
    disk.go_on.set()
    offering.join(LONG_S)
    saver.close(LONG_S)
    assert (saver.saved, saver.dropped) == (12, 0)


def test_closing_does_not_wait_for_a_disk_that_hangs_and_leaves_no_half_file(
    make_saver: MakeSaver, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renaming, go_on = threading.Event(), threading.Event()
    rename = Path.rename

    def hang(path: Path, target: Path) -> Path:
        renaming.set()
        assert go_on.wait(LONG_S)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", hang)
    saver = make_saver()
    for index in range(3):
        saver.offer(result_of(bundle, scene(index), index))
    assert renaming.wait(LONG_S)
    saver.close(0.05)  # would hang here
    assert saver._thread.is_alive()
    assert list((tmp_path / "frames").rglob("*.png")) == []
    saver.offer(result_of(bundle, scene(3)))
    go_on.set()
    saver._thread.join(LONG_S)
    # The one in hand is whole; the queue and what came later are not begun.
    assert (saver.saved, saver.dropped) == (1, 3)
    assert len(lines(tmp_path / "frames")) == len(list((tmp_path / "frames").rglob("*.png"))) == 1


def test_what_is_queued_is_saved_when_the_run_ends(make_saver: MakeSaver, bundle: Bundle) -> None:
    saver = make_saver()
    for index in range(4):
        saver.offer(result_of(bundle, scene(index), index))
    saver.close(LONG_S)
    saver.close(LONG_S)
    assert (saver.saved, saver.dropped) == (4, 0)
    saver.offer(result_of(bundle, scene(4)))
    assert saver.dropped == 1


def test_a_full_disk_is_told_once_and_saving_goes_on_when_there_is_room(
    make_saver: MakeSaver, bundle: Bundle, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_saver, "_FIRST_PAUSE_S", 0.0)
    saver = make_saver()
    rename = Path.rename
    for index in range(3):
        with pytest.MonkeyPatch.context() as patch:

            def refuse(path: Path, target: Path) -> Path:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

            patch.setattr(Path, "rename", refuse)
            saver.offer(result_of(bundle, scene(index), index))
            wait_until(partial(has_dropped, saver, index + 1))
    assert Path.rename is rename
    folder = tmp_path / "frames"
    assert said == [
        f"no frames are saved for now: cannot write {folder}: No space left on device "
        "(free some space or choose another disk)"
    ]
    assert list(folder.rglob("*")) == []
    saver.offer(result_of(bundle, scene(0), 3))
    saver.close(LONG_S)
    assert said[1:] == ["frames are saved again"]
    assert (saver.saved, saver.dropped, len(lines(folder))) == (1, 3, 1)


def test_during_a_pause_frames_are_not_even_copied(
    make_saver: MakeSaver, bundle: Bundle, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = make_saver(limit_bytes=10, patient=True)
    saver.offer(result_of(bundle, scene(0)))
    wait_until(lambda: saver.dropped == 1)

    def copied(*_: object) -> Shot:
        raise AssertionError("copied")

    monkeypatch.setattr(frame_saver, "_shot", copied)
    for index in range(5):
        saver.offer(result_of(bundle, scene(index)))
    assert saver.dropped == 6
    assert len(said) == 1
    assert "has reached its limit of 10 bytes" in said[0]


def test_pauses_grow_up_to_a_limit_and_begin_anew_after_a_success(
    make_saver: MakeSaver, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    fails = True
    save = FrameStore.save

    def sometimes(store: FrameStore, shot: Shot) -> Outcome:
        if fails:
            raise OSError(errno.EIO, "Input/output error")
        return save(store, shot)

    monkeypatch.setattr(FrameStore, "save", sometimes)
    saver = make_saver()
    pauses = []
    for index in range(9):
        saver.offer(result_of(bundle, scene(index), index))
        with saver._changed:
            assert saver._changed.wait_for(partial(has_dropped, saver, index + 1), LONG_S)
        pauses.append(saver._paused_until - now)
        now = saver._paused_until
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    fails = False
    saver.offer(result_of(bundle, scene(20)))
    with saver._changed:
        assert saver._changed.wait_for(lambda: saver.saved == 1, LONG_S)
    fails = True
    saver.offer(result_of(bundle, scene(21)))
    with saver._changed:
        assert saver._changed.wait_for(lambda: saver.dropped == 10, LONG_S)
    assert saver._paused_until - now == 5


def test_what_is_queued_when_a_pause_begins_is_not_tried_one_by_one(
    make_saver: MakeSaver, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, hangs, go_on = [], threading.Event(), threading.Event()

    def fail(store: FrameStore, shot: Shot) -> Outcome:
        tried.append(shot.index)
        hangs.set()
        assert go_on.wait(LONG_S)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(FrameStore, "save", fail)
    saver = make_saver()
    saver.offer(result_of(bundle, scene(0), 0))
    assert hangs.wait(LONG_S)
    for index in range(1, 4):
        saver.offer(result_of(bundle, scene(index), index))
    go_on.set()
    wait_until(partial(has_dropped, saver, 4))
    assert tried == [0]


def test_the_folder_is_what_the_picture_alone_looks_like(make_saver: MakeSaver, bundle: Bundle, tmp_path: Path) -> None:
    smoothed = result_of(bundle, scene(0), likeliest="blue")
    alone = result_of(bundle, scene(0), likeliest="green").classification
    with make_saver() as saver:
        saver.offer(replace(smoothed, classification=alone, label=None))
        saver.close(LONG_S)
    (line,) = lines(tmp_path / "frames")
    assert line["file"].startswith("green/")
    assert line["predictions"][0]["label"] == "blue"
    assert line["label"] is None


def test_one_bad_picture_is_told_and_the_next_is_saved_at_once(
    make_saver: MakeSaver, bundle: Bundle, said: list[str]
) -> None:
    saver = make_saver(patient=True)
    for index in range(3):
        saver.offer(result_of(bundle, np.zeros((4, 4, 7), np.uint8), index))
        saver.offer(result_of(bundle, scene(index), index))
    saver.close(LONG_S)
    assert (saver.saved, saver.dropped) == (3, 3)
    assert len(said) == 1
    assert said[0].startswith("a frame was not saved: ")
    assert "\n" not in said[0]


def test_a_report_that_nobody_reads_stops_nothing(bundle: Bundle, tmp_path: Path) -> None:
    def gone(text: str) -> None:
        raise BrokenPipeError

    with FrameSaver(tmp_path, SaveRule(), PLENTY, MIN_DISTANCE, gone) as saver:
        saver.offer(result_of(bundle, np.zeros((4, 4, 7), np.uint8)))
        saver.offer(result_of(bundle, scene(0)))
        saver.close(LONG_S)
    assert (saver.saved, saver.dropped) == (1, 1)


def test_the_rule_counts_every_result_and_the_counters_add_up(make_saver: MakeSaver, bundle: Bundle) -> None:
    saver = make_saver("every:3", patient=True)
    for index in range(10):
        saver.offer(result_of(bundle, scene(index // 6), index))
    saver.close(LONG_S)
    assert (saver.saved, saver.duplicates, saver.dropped) == (2, 2, 0)
    assert "2 saved, 2 like a saved one (" in saver.summary()


def test_frames_of_another_size_come_out_right_though_memory_is_used_again(
    make_saver: MakeSaver, bundle: Bundle, tmp_path: Path
) -> None:
    saver = make_saver(patient=True)
    frames = [scene(0), scene(1)[:40], scene(2)[..., 0], scene(3)]
    packed = result_of(bundle, np.arange(48 * 64, dtype=np.uint16).reshape(48, 64), 100)
    for index, pixels in enumerate([*frames, *(np.flip(each, axis=0) for each in frames)]):
        result = result_of(bundle, pixels, index)
        if pixels.ndim == 2:
            result = replace(result, frame=replace(result.frame, format=PixelFormat.GREY8))
        saver.offer(result)
    # As many pixels as the grey one has, but two bytes each.
    wait_until(lambda: saver.saved == 8)
    saver.offer(replace(packed, frame=replace(packed.frame, format=PixelFormat.RGB565)))
    saver.close(LONG_S)
    *others, last = lines(tmp_path / "frames")
    assert len(np.unique(read_image(tmp_path / "frames" / last["file"]).reshape(-1, 3), axis=0)) == 48 * 64
    for line, pixels in zip(others, [*frames, *(np.flip(f, axis=0) for f in frames)], strict=True):
        found = read_image(tmp_path / "frames" / line["file"])
        assert np.array_equal(found if pixels.ndim == 3 else found[..., 1], pixels)


@pytest.mark.skipif(sys.platform != "linux", reason="niceness of one thread is Linux's")
def test_the_classifier_goes_first(make_saver: MakeSaver, monkeypatch: pytest.MonkeyPatch) -> None:
    nice: list[int] = []
    asked = threading.Event()

    def ask(store: FrameStore) -> None:
        nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        asked.set()

    monkeypatch.setattr(FrameStore, "refresh", ask)
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    make_saver()
    assert asked.wait(LONG_S)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
    assert nice == [min(19, before + 10)]


def test_a_place_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    threads = threading.active_count()
    with pytest.raises(LitesightError, match="expected a folder to save frames in, found the file"):
        FrameSaver(tmp_path / "file", SaveRule(), PLENTY, MIN_DISTANCE, print)
    assert threading.active_count() == threads


CHILD = """
import importlib.util, itertools
from pathlib import Path
spec = importlib.util.spec_from_file_location("helpers", {module!r})
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
bundle = helpers.bundles.load(Path({bundle!r}))
folder, rule = Path({folder!r}), helpers.SaveRule()
saver = helpers.FrameSaver(folder, rule, helpers.PLENTY, helpers.MIN_DISTANCE, print, patient=True)
for index in itertools.count():
    saver.offer(helpers.result_of(bundle, helpers.scene(index), index))
    if saver.saved >= 20:
        print("go", flush=True)
"""


def test_a_kill_in_the_middle_leaves_whole_files_and_lines(tmp_path: Path, tiny_bundle: Path) -> None:
    folder = tmp_path / "frames"
    code = CHILD.format(module=__file__, bundle=str(tiny_bundle), folder=str(folder))
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "go\n"
        finally:
            child.send_signal(signal.SIGKILL)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*.png")}
    logged = {line["file"] for line in lines(folder)}
    assert len(logged) >= 20
    # A file gets its name before its line, so at most one has none.
    assert logged <= files
    assert len(files - logged) <= 1
    for name in files:
        assert read_image(folder / name).shape == (48, 64, 3)
