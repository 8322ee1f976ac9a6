# SPDX-License-Identifier: Apache-2.0
"""Reads from a linked program what it occupies (System V ABI, ELF-32; little-endian, as all boards here are)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from device.errors import LitesightError

SEGMENT_HEADER_BYTES = 32
SECTION_HEADER_BYTES = 40
PT_LOAD = 1
SHT_SYMTAB = 2
SHT_NOBITS = 8
SHF_ALLOC = 2
STT_OBJECT = 1
STT_FUNC = 2


@dataclass(frozen=True)
class Section:
    """A section that has an address. Addresses and sizes in bytes.

    Attributes:
        address: where the program sees it.
        load_address: where its content is stored; the same but for ``.data``. None where it has no content (``.bss``).
    """

    name: str
    address: int
    load_address: int | None
    size: int


@dataclass(frozen=True)
class Symbol:
    """A function or an object, and its size in bytes."""

    name: str
    address: int
    size: int
    is_function: bool


@dataclass(frozen=True)
class Program:
    """What :func:`read_elf` found."""

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]


def read_elf(path: Path) -> Program:
    """Read the sections and symbols of a linked program.

    Raises:
        LitesightError: the file cannot be read or is not a 32-bit little-endian ELF file.
    """
    try:
        return _program(path.read_bytes())
    except OSError as error:
        raise LitesightError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (struct.error, ValueError, IndexError) as error:
        raise LitesightError(f"{path}: expected a 32-bit little-endian ELF file: {error}") from None


def _program(content: bytes) -> Program:
    if content[:6] != b"\x7fELF\x01\x01":
        raise ValueError("its first bytes are others")
    # e_phoff, e_shoff; e_phentsize .. e_shstrndx
    segments_at, sections_at = struct.unpack_from("<II", content, 28)
    segment_size, segments, section_size, sections, names_index = struct.unpack_from("<5H", content, 42)
    if (segments and segment_size < SEGMENT_HEADER_BYTES) or section_size < SECTION_HEADER_BYTES:
        raise ValueError(f"headers of {segment_size} and {section_size} bytes")
    loads = []
    for index in range(segments):
        kind, offset, virtual, physical, file_size = struct.unpack_from(
            "<5I", content, segments_at + index * segment_size
        )
        if kind == PT_LOAD:
            loads.append((offset, virtual, physical, file_size))
    # name, type, flags, address, offset, size, link
    headers = [struct.unpack_from("<7I", content, sections_at + index * section_size) for index in range(sections)]
    names_at = headers[names_index][4]

    found = []
    symbols: list[Symbol] = []
    for name_at, kind, flags, address, offset, size, link in headers:
        if kind == SHT_SYMTAB:
            symbols = _symbols(content[offset : offset + size], content, headers[link][4])
        if not flags & SHF_ALLOC or size == 0:
            continue
        load_address = None
        if kind != SHT_NOBITS:
            load_address = address
            for load_offset, _, physical, file_size in loads:
                if load_offset <= offset and offset + size <= load_offset + file_size:
                    load_address = physical + offset - load_offset
        found.append(Section(_text(content, names_at + name_at), address, load_address, size))
    return Program(tuple(found), tuple(symbols))


def _symbols(table: bytes, content: bytes, names_at: int) -> list[Symbol]:
    symbols = []
    for name_at, value, size, info, _, section in struct.iter_unpack("<IIIBBH", table):
        kind = info & 15
        if kind in (STT_OBJECT, STT_FUNC) and section != 0:
            # Bit 0 of a function's address says Thumb; it is no part of the address.
            address = value & ~1 if kind == STT_FUNC else value
            symbols.append(Symbol(_text(content, names_at + name_at), address, size, kind == STT_FUNC))
    return symbols


def _text(content: bytes, start: int) -> str:
    return content[start : content.index(b"\0", start)].decode("utf-8", errors="backslashreplace")
