# SPDX-License-Identifier: Apache-2.0
"""How large TFLM's tensor arena must be on a chip, from what the oracle measured on the host.

Three things differ between the host and a chip, and ``docs/export.md`` explains them to users:

* Pointers are 4 bytes instead of 8, so TFLM's own structures (the arena's tail) shrink. That is not subtracted.
* CMSIS-NN's kernels ask for scratch buffers that the host's reference kernels do not. TFLM places them among the
  activations (the arena's head) with its greedy planner, which is repeated here with and without them.
* Another version of TFLM may keep a little more per operator: ``RESERVE_BYTES``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from firmware_export.tflite_reader import Model, Operator

ALIGNMENT = 16
RESERVE_BYTES = 1024

# CMSIS-NN's depthwise kernel for MVE works on blocks of this many channels (CH_IN_BLOCK_MVE), four pixels at a time.
_MVE_CHANNEL_BLOCK = 124


@dataclass(frozen=True)
class ArenaSize:
    """The arena of an export, in bytes.

    Attributes:
        host_bytes: the smallest arena with which the oracle ran the model on a 64-bit host.
        cmsis_nn_bytes: what CMSIS-NN's scratch buffers add on a core without MVE.
        cmsis_nn_mve_bytes: what they and the sums kept beside them add on a core with MVE (Cortex-M55, M85).
        reserve_bytes: for other versions of TFLM.
    """

    host_bytes: int
    cmsis_nn_bytes: int
    cmsis_nn_mve_bytes: int
    reserve_bytes: int

    @property
    def total_bytes(self) -> int:
        """What the application reserves on a core without MVE: a multiple of 16."""
        return _align(self.host_bytes + self.cmsis_nn_bytes + self.reserve_bytes)

    @property
    def mve_total_bytes(self) -> int:
        """The same with MVE."""
        return _align(self.host_bytes + self.cmsis_nn_mve_bytes + self.reserve_bytes)


def arena_size(model: Model, host_bytes: int) -> ArenaSize:
    """The arena for a chip.

    Args:
        model: the graph.
        host_bytes: ``OracleResult.arena_bytes``.
    """
    plain = planned_head_bytes(model, [0] * len(model.operators))
    dsp, mve = (
        max(0, planned_head_bytes(model, [kernel_bytes(op, model) for op in model.operators]) - plain)
        for kernel_bytes in (_dsp_scratch_bytes, _mve_scratch_bytes)
    )
    sums = sum(_mve_persistent_bytes(op, model) for op in model.operators)
    return ArenaSize(host_bytes, dsp, mve + sums, RESERVE_BYTES)


def planned_head_bytes(model: Model, scratch_bytes: list[int]) -> int:
    """The size of the activations' plan that TFLM's greedy planner finds.

    The largest buffer first, each at the lowest offset where it overlaps no placed buffer that lives at the same time
    (tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc).

    Args:
        model: the graph.
        scratch_bytes: for each operator, the scratch buffer that lives while it runs; 0 for none.
    """
    buffers = _lifetimes(model) + [(_align(size), t, t) for t, size in enumerate(scratch_bytes, 1) if size]
    # Of equal sizes TFLM takes the last first.
    order = buffers[::-1]
    order.sort(key=lambda buffer: -buffer[0])
    placed: list[tuple[int, int, int, int]] = []
    for size, first, last in order:
        offset = 0
        for start, other, other_first, other_last in sorted(placed):
            if other_first > last or first > other_last:
                continue
            if start - offset >= size:
                break
            offset = max(offset, start + other)
        placed.append((offset, size, first, last))
    return max((start + size for start, size, _, _ in placed), default=0)


def _lifetimes(model: Model) -> list[tuple[int, int, int]]:
    """Size, first and last time (both inclusive) of every activation. Operator i runs at time i + 1."""
    end = len(model.operators)
    first = dict.fromkeys(model.inputs, 0)
    last = dict.fromkeys(model.inputs, 0)
    for time, op in enumerate(model.operators, 1):
        for index in op.inputs:
            last[index] = time
        for index in op.outputs:
            first[index] = last[index] = time
    for index in model.outputs:
        last[index] = end
    return [
        (_align(model.tensors[index].size_bytes), first[index], last[index])
        for index in sorted(first)
        if not model.tensors[index].is_constant
    ]


def _dsp_scratch_bytes(op: Operator, model: Model) -> int:
    """CMSIS-NN's `*_get_buffer_size` for Armv7E-M and Armv8-M with DSP: int16 copies of the pixels under the kernel."""
    channels, height, width = _kernel(op, model)
    if op.name == "CONV_2D":
        return 0 if height * width == 1 else 2 * 2 * _round_up(height * width * channels, 4)
    if op.name == "DEPTHWISE_CONV_2D":
        return 2 * height * width * channels
    if op.name == "AVERAGE_POOL_2D":
        return 4 * model.tensors[op.inputs[0]].shape[-1]
    return 0


def _mve_scratch_bytes(op: Operator, model: Model) -> int:
    """The same for MVE: four int8 columns of pixels at a time."""
    channels, height, width = _kernel(op, model)
    if op.name == "CONV_2D":
        return 0 if height * width == 1 else 4 * _round_up(height * width * channels, 8)
    if op.name == "DEPTHWISE_CONV_2D":
        return 4 * _MVE_CHANNEL_BLOCK * height * width
    return 0


def _mve_persistent_bytes(op: Operator, model: Model) -> int:
    """With MVE a fully connected layer keeps the sum of every row of its weights, int32."""
    return _align(4 * model.tensors[op.outputs[0]].elements) if op.name == "FULLY_CONNECTED" else 0


def _kernel(op: Operator, model: Model) -> tuple[int, int, int]:
    """Input channels, height and width of a convolution's kernel; zeros for other operators."""
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or len(op.inputs) < 2 or op.inputs[1] < 0:
        return 0, 0, 0
    shape = model.tensors[op.inputs[1]].shape
    return (shape[3], shape[1], shape[2]) if len(shape) == 4 else (0, 0, 0)


def _align(size: int) -> int:
    return _round_up(size, ALIGNMENT)


def _round_up(size: int, step: int) -> int:
    return math.ceil(size / step) * step
