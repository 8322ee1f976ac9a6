# SPDX-License-Identifier: Apache-2.0
"""Frames from a thread of their own, preprocessed and ready for the network, so that the slowest stage sets the pace.

:class:`FileCapture` delivers every frame of photos and videos in order; :class:`device.camera_capture.CameraCapture`
delivers the newest frame of a camera.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from device.classifier import Classifier, Model
from device.frames import Frame, FrameMemory, Source
from device.handover import Handover

FRAMES_AHEAD: Final = 2
"""Frames of a file that are decoded before the network asks for them."""

CLOSE_TIMEOUT_S: Final = 0.6
"""A thread that waits for a dead camera cannot be stopped; the process ends without it."""


@dataclass(frozen=True)
class Prepared:
    """A frame that is ready for the network.

    Attributes:
        frame: the picture.
        source: which takes the frame back.
        input: int8 (height, width, channels).
        classifier: whose preprocessing made ``input``, and whose network it is for.
        capture_ms: how long getting the frame took.
        preprocess_ms: how long preprocessing took.
        ready_ns: ``time.perf_counter_ns()`` when both were done.
    """

    frame: Frame
    source: Source
    input: NDArray[np.int8]
    classifier: Classifier
    capture_ms: float
    preprocess_ms: float
    ready_ns: int


class Capture(Protocol):
    """Where the network gets its frames.

    Attributes:
        counts: of whatever is worth telling at the end, by name.
    """

    counts: Counter[str]

    @property
    def ended(self) -> bool:
        """Whether no frame will come any more."""
        ...

    def next(self, timeout_s: float) -> Prepared | None:
        """The next frame; None if none came in time or there are no more.

        Raises:
            LitesightError: the source failed for good.
        """
        ...

    def done(self, prepared: Prepared) -> None:
        """Take back what :meth:`next` gave: its memory is used again."""
        ...

    def close(self) -> None:
        """Stop, within a fraction of a second; again does no harm."""
        ...


class Preparer:
    """Preprocesses frames for the current model, into memory that is used again."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._inputs = FrameMemory()

    def prepare(self, frame: Frame, source: Source, asked_ns: int) -> Prepared:
        """Preprocess a frame for which the source was asked at ``asked_ns``."""
        classifier = self._model.current()
        started = time.perf_counter_ns()
        input = self._inputs.take_shaped(classifier.input_shape, np.int8)
        classifier.prepare(frame.pixels, frame.format, input)
        ended = time.perf_counter_ns()
        return Prepared(
            frame, source, input, classifier, (started - asked_ns) / 1e6, (ended - started) / 1e6, ended
        )  # fmt: skip

    def take_back(self, prepared: Prepared) -> None:
        """The network is done with it."""
        self._inputs.give(prepared.input)
        prepared.source.recycle(prepared.frame)


class FileCapture:
    """Every frame of a source that waits, in order, a few ahead of the network."""

    def __init__(self, source: Source, model: Model, limit: int | None = None) -> None:
        """Begin to read; at most ``limit`` frames, and nothing behind them, which nobody asked for."""
        self.counts: Counter[str] = Counter()
        self._source, self._limit = source, limit
        self._preparer = Preparer(model)
        self._ready = Handover(self._read, FRAMES_AHEAD, "capture")
        self._ready.start()

    @property
    def ended(self) -> bool:
        return self._ready.ended

    def next(self, timeout_s: float) -> Prepared | None:
        return self._ready.take(timeout_s)

    def done(self, prepared: Prepared) -> None:
        self._preparer.take_back(prepared)

    def close(self) -> None:
        self._ready.close(CLOSE_TIMEOUT_S)

    def _read(self, ready: Handover[Prepared]) -> None:
        with self._source:
            frames = islice(self._source, self._limit)
            while True:
                asked_ns = time.perf_counter_ns()
                frame = next(frames, None)
                if frame is None or not ready.give(self._preparer.prepare(frame, self._source, asked_ns)):
                    return
