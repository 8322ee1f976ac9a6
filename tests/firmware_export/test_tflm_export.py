# SPDX-License-Identifier: Apache-2.0
"""The exported sources compile everywhere without a warning, and do on the host what they are to do on a chip."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device.bundle import Golden
from device.preprocess import InputSpec, PixelFormat, Preprocessor
from firmware_export import export_files, probability, tflm_export
from firmware_export.export_source import ExportSource, open_source

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-pedantic"]
SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

# Stands for TFLM: reads the rows as an engine must, and knows the golden vectors by heart.
FAKE_ENGINE = r"""
#include <stdlib.h>
#include <string.h>
#include "litesight_engine.h"
#include "litesight_golden.h"
static int8_t input[LITESIGHT_INPUT_BYTES];
litesight_status litesight_engine_init(void) { return LITESIGHT_OK; }
size_t litesight_engine_arena_used(void) { return 4242; }
litesight_status litesight_engine_run(litesight_input_rows next_row, void *context, int8_t *output) {
  size_t row_values = LITESIGHT_INPUT_BYTES / LITESIGHT_INPUT_HEIGHT;
  for (size_t row = 0; row < LITESIGHT_INPUT_HEIGHT; ++row) {
    litesight_status status = next_row(context, input + row * row_values);
    if (status != LITESIGHT_OK) return status;
  }
  for (size_t i = 0; i < LITESIGHT_GOLDEN_COUNT; ++i) {
    if (memcmp(input, litesight_golden_inputs[i], sizeof input) == 0) {
      memcpy(output, litesight_golden_outputs[i], LITESIGHT_CLASSES);
      if (getenv("FAKE_ERROR") != NULL) output[0] = (int8_t)(output[0] + 1);
      return LITESIGHT_OK;
    }
  }
  memset(output, 0, LITESIGHT_CLASSES);
  memcpy(output, input, LITESIGHT_CLASSES < LITESIGHT_INPUT_BYTES ? LITESIGHT_CLASSES : LITESIGHT_INPUT_BYTES);
  return LITESIGHT_OK;
}
"""

Run = Callable[..., str]
Tool = Callable[[str], str]


def variant(source: ExportSource, name: str) -> ExportSource:
    """The tiny network with another input or output; its weights do not matter where no TFLM runs."""
    if name == "default":
        return source
    if name == "softmax":
        return dataclasses.replace(source, is_probability=True)
    if name == "table":
        return dataclasses.replace(source, spec=dataclasses.replace(source.spec, mean=(100.0, 128.0, 128.0)))
    if name == "bgr":
        return dataclasses.replace(source, spec=dataclasses.replace(source.spec, color="BGR"))
    assert name == "grey"
    tensors = list(source.model.tensors)
    index = source.model.inputs[0]
    tensors[index] = dataclasses.replace(tensors[index], shape=(1, 16, 16, 1))
    return dataclasses.replace(
        source,
        model=dataclasses.replace(source.model, tensors=tuple(tensors)),
        spec=InputSpec(16, 16, 1, "GREY"),
        golden=Golden(source.golden.inputs[..., :1].copy(), source.golden.outputs, source.golden.oracle),
    )


VARIANTS = ("default", "softmax", "table", "bgr", "grey")


def write(source: ExportSource, target: Path) -> Path:
    tflm_export.write(tflm_export.build(source), target)
    return target


@pytest.fixture
def bundle_source(make_bundle: Callable[..., Path], require_oracle: None) -> ExportSource:
    """A bundle with a hostile name and hostile labels."""
    return open_source(make_bundle())


def test_two_runs_give_identical_bytes_without_paths_or_dates(bundle_source: ExportSource, tmp_path: Path) -> None:
    first, second = tflm_export.build(bundle_source), tflm_export.build(open_source(tmp_path / "bundle"))
    assert first.files == second.files
    tflm_export.write(first, tmp_path / "a")
    tflm_export.write(second, tmp_path / "b")
    assert (tmp_path / "a" / "export.json").read_bytes() == (tmp_path / "b" / "export.json").read_bytes()
    for path in (tmp_path / "a").rglob("*.*"):
        text = path.read_text()
        assert str(tmp_path) not in text
        assert "/tmp/" not in text
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b|__DATE__|__TIME__", text)


def test_the_manifest_lists_every_file_and_the_sizes(tiny_source: ExportSource, tmp_path: Path) -> None:
    target = write(tiny_source, tmp_path / "out")
    document = json.loads((target / "export.json").read_text())
    found = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    assert set(found) == {*document["files"], "export.json"}
    for name, facts in document["files"].items():
        data = found[name].read_bytes()
        assert facts == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert document["model"]["sha256"] == hashlib.sha256(tiny_source.data).hexdigest()
    memory = document["memory"]
    assert memory["arena_host_bytes"] == tiny_source.arena.bytes
    assert document["arena_source"] == "measured"
    assert memory["arena_bytes"] >= memory["arena_host_bytes"] + 1024
    assert memory["ram_bytes"] >= memory["arena_bytes"] + memory["workspace_bytes"]


ARM = ("cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m55")


@pytest.mark.parametrize("name", VARIANTS)
def test_the_c_sources_compile_for_arm_without_a_warning(
    tiny_source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run, name: str
) -> None:
    target = write(variant(tiny_source, name), tmp_path / "out")
    gcc = require_tool("arm-none-eabi-gcc")
    sources = sorted(str(path) for folder in ("src", "example") for path in (target / folder).glob("*.c"))
    if name != "default":
        sources = [path for path in sources if Path(path).name in ("litesight.c", "litesight_model.c", "main.c")]
    for core in ARM if name == "default" else ARM[:1]:
        command = [gcc, f"-mcpu={core}", "-mthumb", "-std=c11", "-O1", *WARNINGS]
        run_tool([*command, f"-I{target}/src", f"-I{target}/example", "-c", *sources], cwd=tmp_path)


def test_the_arena_of_a_core_with_mve_is_the_larger_one(
    tiny_source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run
) -> None:
    target = write(tiny_source, tmp_path / "out")
    arena = tflm_export.build(tiny_source).memory.arena
    assert arena.total_bytes < arena.mve_total_bytes
    for core, expected in (("cortex-m4", arena.total_bytes), ("cortex-m55", arena.mve_total_bytes)):
        (tmp_path / "arena.c").write_text(
            f'#include "litesight.h"\n_Static_assert(LITESIGHT_ARENA_BYTES == {expected}, "");\n'
        )
        gcc = require_tool("arm-none-eabi-gcc")
        # Without a hardware float ABI the compiler leaves MVE out, and with it do CMSIS-NN's kernels.
        command = [gcc, f"-mcpu={core}", "-mfloat-abi=hard", "-mthumb", f"-I{target}/src", "-fsyntax-only"]
        run_tool([*command, str(tmp_path / "arena.c")])


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_the_headers_compile_as_cpp(
    tiny_source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run, compiler: str
) -> None:
    target = write(tiny_source, tmp_path / "out")
    headers = sorted((target / "src").glob("*.h")) + sorted((target / "example").glob("*.h"))
    for header in headers:
        unit = tmp_path / "unit.cc"
        # Twice, for the include guard.
        unit.write_text(f'#include "{header}"\n#include "{header}"\nint main() {{ return 0; }}\n')
        command = [require_tool(compiler), "-std=c++17", *WARNINGS, "-fsyntax-only"]
        run_tool([*command, f"-I{target}/src", str(unit)])


def build_on_host(target: Path, compiler: str, run_tool: Run, main: Path, flags: tuple[str, ...] = SANITIZERS) -> Path:
    """Compile an export with the fake engine."""
    engine = target.parent / "fake_engine.c"
    engine.write_text(FAKE_ENGINE)
    sources = [str(path) for path in sorted((target / "src").glob("*.c"))]
    sources += [str(main), str(target / "example" / "litesight_log.c"), str(engine)]
    program = target.parent / "program"
    command = [compiler, "-std=c11", *WARNINGS, *flags, f"-I{target}/src", f"-I{target}/example", "-o", str(program)]
    run_tool([*command, *sources])
    return program


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_example_tests_itself_and_prints_the_labels(
    bundle_source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run, compiler: str
) -> None:
    # A bundle refuses such a label; whoever builds a source otherwise shall get valid C all the same.
    bundle_source = dataclasses.replace(bundle_source, labels=(*bundle_source.labels[:3], "\x071\u2028end"))
    target = write(bundle_source, tmp_path / "out")
    program = build_on_host(target, require_tool(compiler), run_tool, target / "example" / "main.c")
    output = bundle_source.golden.outputs[0]
    scale = bundle_source.model.output.scales[0]
    shares = probability.probabilities(output, scale, 0, is_probability=False)
    best = sorted(range(4), key=lambda i: -int(output[i]))[:3]
    arena = tflm_export.build(bundle_source).memory.arena.total_bytes
    expected = [f"arena: 4242 of {arena} bytes", "golden: 0 bytes differ"]
    expected += [f"{bundle_source.labels[i]}: {(int(shares[i]) * 1000 + 32768) // 65536} per mille" for i in best]
    assert run_tool([str(program)]).split("\n") == [*expected, ""]

    said = run_tool([str(program)], status=1, env={"FAKE_ERROR": "1"})
    assert "golden: 2 bytes differ" in said
    assert "self test: the output differs from the golden vector" in said


@pytest.mark.parametrize("name", VARIANTS[1:])
def test_every_kind_of_input_classifies_its_golden_frame(
    tiny_source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run, name: str
) -> None:
    """The built-in frame must come out of the preprocessing as the golden input that it was made from."""
    source = variant(tiny_source, name)
    target = write(source, tmp_path / "out")
    program = build_on_host(target, require_tool("gcc"), run_tool, target / "example" / "main.c", ("-O0",))
    lines = run_tool([str(program)]).splitlines()
    assert lines[1] == "golden: 0 bytes differ"
    output = source.golden.outputs[0]
    model = source.model.output
    shares = probability.probabilities(
        output, model.scales[0], model.zero_points[0], is_probability=source.is_probability
    )
    best = int(np.argmax(output))
    assert lines[2] == f"{source.labels[best]}: {(int(shares[best]) * 1000 + 32768) // 65536} per mille"


PROBE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "litesight.h"
static uint8_t frame[FRAME_BYTES];
static const uint8_t *no_row(void *context, int32_t row) { (void)context; return row < 3 ? frame : NULL; }
int main(void) {
  litesight_result r[LITESIGHT_CLASSES + 1];
  int8_t zero[LITESIGHT_INPUT_BYTES] = {0};
  if (fread(frame, 1, sizeof frame, stdin) != sizeof frame) return 1;
  printf("%d %d ", litesight_run(zero), litesight_classify(LITESIGHT_RGB888, 37, 23, 111, frame, r, 1));
  printf("%d %d\n", litesight_init(), litesight_init());
  printf("%d %d %d ", litesight_classify(LITESIGHT_RGB888, 37, 23, 110, frame, r, 1),
         litesight_classify(LITESIGHT_RGB888, 37, 23, 111, NULL, r, 1),
         litesight_classify(LITESIGHT_RGB888, 37, 23, 111, frame, NULL, 1));
  printf("%d %d %d ", litesight_classify(LITESIGHT_RGB888, 37, 23, 111, frame, r, 0),
         litesight_classify(LITESIGHT_RGB888, 37, 23, 111, frame, r, LITESIGHT_CLASSES + 1),
         litesight_classify((litesight_pixel_format)99, 37, 23, 111, frame, r, 1));
  printf("%d %d %d ", litesight_classify(LITESIGHT_RGB888, 0, 23, 111, frame, r, 1),
         litesight_classify(LITESIGHT_RGB888, INT32_MAX, 23, 111, frame, r, 1),
         litesight_classify(LITESIGHT_RGB888, 37, -1, 111, frame, r, 1));
  printf("%d %d %d\n", litesight_run(NULL), litesight_rank(NULL, r, 1), litesight_classify_rows(NULL, r, 1));
  if (litesight_classify(LITESIGHT_RGB888, 37, 23, 111, frame, r, LITESIGHT_CLASSES) != LITESIGHT_OK) return 2;
  for (int i = 0; i < LITESIGHT_CLASSES; ++i) printf("%d:%d:%s ", r[i].index, r[i].score, r[i].label);
  litesight_frame broken = {37, 23, LITESIGHT_RGB888, no_row, NULL};
  int8_t before[LITESIGHT_CLASSES];
  memcpy(before, litesight_output(), sizeof before);
  printf("\n%d ", litesight_classify_rows(&broken, r, 1));
  printf("%d\n", memcmp(before, litesight_output(), sizeof before));
  return 0;
}
"""


def test_the_interface_preprocesses_as_training_did_and_refuses_nonsense(
    tiny_source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run
) -> None:
    target = write(tiny_source, tmp_path / "out")
    probe = tmp_path / "probe.c"
    probe.write_text(PROBE)
    flags = (*SANITIZERS, "-DFRAME_BYTES=37*23*3")
    program = build_on_host(target, require_tool("clang"), run_tool, probe, flags)
    frame = np.random.default_rng(3).integers(0, 256, (23, 37, 3), np.uint8)
    (tmp_path / "frame").write_bytes(frame.tobytes())
    with (tmp_path / "frame").open("rb") as stdin:
        lines = run_tool([str(program)], stdin=stdin).splitlines()
    assert lines[0] == "2 2 0 0", "before litesight_init everything is refused"
    assert lines[1].split() == ["1"] * 12
    # The fake engine returns the first values of its input as scores.
    scores = Preprocessor(tiny_source.spec)(frame, format=PixelFormat.RGB888).reshape(-1)[:4]
    order = sorted(range(4), key=lambda i: (-int(scores[i]), i))
    assert lines[2].split() == [f"{i}:{scores[i]}:class{i}" for i in order]
    assert lines[3] == "3 0", "a source that fails leaves the latest output alone"


def test_the_model_in_flash_is_the_model(
    tiny_source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run
) -> None:
    target = write(tiny_source, tmp_path / "out")
    dump = tmp_path / "dump.c"
    dump.write_text(
        '#include <stdint.h>\n#include <stdio.h>\n#include "litesight_model_data.h"\n'
        "int main(void) {\n"
        "  if ((uintptr_t)litesight_model_data % 16 != 0) return 1;\n"
        "  return fwrite(litesight_model_data, LITESIGHT_MODEL_DATA_BYTES, 1, stdout) != 1;\n}\n"
    )
    program = tmp_path / "dump"
    source = str(target / "src" / "litesight_model_data.c")
    run_tool([require_tool("gcc"), "-std=c11", *WARNINGS, f"-I{target}/src", str(dump), source, "-o", str(program)])
    run_tool(["sh", "-c", f"{program} > {tmp_path}/model"])
    assert (tmp_path / "model").read_bytes() == tiny_source.data
    gcc, nm = require_tool("arm-none-eabi-gcc"), require_tool("arm-none-eabi-nm")
    run_tool([gcc, "-mcpu=cortex-m4", "-std=c11", f"-I{target}/src", "-c", source, "-o", str(tmp_path / "arm.o")])
    # The host may align the array by accident; the object for the chip says what was asked for.
    sections = run_tool([require_tool("arm-none-eabi-objdump"), "-h", str(tmp_path / "arm.o")])
    assert re.search(r" \.rodata .* 2\*\*4$", sections, re.MULTILINE)
    # "R" is read-only data: the array must not be copied to RAM at start-up.
    assert re.search(r" R litesight_model_data$", run_tool([nm, str(tmp_path / "arm.o")]), re.MULTILINE)


def test_nothing_but_the_engine_uses_heap_or_floating_point(
    tiny_source: ExportSource, tmp_path: Path, require_tool: Tool, run_tool: Run
) -> None:
    target = write(tiny_source, tmp_path / "out")
    gcc, nm = require_tool("arm-none-eabi-gcc"), require_tool("arm-none-eabi-nm")
    sources = sorted(str(path) for path in (target / "src").glob("*.c"))
    run_tool(
        [gcc, "-mcpu=cortex-m0plus", "-mthumb", "-std=c11", "-O2", f"-I{target}/src", "-c", *sources], cwd=tmp_path
    )
    undefined = set(re.findall(r" U (\w+)", run_tool([nm, "-u", *sorted(str(p) for p in tmp_path.glob("*.o"))])))
    own = {name for name in undefined if name.startswith("litesight_")}
    helpers = {"memcpy", "memset", "__aeabi_uidiv", "__aeabi_idiv", "__aeabi_uidivmod", "__aeabi_idivmod"}
    helpers |= {"__aeabi_uldivmod", "__aeabi_lmul", "__gnu_thumb1_case_uqi", "__gnu_thumb1_case_sqi"}
    assert undefined - own <= helpers


def test_the_resolver_has_as_many_places_as_ops(tiny_source: ExportSource) -> None:
    text = tflm_export.build(tiny_source).files["src/litesight_tflm.cc"].decode()
    calls = re.findall(r"resolver\.(Add\w+)\(", text)
    assert calls == ["AddAdd", "AddConv2D", "AddDepthwiseConv2D", "AddFullyConnected", "AddMean"]
    assert "MicroMutableOpResolver<5>" in text
    assert "resolver.AddConv2D(tflite::Register_CONV_2D_INT8())" in text


def test_the_readme_says_what_it_costs(tiny_source: ExportSource) -> None:
    export = tflm_export.build(tiny_source)
    readme = export.files["README.md"].decode()
    for number in (export.memory.arena.total_bytes, export.memory.model_bytes, export.memory.workspace_bytes):
        assert f"| {number} |" in readme


def test_the_workspace_in_the_table_is_the_one_in_the_header(tmp_path: Path, require_tool: Tool, run_tool: Run) -> None:
    room = Path(sys.modules[tflm_export.__name__].__file__ or "").parent / "c"
    checks = "\n".join(
        f"_Static_assert(LITESIGHT_PREPROCESS_WORKSPACE_BYTES({width}, {channels}) == "
        f'{export_files.workspace_bytes(width, channels)}, "");'
        for width in (1, 2, 17, 18, 96, 224, 2048)
        for channels in (1, 3)
    )
    (tmp_path / "check.c").write_text(f'#include "litesight_preprocess.h"\n{checks}\n')
    run_tool([require_tool("gcc"), "-std=c11", f"-I{room}", "-fsyntax-only", str(tmp_path / "check.c")])


def test_large_inputs_bring_one_golden_vector(tiny_source: ExportSource) -> None:
    assert tflm_export.build(tiny_source).memory.golden_bytes == 2 * (16 * 16 * 3 + 4)
    tensors = list(tiny_source.model.tensors)
    tensors[0] = dataclasses.replace(tensors[0], shape=(1, 224, 224, 3))
    large = dataclasses.replace(tiny_source, model=dataclasses.replace(tiny_source.model, tensors=tuple(tensors)))
    assert tflm_export.build(large).memory.golden_bytes == 224 * 224 * 3 + 4
