# SPDX-License-Identifier: Apache-2.0
"""What else the machine does while a bench runs, and its state in between. Standard library only."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.bench_record import Conditions, Reading
from device.machine import ROOT, MachineState, read_state

READ_EVERY_S: Final = 1.0
"""Between two readings of the machine's state: asking the firmware starts a process."""

MAX_READINGS: Final = 600
"""Even; of a longer run every second, fourth, … reading is kept."""

SHORTEST_S: Final = 1.0
"""The kernel counts processor time in ticks of 10 ms: a shorter run says nothing of the others."""


def load_average(root: Path = ROOT) -> float | None:
    """The load average of the last minute."""
    try:
        return float((root / "proc/loadavg").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None


def affinity() -> tuple[int, ...] | None:
    """The cores that this process may use."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        return None


def busy_seconds(root: Path = ROOT) -> float | None:
    """Processor time that the machine has spent since it started, by anybody, on all cores together.

    The fields of ``/proc/stat`` (proc_stat(5)): idle and iowait are no work, guest time is part of user time.
    """
    try:
        text = (root / "proc/stat").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    match = re.match(r"cpu +((?:\d+ ){3,9}\d+)\n", text)
    if match is None:
        return None
    fields = [int(field) for field in match[1].split()][:8]
    idle = sum(fields[3:5])
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


def waited_seconds(root: Path = ROOT) -> dict[str, float]:
    """How long each thread of this process was ready to run and had no core, by its number; empty where unknown.

    The second field of ``schedstat`` (Documentation/scheduler/sched-stats in the kernel's sources), in nanoseconds.
    """
    waited = {}
    for task in (root / "proc/self/task").glob("*/schedstat"):
        try:
            waited[task.parent.name] = int(task.read_text(encoding="ascii").split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # a thread that ended meanwhile
            continue
    return waited


@dataclass(frozen=True)
class End:
    """What is known when a run has ended.

    Attributes:
        state: the machine's.
        others_percent: of all cores' time, what other processes took; None if unknown.
        waited_percent: of the run's time, what the threads of this process together waited for a core; None if unknown.
    """

    state: MachineState
    others_percent: float | None
    waited_percent: float | None


class Watch:
    """Reads the machine's state before, during and after a run, and how far others were in the way."""

    def __init__(self, load_1min: float | None, root: Path = ROOT) -> None:
        self._root = root
        self._load_1min = load_1min
        self._readings: list[Reading] = []
        self._taken = 0
        self._every = 1
        self._temperature_max: float | None = None
        self._bits: int | None = None
        self.before = self._read()
        self._busy = busy_seconds(root)
        self._waited = waited_seconds(root)
        self._own = time.process_time()
        self._started = self._last = time.monotonic()

    def between_frames(self, frame: int) -> None:
        """Take a reading if the last one is a second old; ``frame`` were timed so far."""
        now = time.monotonic()
        if now - self._last < READ_EVERY_S:
            return
        state = self._read()
        if self._taken % self._every == 0:
            if len(self._readings) == MAX_READINGS:
                del self._readings[1::2]
                self._every *= 2
            self._readings.append(Reading(frame, state.temperature_c, state.throttled, state.clock_mhz))
        self._taken += 1
        self._last = time.monotonic()

    def end(self) -> End:
        """Take the last reading."""
        others, waited = self._others_percent(), self._waited_percent()
        return End(self._read(), others, waited)

    def conditions(self) -> Conditions:
        """What was seen."""
        return Conditions(
            affinity=affinity(),
            cores=os.cpu_count() or 1,
            load_1min=self._load_1min,
            readings=tuple(self._readings),
            temperature_max_c=self._temperature_max,
            throttled=self._bits,
        )

    def _read(self) -> MachineState:
        state = read_state(self._root)
        if state.temperature_c is not None:
            self._temperature_max = max(state.temperature_c, self._temperature_max or state.temperature_c)
        if state.throttled is not None:
            self._bits = (self._bits or 0) | state.throttled
        return state

    def _others_percent(self) -> float | None:
        elapsed = time.monotonic() - self._started
        busy = busy_seconds(self._root)
        if self._busy is None or busy is None or elapsed < SHORTEST_S:
            return None
        others = (busy - self._busy) - (time.process_time() - self._own)
        return min(100.0, max(0.0, 100 * others / (elapsed * (os.cpu_count() or 1))))

    def _waited_percent(self) -> float | None:
        waited = waited_seconds(self._root)
        if not waited:
            return None
        seconds = sum(max(0.0, wait - self._waited.get(thread, 0.0)) for thread, wait in waited.items())
        return 100 * seconds / (time.monotonic() - self._started)
