# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_export.static_engine.cuts import TOO_MUCH, best_cuts, peak_bytes, segment_costs
from firmware_export.static_engine.memory_map import needed_bytes, ordinary_peak_bytes
from firmware_export.static_engine.plan import Plan, RowGraph
from firmware_export.static_engine.schedule import Demands
from tests.firmware_export.row_graphs import GraphBuilder, efficientnet_lite, row_graphs


def _readers(graph: RowGraph) -> list[list[int]]:
    return [
        [index for index, op in enumerate(graph.ops) if tensor in op.inputs] for tensor in range(len(graph.tensors))
    ]


@given(row_graphs(), st.data())
@settings(max_examples=50)
def test_a_segment_that_needs_more_than_its_cost(graph: RowGraph, data: st.DataObject) -> None:
    count = len(graph.ops)
    inner = data.draw(st.sets(st.integers(1, count - 1))) if count > 1 else set()
    segments = tuple(pairwise((0, *sorted(inner), count)))
    demands = Demands(graph)
    steps = tuple(step for segment in segments for step in demands.segment(*segment))
    needed = needed_bytes(graph, Plan((), (), (), segments, steps, 0))

    costs = segment_costs(graph, demands, _readers(graph))

    for first, end in segments:
        assert max(needed[first:end]) <= costs[first, end]


@given(row_graphs())
@settings(max_examples=30)
def test_cuts_that_need_more_than_whole_maps(graph: RowGraph) -> None:
    costs = segment_costs(graph, Demands(graph), _readers(graph))
    extras = max(op.scratch_bytes + op.state_bytes for op in graph.ops)

    assert peak_bytes(costs, best_cuts(costs, 2)) <= ordinary_peak_bytes(graph) + extras


def test_a_chain_cut_where_it_need_not_be() -> None:
    builder = GraphBuilder(20, 10)
    x = 0
    for _ in range(4):
        x = builder.window(x, 1, 10)
    builder.sink(x, 1)
    graph = builder.graph()

    costs = segment_costs(graph, Demands(graph), _readers(graph))

    # Single rows, of which two and the mean's sums are needed at once.
    assert best_cuts(costs, 0) == (0, len(graph.ops))
    assert costs[0, len(graph.ops)] == 2 * 10 + 4
    # Cut in the middle, a whole map: when its last row is written, and a row that it is made from.
    assert costs[0, 2] == 20 * 10 + 10
    # Its rows are given back as they are read, and the next map grows.
    assert costs[2, 3] == 20 * 10 + 10


def test_a_tensor_kept_for_readers_of_an_earlier_segment() -> None:
    builder = GraphBuilder(8, 1)
    skipped = builder.window(0, 1, 10)
    x = builder.window(skipped, 5, 1)
    builder.addition(skipped, builder.window(x, 1, 10))
    graph = builder.graph()

    costs = segment_costs(graph, Demands(graph), _readers(graph))

    # While the sum's first row is written: the skipped map, the rest of the narrow one, a row to add, and the sum.
    assert costs[3, 5] == 8 * 10 + 7 * 1 + 10 + 10


def test_cuts_of_a_higher_peak_or_a_larger_sum() -> None:
    costs = np.full((3, 4), TOO_MUCH, dtype=np.int64)
    costs[0, 1], costs[1, 2], costs[2, 3] = 10, 2, 7
    costs[0, 2], costs[1, 3], costs[0, 3] = 10, 9, 11

    assert best_cuts(costs, 0) == (0, 1, 3)  # 10, 9: two segments, as (0, 2, 3)
    assert best_cuts(costs, 1) == (0, 2, 3)  # 10 + 7 is less than 10 + 9 and 10 + 2 + 7
    assert best_cuts(costs, 8) == (0, 2, 3)
    costs[0, 2] = 11
    assert best_cuts(costs, 1) == (0, 1, 3)
    assert best_cuts(costs, 8) == (0, 1, 2, 3)
    assert peak_bytes(costs, (0, 1, 2, 3)) == 10


@pytest.mark.parametrize("power", [0, 1, 2, 8])
def test_a_cost_above_what_the_segment_needs(power: int) -> None:
    graph = efficientnet_lite(48, quarter=True)
    graph = replace(
        graph, ops=tuple(replace(op, scratch_bytes=500 * (9 - index % 10)) for index, op in enumerate(graph.ops))
    )
    demands = Demands(graph)
    costs = segment_costs(graph, demands, _readers(graph))
    segments = tuple(pairwise(best_cuts(costs, power)))
    steps = tuple(step for segment in segments for step in demands.segment(*segment))

    needed = needed_bytes(graph, Plan((), (), (), segments, steps, 0))

    assert [max(needed[first:end]) for first, end in segments] == [costs[segment] for segment in segments]


def test_segments_that_no_cut_would_use_are_given_a_cost() -> None:
    graph = efficientnet_lite(48, quarter=True)

    costs = segment_costs(graph, Demands(graph), _readers(graph))

    assert (costs[np.tril_indices_from(costs)] == TOO_MUCH).all()
    assert (costs[costs != TOO_MUCH] > 0).all()
