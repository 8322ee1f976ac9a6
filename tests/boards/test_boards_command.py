# SPDX-License-Identifier: Apache-2.0
"""What ``litesight boards`` prints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from boards.catalogue import all_boards
from boards.commands import boards as command
from device.errors import LitesightError, UsageError

DATA = Path(__file__).parent / "data"


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(arguments))


def test_list_has_one_line_a_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "core", "features", "flash", "ram", "runs"]
    assert [line.split()[0] for line in lines] == [board.id for board in all_boards()]
    assert "netduinoplus2  cortex-m4   dsp fpu-sp      1 MiB    128 KiB  emulated (qemu-system-arm)" in lines


def test_list_for_a_program_has_regions_and_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--json") == 0
    boards = {board["id"]: board for board in json.loads(capsys.readouterr().out)}
    board = boards["netduinoplus2"]
    assert (board["flash_bytes"], board["ram_bytes"], board["stack_bytes"]) == (1 << 20, 128 << 10, 4096)
    assert [region["name"] for region in board["memory"]] == ["flash", "sram", "ccm"]
    assert board["memory"][1] == {
        "name": "sram",
        "kind": "ram",
        "origin": 0x2000_0000,
        "length": 0x2_0000,
        "holds": ["data"],
        "reserve": 0,
    }


def test_show_tells_all_of_a_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", str(DATA / "valid.toml")) == 0
    shown = capsys.readouterr().out
    for fact in ("Some board", "SB1", "cortex-m4 at 25 MHz", "-mthumb", "115200 baud, USB 0483:374b"):
        assert fact in shown
    assert "sram       ram    0x20000000    32 KiB  data, 4,096 bytes reserved" in shown


def test_show_for_a_program_is_one_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "mps3-an547", "--json") == 0
    assert json.loads(capsys.readouterr().out)["features"] == ["dsp", "fpu-dp", "mve"]


def test_check_passes_a_good_file_and_refuses_a_bad_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", str(DATA / "valid.toml")) == 0
    assert "some-board, Some board: no faults" in capsys.readouterr().out
    with pytest.raises(LitesightError, match="unknown key 'clok_hz'"):
        call("check", str(DATA / "invalid" / "unknown_key.toml"))


@pytest.mark.parametrize("arguments", [["show"], ["check"], ["list", "mps2-an386"], ["show", "toaster"]])
def test_wrong_call_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        call(*arguments)
