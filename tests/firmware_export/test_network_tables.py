# SPDX-License-Identifier: Apache-2.0
"""The constants in C: what kernels may read beyond them, and what the C structures can hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from firmware_export.static_engine import kernel_sets, planner
from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.kernel import MVE, PORTABLE
from firmware_export.static_engine.layers import Convolution, Graph
from firmware_export.static_engine.network_tables import READ_AHEAD_BYTES, NetworkTables, network_tables
from firmware_export.static_engine.plan import Plan
from firmware_export.static_engine.row_graph import row_graph
from firmware_export.tflite_reader import ModelError, read_model
from tests.firmware_export.static_networks import everything
from tests.firmware_export.tflite_builder import RandomNetwork

SETS = Path(kernel_sets.__file__).resolve().parents[1] / "c" / "static"


def plan_of(graph: Graph) -> Plan:
    kernels = kernel_sets.kernels_for(graph, PORTABLE)
    return planner.plan(row_graph(graph, [kernel.scratch_bytes for kernel in kernels]))


def tables_of(graph: Graph) -> NetworkTables:
    return network_tables(graph, kernel_sets.kernels_for(graph, PORTABLE), plan_of(graph))


def test_kernels_may_read_ahead_of_weights_and_arena() -> None:
    graph = build_graph(read_model(everything()))
    tables = tables_of(graph)
    assert not tables.weights.parts[-1].values.any()
    assert tables.weights.parts[-1].values.size == READ_AHEAD_BYTES == 16
    assert tables.arena_bytes >= plan_of(graph).arena_bytes + READ_AHEAD_BYTES


def test_the_weights_of_every_layer_are_aligned() -> None:
    tables = tables_of(build_graph(read_model(everything())))
    named = {layer.name for layer in tables.layers}
    offsets = [part.offset for part in tables.weights.parts if part.name in named]
    assert len(offsets) > 3
    assert all(offset % 4 == 0 for offset in offsets)
    assert any(part.name == "alignment" for part in tables.weights.parts), "or this tests nothing"


@pytest.mark.parametrize(("layers", "op_type"), [(255, "uint8_t"), (256, "uint16_t")])
def test_a_step_holds_the_number_of_every_op(layers: int, op_type: str) -> None:
    net = RandomNetwork(1)
    x = net.input(1, 1, 1, scale=0.05)
    for _ in range(layers):
        x = net.relu(x, scale=0.05)
    tables = tables_of(build_graph(read_model(net.finish(x))))
    assert len(tables.layers) == layers
    assert max(tables.steps) == layers
    assert tables.op_type == op_type
    assert tables.state_bytes == 2 * (layers + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride_x": 256}, "strides and dilations up to 255, found 256"),
        ({"dilation_y": 300}, "strides and dilations up to 255, found 300"),
        ({"pad_left": 65536}, "a window of at most 65535 pixels, found 65536"),
    ],
)
def test_a_window_that_the_structures_cannot_hold_is_refused(change: dict[str, int], message: str) -> None:
    net = RandomNetwork(1)
    graph = build_graph(read_model(net.finish(net.conv(net.input(4, 4, 1), 2, kernel=2))))
    plan = plan_of(graph)
    kernels = kernel_sets.kernels_for(graph, PORTABLE)
    (layer,) = graph.layers
    assert isinstance(layer, Convolution)
    wrong = replace(graph, layers=(replace(layer, window=replace(layer.window, **change)),))
    with pytest.raises(ModelError, match=message):
        network_tables(wrong, kernels, plan)


def test_a_file_of_the_set_takes_the_place_of_the_portable_one() -> None:
    shadowing = sorted(path.name for path in (SETS / MVE).glob("*.c") if (SETS / PORTABLE / path.name).is_file())
    assert shadowing, "or this tests nothing"
    graph = build_graph(read_model(everything()))
    files = kernel_sets.source_files(kernel_sets.kernels_for(graph, MVE), MVE)
    found = [name for name in shadowing if name in files]
    assert found
    assert all(files[name] == (SETS / MVE / name).read_bytes() for name in found)
