# SPDX-License-Identifier: Apache-2.0
"""A runtime that rounds otherwise passes; a model, a file or a machine that computes something else does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from device import bundle
from device.bundle import Bundle
from device.golden_check import TOLERANCE_STEPS, GoldenCheck, GoldenError, check_golden
from device.interpreter import Interpreter, open_interpreter

BundleMaker = Callable[..., Path]


def check(expected: list[list[int]], found: list[list[int]], activation: str = "none") -> GoldenCheck:
    """Judge made-up outputs of a network."""
    golden = bundle.Golden(np.zeros((len(expected), 1, 1, 3), np.int8), np.array(expected, np.int8), "tflite-micro 1")
    answers = iter(np.array(found, np.int8))
    fake: Any = SimpleNamespace(
        golden=lambda: golden,
        manifest=SimpleNamespace(name="cells", output=SimpleNamespace(activation=activation)),
    )
    interpreter: Any = SimpleNamespace(runtime="LiteRT 1", invoke=lambda vector: next(answers))
    return check_golden(cast(Bundle, fake), cast(Interpreter, interpreter))


def test_the_true_vectors_of_a_network_pass(good_bundle: Path) -> None:
    loaded = bundle.load(good_bundle)
    interpreter = open_interpreter(loaded.model_bytes(), threads=1)
    found = check_golden(loaded, interpreter)
    assert (found.vectors, found.same_answer, found.largest_difference) == (3, 3, 0)
    assert (found.oracle, found.runtime) == ("made up for the tests", interpreter.runtime)
    assert str(found) == "3 of 3 golden vectors give the same answer, the largest difference is 0 of at most 32 steps"


def test_vectors_of_another_network_are_refused(
    make_bundle: BundleMaker, true_golden: tuple[NDArray[np.int8], NDArray[np.int8]]
) -> None:
    inputs, outputs = true_golden
    loaded = bundle.load(make_bundle(golden=(inputs, np.roll(outputs, 1, axis=1))))
    with pytest.raises(
        GoldenError, match=r"tiny does not answer on this machine .* golden vector 0: an output differs"
    ):
        check_golden(loaded, open_interpreter(loaded.model_bytes(), threads=1))


@pytest.mark.parametrize("activation", TOLERANCE_STEPS)
def test_the_tolerance_is_the_stated_one_to_the_step(activation: str) -> None:
    limit = TOLERANCE_STEPS[activation]
    found = check([[-128, 20]], [[-128 + limit, 20]], activation)
    assert (found.largest_difference, found.tolerance, found.same_answer) == (limit, limit, 1)
    with pytest.raises(GoldenError, match=f"golden vector 0: an output differs by {limit + 1} steps, at most {limit}"):
        check([[-128, 20]], [[-127 + limit, 20]], activation)


def test_differences_do_not_wrap_around() -> None:
    with pytest.raises(GoldenError, match="differs by 255 steps"):
        check([[-128, 0]], [[127, 0]])


def test_of_a_near_tie_either_class_may_win_and_it_is_counted() -> None:
    found = check([[10, 9], [50, 9], [0, 32]], [[9, 10], [50, 9], [16, 15]])
    assert (found.vectors, found.same_answer) == (3, 1)


def test_a_clear_answer_must_be_the_same() -> None:
    with pytest.raises(GoldenError, match="golden vector 1: the answer is class 0, not 1"):
        check([[5, 90], [0, 33]], [[5, 90], [17, 16]])


def test_one_bad_vector_among_good_ones_is_found() -> None:
    with pytest.raises(GoldenError, match="golden vector 2: an output differs by 40 steps"):
        check([[0, 50]] * 4, [[0, 50], [0, 50], [40, 50], [0, 50]])


def test_a_network_with_one_output_has_no_second() -> None:
    assert check([[5]], [[6]]).same_answer == 1
