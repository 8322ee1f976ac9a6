# SPDX-License-Identifier: Apache-2.0
"""An arena too small dies on the chip before any output; one too large wastes the RAM that chips lack."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_export import tflm_oracle
from firmware_export.arena import RESERVE_BYTES, ArenaSize, arena_size, planned_head_bytes
from firmware_export.export_source import ExportSource
from firmware_export.tflite_reader import Model, Operator, Tensor


def tensor(index: int, shape: tuple[int, ...], data: bytes = b"") -> Tensor:
    return Tensor(index, f"t{index}", shape, "int8", (1.0,), (0,), 0, bool(data), data)


def test_the_plan_is_the_one_that_tflm_makes(tiny_source: ExportSource) -> None:
    model = tiny_source.model
    recorded = tflm_oracle.run(tiny_source.data, tiny_source.golden.inputs[:1]).arena_breakdown
    assert planned_head_bytes(model, [0] * len(model.operators)) == recorded["head"]


def chain(sizes: list[int]) -> Model:
    """Operators in a row, each of which reads the tensor that the one before has written."""
    tensors = tuple(tensor(i, (size,)) for i, size in enumerate(sizes))
    ops = tuple(Operator(i, "RELU", "", 1, (i,), (i + 1,)) for i in range(len(sizes) - 1))
    return Model(tensors, ops, (0,), (len(sizes) - 1,), "", 0)


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=12), st.data())
def test_the_plan_holds_what_lives_at_the_same_time(sizes: list[int], data: st.DataObject) -> None:
    model = chain(sizes)
    count = len(model.operators)
    scratch = data.draw(st.lists(st.integers(0, 3000), min_size=count, max_size=count))
    aligned = [-(-size // 16) * 16 for size in sizes]
    live = [aligned[i] + aligned[i + 1] + -(-scratch[i] // 16) * 16 for i in range(count)]
    assert max(live) <= planned_head_bytes(model, scratch) <= sum(aligned) + sum(-(-s // 16) * 16 for s in scratch)


def test_buffers_of_equal_size_are_placed_in_the_order_of_tflm() -> None:
    """Three 1x1 convolutions on a 4x4 map; TFLM's recording allocator says 128, the other order of ties gives 144."""
    assert planned_head_bytes(chain([64, 64, 16, 64]), [0, 0, 0]) == 128


def test_a_gap_that_just_fits_is_used() -> None:
    tensors = tuple(tensor(i, (size,)) for i, size in enumerate((48, 16, 16, 16)))
    inputs = ((0,), (0, 1), (0, 2))
    ops = tuple(Operator(i, "ADD", "", 1, indices, (i + 1,)) for i, indices in enumerate(inputs))
    assert planned_head_bytes(Model(tensors, ops, (0,), (3,), "", 0), [0, 0, 0]) == 80


def test_a_residual_tensor_lives_until_it_is_added() -> None:
    tensors = tuple(tensor(i, (size,)) for i, size in enumerate((160, 1600, 160, 160)))
    ops = (
        Operator(0, "CONV_2D", "", 1, (0,), (1,)),
        Operator(1, "CONV_2D", "", 1, (1,), (2,)),
        Operator(2, "ADD", "", 1, (0, 2), (3,)),
    )
    assert planned_head_bytes(Model(tensors, ops, (0,), (3,), "", 0), [0, 0, 0]) == 1600 + 160 + 160


def convolution(name: str, weights: tuple[int, ...], channels: int = 48) -> Model:
    tensors = (tensor(0, (1, 48, 48, channels)), tensor(1, weights, b"\0"), tensor(2, (1, 48, 48, channels)))
    return Model(tensors, (Operator(0, name, "", 1, (0, 1), (2,)),), (0,), (2,), "", 0)


@pytest.mark.parametrize(
    ("model", "dsp", "mve"),
    [
        # The buffers of CMSIS-NN; the second is the difference between Cortex-M4 and M55 in measured firmware.
        (convolution("DEPTHWISE_CONV_2D", (1, 3, 3, 48)), 2 * 9 * 48, 4 * 124 * 9),
        (convolution("DEPTHWISE_CONV_2D", (1, 5, 5, 48)), 2 * 25 * 48, 4 * 124 * 25),
        (convolution("CONV_2D", (48, 3, 3, 3), 3), 112, 128),
        (convolution("CONV_2D", (48, 1, 1, 48)), 0, 0),
    ],
)
def test_the_buffers_of_cmsis_nn_are_added(model: Model, dsp: int, mve: int) -> None:
    assert arena_size(model, 1000) == ArenaSize(1000, dsp, mve, RESERVE_BYTES)


def test_the_sums_of_a_fully_connected_layer_are_kept_with_mve() -> None:
    tensors = (tensor(0, (1, 64)), tensor(1, (10, 64), b"\0"), tensor(2, (1, 10)))
    model = Model(tensors, (Operator(0, "FULLY_CONNECTED", "", 1, (0, 1), (2,)),), (0,), (2,), "", 0)
    size = arena_size(model, 1000)
    assert (size.cmsis_nn_bytes, size.cmsis_nn_mve_bytes) == (0, 48)


def test_totals_are_multiples_of_16() -> None:
    size = ArenaSize(1001, 7, 300, 1024)
    assert (size.total_bytes, size.mve_total_bytes) == (2032, 2336)
