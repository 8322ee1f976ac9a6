# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings

from firmware_export.static_engine.plan import Plan, RowGraph, Storage
from firmware_export.static_engine.plan_check import find_fault
from firmware_export.static_engine.planner import plan
from firmware_export.static_engine.schedule import Demands
from tests.firmware_export.row_graphs import (
    GraphBuilder,
    efficientnet_lite,
    output_of_plan,
    output_of_whole_maps,
    row_graphs,
)


@given(row_graphs())
def test_a_plan_that_loses_a_row_it_still_needs(graph: RowGraph) -> None:
    found = plan(graph)

    assert find_fault(graph, found) == ""
    assert output_of_plan(graph, found) == output_of_whole_maps(graph)


@given(row_graphs())
@settings(max_examples=30)
def test_a_plan_that_takes_more_than_every_map_stored_whole(graph: RowGraph) -> None:
    maps = [tensor.height * tensor.row_bytes for tensor in graph.tensors]
    extras = [size for op in graph.ops for size in (op.scratch_bytes, op.state_bytes)]

    assert plan(graph).arena_bytes <= sum((size + 3) // 4 * 4 for size in (*maps, *extras))


@given(row_graphs())
@settings(max_examples=10)
def test_a_plan_that_differs_from_run_to_run(graph: RowGraph) -> None:
    assert plan(graph) == plan(graph)


@given(row_graphs())
@settings(max_examples=10)
def test_an_alignment_that_is_not_kept(graph: RowGraph) -> None:
    assert find_fault(graph, plan(graph, alignment=16), alignment=16) == ""


def test_rings_longer_than_the_windows_that_read_them() -> None:
    builder = GraphBuilder(40, 60)
    stem = builder.window(0, 3, 20, stride=2)
    expanded = builder.window(stem, 1, 100)
    depthwise = builder.window(expanded, 5, 100)
    project = builder.window(depthwise, 1, 20)
    builder.sink(builder.addition(stem, project), 20)

    found = plan(builder.graph())

    assert len(found.segments) == 1
    rows = {tensor.name: storage.rows for tensor, storage in zip(builder.tensors, found.storages, strict=True)}
    assert rows["input"] == 3
    assert rows["window_1"] == 5 // 2 + 1  # half a window ahead of the sum that reads it, too
    assert rows["window_2"] == 5
    assert rows["window_3"] == rows["window_4"] == rows["add_5"] == 1


def test_a_small_plan_changed() -> None:
    builder = GraphBuilder(4, 8)
    wide = builder.window(0, 3, 16)
    narrow = builder.window(wide, 1, 4)
    builder.sink(narrow, 4)

    # Reviewed by hand. The most that is needed at once is the ring of the input, 3 x 8, a row of 16, and three rows of
    # 4 of the narrow map: 52. Its fourth is written when the ring is no longer needed, over the ring's first bytes.
    assert plan(builder.graph()) == Plan(
        storages=(Storage(12, 3), Storage(36, 1), Storage(0, 4), Storage(0, 1)),
        scratch=(-1, -1, -1, -1),
        state=(-1, -1, -1, 16),
        segments=((0, 3), (3, 4)),
        # The window's first row lies in the padding: two rows of input are enough. Its last needs no new row.
        steps=(0, 0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 2, 3, 3, 3, 3),
        arena_bytes=52,
    )


@pytest.mark.parametrize(
    ("graph", "arena_bytes"),
    [(efficientnet_lite(96, quarter=True), 14_304), (efficientnet_lite(224, quarter=False), 122_976)],
    ids=["width 0.25, 96x96", "Lite0, 224x224"],
)
def test_efficientnet_needs_more_memory_than_it_did(graph: RowGraph, arena_bytes: int) -> None:
    found = plan(graph)

    assert find_fault(graph, found) == ""
    assert found.arena_bytes == arena_bytes


def test_a_network_deeper_than_the_recursion_limit() -> None:
    depth = sys.getrecursionlimit() + 10
    builder = GraphBuilder(1, 1)
    x = 0
    for _ in range(depth):
        x = builder.window(x, 1, 1)

    assert Demands(builder.graph()).segment(0, depth + 1) == list(range(depth + 1))
