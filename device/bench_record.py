# SPDX-License-Identifier: Apache-2.0
"""What every bench of the kit writes, be it of a Pi, a board or an emulator.

``docs/bench-schema.md`` states each field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from device.machine import MachineFacts, MachineState

SCHEMA: Final = "litesight-bench/1"

FIGURES: Final[Mapping[str, str]] = {
    "frames_per_second": "1000 / mean of the total time of a frame, one frame after another",
    "frames_timed": "frames that were timed; more than there are samples where a long run keeps every n-th",
    "steady_frames_per_second": "as frames_per_second, over the last quarter of the samples",
    "slowdown_ratio": "median total of the last quarter of the samples / that of the first quarter",
    "cold_start_ms": "cold start: from starting `litesight run` in a process of its own to its first label",
    "open_ms": "cold start: reading the bundle, checking its hashes, opening the network",
    "first_frame_ms": "cold start: preprocess, invoke and postprocess of the very first frame",
    "others_cpu_percent": "processor time that other processes took during the run, of all cores' time",
    "waited_percent": "time that the threads of the process were ready and had no core, of the run's time",
    "rss_bytes": "resident memory of the process after the last frame",
    "peak_rss_bytes": "largest resident memory of the process so far",
    "ops_total": "operators in the network's graph",
    "ops_xnnpack": "operators that XNNPACK executed, counted after delegation",
    "instructions_per_inference": "executed instructions of one inference, counted; not cycles and not milliseconds",
    "ram_bytes": "data + bss of the linked image, arena included",
    "arena_bytes": "the engine's arena, part of ram_bytes",
    "stack_bytes": "deepest stack seen in one inference, from its top; not part of ram_bytes",
    "flash_bytes": "code, constants and model in the linked image",
    "constants_bytes": "constants, part of flash_bytes: weights, biases, multipliers, layers, steps, labels, texts",
    "weights_bytes": "the network's weights as the kernels read them, part of constants_bytes",
    "code_bytes": "vectors and machine code, part of flash_bytes",
    "mismatched_bytes": "output bytes that differ from the golden vectors",
    "agreement": "share of the frames on which the engine's likeliest class is that of the kit's own engine",
    "invoke_ratio": "time of the network / that of the kit's own engine in the same round; the median of the rounds",
}
"""Every single number that a run may carry, and what it means. The unit is in the name."""

TARGET_KINDS: Final = ("host", "board", "emulator")

STAGES: Final = ("capture", "preprocess", "invoke", "postprocess", "total")
"""Stages of a frame's way in their order; ``total`` is the sum of the others."""

PERCENTILES: Final = (50, 90, 99)

BUSY_LOAD: Final = 0.5
"""A load average of more than this per core, before anything was measured, is somebody else's."""

_DIGITS: Final = 4
"""Samples are written to 1/10000 of their unit: of a millisecond that is what the clock of a Pi can tell apart."""


@dataclass(frozen=True)
class Series:
    """Samples of one quantity, in the order in which they were taken."""

    unit: str
    samples: tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """Nearest rank: the smallest sample such that at least ``percent`` % of all samples are no larger.

        It is always a sample that was measured; nothing is interpolated.
        """
        rank = max(1, math.ceil(percent / 100 * len(self.samples)))
        return sorted(self.samples)[rank - 1]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return math.fsum(self.samples) / len(self.samples)

    def to_json(self) -> dict[str, Any]:
        """Summary and raw samples; the summary is that of the samples as they are written."""
        written = Series(self.unit, tuple(round(sample, _DIGITS) for sample in self.samples))
        return {
            "unit": self.unit,
            "n": len(written.samples),
            "mean": round(written.mean, _DIGITS),
            "min": min(written.samples),
            **{f"p{percent}": written.percentile(percent) for percent in PERCENTILES},
            "max": max(written.samples),
            "samples": list(written.samples),
        }


@dataclass(frozen=True)
class ModelFacts:
    """Which network: records with another ``sha256`` must not be compared."""

    name: str
    sha256: str
    bytes: int
    input: tuple[int, int, int]
    classes: int
    macs: int


@dataclass(frozen=True)
class Target:
    """Where it ran. ``id`` is a board's name, or what the machine calls itself; ``machine`` only for a host."""

    kind: str
    id: str
    machine: MachineFacts | None = None

    def __post_init__(self) -> None:
        if self.kind not in TARGET_KINDS:
            raise ValueError(f"target kind must be one of {', '.join(TARGET_KINDS)}, found {self.kind!r}")


@dataclass(frozen=True)
class OpFigures:
    """One operator of the network, in execution order, with figures of its own."""

    index: int
    op: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """The machine's state while a run went on, read between two frames; ``frame`` were timed before it."""

    frame: int
    temperature_c: float | None
    throttled: int | None
    clock_mhz: float | None


@dataclass(frozen=True)
class Conditions:
    """What the run had of the machine.

    Attributes:
        affinity: numbers of the cores that the process may use; None where the system does not tell.
        cores: of the machine.
        load_1min: load average of the last minute before the bench began; None where the system does not tell.
        readings: the state while the run went on, at most one a second, in order; long runs keep every n-th.
        temperature_max_c: the highest of all readings, those before and after the run among them.
        throttled: the bits of all these readings together.
    """

    affinity: tuple[int, ...] | None
    cores: int
    load_1min: float | None
    readings: tuple[Reading, ...]
    temperature_max_c: float | None
    throttled: int | None

    @property
    def busy(self) -> bool | None:
        """Whether something else was at work before; None if unknown."""
        return None if self.load_1min is None else self.load_1min > BUSY_LOAD * self.cores

    def to_json(self) -> dict[str, Any]:
        """For the bench's file."""
        return {**asdict(self), "busy": self.busy}


@dataclass(frozen=True)
class Run:
    """One engine with one setting.

    Attributes:
        engine: "ai-edge-litert", "tflite-runtime", "tflm", "static", …
        version: of the engine.
        settings: what can be chosen: threads, delegate, compiler flags.
        source: where the frames came from.
        stages: samples by stage: capture, preprocess, invoke, postprocess, total.
        figures: single numbers; the keys are those of FIGURES; None where the machine does not tell.
        ops: per operator; empty where nobody measured them.
        before, after: the machine's state; None on a board.
        conditions: what the run had of the machine; None on a board.
    """

    engine: str
    version: str
    settings: Mapping[str, int | float | str | bool]
    source: Mapping[str, Any]
    stages: Mapping[str, Series]
    figures: Mapping[str, float | None]
    ops: tuple[OpFigures, ...] = ()
    before: MachineState | None = None
    after: MachineState | None = None
    conditions: Conditions | None = None

    def __post_init__(self) -> None:
        unknown = {*self.figures, *(key for op in self.ops for key in op.figures)} - FIGURES.keys()
        if unknown:
            raise ValueError(f"unknown figures {', '.join(sorted(unknown))}; add them to FIGURES and to the docs")

    def to_json(self) -> dict[str, Any]:
        """The run's object in the file."""
        return {
            "engine": self.engine,
            "version": self.version,
            "settings": dict(self.settings),
            "source": dict(self.source),
            "stages": {name: series.to_json() for name, series in self.stages.items()},
            "figures": {name: _rounded(value) for name, value in self.figures.items()},
            "ops": [
                {"index": op.index, "op": op.op, "figures": {name: _rounded(v) for name, v in op.figures.items()}}
                for op in self.ops
            ],
            "before": self.before.to_json() if self.before else None,
            "after": self.after.to_json() if self.after else None,
            "conditions": self.conditions.to_json() if self.conditions else None,
        }


@dataclass(frozen=True)
class Record:
    """A bench file: one network on one target, in one or more runs.

    Attributes:
        runs: the kit's own engine, frame by frame through every stage.
        peers: engines that were timed in turn, the kit's own among them; the stage ``invoke`` alone.
    """

    created: str
    litesight: str
    model: ModelFacts
    target: Target
    runs: Sequence[Run] = field(default_factory=tuple)
    peers: Sequence[Run] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """The whole document."""
        return {
            "schema": SCHEMA,
            "created": self.created,
            "litesight": self.litesight,
            "model": asdict(self.model),
            "target": asdict(self.target),
            "runs": [run.to_json() for run in self.runs],
            "peers": [run.to_json() for run in self.peers],
        }

    def to_bytes(self) -> bytes:
        """The file's content: UTF-8 JSON."""
        return (json.dumps(self.to_json(), allow_nan=False) + "\n").encode()


def _rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else round(value, 3)
