# SPDX-License-Identifier: Apache-2.0
"""Times every stage of a frame's way on this machine."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from device.bench_cold import cold_start_ms
from device.bench_load import Watch, load_average
from device.bench_record import ModelFacts, Record, Run, Target
from device.bench_samples import MAX_SAMPLES, Samples, steady_figures
from device.bundle import MODEL, Bundle
from device.classifier import Classifier, load_classifier
from device.errors import UsageError
from device.frames import Frame, SourceError, timed
from device.machine import read_facts, read_memory
from device.progress import Progress, silent
from device.results import StageTimes
from device.sources import open_source
from device.video import without_password

if TYPE_CHECKING:
    from device.bench_peers import PeerOptions

SYNTHETIC_SIZE: Final = (640, 480)
"""Width and height of the frame that stands in for a camera, in pixels."""

MAX_DURATION_S: Final = 86_400.0

MAX_RUNS: Final = 8
"""Of one record, so that every record that is written can be read again."""

Frames: TypeAlias = Generator[tuple[Frame, float], None, None]
"""A frame and the milliseconds that getting it took; it is handed back when the next one is asked for."""


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        threads: one run for each number of threads.
        runs: frames that are timed, per number of threads; at most MAX_SAMPLES.
        warmup: frames before them that are not.
        xnnpack: False times LiteRT's own kernels.
        duration_s: time frames for so long instead of ``runs`` of them.
        cold_starts: start so many processes of ``litesight run`` as well, per number of threads.
        peers: other engines to time in turn with the kit's own; None leaves them out.

    Raises:
        UsageError: a number outside of its range.
    """

    threads: tuple[int, ...]
    runs: int = 100
    warmup: int = 10
    xnnpack: bool = True
    duration_s: float | None = None
    cold_starts: int = 0
    peers: PeerOptions | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.threads) <= MAX_RUNS:
            raise UsageError(f"expected 1 to {MAX_RUNS} numbers of threads, found {len(self.threads)}")
        if not 1 <= self.runs <= MAX_SAMPLES:
            raise UsageError(
                f"expected 1 to {MAX_SAMPLES} timed frames, found {self.runs}", hint="--duration times longer runs"
            )
        if self.duration_s is not None and not 0 < self.duration_s <= MAX_DURATION_S:
            raise UsageError(f"expected a duration of at most {MAX_DURATION_S:.0f} s, found {self.duration_s:g}")


def bench(path: Path, source: str | None, options: Options, progress: Progress = silent) -> Record:
    """Time the bundle at ``path``.

    Args:
        source: as for :func:`device.sources.open_source`; read again from its start as often as needed. None times a
            synthetic frame that lies in memory, so there is no capture stage.

    Raises:
        LitesightError: the bundle or the source cannot be used.
    """
    facts = read_facts()
    # Later it would count what this bench itself has done.
    load_1min = load_average()
    runs: list[Run] = []
    peers: list[Run] = []
    bundle: Bundle | None = None
    for threads in options.threads:
        started = time.perf_counter_ns()
        classifier = load_classifier(path, threads, options.xnnpack)
        open_ms = (time.perf_counter_ns() - started) / 1e6
        cold = {"open_ms": open_ms}
        if options.cold_starts:
            cold["cold_start_ms"] = cold_start_ms(path, source, threads, synthetic_frame(), options.cold_starts)
        runs.append(_run(classifier, source, options, Watch(load_1min), cold, progress))
        if options.peers is not None:
            from device.bench_peers import bench_peers

            peers += bench_peers(classifier, source, options.runs, options.peers, progress)
        bundle = classifier.bundle
    assert bundle is not None, "at least one number of threads"
    return Record(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        litesight=_own_version(),
        model=model_facts(bundle),
        target=Target("host", facts.board or platform.machine(), facts),
        runs=runs,
        peers=peers,
    )


def model_facts(bundle: Bundle) -> ModelFacts:
    """What a bench file says of the network, for benches of boards too."""
    spec = bundle.manifest.input
    return ModelFacts(
        name=bundle.manifest.name,
        sha256=bundle.model_sha256,
        bytes=bundle.manifest.files[MODEL].bytes,
        input=(spec.height, spec.width, spec.channels),
        classes=bundle.manifest.classes,
        macs=bundle.manifest.macs,
    )


def synthetic_frame() -> NDArray[np.uint8]:
    """(480, 640, 3) uint8 noise, the same each time: its content does not change how long anything takes."""
    width, height = SYNTHETIC_SIZE
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def _run(
    classifier: Classifier,
    source: str | None,
    options: Options,
    watch: Watch,
    cold: dict[str, float],
    progress: Progress,
) -> Run:
    interpreter = classifier.interpreter
    samples = Samples(has_capture=source is not None)
    first: StageTimes | None = None
    size = (0, 0)
    with closing(_synthetic() if source is None else _endless(source)) as frames, _no_collector():
        for number in _frame_numbers(options, interpreter.threads, progress):
            frame, capture_ms = next(frames)
            ms = classifier.classify(frame.pixels, frame.format, capture_ms=capture_ms).ms
            if first is None:
                first, size = ms, frame_size(frame)
            elif number > options.warmup:
                samples.add(ms)
                watch.between_frames(samples.frames)
    assert first is not None, "there is a first frame, or an error"
    resident, peak = read_memory()
    end = watch.end()
    stages = samples.stages()
    name, _, release = interpreter.runtime.partition(" ")
    return Run(
        engine=name,
        version=release,
        settings={
            "threads": interpreter.threads,
            "xnnpack": options.xnnpack,
            "warmup": options.warmup,
            **({"runs": options.runs} if options.duration_s is None else {"duration_s": options.duration_s}),
        },
        source=source_facts(source, size, "synthetic"),
        stages=stages,
        figures={
            "frames_per_second": 1000 / stages["total"].mean,
            "frames_timed": samples.frames,
            **steady_figures(stages["total"].samples),
            **cold,
            "first_frame_ms": first.preprocess + first.invoke + first.postprocess,
            "others_cpu_percent": end.others_percent,
            "waited_percent": end.waited_percent,
            "rss_bytes": resident,
            "peak_rss_bytes": peak,
            "ops_total": interpreter.ops_total,
            "ops_xnnpack": interpreter.ops_xnnpack,
        },
        before=watch.before,
        after=end.state,
        conditions=watch.conditions(),
    )


def frame_size(frame: Frame) -> tuple[int, int]:
    """Width and height of a frame's picture, in pixels."""
    height, width = frame.pixels.shape[:2]
    return width, height


def _frame_numbers(options: Options, threads: int, progress: Progress) -> Iterator[int]:
    """0 for the first frame, then those of the warm-up, then those that are timed."""
    label = f"Timing, {threads} thread" + ("s" if threads > 1 else "")
    untimed = 1 + options.warmup
    if options.duration_s is None:
        total = untimed + options.runs
        return progress(range(total), label, total)
    return progress(_until(untimed, options.duration_s), f"{label}, {options.duration_s:g} s")


def _until(untimed: int, duration_s: float) -> Iterator[int]:
    """Numbers until the time is over, which begins after the untimed frames; one that is timed at the least."""
    yield from range(untimed)
    end = time.monotonic() + duration_s
    number = untimed
    while number == untimed or time.monotonic() < end:
        yield number
        number += 1


@contextmanager
def _no_collector() -> Iterator[None]:
    """Python's cyclic garbage collector would stop some frame or other; reference counting goes on."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def source_facts(source: str | None, size: tuple[int, int], otherwise: str) -> dict[str, Any]:
    """What a bench file says of its frames: given as ``source`` with a first one of ``size``, or ``otherwise``."""
    kind, name = (otherwise, None) if source is None else ("given", without_password(source))
    return {"kind": kind, "name": name, "width": size[0], "height": size[1]}


def _synthetic() -> Frames:
    frame = Frame(synthetic_frame(), "synthetic", 0, time.monotonic())
    while True:
        yield frame, 0.0


def _endless(spec: str) -> Frames:
    """The frames of a source with their capture times, from the start again after the last one.

    Opening again is not part of any frame's time. Unreadable photos of a folder are passed over. A camera has no last
    frame: opened again, it would hide for how long it was away.
    """
    while True:
        delivered = False
        with open_source(spec, on_bad=lambda error: None) as source:
            for frame, capture_ms in timed(source):
                delivered = True
                yield frame, capture_ms
                source.recycle(frame)
            if source.live:
                raise SourceError(
                    f"{without_password(spec)} stopped delivering pictures; nothing was measured",
                    hint="a bench needs a camera that holds out: litesight run --source tells what befalls it",
                )
        if not delivered:
            name = without_password(spec)
            raise SourceError(
                f"{name} has no picture that can be read", hint=f"litesight run … --source {name} tells why"
            )


def _own_version() -> str:
    try:
        return version("litesight")
    except PackageNotFoundError:
        return "(not installed)"
