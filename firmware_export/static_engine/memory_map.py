# SPDX-License-Identifier: Apache-2.0
"""What a plan puts where, as text for people and as CSV for programs; ``memory_picture`` draws it."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields

import numpy as np

from firmware_export.static_engine.lifetimes import Kind, buffers
from firmware_export.static_engine.plan import Plan, RowGraph

RING, WHOLE, SCRATCH, STATE = "ring", "whole", "scratch", "state"


@dataclass(frozen=True)
class Entry:
    """One buffer in the arena.

    Attributes:
        segment: from 1; that of the op.
        op: name of the op that writes the tensor, or that scratch and state belong to.
        kind: "ring", "whole" (a tensor of which every row is kept), "scratch" or "state".
        tensor: its name; empty for scratch and state.
        offset: bytes from the arena's start.
        size_bytes: of the buffer.
        rows: kept; 0 for scratch and state.
        height: rows of the tensor; 0 for scratch and state.
        row_bytes: bytes of a row; 0 for scratch and state.
        first_op: index of the op that writes it first.
        last_op: index of the op that reads it last.
    """

    segment: int
    op: str
    kind: str
    tensor: str
    offset: int
    size_bytes: int
    rows: int
    height: int
    row_bytes: int
    first_op: int
    last_op: int

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.offset + self.size_bytes


def entries(graph: RowGraph, plan: Plan) -> list[Entry]:
    """All buffers, in the order of the ops; of each op its output, its state, its scratch."""
    segment_of = [number for number, (first, end) in enumerate(plan.segments, 1) for _ in range(first, end)]
    last = _last_readers(graph)
    result = []
    for index, op in enumerate(graph.ops):
        tensor, storage = graph.tensors[op.output], plan.storages[op.output]
        size = storage.rows * tensor.row_bytes
        kind = WHOLE if storage.rows == tensor.height else RING
        shape = (storage.rows, tensor.height, tensor.row_bytes)
        where = (segment_of[index], op.name)
        result.append(
            Entry(*where, kind, tensor.name, storage.offset, size, *shape, index, max(index, last[op.output]))
        )
        if op.state_bytes:
            result.append(Entry(*where, STATE, "", plan.state[index], op.state_bytes, 0, 0, 0, index, index))
        if op.scratch_bytes:
            result.append(Entry(*where, SCRATCH, "", plan.scratch[index], op.scratch_bytes, 0, 0, 0, index, index))
    return result


def needed_bytes(graph: RowGraph, plan: Plan) -> tuple[int, ...]:
    """Per op, the bytes of the arena that are needed at its busiest step.

    Of a tensor that is stored whole count the rows that are written and still needed. Two buffers may share memory as
    long as these bytes never meet.
    """
    segment_of = [number for number, (first, end) in enumerate(plan.segments) for _ in range(first, end)]
    readers: list[list[int]] = [[] for _ in graph.tensors]
    home = [0] * len(graph.tensors)
    for index, op in enumerate(graph.ops):
        home[op.output] = segment_of[index]
        for tensor in op.inputs:
            readers[tensor].append(index)
    whole = frozenset(
        index
        for index, ops in enumerate(readers)
        if index == graph.output or any(segment_of[reader] != home[index] for reader in ops)
    )
    total = np.zeros(len(plan.steps), dtype=np.int64)
    for buffer in buffers(graph, plan.steps, readers, whole):
        needed = buffer.high - buffer.low
        if buffer.kind is Kind.TENSOR and buffer.rows < graph.tensors[buffer.index].height:
            # The needed rows go round the ring: in effect all of it is taken.
            needed = np.where(needed > 0, buffer.size_bytes, 0)
        total[buffer.first : buffer.end] += needed
    order = np.asarray(plan.steps)
    return tuple(int(total[order == index].max()) for index in range(len(graph.ops)))


def ordinary_peak_bytes(graph: RowGraph) -> int:
    """The least memory for maps when one layer is executed after the other and every map is stored whole.

    At its busiest layer: the inputs and the output, and what later layers still read. The network's input is among
    them, scratch and state are not.
    """
    last = _last_readers(graph)
    sizes = [tensor.height * tensor.row_bytes for tensor in graph.tensors]
    written = [0] * len(graph.tensors)
    for index, op in enumerate(graph.ops):
        written[op.output] = index
    return max(
        sum(size for size, first, end in zip(sizes, written, last, strict=True) if first <= index <= max(first, end))
        for index in range(len(graph.ops))
    )


def memory_text(graph: RowGraph, plan: Plan) -> str:
    """The memory map as a table: per segment, what each op writes where."""
    needed = needed_bytes(graph, plan)
    rows = [("op", "needs", "what", "from byte", "to byte", "bytes", "rows")]
    of_segment: list[tuple[int, str]] = []
    found = entries(graph, plan)
    for number, (first, end) in enumerate(plan.segments, 1):
        names = f"{graph.ops[first].name} to {graph.ops[end - 1].name}" if end - first > 1 else graph.ops[first].name
        title = (
            f"segment {number} of {len(plan.segments)}, {names}: {max(needed[first:end]):,} bytes at its busiest step"
        )
        of_segment.append((len(rows), title))
        for entry in found:
            if not first <= entry.first_op < end:
                continue
            is_tensor = entry.kind in (RING, WHOLE)
            rows.append(
                (
                    entry.op if is_tensor else "",
                    f"{needed[entry.first_op]:,}" if is_tensor else "",
                    entry.kind,
                    f"{entry.offset:,}",
                    f"{entry.end:,}",
                    f"{entry.size_bytes:,}",
                    f"{entry.rows} of {entry.height}" if is_tensor else "",
                )
            )
    lines = [
        f"arena: {plan.arena_bytes:,} bytes, {len(plan.steps):,} steps; every map stored whole would take "
        f"{ordinary_peak_bytes(graph):,} bytes at the busiest layer"
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    titles = dict(of_segment)
    for index, row in enumerate(rows):
        if index in titles:
            lines += ["", titles[index]]
        cells = [
            cell.ljust(width) if column in (0, 2) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(("", *cells)).rstrip())
    return "\n".join(lines) + "\n"


def memory_csv(graph: RowGraph, plan: Plan) -> str:
    """The memory map as CSV: a line per buffer, the columns being those of ``Entry``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Entry)])
    writer.writerows(astuple(entry) for entry in entries(graph, plan))
    return text.getvalue()


def _last_readers(graph: RowGraph) -> list[int]:
    last = [-1] * len(graph.tensors)
    for index, op in enumerate(graph.ops):
        for tensor in op.inputs:
            last[tensor] = index
    last[graph.output] = len(graph.ops) - 1
    return last
