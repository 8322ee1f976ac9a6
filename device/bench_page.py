# SPDX-License-Identifier: Apache-2.0
"""A bench record, and its comparison with another, as one HTML file without script that needs nothing else.

A pure function of its data: no clock, no random numbers, so the same record gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from device import bench_pictures as pictures
from device.bench_cautions import cautions
from device.bench_compare import MARGIN, Comparison, Pair, Row, Verdict
from device.bench_page_shell import SHELL, STYLE
from device.bench_pictures import harmless
from device.bench_record import PERCENTILES, STAGES, Record, Run
from device.bench_rules import run_title
from device.bench_table import (
    cold_words,
    during_words,
    engine_words,
    machine_words,
    peer_words,
    source_words,
    state_words,
)

_GOOD = (Verdict.FASTER, Verdict.LESS)
_BAD = (Verdict.SLOWER, Verdict.MORE)


def page(record: Record, comparison: Comparison | None = None) -> bytes:
    """The page as UTF-8 HTML. Every text of the record is escaped; no error of a user's making is possible."""
    model, machine = record.model, record.target.machine
    size = "×".join(map(str, model.input))
    sections = [("stages", "Stages", _stacks(record))] if any(_parts(run) for run in record.runs) else []
    if comparison is not None:
        sections.insert(0, ("comparison", "Comparison", _comparison(comparison)))
    for number, run in enumerate(record.runs):
        sections.append((f"run-{number + 1}", run_title(run), _run(run, is_open=number == 0)))
    if record.peers:
        sections.append(("peers", "Engines in turn", _peers(record)))
    sections.append(("facts", "Facts", _facts(record)))
    html = SHELL.substitute(
        style=STYLE,
        title=harmless(model.name),
        intro=harmless(f"on {machine_words(machine) if machine else record.target.id}"),
        identity=harmless(
            f"{size}, {model.classes:,} classes, {model.macs:,} multiply-adds, model.tflite of {model.bytes:,} bytes, "
            f"sha256 {model.sha256[:16]}…, measured {record.created}"
        ),
        tiles=_tiles(record),
        cautions=_cautions(record),
        nav="".join(f'<a href="#{place}">{harmless(name)}</a>' for place, name, _ in sections),
        sections="".join(
            f'<section id="{place}"><h2>{harmless(name)}</h2>{body}</section>' for place, name, body in sections
        ),
    )
    return html.encode("utf-8")


def _tiles(record: Record) -> str:
    """The figures of the fastest run."""
    best = max(record.runs, key=lambda run: run.figures.get("frames_per_second") or 0.0)
    title, figures = run_title(best), best.figures
    tiles = []
    speed = figures.get("frames_per_second")
    if speed is not None:
        tiles.append(("frames a second", f"{speed:.1f}", "", f"{title}; one after another"))
    for name, label in (("total", "whole frame, p50"), ("invoke", "network alone, p50")):
        if name in best.stages:
            series = best.stages[name]
            note = f"p90 {series.percentile(90):.2f}, p99 {series.percentile(99):.2f}"
            tiles.append((label, f"{series.percentile(50):.2f}", "ms", note))
    cold = figures.get("cold_start_ms") or figures.get("open_ms")
    if cold is not None:
        tiles.append(("cold start", f"{cold:.0f}", "ms", cold_words(best)))
    if figures.get("rss_bytes") is not None:
        peak = figures.get("peak_rss_bytes")
        note = "" if peak is None else f"{peak / 1e6:.0f} MB at its peak"
        tiles.append(("memory", f"{(figures['rss_bytes'] or 0) / 1e6:.0f}", "MB", note))
    if figures.get("ops_xnnpack") is not None:
        note = "operators that XNNPACK executes"
        tiles.append(("XNNPACK", f"{figures['ops_xnnpack']} of {figures.get('ops_total')}", "", note))
    for name, label in (("instructions_per_inference", "instructions"), ("ram_bytes", "RAM"), ("flash_bytes", "flash")):
        value = figures.get(name)
        if value is not None:
            tiles.append((label, f"{value:,.0f}", "bytes" if name.endswith("bytes") else "per inference", title))
    return (
        '<dl class="tiles">'
        + "".join(
            f'<div class="tile"><dt>{harmless(label)}</dt><dd class="value">{harmless(value)} '
            f'<span class="unit">{harmless(unit)}</span></dd><dd class="note">{harmless(note)}</dd></div>'
            for label, value, unit, note in tiles
        )
        + "</dl>"
    )


def _cautions(record: Record) -> str:
    lines = [f"{run_title(run)}: {caution}" for run in record.runs for caution in cautions(run)]
    if not lines:
        return ""
    return '<ul class="cautions">' + "".join(f"<li>{harmless(line)}</li>" for line in lines) + "</ul>"


def _parts(run: Run) -> Mapping[str, float]:
    """The medians of the stages that make up a frame."""
    return {name: run.stages[name].percentile(50) for name in STAGES[:-1] if name in run.stages}


def _stacks(record: Record) -> str:
    longest = max(sum(_parts(run).values()) for run in record.runs) or 1.0
    names = [name for name in STAGES[:-1] if any(name in run.stages for run in record.runs)]
    bars = []
    for run in record.runs:
        parts = _parts(run)
        if not parts:
            continue
        pieces = "".join(
            f'<i class="s-{name}" style="width:{100 * ms / longest:.2f}%" title="{name} {ms:.3f} ms"></i>'
            for name, ms in parts.items()
        )
        values = " + ".join(f"{ms:.2f}" for ms in parts.values())
        bars.append(
            f'<p><span>{harmless(run_title(run))}</span><span>{values} ms</span></p><div class="stack">{pieces}</div>'
        )
    legend = "".join(f'<li><i class="s-{name}"></i>{name}</li>' for name in names)
    return (
        '<p class="look">The median of each stage of a frame, one after another. The longest piece is where a faster '
        "frame has to come from. Medians need not add up to the median of the whole.</p>"
        f'<div class="stacks">{"".join(bars)}<ul class="legend">{legend}</ul></div>'
    )


def _run(run: Run, *, is_open: bool) -> str:
    head = f'<p class="look">{harmless(engine_words(run))}. {harmless(source_words(run))}.</p>'
    if "total" not in run.stages:
        return head + _figures(run) + _states(run)
    samples = _over_time(run) + _distributions(run)
    details = f"<details{' open' if is_open else ''}><summary>every sample</summary>{samples}</details>"
    return head + _percentiles(run) + _states(run) + details


def _percentiles(run: Run) -> str:
    heads = "".join(f'<th class="n">p{percent}</th>' for percent in PERCENTILES)
    rows = []
    for name, series in run.stages.items():
        numbers = (*(series.percentile(percent) for percent in PERCENTILES), series.mean)
        cells = "".join(f'<td class="n">{number:.3f}</td>' for number in (min(series.samples), *numbers))
        last = f'<td class="n">{max(series.samples):.3f}</td><td class="n">{len(series.samples):,}</td>'
        rows.append(f'<tr><th scope="row">{harmless(name)}</th>{cells}{last}</tr>')
    return (
        f'<div class="scroll"><table class="percentiles"><thead><tr><th>ms</th><th class="n">min</th>{heads}'
        f'<th class="n">mean</th><th class="n">max</th><th class="n">samples</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _figures(run: Run) -> str:
    rows = (
        f'<tr><th scope="row">{harmless(name)}</th><td class="n">{value:,}</td></tr>'
        for name, value in run.figures.items()
        if value is not None
    )
    return f'<div class="scroll"><table><tbody>{"".join(rows)}</tbody></table></div>'


def _over_time(run: Run) -> str:
    series = run.stages["total"]
    frames = float(run.figures.get("frames_timed") or len(series.samples))
    readings = run.conditions.readings if run.conditions else ()
    drawn, above = pictures.strip("every frame in order", series, frames / len(series.samples), readings)
    heat = pictures.temperature("temperature", frames, readings)
    stragglers = f" {above:,} slower ones are triangles at the top." if above else ""
    throttled = " Shaded: the firmware says that it throttles." if 'class="zone"' in drawn else ""
    return (
        f'<h3>Frame by frame</h3><figure><div class="scroll">{drawn}{heat}</div><figcaption>A level line is a machine '
        "that keeps its speed; a rise means heat, a step another clock, a haze of high points other programs."
        f"{stragglers}{throttled}</figcaption></figure>"
    )


def _distributions(run: Run) -> str:
    figures = []
    for name, series in run.stages.items():
        kind = f"s-{name}" if name in STAGES else "s-total"
        drawn, beyond = pictures.distribution(f"distribution of {name}", series, kind)
        note = f"; {beyond:,} of {len(series.samples):,} lie further right" if beyond else ""
        figures.append(f"<figure>{drawn}<figcaption>{harmless(name)}{note}</figcaption></figure>")
    return (
        "<h3>How often how long</h3>"
        '<p class="look">Frames by their time, p50, p90 and p99 marked. Two humps are two speeds: another '
        f'core, another clock, pictures of two kinds.</p><div class="pair">{"".join(figures)}</div>'
    )


def _states(run: Run) -> str:
    rows = [("before", state_words(run.before)), ("after", state_words(run.after))]
    if run.conditions is not None:
        rows.insert(1, ("during", during_words(run)))
    if cold_words(run):
        rows.append(("cold start", cold_words(run)))
    rows.append(("settings", ", ".join(f"{key} {value}" for key, value in run.settings.items())))
    return _fact_table(rows, "The machine meanwhile")


def _peers(record: Record) -> str:
    """A bar for the median of each engine."""
    longest = max(run.stages["invoke"].percentile(50) for run in record.peers) or 1.0
    rows = []
    for run in record.peers:
        ms = run.stages["invoke"].percentile(50)
        ratio, agreement = peer_words(run)
        threads = run.settings.get("threads")
        rows.append(
            f"<p><span>{harmless(f'{run.engine} {run.version}, threads {threads}')}</span>"
            f"<span>{ms:.2f} ms, {ratio} × ours, {agreement} same answers</span></p>"
            f'<div class="stack"><i class="s-invoke" style="width:{100 * ms / longest:.2f}%"></i></div>'
        )
    return '<p class="look">The median of the network alone; all engines took turns on the same inputs.</p>' + "".join(
        rows
    )


def _facts(record: Record) -> str:
    machine = record.target.machine
    rows = [
        ("model", f"{record.model.name}, sha256 {record.model.sha256}"),
        ("target", f"{record.target.kind}, {record.target.id}"),
        ("measured", f"{record.created} with litesight {record.litesight}"),
    ]
    if machine is not None:
        memory = "unknown" if machine.memory_bytes is None else f"{machine.memory_bytes / 1e6:,.0f} MB"
        rows += [
            ("machine", machine_words(machine)),
            ("int8 features", " ".join(machine.features) or "none known"),
            ("memory", memory),
            ("system", f"{machine.system}, Python {machine.python}"),
        ]
    return _fact_table(rows)


def _fact_table(rows: list[tuple[str, str]], title: str = "") -> str:
    head = f"<h3>{harmless(title)}</h3>" if title else ""
    body = "".join(f'<tr><th scope="row">{harmless(name)}</th><td>{harmless(value)}</td></tr>' for name, value in rows)
    return f'{head}<table class="facts"><tbody>{body}</tbody></table>'


def _comparison(comparison: Comparison) -> str:
    this, other = harmless(comparison.this_name), harmless(comparison.other_name)
    parts = [
        f'<p class="look">{this} against {other}. A ratio below 1 means that {this} takes less. The mark shows it '
        f"from ½ to 2 with the 95% interval of its median; the grey band is ±{MARGIN:.0%}, within which two starts of "
        "the same program differ.</p>"
    ]
    if comparison.reasons:
        word = "Compared all the same, although:" if comparison.pairs else "Not comparable:"
        reasons = "".join(f"<li>{harmless(reason)}</li>" for reason in comparison.reasons)
        parts.append(f'<p class="bad">{word}</p><ul class="cautions">{reasons}</ul>')
    notes = [*comparison.notes, *(f"{run} has no partner" for run in comparison.unpaired)]
    if notes:
        parts.append('<ul class="quiet">' + "".join(f"<li>{harmless(note)}</li>" for note in notes) + "</ul>")
    parts += [_pair(pair, comparison) for pair in comparison.pairs]
    return "".join(parts)


def _pair(pair: Pair, comparison: Comparison) -> str:
    picture = ""
    if "total" in pair.this.stages and "total" in pair.other.stages:
        lines = [
            (comparison.this_name, pair.this.stages["total"]),
            (comparison.other_name, pair.other.stages["total"]),
        ]
        drawn = pictures.shares_below("share of the frames that took at most so long", lines)
        picture = (
            f'<figure class="narrow">{drawn}<figcaption>Share of the frames that took at most so long: the line '
            "further left is the faster one, the steeper one the steadier.</figcaption></figure>"
        )
    return (
        f"<h3>{harmless(pair.title)}</h3>"
        '<div class="scroll"><table class="comparison"><thead><tr><th></th><th>verdict</th><th class="n">ratio</th>'
        '<th></th><th class="n">95% interval</th><th class="n">this</th><th class="n">other</th><th class="n">p90</th>'
        f'<th class="n">p99</th></tr></thead><tbody>{"".join(_row_cells(pair.rows))}</tbody></table></div>{picture}'
    )


def _row_cells(rows: tuple[Row, ...]) -> Iterator[str]:
    for row in rows:
        kind = "good" if row.verdict in _GOOD else "bad" if row.verdict in _BAD else ""
        digits = 0 if row.unit in ("bytes", "instructions") else 1 if row.unit == "frames/s" else 3
        interval = "" if row.interval is None else f"{row.interval[0]:.3f} – {row.interval[1]:.3f}"
        mark = "" if row.ratio is None else pictures.ratio_mark(row.ratio, row.interval, MARGIN)
        ratio, p90, p99 = (
            f'<td class="n">{"" if value is None else f"{value:.3f}"}</td>'
            for value in (row.ratio, row.p90_ratio, row.p99_ratio)
        )
        yield (
            f'<tr><th scope="row">{harmless(row.name.replace("_", " "))}</th>'
            f'<td class="{kind}">{harmless(row.verdict.value)}</td>{ratio}<td>{mark}</td><td class="n">{interval}</td>'
            f'<td class="n">{row.this:,.{digits}f}</td><td class="n">{row.other:,.{digits}f}</td>{p90}{p99}</tr>'
        )
