# SPDX-License-Identifier: Apache-2.0
"""Runs many networks in the static engine on the host, in one program, and in TFLM, in one process."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export import export_files
from firmware_export.static_engine import kernel_sets, planner
from firmware_export.static_engine.graph import build_graph
from firmware_export.static_engine.layers import Graph
from firmware_export.static_engine.network_tables import network_tables
from firmware_export.static_engine.plan import Plan, RowGraph, Storage
from firmware_export.static_engine.row_graph import row_graph
from firmware_export.tflite_reader import read_model

SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-pedantic")
ENGINE = "litesight_static.c"
GAP_BYTES = 32
CANARY = 0x5A

Run = Callable[..., str]


@dataclass(frozen=True)
class Network:
    """A .tflite and inputs for it.

    Attributes:
        name: a C identifier.
        data: the file.
        inputs: int8, (count, height, width, channels).
    """

    name: str
    data: bytes
    inputs: NDArray[np.int8]


def with_inputs(name: str, data: bytes, count: int = 3) -> Network:
    """Random inputs, the first of them nothing but the two ends of the range."""
    shape = read_model(data).input.shape[1:]
    rng = np.random.default_rng(len(data))
    inputs = rng.integers(-128, 128, (count, *shape), dtype=np.int8)
    inputs[0] = np.where(inputs[0] < 0, -128, 127)
    return Network(name, data, inputs)


_ORACLE = """
import sys
from pathlib import Path
import numpy as np
from tflite_micro.python.tflite_micro import runtime
for name in sys.argv[2:]:
    folder = Path(sys.argv[1])
    engine = runtime.Interpreter.from_bytes((folder / (name + ".tflite")).read_bytes(), arena_size=1 << 24)
    outputs = []
    for one in np.load(folder / (name + ".npy")):
        engine.set_input(one[np.newaxis], 0)
        engine.invoke()
        outputs.append(np.array(engine.get_output(0)).reshape(-1))
    np.save(folder / (name + ".out.npy"), np.stack(outputs))
"""


def tflm_outputs(networks: Sequence[Network], folder: Path) -> dict[str, NDArray[np.int8]]:
    """What TFLM gives, by the network's name: int8, (count, classes)."""
    for network in networks:
        (folder / f"{network.name}.tflite").write_bytes(network.data)
        np.save(folder / f"{network.name}.npy", network.inputs)
    command = [sys.executable, "-c", _ORACLE, str(folder), *(network.name for network in networks)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return {network.name: np.load(folder / f"{network.name}.out.npy") for network in networks}


def apart(rows: RowGraph, plan: Plan) -> Plan:
    """The same order and rings, but no two buffers share memory and there is a gap around each of them.

    A kernel that writes where it may not changes a gap.
    """
    end = GAP_BYTES
    places = []
    sizes = [storage.rows * tensor.row_bytes for storage, tensor in zip(plan.storages, rows.tensors, strict=True)]
    sizes += [op.scratch_bytes for op in rows.ops] + [op.state_bytes for op in rows.ops]
    for size in sizes:
        places.append(end if size else -1)
        end += -(-size // 4) * 4 + (GAP_BYTES if size else 0)
    tensors, ops = len(rows.tensors), len(rows.ops)
    return dataclasses.replace(
        plan,
        storages=tuple(
            Storage(offset, storage.rows) for offset, storage in zip(places[:tensors], plan.storages, strict=True)
        ),
        scratch=tuple(places[tensors : tensors + ops]),
        state=tuple(places[tensors + ops :]),
        arena_bytes=end,
    )


_UNIT = """
#define litesight_engine_init {name}_init
#define litesight_engine_run {name}_run
#define litesight_engine_arena_used {name}_arena_used
#define litesight_features {name}_features
#define litesight_layers {name}_layers
#define litesight_steps {name}_steps
#include "{name}/litesight_network.c"
#include "{name}/litesight_static.c"
static const struct {{ size_t first, end; }} gaps[] = {{ {gaps} }};
void {name}_fill(void) {{
  for (size_t i = 0; i < {gap_count}; ++i)
    memset((char *)arena_words + gaps[i].first, {canary}, gaps[i].end - gaps[i].first);
}}
int {name}_intact(void) {{
  for (size_t i = 0; i < {gap_count}; ++i)
    for (size_t at = gaps[i].first; at < gaps[i].end; ++at)
      if (((char *)arena_words)[at] != {canary}) return 0;
  return 1;
}}
"""

_MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "litesight_engine.h"
{declarations}
struct network {{
  const char *name;
  litesight_status (*init)(void);
  litesight_status (*run)(litesight_input_rows, void *, int8_t *);
  void (*fill)(void);
  int (*intact)(void);
  size_t inputs, rows, row_bytes, outputs;
}};
static const struct network networks[] = {{
{entries}
}};
struct source {{ const struct network *network; int8_t *input; size_t row; }};
static litesight_status next_row(void *context, int8_t *row) {{
  struct source *source = context;
  if (source->row == source->network->rows) return LITESIGHT_ERROR_SOURCE;
  memcpy(row, source->input + source->row++ * source->network->row_bytes, source->network->row_bytes);
  return LITESIGHT_OK;
}}
int main(void) {{
  for (size_t i = 0; i < sizeof networks / sizeof *networks; ++i) {{
    const struct network *network = &networks[i];
    size_t bytes = network->rows * network->row_bytes;
    int8_t *input = malloc(bytes);
    int8_t *output = malloc(network->outputs);
    if (network->init() != LITESIGHT_OK) return 2;
    for (size_t j = 0; j < network->inputs; ++j) {{
      struct source source = {{network, input, 0}};
      if (fread(input, 1, bytes, stdin) != bytes) return 3;
      network->fill();
      if (network->run(next_row, &source, output) != LITESIGHT_OK) return 4;
      if (source.row != network->rows) return 5;
      if (!network->intact()) {{ fprintf(stderr, "%s wrote outside its buffers\\n", network->name); return 6; }}
      fwrite(output, 1, network->outputs, stdout);
    }}
    free(input);
    free(output);
  }}
  return 0;
}}
"""


def run_networks(
    networks: Sequence[Network],
    folder: Path,
    run_tool: Run,
    compiler: str,
    *,
    flags: Sequence[str] = SANITIZERS,
    kernel_set: str = "portable",
    keep_apart: bool = True,
) -> dict[str, NDArray[np.int8]]:
    """Compile and run all networks; the outputs by name.

    Args:
        networks: with different names.
        folder: to work in.
        run_tool: of the fixtures.
        compiler: its path.
        flags: beside the warnings.
        kernel_set: that runs on this machine.
        keep_apart: lay the buffers apart with gaps, instead of the planner's places.
    """
    graphs = [build_graph(read_model(network.data)) for network in networks]
    sources: dict[str, bytes] = {}
    for network, graph in zip(networks, graphs, strict=True):
        sources |= _write_network(network, graph, folder, kernel_set, keep_apart)
    for name, data in sources.items():
        (folder / name).write_bytes(data)
    (folder / "main.c").write_text(_main_text(networks, graphs))
    includes = [f"-I{folder}", f"-I{export_files.ROOM / 'c'}"]
    units = [f"{network.name}_unit.c" for network in networks]
    kernels = [name for name in sources if name.endswith(".c")]
    command = [compiler, "-std=c11", *WARNINGS, *flags, *includes, "-o", "program", "main.c", *kernels, *units]
    run_tool(command, cwd=folder)
    stdin = b"".join(network.inputs.tobytes() for network in networks)
    result = subprocess.run([str(folder / "program")], input=stdin, capture_output=True, timeout=120, check=False)
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stderr.decode()}"
    found: dict[str, NDArray[np.int8]] = {}
    at = 0
    for network, graph in zip(networks, graphs, strict=True):
        shape = (len(network.inputs), graph.features[graph.output].size_bytes)
        found[network.name] = np.frombuffer(result.stdout, np.int8, int(np.prod(shape)), at).reshape(shape)
        at += int(np.prod(shape))
    assert at == len(result.stdout)
    return found


def _write_network(network: Network, graph: Graph, folder: Path, kernel_set: str, keep_apart: bool) -> dict[str, bytes]:
    """Write litesight_network.c and .h of a network; the kernels' sources by name."""
    kernels = kernel_sets.kernels_for(graph, kernel_set)
    rows = row_graph(graph, [kernel.scratch_bytes for kernel in kernels])
    plan = planner.plan(rows)
    if keep_apart:
        plan = apart(rows, plan)
    tables = network_tables(graph, kernels, plan)
    context: dict[str, Any] = {
        "source": {"name": network.name, "license": "Apache-2.0", "sha256": "0"},
        "tables": tables,
    }
    (folder / network.name).mkdir()
    for name in ("litesight_network.c", "litesight_network.h"):
        (folder / network.name / name).write_bytes(export_files.render(f"static/{name}.j2", context))
    (folder / network.name / "litesight_model.h").write_text(
        f"#define LITESIGHT_ARENA_BYTES {tables.arena_bytes}\n"
        f"#define LITESIGHT_CLASSES {graph.features[graph.output].size_bytes}\n"
    )
    gaps = _gaps(rows, plan) if keep_apart else []
    text = _UNIT.format(
        name=network.name,
        gaps=", ".join(f"{{{first}, {end}}}" for first, end in gaps) or "{0, 0}",
        gap_count=max(len(gaps), 1),
        canary=CANARY,
    )
    (folder / f"{network.name}_unit.c").write_text(text)
    sources = kernel_sets.source_files(kernels, kernel_set)
    # The engine depends on the network, the kernels do not.
    (folder / network.name / ENGINE).write_bytes(sources.pop(ENGINE))
    return sources


def _gaps(rows: RowGraph, plan: Plan) -> list[tuple[int, int]]:
    used = [
        (storage.offset, storage.offset + storage.rows * tensor.row_bytes)
        for storage, tensor in zip(plan.storages, rows.tensors, strict=True)
    ]
    used += [(at, at + op.scratch_bytes) for at, op in zip(plan.scratch, rows.ops, strict=True) if at >= 0]
    used += [(at, at + op.state_bytes) for at, op in zip(plan.state, rows.ops, strict=True) if at >= 0]
    used.sort()
    ends = [0, *(end for _, end in used)]
    starts = [*(start for start, _ in used), plan.arena_bytes]
    return [(end, start) for end, start in zip(ends, starts, strict=True) if start > end]


def _main_text(networks: Sequence[Network], graphs: Sequence[Graph]) -> str:
    declarations, entries = [], []
    for network, graph in zip(networks, graphs, strict=True):
        name, source = network.name, graph.features[graph.input]
        declarations.append(
            f"litesight_status {name}_init(void);\n"
            f"litesight_status {name}_run(litesight_input_rows next_row, void *context, int8_t *output);\n"
            f"void {name}_fill(void);\nint {name}_intact(void);"
        )
        sizes = (len(network.inputs), source.height, source.row_bytes, graph.features[graph.output].size_bytes)
        functions = ", ".join(f"{name}_{function}" for function in ("init", "run", "fill", "intact"))
        entries.append(f'  {{"{name}", {functions}, {", ".join(map(str, sizes))}}},')
    return _MAIN.format(declarations="\n".join(declarations), entries="\n".join(entries))
