# SPDX-License-Identifier: Apache-2.0
"""What ``litesight run --save`` collects is a data set for ``litesight train``, with the same classes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from device.bundle import Bundle
from device.frame_store import FrameStore, Outcome, Shot
from device.manifest import OutputSpec
from device.postprocess import top_k
from device.preprocess import InputSpec, PixelFormat
from train_host.dataset import scan

LABELS = ("Grüße, 猫", "e\u0301clair", "great white shark", "train", "100% cotton")
AWKWARD = ("a/b", "../up", ".hidden", "Train")


def collect(folder: Path, labels: tuple[str, ...], per_class: int) -> None:
    manifest: Any = SimpleNamespace(name="m", input=InputSpec(8, 8), output=OutputSpec(1 / 32, 0, "none"))
    bundle = cast(Bundle, SimpleNamespace(labels=labels, manifest=manifest, model_sha256="0" * 64))
    random = np.random.default_rng(0)
    store = FrameStore(folder, 1 << 30, 6)
    for number in range(per_class * len(labels)):
        scores = np.zeros(len(labels), np.int8)
        scores[number % len(labels)] = 100
        predictions = top_k(scores, labels, manifest.output, 1)
        label = predictions[0].label
        pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
        shot = Shot(pixels, PixelFormat.BGR888, "f", number, 1e9, label, predictions, label, scores, bundle)
        assert store.save(shot) is Outcome.SAVED


def test_the_next_training_finds_the_same_classes(tmp_path: Path) -> None:
    collect(tmp_path, LABELS, per_class=6)
    dataset = scan(tmp_path)
    composed = ("Grüße, 猫", "éclair", "great white shark", "train", "100% cotton")
    assert set(dataset.labels) == set(composed)
    assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 6 * len(LABELS)
    assert dataset.duplicates == 0
    assert dataset.skipped == ()


def test_labels_that_are_no_folder_names_are_still_classes(tmp_path: Path) -> None:
    collect(tmp_path / "frames", LABELS + AWKWARD, per_class=6)
    dataset = scan(tmp_path / "frames")
    assert len(dataset.labels) == len(LABELS + AWKWARD)
    assert "a%2Fb" in dataset.labels
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]
