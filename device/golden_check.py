# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle's golden vectors on this machine and judges whether its runtime computes what the oracle computed.

LiteRT rounds otherwise than TensorFlow Lite Micro, so bytes need not be equal; a runtime, a processor or a file that is
broken differs by much more. Both rules below state their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from device.bundle import Bundle
from device.errors import LitesightError
from device.interpreter import Interpreter

TOLERANCE_STEPS: Final[Mapping[str, int]] = {"none": 32, "softmax": 64}
"""How far an int8 output may be from the oracle's, in steps of 1, by the network's activation.

Seen with ai-edge-litert 2.3.0: at most 5 with EfficientNet-Lite0 and photos, at most 20 with networks of random weights
and 80 inputs of noise. A probability's step is 1/256, so the same difference of two logits is up to twice as many.
"""


class GoldenError(LitesightError):
    """The network does not answer here as it did when the bundle was made."""


@dataclass(frozen=True)
class GoldenCheck:
    """How the golden vectors came out.

    Attributes:
        vectors: how many there are.
        same_answer: in how many of them the likeliest class is the oracle's.
        largest_difference: of any output, in steps.
        tolerance: of any output, in steps.
        oracle: who made the vectors.
        runtime: who ran them here.
    """

    vectors: int
    same_answer: int
    largest_difference: int
    tolerance: int
    oracle: str
    runtime: str

    def __str__(self) -> str:
        return (
            f"{self.same_answer} of {self.vectors} golden vectors give the same answer, "
            f"the largest difference is {self.largest_difference} of at most {self.tolerance} steps"
        )


def check_golden(bundle: Bundle, interpreter: Interpreter) -> GoldenCheck:
    """Run the golden vectors and compare.

    Two rules: no output is further from the oracle's than the tolerance; and where the oracle's likeliest class leads
    by more than the tolerance, it is the likeliest here too. Of near ties either class may win.

    Args:
        bundle: whose golden vectors are taken.
        interpreter: with the bundle's network, int8 in and out.

    Raises:
        GoldenError: a rule is broken.
        InterpreterError: the network cannot be run.
        BundleError: the vectors cannot be read.
    """
    golden = bundle.golden()
    tolerance = TOLERANCE_STEPS[bundle.manifest.output.activation]
    outputs = np.stack([interpreter.invoke(vector) for vector in golden.inputs]).astype(np.int16)
    expected = golden.outputs.astype(np.int16)
    if outputs.shape != expected.shape:
        raise GoldenError(f"expected {expected.shape[1]} outputs of the network, found {outputs.shape[1]}")
    difference = np.abs(outputs - expected).max(axis=1)
    same = outputs.argmax(axis=1) == expected.argmax(axis=1)
    ranked = np.sort(expected, axis=1)
    lead = ranked[:, -1] - ranked[:, -2] if expected.shape[1] > 1 else np.zeros(len(expected), np.int16)
    found = GoldenCheck(
        len(expected), int(same.sum()), int(difference.max()), tolerance, golden.oracle, interpreter.runtime
    )
    broken = np.flatnonzero((difference > tolerance) | (~same & (lead > tolerance)))
    if len(broken):
        first = int(broken[0])
        what = (
            f"an output differs by {difference[first]} steps, at most {tolerance} are expected"
            if difference[first] > tolerance
            else f"the answer is class {outputs[first].argmax()}, not {expected[first].argmax()}"
        )
        raise GoldenError(
            f"{bundle.manifest.name} does not answer on this machine as it did where it was made: "
            f"golden vector {first}: {what} ({found.runtime} against {found.oracle})",
            hint="the golden vectors were not made with this model, or the runtime is broken: litesight doctor",
        )
    return found
