# SPDX-License-Identifier: Apache-2.0
"""Runs many networks in the static engine on an emulated board, as one network in one program.

The networks stand side by side in it, each with the steps and rings of its own plan. Instead of a source, each has a
layer that copies the rows of a frame.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boards.build import build
from boards.catalogue import find
from boards.emulator import emulate_until
from firmware_export import export_files
from firmware_export.static_engine import kernel_sets, planner
from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.kernel import Kernel
from firmware_export.static_engine.layers import Feature, Graph, Layer, Lookup
from firmware_export.static_engine.network_tables import network_tables
from firmware_export.static_engine.plan import Plan, Storage
from firmware_export.static_engine.row_graph import row_graph
from firmware_export.tflite_reader import read_model
from tests.firmware_export.static_host import CANARY, ENGINE, GAP_BYTES, Network, apart

_COPY = Kernel("litesight_lookup_step", ("litesight_lookup.c",))
_SAME = np.arange(-128, 128).astype(np.int8)

_MAIN = """
#include "litesight_network.c"
#include "litesight_static.c"
#include "litesight_port.h"
typedef struct network {{
  const int8_t *frames;
  uint32_t frame, frame_bytes, output, output_bytes, first_gap, end_gap;
}} network;
typedef struct gap {{ uint32_t first, end; }} gap;
extern const int8_t frames[];
static const network networks[] = {{ {networks} }};
static const gap gaps[] = {{ {gaps} }};
static int8_t output[LITESIGHT_CLASSES];
static litesight_status no_row(void *context, int8_t *row) {{
  (void)context;
  (void)row;
  return LITESIGHT_ERROR_SOURCE;
}}
static void print_hexadecimal(uint8_t byte) {{
  litesight_port_write((uint8_t)"0123456789abcdef"[byte >> 4]);
  litesight_port_write((uint8_t)"0123456789abcdef"[byte & 15]);
}}
static int run(uint32_t frame) {{
  int8_t *arena = (int8_t *)arena_words;
  memset(arena_words, {canary}, sizeof arena_words);
  for (size_t i = 0; i < {count}; ++i)
    memcpy(arena + networks[i].frame, networks[i].frames + frame * networks[i].frame_bytes, networks[i].frame_bytes);
  if (litesight_engine_run(no_row, NULL, output) != LITESIGHT_OK) return 2;
  for (size_t i = 0; i < {count}; ++i) {{
    for (uint32_t j = networks[i].first_gap; j < networks[i].end_gap; ++j)
      for (uint32_t at = gaps[j].first; at < gaps[j].end; ++at)
        if (arena[at] != {canary}) {{
          litesight_port_print("outside its buffers wrote ");
          litesight_port_print_number((uint32_t)i);
          return 3;
        }}
    for (uint32_t at = 0; at < networks[i].output_bytes; ++at)
      print_hexadecimal((uint8_t)arena[networks[i].output + at]);
    litesight_port_print("\\n");
  }}
  return 0;
}}
int main(void) {{
  if (litesight_engine_init() != LITESIGHT_OK) return 1;
  for (uint32_t frame = 0; frame < {frames}; ++frame) {{
    const int status = run(frame);
    if (status != 0) return status;
  }}
  return 0;
}}
"""


@dataclass
class _Merged:
    """All networks as one. Feature 0 and op 0, the source, stand for nothing."""

    features: list[Feature] = field(default_factory=lambda: [Feature("nothing", 1, 1, 1, 1.0, 0)])
    layers: list[Layer] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=lambda: [Storage(0, 1)])
    scratch: list[int] = field(default_factory=lambda: [-1])
    state: list[int] = field(default_factory=lambda: [-1])
    steps: list[int] = field(default_factory=list)
    end: int = GAP_BYTES
    rows: list[str] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    frames: bytearray = field(default_factory=bytearray)

    def add(self, network: Network, kernel_set: str) -> None:
        graph = build_graph(read_model(network.data))
        kernels = kernel_sets.kernels_for(graph, kernel_set)
        rows = row_graph(graph, [kernel.scratch_bytes for kernel in kernels])
        plan = apart(rows, planner.plan(rows))
        frame, base = graph.features[graph.input], self.end + graph.features[graph.input].size_bytes + GAP_BYTES
        base += -base % 4
        self._add_layers(network.name, graph, kernels)
        self._add_plan(plan, Storage(self.end, frame.height), base)
        used = [(at.offset, at.rows * tensor.row_bytes) for at, tensor in zip(plan.storages, rows.tensors, strict=True)]
        used += zip(plan.scratch, (op.scratch_bytes for op in rows.ops), strict=True)
        used += zip(plan.state, (op.state_bytes for op in rows.ops), strict=True)
        places = sorted((base + at, base + at + size) for at, size in used if size)
        places = [(self.end, self.end + frame.size_bytes), *places, (base + plan.arena_bytes, 0)]
        first_gap = len(self.gaps)
        self.gaps += [(end, start) for (_, end), (start, _) in itertools.pairwise(places)]
        output = base + plan.storages[graph.output].offset
        sizes = (self.end, frame.size_bytes, output, graph.features[graph.output].size_bytes, first_gap, len(self.gaps))
        self.rows.append(f"{{frames + {len(self.frames)}, {', '.join(map(str, sizes))}}}")
        self.frames += network.inputs.tobytes()
        self.end = base + plan.arena_bytes

    def _add_layers(self, name: str, graph: Graph, kernels: Sequence[Kernel]) -> None:
        frame = len(self.features)
        first = frame + 1
        self.features.append(graph.features[graph.input])
        self.features += graph.features
        copy = Lookup(f"{name}_source", "source", (frame,), first + graph.input, _SAME)
        self.layers.append(copy)
        self.layers += (
            dataclasses.replace(
                layer,
                name=f"{name}_{layer.name}",
                inputs=tuple(first + index for index in layer.inputs),
                output=first + layer.output,
            )
            for layer in graph.layers
        )
        self.kernels += [_COPY, *kernels]

    def _add_plan(self, plan: Plan, frame: Storage, base: int) -> None:
        op = len(self.scratch)
        self.storages += [frame, *(Storage(base + at.offset, at.rows) for at in plan.storages)]
        self.scratch += [base + at if at >= 0 else -1 for at in plan.scratch]
        self.state += [base + at if at >= 0 else -1 for at in plan.state]
        self.steps += [op + step for step in plan.steps]

    def write(self, folder: Path, kernel_set: str, frames: int) -> list[Path]:
        """The C files to be compiled."""
        graph = Graph(tuple(self.features), tuple(self.layers), 0, len(self.features) - 1)
        plan = Plan(
            storages=tuple(self.storages),
            scratch=tuple(self.scratch),
            state=tuple(self.state),
            segments=(),
            steps=tuple(self.steps),
            arena_bytes=self.end,
        )
        tables = network_tables(graph, self.kernels, plan)
        context: dict[str, Any] = {
            "source": {"name": "many", "license": "Apache-2.0", "sha256": "0"},
            "tables": tables,
        }
        files = kernel_sets.source_files(self.kernels, kernel_set)
        files |= {
            name: export_files.render(f"static/{name}.j2", context)
            for name in ("litesight_network.c", "litesight_network.h")
        }
        files["litesight_model.h"] = (
            f"#define LITESIGHT_ARENA_BYTES {tables.arena_bytes}\n"
            f"#define LITESIGHT_CLASSES {graph.features[graph.output].size_bytes}\n"
        ).encode()
        files["main.c"] = _MAIN.format(
            networks=", ".join(self.rows),
            gaps=", ".join(f"{{{first}, {end}}}" for first, end in self.gaps),
            canary=CANARY,
            count=len(self.rows),
            frames=frames,
        ).encode()
        values = ",".join(map(str, np.frombuffer(bytes(self.frames), np.int8).tolist()))
        files["frames.c"] = (
            f"#include <stdint.h>\nextern const int8_t frames[];\nconst int8_t frames[] = {{{values}}};".encode()
        )
        for name, data in files.items():
            (folder / name).write_bytes(data)
        included = (ENGINE, "litesight_network.c")
        return [folder / name for name in files if name.endswith(".c") and name not in included]


def run_on_board(
    networks: Sequence[Network], folder: Path, *, board: str, kernel_set: str
) -> dict[str, NDArray[np.int8]]:
    """Build and run all networks; the outputs by name: int8, (inputs, outputs). No two buffers touch.

    Args:
        networks: with different names and equally many inputs.
        folder: to work in.
        board: id of an emulated board.
        kernel_set: that its core runs.
    """
    frames = len(networks[0].inputs)
    merged = _Merged()
    for network in networks:
        assert len(network.inputs) == frames
        merged.add(network, kernel_set)
    sources = merged.write(folder, kernel_set, frames)
    includes = [folder, export_files.ROOM / "c"]
    image = build(find(board), sources, include_dirs=includes, output_dir=folder / "out")
    text = emulate_until(find(board), image.elf, timeout_s=100)
    assert "m-end-[0]" in text, text[-200:]
    lines = text.split()[: frames * len(networks)]
    found = np.array(lines, dtype=object).reshape(frames, len(networks))
    return {
        network.name: np.stack([np.frombuffer(bytes.fromhex(line), np.int8) for line in found[:, i]])
        for i, network in enumerate(networks)
    }
