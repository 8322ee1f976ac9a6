# SPDX-License-Identifier: Apache-2.0
"""What the live page tells beside the pictures: rates, times, the machine's state, what happened to the camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from device.images import printable
from device.live_page.picture import Shown
from device.machine import MachineState, read_memory, read_state
from device.preprocess import crop_box
from device.results import StageTimes

STAGES: Final = ("capture", "preprocess", "wait", "invoke", "postprocess")
WINDOW_S: Final = 2.0
MACHINE_EVERY_S: Final = 2.0

_KEPT: Final = 256
_Row = tuple[float, float, float, float, float, float]


class Meter:
    """How fast the last results came. One thread adds, another asks; neither waits for the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # A list of fixed length, for a slice of it is taken in one step; a deque that grows meanwhile would complain.
        self._rows: list[_Row | None] = [None] * _KEPT
        self._next = 0
        self._asked = clock()

    def add(self, ms: StageTimes) -> None:
        """Count a result."""
        row = (self._clock(), ms.capture, ms.preprocess, ms.wait, ms.invoke, ms.postprocess)
        self._rows[self._next] = row
        self._next = (self._next + 1) % _KEPT

    def summary(self) -> dict[str, Any]:
        """Frames a second, the median of each stage over the last two seconds, the worst latency since last asked."""
        now = self._clock()
        rows = sorted(row for row in self._rows[:] if row is not None and now - row[0] <= WINDOW_S)
        asked, self._asked = self._asked, now
        if not rows:
            return {"fps": None, "median_ms": None, "worst_ms": None}
        table = np.array(rows)
        latencies = table[:, 2:].sum(axis=1)
        span = rows[-1][0] - rows[0][0]
        recent = latencies[table[:, 0] > asked]
        return {
            "fps": round((len(rows) - 1) / span, 1) if span > 0 else None,
            "median_ms": {
                **{name: round(float(ms), 3) for name, ms in zip(STAGES, np.median(table[:, 1:], axis=0), strict=True)},
                "latency": round(float(np.median(latencies)), 3),
            },
            "worst_ms": round(float(recent.max()), 3) if len(recent) else None,
        }


class MachineWatch:
    """The machine's state, at most as old as it takes to ask for it, and never waited for.

    Asking may take seconds (``vcgencmd`` is a program that talks to the firmware), so a thread of its own does it.
    """

    def __init__(self, read: Callable[[], MachineState] = read_state) -> None:
        self._read = read
        self._state: MachineState | None = None
        self._asked = float("-inf")
        self._asking: threading.Thread | None = None

    def look(self) -> dict[str, Any] | None:
        """What was found last; starts the next look if it is time."""
        now = time.monotonic()
        if now - self._asked >= MACHINE_EVERY_S and (self._asking is None or not self._asking.is_alive()):
            self._asked = now
            self._asking = threading.Thread(target=self._ask, name="litesight machine", daemon=True)
            self._asking.start()
        return None if self._state is None else self._state.to_json()

    def _ask(self) -> None:
        self._state = self._read()


class Events:
    """The last things that happened, with their times. Any thread may add."""

    def __init__(self, kept: int = 6, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept = kept
        self._clock = clock
        self._events: tuple[tuple[float, str], ...] = ()

    def add(self, text: str) -> None:
        """Remember a line; the oldest is forgotten."""
        # Replaced as a whole: whoever reads meanwhile has the old tuple.
        self._events = (*self._events[1 - self._kept :], (self._clock(), printable(text)))

    def to_json(self) -> list[dict[str, Any]]:
        """The newest first."""
        now = self._clock()
        return [{"text": text, "ago_s": round(now - at, 1)} for at, text in reversed(self._events)]


def shown_json(shown: Shown, top: int) -> dict[str, Any]:
    """What does not change of a result while it is shown."""
    manifest = shown.bundle.manifest
    spec = manifest.input
    return {
        "model": {
            "name": printable(manifest.name),
            "sha256": shown.bundle.model_sha256[:12],
            "classes": manifest.classes,
            "input": {"width": spec.width, "height": spec.height, "color": spec.color},
        },
        "frame": {
            "name": printable(shown.name),
            "index": shown.index,
            "width": shown.width,
            "height": shown.height,
            "crop": crop_box(shown.width, shown.height, spec),
        },
        "label": shown.label,
        "predictions": [
            {"index": each.index, "label": each.label, "probability": round(each.probability, 4)}
            for each in shown.predictions[:top]
        ],
        "ms": {
            **{name: round(getattr(shown.ms, name), 3) for name in STAGES},
            "latency": round(shown.ms.latency, 3),
        },
    }


def process_json(started_at: float) -> dict[str, Any]:
    """What the runner itself takes."""
    resident, peak = read_memory()
    return {"memory_bytes": resident, "peak_bytes": peak, "uptime_s": round(time.monotonic() - started_at, 1)}
