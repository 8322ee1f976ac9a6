# SPDX-License-Identifier: Apache-2.0
"""Gathers what ``report.html`` shows of a trained network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from device.images import read_image
from device.manifest import OutputSpec
from device.postprocess import probabilities
from device.preprocess import Preprocessor
from train_host.bundle_writer import Measured, TrainedNetwork
from train_host.evaluate import INT8, Evaluation
from train_host.report import FACT_ARENA, FACT_GOLDEN, ReportData, Sample, render
from train_host.scaling import count_parameters

SAMPLES = 24


def network_report(
    network: TrainedNetwork,
    measured: Measured,
    history: Sequence[Mapping[str, float]],
    stage_seconds: Mapping[str, float],
    *,
    golden_mismatched_bytes: int | None = None,
    frame_ms: Mapping[str, tuple[float, float]] | None = None,
    frame_machine: str = "",
) -> bytes:
    """The page.

    Args:
        network: what was trained.
        measured: what its quantisation showed.
        history: a row per epoch.
        stage_seconds: how long each step of the making took.
        golden_mismatched_bytes: of the exported array in TFLM; None where it was not compared.
        frame_ms: stage of one frame → (p50, p90) in milliseconds.
        frame_machine: where they were measured.
    """
    arch = network.architecture
    facts = {
        "Architecture": f"EfficientNet-Lite, width {arch.width:g}, depth {arch.depth:g}, "
        f"{arch.resolution} × {arch.resolution} RGB",
        "Parameters": f"{count_parameters(arch):,}",
        "Multiply-adds": f"{measured.macs:,}",
        "Calibration photos": f"{len(network.calibration)}",
    }
    if measured.arena_bytes is not None:
        facts[FACT_ARENA] = f"{measured.arena_bytes:,} bytes"
    if golden_mismatched_bytes is not None:
        facts[FACT_GOLDEN] = f"{golden_mismatched_bytes} of {measured.golden.outputs.size}"
    if measured.parity is not None:
        n, share = measured.parity
        facts["Same answer in TFLM"] = f"{round(n * share)} of {n} test photos"
    if measured.evaluation is not None:
        facts["Measured with"] = measured.evaluation.runtime
    facts["Golden vectors by"] = measured.golden.oracle
    return render(
        ReportData(
            name=network.name,
            intro=" ".join(network.provenance.values()),
            labels=network.labels,
            evaluation=measured.evaluation,
            history=history,
            format_bytes=measured.format_bytes,
            samples=_samples(network, measured.evaluation),
            facts=facts,
            stage_seconds=stage_seconds,
            frame_ms=frame_ms or {},
            frame_machine=frame_machine,
        )
    )


def _samples(network: TrainedNetwork, evaluation: Evaluation | None) -> list[Sample]:
    """Held-out photos at equal distances; they are sorted by class, so each class has its share."""
    if evaluation is None:
        return []
    preprocessor = Preprocessor(network.spec)
    rows = np.unique(np.linspace(0, len(network.test) - 1, SAMPLES).round().astype(int))
    samples = []
    for row in rows.tolist():
        path, truth = network.test[row]
        samples.append(_sample(path, truth, row, network, evaluation, preprocessor))
    return samples


def _sample(
    path: Path, truth: int, row: int, network: TrainedNetwork, evaluation: Evaluation, preprocessor: Preprocessor
) -> Sample:
    logits = evaluation.logits[INT8][row]
    # The logits are real numbers already.
    likely = probabilities(logits, OutputSpec(1.0, 0, "none"))
    answer = int(logits.argmax())
    return Sample(
        pixels=preprocessor.pixels(read_image(path)).copy(),
        truth=network.labels[truth],
        answer=network.labels[answer],
        probability=float(likely[answer]),
        name=path.name,
    )
