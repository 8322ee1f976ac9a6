# SPDX-License-Identifier: Apache-2.0
"""The boards the kit knows, and how one is found by its id or its file."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from boards.board import Board
from boards.board_file import read_board
from device.errors import LitesightError, UsageError

DEFINITIONS = Path(__file__).parent / "definitions"


def all_boards() -> tuple[Board, ...]:
    """Every board of the kit, by id."""
    return tuple(_known(path) for path in sorted(DEFINITIONS.glob("*.toml")))


def find(board: str) -> Board:
    """The board of an id, or of a path that ends in ``.toml``.

    Raises:
        UsageError: no board has this id.
        LitesightError: the file is not a board's.
    """
    if board.endswith(".toml") or os.sep in board:
        return read_board(Path(board))
    known = {path.stem: path for path in sorted(DEFINITIONS.glob("*.toml"))}
    if board in known:
        return _known(known[board])
    near = difflib.get_close_matches(board.lower(), known, n=1, cutoff=0.5)
    suggestion = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"unknown board {board!r}; expected one of {', '.join(known)}, or the path of a board's .toml file",
        hint=f"{suggestion}litesight boards lists them",
    )


def _known(path: Path) -> Board:
    board = read_board(path)
    if board.id != path.stem:
        raise LitesightError(f"{path}: id: expected the file's name, {path.stem!r}, found {board.id!r}")
    return board
