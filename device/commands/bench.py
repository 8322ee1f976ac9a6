# SPDX-License-Identifier: Apache-2.0
"""``litesight bench``: time every stage of a frame, show a record, compare two."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands import bench_peers
from device.commands.arguments import count, thread_counts, whole

if TYPE_CHECKING:
    from device.bench_compare import Comparison
    from device.bench_record import Record
    from device.bench_rules import Reason
    from device.errors import LitesightError

HELP = "Time capture, preprocessing, inference and post-processing of a bundle on this machine, each apart."

EPILOG = """\
Without --source a synthetic 640x480 frame is timed, so there is no capture stage. The percentiles are nearest-rank:
each is a sample that was measured. The JSON has every raw sample; docs/bench-schema.md states its fields and how two
records are compared.

examples:
  litesight bench solar.bundle                                  preprocessing and inference alone
  litesight bench solar.bundle --source usb:0 --threads 1,2,4   with a camera, three times
  litesight bench solar.bundle --runs 1000 -o pi5.json          keep the samples
  litesight bench solar.bundle --duration 600 --html heat.html  does it get slower when it gets hot?
  litesight bench solar.bundle --no-xnnpack                     what XNNPACK is worth
  litesight bench solar.bundle --peers                          the other engines that are installed, in turn
  litesight bench solar.bundle --compare pi5.json               faster than it was?
  litesight bench new.json --compare pi5.json --html both.html  two files, nothing measured
  litesight bench solar.bundle --board mps2-an386               on an emulated board (--board ID --help)

exit status: 0 measured, and compared if asked to; 1 something failed, or the records must not be compared;
2 wrong call."""

FORCE = "--force compares all the same"
DEFAULT_RUNS = 100
DEFAULT_WARMUP = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "bundle", type=Path, metavar="BUNDLE|FILE.json", help="a bundle directory, or a record that -o wrote"
    )
    parser.add_argument("--source", metavar="SOURCE", help="photo, folder, video or camera, as for litesight run")
    parser.add_argument(
        "--threads", type=thread_counts, metavar="N,N", help="one run for each number (default: the cores, at most 4)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--runs", type=count, metavar="N", help=f"timed frames per run (default: {DEFAULT_RUNS})")
    length.add_argument("--duration", type=_seconds, metavar="S", help="time frames for so many seconds instead")
    parser.add_argument(
        "--warmup", type=whole, metavar="N", help=f"untimed frames before, after the first (default: {DEFAULT_WARMUP})"
    )
    parser.add_argument("--no-xnnpack", action="store_true", help="LiteRT's own kernels instead of the delegate")
    bench_peers.configure(parser)
    parser.add_argument(
        "--cold-starts",
        type=count,
        metavar="N",
        help="also time N fresh processes from their start to their first label",
    )
    parser.add_argument("--compare", type=Path, metavar="OTHER.json", help="judge the record by this one")
    parser.add_argument("--force", action="store_true", help="compare what should not be compared, with a warning")
    parser.add_argument("--json", action="store_true", help="the whole record, or the comparison, as JSON on stdout")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the pictures to FILE")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the JSON record to FILE")


def run(args: argparse.Namespace) -> int:
    """Measure or read, then compare and tell."""
    from device.atomic import write_file
    from device.bench_reader import read_record

    _check_outputs(args)
    other = None if args.compare is None else read_record(args.compare)
    if args.bundle.is_file():
        _check_nothing_to_measure(args)
        record = read_record(args.bundle)
    else:
        record = _measure(args, other)
    comparison = None if other is None else _compare(args, record, other)
    try:
        if args.output is not None:
            write_file(args.output, record.to_bytes())
        if args.html is not None:
            from device.bench_page import page

            write_file(args.html, page(record, comparison))
    finally:
        # A full disk must not cost what an hour of measuring has found.
        _show(args, record, comparison)
    return 0 if comparison is None else _tell(comparison)


def _show(args: argparse.Namespace, record: Record, comparison: Comparison | None) -> None:
    from device.bench_table import comparison_table, table

    if args.json:
        sys.stdout.write(json.dumps(comparison.to_json()) + "\n" if comparison else record.to_bytes().decode())
    else:
        if comparison is None or not args.bundle.is_file():
            print("\n".join(table(record)))
        if comparison is not None and not comparison.refused:
            print("\n".join(comparison_table(comparison)))


def _seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    # A NaN fails the comparison.
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {text!r}")
    return seconds


def _check_outputs(args: argparse.Namespace) -> None:
    """Before anything is measured, which may take an hour."""
    from device.errors import UsageError

    for option, path in (("-o", args.output), ("--html", args.html)):
        if path is not None and path.is_dir():
            raise UsageError(f"expected a file after {option}, found the folder {path}")
    if args.force and args.compare is None:
        raise UsageError("--force has no meaning without --compare")


def _check_nothing_to_measure(args: argparse.Namespace) -> None:
    from device.errors import UsageError

    given = {
        "--source": args.source,
        "--threads": args.threads,
        "--runs": args.runs,
        "--duration": args.duration,
        "--warmup": args.warmup,
        "--no-xnnpack": args.no_xnnpack or None,
        "--cold-starts": args.cold_starts,
        "--peers": args.peers or None,
        "-o": args.output,
    }
    wrong = [option for option, value in given.items() if value is not None]
    if wrong:
        raise UsageError(
            f"{args.bundle} is a record that was measured already: {', '.join(wrong)} has no meaning for it",
            hint="give a bundle directory to measure one",
        )


def _measure(args: argparse.Namespace, other: Record | None) -> Record:
    from device import bundle, progress
    from device.bench import Options, bench, model_facts
    from device.bench_rules import model_reasons
    from device.interpreter import default_threads

    options = Options(
        threads=args.threads or (default_threads(),),
        runs=args.runs or DEFAULT_RUNS,
        warmup=DEFAULT_WARMUP if args.warmup is None else args.warmup,
        xnnpack=not args.no_xnnpack,
        duration_s=args.duration,
        cold_starts=args.cold_starts or 0,
        peers=bench_peers.options(args),
    )
    if other is not None and not args.force:
        # Known before anything is measured.
        reasons = tuple(model_reasons(model_facts(bundle.load(args.bundle)), other.model))
        if reasons:
            raise _refusal(reasons, args.compare.name, FORCE)
    return bench(args.bundle, args.source, options, progress.bar)


def _compare(args: argparse.Namespace, record: Record, other: Record) -> Comparison:
    from device.bench_compare import compare

    this_name = args.bundle.name if args.bundle.is_file() else "this run"
    other_name = args.compare.name
    return compare(record, other, (this_name, other_name), force=args.force)


def _tell(comparison: Comparison) -> int:
    """Refuse, or warn of what was forced."""
    if comparison.refused:
        hint = "" if comparison.forced else FORCE
        raise _refusal(comparison.reasons, comparison.other_name, hint)
    from device.images import printable

    for reason in comparison.reasons:
        print(f"litesight: warning: not comparable: {printable(str(reason))}", file=sys.stderr)
    return 0


def _refusal(reasons: tuple[Reason, ...], other: str, hint: str) -> LitesightError:
    from device.errors import LitesightError
    from device.images import printable

    why = "; ".join(printable(str(reason)) for reason in reasons)
    return LitesightError(f"not comparable with {printable(other)}: {why}", hint=hint)
