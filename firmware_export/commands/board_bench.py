# SPDX-License-Identifier: Apache-2.0
"""``litesight bench --board``: instructions, memory and byte equality on an emulated board."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_export.commands.board_arguments import add_board_arguments, count, end_as_by_ctrl_c

if TYPE_CHECKING:
    from device.bench_record import Record, Run

HELP = (
    "Build for a board, boot it, send the golden vectors over its serial line, compare every byte, count instructions."
)
EPILOG = """\
Without --board, litesight bench times a bundle on this machine: litesight bench --help.

Instructions are counted by the emulator. They are not cycles, milliseconds or energy: it knows neither caches nor wait
states. RAM is all variables of the linked program (arena and frame included); the stack is beside it.
docs/bench-schema.md states the fields of the JSON.

examples:
  litesight bench mybundle --board mps2-an386
  litesight bench network.tflite --board mps3-an547 --input rows --json
  litesight bench mybundle --board netduinoplus2 --vectors 1 -o m4.json

exit status: 0 every byte equal, 1 a byte differs or something failed, 2 wrong usage or an unknown board."""

_SHOWN_OPS = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_board_arguments(parser)
    parser.add_argument("--vectors", type=count, metavar="N", help="send the first N golden vectors (default: all)")
    parser.add_argument("--ops", action="store_true", help="show every operator, not only the most expensive")
    parser.add_argument("--json", action="store_true", help="the whole record as JSON on stdout")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the JSON record to FILE")


def run(args: argparse.Namespace) -> int:
    """Measure, then tell."""
    from device.atomic import write_file
    from device.errors import UsageError
    from device.progress import bar
    from firmware_export.board_bench import bench
    from firmware_export.board_project import open_project

    end_as_by_ctrl_c()
    if args.output is not None and args.output.is_dir():
        raise UsageError(f"expected a file after -o, found the folder {args.output}")
    project = open_project(args.model, args.board, args.input, emulated=True, progress=bar)
    print(f"building for {project.board.name} and booting it", file=sys.stderr)
    record = bench(project, args.vectors, bar)
    if args.output is not None:
        write_file(args.output, record.to_bytes())
    if args.json:
        sys.stdout.write(record.to_bytes().decode())
    else:
        print("\n".join(table(record, every_op=args.ops)))
    return 0 if record.runs[0].figures["mismatched_bytes"] == 0 else 1


def table(record: Record, *, every_op: bool = False) -> Iterator[str]:
    """The record for people."""
    model, (run,) = record.model, record.runs
    size = "×".join(str(side) for side in model.input)
    settings, figures = run.settings, {name: int(value or 0) for name, value in run.figures.items()}
    per_mac = figures["instructions_per_inference"] / model.macs if model.macs else 0.0
    yield f"model         {model.name}, {size}, {model.macs:,} MACs, sha256 {model.sha256[:12]}…"
    yield f"board         {record.target.id}, emulated; {settings['kernels']} kernels, {settings['compiler']}"
    yield f"input         {'a frame in RAM' if settings['input'] == 'frame' else 'rows while the network runs'}"
    yield f"instructions  {figures['instructions_per_inference']:,} per inference, {per_mac:.2f} per MAC"
    yield f"RAM           {figures['ram_bytes']:,} bytes, of which the arena {figures['arena_bytes']:,}"
    yield f"stack         {figures['stack_bytes']:,} bytes at its deepest"
    others = figures["constants_bytes"] - figures["weights_bytes"]
    yield (
        f"flash         {figures['flash_bytes']:,} bytes: weights {figures['weights_bytes']:,}, other constants "
        f"{others:,}, code {figures['code_bytes']:,}"
    )
    yield f"golden        {settings['vectors']} vectors of {run.source['name']}: {_verdict(run, model.classes)}"
    yield from _ops(run, every_op)


def _verdict(run: Run, classes: int) -> str:
    total = int(run.settings["vectors"]) * classes
    mismatched = run.figures["mismatched_bytes"]
    return f"all {total} bytes equal" if mismatched == 0 else f"{mismatched} OF {total} BYTES DIFFER"


def _ops(run: Run, every_op: bool) -> Iterator[str]:
    costs = [(op.index, op.op, op.figures["instructions_per_inference"]) for op in run.ops]
    total = sum(cost for _, _, cost in costs) or 1
    if not every_op:
        costs = sorted(costs, key=lambda each: -each[2])[:_SHOWN_OPS]
    width = max((len(name) for _, name, _ in costs), default=0)
    yield ""
    yield f"{'op':>4}  {'layer':<{width}}  {'instructions':>13}  share"
    for index, name, cost in costs:
        yield f"{index:>4}  {name:<{width}}  {cost:>13,.0f}  {cost / total:>5.1%}"
    if not every_op and len(run.ops) > len(costs):
        yield f"      {len(run.ops) - len(costs)} more: --ops shows them"
