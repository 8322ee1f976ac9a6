# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import LitesightError, UsageError
from train_host import dataset as dataset_module
from train_host.dataset import Dataset, Photo, representative, scan


def photo(path: Path, number: int, side: int = 8) -> None:
    """A small PNG whose content is a function of ``number`` alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (side, side + 1, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def folder_of(root: Path, counts: dict[str, int], start: int = 0) -> Path:
    """``counts`` photos per class folder, every one different."""
    number = start
    for label, count in counts.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            photo(root / label / f"{index:03}.png", number)
            number += 1
    return root


def refusal(source: Path, **options: object) -> str:
    with pytest.raises(LitesightError) as caught:
        scan(source, **options)  # type: ignore[arg-type]  # options of several types
    assert str(caught.value).isprintable()
    return str(caught.value)


def all_photos(found: Dataset) -> list[Photo]:
    return [*found.train, *found.val, *found.test]


def contents(photos: tuple[Photo, ...]) -> set[str]:
    return {one.sha256 for one in photos}


def test_classes_are_in_code_point_order_whatever_the_system_says(tmp_path: Path) -> None:
    names = ["zebra", "Äpfel und Birnen", "10", "9", "Zebra", "写真"]
    found = scan(folder_of(tmp_path, dict.fromkeys(names, 5)))
    assert found.labels == ("10", "9", "Zebra", "zebra", "Äpfel und Birnen", "写真")
    for one in all_photos(found):
        assert one.path.parent.name == found.labels[one.label]


def test_a_class_name_written_by_macos_is_the_same_class(tmp_path: Path) -> None:
    found = scan(folder_of(tmp_path, {unicodedata.normalize("NFD", "Köln"): 5, "b": 5}))
    assert found.labels == (unicodedata.normalize("NFC", "Köln"), "b")


def test_one_class_name_in_two_spellings_is_refused(tmp_path: Path) -> None:
    spellings = {unicodedata.normalize(form, "Köln"): 5 for form in ("NFC", "NFD")}
    folder_of(tmp_path, spellings)
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system normalises names")
    assert "two folders have the class name 'Köln'" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["line\nbreak", "tab\there", " leading", "trailing "])
def test_a_class_name_that_would_break_labels_txt_is_refused(tmp_path: Path, name: str) -> None:
    message = refusal(folder_of(tmp_path, {name: 5, "b": 5}))
    assert "a class name must be printable" in message
    assert "rename the folder" in message


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(5, 60), min_size=2, max_size=4),
    val=st.floats(0, 0.3),
    test=st.floats(0, 0.4),
    seed=st.integers(0, 10),
)
def test_splits_are_complete_disjoint_stratified_and_repeatable(
    counts: list[int], val: float, test: float, seed: int
) -> None:
    kept = [
        ("train", Photo(Path(f"{label}/{index}"), label, f"{label:032x}{index:032x}"))
        for label, count in enumerate(counts)
        for index in range(count)
    ]
    splits = dataset_module._split(kept, {"train"}, val, test, seed)
    shuffled = dataset_module._split(kept[::-1], {"train"}, val, test, seed)
    assert {name: set(photos) for name, photos in shuffled.items()} == {
        name: set(photos) for name, photos in splits.items()
    }
    everything = [one for photos in splits.values() for one in photos]
    assert Counter(everything) == Counter(one for _, one in kept)
    for fraction, name in ((val, "val"), (test, "test")):
        shares = Counter(one.label for one in splits[name])
        for label, count in enumerate(counts):
            assert abs(shares[label] - count * fraction) <= 0.5 or shares[label] == 1
            assert (shares[label] == 0) == (fraction == 0)  # a class with no test photo would go unmeasured


def test_another_seed_gives_another_split_of_the_same_sizes(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 30, "b": 20})
    one, again, other = (scan(root, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert contents(one.test) != contents(other.test)
    assert [len(split) for split in (one.train, one.val, one.test)] == [35, 5, 10]
    assert len(other.test) == 10


def test_the_split_does_not_depend_on_file_names(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "one", {"a": 20, "b": 20})
    before = scan(root)
    for index, path in enumerate(sorted(root.glob("*/*.png"), reverse=True)):
        path.rename(path.with_name(f"renamed {index}.png"))
    after = scan(root)
    assert contents(before.test) == contents(after.test)
    assert contents(before.val) == contents(after.val)


def test_more_photos_move_only_the_few_that_the_grown_splits_need(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 100, "b": 100})
    before = scan(root)
    for number in range(4):
        photo(root / "a" / f"new{number}.png", 10_000 + number)
    after = scan(root)
    old = contents(before.train) | contents(before.val) | contents(before.test)
    moved = sum(
        len((contents(getattr(after, split)) & old) - contents(getattr(before, split)))
        for split in ("train", "val", "test")
    )
    assert moved <= 4


def test_given_splits_are_kept_and_a_missing_one_is_carved_from_training(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 20, "b": 10})
    folder_of(tmp_path / "test", {"a": 3, "b": 2}, start=100)
    found = scan(tmp_path)
    assert {one.path.parent.parent.name for one in found.test} == {"test"}
    assert len(found.test) == 5
    assert Counter(one.label for one in found.val) == {0: 2, 1: 1}
    folder_of(tmp_path / "valid", {"a": 1}, start=200)
    found = scan(tmp_path)
    assert (len(found.train), len(found.val), len(found.test)) == (30, 1, 5)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert scan(folder_of(tmp_path, {"train": 5, "car": 5})).labels == ("car", "train")
    folder_of(tmp_path / "train", {"steam": 5}, start=50)
    assert scan(tmp_path).labels == ("car", "train")


def test_photos_at_any_depth_count_and_hidden_ones_do_not(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 5, "b": 5})
    photo(root / "a" / "monday" / "x.JPG", 70)
    photo(root / "a" / "._x.png", 71)
    photo(root / ".thumbnails" / "x.png", 72)
    (root / "a" / "notes.txt").write_text("not a photo")
    assert len(all_photos(scan(root))) == 11


def test_copies_within_a_class_are_counted_and_used_once(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 6, "b": 6})
    shutil.copy(root / "a" / "000.png", root / "a" / "zzz.png")
    found = scan(root)
    assert found.duplicates == 1
    assert len(all_photos(found)) == 12
    assert root / "a" / "zzz.png" not in {one.path for one in all_photos(found)}


def test_copies_do_not_help_a_class_over_the_minimum(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 4, "b": 6})
    shutil.copy(root / "a" / "000.png", root / "a" / "copy.png")
    assert "at least 5 photos per class that can be used, found: 'a' has 4" in refusal(root)


def test_the_same_file_in_two_splits_names_both(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 6, "b": 6})
    folder_of(tmp_path / "test", {"a": 2, "b": 2}, start=50)
    shutil.copy(tmp_path / "train" / "a" / "003.png", tmp_path / "test" / "a" / "other name.png")
    message = refusal(tmp_path)
    assert "the same photo is in two splits" in message
    assert str(tmp_path / "train" / "a" / "003.png") in message
    assert str(tmp_path / "test" / "a" / "other name.png") in message


def test_the_same_photo_in_two_classes_names_both(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 6, "b": 6})
    shutil.copy(root / "a" / "003.png", root / "b" / "copy.png")
    shutil.copy(root / "a" / "004.png", root / "b" / "copy2.png")
    message = refusal(root)
    assert "the same photo is in two classes, 'a' and 'b'" in message
    assert str(root / "a" / "003.png") in message
    assert str(root / "b" / "copy.png") in message
    assert "and 1 more such pairs" in message


def bad_folder(root: Path) -> Path:
    folder_of(root, {"a": 8, "b": 8})
    (root / "a" / "text.jpg").write_text("hello, this is text")
    data = (root / "a" / "000.png").read_bytes()
    (root / "a" / "cut.png").write_bytes(data[:-30])
    (root / "b" / "empty.png").touch()
    photo(root / "b" / "small.png", 99, side=7)
    (root / "b" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (root / "b" / "gone.jpg").symlink_to(root / "nothing")
    return root


def test_bad_photos_are_listed_with_their_paths(tmp_path: Path) -> None:
    message = refusal(bad_folder(tmp_path))
    assert message.startswith("6 of 22 photos cannot be used: ")
    assert f"{tmp_path / 'a' / 'cut.png'}: photo cut short" in message
    assert f"{tmp_path / 'a' / 'text.jpg'}: expected a JPEG, PNG, BMP, TIFF or WebP photo, found text" in message
    assert f"{tmp_path / 'b' / 'empty.png'}: expected a photo, found an empty file" in message
    assert f"{tmp_path / 'b' / 'phone.heic'}: " in message
    assert "small.png" not in message
    assert "; and 1 more (" in message
    assert "--skip-bad" in message


def test_skip_bad_leaves_them_out_and_says_which(tmp_path: Path) -> None:
    found = scan(bad_folder(tmp_path), skip_bad=True)
    assert len(all_photos(found)) == 16
    assert {one.path.name for one in found.skipped} == {
        "cut.png", "text.jpg", "empty.png", "small.png", "phone.heic", "gone.jpg",
    }  # fmt: skip
    tiny = next(one for one in found.skipped if one.path.name == "small.png")
    assert tiny.reason == f"{tmp_path / 'b' / 'small.png'}: tiny photo: found 8 x 7 pixels, at least 8 a side"


def test_a_class_that_skip_bad_makes_too_small_is_refused(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 5, "b": 6})
    (root / "a" / "000.png").write_bytes(b"")
    assert "at least 5 photos per class that can be used, found: 'a' has 4" in refusal(root, skip_bad=True)


def test_what_is_wrong_with_a_folder_is_said_in_one_line(tmp_path: Path) -> None:
    name = str(tmp_path / "x")
    assert "found nothing there" in refusal(tmp_path / "x")
    (tmp_path / "x").mkdir()
    assert refusal(tmp_path / "x") == f"{name}: expected a sub-folder of photos per class, found an empty folder"
    (tmp_path / "x" / "notes.txt").touch()
    assert "found no folders and no photos but 1 .txt files" in refusal(tmp_path / "x")
    photo(tmp_path / "x" / "loose.png", 1)
    assert "found 1 photos without class folders" in refusal(tmp_path / "x")
    folder_of(tmp_path / "x", {"a": 5})
    assert "expected at least two classes, found one: 'a'" in refusal(tmp_path / "x")
    folder_of(tmp_path / "x", {"b": 4}, start=50)
    assert "at least 5 photos per class, found: 'b' has 4" in refusal(tmp_path / "x")
    (tmp_path / "x" / "c").mkdir()
    (tmp_path / "x" / "c" / "readme.md").touch()
    assert "expected photos of class 'c', found none but 1 .md files" in refusal(tmp_path / "x")


def test_a_folder_one_level_too_high_gets_the_right_hint(tmp_path: Path) -> None:
    folder_of(tmp_path / "cifar", {"a": 5, "b": 5})
    assert f"give {tmp_path / 'cifar'}" in refusal(tmp_path)


def test_splits_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 5, "b": 5})
    folder_of(tmp_path / "test", {"a": 1, "c": 1}, start=50)
    assert "test has the class 'c', which train lacks" in refusal(tmp_path)
    shutil.rmtree(tmp_path / "test" / "c")
    folder_of(tmp_path / "extra", {"a": 1}, start=60)
    assert "found a folder 'extra'" in refusal(tmp_path)
    shutil.rmtree(tmp_path / "extra")
    for name in ("val", "valid"):
        folder_of(tmp_path / name, {"a": 1}, start=70)
    assert "two folders for validation" in refusal(tmp_path)
    for name in ("val", "valid"):
        shutil.rmtree(tmp_path / name)
    shutil.rmtree(tmp_path / "test" / "a")
    assert "expected class folders in test, found none" in refusal(tmp_path)


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.5, 0.5), (float("nan"), 0.2), (0.1, 1.5)])
def test_impossible_fractions_are_a_usage_error(tmp_path: Path, val: float, test: float) -> None:
    with pytest.raises(UsageError, match="fractions must be at least 0 and add up to less than 1"):
        scan(tmp_path, val_fraction=val, test_fraction=test)


def test_fractions_that_leave_a_class_without_training_are_refused(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 5, "b": 50})
    assert "'a' has 0" in refusal(root, val_fraction=0.4, test_fraction=0.5)


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("not a zip")
    assert "x.zip: expected a folder of photos or a .zip of one, found a damaged zip archive" in refusal(
        tmp_path / "x.zip"
    )
    (tmp_path / "x.tar").write_text("not a zip")
    assert "found another kind of file" in refusal(tmp_path / "x.tar")


def test_an_unreadable_class_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path, {"a": 5, "b": 5})

    def refused(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    assert refusal(root) == f"{root}: folder cannot be listed: permission denied"


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_zip_gives_the_same_split_as_its_folder(tmp_path: Path, wrapped: bool) -> None:
    root = folder_of(tmp_path / "data", {"a": 10, "b b é": 10})
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, ("top/" if wrapped else "") + path.relative_to(root).as_posix())
        archive.writestr("__MACOSX/._a", b"junk")
    from_zip = scan(tmp_path / "photos.zip", extract_to=tmp_path / "work")
    from_folder = scan(root)
    assert from_zip.labels == from_folder.labels
    for split in ("train", "val", "test"):
        assert contents(getattr(from_zip, split)) == contents(getattr(from_folder, split))
    assert [from_zip.name_of(one) for one in from_zip.test] == [from_folder.name_of(one) for one in from_folder.test]


def test_calibration_photos_come_from_training_only_with_the_classes_in_turn(tmp_path: Path) -> None:
    found = scan(folder_of(tmp_path, {"a": 40, "b": 10, "c": 10}))
    chosen = representative(found, 12, seed=3)
    assert set(chosen) <= set(found.train)
    assert len(set(chosen)) == 12
    assert Counter(one.label for one in chosen) == {0: 4, 1: 4, 2: 4}
    assert representative(found, 12, seed=3) == chosen
    assert representative(found, 12, seed=4) != chosen
    assert representative(found, 5, seed=3) == chosen[:5]
    assert set(representative(found, 1000)) == set(found.train)
    with pytest.raises(UsageError, match="at least 1"):
        representative(found, 0)


def test_progress_counts_every_photo(tmp_path: Path) -> None:
    seen: list[tuple[str, int | None, int]] = []

    def record(iterable: object, label: str, total: int | None = None) -> object:
        items = list(iterable)  # type: ignore[call-overload]  # a Progress is generic, this one is not
        seen.append((label, total, len(items)))
        return iter(items)

    scan(folder_of(tmp_path, {"a": 5, "b": 6}), progress=record)  # type: ignore[arg-type]  # as above
    assert seen == [("Checking photos", 11, 11)]
