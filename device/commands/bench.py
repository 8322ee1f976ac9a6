# SPDX-License-Identifier: Apache-2.0
"""``litesight bench``: time every stage of a frame."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands import bench_peers
from device.commands.arguments import count, thread_counts, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device.bench_record import Record, Run
    from device.machine import MachineState

HELP = "Time capture, preprocessing, inference and post-processing of a bundle on this machine, each apart."

EPILOG = """\
Without --source a synthetic 640x480 frame is timed, so there is no capture stage. The percentiles are nearest-rank:
each is a sample that was measured. The JSON has every raw sample; docs/bench-schema.md states its fields.

examples:
  litesight bench solar.bundle                                  preprocessing and inference alone
  litesight bench solar.bundle --source usb:0 --threads 1,2,4   with a camera, three times
  litesight bench solar.bundle --runs 1000 -o pi5.json          keep the samples
  litesight bench solar.bundle --no-xnnpack                     what XNNPACK is worth
  litesight bench solar.bundle --peers                          the other engines that are installed, in turn
  litesight bench solar.bundle --board mps2-an386               on an emulated board (--board ID --help)"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle directory")
    parser.add_argument("--source", metavar="SOURCE", help="photo, folder, video or camera, as for litesight run")
    parser.add_argument(
        "--threads", type=thread_counts, metavar="N,N", help="one run for each number (default: the cores, at most 4)"
    )
    parser.add_argument("--runs", type=count, default=100, metavar="N", help="timed frames per run (default: 100)")
    parser.add_argument("--warmup", type=whole, default=10, metavar="N", help="untimed frames before (default: 10)")
    parser.add_argument("--no-xnnpack", action="store_true", help="LiteRT's own kernels instead of the delegate")
    bench_peers.configure(parser)
    parser.add_argument("--json", action="store_true", help="the whole record as JSON on stdout")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the JSON record to FILE")


def run(args: argparse.Namespace) -> int:
    """Measure, then tell."""
    from device import progress
    from device.atomic import write_file
    from device.bench import Options, bench
    from device.interpreter import default_threads

    threads = args.threads or (default_threads(),)
    options = Options(threads, args.runs, args.warmup, not args.no_xnnpack, bench_peers.options(args))
    if args.output is not None and args.output.is_dir():
        from device.errors import UsageError

        raise UsageError(f"expected a file after -o, found the folder {args.output}")
    record = bench(args.bundle, args.source, options, progress.bar)
    if args.output is not None:
        write_file(args.output, record.to_bytes())
    if args.json:
        sys.stdout.write(record.to_bytes().decode())
    else:
        print("\n".join(table(record)))
    return 0


def table(record: Record) -> Iterator[str]:
    """The record for people."""
    model, machine = record.model, record.target.machine
    size = "×".join(str(side) for side in model.input)
    yield f"model    {model.name}, {size}, {model.macs:,} MACs, sha256 {model.sha256[:12]}…"
    if machine is not None:
        board = f"{machine.board}, " if machine.board else ""
        features = f" ({' '.join(machine.features)})" if machine.features else ""
        cpu = machine.cpu or "unknown processor"
        yield f"machine  {board}{cpu}, {machine.cores} cores, {machine.architecture}{features}"
    for each in record.runs:
        if not bench_peers.is_peer_run(each):
            yield ""
            yield from _run_lines(each)
    yield from bench_peers.lines([each for each in record.runs if bench_peers.is_peer_run(each)])


def _run_lines(run: Run) -> Iterator[str]:
    figures, threads = run.figures, run.settings["threads"]
    share = f"XNNPACK runs {figures['ops_xnnpack']} of {figures['ops_total']} operators"
    yield f"{run.engine} {run.version}, {threads} thread{'' if threads == 1 else 's'}, {share}"
    size = f"{run.source['width']}×{run.source['height']}"
    if run.source["kind"] == "synthetic":
        yield f"source   synthetic frame {size} in memory; capture is not timed (give --source to time it)"
    else:
        yield f"source   {run.source['name']} {size}"
    yield f"{'ms':<12}{'p50':>9}{'p90':>9}{'p99':>9}{'mean':>9}"
    for name, series in run.stages.items():
        numbers = (series.percentile(50), series.percentile(90), series.percentile(99), series.mean)
        yield f"{name:<12}" + "".join(f"{number:>9.3f}" for number in numbers)
    yield (
        f"{figures['frames_per_second']:.1f} frames/s one after another; "
        f"cold start: open {figures['open_ms']:.1f} ms, first frame {figures['first_frame_ms']:.1f} ms"
    )
    yield f"memory   {_megabytes(figures['rss_bytes'])} resident, {_megabytes(figures['peak_rss_bytes'])} at its peak"
    yield f"before   {_state(run.before)}"
    yield f"after    {_state(run.after)}"


def _megabytes(count_bytes: float | None) -> str:
    return "unknown" if count_bytes is None else f"{count_bytes / 1e6:.0f} MB"


def _state(state: MachineState | None) -> str:
    if state is None:
        return "unknown"
    temperature = "unknown" if state.temperature_c is None else f"{state.temperature_c:.1f} °C"
    reasons = state.throttle_reasons
    throttled = "unknown" if reasons is None else ", ".join(reasons) or "no"
    clock = "" if state.clock_mhz is None else f", clock {state.clock_mhz:.0f} MHz"
    return f"temperature {temperature}, throttled: {throttled}, governor {state.governor or 'unknown'}{clock}"
