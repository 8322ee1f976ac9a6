# SPDX-License-Identifier: Apache-2.0
"""What the bench does around the frames that it times: it looks at the machine and keeps its hands off."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device import bench as bench_module
from device import bench_load, bench_samples
from device.bench import MAX_DURATION_S, MAX_RUNS, Options, bench
from device.bench_cold import cold_start_ms, first_line_ms
from device.bench_load import Watch, busy_seconds, load_average, waited_seconds
from device.bench_samples import MAX_SAMPLES, Samples, steady_figures
from device.classifier import Classifier
from device.errors import LitesightError, UsageError
from device.frames import Closing, Frame
from device.machine import MachineState
from device.postprocess import Prediction
from device.preprocess import PixelFormat
from device.results import Classification, StageTimes


class Clip(Closing):
    """Frames in blue-green-red, as cameras deliver them, which remembers what came back."""

    live = False
    total: int | None = 3
    name = "clip"

    def __init__(self) -> None:
        self.out: list[int] = []
        self.log: list[tuple[str, int]] = []

    def __iter__(self) -> Iterator[Frame]:
        for index in range(3):
            self.log.append(("delivered", index))
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[..., 0] = 220  # blue
            yield Frame(pixels, f"clip#{index}", index, 0.0, PixelFormat.BGR888)

    def recycle(self, frame: Frame) -> None:
        self.log.append(("recycled", frame.index))


@pytest.fixture
def clip(monkeypatch: pytest.MonkeyPatch) -> Clip:
    clip = Clip()
    monkeypatch.setattr(bench_module, "open_source", lambda spec, on_bad: clip)
    return clip


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Prediction]:
    """The likeliest class of every frame that was classified."""
    found: list[Prediction] = []
    classify = Classifier.classify

    def spy(self: Classifier, *args: Any, **kwargs: Any) -> Classification:
        answer = classify(self, *args, **kwargs)
        found.append(answer.predictions[0])
        return answer

    monkeypatch.setattr(Classifier, "classify", spy)
    return found


def test_the_colours_of_a_camera_are_not_swapped(tiny_bundle: Path, clip: Clip, answers: list[Prediction]) -> None:
    bench(tiny_bundle, "clip", Options(threads=(1,), runs=2, warmup=0))
    assert {answer.label for answer in answers} == {"blue"}


def test_every_frame_is_handed_back_before_the_next_one_is_asked_for(tiny_bundle: Path, clip: Clip) -> None:
    bench(tiny_bundle, "clip", Options(threads=(1,), runs=4, warmup=0))
    assert clip.log[:6] == [(what, index) for index in range(3) for what in ("delivered", "recycled")]
    assert len(clip.log) >= 9, "read again from its start"


def test_a_camera_that_ends_is_no_clip_to_begin_anew(
    tiny_bundle: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it was away would be missing in the capture times."""
    monkeypatch.setattr(clip, "live", True)
    with pytest.raises(LitesightError, match=r"^rtsp://…@pi/a stopped delivering pictures"):
        bench(tiny_bundle, "rtsp://me:secret@pi/a", Options((1,), runs=5, warmup=0))


def test_the_password_of_a_camera_does_not_get_into_the_record(tiny_bundle: Path, clip: Clip) -> None:
    record = bench(tiny_bundle, "rtsp://me:secret@pi/a?token=1", Options((1,), runs=5, warmup=0))
    assert record.runs[0].source["name"] == "rtsp://…@pi/a?…"


def test_the_collector_is_off_while_frames_are_timed_and_as_before_afterwards(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    classify = Classifier.classify

    def spy(self: Classifier, *args: Any, **kwargs: Any) -> Classification:
        seen.append(gc.isenabled())
        if len(seen) == 5:
            raise LitesightError("in the middle")
        return classify(self, *args, **kwargs)

    monkeypatch.setattr(Classifier, "classify", spy)
    options = Options(threads=(1,), runs=2, warmup=0)
    assert gc.isenabled()
    bench(tiny_bundle, None, options)
    assert gc.isenabled()
    with pytest.raises(LitesightError, match="in the middle"):
        bench(tiny_bundle, None, options)
    assert gc.isenabled()
    gc.disable()
    try:
        bench(tiny_bundle, None, options)
        assert not gc.isenabled(), "it was off before"
    finally:
        gc.enable()
    assert not any(seen)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock.monotonic)
    return clock


def test_a_duration_ends_by_the_clock_and_not_by_a_number(
    tiny_bundle: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify = Classifier.classify

    def slow(self: Classifier, *args: Any, **kwargs: Any) -> Classification:
        clock.now += 0.5
        return classify(self, *args, **kwargs)

    monkeypatch.setattr(Classifier, "classify", slow)
    run = bench(tiny_bundle, None, Options(threads=(1,), warmup=3, duration_s=10.0)).runs[0]
    assert run.figures["frames_timed"] == 20, "the warm-up does not count"
    assert len(run.stages["invoke"].samples) == 20
    assert run.settings["duration_s"] == 10.0
    assert "runs" not in run.settings
    assert run.conditions is not None
    assert [reading.frame for reading in run.conditions.readings] == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19], "one a second"


def test_a_duration_shorter_than_a_frame_times_one(tiny_bundle: Path) -> None:
    run = bench(tiny_bundle, None, Options(threads=(1,), warmup=0, duration_s=1e-9)).runs[0]
    assert run.figures["frames_timed"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": ()},
        {"threads": (1,) * (MAX_RUNS + 1)},
        {"runs": 0},
        {"runs": MAX_SAMPLES + 1},
        {"duration_s": 0.0},
        {"duration_s": float("nan")},
        {"duration_s": MAX_DURATION_S * 2},
    ],
)
def test_options_that_make_no_record_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Options(**{"threads": (1,), **wrong})


def test_of_a_long_run_every_nth_frame_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_samples, "MAX_SAMPLES", 8)
    samples = Samples(has_capture=True)
    for number in range(100):
        samples.add(StageTimes(preprocess=1.0, invoke=float(number), postprocess=0.0, capture=2.0))
        kept = samples.stages()["invoke"].samples
        assert len(kept) <= 8
        steps = {int(later - earlier) for earlier, later in pairwise(kept)}
        assert len(steps) <= 1, "evenly"
        assert kept[0] == 0.0
    assert samples.frames == 100
    stages = samples.stages()
    assert stages["invoke"].samples == (0.0, 16.0, 32.0, 48.0, 64.0, 80.0, 96.0)
    assert stages["total"].samples == tuple(number + 3.0 for number in stages["invoke"].samples)
    assert stages["capture"].samples == (2.0,) * 7


def test_a_run_that_gets_slower_is_seen() -> None:
    assert steady_figures([10.0] * 39) == {"steady_frames_per_second": None, "slowdown_ratio": None}
    steady = steady_figures([10.0] * 25 + [11.0] * 50 + [20.0] * 25)
    assert steady == {"steady_frames_per_second": 50.0, "slowdown_ratio": 2.0}


def states(monkeypatch: pytest.MonkeyPatch, *found: MachineState) -> None:
    ahead = list(found)
    monkeypatch.setattr(bench_load, "read_state", lambda root: ahead.pop(0) if len(ahead) > 1 else ahead[0])


def test_what_happened_in_between_is_remembered(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    states(
        monkeypatch,
        MachineState(40.0, 0x1_0000, "ondemand", 2400.0),
        MachineState(85.0, 0x4, "ondemand", 1500.0),
        MachineState(None, None, "ondemand", None),
        MachineState(60.0, 0x0, "ondemand", 2400.0),
    )
    watch = Watch(0.25)
    clock.now += 0.9
    watch.between_frames(10)
    clock.now += 0.1
    watch.between_frames(11)
    clock.now += 5
    watch.between_frames(50)
    end = watch.end()
    conditions = watch.conditions()
    assert (watch.before.temperature_c, end.state.temperature_c) == (40.0, 60.0)
    assert (conditions.temperature_max_c, conditions.throttled) == (85.0, 0x1_0004)
    assert [(each.frame, each.temperature_c, each.clock_mhz) for each in conditions.readings] == [
        (11, 85.0, 1500.0),
        (50, None, None),
    ]
    assert conditions.load_1min == 0.25
    assert conditions.busy is False


def test_the_readings_of_a_long_run_are_thinned(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(bench_load, "MAX_READINGS", 4)
    states(monkeypatch, MachineState(None, None, None, None))
    watch = Watch(None)
    for second in range(20):
        clock.now += 1
        watch.between_frames(second)
    assert [reading.frame for reading in watch.conditions().readings] == [0, 8, 16]
    assert watch.conditions().busy is None


def machine(root: Path, *, user: int, idle: int, waited: dict[str, int]) -> None:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  {user} 10 20 {idle} 40 0 0 5 999 0\ncpu0 1 2 3 4\n")
    for thread, nanoseconds in waited.items():
        folder = root / "proc/self/task" / thread
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "schedstat").write_text(f"123456 {nanoseconds} 7\n")


def test_what_others_did_is_computed_from_the_kernels_counts(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    own = iter([5.0, 7.0])
    monkeypatch.setattr("time.process_time", lambda: next(own))
    machine(tmp_path, user=1000, idle=5000, waited={"11": 1_000_000_000, "12": 500_000_000})
    assert busy_seconds(tmp_path) == (1000 + 10 + 20 + 5) / 100, "neither idle, waiting for a disk, nor guests twice"
    assert waited_seconds(tmp_path) == {"11": 1.0, "12": 0.5}
    watch = Watch(None, tmp_path)
    clock.now += 10
    # Thread 12 has ended, 13 is new.
    machine(tmp_path, user=1600, idle=9000, waited={"11": 1_400_000_000, "13": 300_000_000})
    (tmp_path / "proc/self/task/12/schedstat").unlink()
    end = watch.end()
    assert end.others_percent == pytest.approx(100 * (6.0 - 2.0) / (10 * 4))
    assert end.waited_percent == pytest.approx(100 * (0.4 + 0.3) / 10)


def test_a_system_that_counts_nothing_is_unknown(tmp_path: Path, clock: Clock) -> None:
    assert (load_average(tmp_path), busy_seconds(tmp_path), waited_seconds(tmp_path)) == (None, None, {})
    watch = Watch(None, tmp_path)
    clock.now += 10
    end = watch.end()
    assert (end.others_percent, end.waited_percent) == (None, None)


def test_ticks_of_ten_milliseconds_say_nothing_of_a_short_run(tmp_path: Path, clock: Clock) -> None:
    machine(tmp_path, user=1, idle=1, waited={})
    watch = Watch(None, tmp_path)
    clock.now += 0.5
    assert watch.end().others_percent is None


@pytest.mark.parametrize("text", ["", "x y", "0.5"])
def test_the_load_average_is_read_or_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/loadavg").write_text(text)
    assert load_average(tmp_path) == (0.5 if text == "0.5" else None)


def test_this_machine_is_read() -> None:
    assert load_average() is not None
    assert (busy_seconds() or 0) > 0
    assert bench_load.affinity()


def test_the_load_is_read_before_the_first_run_only(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([0.5, 9.0])
    monkeypatch.setattr(bench_module, "load_average", lambda: next(loads))
    record = bench(tiny_bundle, None, Options(threads=(1, 2), runs=1, warmup=0))
    assert [run.conditions.load_1min for run in record.runs if run.conditions] == [0.5, 0.5], (
        "not what we did ourselves"
    )


def test_a_cold_start_is_timed_in_processes_of_their_own(tiny_bundle: Path) -> None:
    record = bench(tiny_bundle, None, Options(threads=(1,), runs=1, warmup=0, cold_starts=1))
    figures = record.runs[0].figures
    assert (figures["cold_start_ms"] or 0) > (figures["first_frame_ms"] or 0)
    assert "cold_start_ms" not in bench(tiny_bundle, None, Options(threads=(1,), runs=1, warmup=0)).runs[0].figures


def test_the_cold_start_is_the_median_of_the_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []
    found = iter([900.0, 300.0, 400.0])

    def start(command: list[str]) -> float:
        commands.append(command)
        assert Path(command[command.index("--source") + 1]).is_file(), "the frame, as a picture"
        return next(found)

    monkeypatch.setattr("device.bench_cold.first_line_ms", start)
    frame = np.zeros((4, 4, 3), np.uint8)
    assert cold_start_ms(tmp_path, None, 2, frame, 3) == 400.0
    assert all(command[-5:-1] == ["--threads", "2", "--limit", "1"] for command in commands)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no such thing')", "cannot be timed: no such thing"),
        ("print('half', end='')", "cannot be timed: no line within"),
        ("import time; time.sleep(60)", "no line within 0.3 s"),
    ],
)
def test_a_process_that_gives_no_label_is_told_and_not_waited_for(code: str, said: str) -> None:
    with pytest.raises(LitesightError, match=said):
        first_line_ms([sys.executable, "-S", "-c", code], timeout_s=0.3 if "sleep" in code else 30.0)
