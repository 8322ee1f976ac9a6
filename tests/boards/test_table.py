# SPDX-License-Identifier: Apache-2.0
"""docs/boards.md has the boards of today."""

from __future__ import annotations

from pathlib import Path

from boards import table
from boards.catalogue import all_boards

PAGE = Path(__file__).resolve().parents[2] / "docs" / "boards.md"


def test_the_page_lists_the_boards_as_they_are() -> None:
    page = PAGE.read_text("utf-8")
    assert table.updated(page) == page, "stale: run python -m boards.table"


def test_every_board_has_a_row_with_its_memory() -> None:
    rows = table.markdown().splitlines()[2:]
    assert len(rows) == len(all_boards())
    assert "| `netduinoplus2` | Netduino Plus 2 (STM32F405) | cortex-m4 | dsp, fpu-sp | 1024 KiB | 128 KiB |" in rows
