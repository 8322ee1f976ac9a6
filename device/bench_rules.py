# SPDX-License-Identifier: Apache-2.0
"""Which runs of two bench records are partners, what forbids to compare them, and what only has to be said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from device.bench_cautions import QUIET_REMEDY, throttle_faults, throttle_remedy, was_disturbed
from device.bench_record import ModelFacts, Record, Run

MATCHED: Final = ("threads", "xnnpack", "input")
"""Settings in which partners must agree."""
_COUNTS: Final = ("runs", "warmup", "duration_s", "vectors")
"""Settings that say how long was measured, not what."""


@dataclass(frozen=True)
class Reason:
    """Why two records must not be compared, and what would mend it."""

    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.why} ({self.remedy})" if self.remedy else self.why


def model_reasons(this: ModelFacts, other: ModelFacts) -> Iterator[Reason]:
    """Why two records of these networks must not be compared; nothing if they are one and the same."""
    if this.sha256 != other.sha256:
        yield Reason(
            f"another model: {this.name} {this.sha256[:12]}… against {other.name} {other.sha256[:12]}…",
            "measure the same bundle twice",
        )
    if this.input != other.input:
        sizes = ["×".join(map(str, model.input)) for model in (this, other)]
        yield Reason(f"another input size: {sizes[0]} against {sizes[1]}", "train both for the same size")


def run_title(run: Run) -> str:
    """Engine and what was chosen, for people."""
    words = [run.engine]
    threads = run.settings.get("threads")
    if threads is not None:
        words.append(f"{threads} thread{'' if threads == 1 else 's'}")
    if run.settings.get("xnnpack") is False:
        words.append("no XNNPACK")
    words += [str(run.settings[key]) for key in ("input", "kernels") if key in run.settings]
    return ", ".join(words)


Runs = list[Run]


def match_runs(
    these: Sequence[Run], others: Sequence[Run], *, force: bool = False
) -> tuple[list[tuple[Run, Run]], tuple[Runs, Runs]]:
    """Partners, and what is left on either side.

    Partners have the same engine and agree in the settings MATCHED; ``force`` then takes those with the same number of
    threads, and in the end whatever is left, in order.
    """

    def by_settings(run: Run) -> Any:
        return (run.engine, *(run.settings.get(key) for key in MATCHED))

    keys: list[Callable[[Run], Any]] = [by_settings]
    if force:
        keys += [lambda run: run.settings.get("threads"), lambda run: None]
    pairs: list[tuple[int, Run, Run]] = []
    left_these, left_others = list(enumerate(these)), list(others)
    for key in keys:
        waiting = defaultdict(list)
        for run in left_others:
            waiting[key(run)].append(run)
        still = []
        for index, run in left_these:
            if waiting[key(run)]:
                pairs.append((index, run, waiting[key(run)].pop(0)))
            else:
                still.append((index, run))
        left_these, left_others = still, [run for runs in waiting.values() for run in runs]
    pairs.sort(key=lambda pair: pair[0])
    return [(run, partner) for _, run, partner in pairs], ([run for _, run in left_these], left_others)


def run_reasons(run: Run, partner: Run, names: tuple[str, str]) -> Iterator[Reason]:
    if run.engine != partner.engine:
        yield Reason(f"another runtime: {run.engine} against {partner.engine}", "install the same one")
    for key in MATCHED:
        values = [each.settings.get(key) for each in (run, partner)]
        if values[0] != values[1]:
            yield Reason(f"another setting: {key} {values[0]} against {values[1]}", f"measure with the same {key}")
    sizes = [f"{each.source.get('width')}×{each.source.get('height')}" for each in (run, partner)]
    if sizes[0] != sizes[1]:
        yield Reason(f"another source size: {sizes[0]} against {sizes[1]}", "give both the same --source")
    if ("capture" in run.stages) != ("capture" in partner.stages):
        yield Reason("only one of them times capture, so the totals differ by it", "give both a --source, or neither")
    for each, name in zip((run, partner), names, strict=True):
        faults = throttle_faults(each)
        if faults:
            why = f"{run_title(each)} of {name} was throttled: {', '.join(faults)}"
            yield Reason(why, throttle_remedy(faults))
        disturbed = was_disturbed(each)
        if disturbed:
            yield Reason(f"{run_title(each)} of {name} was disturbed: {disturbed}", QUIET_REMEDY)
        wrong = each.figures.get("mismatched_bytes")
        if wrong:
            yield Reason(f"{run_title(each)} of {name} gives {wrong} wrong output bytes", "litesight verify BUNDLE")


def record_notes(this: Record, other: Record) -> Iterator[str]:
    if this.target != other.target:
        machines = [_machine(record) for record in (this, other)]
        if machines[0] != machines[1]:
            yield f"another machine: {machines[0]} against {machines[1]}"
        else:
            yield "the same kind of machine with another system, memory or number of cores"
    if this.litesight != other.litesight:
        yield f"another version of litesight: {this.litesight} against {other.litesight}"


def _machine(record: Record) -> str:
    machine = record.target.machine
    if machine is None:
        return record.target.id
    return ", ".join(filter(None, [machine.board or machine.cpu or record.target.id, f"{machine.cores} cores"]))


def run_notes(run: Run, partner: Run) -> Iterator[str]:
    title = run_title(run)
    if run.engine == partner.engine and run.version != partner.version:
        yield f"{title}: another version: {run.version} against {partner.version}"
    shares = [_share(each) for each in (run, partner)]
    if shares[0] != shares[1]:
        yield f"{title}: XNNPACK ran {shares[0]} operators against {shares[1]}"
    for key in run.settings.keys() & partner.settings.keys() - {*MATCHED, *_COUNTS}:
        if run.settings[key] != partner.settings[key]:
            yield f"{title}: another {key}: {run.settings[key]} against {partner.settings[key]}"
    names = [each.source.get("name") for each in (run, partner)]
    if names[0] != names[1]:
        yield f"{title}: another source: {names[0] or 'synthetic'} against {names[1] or 'synthetic'}"
    governors = [each.before.governor if each.before else None for each in (run, partner)]
    if governors[0] != governors[1]:
        yield f"{title}: another governor: {governors[0] or 'unknown'} against {governors[1] or 'unknown'}"


def _share(run: Run) -> str:
    taken, total = run.figures.get("ops_xnnpack"), run.figures.get("ops_total")
    return f"{taken if taken is not None else '?'} of {total if total is not None else '?'}"
