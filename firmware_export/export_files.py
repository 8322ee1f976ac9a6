# SPDX-License-Identifier: Apache-2.0
"""What the exports for all engines have in common: the interface's sources, facts about the model, golden vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from firmware_export import c_text
from firmware_export.export_source import ExportSource
from firmware_export.probability import probability_table
from firmware_export.tflite_reader import count_multiply_adds, ops_used

ROOM = Path(__file__).resolve().parent
TOP_K = 3
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
_TEMPLATES = ("litesight_golden.c", "litesight_golden.h", "litesight_model.c", "litesight_model.h")
# Two vectors tell more than one, but those of a 224-pixel network would take 300 kB of flash.
_GOLDEN_BYTES = 1 << 16
_MAX_GOLDEN_VECTORS = 2


@dataclass(frozen=True)
class InterfaceMemory:
    """What the interface takes on the chip, whatever the engine; bytes, without code and stack.

    Attributes:
        table_bytes: labels and tables, in flash.
        golden_bytes: the golden vectors, in flash, where the self test is linked.
        workspace_bytes: working memory of the preprocessing, in RAM.
        output_bytes: two copies of the outputs, in RAM.
    """

    table_bytes: int
    golden_bytes: int
    workspace_bytes: int
    output_bytes: int


def workspace_bytes(width: int, channels: int) -> int:
    """LITESIGHT_PREPROCESS_WORKSPACE_BYTES of litesight_preprocess.h."""
    return 4 * channels * (width + (18 * width - 1) // 17)


def interface_memory(source: ExportSource) -> InterfaceMemory:
    """What the interface takes for this model."""
    classes = len(source.labels)
    table = source.spec.table()
    labels = sum(len(label.encode()) + 1 + 4 for label in source.labels)
    return InterfaceMemory(
        table_bytes=labels + 4 * 256 + (0 if table is None else table.size),
        golden_bytes=_golden_count(source) * (source.model.input.elements + classes),
        workspace_bytes=workspace_bytes(source.spec.width, source.spec.channels),
        output_bytes=2 * classes,
    )


def interface_files(source: ExportSource, context: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of every export, by path.

    Args:
        source: the model.
        context: what ``interface_context`` returns and what the engine's own templates need, among it
            ``arena_template``: the part of litesight_model.h that defines LITESIGHT_ARENA_BYTES.
    """
    files = {f"src/{name}": (ROOM / "c" / name).read_bytes() for name in _SOURCES}
    files |= {f"example/{name}": (ROOM / "c" / name).read_bytes() for name in _EXAMPLE_SOURCES}
    files |= {f"src/{name}": render(f"{name}.j2", context) for name in _TEMPLATES}
    files["example/main.c"] = render("main.c.j2", context)
    return files


def interface_context(source: ExportSource) -> dict[str, Any]:
    """Values for the templates that every export has."""
    table = source.spec.table()
    output = source.model.output
    count = _golden_count(source)
    formats = {"RGB": "RGB888", "BGR": "BGR888", "GREY": "GREY8"}
    return {
        "source": source,
        "input_bytes": source.model.input.elements,
        "table": None if table is None else table.reshape(-1).tolist(),
        "probability_table": probability_table(
            output.scales[0], output.zero_points[0], is_probability=source.is_probability
        ),
        "golden_inputs": source.golden.inputs[:count].reshape(count, -1).tolist(),
        "golden_outputs": source.golden.outputs[:count].tolist(),
        "golden_format": formats[source.spec.color] if table is None else None,
        "top_k": min(TOP_K, len(source.labels)),
    }


def model_facts(source: ExportSource) -> dict[str, Any]:
    """What ``export.json`` says about the model."""
    return {
        "name": source.name,
        "license": source.license,
        "sha256": source.sha256,
        "bytes": len(source.data),
        "macs": count_multiply_adds(source.model),
        "ops": list(ops_used(source.model)),
        "classes": len(source.labels),
    }


def render(template: str, context: Mapping[str, Any]) -> bytes:
    """A file from a template, by the latter's path in ``templates``."""
    return _environment().get_template(template).render(context).encode()


def _golden_count(source: ExportSource) -> int:
    vectors = min(_MAX_GOLDEN_VECTORS, len(source.golden.inputs))
    return vectors if vectors * source.model.input.elements <= _GOLDEN_BYTES else 1


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOM / "templates"),
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
