# SPDX-License-Identifier: Apache-2.0
"""What the live page tells beside the pictures."""

from __future__ import annotations

import threading

import pytest

from device.live_page.state import Events, MachineWatch, Meter
from device.machine import MachineState
from device.results import StageTimes

STATE = MachineState(51.5, 0x50005, "ondemand", 1800.0)


def test_the_meter_tells_rate_median_and_worst() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    assert meter.summary() == {"fps": None, "median_ms": None, "worst_ms": None}
    for index in range(21):
        now[0] = 10 + index * 0.05
        meter.add(StageTimes(1.0, 50.0 if index == 7 else 4.0, 0.5, capture=33.0, wait=0.25))
    summary = meter.summary()
    assert summary["fps"] == 20
    assert summary["worst_ms"] == 51.75
    assert summary["median_ms"] == {
        "capture": 33.0, "preprocess": 1.0, "wait": 0.25, "invoke": 4.0, "postprocess": 0.5, "latency": 5.75,
    }  # fmt: skip
    now[0] += 0.05
    meter.add(StageTimes(1.0, 5.0, 0.0))
    assert meter.summary()["worst_ms"] == 6.0  # since last asked
    now[0] += 2.5
    assert meter.summary()["fps"] is None


def test_the_meter_holds_only_the_last_results() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    for index in range(1000):
        now[0] = index * 0.001
        meter.add(StageTimes(0.0, float(index), 0.0))
    assert meter.summary()["fps"] == 1000
    assert meter.summary()["median_ms"]["invoke"] == pytest.approx(871.5, abs=1)


def test_only_the_last_events_are_kept_newest_first() -> None:
    now = [0.0]
    events = Events(kept=3, clock=lambda: now[0])
    for number in range(5):
        now[0] = float(number)
        events.add(f"event {number}")
    now[0] = 6.0
    assert events.to_json() == [{"text": f"event {n}", "ago_s": 6.0 - n} for n in (4, 3, 2)]


def test_a_machine_that_is_slow_to_answer_is_not_waited_for() -> None:
    answer, answered = threading.Event(), threading.Event()

    def slow() -> MachineState:
        assert answer.wait(10)
        answered.set()
        return STATE

    watch = MachineWatch(slow)
    assert watch.look() is None
    asking = watch._asking
    assert watch.look() is None
    assert watch._asking is asking  # one question at a time
    answer.set()
    assert answered.wait(10)
    assert asking is not None
    asking.join()
    found = watch.look()
    assert found is not None
    assert found["temperature_c"] == 51.5
