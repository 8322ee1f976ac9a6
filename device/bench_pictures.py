# SPDX-License-Identifier: Apache-2.0
"""The bench page's pictures: hand-made SVG, its colours the page's CSS classes, so that they follow light and dark.

Pure functions of their data; every text passes :func:`harmless`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from device.bench_record import PERCENTILES, Reading, Series
from device.images import printable

Formatter = Callable[[float], str]

BINS: Final = 48
MOST_DOTS: Final = 700
"""More samples than this are drawn as the range and the median of every column of the strip."""
_COLUMNS: Final = 360
_NOW: Final = 0xFFFF


@dataclass(frozen=True)
class Frame:
    """A picture of ``width`` by ``height`` and the data that its axes span."""

    width: int
    height: int
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    left: int = 46
    right: int = 12
    top: int = 26
    bottom: int = 40

    def x(self, value: float) -> float:
        """From data to the picture."""
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return self.left + share * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """From data to the picture, upwards."""
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def axes(self, x_label: str, x_format: Formatter, y_format: Formatter, y_about: int = 4) -> str:
        """Grid, ticks and the label under the x axis."""
        floor = self.height - self.bottom
        parts = []
        for tick in ticks(self.y_low, self.y_high, y_about):
            at = self.y(tick)
            parts.append(f'<path class="grid" d="M{self.left} {at:.1f}H{self.width - self.right}"/>')
            parts.append(text(self.left - 6, at + 4, y_format(tick), "end"))
        for tick in ticks(self.x_low, self.x_high, max(6, self.width // 80)):
            at = self.x(tick)
            parts.append(f'<path class="axis" d="M{at:.1f} {floor}v4"/>')
            parts.append(text(at, floor + 16, x_format(tick), "middle"))
        parts.append(f'<path class="axis" d="M{self.left} {floor}H{self.width - self.right}"/>')
        parts.append(text((self.left + self.width - self.right) / 2, self.height - 6, x_label, "middle"))
        return "".join(parts)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within ``low`` to ``high``, about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def distribution(title: str, series: Series, kind: str) -> tuple[str, int]:
    """A histogram with the percentiles marked.

    Args:
        title: for screen readers.
        series: of milliseconds.
        kind: CSS class of the bars.

    Returns:
        (the SVG, how many samples lie beyond its right end): a few stragglers would squeeze the rest into one bar.
    """
    low, p50, p99 = min(series.samples), series.percentile(50), series.percentile(99)
    low, high = widened(low, min(max(series.samples), p99 + 0.5 * (p99 - low)), least=0.02 * p50)
    counts, beyond = [0] * BINS, 0
    for sample in series.samples:
        at = int((sample - low) / (high - low) * BINS)
        if at < BINS:
            counts[at] += 1
        else:
            beyond += 1
    frame = Frame(420, 210, low, high, 0.0, max(counts) * 1.08, top=34)
    parts = [frame.axes("ms", milliseconds, lambda count: f"{count:.0f}" if count == int(count) else "")]
    width = (frame.x(high) - frame.x(low)) / BINS
    for number, count in enumerate(counts):
        if count:
            top = frame.y(count)
            parts.append(
                f'<rect class="{kind}" x="{frame.left + number * width:.1f}" y="{top:.1f}" width="{width - 0.5:.1f}" '
                f'height="{frame.height - frame.bottom - top:.1f}"/>'
            )
    parts.append(_marks(frame, series))
    return svg(title, frame, parts), beyond


def _marks(frame: Frame, series: Series) -> str:
    """Vertical lines at the percentiles, their names on two rows so that close ones do not collide."""
    parts = []
    for number, percent in enumerate(PERCENTILES):
        at = frame.x(series.percentile(percent))
        row = 12 + 11 * (number % 2)
        anchor = "end" if at > frame.width - 60 else "start"
        parts.append(f'<path class="percentile" d="M{at:.1f} {row + 3}V{frame.height - frame.bottom}"/>')
        parts.append(text(at + (-3 if anchor == "end" else 3), row + 4, f"p{percent}", f"strong {anchor}"))
    return "".join(parts)


def strip(title: str, series: Series, every: float, readings: Sequence[Reading]) -> tuple[str, int]:
    """Every sample in the order taken, and the readings in which the firmware said that it throttles.

    Args:
        title: for screen readers.
        series: of milliseconds.
        every: frames per sample.
        readings: of the machine's state.

    Returns:
        (the SVG, how many samples lie above its upper edge, where they are drawn as triangles).
    """
    samples = series.samples
    low, p99 = min(samples), series.percentile(99)
    low, high = widened(low, min(max(samples), p99 + (p99 - low)), least=0.1 * series.percentile(50))
    frame = Frame(840, 220, 0.0, max(1.0, len(samples) * every), max(0.0, low), high, left=54)
    parts = [_throttled_zones(frame, readings), frame.axes("frame", whole, milliseconds)]
    median = frame.y(series.percentile(50))
    parts.append(f'<path class="zero" d="M{frame.left} {median:.1f}H{frame.width - frame.right}"/>')
    parts.append(text(frame.left + 4, 14, "ms, whole frame; dashed: median"))
    above = [number for number, sample in enumerate(samples) if sample > high]
    if len(samples) <= MOST_DOTS:
        parts += [
            f'<circle class="dot" cx="{frame.x((number + 0.5) * every):.1f}" cy="{frame.y(sample):.1f}" r="1.7"/>'
            for number, sample in enumerate(samples)
            if sample <= high
        ]
    else:
        parts.append(_columns(frame, samples, every))
    triangles = "".join(f"M{frame.x((number + 0.5) * every) - 3:.1f} {frame.top + 6}h6l-3-6z" for number in above[:200])
    if triangles:
        parts.append(f'<path class="above" d="{triangles}"/>')
    return svg(title, frame, parts), len(above)


def _columns(frame: Frame, samples: Sequence[float], every: float) -> str:
    """The range of each column as an area, its median as a line."""
    size = math.ceil(len(samples) / _COLUMNS)
    uppers, lowers, middles = [], [], []
    for start in range(0, len(samples), size):
        part = sorted(samples[start : start + size])
        at = frame.x((start + len(part) / 2) * every)
        uppers.append(f"{at:.1f} {frame.y(min(part[-1], frame.y_high)):.1f}")
        lowers.append(f"{at:.1f} {frame.y(part[0]):.1f}")
        middles.append(f"{at:.1f} {frame.y(min(part[(len(part) - 1) // 2], frame.y_high)):.1f}")
    area = "L".join([*uppers, *reversed(lowers)])
    return f'<path class="range" d="M{area}z"/><path class="line" d="M{"L".join(middles)}"/>'


def _throttled_zones(frame: Frame, readings: Sequence[Reading]) -> str:
    parts = []
    ends = [*(reading.frame for reading in readings[1:]), frame.x_high]
    for reading, end in zip(readings, ends, strict=False):
        if (reading.throttled or 0) & _NOW:
            left, right = frame.x(min(reading.frame, frame.x_high)), frame.x(min(end, frame.x_high))
            parts.append(
                f'<rect class="zone" x="{left:.1f}" y="{frame.top}" width="{max(1.0, right - left):.1f}" '
                f'height="{frame.height - frame.top - frame.bottom}"/>'
            )
    return "".join(parts)


def temperature(title: str, frames: float, readings: Sequence[Reading]) -> str:
    """The processor's temperature under the strip, along the same axis; empty with fewer than two readings."""
    points = [(reading.frame, reading.temperature_c) for reading in readings if reading.temperature_c is not None]
    if len(points) < 2:
        return ""
    low, high = widened(min(t for _, t in points), max(t for _, t in points), least=2.0)
    frame = Frame(840, 130, 0.0, max(1.0, frames), low, high, left=54, top=24)
    line = "L".join(f"{frame.x(min(at, frames)):.1f} {frame.y(value):.1f}" for at, value in points)
    parts = [
        frame.axes("frame", whole, lambda value: f"{value:g}", 3),
        f'<path class="heat" d="M{line}"/>',
        text(frame.left + 4, 14, "°C"),
    ]
    return svg(title, frame, parts)


def shares_below(title: str, lines: Sequence[tuple[str, Series]]) -> str:
    """Empirical distribution functions: which share of the frames took at most so long.

    Args:
        title: for screen readers.
        lines: (name, samples); the first is drawn strong, the second dashed.
    """
    low = min(min(series.samples) for _, series in lines)
    high = max(min(max(series.samples), series.percentile(99) * 1.25) for _, series in lines)
    low, high = widened(low, high, least=0.05 * high)
    frame = Frame(420, 240, low, high, 0.0, 1.0)
    parts = [frame.axes("ms", milliseconds, lambda share: f"{share:.0%}")]
    at = float(frame.left)
    for kind, (name, series) in zip(("main", "aside"), lines, strict=False):
        ordered = sorted(series.samples)
        steps = {round(share * (len(ordered) - 1)) for share in (number / 300 for number in range(301))}
        points = [(ordered[index], (index + 1) / len(ordered)) for index in sorted(steps) if ordered[index] <= high]
        parts.append(
            f'<path class="line {kind}" d="M{"L".join(f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in points)}"/>'
        )
        parts.append(f'<path class="line {kind}" d="M{at:.0f} 10h20"/>')
        shown = name if len(name) <= 18 else name[:17] + "…"
        parts.append(text(at + 26, 14, shown))
        at += 26 + 7.6 * len(shown) + 14
    return svg(title, frame, parts)


def ratio_mark(ratio: float, interval: tuple[float, float] | None, margin: float) -> str:
    """A ratio on a logarithmic scale from 1/2 to 2 with its interval; the band is what counts as the same."""

    def at(value: float) -> float:
        return 60 + 56 * max(-1.0, min(1.0, math.log2(value))) if value > 0 else 4

    left, right = at(1 / (1 + margin)), at(1 + margin)
    parts = [
        f'<rect class="band" x="{left:.1f}" y="0" width="{right - left:.1f}" height="16"/>',
        '<path class="axis" d="M60 0v16"/>',
    ]
    if interval is not None:
        parts.append(f'<path class="whisker" d="M{at(interval[0]):.1f} 8H{at(interval[1]):.1f}"/>')
    parts.append(f'<circle class="dot" cx="{at(ratio):.1f}" cy="8" r="3.5"/>')
    return f'<svg class="mini" viewBox="0 0 120 16" role="img" aria-label="ratio {ratio:.3f}">{"".join(parts)}</svg>'


def widened(low: float, high: float, least: float) -> tuple[float, float]:
    """The range with some room, no narrower than ``least`` or what is drawable."""
    room = max(0.04 * (high - low), 0.5 * max(0.0, least - (high - low)), 1e-4)
    return low - room, high + room


def milliseconds(value: float) -> str:
    """Up to four significant digits."""
    return f"{value:.4g}".replace("-", "−")


def whole(value: float) -> str:
    """A number of frames; nothing between two frames."""
    return f"{value:,.0f}" if value == int(value) else ""


def harmless(words: object) -> str:
    """Safe in HTML, and without control characters, which may turn the direction of writing."""
    return escape(printable(str(words)))


def svg(title: str, frame: Frame, parts: Sequence[str]) -> str:
    """The picture; ``title`` is for screen readers."""
    box = f"0 0 {frame.width} {frame.height}"
    return f'<svg viewBox="{box}" role="img" aria-label="{harmless(title)}">{"".join(parts)}</svg>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """A text in a picture."""
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x:.1f}" y="{y:.1f}">{harmless(words)}</text>'
