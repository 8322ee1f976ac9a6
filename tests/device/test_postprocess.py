# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.errors import LitesightError
from device.manifest import OutputSpec
from device.postprocess import Prediction, probabilities, top_k

LOGITS = OutputSpec(scale=0.5, zero_point=-3, activation="none")
SOFTMAX = OutputSpec(scale=1 / 256, zero_point=-128, activation="softmax")


def plain_probabilities(output: NDArray[Any], spec: OutputSpec) -> NDArray[np.float64]:
    """The formula without tables, as the reference."""
    real = output.astype(np.float64)
    if output.dtype == np.int8:
        real = (real - spec.zero_point) * spec.scale
    if spec.activation == "softmax":
        return np.clip(real, 0.0, 1.0)
    powers = np.exp(real - real.max())
    result: NDArray[np.float64] = powers / powers.sum()
    return result


def plain_top_k(output: NDArray[Any], labels: tuple[str, ...], spec: OutputSpec, k: int) -> tuple[Prediction, ...]:
    """The whole order, sorted in float64, as the reference."""
    order = np.argsort(-output.astype(np.float64), kind="stable")[:k]
    likely = plain_probabilities(output, spec)
    return tuple(Prediction(int(i), labels[i], float(likely[i]), output[i].item()) for i in order)


SPECS = st.builds(
    OutputSpec,
    scale=st.floats(2.0**-126, 3e38) | st.floats(1e-3, 1.0),
    zero_point=st.integers(-128, 127),
    activation=st.sampled_from(["none", "softmax"]),
)


@given(st.integers(1, 1500), st.integers(0, 2**32 - 1), st.integers(1, 128), SPECS, st.integers(1, 12))
def test_the_tables_give_the_same_bits_as_the_formula(
    classes: int, seed: int, spread: int, spec: OutputSpec, k: int
) -> None:
    random = np.random.default_rng(seed)
    labels = tuple(f"class {number}" for number in range(classes))
    output = random.integers(-spread, spread, classes, np.int8)
    assert top_k(output, labels, spec, k) == plain_top_k(output, labels, spec, k)
    expected = plain_probabilities(output, spec)
    assert probabilities(output, spec).tobytes() == expected.tobytes()
    out = np.full(classes, np.nan)
    assert probabilities(output, spec, out=out) is out
    assert out.tobytes() == expected.tobytes()
    # The caller may write into what it got; the tables must not notice.
    out[:] = 7.0
    assert probabilities(output, spec).tobytes() == expected.tobytes()
    # A view that is not contiguous, and float logits.
    assert top_k(output[::-1], labels, spec, k) == plain_top_k(output[::-1], labels, spec, k)
    real = random.normal(0, 5, classes).astype(np.float32)
    assert top_k(real, labels, spec, k) == plain_top_k(real, labels, spec, k)
    assert probabilities(real, spec, out=out).tobytes() == plain_probabilities(real, spec).tobytes() == out.tobytes()


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
