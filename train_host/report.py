# SPDX-License-Identifier: Apache-2.0
"""``report.html``: what was measured of a model, for people. One file, without script, that needs nothing else.

A pure function of its data: no clock, no random numbers, so the same data give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from train_host import report_pictures as pictures
from train_host.evaluate import FLOAT, INT8, Evaluation

# Facts under these names are also shown as tiles. A value starts with its number: "54,784 bytes", "0 of 16".
FACT_ARENA = "TFLM arena"
FACT_GOLDEN = "Golden bytes mismatched"

FORMAT_NAMES = {INT8: "int8", FLOAT: "float32", "float16": "float16", "dynamic-range": "dynamic range"}

# What keeps the page of a 1000-class model small and readable.
MAX_SAMPLES = 24
MAX_PHOTO_SIDE = 144
MAX_CELLS_WITH_NUMBERS = 20
MAX_MATRIX = 100
MAX_PAIRS = 20
MAX_CLASS_ROWS = 40
LOWEST_CLASSES = 20
MAX_DOTS = 600
BINS = 41


@dataclass(frozen=True)
class Sample:
    """A photo and what the int8 network said of it.

    Attributes:
        pixels: uint8, (height, width, 3), RGB, as the network saw it.
        truth: the right class, or None where nobody knows.
        answer: the class that the network named.
        probability: of that answer, 0 to 1.
        name: of the file.
    """

    pixels: NDArray[np.uint8]
    truth: str | None
    answer: str
    probability: float
    name: str


@dataclass(frozen=True)
class ReportData:
    """Everything that the report shows. Whatever is empty or None leaves its section out.

    Attributes:
        name: of the model.
        intro: one sentence under the title.
        labels: class names, by index.
        evaluation: on the test photos; networks "int8", and where measured "float", "float16", "dynamic-range".
        history: a row per epoch: epoch, loss, accuracy, val_loss, val_accuracy (accuracies 0 to 1).
        format_bytes: size of the .tflite by network name.
        samples: the first ``MAX_SAMPLES`` are shown.
        facts: name → value with its unit. ``FACT_ARENA`` and ``FACT_GOLDEN`` are also shown as tiles.
        stage_seconds: how long each step of the making took.
        frame_ms: stage of one frame → (p50, p90), in milliseconds.
        frame_machine: where ``frame_ms`` was measured.
    """

    name: str
    intro: str
    labels: tuple[str, ...]
    evaluation: Evaluation | None
    history: Sequence[Mapping[str, float]]
    format_bytes: Mapping[str, int]
    samples: Sequence[Sample]
    facts: Mapping[str, str]
    stage_seconds: Mapping[str, float]
    frame_ms: Mapping[str, tuple[float, float]]
    frame_machine: str


def render(data: ReportData) -> bytes:
    """The report as UTF-8 HTML. Nothing is written and no error of a user's making is possible."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "kilobytes": kilobytes, "duration": duration}
    page = environment.get_template("report.html").render(
        data=data,
        tiles=_tiles(data),
        samples=_samples(data.samples),
        curves=_curves(data.history),
        confusion=_confusion(data.evaluation),
        formats=_formats(data.format_bytes, data.evaluation),
        comparison=_comparison(data.evaluation),
        classes=_classes(data.evaluation),
        stages=_stages(data.stage_seconds),
        frames=_frames(data.frame_ms),
    )
    # A file's name may hold bytes that are not UTF-8, which Python carries as lone surrogates.
    return page.encode("utf-8", "replace")


def percent(share: float | None, digits: int = 1) -> str:
    """0.8642 as "86.4%"; None as a dash."""
    return "–" if share is None else f"{100 * share:.{digits}f}%"


def kilobytes(size: int) -> str:
    """612384 as "612 kB"; a kB is 1000 bytes."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e3:.{0 if size >= 99_500 else 1}f} kB" if size < 999_500 else f"{size / 1e6:.2f} MB"


def duration(seconds: float) -> str:
    """83.2 as "1 min 23 s", 0.042 as "42 ms"."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95% confidence interval of a share counted over ``n`` trials (Wilson 1927, score interval, z = 1.96)."""
    z = 1.959964
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


@dataclass(frozen=True)
class _Tile:
    id: str
    label: str
    value: str
    unit: str
    note: str
    verdict: str = ""  # "right" or "wrong"


@dataclass(frozen=True)
class _SampleView:
    sample: Sample
    uri: str
    verdict: str  # "right", "wrong" or ""


@dataclass(frozen=True)
class _Cell:
    count: int
    share: float
    kind: str  # "hit" or "miss"


@dataclass(frozen=True)
class _Pair:
    truth: str
    answer: str
    count: int
    share: float


@dataclass(frozen=True)
class _Confusion:
    labels: tuple[str, ...]
    cells: list[list[_Cell]]
    uri: str
    pairs: list[_Pair]
    pairs_in_all: int


@dataclass(frozen=True)
class _FormatRow:
    id: str
    name: str
    size: int | None
    share_of_largest: float
    top1: float | None
    agreement: float | None


@dataclass(frozen=True)
class _Comparison:
    n: int
    both: int
    only_float: int
    only_int8: int
    neither: int
    disagreements: int
    scatter: Markup
    dots_shown: int
    histogram: Markup
    mean: str
    deviation: str
    largest: str
    outside: int
    median_margin: str
    relative_deviation: float | None


@dataclass(frozen=True)
class _ClassRow:
    label: str
    n: int
    recall: float
    precision: float | None
    float_recall: float | None


@dataclass(frozen=True)
class _Classes:
    rows: list[_ClassRow]
    measured: int
    has_float: bool


@dataclass(frozen=True)
class _Bar:
    label: str
    value: str
    share: float
    tick: float | None = None


def _tiles(data: ReportData) -> list[_Tile]:
    tiles = []
    evaluation = data.evaluation
    if evaluation is not None:
        n = len(evaluation.truth)
        tops = {network: evaluation.top1(network) for network in (INT8, FLOAT)}
        for network, top1 in tops.items():
            if top1 is not None:
                low, high = wilson_interval(top1, n)
                note = f"{n:,} test photos; 95% interval {100 * low:.1f}–{100 * high:.1f}%"
                tile = _Tile(f"tile-{network}-top1", f"{FORMAT_NAMES[network]} top-1", f"{100 * top1:.2f}", "%", note)
                tiles.append(tile)
        int8, floating = tops[INT8], tops[FLOAT]
        if int8 is not None and floating is not None:
            points = 100 * (int8 - floating)
            # From the float network to int8; a rounded zero carries no sign.
            value = f"{points:+.2f}".replace("-", "−") if round(points, 2) else "0.00"
            tiles.append(_Tile("tile-drop", "int8 minus float32", value, "points", "what quantising cost, on top-1"))
    if INT8 in data.format_bytes:
        size = data.format_bytes[INT8]
        value, unit = kilobytes(size).split(" ")
        note = f"model.tflite, {size:,} bytes"
        if FLOAT in data.format_bytes and size:
            note += f"; float32 is {data.format_bytes[FLOAT] / size:.1f} × that"
        tiles.append(_Tile("tile-size", "model size", value, unit, note))
    if FACT_ARENA in data.facts:
        fact = data.facts[FACT_ARENA]
        value, _, unit = fact.partition(" ")
        if unit == "bytes" and value.replace(",", "").isdecimal():
            value, unit = kilobytes(int(value.replace(",", ""))).split(" ")
        note = f"{fact} of RAM for tensors under TensorFlow Lite Micro"
        tiles.append(_Tile("tile-arena", FACT_ARENA, value, unit, note))
    if FACT_GOLDEN in data.facts:
        value, _, unit = data.facts[FACT_GOLDEN].partition(" ")
        # A value without a number, such as "not compared", gets no verdict.
        verdict = ("wrong" if value.strip("0") else "right") if value.replace(",", "").isdecimal() else ""
        note = "output bytes that differ between TFLM and the golden vectors; must be 0"
        tiles.append(_Tile("tile-golden", "golden bytes wrong", value, unit, note, verdict))
    return tiles


def _samples(samples: Sequence[Sample]) -> list[_SampleView]:
    return [
        _SampleView(
            sample,
            pictures.photo_uri(sample.pixels, MAX_PHOTO_SIDE),
            "" if sample.truth is None else "right" if sample.truth == sample.answer else "wrong",
        )
        for sample in samples[:MAX_SAMPLES]
    ]


def _curves(history: Sequence[Mapping[str, float]]) -> list[Markup]:
    charts = []
    for key, y_label, y_format in (
        ("accuracy", "accuracy", lambda share: f"{100 * share:.4g}%"),
        ("loss", "loss (cross-entropy)", pictures.number),
    ):
        lines = []
        for column, name, kind in ((key, "training", "aside"), (f"val_{key}", "validation", "main")):
            points = [(row["epoch"], row[column]) for row in history if column in row]
            if any(math.isfinite(y) for _, y in points):
                lines.append(pictures.Series(name, kind, points))
        if not lines:
            continue
        mark = None
        if key == "accuracy" and lines[-1].name == "validation":
            # The bundle holds the network as it was after the last epoch.
            epoch, last = [p for p in lines[-1].points if math.isfinite(p[1])][-1]
            mark = (epoch, last, f"shipped: {percent(last)}, epoch {epoch:.0f}")
        title = f"{y_label} by epoch, training and validation"
        charts.append(pictures.line_chart(title, lines, "epoch", y_label, y_format, mark=mark))
    return charts


def _confusion(evaluation: Evaluation | None) -> _Confusion | None:
    if evaluation is None:
        return None
    counts, labels = evaluation.confusion(INT8), evaluation.labels
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if len(labels) <= MAX_CELLS_WITH_NUMBERS:
        cells = [
            [
                _Cell(int(counts[row, column]), float(shares[row, column]), "hit" if row == column else "miss")
                for column in range(len(labels))
            ]
            for row in range(len(labels))
        ]
        return _Confusion(labels, cells, "", [], 0)
    missed = counts.copy()
    np.fill_diagonal(missed, 0)
    rows, columns = np.nonzero(missed)
    # Most photos first, then the greater share of its class, then the order of the classes.
    order = np.lexsort((columns, rows, -shares[rows, columns], -missed[rows, columns]))[:MAX_PAIRS]
    pairs = [
        _Pair(labels[row], labels[column], int(missed[row, column]), float(shares[row, column]))
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]
    uri = pictures.matrix_uri(shares) if len(labels) <= MAX_MATRIX else ""
    return _Confusion(labels, [], uri, pairs, len(rows))


def _formats(format_bytes: Mapping[str, int], evaluation: Evaluation | None) -> list[_FormatRow]:
    measured = {} if evaluation is None else evaluation.logits
    largest = max(format_bytes.values(), default=0)
    names = [name for name in FORMAT_NAMES if name in format_bytes or name in measured]
    names += [name for name in (*format_bytes, *measured) if name not in FORMAT_NAMES]
    rows = []
    for name in dict.fromkeys(names):
        top1 = agreement = None
        if evaluation is not None and name in measured:
            top1 = evaluation.top1(name)
            if FLOAT in measured and name != FLOAT:
                agreement = float((evaluation.answers(name) == evaluation.answers(FLOAT)).mean())
        size = format_bytes.get(name)
        share = size / largest if size else 0.0
        rows.append(_FormatRow(name, FORMAT_NAMES.get(name, name), size, share, top1, agreement))
    return rows


def _comparison(evaluation: Evaluation | None) -> _Comparison | None:
    if evaluation is None or FLOAT not in evaluation.logits or len(evaluation.labels) < 2:
        return None
    int8, floating = evaluation.logits[INT8], evaluation.logits[FLOAT]
    if not np.isfinite(floating).all():
        return None
    said_int8, said_float = evaluation.answers(INT8), evaluation.answers(FLOAT)
    right_int8, right_float = said_int8 == evaluation.truth, said_float == evaluation.truth
    same = said_int8 == said_float
    margins = np.stack([_margin(floating, said_float), _margin(int8, said_float)], axis=1)
    dots, crosses = _thinned(margins[same]), _thinned(margins[~same])
    scatter = pictures.margin_scatter(
        "winning margin of the float network against the margin of the same class in int8",
        dots,
        crosses,
        "margin in float32 (logits)",
        "same class in int8 (logits)",
    )
    gaps = (int8 - floating).ravel()
    # A few outliers would squeeze everything else into one bar.
    reach = float(np.quantile(np.abs(gaps), 0.999)) or 1e-6
    counts, edges = np.histogram(gaps, BINS, (-reach, reach))
    median = float(np.median(margins[:, 0]))
    return _Comparison(
        n=len(same),
        both=int((right_int8 & right_float).sum()),
        only_float=int((~right_int8 & right_float).sum()),
        only_int8=int((right_int8 & ~right_float).sum()),
        neither=int((~right_int8 & ~right_float).sum()),
        disagreements=int((~same).sum()),
        scatter=scatter,
        dots_shown=len(dots) + len(crosses),
        histogram=pictures.histogram(
            "int8 logit minus float logit", counts.tolist(), edges.tolist(), "int8 logit − float32 logit", "logits"
        ),
        mean=pictures.signed_number(round(float(gaps.mean(dtype=np.float64)), 3)),
        deviation=f"{gaps.std():.3f}",
        largest=f"{np.abs(gaps).max():.3f}",
        outside=len(gaps) - int(counts.sum()),
        median_margin=f"{median:.2f}",
        relative_deviation=float(gaps.std()) / median if median > 0 else None,
    )


def _margin(logits: NDArray[np.float32], answers: NDArray[np.int64]) -> NDArray[np.float64]:
    """By how much the logit of ``answers`` (n,) leads the best other one: (n,), negative where it trails."""
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, answers] = -np.inf
    return (logits[rows, answers] - others.max(axis=1)).astype(np.float64)


def _thinned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most ``MAX_DOTS`` of the points, evenly from all of them."""
    if len(points) <= MAX_DOTS:
        return points
    return points[np.linspace(0, len(points) - 1, MAX_DOTS).round().astype(np.int64)]


def _classes(evaluation: Evaluation | None) -> _Classes | None:
    if evaluation is None:
        return None
    counts = evaluation.confusion(INT8)
    has_float = FLOAT in evaluation.logits
    float_hits = evaluation.confusion(FLOAT).diagonal() if has_float else None
    rows = []
    for index in np.flatnonzero(counts.sum(axis=1)).tolist():
        n, named, hits = int(counts[index].sum()), int(counts[:, index].sum()), int(counts[index, index])
        float_recall = None if float_hits is None else int(float_hits[index]) / n
        precision = hits / named if named else None
        rows.append(_ClassRow(evaluation.labels[index], n, hits / n, precision, float_recall))
    rows.sort(key=lambda row: row.recall)
    shown = rows if len(rows) <= MAX_CLASS_ROWS else rows[:LOWEST_CLASSES]
    return _Classes(shown, len(rows), has_float)


def _stages(stage_seconds: Mapping[str, float]) -> list[_Bar]:
    longest = max(stage_seconds.values(), default=0.0) or 1.0
    return [_Bar(name, duration(seconds), seconds / longest) for name, seconds in stage_seconds.items()]


def _frames(frame_ms: Mapping[str, tuple[float, float]]) -> list[_Bar]:
    longest = max((max(pair) for pair in frame_ms.values()), default=0.0) or 1.0
    return [
        _Bar(name, f"{_milliseconds(p50)} · {_milliseconds(p90)}", p50 / longest, p90 / longest)
        for name, (p50, p90) in frame_ms.items()
    ]


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"
