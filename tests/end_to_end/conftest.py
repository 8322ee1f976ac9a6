# SPDX-License-Identifier: Apache-2.0
"""Photos that a small network can learn in seconds, and a bundle trained on them by the command itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

CLASSES = {"ärger": 0, "grün blau": 1, "red": 2}
"""Class folder → the channel of OpenCV's BGR that is bright; names with a space and with letters beyond ASCII."""
TRAINING = (
    *("--width", "0.1", "--size", "32", "--epochs", "25", "--batch", "8", "--seed", "3"),
    *("--augment", "none", "--learning-rate", "0.005"),
)

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def training_options() -> tuple[str, ...]:
    """With which ``bundle`` was trained."""
    return TRAINING


@pytest.fixture(scope="session")
def litesight() -> Command:
    """Runs the command as a user does, in a process of its own."""

    def run(*arguments: str | Path, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "litesight", *map(str, arguments)], capture_output=True, text=True, timeout=600
        )
        assert status is None or done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photos in each of three classes."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    for name, channel in CLASSES.items():
        (root / name).mkdir()
        for index in range(24):
            pixels = rng.integers(0, 90, (40, 48, 3), dtype=np.uint8)
            pixels[8:32, 12:36, channel] += 150
            (root / name / f"{index} ö.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return root


@pytest.fixture(scope="session")
def bundle(litesight: Command, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle trained on ``photos``, by one uninterrupted run."""
    path = tmp_path_factory.mktemp("trained") / "colours"
    litesight("train", photos, "-o", path, *TRAINING)
    return path
