# SPDX-License-Identifier: Apache-2.0
"""What the planner is given and what it returns. Only rows and bytes: neither knows what a layer computes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowTensor:
    """A tensor that is written row by row, from the top.

    Attributes:
        name: for messages and the memory map.
        height: rows.
        row_bytes: bytes of one row.
    """

    name: str
    height: int
    row_bytes: int


@dataclass(frozen=True)
class RowOp:
    """Something that is executed in steps; step i of an ordinary op writes row i of its output.

    It reads, of every input, the rows from i * stride - pad_top on, ``window_rows`` of them, as far as they exist.

    Attributes:
        name: for messages and the memory map.
        inputs: indices of tensors; none for the source, which makes the rows of the network's input.
        output: index of a tensor.
        window_rows: rows of input that a step may read.
        stride: rows by which the window moves.
        pad_top: rows by which the window of step 0 lies above the input.
        is_sink: step i reads row i of the input and nothing else (window 1, stride 1); there are as many steps as the
            input has rows, and the output, one row, is written by the last.
        scratch_bytes: memory needed during a step only.
        state_bytes: memory that keeps its content from the op's first step to its last.
    """

    name: str
    inputs: tuple[int, ...]
    output: int
    window_rows: int = 1
    stride: int = 1
    pad_top: int = 0
    is_sink: bool = False
    scratch_bytes: int = 0
    state_bytes: int = 0


@dataclass(frozen=True)
class RowGraph:
    """Ops in the order of execution; op 0 is the source.

    Attributes:
        tensors: each written by exactly one op, before any op reads it.
        ops: in order.
        output: index of the tensor that must be whole after the last step.
    """

    tensors: tuple[RowTensor, ...]
    ops: tuple[RowOp, ...]
    output: int


@dataclass(frozen=True)
class Storage:
    """Where a tensor lives: row y at offset + (y % rows) * row_bytes.

    Attributes:
        offset: bytes from the arena's start.
        rows: of the ring; the tensor's height when it is stored whole.
    """

    offset: int
    rows: int


@dataclass(frozen=True)
class Plan:
    """When every row is computed, and where everything lives.

    Attributes:
        storages: by tensor.
        scratch: offset by op; -1 where an op needs none.
        state: offset by op; -1 where an op needs none.
        segments: half-open runs of ops (first, end), in order; the ops of a segment are executed interleaved, row by
            row, and a tensor that a later segment reads is stored whole.
        steps: the op of every step, in order of execution. The number of a step within its op is how often the op
            occurred before.
        arena_bytes: size of the arena.
    """

    storages: tuple[Storage, ...]
    scratch: tuple[int, ...]
    state: tuple[int, ...]
    segments: tuple[tuple[int, int], ...]
    steps: tuple[int, ...]
    arena_bytes: int
