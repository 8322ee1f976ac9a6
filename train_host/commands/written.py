# SPDX-License-Identifier: Apache-2.0
"""What the commands say of a bundle they wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device.bundle import Bundle
    from train_host.bundle_writer import Measured


def say_written(bundle: Bundle, measured: Measured) -> None:
    """Print the figures of a new bundle, one a line."""
    lines = [f"bundle          {bundle.path}"]
    evaluation = measured.evaluation
    if evaluation is not None:
        n = len(evaluation.truth)
        for name, key in (("float top-1", "float"), ("int8 top-1", "int8")):
            lines.append(f"{name:<16}{evaluation.top1(key):.2%} of {n} held-out photos, by {evaluation.runtime}")
        if measured.parity is not None:
            photos, share = measured.parity
            lines.append(f"TFLM            gives the same answer on {round(photos * share)} of {photos}")
    else:
        lines.append("accuracy        not measured: no photos were held out")
    lines.append(f"model.tflite    {measured.format_bytes['int8']:,} bytes, {measured.macs / 1e6:.1f} M multiply-adds")
    if measured.arena_bytes is not None:
        lines.append(f"TFLM arena      {measured.arena_bytes:,} bytes")
    lines.append(f"golden vectors  {len(measured.golden.inputs)} by {measured.golden.oracle}")
    print("\n".join(lines))
