# SPDX-License-Identifier: Apache-2.0
"""Measures a network on an emulated board: instructions, memory, and whether every output byte is TFLM's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from boards import counter
from boards.board import Board
from boards.build import Image
from boards.emulator import emulate
from boards.serial_line import SerialLine
from boards.toolchain import find_toolchain
from device.bench_record import ModelFacts, OpFigures, Record, Run, Target
from device.errors import UsageError
from device.progress import Progress, silent
from firmware_export import firmware
from firmware_export.board_inference import BoardInference, Measurement, StepTime
from firmware_export.board_project import BoardProject
from firmware_export.export_source import ExportSource
from firmware_export.tflite_reader import count_multiply_adds

BOOT_TIMEOUT_S = 60.0
_SOURCE_OP = "source"


def bench(project: BoardProject, vectors: int | None = None, progress: Progress = silent) -> Record:
    """Build the firmware twice, with and without a hook between steps, boot both and send the golden vectors.

    Args:
        project: for an emulated board.
        vectors: how many of the golden vectors, from the first; all if None.
        progress: over the vectors.

    Raises:
        UsageError: the model has fewer vectors.
        LitesightError: compiler or emulator is missing, the firmware does not fit, or the board does not answer as it
            must. Wrong output bytes are no error but a figure.
    """
    source, board, form = project.source, project.board, project.form
    inputs = source.golden.inputs[: _vectors(source, vectors)]
    files = firmware.source_files(project.export, board, form)
    with tempfile.TemporaryDirectory(prefix="litesight-bench-") as name:
        image = firmware.compile_sources(files, board, Path(name) / "plain")
        with started(source, board, image.elf, form) as inference:
            found = [inference.run(values) for values in progress(inputs, f"{board.id}: vectors", len(inputs))]
        hooked = firmware.compile_sources(files, board, Path(name) / "steps", step_hook=True)
        with started(source, board, hooked.elf, form) as inference:
            hooked_ticks = inference.run(inputs[0]).ticks
            steps = inference.step_times()
    return Record(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        litesight=_own_version(),
        model=_model_facts(source),
        target=Target("emulator", board.id),
        runs=[_run(project, image, found, _op_figures(project, found[0], hooked_ticks, steps))],
    )


@contextmanager
def started(source: ExportSource, board: Board, elf: Path, form: str) -> Iterator[BoardInference]:
    """Boot a firmware; when the block ends, so does the emulator.

    Raises:
        LitesightError: it does not start, or runs another model.
    """
    with emulate(board, elf) as emulator:
        line = SerialLine(emulator)
        line.wait_ready(BOOT_TIMEOUT_S)
        inference = BoardInference(line, form, len(source.labels))
        inference.check_model(source.sha256)
        yield inference


def _vectors(source: ExportSource, wanted: int | None) -> int:
    available = len(source.golden.inputs)
    if wanted is not None and wanted > available:
        raise UsageError(f"expected at most {available} vectors, as many as the model has, found {wanted}")
    return available if wanted is None else wanted


def _run(project: BoardProject, image: Image, found: Sequence[Measurement], ops: tuple[OpFigures, ...]) -> Run:
    source, export, board = project.source, project.export, project.board
    sizes = firmware.sizes(image)
    outputs = np.stack([each.output for each in found])
    ticks = sum(each.ticks for each in found) / len(found)
    figures: Mapping[str, float | None] = {
        "instructions_per_inference": round(ticks * counter.instructions_per_tick(board)),
        "ram_bytes": sizes.ram_bytes,
        "stack_bytes": max(each.stack_bytes for each in found),
        "flash_bytes": sizes.flash_bytes,
        "constants_bytes": sizes.constants_bytes,
        "weights_bytes": sizes.weights_bytes,
        "code_bytes": sizes.code_bytes,
        "arena_bytes": export.memory.arena_bytes,
        "mismatched_bytes": int(np.count_nonzero(outputs != source.golden.outputs[: len(found)])),
    }
    return Run(
        engine="static",
        version=_own_version(),
        settings={
            "input": project.form,
            "kernels": export.kernel_set,
            "vectors": len(found),
            "compiler": f"{board.build.toolchain}-gcc {find_toolchain(board.build.toolchain).version}",
        },
        source={
            "kind": "golden",
            "name": source.golden.oracle,
            "width": source.spec.width,
            "height": source.spec.height,
        },
        stages={},
        figures=figures,
        ops=ops,
    )


def _op_figures(
    project: BoardProject, plain: Measurement, hooked_ticks: int, steps: Sequence[StepTime]
) -> tuple[OpFigures, ...]:
    """Instructions per op. What the hook itself takes is the same in every step, and is taken off again."""
    count = sum(step.steps for step in steps)
    hook_ticks = (hooked_ticks - plain.ticks) / count
    per_tick = float(counter.instructions_per_tick(project.board))
    names = [_SOURCE_OP, *(layer.name for layer in project.export.layers)]
    return tuple(
        OpFigures(
            step.op,
            names[step.op] if step.op < len(names) else "?",
            {"instructions_per_inference": max(0, round((step.ticks - step.steps * hook_ticks) * per_tick))},
        )
        for step in steps
    )


def _model_facts(source: ExportSource) -> ModelFacts:
    return ModelFacts(
        name=source.name,
        sha256=source.sha256,
        bytes=len(source.data),
        input=(source.spec.height, source.spec.width, source.spec.channels),
        classes=len(source.labels),
        macs=count_multiply_adds(source.model),
    )


def _own_version() -> str:
    try:
        return version("litesight")
    except PackageNotFoundError:
        return "(not installed)"
