# SPDX-License-Identifier: Apache-2.0
"""The linker script of a board, as text.

To write the golden file anew: ``UPDATE_GOLDEN=1 pytest tests/boards/test_linker_script.py``
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from boards.board import Board
from boards.catalogue import find
from boards.linker_script import linker_script

GOLDEN = Path(__file__).parent / "data" / "mps2-an386.ld"


def test_script_is_the_reviewed_one() -> None:
    board = find("mps2-an386")
    script = linker_script(
        board, stack_bytes=4097, constants=board.holding("constants")[1], large_constants=["model*", "x"]
    )
    if os.environ.get("UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(script, encoding="utf-8")
    assert script == GOLDEN.read_text(encoding="utf-8")


def test_constants_stay_with_the_code_unless_a_region_is_named() -> None:
    script = linker_script(find("mps2-an386"), stack_bytes=4096)
    assert "psram" not in script
    assert ".constants" not in script


def _with_neighbour(origin: int, length: int) -> Board:
    board = find("mps2-an386")
    neighbour = dataclasses.replace(board.memory[1], name="below", origin=origin, length=length, holds=frozenset())
    return dataclasses.replace(board, memory=(*board.memory, neighbour))


def test_guard_below_the_stack_covers_no_memory_of_the_board() -> None:
    def guard(board: Board) -> str:
        (line,) = [line for line in linker_script(board, stack_bytes=4096).splitlines() if "stack_guard" in line]
        return line.strip()

    assert guard(find("mps2-an386")) == "litesight_stack_guard = 0x1ffff000;"
    assert guard(_with_neighbour(0x1FFF_0000, 0xF000)) == "litesight_stack_guard = 0x1ffff000;"
    # At the stack's own address there is none.
    assert guard(_with_neighbour(0x1FFF_0000, 0xF004)) == "litesight_stack_guard = 0x20000000;"


def test_reserve_of_the_application_is_left_alone() -> None:
    board = find("mps2-an386")
    memory = tuple(dataclasses.replace(region, reserve=0x1000) for region in board.memory)
    script = linker_script(dataclasses.replace(board, memory=memory), stack_bytes=4096)
    assert "ssram23 (rwx) : ORIGIN = 0x20000000, LENGTH = 0x3ff000" in script
