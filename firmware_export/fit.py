# SPDX-License-Identifier: Apache-2.0
"""Whether a program has room on a board, region by region, known before anything is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from boards.board import CODE, CONSTANTS, DATA, Board, Memory
from boards.linker_script import STACK_ALIGNMENT
from device.errors import LitesightError
from firmware_export.static_export import StaticMemory

CODE_ALLOWANCE_BYTES: Final = 32 * 1024
"""Set aside for machine code and the texts of the serial line, for nothing is compiled here. A test holds it against
linked images with every kernel."""

VARIABLES_ALLOWANCE_BYTES: Final = 256
"""Set aside for what the serial line, the measuring and the board's port remember, and gaps between variables."""


@dataclass(frozen=True)
class Part:
    """Something that takes memory.

    Attributes:
        name: for people.
        bytes: its size.
        place: as of ``boards.board``: CODE, CONSTANTS (may lie apart from the code) or DATA.
    """

    name: str
    bytes: int
    place: str


@dataclass(frozen=True)
class RegionFit:
    """A memory region of a board, in bytes.

    Attributes:
        name: of the region.
        kind: "flash" or "ram".
        needed: what would be put there.
        available: its length without the reserve.
    """

    name: str
    kind: str
    needed: int
    available: int

    @property
    def left(self) -> int:
        """Bytes that are left; negative: bytes over."""
        return self.available - self.needed


@dataclass(frozen=True)
class Fit:
    """A program on a board.

    Attributes:
        board: its id.
        parts: of the program.
        regions: those of the board that are used.
    """

    board: str
    parts: tuple[Part, ...]
    regions: tuple[RegionFit, ...]

    @property
    def fits(self) -> bool:
        """Whether every region has room."""
        return all(region.left >= 0 for region in self.regions)


def firmware_parts(
    board: Board, *, constants_bytes: int, weights_bytes: int, arena_bytes: int, other_ram: Sequence[tuple[str, int]]
) -> tuple[Part, ...]:
    """The parts of a program around the static engine.

    Args:
        board: says how much stack is set aside.
        constants_bytes: all constants but the weights.
        weights_bytes: as the kernels read them.
        arena_bytes: of the engine.
        other_ram: names and bytes.
    """
    stack = -(-board.build.stack_bytes // STACK_ALIGNMENT) * STACK_ALIGNMENT
    return (
        Part("code (allowance)", CODE_ALLOWANCE_BYTES, CODE),
        Part("biases, layers, tables", constants_bytes, CODE),
        Part("weights", weights_bytes, CONSTANTS),
        Part("arena", arena_bytes, DATA),
        *(Part(name, count, DATA) for name, count in other_ram if count),
        Part("variables (allowance)", VARIABLES_ALLOWANCE_BYTES, DATA),
        Part("stack", stack, DATA),
    )


def place(board: Board, parts: Sequence[Part]) -> Fit:
    """Put parts where the linker would (``boards.build``): large constants into the first region that has room."""
    used: dict[str, int] = {}
    (code,) = board.holding(CODE)
    (data,) = board.holding(DATA)
    for part in parts:
        if part.place != CONSTANTS:
            region = data if part.place == DATA else code
            used[region.name] = used.get(region.name, 0) + part.bytes
    weights = sum(part.bytes for part in parts if part.place == CONSTANTS)
    candidates = board.holding(CONSTANTS) or (code,)
    # Where none has room the largest is the least wrong.
    chosen = next(
        (region for region in candidates if _left(region, used) >= weights),
        max(candidates, key=lambda r: _left(r, used)),
    )
    used[chosen.name] = used.get(chosen.name, 0) + weights
    return Fit(
        board.id,
        tuple(parts),
        tuple(
            RegionFit(memory.name, memory.kind, used[memory.name], memory.usable)
            for memory in board.memory
            if memory.name in used
        ),
    )


def require(memory: StaticMemory, board: Board) -> None:
    """Refuse an export that a board has no room for.

    Raises:
        LitesightError: region and bytes over, and what helps.
    """
    parts = firmware_parts(
        board,
        constants_bytes=memory.network_bytes + memory.table_bytes,
        weights_bytes=memory.weights_bytes,
        arena_bytes=memory.arena_bytes,
        other_ram=(
            ("engine", memory.engine_bytes),
            ("preprocessing", memory.workspace_bytes),
            ("outputs", memory.output_bytes),
        ),
    )
    refuse(place(board, parts), hint="litesight fitcheck tells what fits")


def refuse(fit: Fit, *, hint: str) -> None:
    """Raise where a program does not fit.

    Raises:
        LitesightError: every region that is too small, and by how many bytes.
    """
    if not fit.fits:
        raise LitesightError(f"the network does not fit {fit.board}: {shortage(fit)}", hint=hint)


def shortage(fit: Fit) -> str:
    """The regions that are too small, in words; empty if there are none."""
    return "; ".join(
        f"{region.name} ({region.kind}, {region.available:,} bytes) is short of {-region.left:,} bytes"
        for region in fit.regions
        if region.left < 0
    )


def _left(region: Memory, used: dict[str, int]) -> int:
    return region.usable - used.get(region.name, 0)
