# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from device.errors import LitesightError
from train_host import elpv
from train_host.elpv import materialize

TABLE = "images/a.png  0.0                 mono\nimages/b.png  0.3333333333333333  poly\n" + (
    "images/c.png  0.5                 mono\nimages/d.png  1.0                 mono\n"
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stand-in for the package's data folder."""
    data = tmp_path / "package" / "data"
    (data / "images").mkdir(parents=True)
    for name in "abcd":
        (data / "images" / f"{name}.png").write_text(name)
    (data / "labels.csv").write_text(TABLE)
    monkeypatch.setattr(elpv, "_package_data", lambda: data)
    return data


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_installed_package_gives_the_published_numbers(tmp_path: Path) -> None:
    if importlib.util.find_spec("elpv_dataset") is None:
        pytest.skip("elpv-dataset is not installed")
    found = materialize(tmp_path / "elpv")
    counts = {folder.name: sum(path.is_file() for path in folder.iterdir()) for folder in found.iterdir()}
    # From the paper's table: 715 + 106 cells at probability 1 and 2/3; 295 + 1508 at 1/3 and 0.
    assert counts == {"defective": 821, "functional": 1803}


def test_a_cell_counts_as_defective_from_one_half_on(package: Path, tmp_path: Path) -> None:
    found = materialize(tmp_path / "new" / "elpv")
    assert tree(found) == ["defective/c.png", "defective/d.png", "functional/a.png", "functional/b.png"]
    assert (found / "defective" / "c.png").read_text() == "c"


def test_a_second_call_changes_nothing(package: Path, tmp_path: Path) -> None:
    first = materialize(tmp_path / "elpv")
    made = first.stat().st_ino
    assert materialize(tmp_path / "elpv").stat().st_ino == made


def test_links_into_an_environment_that_is_gone_are_made_anew(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(tmp_path / "elpv")
    moved = package.rename(package.with_name("moved"))
    monkeypatch.setattr(elpv, "_package_data", lambda: moved)
    assert len(tree(materialize(tmp_path / "elpv"))) == 4


def test_without_links_the_photos_are_copied(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("links need a right that this user lacks")

    monkeypatch.setattr(Path, "symlink_to", refused)
    found = materialize(tmp_path / "elpv")
    assert (found / "functional" / "a.png").read_text() == "a"


def test_photos_of_the_user_in_folders_of_the_same_names_are_not_replaced(package: Path, tmp_path: Path) -> None:
    mine = tmp_path / "elpv" / "defective" / "mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(LitesightError, match=r"the folder of ELPV photos: .* exists and holds other files"):
        materialize(tmp_path / "elpv")
    assert mine.read_text() == "precious"


def test_a_missing_package_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(LitesightError, match=r"elpv-dataset is not installed \(pip install elpv-dataset=="):
        materialize(tmp_path / "elpv")
    assert not (tmp_path / "elpv").exists()


@pytest.mark.parametrize("table", ["", "images/a.png zero mono\n", "images/a.png 1.0\n", "images/gone.png 1.0 mono\n"])
def test_a_damaged_package_leaves_nothing_behind(package: Path, tmp_path: Path, table: str) -> None:
    (package / "labels.csv").write_text(table)
    with pytest.raises(LitesightError, match="elpv-dataset is damaged"):
        materialize(tmp_path / "elpv")
    assert [path.name for path in tmp_path.iterdir()] == ["package"]
