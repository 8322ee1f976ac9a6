# SPDX-License-Identifier: Apache-2.0
"""What a network needs on a board: read, planned and added up, neither compiled nor run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boards.board import Board
from device import bundle as bundles
from device.errors import LitesightError
from firmware_export import firmware
from firmware_export.fit import Fit, Part, firmware_parts, place
from firmware_export.int8_core import int8_core
from firmware_export.static_engine import kernel_sets, planner
from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.kernel import Kernel, kernel_set_for
from firmware_export.static_engine.layers import Graph
from firmware_export.static_engine.network_tables import NetworkTables, network_tables
from firmware_export.static_engine.plan import Plan, RowGraph
from firmware_export.static_engine.row_graph import row_graph
from firmware_export.tflite_reader import ModelError, read_model, require_int8

_PROBABILITY_TABLE_BYTES = 4 * 256
_LARGEST_TFLITE_BYTES = 1 << 30


@dataclass(frozen=True)
class Network:
    """A network as it comes from a file.

    Attributes:
        name: for people.
        graph: of its int8 core.
        input_table_bytes: the table that quantises pixels; 0 where x ^ 0x80 does.
    """

    name: str
    graph: Graph
    input_table_bytes: int


@dataclass(frozen=True)
class PlannedNetwork:
    """A network with one kernel set.

    Attributes:
        network: which.
        kernel_set: of ``static_engine.kernel``.
        kernels: by layer.
        rows: what was planned.
        plan: when every row is computed, and where it lives.
        tables: what would be constants in C.
    """

    network: Network
    kernel_set: str
    kernels: tuple[Kernel, ...]
    rows: RowGraph
    plan: Plan
    tables: NetworkTables


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the arena.

    Attributes:
        name: of the layer that writes it.
        shape: height, width, channels.
        rows: that are kept at a time.
        bytes: of these.
    """

    name: str
    shape: tuple[int, int, int]
    rows: int
    bytes: int


def read_network(path: Path) -> Network:
    """Read a bundle or a .tflite; nothing is run.

    Raises:
        LitesightError: it is damaged, or not of the kind that the static engine computes.
    """
    table_bytes = 0
    if path.is_file():
        name, data = path.stem, _read(path)
    else:
        bundle = bundles.load(path)
        name, data = bundle.manifest.name, bundle.model_bytes()
        table = bundle.manifest.input.table()
        table_bytes = 0 if table is None else table.size
    try:
        model = int8_core(read_model(data))
        require_int8(model)
        return Network(name, build_graph(model), table_bytes)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error


def plan_network(network: Network, kernel_set: str) -> PlannedNetwork:
    """Plan a network for a kernel set."""
    graph = network.graph
    kernels = kernel_sets.kernels_for(graph, kernel_set)
    rows = row_graph(graph, [kernel.scratch_bytes for kernel in kernels])
    plan = planner.plan(rows)
    return PlannedNetwork(network, kernel_set, kernels, rows, plan, network_tables(graph, kernels, plan))


def plan_for(network: Network, board: Board) -> PlannedNetwork:
    """Plan a network for the kernels of a board."""
    return plan_network(network, kernel_set_for(board.mcu.features))


def fit_firmware(planned: PlannedNetwork, board: Board, form: str) -> Fit:
    """The firmware of ``litesight build`` on a board.

    Args:
        planned: with the board's kernel set.
        board: which.
        form: FRAME or ROWS of ``firmware``.
    """
    graph, tables = planned.network.graph, planned.tables
    frame = graph.features[graph.input].size_bytes if form == firmware.FRAME else 0
    parts: tuple[Part, ...] = firmware_parts(
        board,
        constants_bytes=tables.table_bytes + _PROBABILITY_TABLE_BYTES + planned.network.input_table_bytes,
        weights_bytes=tables.weights.size_bytes,
        arena_bytes=tables.arena_bytes,
        other_ram=(
            ("frame", frame),
            ("engine", tables.state_bytes),
            ("outputs", graph.features[graph.output].size_bytes),
        ),
    )
    return place(board, parts)


def biggest_tensors(planned: PlannedNetwork, count: int) -> tuple[StoredTensor, ...]:
    """The tensors that take the most memory, largest first."""
    found = []
    for tensor, feature, storage in zip(
        planned.rows.tensors, planned.network.graph.features, planned.plan.storages, strict=True
    ):
        shape = (feature.height, feature.width, feature.channels)
        found.append(StoredTensor(tensor.name, shape, storage.rows, storage.rows * tensor.row_bytes))
    return tuple(sorted(found, key=lambda tensor: -tensor.bytes)[:count])


def biggest_layers(planned: PlannedNetwork, count: int) -> tuple[tuple[str, int], ...]:
    """Name and bytes of weights of the layers with the most of them, largest first."""
    layers = zip(planned.network.graph.layers, planned.kernels, strict=True)
    sizes = [(layer.name, len(kernel.weights)) for layer, kernel in layers if kernel.weights]
    return tuple(sorted(sizes, key=lambda each: -each[1])[:count])


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_TFLITE_BYTES:
            raise ModelError(f"{path} is larger than {_LARGEST_TFLITE_BYTES >> 20} MiB; no microcontroller holds that")
        return path.read_bytes()
    except OSError as error:
        raise LitesightError(f"cannot read {path}: {error.strerror}") from error
