# SPDX-License-Identifier: Apache-2.0
"""Compiles and links a program for a board, and says what it occupies in which memory region."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from boards.board import CODE, CONSTANTS, Board, Memory
from boards.elf_file import Program, Section, read_elf
from boards.linker_script import linker_script
from boards.tool import run_tool
from boards.toolchain import Toolchain, find_toolchain
from device.errors import LitesightError

PORTS = Path(__file__).parent / "ports"
OPTIMISATION = "-O2"
FOR_SIZE = "-Os"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow")
TIMEOUT_S = 300.0
PARALLEL = 2
MESSAGE_LENGTH = 600


@dataclass(frozen=True)
class RegionUse:
    """What a program occupies of a memory region, stack included, in bytes; ``available`` is without the reserve."""

    name: str
    kind: str
    used: int
    available: int


@dataclass(frozen=True)
class Image:
    """A linked program. Sizes in bytes.

    Attributes:
        elf: the file.
        regions: every region of the board.
        code_bytes: vectors and machine code.
        constant_bytes: constants.
        data_bytes: variables with initial values; they are in flash and in RAM.
        bss_bytes: variables that start as zero.
        stack_bytes: what is set aside for the stack, in none of the above.
        program: sections and symbols.
    """

    board: Board
    elf: Path
    regions: tuple[RegionUse, ...]
    code_bytes: int
    constant_bytes: int
    data_bytes: int
    bss_bytes: int
    stack_bytes: int
    program: Program

    @property
    def flash_bytes(self) -> int:
        """What the program occupies in all regions of kind flash."""
        return sum(region.used for region in self.regions if region.kind == "flash")

    @property
    def ram_bytes(self) -> int:
        """Variables, without the stack."""
        return self.data_bytes + self.bss_bytes


def build(
    board: Board,
    sources: Sequence[Path],
    *,
    output_dir: Path,
    include_dirs: Sequence[Path] = (),
    defines: Sequence[str] = (),
    cflags: Sequence[str] = (),
    small_sources: Sequence[Path] = (),
    large_constants: Sequence[str] = (),
    stack_bytes: int | None = None,
    name: str = "firmware",
) -> Image:
    """Compile C sources together with the board's port, and link them. The port is compiled for size.

    Large constants are put into the board's regions for constants in their order: the first that has room for them.

    Args:
        board: for which.
        sources: C files, one of which has ``main``.
        output_dir: for objects, linker script, map and program; made if missing, files of the same names are replaced.
        include_dirs: searched for headers before the ports' own directory.
        defines: ``NAME`` or ``NAME=VALUE``.
        cflags: further flags of the compiler; the last one counts, so ``-O3`` overrides ``-O2``.
        small_sources: C files whose speed does not matter, compiled for size.
        large_constants: names, or glob patterns of names, of constant arrays that may lie apart from the code.
        stack_bytes: the board's own if None.
        name: of the program's file, without ``.elf``.

    Raises:
        LitesightError: no toolchain, a source does not compile, the program does not fit (region and bytes).
    """
    toolchain = find_toolchain(board.build.toolchain)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LitesightError(f"{output_dir}: cannot be made: {error.strerror or error}") from None
    elf = output_dir / f"{name}.elf"
    # A failed build must never leave an old program to be taken for the new one.
    elf.unlink(missing_ok=True)
    flags = compiler_flags(board, include_dirs=include_dirs, defines=defines, cflags=cflags)
    small = [*port_sources(board), *small_sources]
    objects = _compile(toolchain, [*small, *sources], flags, output_dir, small=small)
    stack = board.build.stack_bytes if stack_bytes is None else stack_bytes
    _link(board, toolchain, objects, elf, stack=stack, large_constants=large_constants)
    return measure(board, elf)


def port_sources(board: Board) -> tuple[Path, ...]:
    """The C files that every program for the board is linked with."""
    directories = [PORTS, PORTS / board.port]
    if board.mcu.core.startswith("cortex-m"):
        directories.insert(1, PORTS / "cortex_m")
    return tuple(source for directory in directories for source in sorted(directory.glob("*.c")))


def compiler_flags(
    board: Board, *, include_dirs: Sequence[Path] = (), defines: Sequence[str] = (), cflags: Sequence[str] = ()
) -> tuple[str, ...]:
    """The flags with which a C file is compiled for the board."""
    port = (
        f"LITESIGHT_CLOCK_HZ={board.mcu.clock_hz}u",
        f"LITESIGHT_BAUD={board.serial.baud}u",
        f"LITESIGHT_SERIAL_ADDRESS={board.serial.address:#x}u",
    )
    return (
        "-std=c11",
        *board.build.cflags,
        OPTIMISATION,
        "-ffunction-sections",
        "-fdata-sections",
        *WARNINGS,
        *(f"-I{directory}" for directory in include_dirs),
        f"-I{PORTS}",
        *(f"-D{define}" for define in (*port, *board.build.defines, *defines)),
        *cflags,
    )


def measure(board: Board, elf: Path) -> Image:
    """What a linked program occupies.

    Raises:
        LitesightError: the file is not a program, or lies outside the board's memory.
    """
    program = read_elf(elf)
    used = dict.fromkeys((memory.name for memory in board.memory), 0)
    code = constants = data = bss = stack = 0
    for section in program.sections:
        region = _region_of(board, section, section.address, elf)
        used[region.name] += section.size
        if section.name == ".stack":
            stack += section.size
        elif section.load_address is None:
            bss += section.size
        elif section.load_address != section.address:
            data += section.size
            used[_region_of(board, section, section.load_address, elf).name] += section.size
        elif section.name in (".vectors", ".text"):
            code += section.size
        else:
            constants += section.size
    regions = tuple(RegionUse(memory.name, memory.kind, used[memory.name], memory.usable) for memory in board.memory)
    return Image(board, elf, regions, code, constants, data, bss, stack, program)


def _region_of(board: Board, section: Section, address: int, elf: Path) -> Memory:
    for memory in board.memory:
        if memory.origin <= address and address + section.size <= memory.end:
            return memory
    raise LitesightError(
        f"{elf}: {section.name} ({address:#010x}, {section.size} bytes) lies in no memory region of {board.id}",
        hint="build it for this board",
    )


def _compile(
    toolchain: Toolchain, sources: Sequence[Path], flags: Sequence[str], output_dir: Path, *, small: Collection[Path]
) -> list[Path]:
    jobs: dict[Path, Path] = {}
    for source in sources:
        # Files of the same name may come from different directories.
        target = output_dir / f"{source.stem}.o"
        for number in range(2, len(sources) + 2):
            if target not in jobs:
                break
            target = output_dir / f"{source.stem}_{number}.o"
        jobs[target] = source

    def compile_one(target: Path, source: Path) -> None:
        size = [FOR_SIZE] if source in small else []
        answer = run_tool([toolchain.gcc, *flags, *size, "-c", str(source), "-o", str(target)], timeout_s=TIMEOUT_S)
        if answer.returncode != 0:
            raise LitesightError(f"{source} does not compile: {_first_fault(answer.stderr)}")

    with ThreadPoolExecutor(PARALLEL) as pool:
        pending = [pool.submit(compile_one, target, source) for target, source in jobs.items()]
        try:
            for job in pending:
                job.result()
        except BaseException:
            # The pool would compile all that is left before it lets go, of Ctrl-C too.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return list(jobs)


def _link(
    board: Board,
    toolchain: Toolchain,
    objects: Sequence[Path],
    elf: Path,
    *,
    stack: int,
    large_constants: Sequence[str],
) -> None:
    (code,) = board.holding(CODE)
    candidates = board.holding(CONSTANTS) if large_constants else ()
    overflows: dict[str, int] = {}
    for constants in candidates or (code,):
        script = elf.with_suffix(".ld")
        script.write_text(
            linker_script(board, stack_bytes=stack, constants=constants, large_constants=large_constants),
            encoding="utf-8",
        )
        answer = run_tool(
            [
                toolchain.gcc,
                *board.build.cflags,
                "-nostartfiles",
                f"-T{script}",
                *(str(path) for path in objects),
                "-Wl,--gc-sections",
                f"-Wl,-Map={elf.with_suffix('.map')}",
                "-o",
                str(elf),
            ],
            timeout_s=TIMEOUT_S,
        )
        if answer.returncode == 0:
            return
        elf.unlink(missing_ok=True)
        overflows = {region: int(count) for region, count in _OVERFLOW.findall(answer.stderr)}
        if not overflows:
            raise LitesightError(f"{elf.name} does not link for {board.id}: {_first_fault(answer.stderr)}")
        if constants.name not in overflows:
            break
    room = {memory.name: memory for memory in board.memory}
    told = "; ".join(
        f"{name} ({room[name].kind}, {room[name].usable:,} bytes) is short of {count:,} bytes"
        for name, count in overflows.items()
    )
    raise LitesightError(f"the program does not fit {board.id}: {told}")


_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes?")


def _first_fault(stderr: str) -> str:
    """The first line that tells an error, and nothing where the tool said nothing."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    faults = [line for line in lines if re.search(r"error|undefined reference|multiple definition|cannot find", line)]
    text = (faults or lines or ["the tool said nothing"])[0]
    return text if len(text) <= MESSAGE_LENGTH else text[:MESSAGE_LENGTH] + "…"
