# SPDX-License-Identifier: Apache-2.0
"""The whole way on real photos: solar cells, functional or defective, to a proved C array and a report."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device import bench
from device.atomic import write_file
from device.bundle import Golden
from device.classifier import Classifier, load_classifier
from device.errors import LitesightError
from device.machine import read_facts
from device.progress import Progress, silent
from device.sources import open_source
from firmware_export import export_directory, export_source, tflm_export, tflm_oracle
from train_host import elpv
from train_host.augmentation import Augmentation
from train_host.evaluate import FLOAT, INT8
from train_host.model_report import network_report
from train_host.recipe import Recipe
from train_host.scaling import variant_architecture
from train_host.train_bundle import TrainOptions, train_bundle
from train_host.work_directory import is_resumable

# Half of the layers at half of the width: on these photos better than all of them at a third, for the same work.
WIDTH = 0.5
DEPTH = 0.5
RESOLUTION = 160
RECIPE = Recipe(epochs=20)
# A cell has no up and no left; light and zoom are fixed by the rig.
AUGMENTATION = Augmentation(
    vertical_flip=True, rot90=True, crop=0.0, stretch=0.0, shift=0.0, brightness=0.0, contrast=0.0, saturation=0.0
)
TEST_FRACTION = 0.25
VAL_FRACTION = 0.05
CLASSIFIED = 40
"""Held-out photos that go through the device's runner."""
TIMED_FRAMES = 200

MODEL_ARRAY = "src/litesight_model_data.c"


@dataclass(frozen=True)
class DemoResult:
    """What the demo found; ``summary`` is the content of ``summary.json``."""

    summary: dict[str, Any]
    report: Path


def run_demo(
    output: Path,
    *,
    seed: int = 0,
    epochs: int = RECIPE.epochs,
    restart: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> DemoResult:
    """Go the whole way.

    Args:
        output: directory for the photos' folder, the bundle, the firmware, the report and the summary.
        seed: of split and training.
        epochs: of the training.
        restart: throw away what an interrupted run left, instead of going on with it.
        progress: shows how far it is.
        say: told the name of each stage as it begins.

    Raises:
        LitesightError: a package is missing, or the place cannot be written.
    """
    started = time.monotonic()
    export_directory.check_target(output / "firmware", force=False)
    resume = not restart and is_resumable(output / "bundle")
    say("1/5 photos: 2,624 solar cells, functional or defective")
    photos = elpv.materialize(output / "photos")
    training = "going on with the interrupted training" if resume else "training"
    say(f"2/5 {training}, quantising, proving in TFLM, measuring on held-out photos")
    options = TrainOptions(
        architecture=variant_architecture("lite0", classes=2, width=WIDTH, depth=DEPTH, resolution=RESOLUTION),
        recipe=Recipe(epochs=epochs, seed=seed),
        augmentation=AUGMENTATION,
        val_fraction=VAL_FRACTION,
        test_fraction=TEST_FRACTION,
        name="Solar cells (ELPV)",
        # The photos' licence does not allow commercial use, and a model made from them is no freer.
        license="CC-BY-NC-SA-4.0",
    )
    result = train_bundle(photos, output / "bundle", options, resume=resume, restart=restart, progress=progress)
    stages = dict(result.stage_seconds)
    clock = time.monotonic()

    say("3/5 exporting the C array and comparing it with TFLM, byte for byte")
    golden = result.bundle.golden()
    mismatched = _export(result.bundle.path, output / "firmware", golden, progress)
    stages["export and prove"], clock = time.monotonic() - clock, time.monotonic()

    say("4/5 classifying held-out photos as a Raspberry Pi would")
    classifier = load_classifier(result.bundle.path)
    right = _classify(classifier, result.dataset.test[:: max(1, len(result.dataset.test) // CLASSIFIED)], progress)
    stages["classify"], clock = time.monotonic() - clock, time.monotonic()

    say("5/5 timing every stage of a frame")
    record = bench.bench(
        result.bundle.path, str(photos), bench.Options(threads=(1,), runs=TIMED_FRAMES), progress=progress
    )
    timed = record.runs[0]
    frame_ms = {name: (series.percentile(50), series.percentile(90)) for name, series in timed.stages.items()}
    stages["bench"] = time.monotonic() - clock

    evaluation = result.measured.evaluation
    if evaluation is None:
        raise LitesightError("the demo holds photos out, but none were measured")
    report = output / "report.html"
    page = network_report(
        result.network,
        result.measured,
        result.history,
        stages,
        golden_mismatched_bytes=mismatched,
        frame_ms=frame_ms,
        frame_machine=_machine(timed.engine, timed.version),
    )
    write_file(report, page)
    summary = {
        "float_top1": evaluation.top1(FLOAT),
        "int8_top1": evaluation.top1(INT8),
        "agreement": evaluation.agreement,
        "n_test": len(evaluation.truth),
        "model_bytes": result.measured.format_bytes[INT8],
        "macs": result.measured.macs,
        "tflm_arena_bytes": result.measured.arena_bytes,
        "runtime": evaluation.runtime,
        "tflm_photos": None if result.measured.parity is None else result.measured.parity[0],
        "tflm_same_answer": None if result.measured.parity is None else result.measured.parity[1],
        "golden_vectors": len(golden.inputs),
        "golden_mismatched_bytes": mismatched,
        "golden_oracle": golden.oracle,
        "runner_right": right[0],
        "runner_photos": right[1],
        "frame_ms_p50": {name: round(p50, 3) for name, (p50, _) in frame_ms.items()},
        "stage_seconds": {name: round(seconds, 1) for name, seconds in stages.items()},
        "total_seconds": round(time.monotonic() - started, 1),
        "seed": seed,
        "epochs": epochs,
    }
    return DemoResult(summary, report)


def array_bytes(source: str) -> bytes:
    """The bytes of the model's array in an exported C file: what the compiler will put into flash.

    Raises:
        LitesightError: no array of bytes in it.
    """
    found = re.search(r"\[[^\]]*\]\s*=\s*\{([^}]*)\}", source)
    if found is None:
        raise LitesightError("the exported C file holds no array")
    return bytes(int(number, 0) for number in re.findall(r"0x[0-9a-fA-F]+|\d+", found[1]))


def _export(bundle: Path, firmware: Path, golden: Golden, progress: Progress) -> int | None:
    """Export, read the array back from the C text, run it in TFLM; bytes that differ, None where TFLM does not run."""
    try:
        tflm_oracle.version()
    except tflm_oracle.OracleError:
        return None
    export = tflm_export.build(export_source.open_source(bundle, progress=progress))
    tflm_export.write(export, firmware)
    model = array_bytes((firmware / MODEL_ARRAY).read_text("utf-8"))
    outputs = tflm_oracle.run(model, golden.inputs, progress=progress).outputs
    return int(np.count_nonzero(outputs != golden.outputs))


def _classify(classifier: Classifier, photos: Any, progress: Progress) -> tuple[int, int]:
    """How many photos the runner names right, and how many it saw."""
    right = 0
    for photo in progress(photos, "Classifying", len(photos)):
        with open_source(str(photo.path)) as source:
            for frame in source:
                answer = classifier.classify(frame.pixels, frame.format, top=1)
                right += answer.predictions[0].index == photo.label
    return right, len(photos)


def _machine(engine: str, version: str) -> str:
    facts = read_facts()
    return f"{facts.cpu or facts.architecture}, {engine} {version}, one thread, photos read from disk"
