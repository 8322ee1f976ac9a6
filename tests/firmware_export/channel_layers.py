# SPDX-License-Identifier: Apache-2.0
"""Pointwise layers whose channels are such as training leaves behind, for what kernels pack into their weights."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from firmware_export.static_engine.layers import Convolution, Requantization, Window


def pointwise(weights: NDArray[np.int8], bias: NDArray[np.int32], scale: Requantization) -> Convolution:
    """Weights are (channels out, channels in)."""
    return Convolution(
        name="conv_0",
        label="operator 0 (CONV_2D)",
        inputs=(0,),
        output=1,
        window=Window(1, 1),
        weights=weights.reshape(len(weights), 1, 1, -1),
        bias=bias,
        requantization=scale,
        accumulator_bound=1 << 31,
    )


@st.composite
def trained_layers(draw: st.DrawFn, lowest_shift: int) -> Convolution:
    """Some channels, many of them with a large bias or a large shift."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    channels = draw(st.integers(1, 6))
    minimum, zero_point = draw(st.sampled_from([(-128, -128), (-128, 3), (-90, -90), (-128, 127)]))
    shifts = np.array([draw(st.integers(lowest_shift, 0)) for _ in range(channels)], np.int32)
    # What comes out is in the order of the outputs' range.
    bias = rng.uniform(-1, 1, channels) * np.minimum(2.0 ** (8.0 - shifts), 2.0**30)
    weights = rng.integers(-127, 128, (channels, draw(st.integers(1, 40))), np.int8)
    multipliers = rng.integers(1 << 30, 1 << 31, channels).astype(np.int32)
    scale = Requantization(multipliers, shifts, zero_point, minimum, 127)
    return pointwise(weights, bias.astype(np.int32), scale)
