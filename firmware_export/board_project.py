# SPDX-License-Identifier: Apache-2.0
"""From a model and a board's name to an export for it, refused early where it cannot come to anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boards.board import Board
from boards.catalogue import find
from boards.tool import find_tool
from boards.toolchain import find_toolchain
from device.errors import UsageError
from device.progress import Progress, silent
from firmware_export import static_export
from firmware_export.export_source import ExportSource, open_source
from firmware_export.fit_advice import require_fit
from firmware_export.network_fit import plan_for, read_network
from firmware_export.static_engine.kernel import kernel_set_for
from firmware_export.static_export import StaticExport


@dataclass(frozen=True)
class BoardProject:
    """A model exported for a board.

    Attributes:
        source: the model and its golden vectors.
        export: its sources, with the board's kernels.
        board: which.
        form: FRAME or ROWS of ``firmware``.
    """

    source: ExportSource
    export: StaticExport
    board: Board
    form: str


def open_project(
    model: Path, board_id: str, form: str, *, emulated: bool = False, progress: Progress = silent
) -> BoardProject:
    """Find the board, see that the network fits it, read the model, and export it.

    Args:
        model: bundle directory, or an int8 .tflite.
        board_id: id, or path of a board's file.
        form: FRAME or ROWS of ``firmware``.
        emulated: refuse a board that nothing emulates, and a machine without the emulator.
        progress: over the golden vectors, which TFLM runs.

    Raises:
        UsageError: unknown board, or nothing emulates it.
        LitesightError: the network does not fit, or compiler, emulator or model cannot be used.
    """
    board = find(board_id)
    if emulated and board.emulator is None:
        raise UsageError(f"expected a board that can be emulated, found {board.id}", hint="litesight boards lists them")
    require_fit(plan_for(read_network(model), board), board, form)
    find_toolchain(board.build.toolchain)
    if emulated and board.emulator is not None:
        find_tool(board.emulator.tool, board.emulator.tool)
    source = open_source(model, int8_edges=False, progress=progress)
    export = static_export.build(source, kernel_set_for(board.mcu.features))
    return BoardProject(source, export, board, form)
