# SPDX-License-Identifier: Apache-2.0
"""``litesight export``: C sources for a microcontroller."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firmware_export.tflm_export import TflmExport

HELP = "Write C sources that classify frames on a microcontroller."
EPILOG = """\
examples:
  litesight export mybundle --engine tflm -o firmware
  litesight export network.tflite -o firmware      labels class0, class1, …; a pixel x is taken as x - 128

An earlier export in DIR is replaced unless somebody changed it; --force replaces whatever is there.
Where TFLM's package is missing (it exists for x86-64 Linux only), a bundle that was proved in TFLM when it was made is
exported with the arena measured then."""

ENGINES = ("tflm",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="BUNDLE_OR_TFLITE", type=Path, help="bundle directory, or an int8 .tflite")
    parser.add_argument(
        "--engine", choices=ENGINES, default="tflm", help="what runs the network: TensorFlow Lite Micro (default)"
    )
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="directory to write")
    parser.add_argument("--force", action="store_true", help="replace DIR even if it holds other files")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Export the model."""
    from device.progress import bar
    from firmware_export import export_directory, tflm_export
    from firmware_export.export_source import open_source

    export_directory.check_target(args.output, force=args.force)
    export = tflm_export.build(open_source(args.source, progress=bar))
    tflm_export.write(export, args.output, force=args.force)
    if args.json:
        print(json.dumps({"output": str(args.output), **export.facts}, indent=1, sort_keys=True))
    else:
        print(_table(args.output, export))
    return 0


def _table(output: Path, export: TflmExport) -> str:
    memory = export.memory
    rows = [
        (f"{output}", f"{len(export.files) + 1} files; start with README.md"),
        ("operators", ", ".join(op.op for op in export.registrations)),
        (
            "flash",
            f"{memory.flash_bytes} bytes: model {memory.model_bytes}, tables {memory.table_bytes}; code not counted",
        ),
        ("self test", f"{memory.golden_bytes} bytes of flash more, if linked"),
        ("RAM", f"{memory.ram_bytes} bytes: arena {memory.arena.total_bytes}, preprocessing {memory.workspace_bytes}"),
        ("arena", f"{memory.arena.host_bytes} bytes {_measured(export)}, the rest is margin"),
    ]
    width = max(len(title) for title, _ in rows)
    return "\n".join(f"{title:<{width}}  {value}" for title, value in rows)


def _measured(export: TflmExport) -> str:
    if export.facts["arena_source"] == "measured":
        return "measured in TFLM"
    return "measured in TFLM when the bundle was made (there is none here)"
