# SPDX-License-Identifier: Apache-2.0
"""Times the kit's engine and the other ones that are installed here, in turn and on the same pictures.

A machine that does other things too, or grows hot, changes its speed from one second to the next. Engines that are
timed one after the other are then timed on different machines. So every round gives each engine one short block of
the same frames, each round starts with another engine, and what is compared is the ratio within a round.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from device.bench import source_facts
from device.bench_record import Run, Series
from device.bundle import MODEL
from device.frames import SourceError
from device.machine import MachineState, read_state
from device.peers import PEERS, AbsentError, Engine, Peer, open_peer
from device.preprocess import Preprocessor
from device.progress import Progress, silent
from device.video import without_password

if TYPE_CHECKING:
    from device.classifier import Classifier

PICTURES: Final = 32
"""The most pictures of a source that are used."""

BLOCK: Final = 10
"""Timed frames of one engine in one round."""


@dataclass(frozen=True)
class PeerOptions:
    """Which peers, and who hears of those that are not here.

    Attributes:
        onnx: the network as an ONNX file; None looks for ``model.onnx`` in the bundle's directory.
        absent: gets the name of every peer that cannot be timed here, and why.
        peers: in the order of the record.
    """

    onnx: Path | None = None
    absent: Callable[[str, AbsentError], None] = lambda name, why: None
    peers: tuple[Peer, ...] = PEERS


@dataclass
class _Contestant:
    """An engine and what it was measured to do."""

    engine: Engine
    inputs: list[NDArray[Any]]
    samples: list[float] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)

    def run_block(self, frames: range) -> None:
        """One round's frames.

        The first is run once before, untimed: the caches hold the other engine's weights, and threads that it keeps
        spinning for some milliseconds are still in the way.
        """
        run, spent = self.engine.run, 0.0
        run(self.inputs[frames[0] % len(self.inputs)])
        for number in frames:
            x = self.inputs[number % len(self.inputs)]
            started = time.perf_counter_ns()
            scores = run(x)
            ms = (time.perf_counter_ns() - started) / 1e6
            self.samples.append(ms)
            self.answers.append(int(np.argmax(scores)))
            spent += ms
        self.rounds.append(spent)


def bench_peers(
    classifier: Classifier,
    source: str | None,
    runs: int,
    options: PeerOptions,
    progress: Progress = silent,
) -> list[Run]:
    """One run for the kit's own engine and one for every peer that is here. Only the network is timed.

    Args:
        classifier: the kit's own; its threads are everybody's.
        source: up to 32 pictures of it are used, as for :func:`device.sources.open_source`; None takes the inputs of
            the bundle's golden vectors.
        runs: timed frames of each engine.

    Raises:
        LitesightError: the source cannot be used.
    """
    bundle, interpreter = classifier.bundle, classifier.interpreter
    pictures, size = _pictures(classifier, source)
    name, _, version = interpreter.runtime.partition(" ")
    own = Engine(name, version, f"{MODEL}, int8", np.asarray, interpreter.invoke)
    with _opencv_threads(interpreter.threads):
        engines = [own]
        for peer in options.peers:
            try:
                engines.append(open_peer(peer, bundle, interpreter.threads, options.onnx))
            except AbsentError as error:
                options.absent(peer.name, error)
        contestants = [_Contestant(engine, [engine.prepare(x) for x in pictures]) for engine in engines]
        before = read_state()
        label = f"Timing {len(engines)} engines in turn"
        rounds = math.ceil(runs / BLOCK)
        for number in progress(range(rounds), label, rounds):
            frames = range(number * BLOCK, min(runs, (number + 1) * BLOCK))
            for place in range(len(contestants)):
                contestants[(number + place) % len(contestants)].run_block(frames)
        after = read_state()
    common = {"threads": interpreter.threads, "runs": runs, "rounds": rounds, "pictures": len(pictures)}
    where = source_facts(source, size, "golden")
    return [_run(each, contestants[0], common, where, before, after) for each in contestants]


def _run(
    each: _Contestant,
    own: _Contestant,
    common: dict[str, int],
    source: dict[str, Any],
    before: MachineState,
    after: MachineState,
) -> Run:
    agreed = sum(answer == right for answer, right in zip(each.answers, own.answers, strict=True))
    ratios = [theirs / ours for theirs, ours in zip(each.rounds, own.rounds, strict=True)]
    return Run(
        engine=each.engine.name,
        version=each.engine.version,
        settings={**common, "network": each.engine.network},
        source=source,
        stages={"invoke": Series("ms", tuple(each.samples))},
        figures={
            "agreement": agreed / len(each.answers),
            "invoke_ratio": float(np.median(ratios)),
        },
        before=before,
        after=after,
    )


def _pictures(classifier: Classifier, source: str | None) -> tuple[list[NDArray[np.int8]], tuple[int, int]]:
    """What the network is given for every picture, and the last picture's width and height."""
    spec = classifier.bundle.manifest.input
    if source is None:
        return list(classifier.bundle.golden().inputs), (spec.width, spec.height)
    from device.sources import open_source

    preprocess, pictures, size = Preprocessor(spec), [], (0, 0)
    with open_source(source, on_bad=lambda error: None) as frames:
        for frame in frames:
            pictures.append(preprocess(frame.pixels, frame.format))
            size = (frame.pixels.shape[1], frame.pixels.shape[0])
            frames.recycle(frame)
            if len(pictures) == PICTURES:
                break
    if not pictures:
        raise SourceError(f"{without_password(source)} has no picture that can be read")
    return pictures, size


@contextmanager
def _opencv_threads(count: int) -> Iterator[None]:
    """OpenCV's threads belong to the process, so they are set for all and put back."""
    import cv2

    previous = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(previous)
