# SPDX-License-Identifier: Apache-2.0
"""The static export: the network as C constants, the kernels that execute it, and an application around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device.errors import LitesightError
from firmware_export import export_directory
from firmware_export.export_files import interface_context, interface_files, interface_memory, model_facts, render
from firmware_export.export_source import ExportSource
from firmware_export.static_engine import kernel_sets, memory_map, memory_picture, plan_check, planner
from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.kernel import PORTABLE, Kernel
from firmware_export.static_engine.layers import Convolution, Depthwise, Graph, Layer
from firmware_export.static_engine.network_tables import NetworkTables, network_tables
from firmware_export.static_engine.plan import Plan, RowGraph
from firmware_export.static_engine.row_graph import row_graph

_SOURCES = ("litesight_network.c", "litesight_network.h")


@dataclass(frozen=True)
class StaticMemory:
    """What an export takes on the chip, in bytes, apart from code and stack.

    Attributes:
        weights_bytes: as the kernels read them, in flash.
        network_bytes: biases, multipliers, layers and steps, in flash.
        table_bytes: labels and tables of the interface, in flash.
        golden_bytes: the golden vectors, in flash, where the self test is linked.
        arena_bytes: in RAM.
        engine_bytes: what the engine remembers besides, in RAM.
        workspace_bytes: working memory of the preprocessing, in RAM.
        output_bytes: two copies of the outputs, in RAM.
    """

    weights_bytes: int
    network_bytes: int
    table_bytes: int
    golden_bytes: int
    arena_bytes: int
    engine_bytes: int
    workspace_bytes: int
    output_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Constants without the golden vectors."""
        return self.weights_bytes + self.network_bytes + self.table_bytes

    @property
    def ram_bytes(self) -> int:
        """Static memory; the preprocessing's state adds less than 200 bytes."""
        return self.arena_bytes + self.engine_bytes + self.workspace_bytes + self.output_bytes


@dataclass(frozen=True)
class LayerReport:
    """One line of the report.

    Attributes:
        name: as in the sources.
        kernel: C function.
        shape: height, width and channels of the output.
        macs: multiply-adds, padding counted as if computed.
        weights_bytes: as packed.
        scratch_bytes: memory during a step.
    """

    name: str
    kernel: str
    shape: tuple[int, int, int]
    macs: int
    weights_bytes: int
    scratch_bytes: int


@dataclass(frozen=True)
class StaticExport:
    """A finished export.

    Attributes:
        files: content by path relative to the export's directory.
        facts: what ``export.json`` says.
        memory: what it takes on the chip.
        layers: in the order of execution.
        kernel_set: for what kind of core.
    """

    files: Mapping[str, bytes]
    facts: Mapping[str, Any]
    memory: StaticMemory
    layers: tuple[LayerReport, ...]
    kernel_set: str


def build(source: ExportSource, kernel_set: str = PORTABLE) -> StaticExport:
    """Put an export together; the same source gives the same bytes.

    Args:
        source: the model.
        kernel_set: of ``static_engine.kernel``.

    Raises:
        ModelError: the static engine cannot run the model; names the operator.
    """
    graph = build_graph(source.model)
    kernels = kernel_sets.kernels_for(graph, kernel_set)
    rows = row_graph(graph, [kernel.scratch_bytes for kernel in kernels])
    plan = _checked_plan(rows)
    tables = network_tables(graph, kernels, plan)
    memory = _memory(source, tables)
    layers = tuple(_report(graph, layer, kernel) for layer, kernel in zip(graph.layers, kernels, strict=True))
    context = _context(source, tables, memory, layers, kernel_set)
    files = interface_files(source, context)
    files |= {f"src/{name}": data for name, data in kernel_sets.source_files(kernels, kernel_set).items()}
    files |= {f"src/{name}": render(f"static/{name}.j2", context) for name in _SOURCES}
    files |= _memory_map(rows, plan, source.name)
    files["README.md"] = render("static/README.md.j2", context)
    return StaticExport(files, _facts(source, memory, layers, plan, kernel_set), memory, layers, kernel_set)


def write(export: StaticExport, target: Path, *, force: bool = False) -> None:
    """Write an export; see ``export_directory.write``."""
    export_directory.write(target, export.files, export.facts, force=force)


def _checked_plan(rows: RowGraph) -> Plan:
    plan = planner.plan(rows)
    fault = plan_check.find_fault(rows, plan)
    if fault:
        raise LitesightError(f"the memory plan is wrong: {fault}", hint="please report this as a defect of litesight")
    return plan


def _memory_map(rows: RowGraph, plan: Plan, title: str) -> dict[str, bytes]:
    """Where everything lives: for people, for programs, and as a picture."""
    return {
        "memory_map.txt": memory_map.memory_text(rows, plan).encode(),
        "memory_map.csv": memory_map.memory_csv(rows, plan).encode(),
        "memory_map.svg": memory_picture.memory_svg(rows, plan, title).encode(),
    }


def _memory(source: ExportSource, tables: NetworkTables) -> StaticMemory:
    interface = interface_memory(source)
    return StaticMemory(
        weights_bytes=tables.weights.size_bytes,
        network_bytes=tables.table_bytes,
        table_bytes=interface.table_bytes,
        golden_bytes=interface.golden_bytes,
        arena_bytes=tables.arena_bytes,
        engine_bytes=tables.state_bytes,
        workspace_bytes=interface.workspace_bytes,
        output_bytes=interface.output_bytes,
    )


def _report(graph: Graph, layer: Layer, kernel: Kernel) -> LayerReport:
    output = graph.features[layer.output]
    per_pixel = layer.macs_per_pixel if isinstance(layer, Convolution | Depthwise) else 0
    return LayerReport(
        name=layer.name,
        kernel=kernel.function,
        shape=(output.height, output.width, output.channels),
        macs=per_pixel * output.height * output.width,
        weights_bytes=len(kernel.weights),
        scratch_bytes=kernel.scratch_bytes,
    )


def _context(
    source: ExportSource,
    tables: NetworkTables,
    memory: StaticMemory,
    layers: Sequence[LayerReport],
    kernel_set: str,
) -> dict[str, Any]:
    return interface_context(source) | {
        "tables": tables,
        "memory": memory,
        "layers": layers,
        "kernel_set": kernel_set,
        "arena_template": "static/arena.h.j2",
    }


def _facts(
    source: ExportSource, memory: StaticMemory, layers: Sequence[LayerReport], plan: Plan, kernel_set: str
) -> dict[str, Any]:
    return {
        "engine": "static",
        "kernels": kernel_set,
        "model": model_facts(source),
        "memory": {"flash_bytes": memory.flash_bytes, "ram_bytes": memory.ram_bytes, **asdict(memory)},
        "steps": len(plan.steps),
        "layers": [asdict(layer) for layer in layers],
        "golden_oracle": source.golden.oracle,
    }
