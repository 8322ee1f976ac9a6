# SPDX-License-Identifier: Apache-2.0
"""``litesight bench --peers``: the arguments, and the table of engines that were timed in turn."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from device.bench_peers import PeerOptions
    from device.bench_record import Run
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


def is_peer_run(run: Run) -> bool:
    """Whether the run was timed in turn with others."""
    return "invoke_ratio" in run.figures


def lines(runs: Sequence[Run]) -> Iterator[str]:
    """The runs that were timed in turn, one table for each number of threads."""
    for threads in dict.fromkeys(run.settings["threads"] for run in runs):
        same = [run for run in runs if run.settings["threads"] == threads]
        first = same[0].settings
        yield ""
        yield (
            f"engines in turn, {threads} thread{'' if threads == 1 else 's'}: {first['runs']} frames each in "
            f"{first['rounds']} rounds, {first['pictures']} pictures, only the network"
        )
        yield f"{'invoke, ms':<36}{'p50':>9}{'p90':>9}{'p99':>9}{'× ours':>9}{'same answer':>13}"
        for run in same:
            series, figures = run.stages["invoke"], run.figures
            numbers = "".join(f"{series.percentile(percent):>9.3f}" for percent in (50, 90, 99))
            name = f"{run.engine} {run.version}"
            yield f"{name:<36}{numbers}{figures['invoke_ratio']:>9.2f}{figures['agreement']:>13.1%}"
            yield f"  {run.settings['network']}"


def _tell_absent(name: str, why: AbsentError) -> None:
    print(f"not here: {name}: {why}", file=sys.stderr)
