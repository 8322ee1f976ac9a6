# SPDX-License-Identifier: Apache-2.0
"""What stands both in a bundle's manifest and in its int8 network, compared by whoever has read the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device.bundle import Bundle, BundleError


@dataclass(frozen=True)
class TensorFacts:
    """The input or output of a network.

    Attributes:
        shape: with the batch, which is 1.
        dtype: numpy's name: "int8" or "float32".
        scale, zero_point: ``real = scale * (q - zero_point)``; 0.0 and 0 where the tensor is not quantised.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class NetworkFacts:
    """A network seen from outside. ``activation`` is the manifest's word: "softmax" if SOFTMAX is last, or "none"."""

    input: TensorFacts
    output: TensorFacts
    activation: str


def activation_of(last_operator: str | None) -> str:
    """The manifest's word for the TFLite operator that writes the output."""
    return "softmax" if last_operator == "SOFTMAX" else "none"


def compare(bundle: Bundle, found: NetworkFacts) -> None:
    """Compare the manifest with the network.

    Args:
        bundle: whose manifest is compared.
        found: its network; the output's shape is (1, classes).

    Raises:
        BundleError: shape, type, scale, zero point or activation differ; names both values.
    """
    spec, answer = bundle.manifest.input, bundle.manifest.output
    wanted_input = TensorFacts((1, spec.height, spec.width, spec.channels), "int8", spec.scale, spec.zero_point)
    wanted_output = TensorFacts((1, bundle.manifest.classes), "int8", answer.scale, answer.zero_point)
    differences = [
        *_differences("input", wanted_input, found.input),
        *_differences("output", wanted_output, found.output),
    ]
    if answer.activation != found.activation:
        differences.append(f"output activation {answer.activation} in the manifest, {found.activation} in the network")
    if differences:
        raise BundleError(
            f"{bundle.path} contradicts itself: {'; '.join(differences)}",
            hint="make the bundle again; it was put together from two models",
        )


def _differences(which: str, wanted: TensorFacts, found: TensorFacts) -> list[str]:
    return [
        f"{which} {field} {said} in the manifest, {stands} in the network"
        for field, said, stands in (
            ("shape", wanted.shape, found.shape),
            ("type", wanted.dtype, found.dtype),
            # The network stores float32, so the manifest's number is compared as one.
            ("scale", float(np.float32(wanted.scale)), float(np.float32(found.scale))),
            ("zero point", wanted.zero_point, found.zero_point),
        )
        if said != stands
    ]
