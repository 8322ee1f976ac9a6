# SPDX-License-Identifier: Apache-2.0
"""Draws a plan's memory map as SVG: ops from left to right, bytes of the arena from bottom to top."""

from __future__ import annotations

from html import escape

from firmware_export.static_engine.memory_map import (
    RING,
    SCRATCH,
    STATE,
    WHOLE,
    Entry,
    entries,
    needed_bytes,
    ordinary_peak_bytes,
)
from firmware_export.static_engine.plan import Plan, RowGraph

_LEGEND = {
    RING: "ring of a few rows",
    WHOLE: "all rows kept",
    SCRATCH: "scratch",
    STATE: "state",
}
_TOP, _HEIGHT, _LEFT, _RIGHT = 118, 640, 70, 20
_LEAST_WIDTH, _OP_WIDTH = 900, 26
_CHARACTER_WIDTH, _LINE_HEIGHT = 5.7, 10
_STYLE = """
svg { --ground: #ffffff; --band: #f3f5f8; --ink: #1c2430; --faint: #667085; --line: #cfd6e0;
  --ring: #9cc3ee; --whole: #f5bd84; --scratch: #cdd2da; --state: #a5d6a7; --edge: #33415580; --mark: #c2410c;
  font: 10px system-ui, sans-serif; background: var(--ground); color-scheme: light dark; }
@media (prefers-color-scheme: dark) { svg { --ground: #14181f; --band: #1b212b; --ink: #e6eaf0; --faint: #98a2b3;
  --line: #364152; --ring: #2f5f94; --whole: #945a1d; --scratch: #475060; --state: #2f6b3a; --edge: #d0d8e480;
  --mark: #fb923c; } }
.ground { fill: var(--ground); } .band { fill: var(--band); }
text { fill: var(--ink); } .faint { fill: var(--faint); } .title { font-size: 17px; font-weight: 600; }
.note { font-size: 12px; } .grid { stroke: var(--line); } .top { stroke: var(--mark); stroke-width: 1.5; }
.needs { fill: none; stroke: var(--mark); stroke-width: 1.2; stroke-dasharray: 2 3; }
.ring { fill: var(--ring); } .whole { fill: var(--whole); } .scratch { fill: var(--scratch); }
.state { fill: var(--state); }
.box { stroke: var(--edge); stroke-width: 1; } .shade { opacity: 0.28; stroke: none; }
.bar { fill: var(--mark); } .bar-whole { fill: var(--faint); }
"""


def memory_svg(graph: RowGraph, plan: Plan, title: str) -> str:
    """The memory map as a picture that can be read on light and on dark ground, each box with a text on hovering.

    A box reaches from the op that writes it to the last that reads it; a ring's pale continuation is the rest of its
    segment, whose ops take turns, so that it keeps its place there. The dotted line is what is needed at the busiest
    step of each op.

    Args:
        graph: the network.
        plan: of the network.
        title: what the network is called.
    """
    return _Picture(graph, plan).draw(title)


class _Picture:
    def __init__(self, graph: RowGraph, plan: Plan) -> None:
        self._graph = graph
        self._plan = plan
        self._entries = entries(graph, plan)
        self._column = max(_OP_WIDTH, (_LEAST_WIDTH - _LEFT - _RIGHT) / len(graph.ops))
        self._width = _LEFT + _RIGHT + self._column * len(graph.ops)
        self._bottom = 16 + _CHARACTER_WIDTH * max(len(op.name) for op in graph.ops)

    def draw(self, title: str) -> str:
        size = f"{self._width:.0f} {_TOP + _HEIGHT + self._bottom:.0f}"
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img">',
            f"<title>{escape(title)}: memory map</title>",
            f"<style>{_STYLE}</style>",
            '<rect class="ground" width="100%" height="100%"/>',
            *self._heading(title),
            *self._segments(),
            *self._scale(),
            *(self._shade(entry) for entry in self._entries if entry.kind == RING),
            *(self._box(entry) for entry in self._entries),
            self._needs(),
            *self._ops(),
            "</svg>",
        ]
        return "\n".join(part for part in parts if part) + "\n"

    def _x(self, op: float) -> float:
        return _LEFT + op * self._column

    def _y(self, byte: float) -> float:
        return _TOP + _HEIGHT * (1 - byte / self._plan.arena_bytes)

    def _heading(self, title: str) -> list[str]:
        arena, ordinary = self._plan.arena_bytes, ordinary_peak_bytes(self._graph)
        longest = self._width - _LEFT - _RIGHT - 330
        bars = [
            ("bar", arena, f"{arena:,} bytes: this arena"),
            ("bar-whole", ordinary, f"{ordinary:,} bytes: maps stored whole, busiest layer"),
        ]
        parts = [f'<text class="title" x="{_LEFT}" y="26">{escape(title)}</text>']
        for index, (style, size, text) in enumerate(bars):
            width, y = max(longest * size / max(arena, ordinary), 1), 38 + 18 * index
            parts.append(f'<rect class="{style}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="12"/>')
            parts.append(f'<text class="note" x="{_LEFT + width + 6:.1f}" y="{y + 10}">{text}</text>')
        x = float(_LEFT)
        for kind, text in _LEGEND.items():
            if any(entry.kind == kind for entry in self._entries):
                parts.append(f'<rect class="box {kind}" x="{x:.1f}" y="80" width="14" height="12"/>')
                parts.append(f'<text class="note" x="{x + 19:.1f}" y="90">{text}</text>')
                x += 19 + 7 * len(text) + 14
        parts.append(f'<path class="needs" d="M{x:.1f} 86h22"/>')
        parts.append(f'<text class="note" x="{x + 28:.1f}" y="90">needed at the op\'s busiest step, in sum</text>')
        return parts

    def _segments(self) -> list[str]:
        parts = []
        for number, (first, end) in enumerate(self._plan.segments):
            x, width = self._x(first), (end - first) * self._column
            if number % 2 == 0:
                height = _HEIGHT + self._bottom
                parts.append(f'<rect class="band" x="{x:.1f}" y="{_TOP}" width="{width:.1f}" height="{height:.0f}"/>')
            label = f"segment {number + 1}" if width > 60 else str(number + 1)
            parts.append(
                f'<text class="faint" x="{x + width / 2:.1f}" y="{_TOP - 8}" text-anchor="middle">{label}</text>'
            )
        return parts

    def _scale(self) -> list[str]:
        arena = self._plan.arena_bytes
        step = 1
        while arena / step > 10:
            step *= 2
        parts = []
        for byte in range(0, arena + 1, step):
            y = self._y(byte)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{self._width - _RIGHT:.1f}"/>')
            # Not in the way of the arena's own label.
            if byte <= arena - step / 3:
                parts.append(f'<text class="faint" x="{_LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{byte:,}</text>')
        y = self._y(arena)
        parts.append(f'<path class="top" d="M{_LEFT} {y:.1f}H{self._width - _RIGHT:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{arena:,}</text>')
        return parts

    def _shade(self, entry: Entry) -> str:
        # A single row takes its place when it is written and gives it back when it is read.
        return self._rectangle(entry, "shade", *self._plan.segments[entry.segment - 1]) if entry.rows > 1 else ""

    def _rectangle(self, entry: Entry, style: str, first: float, end: float) -> str:
        x, width = self._x(first), (end - first) * self._column
        y, height = self._y(entry.end), self._y(entry.offset) - self._y(entry.end)
        return f'<rect class="{style} {entry.kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'

    def _box(self, entry: Entry) -> str:
        name = entry.tensor or f"{entry.kind} of {entry.op}"
        text = f"{name}: bytes {entry.offset:,} to {entry.end:,} ({entry.size_bytes:,})"
        if entry.rows:
            text += f", {entry.rows} of {entry.height} rows of {entry.row_bytes:,}"
        parts = [
            "<g>",
            f"<title>{escape(text)}</title>",
            self._rectangle(entry, "box", entry.first_op, entry.last_op + 1),
            self._label(entry, entry.tensor or entry.kind),
            "</g>",
        ]
        return "".join(parts)

    def _label(self, entry: Entry, name: str) -> str:
        width = (entry.last_op + 1 - entry.first_op) * self._column - 4
        height = self._y(entry.offset) - self._y(entry.end) - 2
        x = self._x((entry.first_op + entry.last_op + 1) / 2)
        y = self._y(entry.offset + entry.size_bytes / 2)
        length = len(name) * _CHARACTER_WIDTH
        if length <= width and height >= _LINE_HEIGHT:
            return f'<text x="{x:.1f}" y="{y + 3.5:.1f}" text-anchor="middle">{escape(name)}</text>'
        if length <= height and width >= _LINE_HEIGHT:
            turned = f'transform="rotate(-90 {x:.1f} {y:.1f})"'
            return f'<text x="{x:.1f}" y="{y + 3.5:.1f}" text-anchor="middle" {turned}>{escape(name)}</text>'
        return ""

    def _needs(self) -> str:
        path = []
        for op, needed in enumerate(needed_bytes(self._graph, self._plan)):
            path.append(f"{'L' if op else 'M'}{self._x(op):.1f} {self._y(needed):.1f}H{self._x(op + 1):.1f}")
        return f'<path class="needs" d="{"".join(path)}"/>'

    def _ops(self) -> list[str]:
        parts = []
        y = _TOP + _HEIGHT + 8
        for index, op in enumerate(self._graph.ops):
            x = self._x(index + 0.5) + 3.5
            turned = f'text-anchor="end" transform="rotate(-90 {x:.1f} {y})"'
            parts.append(f'<text x="{x:.1f}" y="{y}" {turned}>{escape(op.name)}</text>')
        return parts
