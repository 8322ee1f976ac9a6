#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks the tiny network on the emulated machine, compares with answers worked out by hand, and says who answered.

Run by .ci/aarch64 before the tests: that this is the ARM build of the runtime, and that it computes, must not hang on
tests that might be skipped.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from device.interpreter import open_interpreter

NETWORK = Path("tests/device/data/tiny_int8.tflite")
SIDE = 16
BRIGHT, DARK = 220, 30
STEPS = 2  # of rounding


def logit(pixel: int) -> float:
    """What tests/device/data/make_tiny.py makes of a plain channel: 4·relu6(x + 1) − 4, in steps of 1/32."""
    x = (pixel - 128) / 128
    return 32 * (4 * min(max(x + 1, 0), 6) - 4)


def main() -> str:
    """The facts, or an error that says what was expected."""
    if platform.machine() != "aarch64":
        sys.exit(f"litesight: error: expected an aarch64 Python, found {platform.machine()}")
    network = open_interpreter(NETWORK)
    for channel, name in enumerate(("red", "green", "blue")):
        pixels = np.full((SIDE, SIDE, 3), DARK, np.uint8)
        pixels[..., channel] = BRIGHT
        found = network.invoke((pixels ^ 0x80).view(np.int8))
        expected = np.full(3, logit(DARK))
        expected[channel] = logit(BRIGHT)
        if np.abs(found - expected).max() > STEPS:
            sys.exit(f"litesight: error: {network.runtime}: expected the logits {expected} for {name}, found {found}")
    share = f"XNNPACK took {network.ops_xnnpack} of {network.ops_total} operators"
    if network.ops_xnnpack != network.ops_total:
        sys.exit(f"litesight: error: expected all, {share}")
    who = f"Python {platform.python_version()} {platform.machine()}, {network.runtime}"
    return f"{who}: the tiny network's logits are right, {share}"


if __name__ == "__main__":
    print(main())
