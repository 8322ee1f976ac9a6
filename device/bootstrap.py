# SPDX-License-Identifier: Apache-2.0
"""How far chance may have moved the ratio of two medians, or of two means: a block bootstrap.

Samples are drawn again with replacement, the statistic is computed of what was drawn, and this often: the middle 95% of
the results are the interval (the percentile interval of Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13). The times of consecutive frames resemble each other, so runs of consecutive samples are drawn, around the
end if need be (the circular block bootstrap of Politis and Romano, 1992), of n^(1/3) samples each, the order that Hall,
Horowitz and Jing give (Biometrika 82, 1995).

What it cannot see is what differs from start to start of a program: Kalibera and Jones, "Rigorous Benchmarking in
Reasonable Time", ISMM 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2000
FEWEST_RESAMPLES: Final = 300
_WORK: Final = 20_000_000
"""Samples drawn per series at the most, unless that makes fewer than FEWEST_RESAMPLES: about a second on a Pi."""
_CHUNK: Final = 1_000_000


@dataclass(frozen=True)
class Resampled:
    """The statistics of every resample, each of shape (resamples,)."""

    medians: NDArray[np.float64]
    means: NDArray[np.float64]


def resample(samples: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> Resampled:
    """Draw as many samples as there are, ``resamples`` times.

    Args:
        samples: (n,), in the order taken; n is at least 1.
        resamples: how often.
        rng: of its own for each series: two series that are drawn alike would seem to vary together.
    """
    n = len(samples)
    size = block_length(n)
    blocks = math.ceil(n / size)
    # Nearest rank, as everywhere in a bench record.
    rank = max(1, math.ceil(n / 2)) - 1
    medians, means = np.empty(resamples), np.empty(resamples)
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        first = rng.integers(0, n, (rows, blocks, 1))
        drawn = samples[((first + np.arange(size)) % n).reshape(rows, -1)[:, :n]]
        means[start : start + rows] = drawn.mean(axis=1)
        drawn.partition(rank, axis=1)
        medians[start : start + rows] = drawn[:, rank]
    return Resampled(medians, means)


def resamples_for(n: int) -> int:
    """How many resamples of ``n`` samples are worth their time."""
    return min(RESAMPLES, max(FEWEST_RESAMPLES, _WORK // n))


def block_length(n: int) -> int:
    """Samples in a block."""
    return math.ceil(math.cbrt(n) - 1e-9)


def ratio_interval(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> tuple[float, float]:
    """The middle CONFIDENCE of ``upper / lower``; both (resamples,), ``lower`` without zeros."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(upper / lower, (tail, 1 - tail))
    return float(low), float(high)
