# SPDX-License-Identifier: Apache-2.0
"""Kernels of the static engine: which C function executes a layer, and where its source is.

A kernel set is a directory of C files written for one kind of core. A file of a set takes the place of the portable
file of the same name; what a set lacks is taken from the portable one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PORTABLE = "portable"
DSP = "dsp"
MVE = "mve"
KERNEL_SETS = (PORTABLE, DSP, MVE)


@dataclass(frozen=True)
class Kernel:
    """How one layer is executed.

    Attributes:
        function: C symbol of type ``litesight_kernel``.
        sources: names of the C files that it needs, within its kernel set or the portable one; headers that these
            include need not be named.
        weights: packed as the function reads them; empty if there are none.
        scratch_bytes: memory needed during a step only.
        weights_hold_channels: whether biases, multipliers and shifts are among the weights, so that the function reads
            no channel table but its minimum and maximum.
    """

    function: str
    sources: tuple[str, ...]
    weights: bytes = b""
    scratch_bytes: int = 0
    weights_hold_channels: bool = False


def kernel_set_for(features: Collection[str]) -> str:
    """The fastest kernel set that a core runs.

    Args:
        features: instruction set extensions of the core, as a board's definition lists them ("dsp", "mve").
    """
    for kernel_set in (MVE, DSP):
        if kernel_set in features:
            return kernel_set
    return PORTABLE
