# SPDX-License-Identifier: Apache-2.0
"""The TFLM export: the model as a C array, its op resolver, the preprocessing and an application around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from firmware_export import c_text, export_directory
from firmware_export.arena import ArenaSize, arena_size
from firmware_export.export_source import FROM_MANIFEST, ExportSource
from firmware_export.op_resolver import Registration, registrations
from firmware_export.probability import probability_table
from firmware_export.tflite_reader import count_multiply_adds, ops_used

_ROOM = Path(__file__).resolve().parent
_SOURCES = (
    "litesight.c",
    "litesight.h",
    "litesight_engine.h",
    "litesight_preprocess.c",
    "litesight_preprocess.h",
    "litesight_score.c",
    "litesight_score.h",
    "litesight_self_test.c",
    "litesight_self_test.h",
    "litesight_status.h",
)
_EXAMPLE_SOURCES = ("litesight_log.c", "litesight_log.h")
_TEMPLATES = (
    "litesight_golden.c",
    "litesight_golden.h",
    "litesight_model.c",
    "litesight_model.h",
    "litesight_model_data.c",
    "litesight_model_data.h",
    "litesight_tflm.cc",
)
_TFLM_HEADERS = (
    "tensorflow/lite/micro/micro_interpreter.h",
    "tensorflow/lite/micro/micro_mutable_op_resolver.h",
    "tensorflow/lite/schema/schema_generated.h",
)
# Two vectors tell more than one, but those of a 224-pixel network would take 300 kB of flash.
_GOLDEN_BYTES = 1 << 16
_MAX_GOLDEN_VECTORS = 2
_TOP_K = 3


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
    environment = _environment()
    files = {f"src/{name}": (_ROOM / "c" / name).read_bytes() for name in _SOURCES}
    files |= {f"example/{name}": (_ROOM / "c" / name).read_bytes() for name in _EXAMPLE_SOURCES}
    files |= {f"src/{name}": _render(environment, name, context) for name in _TEMPLATES}
    files["example/main.c"] = _render(environment, "main.c", context)
    files["README.md"] = _render(environment, "README.md", context)
    return TflmExport(files, _facts(source, memory), memory, ops)


def write(export: TflmExport, target: Path, *, force: bool = False) -> None:
    """Write an export; see ``export_directory.write``."""
    export_directory.write(target, export.files, export.facts, force=force)


def workspace_bytes(width: int, channels: int) -> int:
    """LITESIGHT_PREPROCESS_WORKSPACE_BYTES of litesight_preprocess.h."""
    return 4 * channels * (width + (18 * width - 1) // 17)


def _memory(source: ExportSource) -> Memory:
    classes = len(source.labels)
    table = source.spec.table()
    labels = sum(len(label.encode()) + 1 + 4 for label in source.labels)
    vectors = _golden_count(source)
    return Memory(
        model_bytes=len(source.data),
        table_bytes=labels + 4 * 256 + (0 if table is None else table.size),
        golden_bytes=vectors * (source.model.input.elements + classes),
        arena=arena_size(source.model, source.arena.bytes),
        workspace_bytes=workspace_bytes(source.spec.width, source.spec.channels),
        output_bytes=2 * classes,
    )


def _golden_count(source: ExportSource) -> int:
    vectors = min(_MAX_GOLDEN_VECTORS, len(source.golden.inputs))
    return vectors if vectors * source.model.input.elements <= _GOLDEN_BYTES else 1


def _context(source: ExportSource, ops: tuple[Registration, ...], memory: Memory) -> dict[str, Any]:
    table = source.spec.table()
    output = source.model.output
    count = _golden_count(source)
    formats = {"RGB": "RGB888", "BGR": "BGR888", "GREY": "GREY8"}
    return {
        "source": source,
        "registrations": ops,
        "headers": sorted({*_TFLM_HEADERS, *(op.header for op in ops if op.header)}),
        "memory": memory,
        "arena": memory.arena,
        "oracle": source.arena.oracle,
        "arena_is_stated": source.arena.source == FROM_MANIFEST,
        "input_bytes": source.model.input.elements,
        "table": None if table is None else table.reshape(-1).tolist(),
        "probability_table": probability_table(
            output.scales[0], output.zero_points[0], is_probability=source.is_probability
        ),
        "golden_inputs": source.golden.inputs[:count].reshape(count, -1).tolist(),
        "golden_outputs": source.golden.outputs[:count].tolist(),
        "golden_format": formats[source.spec.color] if table is None else None,
        "top_k": min(_TOP_K, len(source.labels)),
    }


def _facts(source: ExportSource, memory: Memory) -> dict[str, Any]:
    return {
        "engine": "tflm",
        "model": {
            "name": source.name,
            "license": source.license,
            "sha256": source.sha256,
            "bytes": len(source.data),
            "macs": count_multiply_adds(source.model),
            "ops": list(ops_used(source.model)),
            "classes": len(source.labels),
        },
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


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ROOM / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # The output is C and Markdown; what comes from outside goes through the filters below.
        autoescape=False,
    )
    environment.filters |= {
        "c_bytes": c_text.c_bytes,
        "c_comment": c_text.c_comment,
        "c_float": c_text.c_float,
        "c_string": c_text.c_string,
        "c_values": c_text.c_values,
        "md": c_text.markdown,
    }
    return environment


def _render(environment: jinja2.Environment, name: str, context: Mapping[str, Any]) -> bytes:
    return environment.get_template(f"{name}.j2").render(context).encode()
