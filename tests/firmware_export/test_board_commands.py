# SPDX-License-Identifier: Apache-2.0
"""fitcheck, build, emulate and bench --board: what they print, and how they refuse."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import litesight
from boards.catalogue import DEFINITIONS
from boards.serial_line import SerialLine
from boards.terminal_stream import open_terminal
from tests.firmware_export.compile_cache import CompileCache

TINY = Path(__file__).resolve().parent / "data" / "tiny_int8.tflite"
BOARD = "mps2-an386"
ROOT = Path(__file__).resolve().parents[2]


def error(arguments: list[str], capsys: pytest.CaptureFixture[str], status: int = 1) -> str:
    """The one line that a command refuses with."""
    try:
        found = litesight.main(arguments)
    except SystemExit as stop:
        found = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert found == status, err
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("litesight: error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def small_board(tmp_path: Path) -> Path:
    """A chip with 4 KiB + stack of RAM, which nothing emulates."""
    text = (DEFINITIONS / "netduinoplus2.toml").read_text()
    text = text.replace('id = "netduinoplus2"', 'id = "small"').replace("length = 0x2_0000", "length = 0x1600")
    text = re.sub(r"\[emulator\][^\[]*", "", text)
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> CompileCache:
    return CompileCache(tmp_path_factory.mktemp("firmware"))


@pytest.fixture
def tools(require_tool: Callable[[str], str], cache: CompileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tflite_micro")
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    cache.use(monkeypatch)


def test_fitcheck_lists_all_boards(capsys: pytest.CaptureFixture[str]) -> None:
    assert litesight.main(["fitcheck", str(TINY)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny_int8, 16×16×3, a frame in RAM"
    for board in DEFINITIONS.glob("*.toml"):
        assert any(line.startswith(board.stem) and line.endswith("yes") for line in lines)


def test_fitcheck_shows_a_board_and_refuses_what_does_not_fit(
    capsys: pytest.CaptureFixture[str], small_board: Path
) -> None:
    assert litesight.main(["fitcheck", str(TINY), "--board", BOARD]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"fits {BOARD}"
    for word in ("ssram1 (flash)", "arena", "frame", "biggest in the arena", "most weights"):
        assert word in out
    text = small_board.read_text().replace("0x1600", "0x1200")
    small_board.write_text(text)
    assert litesight.main(["fitcheck", str(TINY), "--board", str(small_board)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"DOES NOT FIT small: sram \(ram, 4,608 bytes\) is short of [\d,]+ bytes\n", out)
    assert "it fits mps2-an385" in out


def test_fitcheck_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert litesight.main(["fitcheck", str(TINY), "--board", BOARD, "--input", "rows", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (board,) = document["boards"]
    assert (document["input"], board["board"], board["fits"]) == ("rows", BOARD, True)
    for region in board["regions"]:
        assert region["left"] == region["available"] - region["needed"]
    assert sum(part["bytes"] for part in board["parts"]) == sum(region["needed"] for region in board["regions"])


@pytest.mark.parametrize("command", ["fitcheck", "build", "emulate", "bench"])
def test_an_unknown_board_or_a_missing_model_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = error([command, str(TINY), "--board", "mps2-an387"], capsys, 2)
    assert "unknown board 'mps2-an387'" in said
    assert "did you mean mps2-an38" in said
    assert "missing.tflite" in error([command, "missing.tflite", "--board", BOARD], capsys)


@pytest.mark.parametrize("command", ["fitcheck", "build", "emulate", "bench"])
def test_a_file_that_is_no_network_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "photo.tflite"
    path.write_bytes(b"GIF89a" * 100)
    assert str(path) in error([command, str(path), "--board", BOARD], capsys)


@pytest.mark.parametrize("command", ["emulate", "bench"])
def test_a_board_that_nothing_emulates_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str], small_board: Path
) -> None:
    said = error([command, str(TINY), "--board", str(small_board)], capsys, 2)
    assert "expected a board that can be emulated, found small" in said


@pytest.mark.parametrize("command", ["build", "emulate", "bench", "export"])
def test_what_does_not_fit_is_refused_before_anything_is_compiled(
    command: str, capsys: pytest.CaptureFixture[str], small_board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command == "export":
        pytest.importorskip("tflite_micro")
    text = small_board.read_text().replace("0x1600", "0x1200")
    small_board.write_text(text + '\n[emulator]\ntool = "qemu-system-arm"\nmachine = "netduinoplus2"\n')
    monkeypatch.setenv("PATH", "")
    output = tmp_path / "out"
    rest = ["--engine", "static", "-o", str(output)] if command in ("build", "export") else []
    said = error([command, str(TINY), "--board", str(small_board), *rest], capsys)
    assert "does not fit small: sram (ram, 4,608 bytes) is short of" in said
    assert not output.exists()


@pytest.mark.parametrize(
    ("command", "tool", "package"),
    [("build", "arm-none-eabi-gcc", "gcc-arm-none-eabi"), ("bench", "arm-none-eabi-gcc", "gcc-arm-none-eabi")],
)
def test_a_missing_tool_names_the_command_that_installs_it(
    command: str, tool: str, package: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    said = error([command, str(TINY), "--board", BOARD], capsys)
    assert f"{tool} is not installed" in said
    assert f"apt-get install {package}" in said


def test_a_missing_emulator_is_told_before_anything_is_compiled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("gcc", "size", "objdump"):
        script = tmp_path / f"arm-none-eabi-{name}"
        script.write_text("#!/bin/sh\necho 12.2.1\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = error(["emulate", str(TINY), "--board", BOARD], capsys)
    assert "qemu-system-arm is not installed (sudo apt-get install qemu-system-arm)" in said


def test_build_writes_a_program_and_its_sources(
    tools: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    arguments = ["build", str(TINY), "--board", "netduinoplus2", "-o", str(output)]
    assert litesight.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    names = {path.name for path in output.rglob("*") if path.is_file()}
    assert {"firmware.elf", "firmware.map", "firmware.ld", "export.json", "memory_map.txt", "main.c"} <= names
    assert "litesight_preprocess.c" not in names
    assert (output / "firmware.elf").read_bytes()[:4] == b"\x7fELF"
    used = {region["name"]: region["used"] for region in document["regions"]}
    assert used["flash"] == document["image"]["flash_bytes"]
    assert litesight.main(arguments) == 0, "an untouched build is replaced"
    (output / "notes").write_text("mine")
    capsys.readouterr()
    assert "notes was added" in error(arguments, capsys)
    assert (output / "notes").read_text() == "mine"


@pytest.mark.parametrize("command", ["build", "bench"])
def test_an_output_that_cannot_be_written_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path if command == "bench" else tmp_path / "file"
    (tmp_path / "file").write_text("mine")
    status = 2 if command == "bench" else 1
    error([command, str(TINY), "--board", BOARD, "-o", str(target)], capsys, status)
    assert (tmp_path / "file").read_text() == "mine"


def test_emulate_proves_the_golden_vectors_and_classifies_photos(
    tools: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert litesight.main(["emulate", str(TINY), "--board", BOARD, "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^golden \d: class\d \d+\.\d%  every byte equal$", out, re.MULTILINE)) == 4

    import cv2
    import numpy as np

    photo = tmp_path / "grey.png"
    cv2.imwrite(str(photo), np.full((20, 30, 3), 128, np.uint8))
    assert litesight.main(["emulate", str(TINY), "--board", BOARD, "--input", "rows", str(photo)]) == 0
    assert re.fullmatch(rf"{re.escape(str(photo))}: (class\d \d+\.\d%(, )?){{3}}\n", capsys.readouterr().out)
    said = error(["emulate", str(TINY), "--board", BOARD, str(tmp_path / "none.png")], capsys)
    assert "none.png" in said
    assert "found both" in error(["emulate", str(TINY), "--board", BOARD, "--serial", str(photo)], capsys, 2)


def test_more_vectors_than_there_are_is_a_wrong_call(tools: None, capsys: pytest.CaptureFixture[str]) -> None:
    said = error(["bench", str(TINY), "--board", BOARD, "--vectors", "9"], capsys, 2)
    assert "expected at most 4 vectors" in said


def test_an_emulator_that_dies_is_one_line(
    tools: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    script = tmp_path / "qemu-system-arm"
    script.write_text("#!/bin/sh\necho 'machine not found' >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    said = error(["emulate", str(TINY), "--board", BOARD], capsys)
    assert "the emulator ended with status 3: machine not found" in said


def serve() -> subprocess.Popen[str]:
    """The command that hands out a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "litesight", "emulate", str(TINY), "--board", BOARD, "--serial"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def test_a_terminal_whose_emulator_dies_is_one_line(tools: None) -> None:
    process = serve()
    assert process.stdout is not None
    try:
        process.stdout.readline()
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid), "qemu"], check=True, timeout=10)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1
    assert err.splitlines()[-1] == "litesight: error: the emulator was ended by signal 9: it said nothing"


def test_a_terminal_is_served_until_its_window_is_closed_and_no_emulator_is_left(tools: None) -> None:
    process = serve()
    assert process.stdout is not None
    try:
        terminal = Path(process.stdout.readline().strip())
        with open_terminal(terminal) as stream:
            line = SerialLine(stream)
            assert line.name() == f"litesight {BOARD}"
            assert line.model() == "tiny_int8"
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.communicate()
    left = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
