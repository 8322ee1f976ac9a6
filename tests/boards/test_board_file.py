# SPDX-License-Identifier: Apache-2.0
"""Board files: every rule has a fixture that breaks it, and what is read is what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boards.board import Memory
from boards.board_file import MAXIMUM_FILE_BYTES, parse_board, read_board
from boards.catalogue import DEFINITIONS, all_boards, find
from device.errors import LitesightError, UsageError

DATA = Path(__file__).parent / "data"
VALID = (DATA / "valid.toml").read_bytes()
EMULATED = {
    "mps2-an385": ("cortex-m3", set[str]()),
    "mps2-an386": ("cortex-m4", {"dsp", "fpu-sp"}),
    "mps2-an500": ("cortex-m7", {"dsp", "fpu-dp"}),
    "mps2-an505": ("cortex-m33", {"dsp", "fpu-sp"}),
    "mps3-an547": ("cortex-m55", {"dsp", "mve", "fpu-dp"}),
    "netduinoplus2": ("cortex-m4", {"dsp", "fpu-sp"}),
}


def _fault(content: bytes) -> str | None:
    try:
        parse_board(content, "damaged.toml")
    except LitesightError as error:
        return str(error)
    return None


@pytest.mark.parametrize("path", sorted((DATA / "invalid").glob("*.toml")), ids=lambda path: path.stem)
def test_invalid_file_is_refused_in_one_line_that_says_why(path: Path) -> None:
    first = path.read_bytes().split(b"\n")[0].decode()
    with pytest.raises(LitesightError) as raised:
        read_board(path)
    message = str(raised.value)
    assert first.removeprefix("# says: ") in message
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def test_valid_file_is_read_in_full() -> None:
    board = parse_board(VALID, "valid.toml")
    assert (board.id, board.name, board.port) == ("some-board", "Some board", "mps2")
    assert (board.mcu.part, board.mcu.core, board.mcu.clock_hz) == ("SB1", "cortex-m4", 25_000_000)
    assert board.mcu.features == {"dsp", "fpu-sp"}
    flash = Memory("flash", "flash", 0, 0x10000, frozenset({"code", "constants"}), 0)
    sram = Memory("sram", "ram", 0x2000_0000, 0x8000, frozenset({"data"}), 0x1000)
    assert board.memory == (flash, sram)
    assert (sram.end, sram.usable) == (0x2000_8000, 0x7000)
    assert board.regions("ram") == board.holding("data") == (sram,)
    assert board.regions("flash") == board.holding("code") == board.holding("constants") == (flash,)
    assert board.build.cflags == ("-mcpu=cortex-m4", "-mthumb")
    assert board.build.defines == ("LITESIGHT_CRYSTAL_HZ=8000000",)
    assert board.build.stack_bytes == 4096
    assert (board.serial.baud, board.serial.address, board.serial.usb) == (115200, 0x4000_4000, ("0483:374b",))
    assert board.emulator is not None
    assert (board.emulator.tool, board.emulator.machine, board.emulator.serial) == ("qemu-system-arm", "mps2-an386", 0)


def test_board_without_emulator_is_a_board() -> None:
    assert parse_board(VALID[: VALID.index(b"[emulator]")], "").emulator is None


def test_regions_side_by_side_do_not_overlap() -> None:
    board = parse_board(VALID.replace(b"origin = 0x2000_0000", b"origin = 0x0001_0000"), "")
    assert board.memory[0].end == board.memory[1].origin
    board = parse_board(VALID.replace(b"origin = 0x0000_0000", b"origin = 0x2000_8000"), "")
    assert board.memory[1].end == board.memory[0].origin


@given(st.integers(0, len(VALID) - 1), st.binary(max_size=12))
def test_damaged_file_is_read_or_refused_but_nothing_else(where: int, what: bytes) -> None:
    damaged = VALID[:where] + what + VALID[where + len(what) :]
    fault = _fault(damaged)
    assert fault is None or fault.startswith("damaged.toml: ")


@pytest.mark.parametrize("value", ["1", "true", '"x"', "1.5", "[]", "[[1]]", "{}", "[{}]", "1979-05-27", "[1]", "nan"])
@pytest.mark.parametrize("line", [line for line in VALID.decode().splitlines() if "=" in line])
def test_wrong_type_of_any_value_is_refused_and_never_a_crash(line: str, value: str) -> None:
    key = line.split(" = ")[0]
    text = VALID.decode().replace(line, f"{key} = {value}")
    fault = _fault(text.encode())
    assert fault is None or key in fault or "memory" in fault


def test_deeply_nested_file_is_refused() -> None:
    with pytest.raises(LitesightError, match="expected TOML"):
        parse_board(b"a = " + b"[" * 20000, "deep.toml")


def test_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(LitesightError, match="expected TOML"):
        parse_board(b"schema = " + b"9" * 5000, "long.toml")


def test_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_bytes(VALID + b"#" * MAXIMUM_FILE_BYTES)
    with pytest.raises(LitesightError, match="at most 65536 bytes"):
        read_board(path)


def test_missing_file_and_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LitesightError, match="No such file"):
        read_board(tmp_path / "none.toml")
    with pytest.raises(LitesightError, match="directory"):
        read_board(tmp_path)


def test_catalogue_has_the_emulated_boards_with_their_cores() -> None:
    boards = {board.id: board for board in all_boards()}
    for name, (core, features) in EMULATED.items():
        assert boards[name].mcu.core == core
        assert boards[name].mcu.features == features
        assert boards[name].emulator is not None


@pytest.mark.parametrize("path", sorted(DEFINITIONS.glob("*.toml")), ids=lambda path: path.stem)
def test_definition_says_where_its_regions_come_from(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert "DAI 0" in text or "DS8626" in text


def test_board_is_found_by_id_and_by_file() -> None:
    assert find("mps2-an386").id == "mps2-an386"
    assert find(str(DATA / "valid.toml")).id == "some-board"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("mps2-an368", "mps2-an386"), ("netduino", "netduinoplus2"), ("NETDUINOPLUS2", "netduinoplus2")],
)
def test_mistyped_id_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError) as raised:
        find(typed)
    assert f"did you mean {meant}?" in str(raised.value)


def test_strange_id_is_answered_with_the_list() -> None:
    with pytest.raises(UsageError) as raised:
        find("toaster")
    assert "mps2-an385, mps2-an386" in str(raised.value)
    assert "did you mean" not in str(raised.value)
