# SPDX-License-Identifier: Apache-2.0
"""From a trained network to a bundle: quantise, prove in TFLM, measure on held-out photos, write."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from device import bundle as contract
from device.bundle import Bundle
from device.images import read_image
from device.interpreter import open_interpreter
from device.manifest import input_fields
from device.preprocess import InputSpec, Preprocessor
from device.progress import Progress, silent
from firmware_export import tflm_oracle
from firmware_export.tflite_reader import Model, count_multiply_adds, ops_used, read_model
from train_host.calibration import CalibrationPhoto
from train_host.evaluate import FLOAT, INT8, Evaluation, evaluate_networks
from train_host.model_card import model_card
from train_host.quantize import Converter, Format
from train_host.scaling import Architecture

GOLDEN_VECTORS = 8
# TFLM's reference kernels do some 300 million multiply-adds a second: ten seconds, or a hundred photos.
PARITY_MACS = 3_000_000_000
MAX_PARITY_PHOTOS = 100
TOOLS = ("litesight", "tensorflow", "tf_keras", "ai-edge-litert", "tflite-micro", "numpy", "opencv-python")

LabelledPhoto = tuple[Path, int]


@dataclass(frozen=True)
class TrainedNetwork:
    """Everything that a bundle is made of.

    Attributes:
        name: of the model.
        license: SPDX expression of the weights.
        model: a ``tf_keras.Model``.
        architecture: its shape.
        spec: its input.
        labels: class names, by index.
        calibration: the representative dataset, from the training split only.
        golden: photos for the golden vectors.
        test: held-out photos with their classes; may be empty, then nothing is measured.
        seen: SHA-256 of every photo that training or validation saw.
        provenance: lines for the model card: which data, which recipe.
    """

    name: str
    license: str
    model: Any
    architecture: Architecture
    spec: InputSpec
    labels: tuple[str, ...]
    calibration: Sequence[CalibrationPhoto]
    golden: Sequence[Path]
    test: Sequence[LabelledPhoto]
    seen: Sequence[str]
    provenance: Mapping[str, str]


@dataclass(frozen=True)
class Measured:
    """What was learned of a network while it was quantised.

    Attributes:
        evaluation: on the test photos, by format's name ("int8", "float", "float16", "dynamic-range"); None without.
        format_bytes: size of the .tflite by format's name.
        arena_bytes: TFLM's arena, or None where TFLM does not run.
        golden: the golden vectors.
        parity: on how many test photos TFLM was run too, and the share in which it gives the answer that the device's
            runtime gives; None where TFLM does not run or nothing was held out.
        macs: multiply-adds of one inference.
        stage_seconds: how long each step took.
    """

    evaluation: Evaluation | None
    format_bytes: Mapping[str, int]
    arena_bytes: int | None
    golden: contract.Golden
    parity: tuple[int, float] | None
    macs: int
    stage_seconds: Mapping[str, float]


def write_bundle(
    path: Path,
    network: TrainedNetwork,
    *,
    compare_formats: bool = True,
    report: Callable[[Measured], bytes] | None = None,
    progress: Progress = silent,
) -> tuple[Bundle, Measured]:
    """Quantise a network and write its bundle in one step.

    Args:
        path: the bundle's directory.
        network: what to write.
        compare_formats: also convert to float16 and dynamic range, and measure both.
        report: makes ``report.html`` from the measurements; none is written without it.
        progress: shows how far it is.

    Raises:
        LitesightError: a photo cannot be read, TFLM refuses the network, or the place cannot be written.
    """
    stages: dict[str, float] = {}
    started = time.monotonic()

    def stage_ends(name: str) -> None:
        nonlocal started
        stages[name], started = time.monotonic() - started, time.monotonic()

    photos = [photo.pixels() for photo in progress(network.calibration, "Calibrating", len(network.calibration))]
    converter = Converter(network.model, network.spec)
    formats = [Format.INT8, Format.FLOAT32] + ([Format.FLOAT16, Format.DYNAMIC_RANGE] if compare_formats else [])
    models = {
        _network_name(target): converter.convert(target, photos) for target in progress(formats, "Quantising", None)
    }
    stage_ends("quantise")
    graph = read_model(models[INT8])
    golden, arena_bytes = _golden_vectors(network, models[INT8], progress)
    stage_ends("prove in TFLM")
    evaluation = None
    if network.test:
        evaluation = evaluate_networks(models, network.spec, network.labels, network.test, progress=progress)
    stage_ends("evaluate")
    parity = None
    if evaluation is not None and arena_bytes is not None:
        parity = _parity(network, models[INT8], evaluation, count_multiply_adds(graph), progress)
    stage_ends("compare answers with TFLM")
    measured = Measured(
        evaluation=evaluation,
        format_bytes={name: len(data) for name, data in models.items()},
        arena_bytes=arena_bytes,
        golden=golden,
        parity=parity,
        macs=count_multiply_adds(graph),
        stage_seconds=stages,
    )
    calibration = "".join(f"{photo.line}\n" for photo in network.calibration).encode()
    fields = _manifest_fields(network, graph, measured, calibration)
    files = {
        contract.MODEL: models[INT8],
        contract.FLOAT_MODEL: models[FLOAT],
        contract.LABELS: contract.labels_bytes(network.labels),
        contract.CALIBRATION: calibration,
        contract.GOLDEN: contract.golden_bytes(golden.inputs, golden.outputs, golden.oracle),
        contract.MODEL_CARD: model_card(fields, network.labels, network.provenance).encode(),
    }
    if network.seen:
        files[contract.SEEN] = "".join(
            f"{digest[: contract.SEEN_DIGITS]}\n" for digest in sorted(network.seen)
        ).encode()
    if report is not None:
        files[contract.REPORT] = report(measured)
    return contract.write(path, files, fields), measured


def _network_name(target: Format) -> str:
    return FLOAT if target is Format.FLOAT32 else target.value


def _golden_vectors(network: TrainedNetwork, model: bytes, progress: Progress) -> tuple[contract.Golden, int | None]:
    preprocessor = Preprocessor(network.spec)
    paths = list(network.golden)[:GOLDEN_VECTORS]
    inputs = np.stack([preprocessor(read_image(path)).copy() for path in paths])
    try:
        result = tflm_oracle.run(model, inputs, progress=progress)
    except tflm_oracle.OracleError:
        if platform.machine() == "x86_64":
            raise
        # No wheel of TFLM for this machine: the vectors say so themselves, and `verify` will not call them proved.
        reference = open_interpreter(model, threads=1, xnnpack=False)
        outputs = np.stack([reference.invoke(vector) for vector in inputs])
        return contract.Golden(inputs, outputs, f"{reference.runtime}, not TFLM"), None
    return contract.Golden(inputs, result.outputs, result.name), result.arena_bytes


def _parity(
    network: TrainedNetwork, model: bytes, evaluation: Evaluation, macs: int, progress: Progress
) -> tuple[int, float]:
    """TFLM rounds differently from XNNPACK; how often does that change the answer?"""
    preprocessor = Preprocessor(network.spec)
    count = min(len(network.test), max(GOLDEN_VECTORS, min(MAX_PARITY_PHOTOS, PARITY_MACS // max(1, macs))))
    rows = np.unique(np.linspace(0, len(network.test) - 1, count).round().astype(int))
    inputs = np.stack([preprocessor(read_image(network.test[row][0])).copy() for row in rows])
    answers = tflm_oracle.run(model, inputs, progress=progress).outputs.argmax(axis=1)
    return len(rows), float((answers == evaluation.answers(INT8)[rows]).mean())


def _manifest_fields(network: TrainedNetwork, graph: Model, measured: Measured, calibration: bytes) -> dict[str, Any]:
    spec, output, evaluation = network.spec, graph.output, measured.evaluation
    metrics: dict[str, Any] = {"bytes": dict(measured.format_bytes)}
    if measured.arena_bytes is not None:
        metrics["tflm_arena_bytes"] = measured.arena_bytes
    if evaluation is not None:
        metrics |= {
            "n_test": len(evaluation.truth),
            "float_top1": evaluation.top1(FLOAT),
            "int8_top1": evaluation.top1(INT8),
            "agreement": evaluation.agreement,
            "runtime": evaluation.runtime,
        }
    if measured.parity is not None:
        metrics["tflm_n"], metrics["tflm_same_answer"] = measured.parity
    return {
        "name": network.name,
        "license": network.license,
        "classes": len(network.labels),
        "input": input_fields(spec),
        "output": {"scale": output.scales[0], "zero_point": output.zero_points[0], "activation": "none"},
        "architecture": network.architecture.to_dict(),
        "ops": list(ops_used(graph)),
        "macs": measured.macs,
        "calibration": {"n": len(network.calibration), "sha256": hashlib.sha256(calibration).hexdigest()},
        "metrics": metrics,
        "tools": _tool_versions(),
    }


def _tool_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
