# SPDX-License-Identifier: Apache-2.0
"""Executes a plan on a model of memory and says what is wrong with it. Shares no code with the planner.

The model remembers for every byte of the arena what was last written there: which row of which tensor, whose scratch,
whose state. A step is right when it finds just the rows that it reads, and when nothing that it reads or writes lies
over anything else that it reads or writes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from firmware_export.static_engine.plan import Plan, RowGraph, RowOp


def find_fault(graph: RowGraph, plan: Plan, *, alignment: int = 4) -> str:
    """Why a plan must not be used.

    Args:
        graph: the network.
        plan: what was planned for it.
        alignment: of rings, scratch and state, in bytes.

    Returns:
        The first fault found, with names and bytes; empty when the plan is right.
    """
    return _fault_of_form(graph, plan) or _fault_of_places(graph, plan, alignment) or _fault_of_execution(graph, plan)


def _fault_of_form(graph: RowGraph, plan: Plan) -> str:
    for what, found, expected in (
        ("storages", plan.storages, graph.tensors),
        ("scratch offsets", plan.scratch, graph.ops),
        ("state offsets", plan.state, graph.ops),
    ):
        if len(found) != len(expected):
            return f"the plan has {len(found)} {what}, expected {len(expected)}"
    at = 0
    for first, end in plan.segments:
        if first != at or end <= first:
            return f"segment ({first}, {end}) does not continue at op {at}"
        at = end
    if at != len(graph.ops):
        return f"the segments end at op {at} of {len(graph.ops)}"
    return ""


def _fault_of_places(graph: RowGraph, plan: Plan, alignment: int) -> str:
    places = []
    for tensor, storage in zip(graph.tensors, plan.storages, strict=True):
        if not 1 <= storage.rows <= tensor.height:
            return f"{tensor.name} is given {storage.rows} rows, expected 1 to {tensor.height}"
        places.append((f"{tensor.name} ({storage.rows} rows)", storage.offset, storage.rows * tensor.row_bytes))
    for op, scratch, state in zip(graph.ops, plan.scratch, plan.state, strict=True):
        for what, offset, size in (("scratch", scratch, op.scratch_bytes), ("state", state, op.state_bytes)):
            if size:
                places.append((f"{what} of {op.name}", offset, size))
            elif offset != -1:
                return f"{op.name} needs no {what}, but is given byte {offset}"
    for name, offset, size in places:
        if offset < 0 or offset + size > plan.arena_bytes:
            return f"{name} takes bytes {offset} to {offset + size}, outside the arena of {plan.arena_bytes}"
        if offset % alignment:
            return f"{name} starts at byte {offset}, which is no multiple of {alignment}"
    return _fault_of_crossing(graph, plan)


def _fault_of_crossing(graph: RowGraph, plan: Plan) -> str:
    segment = [number for number, (first, end) in enumerate(plan.segments) for _ in range(first, end)]
    home = {op.output: segment[index] for index, op in enumerate(graph.ops)}
    crossing = {graph.output: "is the network's output"}
    for index, op in enumerate(graph.ops):
        for tensor in op.inputs:
            if home[tensor] != segment[index]:
                crossing.setdefault(tensor, f"is read by {op.name} in a later segment")
    for index, why in crossing.items():
        fact, rows = graph.tensors[index], plan.storages[index].rows
        if rows != fact.height:
            return f"{fact.name} {why}, but only {rows} of its {fact.height} rows are kept"
    return ""


@dataclass(frozen=True)
class _Place:
    """Bytes with a meaning, in one step.

    Attributes:
        mark: number of the meaning, unique.
        name: for messages.
        start: offset.
        end: one past the last byte.
    """

    mark: int
    name: str
    start: int
    end: int


class _Memory:
    """What lies in the arena."""

    def __init__(self, graph: RowGraph, plan: Plan) -> None:
        self._graph = graph
        self._plan = plan
        self._marks = np.full(plan.arena_bytes, -1, dtype=np.int64)
        self._names: dict[int, str] = {-1: "nothing yet"}
        # Marks of rows come first, one after another; then two for every op.
        self._first_mark = [0]
        for tensor in graph.tensors:
            self._first_mark.append(self._first_mark[-1] + tensor.height)

    def row(self, tensor: int, row: int) -> _Place:
        fact, storage = self._graph.tensors[tensor], self._plan.storages[tensor]
        start = storage.offset + row % storage.rows * fact.row_bytes
        return self._place(self._first_mark[tensor] + row, f"row {row} of {fact.name}", start, fact.row_bytes)

    def scratch(self, op: int) -> _Place:
        fact = self._graph.ops[op]
        mark = self._first_mark[-1] + 2 * op
        return self._place(mark, f"scratch of {fact.name}", self._plan.scratch[op], fact.scratch_bytes)

    def state(self, op: int) -> _Place:
        fact = self._graph.ops[op]
        mark = self._first_mark[-1] + 2 * op + 1
        return self._place(mark, f"state of {fact.name}", self._plan.state[op], fact.state_bytes)

    def _place(self, mark: int, name: str, start: int, size: int) -> _Place:
        self._names[mark] = name
        return _Place(mark, name, start, start + size)

    def write(self, place: _Place) -> None:
        self._marks[place.start : place.end] = place.mark

    def fault(self, place: _Place) -> str:
        """What lies where a place should be; empty if all of it is there."""
        found = self._marks[place.start : place.end]
        wrong = np.flatnonzero(found != place.mark)
        if not wrong.size:
            return ""
        byte = place.start + int(wrong[0])
        return (
            f"{place.name} should be at bytes {place.start} to {place.end}, but byte {byte} holds "
            + (self._names[int(found[wrong[0]])])
        )


def _rows_read(op: RowOp, step: int, height: int) -> range:
    top = step if op.is_sink else step * op.stride - op.pad_top
    return range(max(top, 0), min(top + (1 if op.is_sink else op.window_rows), height))


def _steps_of(graph: RowGraph, op: RowOp) -> int:
    return graph.tensors[op.inputs[0]].height if op.is_sink else graph.tensors[op.output].height


def _fault_of_execution(graph: RowGraph, plan: Plan) -> str:
    memory = _Memory(graph, plan)
    executed = [0] * len(graph.ops)
    segment_of = [number for number, (first, end) in enumerate(plan.segments) for _ in range(first, end)]
    segment = 0
    for time, index in enumerate(plan.steps):
        if not 0 <= index < len(graph.ops):
            return f"step {time} belongs to op {index}, but there are {len(graph.ops)} ops"
        op, step = graph.ops[index], executed[index]
        where = f"step {time} ({op.name}, number {step})"
        if segment_of[index] < segment:
            return f"{where} belongs to segment {segment_of[index]}, which is over"
        segment = segment_of[index]
        if step == _steps_of(graph, op):
            return f"{where} is one too many: {op.name} has {step} steps"
        fault = _fault_of_step(graph, memory, index, step)
        if fault:
            return f"{where}: {fault}"
        executed[index] += 1
    for op, steps in zip(graph.ops, executed, strict=True):
        if steps != _steps_of(graph, op):
            return f"{op.name} executes {steps} of its {_steps_of(graph, op)} steps"
    for row in range(graph.tensors[graph.output].height):
        fault = memory.fault(memory.row(graph.output, row))
        if fault:
            return f"at the end: {fault}"
    return ""


def _fault_of_step(graph: RowGraph, memory: _Memory, index: int, step: int) -> str:
    op = graph.ops[index]
    reads = [
        memory.row(tensor, row) for tensor in op.inputs for row in _rows_read(op, step, graph.tensors[tensor].height)
    ]
    if op.state_bytes and step > 0:
        reads.append(memory.state(index))
    for place in reads:
        fault = memory.fault(place)
        if fault:
            return fault
    writes = []
    if op.scratch_bytes:
        writes.append(memory.scratch(index))
    if op.state_bytes:
        writes.append(memory.state(index))
    if not op.is_sink:
        writes.append(memory.row(op.output, step))
    elif step == _steps_of(graph, op) - 1:
        writes.append(memory.row(op.output, 0))
    for place in writes:
        memory.write(place)
    # A kernel reads and writes in an order of its own: whatever is still whole now never overlapped.
    for place in (*reads, *writes):
        fault = memory.fault(place)
        if fault:
            return fault
    return ""
