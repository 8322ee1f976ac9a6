# SPDX-License-Identifier: Apache-2.0
"""What a training does before and around its loop; the whole of it runs in tests/end_to_end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.errors import LitesightError
from train_host import pretrained, training
from train_host.scaling import variant_architecture
from train_host.train_bundle import TrainOptions, train_bundle

OPTIONS = TrainOptions(variant_architecture("lite0", classes=2, width=0.1, depth=0.2, resolution=16))


class ReachedError(Exception):
    """Raised by a stand-in to end a training where the test has seen enough."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """20 photos of "often" and 8 of "rare"."""
    rng = np.random.default_rng(0)
    for label, count in (("often", 20), ("rare", 8)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for index in range(count):
            picture = cv2.imencode(".png", rng.integers(0, 255, (20, 20, 3), dtype=np.uint8))[1]
            (tmp_path / "photos" / label / f"{index}.png").write_bytes(picture.tobytes())
    return tmp_path / "photos"


def test_the_channels_of_the_imagenet_network_are_the_start_unless_told_otherwise(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(model: Any, arch: Any, photos: Any, **options: Any) -> None:
        assert photos.dtype == np.float32
        assert (photos.min() >= -1, photos.max() < 1, photos.shape[1:]) == (True, True, (16, 16, 3))
        raise ReachedError("pretrained")

    def train(*arguments: Any, **options: Any) -> None:
        raise ReachedError("training")

    monkeypatch.setattr(pretrained, "load_pretrained", load)
    monkeypatch.setattr(training, "train", train)
    with pytest.raises(ReachedError, match="pretrained"):
        train_bundle(photos, tmp_path / "out", OPTIONS)
    with pytest.raises(ReachedError, match="training"):
        train_bundle(photos, tmp_path / "out", replace(OPTIONS, pretrained=False))
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(("wanted", "weighs"), [(None, False), (True, True), (False, False)])
def test_rare_classes_weigh_more_where_that_is_wanted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool | None, weighs: bool
) -> None:
    seen = {}

    def train(*arguments: Any, class_weights: Any, **options: Any) -> None:
        seen["weights"] = class_weights
        raise ReachedError

    monkeypatch.setattr(training, "train", train)
    with pytest.raises(ReachedError):
        train_bundle(photos, tmp_path / "out", replace(OPTIONS, pretrained=False, weigh_classes=wanted))
    assert (seen["weights"] is not None) is weighs
    assert not weighs or seen["weights"][1] > 2 * seen["weights"][0]


def test_a_really_skewed_set_is_weighed_by_itself(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in sorted((photos / "rare").iterdir())[5:]:
        path.unlink()
    test_rare_classes_weigh_more_where_that_is_wanted(photos, tmp_path, monkeypatch, wanted=None, weighs=True)


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m"])
def test_a_name_that_the_manifest_would_refuse_is_refused_before_the_training(name: str) -> None:
    with pytest.raises(LitesightError, match="must be printable text"):
        replace(OPTIONS, name=name)
