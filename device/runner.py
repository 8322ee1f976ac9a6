# SPDX-License-Identifier: Apache-2.0
"""Frames in, labels out: capture, network and what is told of the answers, each in its own thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from device.bundle import Bundle
from device.camera_capture import CameraCapture, CameraEvent, Limits
from device.capture import Capture, FileCapture
from device.classifier import Classifier, Model
from device.errors import LitesightError
from device.frames import Source
from device.network_thread import Answered, NetworkThread
from device.postprocess import Prediction, top_k
from device.results import Classification, Result, StageTimes

TURN_S: Final = 0.2
"""The loop comes round so often, at least, with or without a frame."""

GAP_S: Final = 2.0
"""What a camera sees after such a gap has little to do with what it saw before: smoothing begins anew."""


class Decides(Protocol):
    """From what the network said, over some frames perhaps, to what is told."""

    @property
    def smooth(self) -> int:
        """Over how many frames."""
        ...

    def decide(self, output: NDArray[Any]) -> tuple[tuple[Prediction, ...], str | None]:
        """The likeliest classes, likeliest first, and the label; None if the answer is none of the labels."""
        ...

    def reset(self) -> None:
        """Forget the frames so far."""
        ...


def open_capture(
    source: Source,
    reopen: Callable[[], Source],
    model: Model,
    report: Callable[[CameraEvent], None],
    limits: Limits = Limits(),  # noqa: B008 - frozen
    limit: int | None = None,
) -> Capture:
    """Begin to read a source in a thread of its own: the first ``limit`` frames of a file, the newest of a camera."""
    return CameraCapture(source, reopen, model, report, limits) if source.live else FileCapture(source, model, limit)


def results(
    capture: Capture,
    model: Model,
    decider: Callable[[Bundle], Decides],
    on_turn: Callable[[], bool] = lambda: True,
) -> Iterator[Result]:
    """Classify what ``capture`` delivers until it ends.

    Args:
        capture: where the frames come from; not closed here.
        model: asked what to do when a frame fails.
        decider: makes the rule of decision for a model, once for each.
        on_turn: called whenever the loop comes round; False ends it.

    Raises:
        LitesightError: the source failed for good, or the network did and there is no other.
    """
    network = NetworkThread(capture)
    try:
        yield from _tell(network, capture, model, decider, on_turn)
    finally:
        network.close()


def _tell(
    network: NetworkThread,
    capture: Capture,
    model: Model,
    decider: Callable[[Bundle], Decides],
    on_turn: Callable[[], bool],
) -> Iterator[Result]:
    """Decide what is told of each answer of the network."""
    decision: Decides | None = None
    decides_for: Classifier | None = None
    taken_at = 0.0
    while on_turn() and not network.ended:
        answered = network.next(TURN_S)
        if answered is None:
            continue
        prepared = answered.prepared
        classifier = prepared.classifier
        try:
            if answered.output is None:
                raise answered.error or AssertionError("an answer or an error")
            if decision is None or classifier is not decides_for:
                decision, decides_for = decider(classifier.bundle), classifier
            if prepared.source.live and prepared.frame.captured_at - taken_at > GAP_S:
                decision.reset()
            taken_at = prepared.frame.captured_at
            predictions, label = decision.decide(answered.output)
            alone = predictions
            if decision.smooth > 1:
                bundle = classifier.bundle
                alone = top_k(answered.output, bundle.labels, bundle.manifest.output, len(predictions))
        except LitesightError as error:
            capture.done(prepared)
            if not model.failed(classifier, error):
                raise
            continue
        times = _times(answered, time.perf_counter_ns())
        model.worked(classifier)
        yield Result(
            prepared.frame,
            Classification(alone, times, answered.output),
            predictions,
            label,
            prepared.input,
            classifier.bundle,
        )
        capture.done(prepared)


def _times(answered: Answered, ended_ns: int) -> StageTimes:
    prepared = answered.prepared
    return StageTimes(
        capture=prepared.capture_ms,
        preprocess=prepared.preprocess_ms,
        wait=(answered.started_ns - prepared.ready_ns) / 1e6,
        invoke=(answered.ended_ns - answered.started_ns) / 1e6,
        postprocess=(ended_ns - answered.ended_ns) / 1e6,
    )
