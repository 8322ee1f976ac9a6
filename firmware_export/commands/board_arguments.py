# SPDX-License-Identifier: Apache-2.0
"""What the commands for boards share: arguments, and how they end."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from types import FrameType

from device.commands.arguments import count

INPUTS = ("frame", "rows")
ENGINES = ("static",)

__all__ = ["ENGINES", "INPUTS", "add_board_arguments", "count", "end_as_by_ctrl_c"]


def add_board_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, --board, --engine and --input."""
    parser.add_argument("model", metavar="BUNDLE_OR_TFLITE", type=Path, help="bundle directory, or an int8 .tflite")
    parser.add_argument("--board", metavar="ID", required=True, help="id of litesight boards, or a board's .toml file")
    parser.add_argument("--engine", choices=ENGINES, default="static", help="what runs the network (default: static)")
    parser.add_argument(
        "--input", choices=INPUTS, default="frame", help="a frame in RAM (default), or rows while the network runs"
    )


def end_as_by_ctrl_c() -> None:
    """Let SIGTERM and a closed window end the command as Ctrl-C does, so that no emulator and no file is left."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
