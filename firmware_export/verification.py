# SPDX-License-Identifier: Apache-2.0
"""The proof of a bundle: its golden vectors through TensorFlow Lite Micro, compared byte for byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device.bundle import Bundle
from device.progress import Progress, silent
from firmware_export import tflm_oracle
from firmware_export.bundle_check import check_manifest
from firmware_export.export_source import check_against_model
from firmware_export.tflite_reader import read_model, require_int8


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found.

    Attributes:
        vectors: number of golden vectors.
        output_bytes: bytes compared.
        mismatched_bytes: bytes that differ.
        mismatched_vectors: indices of the vectors in which they do.
        arena_bytes: TFLM's smallest arena on this host.
        oracle: name and version of the TFLM that ran now.
        golden_oracle: of the one that made the golden vectors.
    """

    vectors: int
    output_bytes: int
    mismatched_bytes: int
    mismatched_vectors: tuple[int, ...]
    arena_bytes: int
    oracle: str
    golden_oracle: str

    @property
    def is_equal(self) -> bool:
        """Whether every byte is equal."""
        return self.mismatched_bytes == 0


def verify(bundle: Bundle, *, progress: Progress = silent) -> Verification:
    """Run a bundle's golden vectors in TFLM.

    Args:
        bundle: loaded, so its hashes are right.
        progress: wraps the loop over the vectors.

    Raises:
        LitesightError: the model is damaged or not fully int8, the manifest contradicts it, or TFLM cannot run it.
    """
    data = bundle.model_bytes()
    model = read_model(data)
    require_int8(model)
    check_against_model(bundle, model)
    check_manifest(bundle, model)
    golden = bundle.golden()
    result = tflm_oracle.run(data, golden.inputs, progress=progress)
    differs = result.outputs != golden.outputs
    return Verification(
        vectors=len(golden.inputs),
        output_bytes=golden.outputs.size,
        mismatched_bytes=int(np.count_nonzero(differs)),
        mismatched_vectors=tuple(int(i) for i in np.flatnonzero(differs.any(axis=1))),
        arena_bytes=result.arena_bytes,
        oracle=result.name,
        golden_oracle=golden.oracle,
    )
