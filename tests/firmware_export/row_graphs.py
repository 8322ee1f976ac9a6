# SPDX-License-Identifier: Apache-2.0
"""Networks in rows for the planner's tests, and an execution of plans that needs no kernels.

A fake kernel's output row is a hash of what it read, so one wrong, stale or overwritten byte changes the network's
output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import shake_128

from hypothesis import strategies as st

from firmware_export.static_engine.plan import Plan, RowGraph, RowOp, RowTensor


class GraphBuilder:
    """Builds a network op by op; every method returns the index of the tensor it made."""

    def __init__(self, height: int, row_bytes: int) -> None:
        self.tensors = [RowTensor("input", height, row_bytes)]
        self.ops = [RowOp("source", (), 0)]

    def add(self, op: RowOp, height: int, row_bytes: int) -> int:
        """Any op; its output is set here."""
        self.tensors.append(RowTensor(op.name, height, row_bytes))
        self.ops.append(replace(op, output=len(self.tensors) - 1))
        return len(self.tensors) - 1

    def window(
        self, source: int, rows: int, row_bytes: int, *, stride: int = 1, scratch_bytes: int = 0, pad: bool = True
    ) -> int:
        """A convolution, padded as TensorFlow's SAME, or not at all."""
        height = self.tensors[source].height
        out = -(-height // stride) if pad else (height - rows) // stride + 1
        pad_top = max((out - 1) * stride + rows - height, 0) // 2 if pad else 0
        name = f"window_{len(self.ops)}"
        op = RowOp(name, (source,), 0, rows, stride, pad_top, scratch_bytes=scratch_bytes)
        return self.add(op, out, row_bytes)

    def addition(self, left: int, right: int) -> int:
        """The sum of two tensors of one size."""
        tensor = self.tensors[left]
        return self.add(RowOp(f"add_{len(self.ops)}", (left, right), 0), tensor.height, tensor.row_bytes)

    def sink(self, source: int, row_bytes: int) -> int:
        """A mean over all rows."""
        op = RowOp(f"mean_{len(self.ops)}", (source,), 0, is_sink=True, state_bytes=4 * row_bytes)
        return self.add(op, 1, row_bytes)

    def bottleneck(
        self, source: int, width: int, channels: tuple[int, int, int], kernel: int, stride: int, residual: bool
    ) -> int:
        """An inverted bottleneck of a square map, from channels[0] by way of channels[1] to channels[2]."""
        x = source
        if channels[1] != channels[0]:
            x = self.window(x, 1, width * channels[1])
        out_width = -(-width // stride)
        x = self.window(x, kernel, out_width * channels[1], stride=stride)
        x = self.window(x, 1, out_width * channels[2])
        return self.addition(source, x) if residual else x

    def graph(self) -> RowGraph:
        """The network so far; its output is the tensor that was made last."""
        return RowGraph(tuple(self.tensors), tuple(self.ops), len(self.tensors) - 1)


# Repeats, kernel, stride, expansion and channels of EfficientNet-Lite's stages.
_STAGES_LITE0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STAGES_QUARTER = tuple(
    (*stage[:4], channels) for stage, channels in zip(_STAGES_LITE0, (8, 8, 16, 24, 32, 48, 80), strict=True)
)


def efficientnet_lite(resolution: int, *, quarter: bool) -> RowGraph:
    """EfficientNet-Lite0, of width 1.0 or 0.25 with a quarter of the head and 10 classes."""
    stem, head, classes = (8, 320, 10) if quarter else (32, 1280, 1000)
    builder = GraphBuilder(resolution, resolution * 3)
    width = -(-resolution // 2)
    x = builder.window(0, 3, width * stem, stride=2)
    channels = stem
    for repeats, kernel, stride, expansion, out in _STAGES_QUARTER if quarter else _STAGES_LITE0:
        for repeat in range(repeats):
            by = 1 if repeat else stride
            x = builder.bottleneck(x, width, (channels, channels * expansion, out), kernel, by, residual=repeat > 0)
            width, channels = -(-width // by), out
    x = builder.window(x, 1, width * head)
    builder.window(builder.sink(x, head), 1, classes)
    return builder.graph()


@st.composite
def row_graphs(draw: st.DrawFn) -> RowGraph:
    """Networks of all shapes: skips of any length, tensors with several readers or none, sinks, odd windows."""
    number: Callable[[int, int], int] = lambda low, high: draw(st.integers(low, high))  # noqa: E731
    builder = GraphBuilder(number(1, 11), number(1, 9))
    for _ in range(number(1, 12)):
        count = len(builder.tensors)
        # Mostly the newest tensor, so that chains become long.
        source = count - 1 if number(0, 3) else number(0, count - 1)
        height = builder.tensors[source].height
        row_bytes = number(1, 9)
        scratch_bytes = number(0, 1) * number(1, 7)
        kind = draw(st.sampled_from(["window", "window", "window", "add", "add", "pad", "sink", "flat"]))
        name = f"{kind}_{count}"
        if kind == "window":
            window, stride, pad_top = number(1, 7), number(1, 3), number(0, 3)
            rows = (height + pad_top + number(0, 3) - window) // stride + 1
            op = RowOp(name, (source,), 0, window, stride, pad_top, scratch_bytes=scratch_bytes)
            builder.add(op, max(rows, 1), row_bytes)
        elif kind == "add":
            partner = draw(st.sampled_from([i for i, t in enumerate(builder.tensors) if t.height == height]))
            builder.add(RowOp(name, (source, partner), 0, scratch_bytes=scratch_bytes), height, row_bytes)
        elif kind == "pad":
            top = number(0, 3)
            builder.add(RowOp(name, (source,), 0, pad_top=top), height + top + number(0, 3), row_bytes)
        elif kind == "sink":
            op = RowOp(name, (source,), 0, is_sink=True, state_bytes=number(1, 20), scratch_bytes=scratch_bytes)
            builder.add(op, 1, row_bytes)
        else:
            builder.add(RowOp(name, (source,), 0, window_rows=height, scratch_bytes=scratch_bytes), 1, row_bytes)
    return builder.graph()


def _row(op: RowOp, step: int, read: Sequence[bytes], size: int) -> bytes:
    return shake_128(b"|".join((op.name.encode(), b"%d" % step, *read))).digest(size)


def _rows_of(op: RowOp, step: int, height: int) -> range:
    top = step * op.stride - op.pad_top
    return range(max(top, 0), min(top + op.window_rows, height))


def output_of_whole_maps(graph: RowGraph) -> bytes:
    """The network's output when each layer is executed after the other and every map is kept."""
    maps: dict[int, list[bytes]] = {}
    for op in graph.ops:
        tensor = graph.tensors[op.output]
        if op.is_sink:
            state = bytes(op.state_bytes)
            for step, row in enumerate(maps[op.inputs[0]]):
                state = _row(op, step, (state, row), op.state_bytes)
            maps[op.output] = [_row(op, -1, (state,), tensor.row_bytes)]
            continue
        maps[op.output] = [
            _row(
                op,
                step,
                [maps[i][row] for i in op.inputs for row in _rows_of(op, step, graph.tensors[i].height)],
                tensor.row_bytes,
            )
            for step in range(tensor.height)
        ]
    return b"".join(maps[graph.output])


def output_of_plan(graph: RowGraph, plan: Plan) -> bytes:
    """The network's output when its plan is executed in an arena of bytes, scratch being filled with rubbish."""
    arena = bytearray(b"\xa5" * plan.arena_bytes)

    def place(tensor: int, row: int) -> slice:
        storage, size = plan.storages[tensor], graph.tensors[tensor].row_bytes
        start = storage.offset + row % storage.rows * size
        return slice(start, start + size)

    executed = [0] * len(graph.ops)
    for index in plan.steps:
        op, step = graph.ops[index], executed[index]
        executed[index] += 1
        size = graph.tensors[op.output].row_bytes
        if op.scratch_bytes:
            arena[plan.scratch[index] : plan.scratch[index] + op.scratch_bytes] = b"\x5a" * op.scratch_bytes
        if op.is_sink:
            kept = slice(plan.state[index], plan.state[index] + op.state_bytes)
            state = bytes(arena[kept]) if step else bytes(op.state_bytes)
            row = bytes(arena[place(op.inputs[0], step)])
            arena[kept] = _row(op, step, (state, row), op.state_bytes)
            if step + 1 == graph.tensors[op.inputs[0]].height:
                arena[place(op.output, 0)] = _row(op, -1, (bytes(arena[kept]),), size)
            continue
        read = [bytes(arena[place(i, row)]) for i in op.inputs for row in _rows_of(op, step, graph.tensors[i].height)]
        arena[place(op.output, step)] = _row(op, step, read, size)
    return b"".join(bytes(arena[place(graph.output, row)]) for row in range(graph.tensors[graph.output].height))
