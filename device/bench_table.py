# SPDX-License-Identifier: Apache-2.0
"""Bench records and comparisons as lines of text, every text from a file made harmless to a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from device.bench_cautions import cautions
from device.bench_compare import Comparison, Row
from device.bench_record import PERCENTILES, Record, Run
from device.images import printable
from device.machine import MachineFacts, MachineState


def table(record: Record) -> Iterator[str]:
    """The record for people."""
    model, machine = record.model, record.target.machine
    size = "×".join(str(side) for side in model.input)
    yield f"model    {printable(model.name)}, {size}, {model.macs:,} MACs, sha256 {model.sha256[:12]}…"
    yield f"machine  {printable(machine_words(machine) if machine else record.target.id)}"
    for run in record.runs:
        yield ""
        yield from _run_lines(run)
    yield from _peer_lines(record)


def _peer_lines(record: Record) -> Iterator[str]:
    """The engines that were timed in turn, a table for each number of threads."""
    for threads in dict.fromkeys(run.settings.get("threads") for run in record.peers):
        same = [run for run in record.peers if run.settings.get("threads") == threads]
        first = same[0].settings
        yield ""
        yield (
            f"engines in turn, {threads} thread{'' if threads == 1 else 's'}: {first.get('runs')} frames each in "
            f"{first.get('rounds')} rounds, {first.get('pictures')} pictures, only the network"
        )
        yield f"{'invoke, ms':<36}{'p50':>9}{'p90':>9}{'p99':>9}{'× ours':>9}{'same answer':>13}"
        for run in same:
            numbers = "".join(f"{run.stages['invoke'].percentile(percent):>9.3f}" for percent in PERCENTILES)
            ratio, agreement = peer_words(run)
            yield f"{printable(f'{run.engine} {run.version}'):<36}{numbers}{ratio:>9}{agreement:>13}"
            yield f"  {printable(str(run.settings.get('network')))}"


def peer_words(run: Run) -> tuple[str, str]:
    """How many times as long as the kit's own engine it took, and how often it gave the same answer."""
    ratio, agreement = run.figures.get("invoke_ratio"), run.figures.get("agreement")
    return "unknown" if ratio is None else f"{ratio:.2f}", "unknown" if agreement is None else f"{agreement:.1%}"


def comparison_table(comparison: Comparison) -> Iterator[str]:
    """The comparison for people; of one that was refused, only what there is to say."""
    names = [printable(name) for name in (comparison.this_name, comparison.other_name)]
    yield f"{names[0]} against {names[1]}: a ratio below 1 means that {names[0]} takes less"
    yield from (f"note     {printable(note)}" for note in comparison.notes)
    yield from (f"alone    {printable(run)} has no partner" for run in comparison.unpaired)
    for pair in comparison.pairs:
        yield ""
        yield printable(pair.title)
        yield f"{'':<18}{'this':>13}{'other':>13}{'ratio':>8}  {'95% interval':<15}{'p90':>7}{'p99':>7}  verdict"
        yield from map(_row_line, pair.rows)


def machine_words(machine: MachineFacts) -> str:
    """Board, processor, cores, and what it can do for int8."""
    board = f"{machine.board}, " if machine.board else ""
    features = f" ({' '.join(machine.features)})" if machine.features else ""
    return f"{board}{machine.cpu or 'unknown processor'}, {machine.cores} cores, {machine.architecture}{features}"


def state_words(state: MachineState | None) -> str:
    """Temperature, throttling, governor and clock."""
    if state is None:
        return "unknown"
    temperature = "unknown" if state.temperature_c is None else f"{state.temperature_c:.1f} °C"
    reasons = state.throttle_reasons
    throttled = "unknown" if reasons is None else ", ".join(reasons) or "no"
    clock = "" if state.clock_mhz is None else f", clock {state.clock_mhz:.0f} MHz"
    return f"temperature {temperature}, throttled: {throttled}, governor {state.governor or 'unknown'}{clock}"


def during_words(run: Run) -> str:
    """What was seen while the run went on; empty if nobody looked."""
    conditions, words = run.conditions, list[str]()
    if conditions is None:
        return ""
    if conditions.readings:
        words.append(f"{len(conditions.readings)} readings")
    if conditions.temperature_max_c is not None:
        words.append(f"at most {conditions.temperature_max_c:.1f} °C")
    others, waited = (run.figures.get(name) for name in ("others_cpu_percent", "waited_percent"))
    if others is not None:
        words.append(f"other processes took {others:.1f}% of the processor's time")
    if waited is not None:
        words.append(f"waited {waited:.1f}% for a core")
    if conditions.load_1min is not None:
        words.append(f"load average before {conditions.load_1min:.2f}")
    if conditions.affinity is not None:
        words.append(f"may use {len(conditions.affinity)} of {conditions.cores} cores")
    return ", ".join(words)


def engine_words(run: Run) -> str:
    """Runtime, version, and what XNNPACK took."""
    words = [f"{run.engine} {run.version}"]
    threads = run.settings.get("threads")
    if threads is not None:
        words.append(f"{threads} thread{'' if threads == 1 else 's'}")
    if run.figures.get("ops_xnnpack") is not None:
        words.append(f"XNNPACK runs {run.figures['ops_xnnpack']} of {run.figures.get('ops_total')} operators")
    return ", ".join(words)


def source_words(run: Run) -> str:
    """Where the frames came from."""
    size = f"{run.source['width']}×{run.source['height']}"
    if run.source["kind"] == "synthetic":
        return f"synthetic frame {size} in memory; capture is not timed (give --source to time it)"
    return f"{run.source['name']} {size}"


def cold_words(run: Run) -> str:
    """What a start costs; empty if nobody measured it."""
    parts = [
        f"{name} {value:.1f} ms"
        for name, key in (
            ("process start to first label", "cold_start_ms"),
            ("open", "open_ms"),
            ("first frame", "first_frame_ms"),
        )
        if (value := run.figures.get(key)) is not None
    ]
    return ", ".join(parts)


def megabytes(count_bytes: float | None) -> str:
    """100000000 as "100 MB"."""
    return "unknown" if count_bytes is None else f"{count_bytes / 1e6:.0f} MB"


def _run_lines(run: Run) -> Iterator[str]:
    figures = run.figures
    yield printable(engine_words(run))
    yield f"source   {printable(source_words(run))}"
    if run.stages:
        yield f"{'ms':<12}" + "".join(f"{f'p{percent}':>9}" for percent in PERCENTILES) + f"{'mean':>9}"
    for name, series in run.stages.items():
        numbers = (*(series.percentile(percent) for percent in PERCENTILES), series.mean)
        yield f"{name:<12}" + "".join(f"{number:>9.3f}" for number in numbers)
    speed = figures.get("frames_per_second")
    if speed is not None:
        steady = figures.get("steady_frames_per_second")
        slow = "" if steady is None else f", {steady:.1f} in the last quarter"
        yield f"{speed:.1f} frames/s one after another{slow}; cold start: {cold_words(run)}"
    if "rss_bytes" in figures:
        peak = megabytes(figures.get("peak_rss_bytes"))
        yield f"memory   {megabytes(figures['rss_bytes'])} resident, {peak} at its peak"
    if not run.stages:
        yield from (f"{name:<28}{value:>14,}" for name, value in figures.items() if value is not None)
        return
    yield f"before   {printable(state_words(run.before))}"
    if run.conditions is not None:
        yield f"during   {during_words(run)}"
    yield f"after    {printable(state_words(run.after))}"
    yield from (f"caution  {printable(caution)}" for caution in cautions(run))


def _row_line(row: Row) -> str:
    digits = 0 if row.unit in ("bytes", "instructions") else 1 if row.unit == "frames/s" else 3
    name = row.name if row.unit == "frames/s" or row.name.endswith(row.unit) else f"{row.name}, {row.unit}"
    name = name.replace("frames_per_second", "frames/s").replace(
        "instructions_per_inference, instructions", "instructions"
    )
    interval = "" if row.interval is None else f"{row.interval[0]:.3f} to {row.interval[1]:.3f}"
    return (
        f"{printable(name):<18}{row.this:>13,.{digits}f}{row.other:>13,.{digits}f}{_ratio(row.ratio, 8)}  "
        f"{interval:<15}{_ratio(row.p90_ratio, 7)}{_ratio(row.p99_ratio, 7)}  {row.verdict.value}"
    )


def _ratio(value: float | None, width: int) -> str:
    return " " * width if value is None else f"{value:>{width}.3f}"
