# SPDX-License-Identifier: Apache-2.0
"""``litesight export``: C sources for a microcontroller."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from device.errors import UsageError

if TYPE_CHECKING:
    from boards.board import Board
    from firmware_export.export_source import ExportSource
    from firmware_export.static_export import StaticExport
    from firmware_export.tflm_export import TflmExport

HELP = "Write C sources that classify frames on a microcontroller."
EPILOG = """\
examples:
  litesight export mybundle --engine tflm -o firmware
  litesight export mybundle --engine static -o firmware                 plain C, for any core
  litesight export mybundle --engine static --board mps2-an386 -o firmware   for this board, if it fits
  litesight export network.tflite -o firmware      labels class0, class1, …; a pixel x is taken as x - 128

An earlier export in DIR is replaced unless somebody changed it; --force replaces whatever is there.
Where TFLM's package is missing (it exists for x86-64 Linux only), a bundle that was proved in TFLM when it was made is
exported with the arena measured then."""

TFLM, STATIC = "tflm", "static"
ENGINES = (TFLM, STATIC)
KERNEL_SETS = ("portable", "dsp", "mve")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="BUNDLE_OR_TFLITE", type=Path, help="bundle directory, or an int8 .tflite")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=TFLM,
        help="what runs the network: TensorFlow Lite Micro (default), or the kit's own static engine",
    )
    parser.add_argument(
        "--kernels",
        choices=KERNEL_SETS,
        help="static engine: plain C (default), the DSP extension (Cortex-M4, M7, M33) or MVE (Cortex-M55)",
    )
    parser.add_argument(
        "--board", metavar="ID", help="static engine: take the board's kernels, refuse what does not fit its memory"
    )
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="directory to write")
    parser.add_argument("--force", action="store_true", help="replace DIR even if it holds other files")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Export the model."""
    from device.progress import bar
    from firmware_export import export_directory
    from firmware_export.export_source import open_source

    board = _board(args)
    export_directory.check_target(args.output, force=args.force)
    source = open_source(args.source, int8_edges=args.engine == TFLM, progress=bar)
    export: StaticExport | TflmExport
    if args.engine == STATIC:
        export, rows = _static(source, args.kernels, board)
    else:
        export, rows = _tflm(source)
    export_directory.write(args.output, export.files, export.facts, force=args.force)
    if args.json:
        print(json.dumps({"output": str(args.output), **export.facts}, indent=1, sort_keys=True))
    else:
        print(_table([(f"{args.output}", f"{len(export.files) + 1} files; start with README.md"), *rows]))
    return 0


def _board(args: argparse.Namespace) -> Board | None:
    """The board of the command line.

    Raises:
        UsageError: there is none of this name, it cannot run the kernels, or the engine has neither boards nor kernels.
    """
    if args.engine != STATIC and (args.kernels or args.board):
        option = "--kernels" if args.kernels else "--board"
        raise UsageError(f"{option} is for the static engine, found --engine {args.engine}", hint="add --engine static")
    if args.board is None:
        return None
    from boards import catalogue

    board = catalogue.find(args.board)
    if args.kernels not in (None, KERNEL_SETS[0], *board.mcu.features):
        raise UsageError(f"--kernels {args.kernels}: {board.id} is a {board.mcu.core}, which cannot run them")
    return board


def _static(
    source: ExportSource, kernels: str | None, board: Board | None
) -> tuple[StaticExport, list[tuple[str, str]]]:
    from firmware_export import static_export
    from firmware_export.static_engine.kernel import kernel_set_for

    features = board.mcu.features if board else frozenset[str]()
    export = static_export.build(source, kernels or kernel_set_for(features))
    if board:
        from firmware_export import fit

        fit.require(export.memory, board)
    memory = export.memory
    rows = [
        ("kernels", export.kernel_set),
        (
            "flash",
            f"{memory.flash_bytes} bytes: weights {memory.weights_bytes}, network {memory.network_bytes}, tables "
            f"{memory.table_bytes}; code not counted",
        ),
        ("self test", f"{memory.golden_bytes} bytes of flash more, if linked"),
        ("RAM", f"{memory.ram_bytes} bytes: arena {memory.arena_bytes}, preprocessing {memory.workspace_bytes}"),
    ]
    return export, rows


def _tflm(source: ExportSource) -> tuple[TflmExport, list[tuple[str, str]]]:
    from firmware_export import tflm_export

    export = tflm_export.build(source)
    memory = export.memory
    rows = [
        ("operators", ", ".join(op.op for op in export.registrations)),
        (
            "flash",
            f"{memory.flash_bytes} bytes: model {memory.model_bytes}, tables {memory.table_bytes}; code not counted",
        ),
        ("self test", f"{memory.golden_bytes} bytes of flash more, if linked"),
        ("RAM", f"{memory.ram_bytes} bytes: arena {memory.arena.total_bytes}, preprocessing {memory.workspace_bytes}"),
        ("arena", f"{memory.arena.host_bytes} bytes {_measured(export)}, the rest is margin"),
    ]
    return export, rows


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(title) for title, _ in rows)
    return "\n".join(f"{title:<{width}}  {value}" for title, value in rows)


def _measured(export: TflmExport) -> str:
    if export.facts["arena_source"] == "measured":
        return "measured in TFLM"
    return "measured in TFLM when the bundle was made (there is none here)"
