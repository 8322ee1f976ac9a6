# SPDX-License-Identifier: Apache-2.0
"""What make bench-pi found out, as tables: plain, or Markdown for docs/pi-figures.md."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench_pi_setup import FRAMES, Stage

NAMES = {
    "ours": "litesight",
    "invoke": "bare invoke() loop",
    "decode": "decoding alone",
    "mediapipe": "MediaPipe ImageClassifier",
    "onnxruntime": "ONNX Runtime int8",
    "opencv": "OpenCV DNN",
}


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


def ratios_of(own: Contestant, other: Contestant) -> list[float]:
    """Our speed / theirs, round by round."""
    return [theirs / ours for ours, theirs in zip(own.seconds, other.seconds, strict=True)]


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
