#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the runner against what else people use on a Pi, and prints one line per figure: reached, asked for.

Usage: make bench-pi [ROUNDS=9], or bench_pi.py [--rounds N] [--threads 1,2] [--markdown]

One run, one machine, one network (EfficientNet-Lite0, 224x224, ImageNet, int8), one clip (640x480 motion JPEG, 330
frames made of photos). End to end means from opening the clip to the last label. Every contestant is a process of its
own that stands still while another one works; they take turns, a pass over the clip each, and every round begins with
another one. Speeds are compared within a round, so that a machine that slows down slows all of them.

A peer runs twice: one frame after another, as its examples have it, and with decoding in a thread of its own, as the
kit does it. The faster of the two counts.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bench_pi_setup as setup
from bench_pi_report import NAMES, Contestant, Line, Results, ratios_of, report
from bench_pi_runner import latency, page, soak, stop
from bench_pi_setup import FRAMES, HERE, ROOT, WORK, Stage

LITESIGHT = [sys.executable, "-m", "litesight"]
PEERS = ("mediapipe", "onnxruntime", "opencv")
MEMORY_FRAMES = 300
STARTS = 9


class ContestantError(Exception):
    """A contestant ended instead of answering."""


def throughput(stage: Stage, options: argparse.Namespace, results: Results) -> None:
    """Frames a second end to end: against the bare loop, and against every peer."""
    for threads in options.threads:
        field_of = race(stage, threads, options.rounds)
        results.speeds[threads] = field_of
        by_name = {each.name: each for each in field_of}
        own = by_name["ours"]
        plural = "1 thread" if threads == 1 else f"{threads} threads"
        if threads == 1:
            results.lines.append(compared(f"end to end / bare invoke(), {plural}", own, by_name["invoke"], 0.95))
        for peer in PEERS:
            entrants = [by_name[name] for name in (peer, f"{peer}+thread") if name in by_name]
            if entrants:
                fastest = max(entrants, key=lambda each: statistics.median(each.rates))
                results.lines.append(compared(f"speed / {NAMES[peer]}, {plural}", own, fastest, 1.0))


def compared(what: str, own: Contestant, other: Contestant, asked: float) -> Line:
    """How many times as fast as the other the kit is, within the rounds."""
    ratios = ratios_of(own, other)
    return Line(what, statistics.median(ratios), asked, "×", True, f"{min(ratios):.2f} to {max(ratios):.2f}")


def race(stage: Stage, threads: int, rounds: int) -> list[Contestant]:
    """Let everybody run, in turn."""
    names = [name for name in NAMES if name in stage.python]
    names += [f"{name}+thread" for name in PEERS if name in stage.python]
    contestants = []
    try:
        for name in names:
            setup.tell(f"opening {name}, threads {threads}")
            try:
                contestants.append(enter(stage, name, threads))
            except ContestantError as error:
                stage.absent[name.partition("+")[0]] = str(error)
        for number in range(rounds):
            setup.tell(f"round {number + 1} of {rounds}, threads {threads}")
            for place in range(len(contestants)):
                each = contestants[(number + place) % len(contestants)]
                found = go(each)
                each.seconds.append(found["seconds"])
                each.cpu_seconds.append(found["cpu_seconds"])
    finally:
        for each in contestants:
            each.process.kill()
            each.process.wait()
    return contestants


def enter(stage: Stage, name: str, threads: int) -> Contestant:
    """Start a contestant; its first pass warms it up and tells its answers."""
    script = HERE / "bench_pi_contestant.py"
    arguments = [name, str(threads), str(stage.clip), str(stage.bundle), str(stage.models)]
    errors = (WORK / f"{name}.log").open("w")
    process = subprocess.Popen(
        [stage.python[name.partition("+")[0]], str(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    try:
        config = read_answer(process)["config"]
        contestant = Contestant(name, process, config, [])
        contestant.answers = go(contestant)["answers"]
    except ContestantError as error:
        process.kill()
        process.wait()
        said = [line for line in (WORK / f"{name}.log").read_text(errors="replace").splitlines() if line.strip()]
        raise ContestantError(said[-1] if said else str(error)) from error
    if contestant.answers and len(contestant.answers) != FRAMES:
        raise ContestantError(f"expected {FRAMES} labels, found {len(contestant.answers)}")
    return contestant


def go(contestant: Contestant) -> dict[str, Any]:
    """One pass."""
    process = contestant.process
    assert process.stdin is not None
    process.stdin.write("again\n")
    process.stdin.flush()
    return read_answer(process)


def read_answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """One line of JSON; anything else that a library prints is passed over."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            answer: dict[str, Any] = json.loads(line)
            return answer
    raise ContestantError(f"ended with status {process.wait()}")


def start(stage: Stage, options: argparse.Namespace, results: Results) -> None:
    """From calling the command to its first label; a new process each time, the bundle on disk."""
    seconds = []
    for _ in range(STARTS):
        started = time.perf_counter()
        process = run_command(stage, "--limit", "1")
        line = process.stdout.readline() if process.stdout else ""
        seconds.append(time.perf_counter() - started)
        process.communicate(timeout=60)
        assert line, "litesight run told no label"
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    results.lines.append(Line("start to first label", statistics.median(seconds), 1.5, "s", False, spread))


def memory(stage: Stage, options: argparse.Namespace, results: Results) -> None:
    """Resident memory when 300 frames are behind it; the process stands still while it is looked at."""
    process = run_command(stage)
    assert process.stdout is not None
    for _ in range(MEMORY_FRAMES):
        process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    status = Path(f"/proc/{process.pid}/status").read_text()
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    fields = dict(line.split(":", 1) for line in status.splitlines())
    for name, what in (("VmRSS", f"resident memory after {MEMORY_FRAMES} frames"), ("VmHWM", "its peak until then")):
        results.lines.append(Line(what, int(fields[name].split()[0]) * 1024 / 1e6, 150, "MB", False))


def run_command(stage: Stage, *more: str) -> subprocess.Popen[str]:
    """``litesight run`` on the clip, without a page."""
    command = [*LITESIGHT, "run", str(stage.bundle), "--source", str(stage.clip), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def stages(stage: Stage, options: argparse.Namespace, results: Results) -> None:
    """Where the kit's own time goes, as the command itself tells; no figure was asked for."""
    for threads in options.threads:
        process = run_command(stage, "--json", "--threads", str(threads))
        told, _ = process.communicate(timeout=300)
        times = [json.loads(line)["ms"] for line in told.splitlines()]
        parts = [f"{name} {statistics.median(ms[name] for ms in times):.2f}" for name in times[0]]
        results.notes.append(f"stages of litesight run, median ms, threads {threads}: {', '.join(parts)}")


FIGURES: Sequence[Callable[[Stage, argparse.Namespace, Results], None]] = (
    throughput,
    latency,
    page,
    start,
    stop,
    memory,
    soak,
    stages,
)
"""Each measures something and adds its lines."""


def main() -> int:
    """Measure, print, keep the record."""
    parser = argparse.ArgumentParser(description="the figures of litesight run, beside its peers")
    parser.add_argument("--rounds", type=int, default=9, help="passes of every contestant (default: 9)")
    parser.add_argument("--threads", default="1,2", help="threads of an inference (default: 1,2)")
    parser.add_argument("--only", metavar="NAME,NAME", help="some of: " + ", ".join(each.__name__ for each in FIGURES))
    parser.add_argument("--markdown", action="store_true", help="tables for docs/pi-figures.md")
    options = parser.parse_args()
    options.threads = [int(part) for part in options.threads.split(",")]
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    stage, results = setup.prepare(), Results()
    wanted = options.only.split(",") if options.only else [each.__name__ for each in FIGURES]
    for measure in FIGURES:
        if measure.__name__ in wanted:
            measure(stage, options, results)
    print(report(stage, results, options.markdown))
    (WORK / "record.json").write_text(json.dumps(record(stage, results, options), indent=1) + "\n")
    return int(not all(line.good for line in results.lines))


def record(stage: Stage, results: Results, options: argparse.Namespace) -> dict[str, Any]:
    """For programs: every pass of everybody."""
    from device.machine import read_facts

    return {
        "machine": asdict(read_facts()),
        "rounds": options.rounds,
        "frames": FRAMES,
        "lines": [{**asdict(line), "good": line.good} for line in results.lines],
        "speeds": {
            threads: [
                {"name": e.name, "config": e.config, "seconds": e.seconds, "cpu_seconds": e.cpu_seconds}
                for e in contestants
            ]
            for threads, contestants in results.speeds.items()
        },
        "notes": results.notes,
        "absent": stage.absent,
    }


if __name__ == "__main__":
    sys.exit(main())
