# SPDX-License-Identifier: Apache-2.0
"""A folder or .zip of photos becomes a checked, pinned list: class order, splits and hashes.

The splits that this module makes are exactly stratified and depend on the content of the photos alone. Within a class,
photos are ranked by SHA-256 of seed and content; the first go to test, the next to validation, the rest to training.
File names, their order and the system do not matter, and a photo added later moves only as many of the others as the
grown splits need, those with ranks at the borders.
"""

from __future__ import annotations

import atexit
import hashlib
import math
import os
import shutil
import stat
import tempfile
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.errors import LitesightError, UsageError
from device.images import IMAGE_SUFFIXES, ImageError, decode_image, find_images, is_hidden, printable, read_bytes
from device.progress import Progress, silent
from train_host import photo_archive

MIN_CLASSES: Final = 2
MIN_PHOTOS_PER_CLASS: Final = 5
VAL_FRACTION: Final = 0.1
TEST_FRACTION: Final = 0.2
MIN_SIDE_PIXELS: Final = 8

# Photos of kinds that cannot be read are reported as bad, not passed over as if they were not there.
_UNREADABLE_SUFFIXES: Final = frozenset({".avif", ".gif", ".heic", ".heif"})
_LISTED_SUFFIXES: Final = IMAGE_SUFFIXES | _UNREADABLE_SUFFIXES
_SPLIT_OF_FOLDER: Final = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SHOWN_IN_ERROR = 5


@dataclass(frozen=True, order=True)
class Photo:
    """One photo: where it lies, the index of its class in ``Dataset.labels``, the SHA-256 of the file in hex."""

    path: Path
    label: int
    sha256: str


@dataclass(frozen=True)
class Skipped:
    """A photo that was left out on the user's wish, and why (one line that starts with the path)."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Every photo is in one split once; each split is sorted by path.

    Attributes:
        root: the folder that holds the classes or the splits; all paths lie below it.
        labels: class names in code point order, NFC normalised; the position is the class index.
        train, val, test: the splits.
        skipped: bad photos that ``skip_bad`` left out.
        duplicates: how many further copies of kept photos were left out.
    """

    root: Path
    labels: tuple[str, ...]
    train: tuple[Photo, ...]
    val: tuple[Photo, ...]
    test: tuple[Photo, ...]
    skipped: tuple[Skipped, ...] = ()
    duplicates: int = 0

    def name_of(self, photo: Photo) -> str:
        """The photo's path relative to ``root`` with forward slashes, for lists that outlive this machine."""
        return photo.path.relative_to(self.root).as_posix()


def scan(
    source: Path,
    *,
    val_fraction: float = VAL_FRACTION,
    test_fraction: float = TEST_FRACTION,
    seed: int = 0,
    skip_bad: bool = False,
    min_side: int = MIN_SIDE_PIXELS,
    extract_to: Path | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Read and check every photo of ``source`` and assign it to a split.

    Args:
        source: a folder of class sub-folders, or one with train/ and optionally val/ (valid/, validation/) and test/
            of class sub-folders, or a .zip of either. Photos may lie at any depth below their class.
        val_fraction: share of each class for validation, where ``source`` has no val/ of its own; 0 for none.
        test_fraction: the same for the test split.
        seed: chooses the split.
        skip_bad: leave bad photos out instead of refusing the whole.
        min_side: a photo with a smaller side, in pixels, is bad.
        extract_to: where a .zip is unpacked, to be found again by a later call; by default a temporary folder that is
            removed when the process ends.
        progress: shows unpacking and checking.

    Raises:
        LitesightError: what was expected of the folder and what was found, in one line.
    """
    if not (val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):
        raise UsageError(
            "the validation and test fractions must be at least 0 and add up to less than 1: "
            f"found {val_fraction} and {test_fraction}",
            hint=f"{VAL_FRACTION} and {TEST_FRACTION} are usual",
        )
    root = photo_root(source, extract_to, progress)
    folders = split_folders(root)
    labels = tuple(sorted(folders["train"]))
    _check_classes(root, folders, labels)
    files = _list_files(folders, labels)
    _check_counts(labels, Counter(file.label for file in files if file.split == "train"), root)

    checked = list(progress(_check_all([file.path for file in files], min_side), "Checking photos", len(files)))
    bad = [Skipped(file.path, result.reason) for file, result in zip(files, checked, strict=True) if result.reason]
    if bad and not skip_bad:
        raise LitesightError(_bad_photos(bad, len(files)), hint="repair or remove them, or leave them out: --skip-bad")
    good = [(file, result.sha256) for file, result in zip(files, checked, strict=True) if not result.reason]
    kept = _one_of_each(good, labels)
    splits = _split(kept, folders.keys(), val_fraction, test_fraction, seed)
    # Counted again: bad photos and copies are gone.
    total = Counter(photo.label for split, photo in kept if split == "train")
    _check_counts(labels, total, root, note=" that can be used" if bad or len(kept) < len(good) else "")
    _check_counts(labels, Counter(p.label for p in splits["train"]), root, at_least=1, note=" left for training")
    return Dataset(
        root=root,
        labels=labels,
        train=tuple(sorted(splits["train"])),
        val=tuple(sorted(splits["val"])),
        test=tuple(sorted(splits["test"])),
        skipped=tuple(bad),
        duplicates=len(good) - len(kept),
    )


def representative(dataset: Dataset, n: int, seed: int = 0) -> tuple[Photo, ...]:
    """The calibration photos: ``n`` of the training split, or all if it has fewer, the classes in turn.

    A pure function of the photos' content, ``n`` and ``seed``; a smaller ``n`` gives the head of the longer list.

    Raises:
        UsageError: ``n`` is not positive.
    """
    if n < 1:
        raise UsageError(f"the number of calibration photos must be at least 1: found {n}")
    return by_turns(sorted(dataset.train, key=lambda photo: _rank(photo.sha256, f"calibration {seed}")))[:n]


def by_turns(photos: Iterable[Photo]) -> tuple[Photo, ...]:
    """The photos with the classes in turn, so that every class is among the first; within a class the order stays."""
    by_class: dict[int, list[Photo]] = defaultdict(list)
    for photo in photos:
        by_class[photo.label].append(photo)
    turns = [(turn, label, photo) for label, mine in by_class.items() for turn, photo in enumerate(mine)]
    return tuple(photo for _, _, photo in sorted(turns, key=lambda entry: entry[:2]))


@dataclass(frozen=True)
class _File:
    split: str
    label: int
    path: Path


@dataclass(frozen=True)
class _Checked:
    sha256: str = ""
    reason: str = ""


def photo_root(source: Path, extract_to: Path | None = None, progress: Progress = silent) -> Path:
    """The folder that a user means: ``source`` itself, or what its .zip holds, unpacked to ``extract_to``.

    Raises:
        LitesightError: neither a folder nor a sound .zip.
    """
    name = printable(source)
    try:
        mode = source.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        found = getattr(error, "strerror", None) or str(error)
        if isinstance(error, FileNotFoundError):
            found = "nothing there"
        raise LitesightError(f"{name}: expected a folder of photos or a .zip of one, found {found}") from error
    if stat.S_ISDIR(mode):
        return source
    if not (stat.S_ISREG(mode) and zipfile.is_zipfile(source)):
        found = "a damaged zip archive" if source.suffix.lower() == ".zip" else "another kind of file"
        raise LitesightError(f"{name}: expected a folder of photos or a .zip of one, found {found}")
    if extract_to is None:
        extract_to = Path(tempfile.mkdtemp(prefix="litesight-photos-"))
        atexit.register(shutil.rmtree, extract_to, ignore_errors=True)
    root = photo_archive.extract(source, extract_to, suffixes=_LISTED_SUFFIXES, progress=progress)
    # Most archives hold one folder that holds everything.
    while len(inner := _visible_folders(root)) == 1 and _visible_folders(inner[0]) and not _loose_photos(root):
        root = inner[0]
    return root


def _visible_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise LitesightError(f"{printable(folder)}: folder cannot be listed: {reason.lower()}") from error


def _loose_photos(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in _LISTED_SUFFIXES and not is_hidden(path.name)]


def split_folders(root: Path) -> dict[str, dict[str, Path]]:
    """Split name → label → folder. Without splits in the folder, everything stands under "train".

    Raises:
        LitesightError: folders beside the splits, or a folder name that cannot be a label.
    """
    top = _visible_folders(root)
    splits = [path for path in top if path.name in _SPLIT_OF_FOLDER]
    is_split = any(path.name == "train" and _visible_folders(path) for path in splits)
    if not is_split or (len(splits) == 1 and len(top) > 1):  # a class may be called "train" (the vehicle)
        return {"train": _by_label(top)}
    if len(splits) < len(top):
        other = next(path.name for path in top if path not in splits)
        raise LitesightError(
            f"{printable(root)}: expected only train, val and test, found a folder {printable(other)!r} beside them",
            hint="move it elsewhere",
        )
    layout: dict[str, dict[str, Path]] = {}
    for path in splits:
        split = _SPLIT_OF_FOLDER[path.name]
        if split in layout:
            raise LitesightError(f"{printable(root)}: found two folders for validation", hint="keep one, named val")
        layout[split] = _by_label(_visible_folders(path))
    return layout


def _by_label(folders: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        # macOS writes é as two code points, Linux and Windows as one; the class is the same.
        label = unicodedata.normalize("NFC", folder.name)
        if not label.isprintable() or label != label.strip():
            raise LitesightError(
                f"{printable(folder)}: a class name must be printable, without spaces at its ends, "
                f"found {printable(label)!r}",
                hint="rename the folder",
            )
        if label in found:
            raise LitesightError(
                f"{printable(folder)}: two folders have the class name {label!r}, written in two ways",
                hint="merge them",
            )
        found[label] = folder
    return found


def _check_classes(root: Path, folders: dict[str, dict[str, Path]], labels: Sequence[str]) -> None:
    where = printable(root)
    if not labels:
        if not any(root.iterdir()):
            found = "an empty folder"
        elif photos := find_images(root, suffixes=_LISTED_SUFFIXES):
            found = f"{len(photos)} photos without class folders"
        else:
            found = "no folders and no photos" + _kinds_of_files(root)
        raise LitesightError(f"{where}: expected a sub-folder of photos per class, found {found}")
    if len(labels) < MIN_CLASSES:
        inside = _visible_folders(folders["train"][labels[0]])
        hint = f"give {printable(folders['train'][labels[0]])} if the classes are in there" if inside else "add a class"
        raise LitesightError(f"{where}: expected at least two classes, found one: {labels[0]!r}", hint=hint)
    for split in ("val", "test"):
        unknown = sorted(set(folders.get(split, ())) - set(labels))
        if unknown:
            raise LitesightError(
                f"{where}: {split} has the class {unknown[0]!r}, which train lacks", hint="same class folders in each"
            )
        if split in folders and not folders[split]:
            raise LitesightError(
                f"{where}: expected class folders in {split}, found none", hint="remove the folder to split by seed"
            )


def _list_files(folders: dict[str, dict[str, Path]], labels: Sequence[str]) -> list[_File]:
    files: list[_File] = []
    for split, classes in folders.items():
        for label, folder in classes.items():
            paths = find_images(folder, suffixes=_LISTED_SUFFIXES)
            if not paths:
                raise LitesightError(
                    f"{printable(folder)}: expected photos of class {label!r}, found none{_kinds_of_files(folder)}",
                    hint="add photos or remove the folder",
                )
            files.extend(_File(split, labels.index(label), path) for path in paths)
    return files


def _kinds_of_files(folder: Path) -> str:
    kinds = Counter(path.suffix.lower() for path in folder.rglob("*") if path.is_file() and not is_hidden(path.name))
    shown = ", ".join(f"{n} {printable(kind) or 'unnamed kind'}" for kind, n in kinds.most_common(3))
    return f" but {shown} files" if shown else ""


def _check_counts(
    labels: Sequence[str], counts: Counter[int], root: Path, *, at_least: int = MIN_PHOTOS_PER_CLASS, note: str = ""
) -> None:
    short = [(label, counts[index]) for index, label in enumerate(labels) if counts[index] < at_least]
    if short:
        shown = ", ".join(f"{label!r} has {n}" for label, n in short[:_SHOWN_IN_ERROR])
        more = f" and {len(short) - _SHOWN_IN_ERROR} classes more" if len(short) > _SHOWN_IN_ERROR else ""
        raise LitesightError(
            f"{printable(root)}: expected at least {at_least} photos per class{note}, found: {shown}{more}",
            hint="add photos or remove the class",
        )


def _check_all(paths: Sequence[Path], min_side: int) -> Iterator[_Checked]:
    """Results in the order of ``paths``; decoding and hashing release the interpreter lock, so threads suffice."""
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="photo-check")
    try:
        yield from pool.map(lambda path: _check_one(path, min_side), paths)
    finally:
        # On Ctrl-C the rest of the list must not be worked off first.
        pool.shutdown(wait=True, cancel_futures=True)


def _check_one(path: Path, min_side: int) -> _Checked:
    try:
        data = read_bytes(path)
        height, width, _ = decode_image(data, str(path)).shape
    except ImageError as error:
        return _Checked(reason=error.message)
    if min(height, width) < min_side:
        return _Checked(
            reason=f"{printable(path)}: tiny photo: found {width} x {height} pixels, at least {min_side} a side"
        )
    return _Checked(sha256=hashlib.sha256(data).hexdigest())


def _bad_photos(bad: Sequence[Skipped], total: int) -> str:
    shown = "; ".join(photo.reason for photo in bad[:_SHOWN_IN_ERROR])
    more = f"; and {len(bad) - _SHOWN_IN_ERROR} more" if len(bad) > _SHOWN_IN_ERROR else ""
    return f"{len(bad)} of {total} photos cannot be used: {shown}{more}"


def _one_of_each(good: Sequence[tuple[_File, str]], labels: Sequence[str]) -> list[tuple[str, Photo]]:
    """Split and photo for each different content; the copy with the first path is kept."""
    first: dict[str, _File] = {}
    clashes: list[tuple[str, _File, _File]] = []
    for file, sha256 in sorted(good, key=lambda entry: entry[0].path.as_posix()):
        other = first.setdefault(sha256, file)
        if other.label != file.label:
            clashes.append((f"in two classes, {labels[other.label]!r} and {labels[file.label]!r}", other, file))
        elif other.split != file.split:
            clashes.append((f"in two splits, {other.split} and {file.split}", other, file))
    if clashes:
        why, one, two = clashes[0]
        more = f"; and {len(clashes) - 1} more such pairs" if len(clashes) > 1 else ""
        raise LitesightError(
            f"the same photo is {why}: {printable(one.path)} and {printable(two.path)}{more}", hint="remove one of each"
        )
    return [(file.split, Photo(file.path, file.label, sha256)) for sha256, file in first.items()]


def _split(
    kept: Sequence[tuple[str, Photo]], given: Iterable[str], val_fraction: float, test_fraction: float, seed: int
) -> dict[str, list[Photo]]:
    splits: dict[str, list[Photo]] = {"train": [], "val": [], "test": []}
    train_by_class: dict[int, list[Photo]] = defaultdict(list)
    for split, photo in kept:
        if split == "train":
            train_by_class[photo.label].append(photo)
        else:
            splits[split].append(photo)
    for photos in train_by_class.values():
        photos.sort(key=lambda photo: _rank(photo.sha256, f"split {seed}"))
        start = 0
        for split, fraction in (("test", test_fraction), ("val", val_fraction)):
            if split in given or fraction == 0:
                continue
            # At least one, or a class would go unmeasured.
            end = start + max(1, math.floor(len(photos) * fraction + 0.5))
            splits[split].extend(photos[start:end])
            start = end
        splits["train"].extend(photos[start:])
    return splits


def _rank(sha256: str, salt: str) -> bytes:
    return hashlib.sha256(f"litesight {salt} {sha256}".encode("ascii")).digest()
