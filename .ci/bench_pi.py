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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import bench_pi_setup as setup
from bench_pi_setup import FRAMES, HERE, ROOT, WORK, Stage

LITESIGHT = [sys.executable, "-m", "litesight"]
NAMES = {
    "ours": "litesight",
    "invoke": "bare invoke() loop",
    "decode": "decoding alone",
    "mediapipe": "MediaPipe ImageClassifier",
    "onnxruntime": "ONNX Runtime int8",
    "opencv": "OpenCV DNN",
}
PEERS = ("mediapipe", "onnxruntime", "opencv")
MEMORY_FRAMES = 300
STARTS = 9


@dataclass(frozen=True)
class Line:
    """One figure: what was asked for, and whether more or less is better."""

    what: str
    reached: float
    asked: float
    unit: str
    at_least: bool
    spread: str = ""

    @property
    def good(self) -> bool:
        """Whether it was reached."""
        return self.reached >= self.asked if self.at_least else self.reached <= self.asked

    def cells(self) -> tuple[str, str, str, str]:
        """What, reached, asked for, spread."""
        sign = "≥" if self.at_least else "≤"
        return self.what, f"{self.reached:.2f} {self.unit}", f"{sign} {self.asked:g} {self.unit}", self.spread


@dataclass
class Contestant:
    """A process that runs the clip when it is told to, and what it did."""

    name: str
    process: subprocess.Popen[str]
    config: str
    answers: list[list[int]]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """One pass."""
        assert self.process.stdin is not None
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        return read_answer(self.process)

    @property
    def rates(self) -> list[float]:
        """Frames a second, round by round."""
        return [FRAMES / each for each in self.seconds]


@dataclass
class Results:
    """Everything that was found out."""

    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    speeds: dict[int, list[Contestant]] = field(default_factory=dict)


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


def ratios_of(own: Contestant, other: Contestant) -> list[float]:
    """Our speed / theirs, round by round."""
    return [theirs / ours for ours, theirs in zip(own.seconds, other.seconds, strict=True)]


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
                found = each.run()
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
        contestant.answers = contestant.run()["answers"]
    except ContestantError as error:
        process.kill()
        process.wait()
        said = [line for line in (WORK / f"{name}.log").read_text(errors="replace").splitlines() if line.strip()]
        raise ContestantError(said[-1] if said else str(error)) from error
    if contestant.answers and len(contestant.answers) != FRAMES:
        raise ContestantError(f"expected {FRAMES} labels, found {len(contestant.answers)}")
    return contestant


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


FIGURES: Sequence[Callable[[Stage, argparse.Namespace, Results], None]] = (throughput, start, memory, stages)
"""Each measures something and adds its lines. Latency, soak and page are more functions like these."""


def main() -> int:
    """Measure, print, keep the record."""
    parser = argparse.ArgumentParser(description="the figures of litesight run, beside its peers")
    parser.add_argument("--rounds", type=int, default=9, help="passes of every contestant (default: 9)")
    parser.add_argument("--threads", default="1,2", help="threads of an inference (default: 1,2)")
    parser.add_argument("--markdown", action="store_true", help="tables for docs/pi-figures.md")
    options = parser.parse_args()
    options.threads = [int(part) for part in options.threads.split(",")]
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    stage, results = setup.prepare(), Results()
    for measure in FIGURES:
        measure(stage, options, results)
    print(report(stage, results, options.markdown))
    (WORK / "record.json").write_text(json.dumps(record(stage, results, options), indent=1) + "\n")
    return int(not all(line.good for line in results.lines))


def report(stage: Stage, results: Results, markdown: bool) -> str:
    """Both tables, and who was left out."""
    parts = []
    for threads, contestants in results.speeds.items():
        parts.append(f"### {threads} thread{'' if threads == 1 else 's'}\n" if markdown else f"threads {threads}")
        head = (
            "",
            "frames/s",
            "slowest to fastest",
            "litesight is … × as fast",
            "CPU ms/frame",
            "same answer (in its top 3)",
        )
        parts.append(table([head, *speed_rows(contestants)], markdown) + "\n")
    rows = [("", "reached", "asked for", "spread", ""), *((*each.cells(), mark(each)) for each in results.lines)]
    parts.append(table(rows, markdown) + "\n")
    configs = {each.name: each.config for contestants in results.speeds.values() for each in contestants}
    bullet = "* " if markdown else ""
    parts += [f"{bullet}{entry(name)}: {config}" for name, config in configs.items()]
    parts += [f"{bullet}{note}" for note in results.notes]
    parts += [f"{bullet}left out: {NAMES[name]}: {why}" for name, why in stage.absent.items()]
    return "\n".join(parts)


def speed_rows(contestants: list[Contestant]) -> list[tuple[str, ...]]:
    """One row each; a ratio above 1 means that the kit is faster."""
    own = contestants[0]
    rows = []
    for each in contestants:
        ratios = ratios_of(own, each)
        # On the same frame; the bare loops have no answers.
        pairs = list(zip(own.answers, each.answers, strict=False))
        same, among = sum(a[0] == b[0] for a, b in pairs) / FRAMES, sum(a[0] in b for a, b in pairs) / FRAMES
        rows.append(
            (
                entry(each.name),
                f"{statistics.median(each.rates):.1f}",
                f"{min(each.rates):.1f} to {max(each.rates):.1f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                f"{1000 * statistics.median(each.cpu_seconds) / FRAMES:.2f}",
                f"{same:.0%} ({among:.0%})" if each.answers else "",
            )
        )
    return rows


def entry(name: str) -> str:
    """A contestant's name for people."""
    peer, _, thread = name.partition("+")
    return NAMES[peer] + (", decoding thread" if thread else "")


def mark(line: Line) -> str:
    """Whether the figure was reached."""
    return "ok" if line.good else "MISS"


def table(rows: Sequence[tuple[str, ...]], markdown: bool) -> str:
    """The first row is the head."""
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


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
