# SPDX-License-Identifier: Apache-2.0
"""From a network's output to labels with probabilities."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError
from device.manifest import OutputSpec

# One for each value that the largest logit may have; 2 kB each.
_CACHED_TABLES: Final = 256


@dataclass(frozen=True)
class Prediction:
    """One class of an answer.

    Attributes:
        index: of the class; line number in ``labels.txt``, from 0.
        label: its name.
        probability: 0 to 1.
        score: the network's own number, int8 or float.
    """

    index: int
    label: str
    probability: float
    score: float


def probabilities(
    output: NDArray[Any], spec: OutputSpec, out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """What the network holds for likely.

    Args:
        output: (classes,), int8 or float32.
        spec: scale and zero point of an int8 output, and whether the network ends in a softmax. If it does not
            ("none"), the outputs are logits and the softmax happens here.
        out: (classes,) float64 to write into, contiguous; a new array if None.

    Returns:
        (classes,) float64, 0 to 1. Of logits they add up to 1; of an int8 softmax only nearly, for its step is 1/256.
    """
    if output.dtype != np.int8:
        real = output.astype(np.float64)
        if spec.activation == "softmax":
            return np.clip(real, 0.0, 1.0, out=out)
        # The largest exponent becomes 0, so nothing overflows.
        powers = np.exp(real - real.max())
        result: NDArray[np.float64] = np.divide(powers, powers.sum(), out=out)
        return result
    # Every byte is an index into the table; "clip" because numpy would buffer ``out`` to be able to raise.
    likely: NDArray[np.float64] = _table(spec, int(output.max())).take(output.view(np.uint8), out=out, mode="clip")
    if spec.activation != "softmax":
        likely /= likely.sum()
    return likely


def top_k(output: NDArray[Any], labels: tuple[str, ...], spec: OutputSpec, k: int) -> tuple[Prediction, ...]:
    """The ``k`` likeliest classes, likeliest first; all classes if there are fewer.

    Ordered by the network's own numbers; of equal ones (frequent with int8) the lower class index comes first, as in
    the exported C code.

    Raises:
        LitesightError: as many labels as outputs are needed, and k of at least 1.
    """
    if len(output) != len(labels):
        raise LitesightError(f"expected {len(labels)} outputs, one per label, found {len(output)}")
    if k < 1:
        raise LitesightError(f"expected at least one label to show, found {k}")
    if output.dtype != np.int8:
        # float64 holds every float32 exactly.
        order = np.argsort(-output.astype(np.float64), kind="stable")[:k].tolist()
        likely = probabilities(output, spec)
        return tuple(Prediction(i, labels[i], float(likely[i]), output[i].item()) for i in order)
    # ~q is -q - 1: it turns the order round, as -q would, but never overflows. A stable sort of bytes is a radix sort.
    order = np.argsort(~output, kind="stable")[:k].tolist()
    scores = output.take(order).tolist()
    table = _table(spec, scores[0])
    total = 1.0 if spec.activation == "softmax" else float(table.take(output.view(np.uint8)).sum())
    # A negative index counts from the end of the table, which is where the bytes of negative scores are.
    return tuple(
        Prediction(i, labels[i], float(table[score]) / total, score) for i, score in zip(order, scores, strict=True)
    )


def _table(spec: OutputSpec, best: int) -> NDArray[np.float64]:
    """For every byte that an output may be, its probability after a softmax in the network; else its power of e.

    Args:
        spec: how to read the byte.
        best: the largest output of this answer, whose power is 1, so that nothing overflows.
    """
    # Without a softmax to do there is one table for all answers.
    return _cached_table(spec.scale, spec.zero_point, spec.activation, 0 if spec.activation == "softmax" else best)


@functools.lru_cache(maxsize=_CACHED_TABLES)
def _cached_table(scale: float, zero_point: int, activation: str, best: int) -> NDArray[np.float64]:
    # Read as int8, the bytes 0 to 255 are 0 to 127 and then -128 to -1.
    real = (np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64) - zero_point) * scale
    if activation == "softmax":
        table: NDArray[np.float64] = np.clip(real, 0.0, 1.0)
    else:
        table = np.exp(np.minimum(real - real[best], 0.0))  # above the largest: never looked up
    return table
