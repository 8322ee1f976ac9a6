# SPDX-License-Identifier: Apache-2.0
"""``litesight emulate``: the network on an emulated board."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_export.commands.board_arguments import add_board_arguments, count, end_as_by_ctrl_c

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from firmware_export.board_inference import BoardInference
    from firmware_export.board_project import BoardProject

HELP = "Build for a board, boot it in an emulator, and classify on it."
EPILOG = """\
Without photos the golden vectors are classified and their bytes compared. Photos are cropped, resized and quantised
here, as the board's own preprocessing would, and sent over the serial line.

With --serial the board's serial line becomes a terminal of this machine, until Ctrl-C; its path is the first line on
stdout. It speaks the command set of MLPerf Tiny, so the public runner can be pointed at it. Type name% to try it. Times
that the board tells are counted instructions, not time.

examples:
  litesight emulate mybundle --board mps2-an386
  litesight emulate mybundle --board netduinoplus2 cell.png panel.jpg --top 1
  litesight emulate mybundle --board mps3-an547 --serial

exit status: 0 classified, 1 a golden byte differs or something failed, 2 wrong usage or an unknown board."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_board_arguments(parser)
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="photos to classify")
    parser.add_argument("--top", type=count, default=3, metavar="N", help="labels to show per photo (default: 3)")
    parser.add_argument("--serial", action="store_true", help="open a terminal for other programs instead")


def run(args: argparse.Namespace) -> int:
    """Build, boot, classify."""
    from device.errors import UsageError
    from device.images import read_image
    from device.progress import bar
    from firmware_export import firmware
    from firmware_export.board_bench import started
    from firmware_export.board_project import open_project

    if args.serial and args.photos:
        raise UsageError("expected --serial or photos, found both")
    end_as_by_ctrl_c()
    photos = [(path, read_image(path)) for path in args.photos]
    project = open_project(args.model, args.board, args.input, emulated=True, progress=bar)
    with tempfile.TemporaryDirectory(prefix="litesight-emulate-") as name:
        print(f"building for {project.board.name}", file=sys.stderr)
        files = firmware.source_files(project.export, project.board, project.form)
        elf = firmware.compile_sources(files, project.board, Path(name)).elf
        if args.serial:
            return _serve(project, elf)
        print(f"booting {project.board.id}", file=sys.stderr)
        with started(project.source, project.board, elf, project.form) as board:
            if photos:
                return _classify(project, board, photos, args.top)
            return _prove(project, board, args.top)


def _classify(
    project: BoardProject, board: BoardInference, photos: list[tuple[Path, NDArray[np.uint8]]], top: int
) -> int:
    from device.images import printable
    from device.preprocess import Preprocessor
    from device.progress import bar

    preprocess = Preprocessor(project.source.spec)
    for path, pixels in photos:
        output = board.run(preprocess(pixels), progress=bar).output
        print(f"{printable(path)}: {_labels(project, output, top)}", flush=True)
    return 0


def _prove(project: BoardProject, board: BoardInference, top: int) -> int:
    from device.progress import bar

    golden = project.source.golden
    different = 0
    for index, (values, expected) in enumerate(zip(golden.inputs, golden.outputs, strict=True)):
        output = board.run(values, progress=bar).output
        count_different = int((output != expected).sum())
        different += count_different
        verdict = f"{count_different} BYTES DIFFER" if count_different else "every byte equal"
        print(f"golden {index}: {_labels(project, output, top)}  {verdict}", flush=True)
    return 1 if different else 0


def _labels(project: BoardProject, output: NDArray[np.int8], top: int) -> str:
    from firmware_export.probability import ONE, probabilities

    source = project.source
    facts = source.model.output
    found = probabilities(output, facts.scales[0], facts.zero_points[0], is_probability=source.is_probability)
    order = sorted(range(len(output)), key=lambda index: (-int(output[index]), index))[:top]
    return ", ".join(f"{source.labels[index]} {int(found[index]) / ONE:.1%}" for index in order)


def _serve(project: BoardProject, elf: Path) -> int:
    from firmware_export.board_terminal import served

    with served(project.board, elf) as terminal:
        print(terminal.path, flush=True)
        print(f"the serial line of {project.board.id}; Ctrl-C ends it", file=sys.stderr)
        try:
            terminal.wait()
        except KeyboardInterrupt:
            return 0
