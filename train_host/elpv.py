# SPDX-License-Identifier: Apache-2.0
"""The ELPV photos of solar cells as class folders, for the demo.

2,624 electroluminescence images of 300 x 300 pixels, each with the probability that experts gave to a defect. As in the
data set's paper, a cell counts as defective from a probability of 0.5 on: S. Deitsch et al., "Automatic classification
of defective photovoltaic module cells in electroluminescence images", Solar Energy 185, 2019.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Final

from device.atomic import new_directory
from device.errors import LitesightError
from device.images import printable

CLASSES: Final = ("defective", "functional")
DEFECTIVE_FROM: Final = 0.5
_PACKAGE = "elpv_dataset"
_HINT = "pip install elpv-dataset==1.0.0.post1"


def materialize(target: Path) -> Path:
    """Make ``target`` a folder with the photos in ``defective/`` and ``functional/``; nothing happens if it is one.

    The photos are symbolic links into the installed package, or copies where there are no links.

    Returns:
        ``target``.

    Raises:
        LitesightError: the package elpv-dataset is missing or damaged; ``target`` holds something else or cannot be
            written.
    """
    photos = _photos(_package_data())
    if _is_complete(target, photos):
        return target
    with new_directory(
        target, is_ours=lambda folder: _holds_only(folder, photos), kind="folder of ELPV photos"
    ) as folder:
        for label in CLASSES:
            (folder / label).mkdir()
        for name, photo in photos.items():
            _link_or_copy(photo, folder / name)
    return target


def _package_data() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)  # finds it without importing it, and Pillow with it
    if spec is None or not spec.submodule_search_locations:
        raise LitesightError(
            "the ELPV photos are missing: the Python package elpv-dataset is not installed", hint=_HINT
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _photos(data: Path) -> dict[str, Path]:
    """Name below the target ("defective/cell0001.png") → the package's photo, from lines "path probability type"."""
    table = data / "labels.csv"
    photos = {}
    try:
        for line in table.read_text(encoding="utf-8").split("\n"):
            if line.strip():
                path, probability, _ = line.split()
                photo = data / path
                label = CLASSES[0] if float(probability) >= DEFECTIVE_FROM else CLASSES[1]
                if not photo.is_file():
                    raise FileNotFoundError(photo)
                photos[f"{label}/{photo.name}"] = photo
    except (OSError, ValueError) as error:
        raise LitesightError(
            f"the Python package elpv-dataset is damaged: {printable(str(error))}", hint=f"{_HINT} --force-reinstall"
        ) from error
    if not photos:
        raise LitesightError(f"the Python package elpv-dataset is damaged: {table} is empty", hint=_HINT)
    return photos


def _is_complete(target: Path, photos: dict[str, Path]) -> bool:
    # Where the package has moved (a new virtual environment) the links lead nowhere, and is_file() says so.
    found = {f"{path.parent.name}/{path.name}" for path in target.glob("*/*.png") if path.is_file()}
    return found == set(photos)


def _holds_only(folder: Path, photos: dict[str, Path]) -> bool:
    """Whether there is nothing of the user's in ``folder``: it may have class folders of the same names."""
    entries = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return all(entry in photos or entry in CLASSES for entry in entries)


def _link_or_copy(photo: Path, target: Path) -> None:
    try:
        target.symlink_to(photo.absolute())
    except (OSError, NotImplementedError):  # Windows without the right to make links, FAT
        shutil.copyfile(photo, target)
