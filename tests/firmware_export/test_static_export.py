# SPDX-License-Identifier: Apache-2.0
"""The static export compiles everywhere without a warning, tells its own size, and gives TFLM's bytes on the host."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from device.errors import LitesightError
from firmware_export import static_export
from firmware_export.export_source import ExportSource, open_source
from firmware_export.static_engine import planner
from firmware_export.static_engine.kernel import KERNEL_SETS, PORTABLE, kernel_set_for
from firmware_export.static_engine.plan import Plan, RowGraph
from tests.firmware_export import static_networks
from tests.firmware_export.static_host import SANITIZERS, WARNINGS, Run

Tool = Callable[[str], str]

ARM = {"cortex-m0plus": PORTABLE, "cortex-m3": PORTABLE, "cortex-m4": "dsp", "cortex-m55": "mve"}


@functools.cache
def opened(folder: Path) -> ExportSource:
    path = folder / "everything.tflite"
    path.write_bytes(static_networks.everything())
    return open_source(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def source(folder: Path, require_oracle: None) -> ExportSource:
    """A network with a layer for every kernel, run through TFLM once for all tests."""
    return opened(folder)


def write(source: ExportSource, target: Path, kernel_set: str = PORTABLE) -> Path:
    static_export.write(static_export.build(source, kernel_set), target)
    return target


def test_two_runs_give_identical_bytes_without_paths_or_dates(source: ExportSource, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(source, tmp_path / name)
    assert (tmp_path / "a" / "export.json").read_bytes() == (tmp_path / "b" / "export.json").read_bytes()
    for path in (tmp_path / "a").rglob("*.*"):
        text = path.read_text()
        assert "/tmp/" not in text
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b|__DATE__|__TIME__", text)


def test_the_manifest_lists_every_file_and_the_sizes(source: ExportSource, tmp_path: Path) -> None:
    target = write(source, tmp_path / "out")
    document = json.loads((target / "export.json").read_text())
    found = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    assert set(found) == {*document["files"], "export.json"}
    assert {"memory_map.txt", "memory_map.csv", "memory_map.svg", "README.md"} < set(found)
    for name, facts in document["files"].items():
        assert facts["sha256"] == hashlib.sha256(found[name].read_bytes()).hexdigest()
    assert document["engine"] == "static"
    assert document["kernels"] == "portable"
    memory = document["memory"]
    assert memory["ram_bytes"] == sum(memory[f"{part}_bytes"] for part in ("arena", "engine", "workspace", "output"))
    assert memory["flash_bytes"] == sum(memory[f"{part}_bytes"] for part in ("weights", "network", "table"))
    assert sum(layer["macs"] for layer in document["layers"]) == document["model"]["macs"]
    readme = (target / "README.md").read_text()
    for part in ("weights", "network", "table", "golden", "arena", "engine", "workspace", "output"):
        assert f"| {memory[f'{part}_bytes']} |" in readme


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_example_gives_the_golden_bytes_from_memory_and_from_rows(
    source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run, compiler: str
) -> None:
    target = write(source, tmp_path / "out")
    sources = [str(path) for folder in ("src", "example") for path in sorted((target / folder).glob("*.c"))]
    command = [require_tool(compiler), "-std=c11", *WARNINGS, *SANITIZERS, f"-I{target}/src", f"-I{target}/example"]
    run_tool([*command, "-o", str(tmp_path / "program"), *sources])
    lines = run_tool([str(tmp_path / "program")]).splitlines()
    arena = static_export.build(source).memory.arena_bytes
    # The self test runs from memory; the labels come from the same frame, delivered row by row.
    assert lines[:2] == [f"arena: {arena} of {arena} bytes", "golden: 0 bytes differ"]
    best = max(range(len(source.labels)), key=lambda i: (int(source.golden.outputs[0][i]), -i))
    assert lines[2].startswith(f"{source.labels[best]}: ")


@pytest.mark.parametrize("core", ARM)
def test_the_c_sources_compile_for_arm_and_are_as_large_as_stated(
    source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run, core: str
) -> None:
    target = write(source, tmp_path / "out", ARM[core])
    gcc = require_tool("arm-none-eabi-gcc")
    abi = "hard" if core == "cortex-m55" else "soft"
    command = [gcc, f"-mcpu={core}", "-mthumb", f"-mfloat-abi={abi}", "-std=c11", "-O1", *WARNINGS, f"-I{target}/src"]
    own = sorted(str(path) for path in (target / "src").glob("*.c"))
    run_tool([*command, "-c", *own], cwd=tmp_path)

    memory = static_export.build(source, ARM[core]).memory
    network = section_bytes(run_tool([require_tool("arm-none-eabi-size"), "-A", "litesight_network.o"], cwd=tmp_path))
    stated = memory.weights_bytes + memory.network_bytes
    # Sections are aligned: a few bytes between arrays.
    assert stated <= network["rodata"] <= stated + 64
    assert "data" not in network
    engine = section_bytes(run_tool([require_tool("arm-none-eabi-size"), "-A", "litesight_static.o"], cwd=tmp_path))
    assert memory.arena_bytes + memory.engine_bytes <= engine["bss"] <= memory.arena_bytes + memory.engine_bytes + 8

    nm = require_tool("arm-none-eabi-nm")
    undefined = set(re.findall(r" U (\w+)", run_tool([nm, "-u", *sorted(str(p) for p in tmp_path.glob("*.o"))])))
    foreign = {name for name in undefined if not name.startswith(("litesight_", "__aeabi_", "__gnu_thumb1_case"))}
    assert foreign <= {"memcpy", "memset"}, "no heap, no library"
    assert not {name for name in undefined if re.match(r"__aeabi_[fd]", name)}, "no floating point"


def section_bytes(table: str) -> dict[str, int]:
    """Bytes of sections, those of one kind together."""
    sizes: dict[str, int] = {}
    for kind, size in re.findall(r"^\.(\w+)\S*\s+(\d+)", table, re.MULTILINE):
        if int(size):
            sizes[kind] = sizes.get(kind, 0) + int(size)
    return sizes


def test_the_headers_compile_as_cpp(source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run) -> None:
    target = write(source, tmp_path / "out")
    unit = tmp_path / "unit.cc"
    # Twice, for the include guards.
    unit.write_text(2 * "".join(f'#include "{path}"\n' for path in sorted((target / "src").glob("*.h"))))
    run_tool([require_tool("g++"), "-std=c++17", *WARNINGS, "-fsyntax-only", f"-I{target}/src", str(unit)])


def test_the_step_hook_is_called_after_every_step(
    source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run
) -> None:
    target = write(source, tmp_path / "out")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "litesight.h"\n#include "litesight_golden.h"\n#include "litesight_network.h"\n'
        "static size_t at;\nvoid litesight_step_done(uint32_t op);\n"
        'void litesight_step_done(uint32_t op) { if (litesight_steps[at++] != op) puts("wrong op"); }\n'
        "int main(void) {\n  if (litesight_init() || litesight_run(litesight_golden_inputs[0])) return 1;\n"
        "  return at != LITESIGHT_STEPS;\n}\n"
    )
    sources = [str(path) for path in sorted((target / "src").glob("*.c"))]
    command = [require_tool("gcc"), "-std=c11", *WARNINGS, "-DLITESIGHT_STEP_HOOK", f"-I{target}/src"]
    run_tool([*command, "-o", str(tmp_path / "program"), "main.c", *sources], cwd=tmp_path)
    assert run_tool([str(tmp_path / "program")]) == ""


def test_a_wrong_plan_is_never_written(source: ExportSource, monkeypatch: pytest.MonkeyPatch) -> None:
    right = planner.plan

    def wrong(graph: RowGraph) -> Plan:
        plan = right(graph)
        return Plan(**{**vars(plan), "arena_bytes": plan.arena_bytes - 4})

    monkeypatch.setattr(planner, "plan", wrong)
    with pytest.raises(LitesightError, match="the memory plan is wrong: "):
        static_export.build(source)


def test_the_kernel_set_follows_from_the_core() -> None:
    assert kernel_set_for(frozenset()) == PORTABLE
    assert kernel_set_for({"dsp", "fpu-sp"}) == "dsp"
    assert kernel_set_for({"mve", "dsp"}) == "mve"
    assert set(ARM.values()) == set(KERNEL_SETS)
