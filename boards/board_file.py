# SPDX-License-Identifier: Apache-2.0
"""Reads the TOML file of a board. Whatever it does not understand is an error that says what was expected."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from boards.board import CODE, CONSTANTS, DATA, FLASH, RAM, Board, Build, Emulator, Mcu, Memory, Serial
from device.errors import LitesightError

SCHEMA = 1
PORTS = Path(__file__).parent / "ports"
CORES: Mapping[str, tuple[str, ...]] = {
    "cortex-m0plus": (),
    "cortex-m3": (),
    "cortex-m4": ("dsp", "fpu-sp"),
    "cortex-m7": ("dsp", "fpu-sp", "fpu-dp"),
    "cortex-m33": ("dsp", "fpu-sp"),
    "cortex-m55": ("dsp", "mve", "fpu-sp", "fpu-dp"),
}
"""The cores, and which extensions a chip with such a core can have."""

FEATURES = ("dsp", "mve", "fpu-sp", "fpu-dp")
TOOLCHAINS = ("arm-none-eabi",)
EMULATORS = ("qemu-system-arm",)
MAXIMUM_FILE_BYTES = 65536
ADDRESS_SPACE = 1 << 32

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_REGION = re.compile(r"[a-z][a-z0-9_]{0,31}")
_USB = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
# The file may come from anywhere: only flags that describe the core, for others (-fplugin, -wrapper) run programs.
_CFLAG = re.compile(r"-m[a-z0-9-]+(=[A-Za-z0-9.+_-]+)?")
_DEFINE = re.compile(r"[A-Z][A-Z0-9_]{0,63}=[A-Za-z0-9_]{1,63}")
_MACHINE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def read_board(path: Path) -> Board:
    """Read a board's file.

    Raises:
        LitesightError: the file cannot be read, is not TOML, or breaks a rule; the message names the key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_FILE_BYTES + 1)
    except OSError as error:
        raise LitesightError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > MAXIMUM_FILE_BYTES:
        raise LitesightError(
            f"{path}: expected a board's file of at most {MAXIMUM_FILE_BYTES} bytes, found a larger one"
        )
    return parse_board(content, str(path))


def parse_board(content: bytes, where: str) -> Board:
    """Make a board of the bytes of its file.

    Args:
        content: TOML in UTF-8.
        where: the file's name, for messages.

    Raises:
        LitesightError: as :func:`read_board`.
    """
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, or a number of thousands of digits
        raise LitesightError(f"{where}: expected TOML: {error}") from None
    return _board(_Table(document, where, ""))


class _Table:
    """A table of the file that knows its name, so that every error says where it is."""

    def __init__(self, values: dict[str, object], where: str, name: str) -> None:
        self.values, self.where, self.name = values, where, name

    def fail(self, key: str, expected: str, hint: str = "") -> LitesightError:
        full = f"{self.name}.{key}" if self.name else key
        found = f"found {_shown(self.values[key])}" if key in self.values else "it is missing"
        return LitesightError(f"{self.where}: {full}: expected {expected}, {found}", hint=hint)

    def keys(self, known: Sequence[str]) -> None:
        for key in self.values:
            if key not in known:
                place = f"[{self.name}]" if self.name else "the top level"
                near = _nearest(key, known)
                raise LitesightError(
                    f"{self.where}: unknown key {_shown(key)} at {place}; expected {', '.join(known)}", hint=near
                )

    def text(self, key: str, pattern: re.Pattern[str] | None = None, expected: str = "a text") -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 200:
            raise self.fail(key, expected)
        if pattern is not None and pattern.fullmatch(value) is None:
            raise self.fail(key, expected)
        return value

    def choice(self, key: str, choices: Collection[str], what: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or value not in choices:
            raise self.fail(key, f"{what}: one of {', '.join(choices)}", _nearest(value, choices))
        return value

    def integer(self, key: str, lowest: int, highest: int, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise self.fail(key, f"an integer from {_number(lowest)} to {_number(highest)}")
        return value

    def texts(
        self, key: str, expected: str, pattern: re.Pattern[str] | None = None, choices: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """A list of texts, empty where the key is missing; each matches the pattern, or is one of the choices."""
        value = self.values.get(key, [])
        expected = f"a list of {expected}" + (f" (of {', '.join(choices)})" if choices else "")
        if not isinstance(value, list):
            raise self.fail(key, expected)
        texts: list[str] = []
        for item in value:
            if not isinstance(item, str) or (choices and item not in choices):
                raise self.fail(key, expected, _nearest(item, choices))
            if (pattern is not None and pattern.fullmatch(item) is None) or item in texts:
                raise self.fail(key, f"{expected}, each once")
            texts.append(item)
        return tuple(texts)

    def table(self, key: str) -> _Table:
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise self.fail(key, f"a table [{key}]")
        return _Table(value, self.where, key)

    def tables(self, key: str) -> list[_Table]:
        value = self.values.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise self.fail(key, f"one table [[{key}]] or more")
        return [_Table(item, self.where, f"{key}[{index}]") for index, item in enumerate(value)]


def _board(top: _Table) -> Board:
    if top.values.get("schema") != SCHEMA or isinstance(top.values.get("schema"), bool):
        raise top.fail("schema", f"{SCHEMA}")
    top.keys(("schema", "id", "name", "port", "mcu", "memory", "build", "serial", "emulator"))
    ports = sorted(
        path.name for path in PORTS.iterdir() if path.is_dir() and path.name not in ("cortex_m", "__pycache__")
    )
    mcu = _mcu(top.table("mcu"))
    return Board(
        id=top.text("id", _ID, "lower-case letters, digits and hyphens"),
        name=top.text("name", expected="the board's name for people"),
        port=top.choice("port", ports, "a directory of boards/ports"),
        mcu=mcu,
        memory=_memory(top.tables("memory"), top.where),
        build=_build(top.table("build"), mcu.core),
        serial=_serial(top.table("serial")),
        emulator=_emulator(top.table("emulator")) if "emulator" in top.values else None,
    )


def _mcu(table: _Table) -> Mcu:
    table.keys(("part", "core", "features", "clock_hz"))
    part = table.text("part", expected="the maker's part number")
    core = table.choice("core", CORES, "a core")
    features = frozenset(table.texts("features", "features", choices=FEATURES))
    if not features <= set(CORES[core]):
        raise table.fail("features", f"extensions that a {core} can have ({', '.join(CORES[core]) or 'none'})")
    return Mcu(
        part=part,
        core=core,
        features=features,
        clock_hz=table.integer("clock_hz", 1_000_000, 2_000_000_000),
    )


def _memory(tables: Iterable[_Table], where: str) -> tuple[Memory, ...]:
    regions: list[Memory] = []
    for table in tables:
        table.keys(("name", "kind", "origin", "length", "holds", "reserve"))
        name = table.text("name", _REGION, "a name of lower-case letters, digits and underscores")
        if any(region.name == name for region in regions):
            raise table.fail("name", "a name that no other region has")
        kind = table.choice("kind", (FLASH, RAM), "a kind of memory")
        origin = table.integer("origin", 0, ADDRESS_SPACE - 4)
        length = table.integer("length", 4, ADDRESS_SPACE - origin)
        if origin % 4 or length % 4:
            raise table.fail("origin" if origin % 4 else "length", "a multiple of 4")
        holds = frozenset(table.texts("holds", "contents", choices=(CODE, CONSTANTS, DATA)))
        if DATA in holds and kind != RAM:
            raise table.fail("holds", f"{DATA!r} in a region of kind {RAM!r} only")
        reserve = table.integer("reserve", 0, length - 4, default=0)
        regions.append(Memory(name, kind, origin, length, holds, reserve))
    for one, other in combinations(regions, 2):
        if one.origin < other.end and other.origin < one.end:
            raise LitesightError(
                f"{where}: memory: expected regions apart from each other, found {one.name} ({one.origin:#010x} to "
                f"{one.end:#010x}) over {other.name} ({other.origin:#010x} to {other.end:#010x})"
            )
    for content in (CODE, DATA):
        holders = [region.name for region in regions if content in region.holds]
        if len(holders) != 1:
            found = " and ".join(holders) or "none"
            raise LitesightError(f"{where}: memory: expected one region with {content!r} in holds, found {found}")
    return tuple(regions)


def _build(table: _Table, core: str) -> Build:
    table.keys(("toolchain", "cflags", "defines", "stack_bytes"))
    cflags = table.texts("cflags", "flags that describe the core, as -mcpu=cortex-m4", pattern=_CFLAG)
    if not cflags:
        raise table.fail("cflags", "a list of flags that describe the core, as -mcpu=cortex-m4")
    others = [flag for flag in cflags if flag.startswith("-mcpu=") and flag[6:].split("+")[0] != core]
    if others:
        raise table.fail("cflags", f"-mcpu={core}, the core of [mcu]")
    return Build(
        toolchain=table.choice("toolchain", TOOLCHAINS, "a toolchain"),
        cflags=cflags,
        defines=table.texts("defines", 'definitions for the port, as "LITESIGHT_CRYSTAL_HZ=8000000"', pattern=_DEFINE),
        stack_bytes=table.integer("stack_bytes", 1024, 1 << 24, default=0x1000),
    )


def _serial(table: _Table) -> Serial:
    table.keys(("baud", "address", "usb"))
    return Serial(
        baud=table.integer("baud", 1200, 20_000_000),
        address=table.integer("address", 0, ADDRESS_SPACE - 4),
        usb=table.texts("usb", 'USB ids, as "0483:374b"', pattern=_USB),
    )


def _emulator(table: _Table) -> Emulator:
    table.keys(("tool", "machine", "serial"))
    return Emulator(
        tool=table.choice("tool", EMULATORS, "an emulator"),
        machine=table.text("machine", _MACHINE, "the emulator's name of the board"),
        serial=table.integer("serial", 0, 7, default=0),
    )


def _nearest(word: object, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean {near[0]}?" if near else ""


def _number(value: int) -> str:
    return f"{value:#x}" if value >= 1 << 20 else str(value)


def _shown(value: object) -> str:
    """A value of the file, short and on one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
