# SPDX-License-Identifier: Apache-2.0
"""Frames in, labels out: the loop around the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from device.bundle import Bundle
from device.camera_capture import CameraCapture, CameraEvent, Limits
from device.capture import Capture, FileCapture, Prepared
from device.classifier import Classifier, Model
from device.errors import LitesightError
from device.frames import Source
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
    decision: Decides | None = None
    decides_for: Classifier | None = None
    taken_at = 0.0
    while on_turn() and not capture.ended:
        prepared = capture.next(TURN_S)
        if prepared is None:
            continue
        classifier = prepared.classifier
        started = time.perf_counter_ns()
        try:
            if decision is None or classifier is not decides_for:
                decision, decides_for = decider(classifier.bundle), classifier
                started = time.perf_counter_ns()
            if prepared.source.live and prepared.frame.captured_at - taken_at > GAP_S:
                decision.reset()
            taken_at = prepared.frame.captured_at
            output = classifier.invoke(prepared.input)
            invoked = time.perf_counter_ns()
            predictions, label = decision.decide(output)
            alone = predictions
            if decision.smooth > 1:
                alone = top_k(output, classifier.bundle.labels, classifier.bundle.manifest.output, len(predictions))
        except LitesightError as error:
            capture.done(prepared)
            if not model.failed(classifier, error):
                raise
            continue
        times = _times(prepared, started, invoked, time.perf_counter_ns())
        model.worked(classifier)
        yield Result(
            prepared.frame,
            Classification(alone, times, output),
            predictions,
            label,
            prepared.input,
            classifier.bundle,
        )
        capture.done(prepared)


def _times(prepared: Prepared, started: int, invoked: int, ended: int) -> StageTimes:
    return StageTimes(
        capture=prepared.capture_ms,
        preprocess=prepared.preprocess_ms,
        wait=(started - prepared.ready_ns) / 1e6,
        invoke=(invoked - started) / 1e6,
        postprocess=(ended - invoked) / 1e6,
    )
