# SPDX-License-Identifier: Apache-2.0
"""What is known about a board, as plain facts."""

from __future__ import annotations

from dataclasses import dataclass

FLASH = "flash"
RAM = "ram"

CODE = "code"
CONSTANTS = "constants"
DATA = "data"


@dataclass(frozen=True)
class Mcu:
    """The chip.

    Attributes:
        part: the maker's part number, or the name of the FPGA image.
        core: as the compiler's ``-mcpu`` writes it, e.g. ``cortex-m4``.
        features: of ``dsp``, ``mve``, ``fpu-sp``, ``fpu-dp``.
        clock_hz: the core's clock after start-up, which also drives the counter.
    """

    part: str
    core: str
    features: frozenset[str]
    clock_hz: int


@dataclass(frozen=True)
class Memory:
    """A region of the address space, ``origin`` to ``origin + length``, half-open, in bytes.

    Attributes:
        name: unique on the board.
        kind: :data:`FLASH` (keeps its content, is not written by the program) or :data:`RAM`.
        holds: what the linker puts there, maybe nothing: :data:`CODE` (vectors, code, constants, initial values),
            :data:`CONSTANTS` (large constants), :data:`DATA` (stack, variables).
        reserve: bytes at its end that the application keeps for itself.
    """

    name: str
    kind: str
    origin: int
    length: int
    holds: frozenset[str]
    reserve: int = 0

    @property
    def end(self) -> int:
        """The first address behind the region."""
        return self.origin + self.length

    @property
    def usable(self) -> int:
        """Bytes without the reserve."""
        return self.length - self.reserve


@dataclass(frozen=True)
class Build:
    """How programs for the board are compiled.

    Attributes:
        toolchain: prefix of its tools, e.g. ``arm-none-eabi``.
        cflags: what the core needs, for compiler and linker.
        defines: ``NAME=VALUE`` for the port, e.g. the frequency of the crystal.
        stack_bytes: what the linker sets aside.
    """

    toolchain: str
    cflags: tuple[str, ...]
    defines: tuple[str, ...]
    stack_bytes: int


@dataclass(frozen=True)
class Serial:
    """The serial line.

    Attributes:
        baud: its speed.
        address: of the registers of the UART that the port talks through.
        usb: ``vendor:product`` ids under which it appears on a computer, in hexadecimal; empty where emulated only.
    """

    baud: int
    address: int
    usb: tuple[str, ...]


@dataclass(frozen=True)
class Emulator:
    """What runs the board without the board.

    Attributes:
        tool: the program.
        machine: its name for the board.
        serial: which of the machine's serial lines is the port's, counted from 0.
    """

    tool: str
    machine: str
    serial: int


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        id: what the command line calls it; name of its file.
        name: for people.
        port: directory below ``boards/ports``.
        memory: its regions, in the order of the file.
        emulator: None where nothing emulates it.
    """

    id: str
    name: str
    port: str
    mcu: Mcu
    memory: tuple[Memory, ...]
    build: Build
    serial: Serial
    emulator: Emulator | None

    def regions(self, kind: str) -> tuple[Memory, ...]:
        """The regions of a kind, :data:`FLASH` or :data:`RAM`."""
        return tuple(memory for memory in self.memory if memory.kind == kind)

    def holding(self, content: str) -> tuple[Memory, ...]:
        """The regions for :data:`CODE` (one), :data:`DATA` (one) or :data:`CONSTANTS` (the preferred first)."""
        return tuple(memory for memory in self.memory if content in memory.holds)
