# SPDX-License-Identifier: Apache-2.0
"""Frame in, labels out: preprocess, invoke and postprocess of one bundle, each timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device import bundle as bundles
from device.bundle import Bundle
from device.frames import Frame, Source
from device.interpreter import Interpreter, check_against_manifest, open_interpreter
from device.postprocess import top_k
from device.preprocess import PixelFormat, Preprocessor
from device.results import Classification, Result, StageTimes


class Classifier:
    """A bundle that is ready to classify. One instance serves one thread."""

    def __init__(self, bundle: Bundle, interpreter: Interpreter) -> None:
        self.bundle = bundle
        self.interpreter = interpreter
        self._preprocess = Preprocessor(bundle.manifest.input)
        spec = bundle.manifest.input
        self.input: NDArray[np.int8] = np.empty((spec.height, spec.width, spec.channels), np.int8)

    def classify(
        self, pixels: NDArray[Any], format: PixelFormat = PixelFormat.RGB888, top: int = 3, capture_ms: float = 0.0
    ) -> Classification:
        """Classify one picture.

        Args:
            pixels: as ``format`` describes it; of any size; not written to.
            top: how many classes to name.
            capture_ms: handed on into the times.
        """
        started = time.perf_counter_ns()
        self._preprocess(pixels, format, self.input)
        preprocessed = time.perf_counter_ns()
        output = self.interpreter.invoke(self.input)
        invoked = time.perf_counter_ns()
        predictions = top_k(output, self.bundle.labels, self.bundle.manifest.output, top)
        ended = time.perf_counter_ns()
        return Classification(
            predictions,
            StageTimes(
                preprocess=(preprocessed - started) / 1e6,
                invoke=(invoked - preprocessed) / 1e6,
                postprocess=(ended - invoked) / 1e6,
                capture=capture_ms,
            ),
            output,
        )


def load_classifier(path: Path, threads: int | None = None, xnnpack: bool = True) -> Classifier:
    """Open the bundle at ``path``: hashes checked, network opened, manifest and network compared.

    Raises:
        LitesightError: the bundle, the runtime or the network cannot be used.
    """
    bundle = bundles.load(path)
    interpreter = open_interpreter(bundle.model_bytes(), threads, xnnpack)
    check_against_manifest(bundle, interpreter)
    return Classifier(bundle, interpreter)


def timed(source: Source) -> Iterator[tuple[Frame, float]]:
    """The frames of ``source``, each with the milliseconds that getting it took."""
    frames = iter(source)
    while True:
        started = time.perf_counter_ns()
        try:
            frame = next(frames)
        except StopIteration:
            return
        yield frame, (time.perf_counter_ns() - started) / 1e6


def classify_all(classifier: Classifier, source: Source, top: int = 3) -> Iterator[Result]:
    """Classify every frame of ``source``, one after another."""
    for frame, capture_ms in timed(source):
        answer = classifier.classify(frame.pixels, frame.format, top, capture_ms)
        label = answer.predictions[0].label
        yield Result(frame, answer, answer.predictions, label, classifier.input, classifier.bundle)
