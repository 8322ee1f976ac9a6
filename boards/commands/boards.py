# SPDX-License-Identifier: Apache-2.0
"""``litesight boards``: which boards there are, and what the kit knows about each."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boards.board import Board

HELP = "List the boards, show one, or check a board's file."

EPILOG = """\
A board is a TOML file: chip, memory regions, compiler flags, serial line, emulator.
Where a command takes --board ID, it takes the path of such a file as well.

examples:
  litesight boards                        one line per board
  litesight boards show mps2-an386        all that is known about it
  litesight boards show mps2-an386 --json
  litesight boards check my-board.toml    say what is wrong with a file

exit status: 0 well, 1 the file has a fault, 2 wrong usage or an unknown board."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", nargs="?", choices=("list", "show", "check"), default="list", help="default: list")
    parser.add_argument("board", nargs="?", metavar="ID|FILE", help="for show and check")
    parser.add_argument("--json", action="store_true", help="the same for a program")


def run(args: argparse.Namespace) -> int:
    """Tell about boards."""
    from boards.board_file import read_board
    from boards.catalogue import all_boards, find
    from device.errors import UsageError

    if args.action == "list":
        if args.board is not None:
            raise UsageError(
                f"expected nothing after list, found {args.board!r}", hint=f"litesight boards show {args.board}"
            )
        boards = all_boards()
        if args.json:
            print(json.dumps([_facts(board) for board in boards], indent=1))
        else:
            _print_list(boards)
        return 0
    if args.board is None:
        wanted = "a board's id or file" if args.action == "show" else "the path of a board's file"
        raise UsageError(f"litesight boards {args.action}: expected {wanted}, found nothing")
    board = find(args.board) if args.action == "show" else read_board(Path(args.board))
    if args.json:
        print(json.dumps(_facts(board), indent=1))
    elif args.action == "show":
        _print_board(board)
    else:
        print(f"{args.board}: {board.id}, {board.name}: no faults")
    return 0


def _runs(board: Board) -> str:
    return f"emulated ({board.emulator.tool})" if board.emulator is not None else "on the board"


def _main_memory(board: Board) -> tuple[int, int]:
    """Usable bytes where code goes, and where variables go: what a user looks for first."""
    from boards.board import CODE, DATA

    return sum(region.usable for region in board.holding(CODE)), sum(region.usable for region in board.holding(DATA))


def _print_list(boards: tuple[Board, ...]) -> None:
    rows = [("id", "core", "features", "flash", "ram", "runs")]
    for board in boards:
        flash, ram = _main_memory(board)
        features = " ".join(sorted(board.mcu.features)) or "–"
        rows.append((board.id, board.mcu.core, features, _size(flash), _size(ram), _runs(board)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_board(board: Board) -> None:
    mcu, serial = board.mcu, board.serial
    print(f"{board.id}: {board.name}")
    features = " ".join(sorted(mcu.features)) or "no extensions"
    print(f"  chip     {mcu.part}, {mcu.core} at {mcu.clock_hz / 1e6:g} MHz, {features}")
    print(f"  port     {board.port}")
    print(f"  compiler {board.build.toolchain}-gcc {' '.join(board.build.cflags)}")
    print(f"  stack    {board.build.stack_bytes:,} bytes")
    print(f"  serial   {serial.baud} baud{', USB ' + ' '.join(serial.usb) if serial.usb else ''}")
    print(f"  runs     {_runs(board)}")
    print("  memory")
    for region in board.memory:
        reserve = f", {region.reserve:,} bytes reserved" if region.reserve else ""
        holds = " ".join(sorted(region.holds)) or "unused"
        print(
            f"    {region.name:<10} {region.kind:<6} {region.origin:#010x}  {_size(region.length):>8}  {holds}{reserve}"
        )


def _facts(board: Board) -> dict[str, object]:
    flash, ram = _main_memory(board)
    return {
        "id": board.id,
        "name": board.name,
        "port": board.port,
        "part": board.mcu.part,
        "core": board.mcu.core,
        "features": sorted(board.mcu.features),
        "clock_hz": board.mcu.clock_hz,
        "flash_bytes": flash,
        "ram_bytes": ram,
        "stack_bytes": board.build.stack_bytes,
        "memory": [
            {
                "name": region.name,
                "kind": region.kind,
                "origin": region.origin,
                "length": region.length,
                "holds": sorted(region.holds),
                "reserve": region.reserve,
            }
            for region in board.memory
        ],
        "baud": board.serial.baud,
        "usb": list(board.serial.usb),
        "emulator": board.emulator.tool if board.emulator is not None else None,
    }


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count % (1 << 20) == 0 else f"{count / 1024:g} KiB"
