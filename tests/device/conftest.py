# SPDX-License-Identifier: Apache-2.0
"""A tiny bundle: a network of four operators that tells which colour channel is the brightest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device import bundle
from device.interpreter import open_interpreter
from device.manifest import input_fields
from device.preprocess import InputSpec

DATA = Path(__file__).parent / "data"
LABELS = ("red", "green", "blue")
SIDE = 16

BundleMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    """Full int8, 16×16×3 in, three logits out. ``data/make_tiny.py`` made it."""
    return (DATA / "tiny_int8.tflite").read_bytes()


@pytest.fixture
def make_bundle(tmp_path: Path, tiny_model: bytes) -> BundleMaker:
    """``make_bundle(name, **changes)`` writes a bundle around the tiny network; changes replace manifest fields.

    Its golden vectors are made up unless ``golden`` gives (inputs, outputs).
    """

    def make(
        name: str = "tiny.bundle",
        labels: tuple[str, ...] = LABELS,
        golden: tuple[NDArray[np.int8], NDArray[np.int8]] | None = None,
        **changes: Any,
    ) -> Path:
        vectors = golden or (np.zeros((1, SIDE, SIDE, 3), np.int8), np.zeros((1, len(labels)), np.int8))
        files = {
            bundle.MODEL: tiny_model,
            bundle.LABELS: bundle.labels_bytes(labels),
            bundle.CALIBRATION: b"",
            bundle.GOLDEN: bundle.golden_bytes(*vectors, "made up for the tests"),
            bundle.MODEL_CARD: b"# tiny\n",
        }
        fields: dict[str, Any] = {
            "name": "tiny",
            "license": "Apache-2.0",
            "classes": len(labels),
            "input": input_fields(InputSpec(SIDE, SIDE)),
            "output": {"scale": 1 / 32, "zero_point": 0, "activation": "none"},
            "architecture": {},
            "ops": ["CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED"],
            "macs": 7000,
            "calibration": {"n": 0, "sha256": "0" * 64},
            "metrics": {},
            "tools": {},
        }
        path = tmp_path / name
        bundle.write(path, files, fields | changes)
        return path

    return make


@pytest.fixture
def tiny_bundle(make_bundle: BundleMaker) -> Path:
    """A bundle with the labels red, green and blue that is right about pictures in those colours."""
    return make_bundle()


@pytest.fixture(scope="session")
def true_golden(tiny_model: bytes) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Inputs, and what the tiny network really answers: (3, 16, 16, 3) and (3, 3) int8, one answer for each label."""
    interpreter = open_interpreter(tiny_model, threads=1)
    inputs = np.full((len(LABELS), SIDE, SIDE, 3), -98, np.int8)
    for index in range(len(LABELS)):
        inputs[index, ..., index] = 92
    return inputs, np.stack([interpreter.invoke(vector) for vector in inputs])


@pytest.fixture
def good_bundle(make_bundle: BundleMaker, true_golden: tuple[NDArray[np.int8], NDArray[np.int8]]) -> Path:
    """A bundle whose golden vectors are true."""
    return make_bundle("good bundle", golden=true_golden)


@pytest.fixture(scope="session")
def plain() -> Callable[..., NDArray[np.uint8]]:
    """``plain(color, height, width)``: a uint8 RGB picture in one of the colours of the labels."""
    return _plain


@pytest.fixture(scope="session")
def save() -> Callable[[Path, NDArray[np.uint8]], Path]:
    """``save(path, pixels)`` writes an RGB picture as the kind of file that the suffix says."""
    return _save


def _plain(color: str, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    pixels = np.full((height, width, 3), 30, np.uint8)
    pixels[..., LABELS.index(color)] = 220
    return pixels


def _save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(path.suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert ok
    path.write_bytes(data.tobytes())
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photos, one of each colour, in folders of their own."""
    folder = tmp_path / "photos"
    for color in LABELS:
        _save(folder / color / f"{color}.png", _plain(color))
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Six frames of motion JPEG: two red, two green, two blue."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(6):
        writer.write(cv2.cvtColor(_plain(LABELS[number // 2]), cv2.COLOR_RGB2BGR))
    writer.release()
    return path
