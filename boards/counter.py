# SPDX-License-Identifier: Apache-2.0
"""What the port's counter counts on an emulated board: instructions, and never time.

With ``-icount shift=0`` QEMU's virtual clock advances by 1 ns with every instruction of the guest (QEMU documentation,
"TCG Instruction Counting"). The counter runs at the board's clock on that virtual time, so one tick is
``1e9 / clock_hz`` instructions: 40 at 25 MHz. A difference of two readings is exact to one tick. QEMU models neither
caches, wait states nor several instructions a cycle: no cycles, milliseconds or energy follow from the number.
"""

from __future__ import annotations

from fractions import Fraction

from boards.board import Board

INSTRUCTIONS_PER_VIRTUAL_SECOND = 1_000_000_000


def instructions_per_tick(board: Board) -> Fraction:
    """How many instructions the emulated board executes from one tick of its counter to the next."""
    return Fraction(INSTRUCTIONS_PER_VIRTUAL_SECOND, board.mcu.clock_hz)


def instructions(board: Board, ticks: int) -> int:
    """Instructions between two readings of the counter.

    Args:
        board: an emulated one.
        ticks: difference of the readings modulo 2^32.

    Returns:
        The number of instructions, exact to ``instructions_per_tick``.
    """
    return round(ticks * instructions_per_tick(board))
