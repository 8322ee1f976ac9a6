# SPDX-License-Identifier: Apache-2.0
"""Where to cut the network into segments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.lifetimes import PerStep, Timeline, ring_rows
from firmware_export.static_engine.plan import RowGraph
from firmware_export.static_engine.schedule import Demands, writers

TOO_MUCH = 1 << 40


def segment_costs(graph: RowGraph, demands: Demands, readers: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """The most bytes that are needed at once in every possible segment.

    Counted are outputs, scratch and state of its ops, and what earlier segments left for it or for later ones; of a
    tensor that is stored whole only the rows that are written and still needed.

    Args:
        graph: the network.
        demands: of the same network.
        readers: the ops that read each tensor.

    Returns:
        (ops, ops + 1): bytes of the segment from the first index up to, not including, the second; ``TOO_MUCH`` for
        empty segments and those that need more than the network cut into single ops.
    """
    count = len(graph.ops)
    writer = writers(graph)
    last = [max(ops, default=-1) for ops in readers]
    last[graph.output] = count
    waiting = [[t for t in range(len(graph.tensors)) if writer[t] < first <= last[t]] for first in range(count)]
    limit = max(
        sum(graph.tensors[t].height * graph.tensors[t].row_bytes for t in (*waiting[index], op.output))
        + op.scratch_bytes
        + op.state_bytes
        for index, op in enumerate(graph.ops)
    )
    scratch_of_ops = np.asarray([op.scratch_bytes for op in graph.ops], dtype=np.int64)
    costs = np.full((count, count + 1), TOO_MUCH, dtype=np.int64)
    for end in range(1, count + 1):
        # One schedule serves all segments with this end, see Demands.segment. Where an op is left out, what is needed
        # at its steps is what is needed between the steps around it, and cannot be the most.
        order = np.asarray(demands.segment(0, end))
        timeline = Timeline(graph, order.tolist())
        scratch = scratch_of_ops[order]
        own = np.zeros(timeline.length, dtype=np.int64)
        for first in range(end - 1, -1, -1):
            own += _bytes_of_op(graph, timeline, first, readers, end <= last[graph.ops[first].output])
            if own.max() > limit:
                break
            needed = own + scratch * (order >= first)
            for index in waiting[first]:
                tensor = graph.tensors[index]
                if last[index] < end:
                    oldest = timeline.oldest(index, [reader for reader in readers[index] if reader >= first])
                    needed += np.maximum(tensor.height - oldest, 0) * tensor.row_bytes
                else:
                    needed += tensor.height * tensor.row_bytes
            costs[first, end] = needed.max()
    return costs


def _bytes_of_op(
    graph: RowGraph, timeline: Timeline, index: int, readers: Sequence[Sequence[int]], is_whole: bool
) -> PerStep:
    """Per step, the bytes that are needed of an op's output and state."""
    op = graph.ops[index]
    tensor = graph.tensors[op.output]
    oldest, newest = timeline.needed(index, readers[op.output], to_the_end=is_whole)
    kept = ring_rows(oldest, newest)
    # The needed rows of a ring go round it: in effect all of it is taken.
    rows = newest - oldest + 1 if kept == tensor.height else kept
    rows = np.where(oldest <= newest, rows, 0)
    result: PerStep = rows * tensor.row_bytes
    times = timeline.times[index]
    result[times[0] : times[-1] + 1] += op.state_bytes
    return result


def best_cuts(costs: NDArray[np.int64], power: int) -> tuple[int, ...]:
    """Among the cuts of the least peak, those with the least sum of costs to a power.

    The sum is not memory that anybody needs. But a plan with room to spare in the segments that do not make the peak is
    easier to pack; the higher the power, the more do those count that come close to the peak.

    Args:
        costs: of ``segment_costs``.
        power: at least 0, which asks for the fewest segments.

    Returns:
        The first op of every segment, and the number of ops.
    """
    count = costs.shape[0]
    peaks = [0]
    for end in range(1, count + 1):
        peaks.append(min(max(peaks[first], int(costs[first, end])) for first in range(end)))
    # Whole numbers of any size, so that ties are ties on every machine.
    best: list[tuple[int, int] | None] = [(0, 0)]
    for end in range(1, count + 1):
        options = [
            (previous[0] + int(costs[first, end]) ** power, first)
            for first, previous in enumerate(best)
            if previous is not None and costs[first, end] <= peaks[count]
        ]
        best.append(min(options, default=None))
    cuts = [count]
    while cuts[-1]:
        step = best[cuts[-1]]
        assert step is not None
        cuts.append(step[1])
    return tuple(reversed(cuts))


def peak_bytes(costs: NDArray[np.int64], cuts: Sequence[int]) -> int:
    """The cost of the most expensive segment."""
    return max(int(costs[first, end]) for first, end in pairwise(cuts))
