# SPDX-License-Identifier: Apache-2.0
"""A frame's answer in one line, for people and for programs, and the whole run in one line at its end."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime
from typing import Final

from device.images import printable
from device.results import Result, StageTimes

UNSURE: Final = "unsure"
"""Stands for a label where there is none."""

_STAGES: Final = ("capture", "preprocess", "wait", "invoke", "postprocess")
assert set(_STAGES) == {field.name for field in fields(StageTimes)}


def text_line(result: Result) -> str:
    """A frame's answer for people."""
    best, *others = result.predictions
    label = UNSURE if result.label is None else printable(result.label)
    rest = ", ".join(f"{printable(other.label)} {other.probability:.1%}" for other in others)
    others_text = f" ({rest})" if rest else ""
    stages = ", ".join(f"{stage} {getattr(result.classification.ms, stage):.2f}" for stage in _STAGES)
    return f"{printable(result.frame.name)}: {label} {best.probability:.1%}{others_text}  {stages} ms"


def json_line(result: Result) -> str:
    """A frame's answer for programs; every character outside ASCII is escaped, so any file name survives."""
    ms = result.classification.ms
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    age_ms = (time.monotonic() - result.frame.captured_at) * 1000
    return json.dumps(
        {
            "index": result.frame.index,
            "name": result.frame.name,
            "time": now,
            "age_ms": round(age_ms, 3),
            "label": result.label,
            "probability": round(result.predictions[0].probability, 6),
            "predictions": [
                {"index": each.index, "label": each.label, "probability": round(each.probability, 6)}
                for each in result.predictions
            ],
            "ms": {stage: round(getattr(ms, stage), 3) for stage in _STAGES},
        }
    )


class Summary:
    """What a run came to."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._frames = 0
        self._latency_ms = 0.0

    def add(self, result: Result) -> None:
        """One more frame."""
        self._frames += 1
        self._latency_ms += result.classification.ms.latency

    def text(self, counts: Counter[str]) -> str:
        """Frames, their rate and latency, and what befell the camera."""
        seconds = time.monotonic() - self._started
        frames = "1 frame" if self._frames == 1 else f"{self._frames} frames"
        rate = f", {self._frames / seconds:.1f} a second" if self._frames > 1 else ""
        latency = f", {self._latency_ms / self._frames:.1f} ms from frame to label" if self._frames else ""
        told = {
            "replaced": "not classified because a newer one came",
            "repeats": "delivered again by the camera",
            "stale": "too old",
        }
        events = "".join(f"; {counts[name]} {words}" for name, words in told.items() if counts[name])
        if times := counts["recovered"]:
            events += f"; the camera came back {times} time{'' if times == 1 else 's'}"
        return f"{frames} in {seconds:.1f} s{rate}{latency}{events}"
