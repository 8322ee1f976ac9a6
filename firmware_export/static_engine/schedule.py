# SPDX-License-Identifier: Apache-2.0
"""The order of steps inside a segment: a row is made when somebody needs it, and not before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.plan import RowGraph, RowOp


def step_count(graph: RowGraph, op: RowOp) -> int:
    """How many steps an op has: one per row of its output, or of its input if it is a sink."""
    return graph.tensors[op.inputs[0] if op.is_sink else op.output].height


def windows(op: RowOp, steps: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of an input that each step reads.

    Args:
        op: one with inputs.
        steps: how many it has.
        height: rows of the input.

    Returns:
        First row and one past the last, per step; both 0 where the window lies in the padding altogether.
    """
    top = np.arange(steps) * op.stride - op.pad_top
    first, end = np.maximum(top, 0), np.minimum(top + op.window_rows, height)
    return np.where(first < end, first, 0), np.where(first < end, end, 0)


def writers(graph: RowGraph) -> tuple[int, ...]:
    """The op that writes each tensor."""
    result = [-1] * len(graph.tensors)
    for index, op in enumerate(graph.ops):
        result[op.output] = index
    return tuple(result)


class Demands:
    """How far the writers of an op's inputs must have come before each of its steps.

    Worked out once per network, since the planner schedules every possible segment.

    Attributes:
        steps: how many each op has.
    """

    def __init__(self, graph: RowGraph) -> None:
        writer = writers(graph)
        self.steps = tuple(step_count(graph, op) for op in graph.ops)
        # Per op and input: the writer, and how many of its steps must be done before this op's step 0, 1, ...
        self._before: list[tuple[tuple[int, list[int]], ...]] = []
        for op, steps in zip(graph.ops, self.steps, strict=True):
            before = []
            for tensor in op.inputs:
                source = writer[tensor]
                _, end = windows(op, steps, graph.tensors[tensor].height)
                if graph.ops[source].is_sink:
                    # Its only row appears with its last step.
                    end = np.where(end > 0, self.steps[source], 0)
                before.append((source, end.tolist()))
            self._before.append(tuple(before))

    def segment(self, first: int, end: int) -> list[int]:
        """The steps of a segment, in order.

        The last op makes row after row; what is missing of its inputs is made just before, and so on upwards. Then the
        op before the last is brought to its end in the same way, in case a later segment needs rows that the last op
        did not, and so on up to the first.

        Demand goes upwards only, so what happens among the ops from some ``first`` on does not depend on the ops before
        it: the schedule of (first, end) is the schedule of (0, end) without the ops before ``first``.

        Args:
            first: first op of the segment.
            end: one past its last.

        Returns:
            The op of each step.
        """
        order: list[int] = []
        done = [0] * end
        for last in range(end - 1, first - 1, -1):
            for target in range(done[last] + 1, self.steps[last] + 1):
                # A stack of our own: a network may be deeper than Python's recursion limit.
                stack = [(last, target)]
                while stack:
                    op, wanted = stack[-1]
                    step = done[op]
                    if step >= wanted:
                        stack.pop()
                        continue
                    for source, ends in self._before[op]:
                        if source >= first and done[source] < ends[step]:
                            stack.append((source, ends[step]))
                            break
                    else:
                        order.append(op)
                        done[op] = step + 1
        return order
