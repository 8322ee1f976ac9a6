# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import LitesightError
from device.manifest import OutputSpec
from device.postprocess import probabilities, top_k

LOGITS = OutputSpec(scale=0.5, zero_point=-3, activation="none")
SOFTMAX = OutputSpec(scale=1 / 256, zero_point=-128, activation="softmax")


def test_logits_are_dequantised_before_the_softmax() -> None:
    found = probabilities(np.array([-3, -1, 3], np.int8), LOGITS)
    powers = [math.exp(0), math.exp(1), math.exp(3)]
    assert np.allclose(found, np.array(powers) / sum(powers), rtol=1e-12)


def test_int8_softmax_is_read_as_it_is() -> None:
    assert probabilities(np.array([-128, 0, 127], np.int8), SOFTMAX).tolist() == [0.0, 0.5, 255 / 256]


def test_float_logits_need_no_scale() -> None:
    found = probabilities(np.array([0.0, math.log(3.0)], np.float32), LOGITS)
    assert np.allclose(found, [0.25, 0.75], atol=1e-7)


def test_large_logits_do_not_overflow() -> None:
    found = probabilities(np.array([1e4, -1e4], np.float32), LOGITS)
    assert found.tolist() == [1.0, 0.0]


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=40), st.integers(1, 50))
def test_top_k_is_ordered_and_ties_go_to_the_lower_index(scores: list[int], k: int) -> None:
    labels = tuple(f"class {number}" for number in range(len(scores)))
    found = top_k(np.array(scores, np.int8), labels, LOGITS, k)
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert [each.index for each in found] == expected
    assert [each.label for each in found] == [labels[i] for i in expected]
    assert [each.score for each in found] == [scores[i] for i in expected]
    chances = [each.probability for each in found]
    assert chances == sorted(chances, reverse=True)
    assert math.isclose(probabilities(np.array(scores, np.int8), LOGITS).sum(), 1.0)


def test_classes_far_apart_keep_their_order_where_the_softmax_rounds_both_to_zero() -> None:
    wide = OutputSpec(scale=20.0, zero_point=0, activation="none")
    found = top_k(np.array([-128, -100, 127], np.int8), ("a", "b", "c"), wide, 3)
    assert found[1].probability == found[2].probability == 0.0
    assert [each.label for each in found] == ["c", "b", "a"]


def test_labels_that_do_not_fit_the_output_are_refused() -> None:
    with pytest.raises(LitesightError, match="expected 2 outputs, one per label, found 3"):
        top_k(np.zeros(3, np.int8), ("a", "b"), LOGITS, 1)
    with pytest.raises(LitesightError, match="at least one label"):
        top_k(np.zeros(2, np.int8), ("a", "b"), LOGITS, 0)
