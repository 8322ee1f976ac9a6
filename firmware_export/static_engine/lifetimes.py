# SPDX-License-Identifier: Apache-2.0
"""Which bytes of every buffer are needed at every step: what decides whether two buffers may share memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.plan import RowGraph
from firmware_export.static_engine.schedule import windows

NEVER = 1 << 30
PerStep = NDArray[np.int64]


class Kind(Enum):
    """What a buffer holds."""

    TENSOR = "tensor"
    SCRATCH = "scratch"
    STATE = "state"


@dataclass(frozen=True)
class Buffer:
    """Memory of which an interval is needed at every step.

    Attributes:
        kind: what it holds.
        index: the tensor, or the op, that it belongs to.
        size_bytes: all of it.
        rows: of the ring; 0 for scratch and state.
        first: the first step at which some of it is needed, counted from the start of the schedule.
        low: where the needed interval starts, in bytes; one value per step from ``first`` on.
        high: where it ends; equal to ``low`` at steps that need nothing of it.
    """

    kind: Kind
    index: int
    size_bytes: int
    rows: int
    first: int
    low: PerStep
    high: PerStep

    @property
    def end(self) -> int:
        """One past the last step at which some of it is needed."""
        return self.first + self.low.size


class Timeline:
    """When the steps of a schedule write and read rows.

    Attributes:
        length: steps in the schedule.
        times: per op, when its steps are executed.
    """

    def __init__(self, graph: RowGraph, steps: Sequence[int]) -> None:
        order = np.asarray(steps, dtype=np.int64)
        by_op = np.argsort(order, kind="stable")
        bounds = np.searchsorted(order[by_op], np.arange(len(graph.ops) + 1))
        self.length = len(steps)
        self.times = [by_op[bounds[op] : bounds[op + 1]] for op in range(len(graph.ops))]
        self._graph = graph

    def oldest(self, tensor: int, readers: Sequence[int]) -> PerStep:
        """Per step, the first row of a tensor that is read at this step or later; ``NEVER`` if none is."""
        rows = np.full(self.length, NEVER, dtype=np.int64)
        for reader in readers:
            times = self.times[reader]
            first, end = windows(self._graph.ops[reader], times.size, self._graph.tensors[tensor].height)
            reads = first < end
            rows[times[reads]] = np.minimum(rows[times[reads]], first[reads])
        return np.minimum.accumulate(rows[::-1])[::-1]

    def needed(self, op: int, readers: Sequence[int], *, to_the_end: bool) -> tuple[PerStep, PerStep]:
        """The rows that are needed of an op's output.

        Args:
            op: index.
            readers: the ops that read its output.
            to_the_end: whether it is needed after the schedule's last step, too.

        Returns:
            Per step the first and the last of them; no row is needed where the first is larger than the last.
        """
        written = self.times[op][-1:] if self._graph.ops[op].is_sink else self.times[op]
        rows = np.zeros(self.length, dtype=np.int64)
        rows[written] = 1
        newest = np.cumsum(rows) - 1
        if to_the_end:
            return np.zeros_like(newest), newest
        oldest = self.oldest(self._graph.ops[op].output, readers)
        # A row that nobody reads takes its place all the same when it is written.
        oldest[written] = np.minimum(oldest[written], newest[written])
        return oldest, newest


def ring_rows(oldest: PerStep, newest: PerStep) -> int:
    """The fewest rows that a ring must have: the widest span of rows that are needed at once.

    Args:
        oldest: of ``Timeline.needed``.
        newest: likewise.
    """
    return int((newest - oldest).max()) + 1


def buffers(
    graph: RowGraph, steps: Sequence[int], readers: Sequence[Sequence[int]], whole: frozenset[int]
) -> list[Buffer]:
    """Every buffer of a schedule.

    Args:
        graph: the network.
        steps: the schedule.
        readers: the ops that read each tensor.
        whole: tensors that are stored whole.

    Returns:
        Output, state and scratch of each op, in the order of the ops.
    """
    timeline = Timeline(graph, steps)
    result = []
    for index, op in enumerate(graph.ops):
        result.append(_tensor(graph, timeline, index, readers[op.output], op.output in whole))
        times = timeline.times[index]
        first = int(times[0])
        nothing = np.zeros(int(times[-1]) + 1 - first, dtype=np.int64)
        if op.state_bytes:
            size = op.state_bytes
            result.append(Buffer(Kind.STATE, index, size, 0, first, nothing, nothing + size))
        if op.scratch_bytes:
            size = op.scratch_bytes
            during_steps = nothing.copy()
            during_steps[times - first] = size
            result.append(Buffer(Kind.SCRATCH, index, size, 0, first, nothing, during_steps))
    return result


def _tensor(graph: RowGraph, timeline: Timeline, op: int, readers: Sequence[int], is_whole: bool) -> Buffer:
    index = graph.ops[op].output
    tensor = graph.tensors[index]
    oldest, newest = timeline.needed(op, readers, to_the_end=index == graph.output)
    rows = tensor.height if is_whole else ring_rows(oldest, newest)
    needed = oldest <= newest
    low, high = oldest % rows, newest % rows + 1
    wraps = low >= high
    low = np.where(needed & ~wraps, low, 0) * tensor.row_bytes
    high = np.where(needed, np.where(wraps, rows, high), 0) * tensor.row_bytes
    alive = np.flatnonzero(needed)
    span = slice(int(alive[0]), int(alive[-1]) + 1)
    return Buffer(Kind.TENSOR, index, rows * tensor.row_bytes, rows, span.start, low[span], high[span])
