# SPDX-License-Identifier: Apache-2.0
"""Keeps the times of frames while they are taken, in so little memory that it does not show in what is measured."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

from device.bench_record import STAGES, Series
from device.results import StageTimes

MAX_SAMPLES: Final = 50_000
"""Even. Per stage and run: 400 kB in memory, and a file of some MB that can still be read on a small Pi."""


class Samples:
    """The times of every frame or, of a run with more than MAX_SAMPLES frames, of every second, fourth, …

    Attributes:
        frames: how many were timed.
    """

    def __init__(self, has_capture: bool) -> None:
        names = STAGES if has_capture else STAGES[1:]
        self._columns: dict[str, array[float]] = {name: array("d") for name in names}
        self._every = 1
        self.frames = 0

    def add(self, ms: StageTimes) -> None:
        """Take the times of one more frame."""
        if self.frames % self._every == 0:
            if len(self._columns["total"]) == MAX_SAMPLES:
                self._columns = {name: column[::2] for name, column in self._columns.items()}
                self._every *= 2
            for name, column in self._columns.items():
                column.append(getattr(ms, name))
        self.frames += 1

    def stages(self) -> Mapping[str, Series]:
        """A series per stage, in milliseconds, in the order taken."""
        return {name: Series("ms", tuple(column)) for name, column in self._columns.items()}


def steady_figures(totals: Sequence[float]) -> dict[str, float | None]:
    """Whether it got slower: the last quarter of the samples against the first; None if there are too few to tell."""
    quarter = len(totals) // 4
    if quarter < 10:
        return {"steady_frames_per_second": None, "slowdown_ratio": None}
    first, last = Series("ms", tuple(totals[:quarter])), Series("ms", tuple(totals[-quarter:]))
    return {
        "steady_frames_per_second": 1000 / last.mean,
        "slowdown_ratio": last.percentile(50) / first.percentile(50),
    }
