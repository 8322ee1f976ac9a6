# SPDX-License-Identifier: Apache-2.0
"""The firmware's side of the serial line, as a process on a pseudo-terminal: what the runner of MLPerf Tiny sends and
expects (mlcommons/tiny, benchmark/runner: device_under_test.py, serial_device.py, script.py), and garbage.
"""

from __future__ import annotations

import os
import pty
import random
import re
import select
import subprocess
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from boards.build import PORTS
from firmware_export import firmware, probability, tflm_export
from firmware_export.export_source import ExportSource

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-pedantic")
SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
RUNNER_BYTES = 31  # DUT._max_bytes without a power manager
READY = "m-ready"
OPS = 300  # more than a byte counts

# Stands for an engine: every output is a sum over the inputs, so that each byte of the frame matters.
FAKE_ENGINE = r"""
#include <string.h>
#include "litesight_engine.h"
#include "litesight_firmware.h"
#include "litesight_model.h"
#ifdef LITESIGHT_STEP_HOOK
void litesight_step_done(uint32_t op);
#endif
litesight_status litesight_engine_init(void) { return LITESIGHT_OK; }
size_t litesight_engine_arena_used(void) { return 4242; }
litesight_status litesight_engine_run(litesight_input_rows next_row, void *context, int8_t *output) {
  static int8_t row[LITESIGHT_INPUT_WIDTH * LITESIGHT_INPUT_CHANNELS];
  uint8_t sums[LITESIGHT_CLASSES] = {0};
  for (size_t y = 0; y < LITESIGHT_INPUT_HEIGHT; ++y) {
    litesight_status status = next_row(context, row);
    if (status != LITESIGHT_OK) return status;
    for (size_t i = 0; i < sizeof row; ++i) {
      uint8_t *sum = &sums[i % LITESIGHT_CLASSES];
      *sum = (uint8_t)(*sum * 3u + (uint8_t)row[i]);
    }
#ifdef LITESIGHT_STEP_HOOK
    litesight_step_done(0);
#endif
  }
  memcpy(output, sums, sizeof sums);
#ifdef LITESIGHT_STEP_HOOK
  litesight_step_done(LITESIGHT_FIRMWARE_OPS - 1);
#endif
  return LITESIGHT_OK;
}
"""


def fake_output(values: NDArray[np.int8], classes: int) -> bytes:
    """What FAKE_ENGINE makes of an input."""
    sums = [0] * classes
    for row in values.reshape(values.shape[0], -1).view(np.uint8):
        for index, value in enumerate(row.tolist()):
            sums[index % classes] = (sums[index % classes] * 3 + value) & 255
    return bytes(sums)


def decimals(probabilities: NDArray[np.uint32]) -> str:
    """Six decimals each, the last one rounded."""
    millionths = [(int(p) * 1_000_000 + probability.ONE // 2) // probability.ONE for p in probabilities]
    return ",".join(f"{m // 1_000_000}.{m % 1_000_000:06d}" for m in millionths)


Compile = Callable[..., Path]


@pytest.fixture(scope="module")
def compile_firmware(
    tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str], run_tool: Callable[..., str]
) -> Compile:
    """The firmware as a program of this machine, around the fake engine."""
    made: dict[tuple[object, ...], Path] = {}

    def compile_one(source: ExportSource, form: str, *flags: str, compiler: str = "gcc") -> Path:
        key = (source.spec, source.is_probability, form, flags, compiler)
        if key not in made:
            directory = tmp_path_factory.mktemp("firmware")
            files = {
                Path(name).name: content
                for name, content in tflm_export.build(source).files.items()
                if Path(name).name.startswith(
                    ("litesight_model.", "litesight_score.", "litesight_engine.", "litesight_status.")
                )
            }
            files |= firmware.serial_files("host", form, OPS)
            files["fake_engine.c"] = FAKE_ENGINE.encode()
            for name, content in files.items():
                (directory / name).write_bytes(content)
            program = directory / "firmware"
            sources = [str(directory / name) for name in files if name.endswith(".c")]
            run_tool(
                [
                    require_tool(compiler),
                    "-std=c11",
                    *WARNINGS,
                    *(flags or SANITIZERS),
                    "-DLITESIGHT_CLOCK_HZ=1000000u",
                    f"-I{directory}",
                    f"-I{PORTS}",
                    *sources,
                    *(str(path) for path in firmware.HOST_SOURCES),
                    "-o",
                    str(program),
                ]
            )
            made[key] = program
        return made[key]

    return compile_one


class Runner:
    """A terminal's other end, used as the runner uses it: a command, '%', then lines until one has "m-ready"."""

    def __init__(self, terminal: int) -> None:
        self.terminal = terminal
        self.buffer = b""

    def line(self) -> str:
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.terminal], [], [], 10.0)
            assert ready, f"silence after {self.buffer!r}"
            self.buffer += os.read(self.terminal, 4096)
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.replace(b"\r", b"").replace(b"\0", b"").decode("ascii")

    def answer(self) -> list[str]:
        lines = [self.line()]
        while READY not in lines[-1]:
            lines.append(self.line())
        return lines

    def send(self, command: str) -> list[str]:
        os.write(self.terminal, f"{command}%".encode())
        return self.answer()

    def load(self, data: bytes) -> list[str]:
        answer = self.send(f"db load {len(data)}")
        for start in range(0, len(data), RUNNER_BYTES):
            answer = self.send("db " + "".join(f"{byte:02x}" for byte in data[start : start + RUNNER_BYTES]))
        return answer


@contextmanager
def booted(program: Path) -> Iterator[Runner]:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    process = subprocess.Popen([program], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    try:
        runner = Runner(ours)
        assert runner.answer() == ["m-init-done", READY]
        yield runner
        # A sanitiser's report would have ended the process.
        assert process.poll() is None
    finally:
        os.close(ours)
        process.kill()
        process.communicate()


@pytest.fixture
def frame(compile_firmware: Compile, tiny_source: ExportSource) -> Iterator[Runner]:
    with booted(compile_firmware(tiny_source, "frame")) as runner:
        yield runner


@pytest.fixture
def rows(compile_firmware: Compile, tiny_source: ExportSource) -> Iterator[Runner]:
    with booted(compile_firmware(tiny_source, "rows")) as runner:
        yield runner


def test_the_runner_learns_who_is_there(frame: Runner, tiny_source: ExportSource) -> None:
    (name, ready) = frame.send("name")
    assert re.match(r"^m-(name)-dut-\[([^]]+)]$", name)
    assert ready == READY
    profile = frame.send("profile")
    matches = [re.match(r"^m-(model|profile|sha256)-\[([^]]+)]$", line) for line in profile]
    facts = {match.group(1): match.group(2) for match in matches if match}
    assert facts["model"] == "tiny_int8"
    assert facts["sha256"] == tiny_source.sha256
    assert re.match(r"^m-lap-us-([0-9]+)$", frame.send("timestamp")[0])
    assert len(frame.send("help")) > 5


def test_an_inference_of_the_runner_gives_times_and_probabilities(frame: Runner, tiny_source: ExportSource) -> None:
    pixels = random.Random(1).randbytes(768)
    assert frame.load(pixels) == ["m-load-done", READY]
    answer = frame.send("infer 3 2")
    laps = [line for line in answer if re.match(r"^m-lap-us-([0-9]+)$", line)]
    assert [line for line in answer if line not in laps and not line.startswith("m-results")] == [
        "m-warmup-start-2",
        "m-warmup-done",
        "m-infer-start-3",
        "m-infer-done",
        READY,
    ]
    assert len(laps) == 2
    values = (np.frombuffer(pixels, np.uint8) ^ 0x80).view(np.int8).reshape(16, 16, 3)
    expected = np.frombuffer(fake_output(values, 4), np.int8)
    match = re.match(r"^m-results-\[([^]]+)\]$", answer[-2])
    assert match
    output = tiny_source.model.output
    wanted = probability.probabilities(expected, output.scales[0], output.zero_points[0], is_probability=False)
    assert match.group(1) == decimals(wanted)
    assert frame.send("results")[0] == answer[-2]


def test_a_second_load_replaces_the_first_even_half_way(frame: Runner) -> None:
    first, second = random.Random(6).randbytes(768), random.Random(7).randbytes(768)
    frame.send("bytes int8")
    frame.load(first)
    frame.send("db load 768")
    frame.send("db " + first[:31].hex())
    assert frame.load(second) == ["m-load-done", READY]
    frame.send("infer 1 0")
    expected = fake_output(np.frombuffer(second, np.int8).reshape(16, 16, 3), 4)
    assert frame.send("output")[0] == f"m-output-[{expected.hex()}]"


def test_quantised_inputs_arrive_as_they_are_and_outputs_are_exact(frame: Runner, rows: Runner) -> None:
    values = np.random.default_rng(2).integers(-128, 128, (16, 16, 3), np.int8)
    expected = f"m-output-[{fake_output(values, 4).hex()}]"
    assert frame.send("bytes int8") == [READY]
    frame.load(values.tobytes())
    frame.send("infer 1 0")
    assert frame.send("output") == [expected, READY]

    rows.send("bytes int8")
    done = rows.send("rows")
    for index, row in enumerate(values):
        assert done == [f"m-row-{index}", READY]
        done = rows.send(row.tobytes().hex())
    assert done[0] == "m-rows-done"
    assert done[1].startswith("m-results-[")
    assert rows.send("output") == [expected, READY]


def test_pixels_are_quantised_by_the_networks_own_table(compile_firmware: Compile, tiny_source: ExportSource) -> None:
    from dataclasses import replace

    source = replace(tiny_source, spec=replace(tiny_source.spec, mean=(100.0, 128.0, 90.0)))
    table = source.spec.table()
    assert table is not None
    pixels = np.random.default_rng(3).integers(0, 256, (16, 16, 3), np.uint8)
    values = np.stack([table[channel][pixels[..., channel]] for channel in range(3)], axis=-1)
    for form in ("frame", "rows"):
        with booted(compile_firmware(source, form)) as runner:
            if form == "frame":
                runner.load(pixels.tobytes())
                runner.send("infer 1 0")
            else:
                runner.send("rows")
                for row in pixels:
                    runner.send(row.tobytes().hex())
            assert runner.send("output")[0] == f"m-output-[{fake_output(values, 4).hex()}]"


def test_a_network_with_its_own_softmax_is_believed(compile_firmware: Compile, tiny_source: ExportSource) -> None:
    from dataclasses import replace

    source = replace(tiny_source, is_probability=True)
    with booted(compile_firmware(source, "frame")) as runner:
        runner.load(bytes(768))
        answer = runner.send("infer 1 0")
    expected = np.frombuffer(fake_output(np.full((16, 16, 3), -128, np.int8), 4), np.int8)
    output = source.model.output
    wanted = probability.probabilities(expected, output.scales[0], output.zero_points[0], is_probability=True)
    assert answer[-2] == f"m-results-[{decimals(wanted)}]"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("infer 1 0", "e-[Input: expected 768 bytes, found 0]"),
        ("infer 0", "e-[Inference iterations must be >0]"),
        ("infer 1 -1", "e-[Inference warmup must be >=0]"),
        ("infer 99999999999", "e-[Inference iterations must be >0]"),
        ("results", "e-[No inference yet]"),
        ("output", "e-[No inference yet]"),
        ("db", "e-[Command 'db' requires a subcommand]"),
        ("db load", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 12x", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 767", "e-[Input: expected 768 bytes, found 767]"),
        ("db load 4294967296", "e-[Command 'db load' requires the # of bytes]"),
        ("db 00", "e-[No 'db load' before these bytes]"),
        ("rows", "e-[This firmware has a frame in RAM; 'db' fills it]"),
        ("bytes float", "e-[Command 'bytes' requires 'pixels' or 'int8']"),
        ("steps", "e-[This firmware was built without LITESIGHT_STEP_HOOK]"),
        ("nam]e", "e-[Unknown command: nam_e]"),
        ("x" * 79, f"e-[Unknown command: {'x' * 79}]"),
        ("x" * 80, "e-[Command too long]"),
        ("x" * 5000, "e-[Command too long]"),
    ],
)
def test_a_wrong_command_is_told_and_the_next_one_works(frame: Runner, command: str, said: str) -> None:
    assert frame.send(command) == [said, READY]
    assert frame.send("name")[0].startswith("m-name-dut-[")


def test_half_a_vector_is_not_inferred_and_a_bad_line_can_be_sent_again(frame: Runner) -> None:
    data = random.Random(4).randbytes(768)
    frame.send("bytes int8")
    frame.send("db load 768")
    frame.send("db " + data[:31].hex())
    assert frame.send("infer 1 0") == ["e-[Input: expected 768 bytes, found 31]", READY]
    assert frame.send("db 0") == ["e-[Insufficient number of hex digits]", READY]
    assert frame.send("db 00z0") == ["e-[Invalid hex digit]", READY]
    for start in range(31, 768 - 31, 31):
        frame.send("db " + data[start : start + 31].hex())
    rest = data[31 * 24 :]
    assert frame.send("db " + rest.hex() + "00") == ["e-[Input: expected 768 bytes, found 769]", READY]
    assert frame.send("db " + rest.hex()) == ["m-load-done", READY]
    assert frame.send("db 00") == ["e-[No 'db load' before these bytes]", READY]
    printed = "".join(line.removeprefix("m-buffer-").replace("-", "") for line in frame.send("db print")[:-1])
    assert bytes.fromhex(printed) == data


@pytest.mark.parametrize(
    ("row", "found"),
    [(b"", "0"), (b"00", "2"), (b"00" * 47 + b"0", "95"), (b"00" * 48 + b"1", "97"), (b"00" * 500, "97")]
    + [(bad, "other characters") for bad in (b"0g" * 48, b"00" * 48 + b"\xff", b"-", b"00" * 47 + b" 0")],
)
def test_a_wrong_row_ends_the_inference_and_the_next_one_works(rows: Runner, row: bytes, found: str) -> None:
    rows.send("bytes int8")
    assert rows.send("rows") == ["m-row-0", READY]
    assert rows.send("\r\n" + "00" * 48) == ["m-row-1", READY]
    os.write(rows.terminal, row + b"%")
    assert rows.answer() == [f"e-[Row: expected 96 hex digits, found {found}]", READY]
    assert rows.send("output")[0] == "e-[No inference yet]"
    rows.send("rows")
    assert [rows.send("00" * 48)[0] for _ in range(16)][-1] == "m-rows-done"


def test_garbage_is_survived(compile_firmware: Compile, tiny_source: ExportSource) -> None:
    """Random bytes, and pieces of commands in any order; a sanitiser would end the process with another status."""
    chance = random.Random(5)
    pieces = [
        b"db",
        b"db load ",
        b"768",
        b"infer ",
        b"rows",
        b"%",
        b" ",
        b"bytes ",
        b"int8",
        b"-1",
        b"00" * 31,
        b"print",
    ]
    for form in ("frame", "rows"):
        program = compile_firmware(tiny_source, form)
        for _ in range(6):
            garbage = b"".join(
                chance.choice(
                    [chance.choice(pieces), chance.choice(pieces), b"%", chance.randbytes(chance.randrange(200))]
                )
                for _ in range(500)
            ).replace(b"infer ", b"infer 1 0 ")
            # The engine may be waiting for a row: its end, then that of whatever command the garbage left.
            done = subprocess.run([program], input=garbage + b"%%name%", capture_output=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr.decode(errors="replace")
            assert done.stdout.endswith(b"m-name-dut-[litesight host]\r\nm-ready\r\n")


def test_the_steps_of_an_inference_are_counted_without_the_wait_for_rows(
    compile_firmware: Compile, tiny_source: ExportSource
) -> None:
    with booted(compile_firmware(tiny_source, "rows", *SANITIZERS, "-DLITESIGHT_STEP_HOOK")) as runner:
        runner.send("rows")
        for _ in range(16):
            select.select([], [], [], 0.005)
            runner.send("00" * 48)
        (ticks,) = re.findall(r"^m-ticks-\[(\d+)]$", runner.send("ticks")[0])
        lines = "\n".join(runner.send("steps"))
    (op, count, step_ticks), (last, last_count, _) = re.findall(r"^m-step-\[(\d+),(\d+),(\d+)]$", lines, re.MULTILINE)
    assert (int(op), int(count)) == (0, 16)
    assert (int(last), int(last_count)) == (OPS - 1, 1)
    assert int(step_ticks) <= int(ticks) < 16 * 5000, "in microseconds; the wait alone took 80 ms"


@pytest.mark.parametrize("load", ["db load 767", "db load x", "db load"])
def test_after_a_load_that_was_refused_there_is_no_old_input_to_infer_from(frame: Runner, load: str) -> None:
    frame.load(bytes(768))
    assert frame.send("infer 1 0")[-1] == READY
    frame.send(load)
    frame.send("db 00")
    assert frame.send("infer 1 0") == ["e-[Input: expected 768 bytes, found 0]", READY]


@pytest.mark.parametrize("form", ["frame", "rows"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_sources_compile_without_a_warning(
    compile_firmware: Compile, tiny_source: ExportSource, form: str, compiler: str
) -> None:
    compile_firmware(tiny_source, form, "-O2", compiler=compiler)
    compile_firmware(tiny_source, form, "-O2", "-DLITESIGHT_STEP_HOOK", compiler=compiler)
