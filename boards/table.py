# SPDX-License-Identifier: Apache-2.0
"""The table of boards in docs/boards.md."""

from __future__ import annotations

from pathlib import Path

from boards.board import CODE, DATA, Board
from boards.catalogue import all_boards

BEGIN, END = "<!-- boards: begin -->\n", "<!-- boards: end -->\n"


def markdown() -> str:
    """A row per board."""
    rows = ["| id | board | core | extensions | flash | RAM |", "|---|---|---|---|---:|---:|"]
    rows += [_row(board) for board in all_boards()]
    return "\n".join(rows) + "\n"


def updated(page: str) -> str:
    """The page with the table of today.

    Args:
        page: Markdown with the lines BEGIN and END.
    """
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + markdown() + END + after


def _row(board: Board) -> str:
    flash, ram = (sum(region.usable for region in board.holding(content)) >> 10 for content in (CODE, DATA))
    extensions = ", ".join(sorted(board.mcu.features)) or "–"
    return f"| `{board.id}` | {board.name} | {board.mcu.core} | {extensions} | {flash} KiB | {ram} KiB |"


if __name__ == "__main__":
    path = Path("docs/boards.md")
    path.write_text(updated(path.read_text("utf-8")), "utf-8")
