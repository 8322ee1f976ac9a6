# SPDX-License-Identifier: Apache-2.0
"""Makes bench records for the tests, without measuring anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from device.bench_record import (
    FIGURES,
    Conditions,
    ModelFacts,
    OpFigures,
    Reading,
    Record,
    Run,
    Series,
    Target,
)
from device.machine import MachineFacts, MachineState

MODEL = ModelFacts("cells", "ab" * 32, 754_920, (96, 96, 3), 2, 8_602_880)
MACHINE = MachineFacts(
    "Raspberry Pi 5", "Cortex-A76", "aarch64", 4, ("asimd", "asimddp"), 8 << 30, "Linux 6.12", "3.11.2"
)
COOL = MachineState(50.0, 0, "ondemand", 2400.0)
QUIET = Conditions((0, 1, 2, 3), 4, 0.1, (), 50.0, 0)


def times(median: float, n: int = 200, seed: int = 0, spread: float = 0.02) -> tuple[float, ...]:
    """Milliseconds that scatter around ``median``, with the long tail of real ones."""
    noise = np.random.default_rng(seed).gamma(2.0, spread / 2, n)
    return tuple(np.round(median * (1 - spread * 0.8 + noise), 4).tolist())


def host_run(invoke: Sequence[float] = times(10.0), **changes: Any) -> Run:
    """A run on a host whose network takes ``invoke``; changes replace fields."""
    others = {name: tuple(ms for _ in invoke) for name, ms in (("preprocess", 0.5), ("postprocess", 0.2))}
    total = tuple(round(ms + 0.7, 4) for ms in invoke)
    stages = {
        "preprocess": others["preprocess"],
        "invoke": invoke,
        "postprocess": others["postprocess"],
        "total": total,
    }
    series = {name: Series("ms", tuple(samples)) for name, samples in stages.items()}
    run = Run(
        engine="ai-edge-litert",
        version="2.3.0",
        settings={"threads": 2, "xnnpack": True, "warmup": 10, "runs": len(invoke)},
        source={"kind": "synthetic", "name": None, "width": 640, "height": 480},
        stages=series,
        figures={
            "frames_per_second": round(1000 / series["total"].mean, 3),
            "open_ms": 80.0,
            "first_frame_ms": 20.0,
            "rss_bytes": 100_000_000,
            "waited_percent": 0.5,
            "ops_total": 61,
            "ops_xnnpack": 61,
        },
        before=COOL,
        after=COOL,
        conditions=QUIET,
    )
    return replace(run, **changes)


def host_record(*runs: Run, model: ModelFacts = MODEL, machine: MachineFacts = MACHINE) -> Record:
    """A record of a Pi."""
    return Record(
        "2026-05-04T10:20:30+00:00", "0.1.0", model, Target("host", machine.board or "", machine), tuple(runs)
    )


def board_run(**changes: Any) -> Run:
    """What ``litesight bench --board`` finds."""
    run = Run(
        engine="static",
        version="0.1.0",
        settings={"input": "frame", "kernels": "dsp", "vectors": 16, "compiler": "arm-none-eabi-gcc 12.2.1"},
        source={"kind": "golden", "name": "tflite-micro 0", "width": 96, "height": 96},
        stages={},
        figures={
            "instructions_per_inference": 20_000_000,
            "ram_bytes": 60_000,
            "flash_bytes": 400_000,
            "mismatched_bytes": 0,
        },
        ops=(OpFigures(0, "source", {"instructions_per_inference": 120}), OpFigures(1, "conv", {})),
    )
    return replace(run, **changes)


def board_record(*runs: Run, board: str = "mps2-an386") -> Record:
    """A record of an emulated board."""
    return Record("2026-05-04T10:20:30+00:00", "0.1.0", MODEL, Target("emulator", board), tuple(runs))


def _optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_texts = st.text(min_size=1, max_size=20)
_ms = st.floats(0, 1e6).map(lambda value: round(value, 4))
_temperatures = st.floats(-50, 200).map(lambda value: round(value, 3))
_bits = st.integers(0, 0xFFFF_FFFF)
_states = st.builds(
    MachineState, _optional(_temperatures), _optional(_bits), _optional(_texts), _optional(st.floats(0, 10_000))
)
_readings = st.builds(
    Reading, st.integers(0, 10**9), _optional(_temperatures), _optional(_bits), _optional(st.floats(0, 10_000))
)
_conditions = st.builds(
    Conditions,
    _optional(st.lists(st.integers(0, 500), max_size=4).map(tuple)),
    st.integers(1, 512),
    _optional(st.floats(0, 1000)),
    st.lists(_readings, max_size=3).map(tuple),
    _optional(_temperatures),
    _optional(_bits),
)
_numbers = st.integers(0, 10**12) | st.floats(0, 1e9).map(lambda value: round(value, 3))
_figures = st.dictionaries(st.sampled_from(sorted(FIGURES)), _optional(_numbers), max_size=5)
_runs = st.builds(
    Run,
    engine=_texts,
    version=_texts,
    settings=st.dictionaries(
        _texts, st.booleans() | st.integers(-(10**9), 10**9) | st.floats(0, 1e6) | _texts, max_size=4
    ),
    source=st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["synthetic", "given", "golden"]),
            "name": _optional(st.text(max_size=20)),
            "width": st.integers(0, 4096),
            "height": st.integers(0, 4096),
        }
    ),
    stages=st.dictionaries(
        st.sampled_from(["capture", "preprocess", "invoke", "total"]),
        st.lists(_ms, min_size=1, max_size=12).map(lambda samples: Series("ms", tuple(samples))),
        max_size=3,
    ),
    figures=_figures,
    ops=st.lists(
        st.builds(
            OpFigures,
            st.integers(0, 999),
            st.text(max_size=9),
            st.dictionaries(st.sampled_from(sorted(FIGURES)), _numbers, max_size=2),
        ),
        max_size=3,
    ).map(tuple),
    before=_optional(_states),
    after=_optional(_states),
    conditions=_optional(_conditions),
)
_machines = st.builds(
    MachineFacts,
    _optional(_texts),
    _optional(_texts),
    _texts,
    st.integers(1, 512),
    st.lists(_texts, max_size=3).map(tuple),
    _optional(st.integers(0, 1 << 50)),
    _texts,
    _texts,
)
records = st.builds(
    Record,
    created=_texts,
    litesight=_texts,
    model=st.builds(
        ModelFacts,
        _texts,
        st.text("0123456789abcdef", min_size=64, max_size=64),
        st.integers(0, 1 << 30),
        st.tuples(*[st.integers(1, 4096)] * 3),
        st.integers(1, 100_000),
        st.integers(0, 1 << 50),
    ),
    target=st.builds(Target, st.sampled_from(["host", "board", "emulator"]), _texts, _optional(_machines)),
    runs=st.lists(_runs, min_size=1, max_size=3).map(tuple),
)
"""Any record that can be written."""
