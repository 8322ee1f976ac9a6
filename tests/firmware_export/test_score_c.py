# SPDX-License-Identifier: Apache-2.0
"""The ranking and the softmax on the chip: integers only, and right."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware_export import probability
from firmware_export.probability import ONE, probabilities, probability_table

ROOM = Path(__file__).resolve().parents[2] / "firmware_export" / "c"
SCORES = st.lists(st.integers(-128, 127), min_size=1, max_size=40)
SCALES = st.floats(1e-4, 0.5)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> ctypes.CDLL:
    import subprocess

    path = tmp_path_factory.mktemp("score") / "score.so"
    command = [require_tool("gcc"), "-std=c11", "-O2", "-shared", "-fPIC", "-fsanitize=undefined"]
    command += ["-fno-sanitize-recover", "-o", str(path), str(ROOM / "litesight_score.c")]
    subprocess.run(command, check=True, timeout=60)
    loaded = ctypes.CDLL(str(path))
    loaded.litesight_next_best.restype = ctypes.c_uint16
    loaded.litesight_softmax_sum.restype = ctypes.c_uint64
    loaded.litesight_softmax.restype = ctypes.c_uint32
    return loaded


def ranking(library: ctypes.CDLL, scores: list[int]) -> list[int]:
    array = (ctypes.c_int8 * len(scores))(*scores)
    found: list[int] = []
    for _ in scores:
        previous = ctypes.byref(ctypes.c_uint16(found[-1])) if found else None
        found.append(library.litesight_next_best(array, ctypes.c_size_t(len(scores)), previous))
    return found


@given(SCORES)
@example([3, 3, 3])
@example([-128] * 5)
@example([127, -128, 127])
def test_the_best_come_first_and_ties_keep_the_class_order(library: ctypes.CDLL, scores: list[int]) -> None:
    assert ranking(library, scores) == sorted(range(len(scores)), key=lambda i: (-scores[i], i))


def on_the_chip(library: ctypes.CDLL, scores: list[int], scale: float) -> list[int]:
    array = (ctypes.c_int8 * len(scores))(*scores)
    table = (ctypes.c_uint32 * 256)(*probability_table(scale, 0, is_probability=False))
    total = ctypes.c_uint64(library.litesight_softmax_sum(array, ctypes.c_size_t(len(scores)), table))
    best = ctypes.c_int8(max(scores))
    return [library.litesight_softmax(ctypes.c_int8(score), best, total, table) for score in scores]


@given(SCORES, SCALES)
@example([-128, 127], 0.5)
@example([0] * 40, 0.1)
@example([-128], 0.0001)
def test_the_softmax_is_right_to_its_last_bit(library: ctypes.CDLL, scores: list[int], scale: float) -> None:
    found = on_the_chip(library, scores, scale)
    real = np.exp(scale * (np.array(scores, np.float64) - max(scores)))
    np.testing.assert_allclose(found, real / real.sum() * ONE, atol=0.5 + 1e-3)
    expected = probabilities(np.array(scores, np.int8), scale, 0, is_probability=False)
    np.testing.assert_array_equal(found, expected)


def test_the_best_class_has_all_bits_of_the_table() -> None:
    assert probability_table(0.1, 3, is_probability=False)[0] == 1 << 30


def test_a_thousand_classes_do_not_overflow(library: ctypes.CDLL) -> None:
    found = on_the_chip(library, [127] * 65535, 0.1)
    assert set(found) == {round(ONE / 65535)}


def test_a_network_with_its_own_softmax_is_believed() -> None:
    table = probability_table(1 / 256, -128, is_probability=True)
    assert (table[0], table[128], table[255]) == (0, ONE // 2, ONE * 255 // 256)
    output = np.array([-128, 0, 127], np.int8)
    assert probability.probabilities(output, 1 / 256, -128, is_probability=True).tolist() == [0, 32768, 65280]
    assert max(probability_table(1 / 100, -128, is_probability=True)) == ONE
