# SPDX-License-Identifier: Apache-2.0
"""Reading programs: what a damaged file does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boards.build import Image
from boards.elf_file import read_elf
from device.errors import LitesightError

# 65,535 section headers of no length, all the same one: minutes of work for a reader that believes it
OVERLAPPING = b"\x7fELF\x01\x01" + bytes(42) + b"\xff\xff" + bytes(60)


def test_functions_and_objects_have_address_and_size(probe: Callable[[str], Image]) -> None:
    symbols = {symbol.name: symbol for symbol in probe("mps2-an386").program.symbols}
    assert symbols["main"].is_function
    assert symbols["main"].address % 2 == 0
    assert not symbols["zeroed"].is_function
    assert symbols["zeroed"].size == 12
    assert 0x2000_0000 <= symbols["zeroed"].address < 0x2040_0000


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(100), b"\x7fELF\x01\x01" + bytes(100), OVERLAPPING]
)
def test_file_that_is_no_program_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.elf"
    path.write_bytes(content)
    with pytest.raises(LitesightError, match="expected a 32-bit little-endian ELF file"):
        read_elf(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LitesightError, match="cannot be read"):
        read_elf(tmp_path / "none.elf")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, 1 << 16), what=st.binary(min_size=1, max_size=8), keep=st.floats(0, 1))
def test_damaged_program_is_read_or_refused_but_nothing_else(
    where: int, what: bytes, keep: float, probe: Callable[[str], Image], tmp_path: Path
) -> None:
    content = bytearray(probe("mps2-an386").elf.read_bytes())
    where %= len(content)
    content[where : where + len(what)] = what
    path = tmp_path / "damaged.elf"
    for damaged in (content, content[: int(len(content) * keep)]):
        path.write_bytes(damaged)
        try:
            read_elf(path)
        except LitesightError as error:
            assert "ELF" in str(error)  # noqa: PT017 - it may be read just as well
