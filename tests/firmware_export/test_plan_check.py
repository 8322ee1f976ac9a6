# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_export.static_engine.plan import Plan, RowGraph, RowOp, Storage
from firmware_export.static_engine.plan_check import find_fault
from firmware_export.static_engine.planner import plan
from tests.firmware_export.row_graphs import (
    GraphBuilder,
    efficientnet_lite,
    output_of_plan,
    output_of_whole_maps,
    row_graphs,
)


def _changed(values: Sequence[int], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _with_storage(found: Plan, tensor: int, storage: Storage) -> Plan:
    return replace(found, storages=(*found.storages[:tensor], storage, *found.storages[tensor + 1 :]))


def _small() -> tuple[RowGraph, Plan]:
    """A residual block and a mean, with scratch, and a plan in which nothing shares memory."""
    builder = GraphBuilder(6, 8)
    x = builder.window(0, 1, 8, scratch_bytes=8)
    y = builder.window(x, 3, 8, scratch_bytes=4)
    builder.sink(builder.addition(x, y), 8)
    order = (0, 1, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 2, 3, 4)
    storages = (Storage(0, 1), Storage(8, 3), Storage(32, 1), Storage(40, 1), Storage(48, 1))
    found = Plan(storages, (-1, 56, 56, -1, -1), (-1, -1, -1, -1, 64), ((0, 5),), order, 96)
    return builder.graph(), found


def test_a_right_plan_refused() -> None:
    graph, found = _small()

    assert find_fault(graph, found) == ""
    assert output_of_plan(graph, found) == output_of_whole_maps(graph)


def _corruptions() -> dict[str, tuple[Plan, str]]:
    _, found = _small()
    swapped = list(found.steps)
    swapped[4], swapped[5] = swapped[5], swapped[4]
    return {
        "a tensor without a place": (
            replace(found, storages=found.storages[:-1]),
            "the plan has 4 storages, expected 5",
        ),
        "scratch for too few ops": (replace(found, scratch=(-1,)), "the plan has 1 scratch offsets, expected 5"),
        "state for too many ops": (
            replace(found, state=(*found.state, -1)),
            "the plan has 6 state offsets, expected 5",
        ),
        "a gap between segments": (
            replace(found, segments=((0, 2), (3, 5))),
            "segment (3, 5) does not continue at op 2",
        ),
        "an empty segment": (replace(found, segments=((0, 0), (0, 5))), "segment (0, 0) does not continue at op 0"),
        "an op without a segment": (replace(found, segments=((0, 4),)), "the segments end at op 4 of 5"),
        "a ring without rows": (_with_storage(found, 0, Storage(0, 0)), "input is given 0 rows, expected 1 to 6"),
        "a ring longer than the map": (
            _with_storage(found, 0, Storage(0, 7)),
            "input is given 7 rows, expected 1 to 6",
        ),
        "an arena one byte smaller": (
            replace(found, arena_bytes=95),
            "state of mean_4 takes bytes 64 to 96, outside the arena of 95",
        ),
        "a tensor below the arena": (
            _with_storage(found, 0, Storage(-4, 1)),
            "input (1 rows) takes bytes -4 to 4, outside the arena of 96",
        ),
        "scratch for an op that needs none": (
            replace(found, scratch=_changed(found.scratch, 0, 56)),
            "source needs no scratch, but is given byte 56",
        ),
        "no scratch for an op that needs some": (
            replace(found, scratch=_changed(found.scratch, 1, -1)),
            "scratch of window_1 takes bytes -1 to 7, outside the arena of 96",
        ),
        "a crooked ring": (
            _with_storage(found, 2, Storage(33, 1)),
            "window_2 (1 rows) starts at byte 33, which is no multiple of 4",
        ),
        "a ring one row smaller": (
            _with_storage(found, 1, Storage(8, 2)),
            "step 9 (window_2, number 1): row 0 of window_1 should be at bytes 8 to 16, but byte 8 holds "
            "row 2 of window_1",
        ),
        "tensors over each other": (
            _with_storage(found, 2, Storage(20, 1)),
            "step 4 (window_2, number 0): row 1 of window_1 should be at bytes 16 to 24, but byte 20 holds "
            "row 0 of window_2",
        ),
        "an output over its input": (
            _with_storage(found, 3, Storage(32, 1)),
            "step 5 (add_3, number 0): row 0 of window_2 should be at bytes 32 to 40, but byte 32 holds row 0 of add_3",
        ),
        "scratch over an input": (
            replace(found, scratch=_changed(found.scratch, 2, 12)),
            "step 4 (window_2, number 0): row 0 of window_1 should be at bytes 8 to 16, but byte 12 holds "
            "scratch of window_2",
        ),
        "scratch over the output": (
            replace(found, scratch=_changed(found.scratch, 2, 32)),
            "step 4 (window_2, number 0): scratch of window_2 should be at bytes 32 to 36, but byte 32 holds "
            "row 0 of window_2",
        ),
        "state over a ring": (
            replace(found, state=_changed(found.state, 4, 24)),
            "step 6 (mean_4, number 0): row 0 of add_3 should be at bytes 40 to 48, but byte 40 holds state of mean_4",
        ),
        "state under the scratch of a later step": (
            replace(found, state=_changed(found.state, 4, 56)),
            "step 11 (mean_4, number 1): state of mean_4 should be at bytes 56 to 88, but byte 56 holds "
            "scratch of window_2",
        ),
        "steps in the wrong order": (
            replace(found, steps=tuple(swapped)),
            "step 4 (add_3, number 0): row 0 of window_2 should be at bytes 32 to 40, but byte 32 holds nothing yet",
        ),
        "a step missing": (replace(found, steps=found.steps[:-1]), "mean_4 executes 5 of its 6 steps"),
        "a step too many": (
            replace(found, steps=(*found.steps, 4)),
            "step 30 (mean_4, number 6) is one too many: mean_4 has 6 steps",
        ),
        "a step of no op": (replace(found, steps=(5, *found.steps)), "step 0 belongs to op 5, but there are 5 ops"),
        "a step before the first op": (
            replace(found, steps=(-1, *found.steps)),
            "step 0 belongs to op -1, but there are 5 ops",
        ),
        "a step of a segment that is over": (
            replace(
                found,
                segments=((0, 1), (1, 5)),
                storages=(Storage(96, 6), *found.storages[1:]),
                arena_bytes=96 + 48,
            ),
            "step 2 (source, number 1) belongs to segment 0, which is over",
        ),
        "a ring where another segment reads": (
            replace(found, segments=((0, 2), (2, 5))),
            "window_1 is read by window_2 in a later segment, but only 3 of its 6 rows are kept",
        ),
    }


@pytest.mark.parametrize("name", _corruptions())
def test_a_wrong_plan_accepted(name: str) -> None:
    graph, _ = _small()
    corrupted, expected = _corruptions()[name]

    assert expected in find_fault(graph, corrupted)


def test_an_output_overwritten_after_it_was_written() -> None:
    builder = GraphBuilder(2, 4)
    builder.window(0, 1, 4)
    graph = replace(builder.graph(), output=0)
    found = Plan((Storage(0, 2), Storage(0, 2)), (-1, -1), (-1, -1), ((0, 2),), (0, 0, 1, 1), 8)

    assert find_fault(graph, found).startswith("step 2 (window_1, number 0): row 0 of input")
    late = replace(found, storages=(Storage(0, 2), Storage(4, 2)), arena_bytes=12)
    assert "row 1 of input should be at bytes 4 to 8, but byte 4 holds row 0 of window_1" in find_fault(graph, late)


def test_a_partial_output() -> None:
    graph = RowGraph((efficientnet_lite(32, quarter=True).tensors[0],), (RowOp("source", (), 0),), 0)
    found = plan(graph)

    assert find_fault(graph, found) == ""
    ring = replace(found, storages=(Storage(0, 31),))
    assert find_fault(graph, ring) == "input is the network's output, but only 31 of its 32 rows are kept"


def _smaller_rings(found: Plan) -> list[Plan]:
    return [
        _with_storage(found, index, Storage(storage.offset, storage.rows - 1))
        for index, storage in enumerate(found.storages)
        if storage.rows > 1
    ]


def test_a_tight_plan_of_efficientnet_with_anything_missing() -> None:
    graph = efficientnet_lite(48, quarter=True)
    found = plan(graph)

    assert find_fault(graph, found) == ""
    assert find_fault(graph, replace(found, arena_bytes=found.arena_bytes - 1))
    for smaller in _smaller_rings(found):
        assert find_fault(graph, smaller)
    for step in range(0, len(found.steps), 5):
        assert find_fault(graph, replace(found, steps=found.steps[:step] + found.steps[step + 1 :]))


@given(row_graphs())
@settings(max_examples=25)
def test_rings_larger_than_they_must_be(graph: RowGraph) -> None:
    for smaller in _smaller_rings(plan(graph)):
        assert find_fault(graph, smaller)


@given(row_graphs(), st.data())
@settings(max_examples=80)
def test_a_corrupted_plan_that_is_accepted_and_computes_something_else(graph: RowGraph, data: st.DataObject) -> None:
    found = plan(graph)
    kind = data.draw(st.sampled_from(["offset", "rows", "scratch", "state", "swap", "drop", "arena"]))
    shift = data.draw(st.sampled_from([-8, -4, 4, 8]))
    tensor = data.draw(st.integers(0, len(graph.tensors) - 1))
    op = data.draw(st.integers(0, len(graph.ops) - 1))
    time = data.draw(st.integers(0, len(found.steps) - 2)) if len(found.steps) > 1 else 0
    storage = found.storages[tensor]
    if kind == "offset":
        found = _with_storage(found, tensor, replace(storage, offset=storage.offset + shift))
    elif kind == "rows":
        found = _with_storage(found, tensor, replace(storage, rows=storage.rows + shift // 4))
    elif kind == "scratch":
        found = replace(found, scratch=_changed(found.scratch, op, found.scratch[op] + shift))
    elif kind == "state":
        found = replace(found, state=_changed(found.state, op, found.state[op] + shift))
    elif kind == "swap":
        steps = list(found.steps)
        steps[time : time + 2] = reversed(steps[time : time + 2])
        found = replace(found, steps=tuple(steps))
    elif kind == "drop":
        found = replace(found, steps=found.steps[:time] + found.steps[time + 1 :])
    else:
        found = replace(found, arena_bytes=found.arena_bytes - 1)

    if kind in ("drop", "arena"):
        assert find_fault(graph, found)
    if not find_fault(graph, found):
        assert output_of_plan(graph, found) == output_of_whole_maps(graph)
