# SPDX-License-Identifier: Apache-2.0
"""``litesight build``: a program for a board."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_export.commands.board_arguments import add_board_arguments, end_as_by_ctrl_c

if TYPE_CHECKING:
    from boards.build import Image
    from firmware_export.firmware import Sizes

HELP = "Build a program for a board that runs the network and answers on the serial line."
EPILOG = """\
The program speaks the command set of MLPerf Tiny on the board's serial line (docs/serial.md). In DIR: firmware.elf, its
map and linker script, all sources, and export.json with the sizes. An earlier build in DIR is replaced unless somebody
changed it; --force replaces whatever is there.

examples:
  litesight build mybundle --board netduinoplus2 -o firmware
  litesight build network.tflite --board mps2-an386 --input rows -o firmware      no frame in RAM

exit status: 0 built, 1 it does not fit or cannot be built, 2 wrong usage or an unknown board."""

_PROGRAM = ("firmware.elf", "firmware.map", "firmware.ld")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_board_arguments(parser)
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="directory (default: MODEL-BOARD, here)")
    parser.add_argument("--force", action="store_true", help="replace DIR even if it holds other files")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Build, then write everything at once."""
    from boards.catalogue import find
    from device.progress import bar
    from firmware_export import export_directory, firmware
    from firmware_export.board_project import open_project

    end_as_by_ctrl_c()
    output = args.output or Path(f"{args.model.resolve().stem}-{find(args.board).id}")
    export_directory.check_target(output, force=args.force)
    project = open_project(args.model, args.board, args.input, progress=bar)
    files = firmware.source_files(project.export, project.board, project.form)
    with tempfile.TemporaryDirectory(prefix="litesight-build-") as name:
        image = firmware.compile_sources(files, project.board, Path(name))
        program = {file: image.elf.with_name(file).read_bytes() for file in _PROGRAM}
    sizes = firmware.sizes(image)
    maps = {name: content for name, content in project.export.files.items() if name.startswith("memory_map.")}
    facts = {**project.export.facts, "board": project.board.id, "input": project.form, "image": asdict(sizes)}
    export_directory.write(output, {**files, **maps, **program}, facts, force=args.force)
    if args.json:
        regions = [asdict(region) for region in image.regions]
        print(json.dumps({"output": str(output), "regions": regions, **facts}, indent=1, sort_keys=True))
    else:
        print(_table(output, image, sizes))
    return 0


def _table(output: Path, image: Image, sizes: Sizes) -> str:
    rows = [
        (f"{output / _PROGRAM[0]}", f"for {image.board.name}"),
        (
            "flash",
            f"{sizes.flash_bytes:,} bytes: weights {sizes.weights_bytes:,}, other constants "
            f"{sizes.constants_bytes - sizes.weights_bytes:,}, code {sizes.code_bytes:,}",
        ),
        ("RAM", f"{sizes.ram_bytes:,} bytes, and {image.stack_bytes:,} for the stack"),
        *(
            (region.name, f"{region.used:,} of {region.available:,} bytes ({region.kind})")
            for region in image.regions
            if region.used
        ),
    ]
    width = max(len(title) for title, _ in rows)
    return "\n".join(f"{title:<{width}}  {value}" for title, value in rows)
