# SPDX-License-Identifier: Apache-2.0
"""The figures that people decide by."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from train_host.evaluate import Evaluation


def evaluation(truth: list[int], int8: list[int], float32: list[int] | None, classes: int = 3) -> Evaluation:
    def logits(answers: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.eye(classes, dtype=np.float32)[answers]

    networks = {"int8": logits(int8)} | ({} if float32 is None else {"float": logits(float32)})
    return Evaluation(tuple("abcdefgh"[:classes]), np.array(truth), networks)


def test_a_case_counted_by_hand() -> None:
    found = evaluation(truth=[0, 0, 1, 1], int8=[0, 1, 1, 1], float32=[0, 0, 1, 0])
    assert found.summary() == {
        "n": 4,
        "float_top1": 0.75,
        "int8_top1": 0.75,
        "agreement": 0.5,
        "runtime": "",
        "per_class": [
            {
                "label": "a",
                "n": 2,
                "int8_recall": 0.5,
                "int8_precision": 1.0,
                "float_recall": 1.0,
                "float_precision": 2 / 3,
            },
            {
                "label": "b",
                "n": 2,
                "int8_recall": 1.0,
                "int8_precision": 2 / 3,
                "float_recall": 0.5,
                "float_precision": 1.0,
            },
        ],
    }
    assert found.confusion().tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]


def test_without_the_float_network_its_figures_are_null_not_zero() -> None:
    found = evaluation(truth=[0, 1], int8=[1, 1], float32=None)
    assert (found.summary()["float_top1"], found.agreement) == (None, None)


def test_a_class_that_is_never_named_has_no_precision() -> None:
    rows = evaluation(truth=[0, 1], int8=[1, 1], float32=None).per_class()
    assert [row["int8_precision"] for row in rows] == [None, 0.5]


answers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50)


@given(answers)
def test_the_tables_add_up(rows: list[tuple[int, int, int]]) -> None:
    truth, int8, float32 = (list(column) for column in zip(*rows, strict=True))
    found = evaluation(truth, int8, float32, classes=5)
    confusion = found.confusion()
    assert confusion.sum() == len(rows)
    assert confusion.trace() / len(rows) == found.top1("int8")
    classes = found.per_class()
    right = sum(row["int8_recall"] * row["n"] for row in classes)
    assert abs(right - confusion.trace()) < 1e-9
    assert found.agreement == sum(a == b for a, b in zip(int8, float32, strict=True)) / len(rows)
