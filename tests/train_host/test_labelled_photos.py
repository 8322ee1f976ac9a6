# SPDX-License-Identifier: Apache-2.0
"""A photo counted under the wrong class makes every figure wrong; a layout nobody foresaw must be refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import LitesightError
from train_host.labelled_photos import find_labelled_photos

LABELS = ("cat", "dog", "ä b")


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes())


def found(source: Path) -> list[tuple[str, int]]:
    return [(path.name, label) for path, label in find_labelled_photos(source, LABELS)]


def test_class_folders_are_matched_by_name_not_by_order(tmp_path: Path) -> None:
    photo(tmp_path / "ä b" / "1.png")
    photo(tmp_path / "dog" / "deeper" / "2.png")
    assert sorted(found(tmp_path)) == [("1.png", 2), ("2.png", 1)]


def test_a_stray_photo_beside_class_folders_does_not_count(tmp_path: Path) -> None:
    photo(tmp_path / "0002_stray.png")
    photo(tmp_path / "cat" / "1.png")
    assert found(tmp_path) == [("1.png", 0)]


def test_of_splits_only_test_is_taken(tmp_path: Path) -> None:
    photo(tmp_path / "train" / "cat" / "seen.png")
    photo(tmp_path / "test" / "cat" / "new.png")
    assert found(tmp_path) == [("new.png", 0)]


def test_splits_without_test_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "train" / "cat" / "seen.png")
    photo(tmp_path / "val" / "cat" / "new.png")
    with pytest.raises(LitesightError, match="expected a folder test beside train"):
        found(tmp_path)


@pytest.mark.parametrize("nested", [False, True])
def test_an_archive_of_photos_named_by_index(tmp_path: Path, nested: bool) -> None:
    folder = tmp_path / "in" / "sample" if nested else tmp_path / "in"
    photo(folder / "0001_dog.png")
    photo(folder / "2-b.png")
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path / "in")
    assert found(Path(archive)) == [("0001_dog.png", 1), ("2-b.png", 2)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0003_x.png", "its name says class 3; the bundle's classes are 0 to 2"),
        ("dog.png", "expected photos in class folders, or names that start with the class index"),
        ("mouse/1.png", "found the class folder 'mouse', which the bundle does not know"),
        ("cat/notes.txt", "expected photos, found none"),
    ],
)
def test_what_cannot_be_labelled_is_refused(tmp_path: Path, name: str, said: str) -> None:
    if name.startswith("mouse"):
        photo(tmp_path / "cat" / "1.png")
    photo(tmp_path / name)
    with pytest.raises(LitesightError, match=said):
        found(tmp_path)
