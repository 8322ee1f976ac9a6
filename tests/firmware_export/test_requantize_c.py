# SPDX-License-Identifier: Apache-2.0
"""The rounding of litesight_requantize.h is that of the exporter's reference, at the ends of every range too."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_export import export_files
from firmware_export.static_engine.channel_table import channel_table
from firmware_export.static_engine.fixed_point import requantize
from firmware_export.static_engine.layers import Requantization
from tests.firmware_export.static_host import SANITIZERS, WARNINGS, Run

Tool = Callable[[str], str]

PROGRAM = """
#include <stdio.h>
#include "litesight_requantize.h"
int main(void) {
  int32_t given[3];
  while (fread(given, sizeof given, 1, stdin) == 1) {
    const int32_t result = litesight_rescale(given[0], given[1], given[2]);
    fwrite(&result, sizeof result, 1, stdout);
  }
  return 0;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_rescaling_is_exact_for_all_shifts_and_for_extreme_values(
    tmp_path: Path, require_tool: Tool, run_tool: Run, compiler: str
) -> None:
    rng = np.random.default_rng(0)
    count = 200_000
    given = np.empty((count, 3), np.int32)
    given[:, 0] = rng.integers(-(2**31), 2**31, count) >> rng.integers(0, 32, count)
    given[:, 1] = rng.integers(2**30, 2**31, count)
    given[:, 2] = rng.integers(-8, 32, count)
    ends = np.array([-(2**31), -(2**31) + 1, -1, 0, 1, 2**30, -(2**30), 2**31 - 1])
    given[: len(ends) * 3 * 32, 0] = np.repeat(ends, 96)
    given[: len(ends) * 3 * 32, 1] = np.tile(np.repeat([2**30, 2**30 + 1, 2**31 - 1], 32), len(ends))
    given[: len(ends) * 3 * 32, 2] = np.tile(np.arange(32), 3 * len(ends))
    # What a shift to the left pushes out of 32 bits is not defined anywhere.
    left = np.maximum(-given[:, 2], 0)
    given[:, 0] = np.where(left > 0, given[:, 0] >> (left + 1), given[:, 0])
    given[-100:, 1] = 0

    (tmp_path / "program.c").write_text(PROGRAM)
    folders = [f"-I{export_files.ROOM / 'c' / 'static'}"]
    command = [require_tool(compiler), "-std=c11", *WARNINGS, *SANITIZERS, *folders, "program.c", "-o", "program"]
    run_tool(command, cwd=tmp_path)
    result = subprocess.run([tmp_path / "program"], input=given.tobytes(), capture_output=True, timeout=60, check=True)
    expected = requantize(given[:, 0], given[:, 1], -given[:, 2])
    np.testing.assert_array_equal(np.frombuffer(result.stdout, np.int32), expected)


def scale(multipliers: list[int], shifts: list[int]) -> Requantization:
    return Requantization(np.array(multipliers, np.int32), np.array(shifts, np.int32), 0, -128, 127)


def unpacked(words: NDArray[np.uint32], base: int) -> tuple[list[int], list[int]]:
    """As litesight_channel_scale does it."""
    multipliers = [(int(word) & 0x3FFFFFFF) | 0x40000000 for word in words]
    return multipliers, [-(base + (int(word) >> 30)) for word in words]


def test_a_packed_word_holds_multiplier_and_shift() -> None:
    multipliers, shifts = [2**30, 2**31 - 1, 0x55555555, 2**30 + 7], [-9, -6, -7, -8]
    table = channel_table(scale(multipliers, shifts))
    assert table.shifts is None
    assert unpacked(table.words, table.base_shift) == (multipliers, shifts)
    assert table.size_bytes == 16


@pytest.mark.parametrize(
    ("multipliers", "shifts"),
    [([2**30, 2**30], [-3, -7]), ([0, 2**30], [0, 0]), ([2**30, 2**30], [1, 0]), ([2**31 - 1], [30])],
)
def test_what_does_not_fit_a_word_has_a_shift_of_its_own(multipliers: list[int], shifts: list[int]) -> None:
    table = channel_table(scale(multipliers, shifts))
    assert table.words.tolist() == multipliers
    assert table.shifts is not None
    assert table.shifts.tolist() == [-shift for shift in shifts]
    assert table.size_bytes == 5 * len(shifts)
