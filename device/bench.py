# SPDX-License-Identifier: Apache-2.0
"""Times every stage of a frame's way on this machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from device.bench_record import ModelFacts, Record, Run, Series, Target
from device.bundle import MODEL, Bundle
from device.frames import SourceError
from device.machine import read_facts, read_memory, read_state
from device.progress import Progress, silent
from device.runner import Classifier, StageTimes, load_classifier, timed
from device.sources import open_source

if TYPE_CHECKING:
    from device.bench_peers import PeerOptions

SYNTHETIC_SIZE: Final = (640, 480)
"""Width and height of the frame that stands in for a camera, in pixels."""

Frames: TypeAlias = Generator[tuple[NDArray[np.uint8], float], None, None]
"""Pixels and the milliseconds that getting them took."""


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        threads: one run for each number of threads.
        runs: frames that are timed, per number of threads.
        warmup: frames before them that are not.
        xnnpack: False times LiteRT's own kernels.
        peers: other engines to time in turn with the kit's own; None leaves them out.
    """

    threads: tuple[int, ...]
    runs: int = 100
    warmup: int = 10
    xnnpack: bool = True
    peers: PeerOptions | None = None


def bench(path: Path, source: str | None, options: Options, progress: Progress = silent) -> Record:
    """Time the bundle at ``path``.

    Args:
        source: as for :func:`device.sources.open_source`; read again from its start as often as needed. None times a
            synthetic frame that lies in memory, so there is no capture stage.

    Raises:
        LitesightError: the bundle or the source cannot be used.
    """
    facts = read_facts()
    runs = []
    bundle: Bundle | None = None
    for threads in options.threads:
        started = time.perf_counter_ns()
        classifier = load_classifier(path, threads, options.xnnpack)
        open_ms = (time.perf_counter_ns() - started) / 1e6
        runs.append(_run(classifier, source, options, open_ms, progress))
        if options.peers is not None:
            from device.bench_peers import bench_peers

            runs += bench_peers(classifier, source, options.runs, options.peers, progress)
        bundle = classifier.bundle
    assert bundle is not None, "at least one number of threads"
    return Record(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        litesight=_own_version(),
        model=model_facts(bundle),
        target=Target("host", facts.board or platform.machine(), facts),
        runs=runs,
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


def _run(classifier: Classifier, source: str | None, options: Options, open_ms: float, progress: Progress) -> Run:
    interpreter = classifier.interpreter
    frames = _synthetic() if source is None else _endless(source)
    before = read_state()
    first: StageTimes | None = None
    times: list[StageTimes] = []
    size: tuple[int, int] = (0, 0)
    label = f"Timing, {interpreter.threads} thread" + ("s" if interpreter.threads > 1 else "")
    total = 1 + options.warmup + options.runs
    with closing(frames):
        for number in progress(range(total), label, total):
            pixels, capture_ms = next(frames)
            ms = classifier.classify(pixels, capture_ms=capture_ms).ms
            size = (pixels.shape[1], pixels.shape[0])
            if first is None:
                first = ms
            elif number > options.warmup:
                times.append(ms)
    after = read_state()
    assert first is not None
    stages = _stages(times, has_capture=source is not None)
    resident, peak = read_memory()
    name, _, release = interpreter.runtime.partition(" ")
    return Run(
        engine=name,
        version=release,
        settings={
            "threads": interpreter.threads,
            "xnnpack": options.xnnpack,
            "runs": options.runs,
            "warmup": options.warmup,
        },
        source=_source_facts(source, size),
        stages=stages,
        figures={
            "frames_per_second": 1000 / stages["total"].mean,
            "open_ms": open_ms,
            "first_frame_ms": first.preprocess + first.invoke + first.postprocess,
            "rss_bytes": resident,
            "peak_rss_bytes": peak,
            "ops_total": interpreter.ops_total,
            "ops_xnnpack": interpreter.ops_xnnpack,
        },
        before=before,
        after=after,
    )


def _stages(times: list[StageTimes], has_capture: bool) -> Mapping[str, Series]:
    names = (*(("capture",) if has_capture else ()), "preprocess", "invoke", "postprocess", "total")
    return {name: Series("ms", tuple(getattr(ms, name) for ms in times)) for name in names}


def _source_facts(source: str | None, size: tuple[int, int]) -> dict[str, Any]:
    return {"kind": "synthetic" if source is None else "given", "name": source, "width": size[0], "height": size[1]}


def _synthetic() -> Frames:
    frame = synthetic_frame()
    while True:
        yield frame, 0.0


def _endless(spec: str) -> Frames:
    """The frames of a source with their capture times, from the start again after the last one.

    Opening again is not part of any frame's time. Unreadable photos of a folder are passed over.
    """
    while True:
        delivered = False
        with open_source(spec, on_bad=lambda error: None) as source:
            for frame, capture_ms in timed(source):
                delivered = True
                yield frame.pixels, capture_ms
        if not delivered:
            raise SourceError(
                f"{spec} has no picture that can be read", hint=f"litesight run … --source {spec} tells why"
            )


def _own_version() -> str:
    try:
        return version("litesight")
    except PackageNotFoundError:
        return "(not installed)"
