# SPDX-License-Identifier: Apache-2.0
"""Compares two bench records run by run, and refuses where the comparison would mislead."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from device.bench_record import STAGES, Record, Run, Series
from device.bench_rules import Reason, match_runs, model_reasons, record_notes, run_notes, run_reasons, run_title
from device.bootstrap import Resampled, ratio_interval, resample, resamples_for

SCHEMA: Final = "litesight-bench-comparison/1"

MARGIN: Final = 0.02
"""Smaller differences are not told apart: so much medians differ from start to start of one and the same program."""

LEAST_MS: Final = 0.001
"""A shorter difference between two medians is within what the clock and the reading of it take."""

FEWEST_SAMPLES: Final = 20
"""Fewer samples have no percentiles worth comparing."""

_SINGLE: Final = ("cold_start_ms", "open_ms", "first_frame_ms")
_MEMORY: Final = ("rss_bytes", "peak_rss_bytes")
_COUNTED: Final = (
    "instructions_per_inference",
    "ram_bytes",
    "arena_bytes",
    "stack_bytes",
    "flash_bytes",
    "constants_bytes",
    "weights_bytes",
    "code_bytes",
)


class Verdict(enum.Enum):
    """What a row says."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = f"the same within {MARGIN:.0%}"
    UNDECIDED = "no difference that the samples support"
    FEW = f"fewer than {FEWEST_SAMPLES} samples: no verdict"
    SINGLE = "one measurement each: no verdict"
    LESS = "less"
    MORE = "more"
    EQUAL = "equal"


@dataclass(frozen=True)
class Row:
    """One quantity of two partners.

    Attributes:
        name: a stage or a figure.
        unit: "ms", "bytes", "frames/s" or "instructions".
        this, other: medians of a stage, or the figure.
        ratio: this / other.
        interval: 95% confidence interval of the ratio; None where there is one number each.
        p90_ratio, p99_ratio: of a stage.
        verdict: in words.
    """

    name: str
    unit: str
    this: float
    other: float
    ratio: float | None
    verdict: Verdict
    interval: tuple[float, float] | None = None
    p90_ratio: float | None = None
    p99_ratio: float | None = None


@dataclass(frozen=True)
class Pair:
    """Two runs that were compared."""

    title: str
    this: Run
    other: Run
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Comparison:
    """One record against another.

    Attributes:
        this_name, other_name: how to call them.
        reasons: why they are not comparable; empty if they are.
        forced: compared all the same.
        notes: what differs and may well be the question: machine, version, governor.
        pairs: empty if refused.
        unpaired: runs without a partner, in words.
    """

    this_name: str
    other_name: str
    reasons: tuple[Reason, ...]
    forced: bool
    notes: tuple[str, ...]
    pairs: tuple[Pair, ...]
    unpaired: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """Whether nothing was compared."""
        return not self.pairs

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "schema": SCHEMA,
            "this": self.this_name,
            "other": self.other_name,
            "refused": self.refused,
            "forced": self.forced,
            "reasons": [{"why": reason.why, "remedy": reason.remedy} for reason in self.reasons],
            "notes": list(self.notes),
            "unpaired": list(self.unpaired),
            "pairs": [{"title": pair.title, "rows": [_row_json(row) for row in pair.rows]} for pair in self.pairs],
        }


def compare(
    this: Record, other: Record, names: tuple[str, str] = ("this", "other"), *, force: bool = False
) -> Comparison:
    """Judge ``this`` by ``other``.

    Args:
        names: how to call them in messages.
        force: compare also where there are reasons against it; records that have no quantity in common are refused all
            the same.
    """
    reasons = list(model_reasons(this.model, other.model))
    pairs, left = match_runs(this.runs, other.runs, force=force)
    if (this.target.kind == "host") != (other.target.kind == "host"):
        reasons.append(Reason("one counts instructions, the other takes milliseconds", "measure both alike"))
        pairs = []
    elif not match_runs(this.runs, other.runs)[0]:
        titles = [" and ".join(map(run_title, record.runs)) for record in (this, other)]
        reasons.append(Reason(f"no run has a partner: {titles[0]} against {titles[1]}", "measure the same settings"))
    for run, partner in pairs:
        reasons.extend(run_reasons(run, partner, names))
    notes = [*record_notes(this, other), *(note for run, partner in pairs for note in run_notes(run, partner))]
    compared = []
    if force or not reasons:
        compared = [Pair(run_title(run), run, partner, tuple(_rows(run, partner))) for run, partner in pairs]
        compared = [pair for pair in compared if pair.rows]
        if not compared and not reasons:
            reasons.append(Reason("the two have no quantity in common", "measure both anew"))
    return Comparison(
        *names,
        reasons=tuple(dict.fromkeys(reasons)),
        forced=force and bool(reasons),
        notes=tuple(dict.fromkeys(notes)),
        pairs=tuple(compared),
        unpaired=tuple(f"{run_title(run)} of {names[side]}" for side, runs in enumerate(left) for run in runs),
    )


def _rows(run: Run, partner: Run) -> Iterator[Row]:
    names = [name for name in (*STAGES, *run.stages) if name in run.stages and name in partner.stages]
    same_stages = ("capture" in run.stages) == ("capture" in partner.stages)
    for number, name in enumerate(dict.fromkeys(names)):
        if name == "total" and not same_stages:
            continue
        drawn = [_resampled(each.stages[name], (number, side)) for side, each in enumerate((run, partner))]
        yield _stage_row(name, run.stages[name], partner.stages[name], drawn[0], drawn[1])
        if name == "total":
            yield _speed_row(run.stages[name], partner.stages[name], drawn[0], drawn[1])
    for name in (*_SINGLE, *_MEMORY, *_COUNTED):
        this, other = run.figures.get(name), partner.figures.get(name)
        if this is not None and other is not None:
            yield _figure_row(name, this, other)


def _resampled(series: Series, seed: tuple[int, int]) -> Resampled | None:
    if len(series.samples) < FEWEST_SAMPLES:
        return None
    # A stream of its own for each series and side, the same in every process: the same files give the same verdict.
    rng = np.random.default_rng(seed)
    return resample(np.array(series.samples), resamples_for(len(series.samples)), rng)


def _stage_row(name: str, this: Series, other: Series, drawn: Resampled | None, drawn_other: Resampled | None) -> Row:
    p50s, p90s, p99s = (
        (
            this.percentile(percent),
            other.percentile(percent),
            _ratio(this.percentile(percent), other.percentile(percent)),
        )
        for percent in (50, 90, 99)
    )
    interval = None
    if drawn is not None and drawn_other is not None and drawn_other.medians.all():
        interval = _interval(drawn.medians, drawn_other.medians)
    verdict = judge(p50s[2], interval) if drawn and drawn_other else Verdict.FEW
    if verdict in (Verdict.FASTER, Verdict.SLOWER) and abs(p50s[0] - p50s[1]) < LEAST_MS:
        verdict = Verdict.UNDECIDED
    return Row(name, this.unit, *p50s, verdict, interval, p90s[2], p99s[2])


def _speed_row(this: Series, other: Series, drawn: Resampled | None, drawn_other: Resampled | None) -> Row:
    interval = None
    if drawn is not None and drawn_other is not None and drawn.means.all():
        interval = _interval(drawn_other.means, drawn.means)
    speeds = [1000 / series.mean if series.mean else 0.0 for series in (this, other)]
    ratio = _ratio(other.mean, this.mean)
    verdict = judge(ratio, interval, more_is_faster=True) if drawn and drawn_other else Verdict.FEW
    return Row("frames_per_second", "frames/s", speeds[0], speeds[1], ratio, verdict, interval)


def _interval(upper: Any, lower: Any) -> tuple[float, float]:
    count = min(len(upper), len(lower))
    return ratio_interval(upper[:count], lower[:count])


def _figure_row(name: str, this: float, other: float) -> Row:
    unit = "ms" if name in _SINGLE else "instructions" if name.startswith("instructions") else "bytes"
    ratio = _ratio(this, other)
    if name in _SINGLE:
        verdict = Verdict.SINGLE
    elif this == other:
        verdict = Verdict.EQUAL
    elif name in _MEMORY and ratio is not None and 1 / (1 + MARGIN) <= ratio <= 1 + MARGIN:
        verdict = Verdict.SAME
    else:
        verdict = Verdict.LESS if this < other else Verdict.MORE
    return Row(name, unit, this, other, ratio, verdict)


def judge(ratio: float | None, interval: tuple[float, float] | None, *, more_is_faster: bool = False) -> Verdict:
    """A difference is told if chance does not explain it and it is larger than what two starts differ by."""
    if ratio is None or interval is None:
        return Verdict.UNDECIDED
    low, high = interval
    if low >= 1 / (1 + MARGIN) and high <= 1 + MARGIN:
        return Verdict.SAME
    if high < 1 and ratio < 1 / (1 + MARGIN):
        return Verdict.SLOWER if more_is_faster else Verdict.FASTER
    if low > 1 and ratio > 1 + MARGIN:
        return Verdict.FASTER if more_is_faster else Verdict.SLOWER
    return Verdict.UNDECIDED


def _ratio(this: float, other: float) -> float | None:
    return this / other if other else None


def _row_json(row: Row) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return value if value is None or isinstance(value, int) else round(value, 4)

    return {
        "name": row.name,
        "unit": row.unit,
        "this": rounded(row.this),
        "other": rounded(row.other),
        "ratio": rounded(row.ratio),
        "interval": None if row.interval is None else [rounded(end) for end in row.interval],
        "p90_ratio": rounded(row.p90_ratio),
        "p99_ratio": rounded(row.p99_ratio),
        "verdict": row.verdict.value,
    }
