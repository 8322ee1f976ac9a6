# SPDX-License-Identifier: Apache-2.0
"""Photos for an evaluation, with the right class of each, in any layout that people have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from device.bundle import SEEN_DIGITS, Bundle
from device.errors import LitesightError
from device.images import find_images, printable, read_bytes
from device.progress import Progress, silent
from train_host.bundle_writer import LabelledPhoto
from train_host.dataset import photo_root, split_folders

_INDEX = re.compile(r"(\d+)[_-]")


def find_labelled_photos(source: Path, labels: Sequence[str], *, progress: Progress = silent) -> list[LabelledPhoto]:
    """Photos and their classes.

    ``source`` is a folder or a .zip of one: with class folders named like the labels, or with train/ and test/ of such
    folders, of which test/ is taken, or without folders and with photos whose names start with the class index
    ("0007_cock.jpg").

    Args:
        source: where to look.
        labels: the bundle's class names.
        progress: shows the unpacking of a .zip.

    Raises:
        LitesightError: no photos, or a folder or an index that is no class of the bundle.
    """
    root = photo_root(source, None, progress)
    folders = split_folders(root)
    only = list(folders["train"].values())
    if len(folders) == 1 and len(only) == 1 and only[0].name not in labels:
        # One folder around the photos, as archives often have.
        root = only[0]
        folders = split_folders(root)
    classes = folders.get("test", folders["train"])
    if "test" not in folders and len(folders) > 1:
        raise LitesightError(
            f"{printable(source)}: expected a folder test beside train, found {', '.join(sorted(folders))}",
            hint="give the folder of the photos to evaluate on",
        )
    loose = [path for path in find_images(root) if path.parent == root]
    # As in training, photos that lie beside class folders do not count.
    if loose and not classes:
        return [(path, _class_of(path, labels)) for path in loose]
    photos = []
    for name, folder in classes.items():
        if name not in labels:
            known = ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "")
            raise LitesightError(
                f"{printable(source)}: found the class folder {name!r}, which the bundle does not know",
                hint=f"its classes are {known}",
            )
        photos += [(path, labels.index(name)) for path in find_images(folder)]
    if not photos:
        raise LitesightError(
            f"{printable(source)}: expected photos, found none", hint="one sub-folder a class, named like the label"
        )
    return photos


def seen_in_training(bundle: Bundle, photos: Sequence[LabelledPhoto]) -> list[bool]:
    """Whether the bundle's training saw each photo, by its content; all False for a bundle that does not tell.

    Raises:
        LitesightError: a photo cannot be read.
    """
    seen = bundle.seen_photos()
    if not seen:
        return [False] * len(photos)
    return [hashlib.sha256(read_bytes(path)).hexdigest()[:SEEN_DIGITS] in seen for path, _ in photos]


def _class_of(path: Path, labels: Sequence[str]) -> int:
    found = _INDEX.match(path.name)
    if found is None:
        raise LitesightError(
            f"{printable(path)}: expected photos in class folders, or names that start with the class index (0007_…)"
        )
    index = int(found[1])
    if index >= len(labels):
        raise LitesightError(
            f"{printable(path)}: its name says class {index}; the bundle's classes are 0 to {len(labels) - 1}"
        )
    return index
