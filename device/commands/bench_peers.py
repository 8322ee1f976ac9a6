# SPDX-License-Identifier: Apache-2.0
"""``litesight bench --peers``: the arguments."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device.bench_peers import PeerOptions
    from device.peers import AbsentError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--peers", action="store_true", help="other engines that are installed too, in turn")
    parser.add_argument(
        "--onnx", type=Path, metavar="FILE", help="the same network for ONNX Runtime (default: BUNDLE/model.onnx)"
    )


def options(args: argparse.Namespace) -> PeerOptions | None:
    """What the arguments ask for; None without ``--peers``.

    Raises:
        UsageError: ``--onnx`` names no file, or stands alone.
    """
    from device.bench_peers import PeerOptions
    from device.errors import UsageError

    if args.onnx is not None and not args.peers:
        raise UsageError("--onnx is for --peers, which is missing")
    if args.onnx is not None and not args.onnx.is_file():
        raise UsageError(f"expected an ONNX file after --onnx, found {args.onnx}, which is none")
    return PeerOptions(args.onnx, _tell_absent) if args.peers else None


def _tell_absent(name: str, why: AbsentError) -> None:
    print(f"not here: {name}: {why}", file=sys.stderr)
