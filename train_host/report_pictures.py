# SPDX-License-Identifier: Apache-2.0
"""The report's pictures: charts as inline SVG that follow the page's light or dark theme, pixels as PNG data URIs.

Hand-written SVG rather than a plotting library: its colours are the page's CSS classes, its text stays text, a chart
takes a few kB, and the same data give the same bytes whatever is installed.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

# Close to a phone's width, so that the text shrinks little there.
WIDTH, HEIGHT = 420, 270
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 30, 44

# Okabe and Ito's blue and vermilion, as OpenCV's blue, green, red. Told apart by every kind of colour vision.
_RIGHT_BGR = (178, 114, 0)
_WRONG_BGR = (0, 94, 213)

Formatter = Callable[[float], str]


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: in the legend.
        kind: CSS class: "main" (solid, strong) or "aside" (dashed, quiet).
        points: (x, y); a y that is not finite breaks the line.
    """

    name: str
    kind: str
    points: Sequence[tuple[float, float]]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from within ``low`` to ``high``, about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def line_chart(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    y_format: Formatter,
    *,
    mark: tuple[float, float, str] | None = None,
) -> Markup:
    """Lines over a whole-numbered x, such as epochs.

    Args:
        title: for screen readers.
        series: at least one finite point among them.
        x_label: under the axis.
        y_label: above the axis.
        y_format: of a number beside the axis.
        mark: x, y and text of a point to ring; the text stands at the bottom right, where accuracy leaves room.
    """
    finite = [(x, y) for line in series for x, y in line.points if math.isfinite(y)]
    frame = _Frame(*_range([x for x, _ in finite], 0.0), *_range([y for _, y in finite], 0.06))
    whole = [x for x in ticks(frame.x_low, frame.x_high, 6) if x == int(x)] or [finite[0][0]]
    parts = [frame.axes(x_label, y_label, whole, ticks(frame.y_low, frame.y_high), lambda x: f"{x:.0f}", y_format)]
    legend_x = float(LEFT)
    for line in series:
        for run in _unbroken(line.points):
            places = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in run)
            parts.append(f'<polyline class="line {line.kind}" points="{places}"/>')
            if len(run) == 1:
                parts.append(_dot(frame.x(run[0][0]), frame.y(run[0][1]), 3, f"dot {line.kind}"))
        parts.append(f'<path class="line {line.kind}" d="M{legend_x:.0f} 9h22"/>')
        parts.append(_text(legend_x + 28, 13, line.name))
        legend_x += 28 + 7.2 * len(line.name) + 18
    if mark is not None:
        x, y, text = mark
        parts.append(_dot(frame.x(x), frame.y(y), 4, "mark"))
        left, low = WIDTH - RIGHT - 7.6 * len(text), HEIGHT - BOTTOM - 14
        parts += [_dot(left - 9, low, 4, "mark"), _text(left, low + 4, text, "strong")]
    return _svg(title, parts)


def histogram(title: str, counts: Sequence[int], edges: Sequence[float], x_label: str, y_label: str) -> Markup:
    """Bars that touch; ``edges`` holds one number more than ``counts``; the y axis is linear from 0."""
    frame = _Frame(edges[0], edges[-1], 0.0, max(counts) * 1.05)
    x_ticks = ticks(edges[0], edges[-1])
    parts = [frame.axes(x_label, y_label, x_ticks, ticks(0.0, frame.y_high, 4), signed_number, compact_number)]
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            top, left = frame.y(count), frame.x(low)
            width, height = frame.x(high) - left - 0.6, HEIGHT - BOTTOM - top
            parts.append(f'<rect class="fill" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>')
    if edges[0] < 0 < edges[-1]:
        parts.append(f'<path class="zero" d="M{frame.x(0):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
    return _svg(title, parts)


def margin_scatter(
    title: str, same: NDArray[np.float64], different: NDArray[np.float64], x_label: str, y_label: str
) -> Markup:
    """Two kinds of points against the line x = y: dots where the networks agree, crosses where they do not.

    Args:
        title: for screen readers.
        same: (n, 2), x and y.
        different: (m, 2), x and y. n + m is at least 1.
        x_label: under the axis.
        y_label: above the axis.
    """
    both = np.concatenate([same, different])
    high = float(max(both.max(), 1e-6)) * 1.04
    low = min(float(both[:, 1].min()), -0.06 * high) * 1.04
    frame = _Frame(0.0, high, low, high)
    floor = frame.y(0.0)
    parts = [
        f'<rect class="zone" x="{LEFT}" y="{floor:.1f}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - BOTTOM - floor:.1f}"/>',
        frame.axes(x_label, y_label, ticks(0.0, high), ticks(low, high), number, signed_number),
        f'<path class="zero" d="M{frame.x(0):.1f} {frame.y(0):.1f}L{frame.x(high):.1f} {frame.y(high):.1f}"/>',
    ]
    parts += [_dot(frame.x(x), frame.y(y), 2.2, "dot faint") for x, y in same.tolist()]
    crosses = "".join(f"M{frame.x(x) - 3:.1f} {frame.y(y) - 3:.1f}l6 6m0-6l-6 6" for x, y in different.tolist())
    if crosses:
        parts.append(f'<path class="cross" d="{crosses}"/>')
    parts += [_dot(LEFT + 5, 9, 3, "dot"), _text(LEFT + 14, 13, "same answer")]
    parts += [f'<path class="cross" d="M{LEFT + 112} 6l6 6m0-6l-6 6"/>', _text(LEFT + 125, 13, "different answer")]
    return _svg(title, parts)


def photo_uri(pixels: NDArray[np.uint8], longest: int) -> str:
    """A PNG data URI of a uint8 RGB (height, width, 3) photo, shrunk to at most ``longest`` pixels a side."""
    shrink = longest / max(pixels.shape[:2])
    if shrink < 1:
        height, width = (max(1, round(side * shrink)) for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    # A grey photo takes a third of the bytes as a grey PNG.
    grey = bool((pixels == pixels[..., :1]).all())
    return _png_uri(pixels[..., 0] if grey else pixels[..., ::-1])


def matrix_uri(shares: NDArray[np.float64]) -> str:
    """A PNG data URI of a square matrix of shares, 0 to 1, one pixel each: strength is opacity, so that any page shows
    through; the diagonal in one colour, the rest in the other."""
    picture = np.empty((*shares.shape, 4), np.uint8)
    picture[..., :3] = _WRONG_BGR
    picture[np.arange(len(shares)), np.arange(len(shares)), :3] = _RIGHT_BGR
    # The square root lifts rare confusions above the background.
    picture[..., 3] = np.rint(255 * np.sqrt(shares))
    return _png_uri(picture)


def number(value: float) -> str:
    """Up to four significant digits, with a real minus sign."""
    return f"{value:.4g}".replace("-", "−")


def signed_number(value: float) -> str:
    """As ``number``, with the sign of positive values too."""
    return f"+{number(value)}" if value > 0 else number(value)


def compact_number(value: float) -> str:
    """1500 as 1.5k, 2000000 as 2M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return number(value)


@dataclass(frozen=True)
class _Frame:
    """From data to the picture's coordinates."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)

    def axes(
        self,
        x_label: str,
        y_label: str,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float],
        x_format: Formatter,
        y_format: Formatter,
    ) -> str:
        parts = []
        for tick in y_ticks:
            at = self.y(tick)
            parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(_text(LEFT - 6, at + 4, y_format(tick), "end"))
        for tick in x_ticks:
            at = self.x(tick)
            parts.append(f'<path class="axis" d="M{at:.1f} {HEIGHT - BOTTOM}v4"/>')
            parts.append(_text(at, HEIGHT - BOTTOM + 17, x_format(tick), "middle"))
        parts.append(f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "label middle"))
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            f'<text class="label middle" transform="translate(11 {middle:.0f}) rotate(-90)">{escape(y_label)}</text>'
        )
        return "".join(parts)


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high == low:
        low, high = low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


def _unbroken(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            runs[-1].append(point)
        else:
            runs.append([])
    return [run for run in runs if run]


def _svg(title: str, parts: Sequence[str]) -> Markup:
    # Text from outside passed escape() in _text and axes.
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>')


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _dot(x: float, y: float, radius: float, kind: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _png_uri(picture: NDArray[np.uint8]) -> str:
    _, data = cv2.imencode(".png", np.ascontiguousarray(picture), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode("ascii")
