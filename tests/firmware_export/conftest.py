# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the export's tests: a tiny int8 network (see make_tiny_model.py) and bundles of it."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device import bundle as bundles
from device.bundle import Bundle, Golden, parse_golden
from device.errors import LitesightError
from device.manifest import input_fields
from device.preprocess import InputSpec
from firmware_export import tflm_oracle
from firmware_export.export_source import ExportSource, open_source
from firmware_export.tflite_reader import count_multiply_adds, ops_used, read_model

DATA = Path(__file__).resolve().parent / "data"
LABELS = ('a "quoted" \\ label??/', "défaut *//* grün", "100% | `code`", "1\U0001f34e // 'x'")
"""Labels that are awkward in C, in comments and in Markdown."""

CALIBRATION = b"a.png\nb.png\n"


@pytest.fixture(scope="session")
def tiny_bytes() -> bytes:
    return (DATA / "tiny_int8.tflite").read_bytes()


@pytest.fixture(scope="session")
def tiny_golden() -> Golden:
    path = DATA / "tiny_golden.npz"
    return parse_golden(path.read_bytes(), (16, 16, 3), 4, path)


@pytest.fixture
def require_oracle() -> None:
    """TFLM's Python package exists for x86-64 Linux only."""
    try:
        tflm_oracle.version()
    except LitesightError as error:
        pytest.skip(str(error))


MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path, tiny_bytes: bytes, tiny_golden: Golden) -> MakeBundle:
    """``make_bundle(name="b", outputs=None, **manifest_fields)`` writes a bundle of the tiny network."""

    def make(
        name: str = "bundle",
        outputs: NDArray[np.int8] | None = None,
        model: bytes | None = None,
        oracle: str = "",
        **changes: Any,
    ) -> Path:
        graph = read_model(tiny_bytes)
        fields = {
            "name": 'tiny */ "network"',
            "license": "Apache-2.0",
            "classes": 4,
            "input": input_fields(InputSpec(16, 16)),
            "output": {
                "scale": graph.output.scales[0],
                "zero_point": graph.output.zero_points[0],
                "activation": "none",
            },
            "architecture": {},
            "ops": list(ops_used(graph)),
            "macs": count_multiply_adds(graph),
            "calibration": {"n": 2, "sha256": hashlib.sha256(CALIBRATION).hexdigest()},
            "metrics": {},
            "tools": {},
            **changes,
        }
        content = {
            bundles.MODEL: tiny_bytes if model is None else model,
            bundles.LABELS: bundles.labels_bytes(LABELS),
            bundles.CALIBRATION: CALIBRATION,
            bundles.GOLDEN: bundles.golden_bytes(
                tiny_golden.inputs, tiny_golden.outputs if outputs is None else outputs, oracle or tiny_golden.oracle
            ),
            bundles.MODEL_CARD: b"# tiny\n",
        }
        written: Bundle = bundles.write(tmp_path / name, content, fields)
        return written.path

    return make


@pytest.fixture
def without_tflm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine for which TFLM has no package: a Raspberry Pi."""
    real = metadata.version

    def version(name: str) -> str:
        if name == "tflite-micro":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)


@functools.cache
def _source(model: Path) -> ExportSource:
    return open_source(model)


@pytest.fixture
def tiny_source(require_oracle: None) -> ExportSource:
    """The tiny network as a bare .tflite, run through TFLM once for all tests."""
    return _source(DATA / "tiny_int8.tflite")


def call(command: list[str], *, status: int = 0, **options: Any) -> str:
    """Run a tool; its output, or a failure that shows what it said."""
    result: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, **options
    )
    if result.returncode != status:
        pytest.fail(f"{' '.join(command)}\nexit status {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


@pytest.fixture(scope="session")
def run_tool() -> Callable[..., str]:
    """``run_tool([tool, ...], status=0)`` gives what it prints to stdout."""
    return call
