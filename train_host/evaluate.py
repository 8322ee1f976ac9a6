# SPDX-License-Identifier: Apache-2.0
"""Accuracy of networks on labelled photos: float and int8 side by side, each photo read and preprocessed once.

The networks run as they will on a Pi, through the device's own preprocessing and interpreter. No TensorFlow here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.images import read_image
from device.interpreter import Interpreter, check_against_manifest, open_interpreter
from device.preprocess import InputSpec, Preprocessor
from device.progress import Progress, silent

INT8 = "int8"
FLOAT = "float"


@dataclass(frozen=True)
class Evaluation:
    """What networks said of ``n`` photos.

    Attributes:
        labels: the class names.
        truth: int, (n,), the right classes.
        logits: float32, (n, classes), by the network's name: "int8" always, "float" where the bundle has it.
        runtime: name and version of what ran them.
    """

    labels: tuple[str, ...]
    truth: NDArray[np.int64]
    logits: Mapping[str, NDArray[np.float32]]
    runtime: str = ""

    def answers(self, network: str) -> NDArray[np.int64]:
        """The class a network names for each photo, (n,)."""
        return self.logits[network].argmax(axis=1)

    def top1(self, network: str) -> float | None:
        """Share of photos that a network names right; None where there is no such network."""
        return _share(self.answers(network) == self.truth) if network in self.logits else None

    @property
    def agreement(self) -> float | None:
        """Share of photos for which int8 and float give the same class, right or wrong."""
        return _share(self.answers(FLOAT) == self.answers(INT8)) if FLOAT in self.logits else None

    def confusion(self, network: str = INT8) -> NDArray[np.int64]:
        """Counts, (classes, classes): rows are the truth, columns the network's answer."""
        classes = len(self.labels)
        flat = self.truth * classes + self.answers(network)
        return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)

    def per_class(self) -> list[dict[str, Any]]:
        """For every class that has photos: n, and recall and precision of both networks (null where undefined)."""
        rows = []
        answers = {network: self.answers(network) for network in (INT8, FLOAT) if network in self.logits}
        for index, label in enumerate(self.labels):
            of_class = self.truth == index
            if not of_class.any():
                continue
            row: dict[str, Any] = {"label": label, "n": int(of_class.sum())}
            for network, answer in answers.items():
                named = answer == index
                row[f"{network}_recall"] = _share(named[of_class])
                row[f"{network}_precision"] = _share(of_class[named]) if named.any() else None
            rows.append(row)
        return rows

    def summary(self) -> dict[str, Any]:
        """The figures, ready for JSON; shares from 0 to 1."""
        return {
            "n": len(self.truth),
            "float_top1": self.top1(FLOAT),
            "int8_top1": self.top1(INT8),
            "agreement": self.agreement,
            "runtime": self.runtime,
            "per_class": self.per_class(),
        }


def evaluate_bundle(
    bundle: Bundle, photos: Sequence[tuple[Path, int]], *, threads: int = 2, progress: Progress = silent
) -> Evaluation:
    """Run the networks of a bundle on photos.

    Args:
        bundle: with or without its float network.
        photos: path and right class of each, at least one.
        threads: of each interpreter.
        progress: shows how far it is.

    Raises:
        LitesightError: a photo cannot be read, or a network cannot be loaded.
    """
    networks: dict[str, bytes | Path] = {INT8: bundle.model_bytes()}
    check_against_manifest(bundle, open_interpreter(networks[INT8], threads=1))
    if bundle.float_model_path is not None:
        networks[FLOAT] = bundle.float_model_path
    return evaluate_networks(networks, bundle.manifest.input, bundle.labels, photos, threads=threads, progress=progress)


def evaluate_networks(
    networks: Mapping[str, bytes | Path],
    spec: InputSpec,
    labels: tuple[str, ...],
    photos: Sequence[tuple[Path, int]],
    *,
    threads: int = 2,
    progress: Progress = silent,
) -> Evaluation:
    """Run .tflite networks, int8 or float, on the same photos.

    Args:
        networks: flatbuffer or its path, by name.
        spec: the input that all of them take.
        labels: the class names.
        photos: path and right class of each, at least one.
        threads: of each interpreter.
        progress: shows how far it is.

    Raises:
        LitesightError: a photo cannot be read, or a network cannot be loaded.
    """
    preprocessor = Preprocessor(spec)
    interpreters = {name: open_interpreter(network, threads=threads) for name, network in networks.items()}
    logits = {name: np.empty((len(photos), len(labels)), np.float32) for name in networks}
    mean = np.asarray(spec.mean, np.float32)
    std = np.asarray(spec.std, np.float32)
    for row, (path, _) in enumerate(progress(photos, "Evaluating", len(photos))):
        pixels = preprocessor.pixels(read_image(path))
        for name, interpreter in interpreters.items():
            if interpreter.input.dtype == "int8":
                facts = interpreter.output
                raw = interpreter.invoke(preprocessor.quantize(pixels)).astype(np.float32)
                logits[name][row] = (raw - facts.zero_point) * facts.scale
            else:
                logits[name][row] = interpreter.invoke((pixels.astype(np.float32) - mean) / std)
    truth = np.array([label for _, label in photos], np.int64)
    return Evaluation(labels, truth, logits, _runtime(interpreters[INT8]))


def _runtime(interpreter: Interpreter) -> str:
    return f"{interpreter.runtime}{' with XNNPACK' if interpreter.ops_xnnpack else ''}"


def _share(right: NDArray[np.bool_]) -> float:
    return float(right.mean())
