# SPDX-License-Identifier: Apache-2.0
"""Building for a board: what is said of sizes is true, what fails is told, and nothing old is left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from boards.board import Board
from boards.board_file import parse_board
from boards.build import Image, build, compiler_flags, measure, port_sources
from boards.catalogue import all_boards, find
from boards.emulator import emulate_until
from boards.toolchain import find_toolchain
from device.errors import LitesightError

DATA = Path(__file__).parent / "data"
BOARDS = [board.id for board in all_boards()]
PRINTS = '#include "litesight_port.h"\n'


@pytest.fixture(autouse=True)
def _compiler(require_tool: Callable[[str], str]) -> None:
    require_tool("arm-none-eabi-gcc")


def small_board(flash: int = 0x4000, ram: int = 0x8000, extra: str = "") -> Board:
    """The valid board of the fixtures with other sizes, and a second region for constants."""
    text = (DATA / "valid.toml").read_text(encoding="utf-8")
    text = text.replace("length = 0x1_0000", f"length = {flash}").replace("length = 0x8000", f"length = {ram}")
    psram = (
        '[[memory]]\nname = "psram"\nkind = "flash"\norigin = 0x2100_0000\nlength = 0x10_0000\nholds = ["constants"]\n'
    )
    return parse_board(text.replace("[build]", f"{psram}\n[build]\n{extra}").encode(), "small.toml")


def write(directory: Path, text: str, name: str = "main.c") -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def used(image: Image) -> dict[str, int]:
    return {region.name: region.used for region in image.regions}


@pytest.mark.parametrize("board", BOARDS)
def test_sizes_are_those_that_the_tool_size_reports(board: str, probe: Callable[[str], Image]) -> None:
    image = probe(board)
    size = find_toolchain(image.board.build.toolchain).size
    table = subprocess.run([size, "-A", "-d", str(image.elf)], capture_output=True, text=True, check=True, timeout=20)
    sizes = {row[0]: int(row[1]) for row in map(str.split, table.stdout.splitlines()) if row and row[0].startswith(".")}
    assert image.code_bytes == sizes[".vectors"] + sizes[".text"]
    assert image.constant_bytes == sizes[".rodata"]
    assert image.data_bytes == sizes[".data"] == 8  # `initialised` and `again`
    assert image.bss_bytes == sizes[".bss"] == 16  # `zeroed` and the counter's wraps
    assert image.stack_bytes == sizes[".stack"] == image.board.build.stack_bytes
    code, data = image.board.holding("code")[0].name, image.board.holding("data")[0].name
    assert used(image)[code] == image.flash_bytes == image.code_bytes + image.constant_bytes + image.data_bytes
    assert used(image)[data] == image.ram_bytes + image.stack_bytes == 24 + image.stack_bytes
    assert sum(used(image).values()) == used(image)[code] + used(image)[data]


@pytest.mark.parametrize("board", BOARDS)
def test_vectors_lie_at_the_reset_address_and_the_stack_at_the_bottom_of_the_ram(
    board: str, probe: Callable[[str], Image]
) -> None:
    image = probe(board)
    sections = {section.name: section for section in image.program.sections}
    assert sections[".vectors"].address == image.board.holding("code")[0].origin
    assert sections[".stack"].address == image.board.holding("data")[0].origin
    assert sections[".data"].address == sections[".stack"].address + sections[".stack"].size
    # Initial values are stored where the code is, at an address of their own.
    assert sections[".data"].load_address is not None
    assert sections[".data"].load_address + 8 == image.board.holding("code")[0].origin + image.flash_bytes
    assert sections[".bss"].load_address is None


def test_unused_functions_and_the_standard_input_and_output_are_left_out(tmp_path: Path) -> None:
    source = write(tmp_path, "int unused(void); int unused(void) { return 1; }\nint main(void) { return 0; }\n")
    image = build(find("mps2-an385"), [source], output_dir=tmp_path)
    names = {symbol.name for symbol in image.program.symbols}
    assert "unused" not in names
    assert {"main", "litesight_reset"} <= names
    assert image.code_bytes < 1200
    assert image.ram_bytes <= 8


def test_large_constants_go_where_there_is_room_and_arrive(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    numbers = ",".join(str(index % 251) for index in range(20_000))
    source = write(
        tmp_path,
        f"{PRINTS}extern const uint8_t weights[20000];\nconst uint8_t weights[20000] = {{{numbers}}};\n"
        "int main(void) { uint32_t sum = 0; for (volatile uint32_t i = 0; i < 20000; i = i + 1) sum += weights[i];\n"
        "litesight_port_print_number(sum); return 0; }\n",
    )
    fits = build(small_board(flash=0x8000), [source], output_dir=tmp_path / "fits", large_constants=["weights*"])
    apart = build(small_board(), [source], output_dir=tmp_path / "apart", large_constants=["weights*"])
    assert used(fits)["psram"] == 0
    assert used(apart)["psram"] == 20_000
    assert used(fits)["flash"] == used(apart)["flash"] + 20_000
    assert fits.constant_bytes == apart.constant_bytes
    assert fits.flash_bytes == apart.flash_bytes
    expected = f"{sum(index % 251 for index in range(20_000))}\nm-end-[0]\n"
    for image in (fits, apart):
        assert emulate_until(image.board, image.elf, timeout_s=30) == expected


@pytest.mark.parametrize("board", ["mps2-an505", "mps3-an547", "mps2-an500", "mps2-an385"])
def test_emulator_fills_the_second_region_for_constants(
    board: str, require_tool: Callable[[str], str], tmp_path: Path
) -> None:
    require_tool("qemu-system-arm")
    known = find(board)
    first, *others = known.holding("constants")
    size = first.length  # with the code beside it, just too much
    text = f'.section .rodata.weights,"a"\n.global weights\nweights: .fill {size // 4}, 4, 0x01010101\n'
    assembly = write(tmp_path, text, "weights.s")
    source = write(
        tmp_path,
        f"{PRINTS}extern const uint32_t weights[];\n"
        f"int main(void) {{ litesight_port_print_number(weights[{size // 4 - 1}]); return 0; }}\n",
    )
    image = build(known, [source, assembly], output_dir=tmp_path, large_constants=["weights"])
    assert used(image)[next(region.name for region in others if region.length >= size)] == size
    assert emulate_until(known, image.elf, timeout_s=30) == "16843009\nm-end-[0]\n"


def test_program_too_large_for_the_flash_names_region_and_bytes(tmp_path: Path) -> None:
    board = small_board()
    source = write(
        tmp_path,
        f"{PRINTS}const uint8_t block[30000] = {{1}};\nint main(void) {{ return block[litesight_port_read()]; }}\n",
    )
    with pytest.raises(LitesightError) as raised:
        build(board, [source], output_dir=tmp_path)
    missing = 16384
    over = build(small_board(flash=0x10000), [source], output_dir=tmp_path).flash_bytes - missing
    assert str(
        raised.value
    ) == f"the program does not fit small-board: flash (flash, 16,384 bytes) is short of {over:,} bytes".replace(
        "small-board", board.id
    )


def test_variables_too_large_for_the_ram_name_region_and_bytes_and_heed_the_reserve(tmp_path: Path) -> None:
    source = write(
        tmp_path,
        f"{PRINTS}uint8_t arena[40000];\nint main(void) {{ arena[litesight_port_read()] = 1; return arena[9]; }}\n",
    )
    with pytest.raises(LitesightError) as raised:
        build(small_board(), [source], output_dir=tmp_path, stack_bytes=2000)
    # 32 KiB less 4 KiB of reserve; arena, stack, and 4 bytes of the port's own
    assert f"sram (ram, 28,672 bytes) is short of {40_000 + 2000 + 4 - 28_672:,} bytes" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int main(void) { return 1 }\n", "main.c does not compile: "),
        ("int main(void) { int x = 1; return 0; }\n", "unused variable"),
        ("int main(void) { unsigned char c = 300 * 2u; return c; }\n", "does not compile: "),
        ("int other(void); int main(void) { return other(); }\n", "undefined reference to `other'"),
        ("int start(void); int start(void) { return 0; }\n", "undefined reference to `main'"),
    ],
)
def test_fault_of_a_source_is_told_in_one_line_and_leaves_no_old_program(
    text: str, message: str, tmp_path: Path
) -> None:
    board = find("mps2-an386")
    write(tmp_path, "an older program", "firmware.elf")
    with pytest.raises(LitesightError) as raised:
        build(board, [write(tmp_path, text)], output_dir=tmp_path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "firmware.elf").exists()


def test_first_fault_ends_the_build(tmp_path: Path) -> None:
    sources = [write(tmp_path, "int main(void) { return }\n")]
    sources += [write(tmp_path, f"int later_{i};\n", f"later_{i}.c") for i in range(40)]
    with pytest.raises(LitesightError, match="does not compile"):
        build(find("mps2-an386"), sources, output_dir=tmp_path / "out")
    assert len(list((tmp_path / "out").glob("later_*.o"))) < 20


def test_files_of_the_same_name_are_both_linked(tmp_path: Path) -> None:
    main = write(tmp_path, "int f(void); int g(void); int main(void) { return f() + g(); }\n")
    one = write(tmp_path, "int f(void); int f(void) { return 1; }\n", "a/part.c")
    other = write(tmp_path, "int g(void); int g(void) { return 2; }\n", "b/part.c")
    image = build(find("mps2-an386"), [main, one, other], output_dir=tmp_path, cflags=["-O0"])
    assert {"f", "g"} <= {symbol.name for symbol in image.program.symbols}


def test_includes_and_definitions_reach_the_compiler(tmp_path: Path) -> None:
    write(tmp_path, "#define ANSWER 42\n", "include/answer.h")
    source = write(
        tmp_path, '#include "answer.h"\n_Static_assert(ANSWER == WANTED, "");\nint main(void) { return 0; }\n'
    )
    build(find("mps2-an386"), [source], output_dir=tmp_path, include_dirs=[tmp_path / "include"], defines=["WANTED=42"])


def test_flags_say_clock_serial_line_and_core() -> None:
    flags = compiler_flags(find("netduinoplus2"), defines=["MINE=1"], cflags=["-O3"])
    assert "-mcpu=cortex-m4" in flags
    assert {
        "-DLITESIGHT_CLOCK_HZ=168000000u",
        "-DLITESIGHT_SERIAL_ADDRESS=0x40011400u",
        "-DLITESIGHT_BAUD=115200u",
    } <= set(flags)
    assert {"-DLITESIGHT_CRYSTAL_HZ=25000000", "-DMINE=1"} <= set(flags)
    assert flags.index("-O2") < flags.index("-O3")


@pytest.mark.parametrize("board", BOARDS)
def test_port_of_every_board_has_sources(board: str) -> None:
    names = [path.name for path in port_sources(find(board))]
    assert "litesight_startup.c" in names
    assert f"litesight_port_{find(board).port}.c" in names
    assert len(names) == len(set(names))


def test_program_of_another_board_is_refused(probe: Callable[[str], Image]) -> None:
    image = probe("netduinoplus2")
    with pytest.raises(
        LitesightError, match=r"\.vectors \(0x08000000, 64 bytes\) lies in no memory region of mps2-an386"
    ):
        measure(find("mps2-an386"), image.elf)


def test_missing_compiler_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LitesightError) as raised:
        build(find("mps2-an386"), [DATA / "probe.c"], output_dir=tmp_path)
    assert str(raised.value) == (
        "arm-none-eabi-gcc is not installed (sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi)"
    )


def test_compiler_that_tells_no_version_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for tool in ("gcc", "size", "objdump"):
        path = write(tmp_path, "#!/bin/sh\necho broken >&2\nexit 3\n", f"arm-none-eabi-{tool}")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(LitesightError, match="expected the compiler's version, found broken"):
        find_toolchain("arm-none-eabi")


def test_version_of_the_compiler_is_told() -> None:
    assert int(find_toolchain("arm-none-eabi").version.split(".")[0]) >= 10


def test_output_directory_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    blocked = write(tmp_path, "", "file")
    with pytest.raises(LitesightError, match="cannot be made"):
        build(find("mps2-an386"), [DATA / "probe.c"], output_dir=blocked / "out")
