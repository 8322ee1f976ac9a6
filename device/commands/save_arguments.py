# SPDX-License-Identifier: Apache-2.0
"""The arguments with which frames are collected for the next training."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device.errors import UsageError
from device.save_rule import SaveRule, parse_rule, parse_size

if TYPE_CHECKING:
    from device.frame_saver import FrameSaver

DEFAULT_FOLDER: Final = "frames"
DEFAULT_LIMIT: Final = "1GB"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --save, --save-to and --save-limit."""
    group = parser.add_argument_group("collecting frames for the next training")
    group.add_argument(
        "--save",
        type=_rule,
        metavar="RULE",
        help="keep frames in class folders: uncertain (two classes are close, or below --threshold), all, or every:N",
    )
    group.add_argument(
        "--save-to", type=_folder, metavar="DIR", help=f"where the class folders are made (default: {DEFAULT_FOLDER})"
    )
    group.add_argument(
        "--save-limit", type=_size, metavar="SIZE", help=f"stop when DIR holds so much (default: {DEFAULT_LIMIT})"
    )


def open_saver(args: argparse.Namespace, report: Callable[[str], None], *, patient: bool = False) -> FrameSaver | None:
    """What collects as ``args`` say; None without --save.

    Args:
        args: parsed; where there is a ``threshold``, answers below it are uncertain.
        report: gets lines about pauses, in another thread.
        patient: the source waits for nobody's harm: photos and videos.

    Raises:
        UsageError: --save-to or --save-limit without --save.
        LitesightError: the folder cannot be written.
    """
    rule: SaveRule | None = args.save
    if rule is None:
        for option, value in (("--save-to", args.save_to), ("--save-limit", args.save_limit)):
            if value is not None:
                raise UsageError(f"{option} needs --save", hint="--save uncertain, --save all or --save every:N")
        return None
    from dataclasses import replace

    from device.frame_saver import MIN_DISTANCE, FrameSaver

    rule = replace(rule, threshold=getattr(args, "threshold", 0.0))
    limit: int = parse_size(DEFAULT_LIMIT) if args.save_limit is None else args.save_limit
    folder = Path(DEFAULT_FOLDER) if args.save_to is None else args.save_to
    return FrameSaver(folder, rule, limit, MIN_DISTANCE, report, patient=patient)


def _rule(text: str) -> SaveRule:
    try:
        return parse_rule(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _folder(text: str) -> Path:
    # Path("") is the current directory, and a script's variable that is not set would fill it.
    if not text:
        raise argparse.ArgumentTypeError("expected a folder, found an empty name")
    return Path(text)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
