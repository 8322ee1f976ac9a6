# SPDX-License-Identifier: Apache-2.0
"""Writes the linker script of a board from its memory regions."""

from __future__ import annotations

from collections.abc import Sequence

from boards.board import CODE, DATA, Board, Memory

STACK_GUARD_BYTES = 4096
"""Below the stack, to be made inaccessible; the port's MPU code counts on this size and alignment."""

STACK_ALIGNMENT = 8
"""Bytes; the Arm procedure call standard (AAPCS32, 6.2.1.2) wants the stack aligned so."""


def linker_script(
    board: Board, *, stack_bytes: int, constants: Memory | None = None, large_constants: Sequence[str] = ()
) -> str:
    """The script, for GNU ld.

    The stack lies at the bottom of the RAM, below all variables: where it overflows it leaves the RAM and the core
    faults, instead of writing over variables unnoticed.

    Args:
        board: whose regions are used.
        stack_bytes: size of the stack, rounded up to 8.
        constants: region for the large constants; None leaves them beside the code.
        large_constants: names, or glob patterns of names, of the constant arrays that are meant.
    """
    (code,) = board.holding(CODE)
    (data,) = board.holding(DATA)
    regions = [code, data]
    if constants is not None and constants not in regions:
        regions.append(constants)
    guard = data.origin - STACK_GUARD_BYTES
    is_free = (
        guard >= 0
        and guard % STACK_GUARD_BYTES == 0
        and not any(memory.end > guard and memory.origin < data.origin for memory in board.memory)
    )
    stack = -(-stack_bytes // STACK_ALIGNMENT) * STACK_ALIGNMENT

    lines = ["/* Written by boards/linker_script.py. */", "ENTRY(litesight_reset)", "", "MEMORY", "{"]
    for region in regions:
        access = "rx" if region.kind == "flash" else "rwx"
        lines.append(f"  {region.name} ({access}) : ORIGIN = {region.origin:#010x}, LENGTH = {region.usable:#x}")
    lines += ["}", "", "SECTIONS", "{"]
    lines += _section(".vectors", ["KEEP(*(.vectors))"], code.name)
    lines += _section(".text", ["*(.text .text.*)"], code.name)
    if constants is not None and large_constants:
        patterns = " ".join(f".rodata.{name}" for name in large_constants)
        lines += _section(".constants", [f"*({patterns})"], constants.name)
    lines += _section(".rodata", ["*(.rodata .rodata.*)"], code.name)
    lines += ["  .ARM.exidx :", "  {", "    *(.ARM.exidx .ARM.exidx.*)", f"  }} > {code.name}"]
    lines += [
        f"  litesight_stack_guard = {guard if is_free else data.origin:#010x};",
        "  .stack (NOLOAD) :",
        "  {",
        f"    . = ALIGN({STACK_ALIGNMENT});",
        "    litesight_stack_limit = .;",
        f"    . += {stack:#x};",
        "    litesight_stack_top = .;",
        f"  }} > {data.name}",
        "  .data :",
        "  {",
        "    . = ALIGN(4);",
        "    litesight_data_start = .;",
        "    *(.data .data.*)",
        "    . = ALIGN(4);",
        "    litesight_data_end = .;",
        f"  }} > {data.name} AT > {code.name}",
        "  litesight_data_load = LOADADDR(.data);",
        "  .bss (NOLOAD) :",
        "  {",
        "    . = ALIGN(4);",
        "    litesight_bss_start = .;",
        "    *(.bss .bss.* COMMON)",
        "    . = ALIGN(4);",
        "    litesight_bss_end = .;",
        f"  }} > {data.name}",
        "  /DISCARD/ :",
        "  {",
        "    *(.comment .init .fini .init_array* .fini_array* .eh_frame*)",
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _section(name: str, content: Sequence[str], region: str) -> list[str]:
    return [f"  {name} :", "  {", *(f"    {line}" for line in content), "    . = ALIGN(4);", f"  }} > {region}"]
