# SPDX-License-Identifier: Apache-2.0
"""A bundle that is ready to classify: preprocessing and network of one model, each of which may have its own thread."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from device import bundle as bundles
from device.bundle import Bundle
from device.interpreter import Interpreter, check_against_manifest, open_interpreter
from device.postprocess import top_k
from device.preprocess import PixelFormat, Preprocessor
from device.results import Classification, StageTimes


class Classifier:
    """A bundle, its preprocessing and its network.

    :meth:`prepare` and :meth:`invoke` may run at the same time in two threads; neither may run in two.

    Attributes:
        bundle: the model.
        interpreter: its network.
        input_shape: height, width, channels.
    """

    def __init__(self, bundle: Bundle, interpreter: Interpreter) -> None:
        self.bundle = bundle
        self.interpreter = interpreter
        spec = bundle.manifest.input
        self.input_shape = (spec.height, spec.width, spec.channels)
        self._preprocess = Preprocessor(spec)
        self._input: NDArray[np.int8] = np.empty(self.input_shape, np.int8)

    def prepare(self, pixels: NDArray[Any], format: PixelFormat, out: NDArray[np.int8]) -> None:
        """Crop, resize and quantise a picture of any size into ``out``, int8 (height, width, channels).

        Raises:
            LitesightError: the picture is not what ``format`` says, or a side is out of range.
        """
        self._preprocess(pixels, format, out)

    def invoke(self, input: NDArray[np.int8]) -> NDArray[Any]:
        """The network's output, (classes,), for what :meth:`prepare` made.

        Raises:
            InterpreterError: the runtime failed.
        """
        return self.interpreter.invoke(input)

    def classify(
        self, pixels: NDArray[Any], format: PixelFormat = PixelFormat.RGB888, top: int = 3, capture_ms: float = 0.0
    ) -> Classification:
        """Classify one picture, one stage after another.

        Args:
            pixels: as ``format`` describes it; of any size; not written to.
            format: of the pixels.
            top: how many classes to name.
            capture_ms: handed on into the times.
        """
        started = time.perf_counter_ns()
        self.prepare(pixels, format, self._input)
        prepared = time.perf_counter_ns()
        output = self.invoke(self._input)
        invoked = time.perf_counter_ns()
        predictions = top_k(output, self.bundle.labels, self.bundle.manifest.output, top)
        ended = time.perf_counter_ns()
        times = StageTimes(
            preprocess=(prepared - started) / 1e6,
            invoke=(invoked - prepared) / 1e6,
            postprocess=(ended - invoked) / 1e6,
            capture=capture_ms,
        )
        return Classification(predictions, times, output)


def load_classifier(path: Path, threads: int | None = None, xnnpack: bool = True) -> Classifier:
    """Open the bundle at ``path``: hashes checked, network opened, manifest and network compared.

    Raises:
        LitesightError: the bundle, the runtime or the network cannot be used.
    """
    return open_classifier(bundles.load(path), threads, xnnpack)


def open_classifier(bundle: Bundle, threads: int | None = None, xnnpack: bool = True) -> Classifier:
    """Open the network of a bundle whose files have been checked.

    Raises:
        LitesightError: the runtime or the network cannot be used.
    """
    interpreter = open_interpreter(bundle.model_bytes(), threads, xnnpack)
    check_against_manifest(bundle, interpreter)
    return Classifier(bundle, interpreter)


class Model(Protocol):
    """The classifier that is to be used now; which one that is may change between two frames."""

    def current(self) -> Classifier:
        """The classifier for the next frame. Called for each frame, from the capture's thread."""
        ...

    def worked(self, classifier: Classifier) -> None:
        """A frame was classified. Called for each frame, from the thread of the network."""
        ...

    def failed(self, classifier: Classifier, error: Exception) -> bool:
        """A frame failed. True: an older model is in use again, go on; False: there is none, the error stands."""
        ...

    def close(self) -> None:
        """Stop looking for newer models; again does no harm."""
        ...


class FixedModel:
    """One bundle from beginning to end."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def current(self) -> Classifier:
        """Always the same."""
        return self._classifier

    def worked(self, classifier: Classifier) -> None:
        """Nothing to do."""

    def failed(self, classifier: Classifier, error: Exception) -> bool:
        """There is no other model."""
        return False

    def close(self) -> None:
        """Nothing to do."""
