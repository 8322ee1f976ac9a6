# SPDX-License-Identifier: Apache-2.0
"""From a network's output to labels with probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError
from device.manifest import OutputSpec


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


def probabilities(output: NDArray[Any], spec: OutputSpec) -> NDArray[np.float64]:
    """What the network holds for likely.

    Args:
        output: (classes,), int8 or float32.
        spec: scale and zero point of an int8 output, and whether the network ends in a softmax. If it does not
            ("none"), the outputs are logits and the softmax happens here.

    Returns:
        (classes,) float64, 0 to 1. Of logits they add up to 1; of an int8 softmax only nearly, for its step is 1/256.
    """
    if output.dtype == np.int8:
        real = (output.astype(np.float64) - spec.zero_point) * spec.scale
    else:
        real = output.astype(np.float64)
    if spec.activation == "softmax":
        return np.clip(real, 0.0, 1.0)
    # The largest exponent becomes 0, so nothing overflows.
    powers = np.exp(real - real.max())
    result: NDArray[np.float64] = powers / powers.sum()
    return result


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
    # float64 holds every int8 and float32 exactly; negating an int8 would turn -128 into itself.
    order = np.argsort(-output.astype(np.float64), kind="stable")[:k]
    likely = probabilities(output, spec)
    return tuple(Prediction(int(i), labels[i], float(likely[i]), output[i].item()) for i in order)
