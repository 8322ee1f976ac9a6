# SPDX-License-Identifier: Apache-2.0
"""The TFLM export: the model as a C array, its op resolver, the preprocessing and an application around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_export import export_directory
from firmware_export.arena import ArenaSize, arena_size
from firmware_export.export_files import interface_context, interface_files, interface_memory, model_facts, render
from firmware_export.export_source import FROM_MANIFEST, ExportSource
from firmware_export.op_resolver import Registration, registrations

_SOURCES = ("litesight_model_data.c", "litesight_model_data.h", "litesight_tflm.cc")
_TFLM_HEADERS = (
    "tensorflow/lite/micro/micro_interpreter.h",
    "tensorflow/lite/micro/micro_mutable_op_resolver.h",
    "tensorflow/lite/schema/schema_generated.h",
)


@dataclass(frozen=True)
class Memory:
    """What an export takes on the chip, in bytes, apart from code and stack.

    Attributes:
        model_bytes: the flatbuffer, in flash.
        table_bytes: labels and tables, in flash.
        golden_bytes: the golden vectors, in flash, where the self test is linked.
        arena: the tensor arena, in RAM.
        workspace_bytes: working memory of the preprocessing, in RAM.
        output_bytes: two copies of the outputs, in RAM.
    """

    model_bytes: int
    table_bytes: int
    golden_bytes: int
    arena: ArenaSize
    workspace_bytes: int
    output_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Constants without the golden vectors."""
        return self.model_bytes + self.table_bytes

    @property
    def ram_bytes(self) -> int:
        """Static memory on a core without MVE; TFLM's interpreter and the preprocessing's state add less than 1 kB."""
        return self.arena.total_bytes + self.workspace_bytes + self.output_bytes


@dataclass(frozen=True)
class TflmExport:
    """A finished export.

    Attributes:
        files: content by path relative to the export's directory.
        facts: what ``export.json`` says.
        memory: what it takes on the chip.
        registrations: the resolver's ops.
    """

    files: Mapping[str, bytes]
    facts: Mapping[str, Any]
    memory: Memory
    registrations: tuple[Registration, ...]


def build(source: ExportSource) -> TflmExport:
    """Put an export together; the same source gives the same bytes.

    Raises:
        ModelError: TFLM lacks an operator of the model.
    """
    ops = registrations(source.model)
    memory = _memory(source)
    context = _context(source, ops, memory)
    files = interface_files(source, context)
    files |= {f"src/{name}": render(f"tflm/{name}.j2", context) for name in _SOURCES}
    files["README.md"] = render("tflm/README.md.j2", context)
    return TflmExport(files, _facts(source, memory), memory, ops)


def write(export: TflmExport, target: Path, *, force: bool = False) -> None:
    """Write an export; see ``export_directory.write``."""
    export_directory.write(target, export.files, export.facts, force=force)


def _memory(source: ExportSource) -> Memory:
    interface = interface_memory(source)
    return Memory(
        model_bytes=len(source.data),
        table_bytes=interface.table_bytes,
        golden_bytes=interface.golden_bytes,
        arena=arena_size(source.model, source.arena.bytes),
        workspace_bytes=interface.workspace_bytes,
        output_bytes=interface.output_bytes,
    )


def _context(source: ExportSource, ops: tuple[Registration, ...], memory: Memory) -> dict[str, Any]:
    return interface_context(source) | {
        "registrations": ops,
        "headers": sorted({*_TFLM_HEADERS, *(op.header for op in ops if op.header)}),
        "memory": memory,
        "arena": memory.arena,
        "arena_template": "tflm/arena.h.j2",
        "oracle": source.arena.oracle,
        "arena_is_stated": source.arena.source == FROM_MANIFEST,
    }


def _facts(source: ExportSource, memory: Memory) -> dict[str, Any]:
    return {
        "engine": "tflm",
        "model": model_facts(source),
        "memory": {
            "flash_bytes": memory.flash_bytes,
            "golden_bytes": memory.golden_bytes,
            "ram_bytes": memory.ram_bytes,
            "arena_bytes": memory.arena.total_bytes,
            "arena_mve_bytes": memory.arena.mve_total_bytes,
            "arena_host_bytes": memory.arena.host_bytes,
            "workspace_bytes": memory.workspace_bytes,
        },
        "oracle": source.arena.oracle,
        "golden_oracle": source.golden.oracle,
        # "measured" during the export, or the "manifest": when the bundle was made, on another machine.
        "arena_source": source.arena.source,
    }
