# SPDX-License-Identifier: Apache-2.0
"""The table of a softmax holds exponentials, as many as TFLM takes into account."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_export.static_engine.fixed_point import FixedPointError
from firmware_export.static_engine.softmax_table import exp_on_negative_value, softmax_exponentials


@given(st.integers(-(31 << 26), 0))
def test_the_exponential_is_one(value: int) -> None:
    assert exp_on_negative_value(value) / (1 << 31) == pytest.approx(np.exp(value / (1 << 26)), abs=5e-7)


@pytest.mark.parametrize(("scale", "beta"), [(0.1, 1.0), (0.0039, 2.5), (1.7, 0.3), (9.0, 1.0)])
def test_the_table_holds_the_exponentials_of_the_differences(scale: float, beta: float) -> None:
    table, terms = softmax_exponentials(scale, beta)
    assert table.shape == (256,)
    assert table.dtype == np.int32
    expected = np.exp(-np.arange(256) * scale * beta)
    np.testing.assert_allclose(table[:terms] / 2.0**31, expected[:terms], atol=5e-7)
    assert not table[terms:].any()
    # Nothing of weight is left out: exp(-15) is below a thousandth of the output's step.
    assert terms == 256 or expected[terms] < np.exp(-15)


@pytest.mark.parametrize(
    ("factor", "terms"),
    # Worked out by hand: 31 * 2**26 / 2**shift, where 2**shift is the power of two above factor * 2**26.
    [(2.0**-4, 249), (2.0**-3, 125), (0.999, 32), (1.0, 16), (8.0, 2), (31.0, 1), (1e9, 1), (2.0**-8, 256)],
)
def test_terms_that_tflm_leaves_out_do_not_count(factor: float, terms: int) -> None:
    assert softmax_exponentials(factor, 1.0)[1] == terms


@pytest.mark.parametrize("beta", [0.0, -1.0, 2.0**-27])
def test_a_factor_at_which_tflm_stops_is_refused(beta: float) -> None:
    with pytest.raises(FixedPointError, match=r"expected beta \* scale above 2\*\*-26"):
        softmax_exponentials(1.0, beta)
