# SPDX-License-Identifier: Apache-2.0
"""A training must never remove what is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.errors import LitesightError, UsageError
from train_host.recipe import CHECKPOINT_NAME
from train_host.work_directory import is_resumable, open_work, work_directory


def use(tmp_path: Path, *, finish_epoch: bool, fail: bool, resume: bool = False, restart: bool = False) -> set[str]:
    """One training of ``tmp_path/out``; returns what it found in its work directory."""
    with open_work(tmp_path / "out", tmp_path / "photos", resume=resume, restart=restart) as work:
        found = {entry.name for entry in work.iterdir()}
        (work / "cache").mkdir(exist_ok=True)
        if finish_epoch:
            (work / CHECKPOINT_NAME).write_text("weights")
        if fail:
            raise KeyboardInterrupt
    return found


def test_nothing_is_left_of_a_training_that_ended_well(tmp_path: Path) -> None:
    use(tmp_path, finish_epoch=True, fail=False)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_training_stays_only_if_an_epoch_was_finished(tmp_path: Path) -> None:
    for finish_epoch in (False, True):
        with pytest.raises(KeyboardInterrupt):
            use(tmp_path, finish_epoch=finish_epoch, fail=True)
        assert is_resumable(tmp_path / "out") is finish_epoch
        assert work_directory(tmp_path / "out").exists() is finish_epoch


def test_an_interrupted_training_is_resumed_or_thrown_away_but_not_by_accident(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        use(tmp_path, finish_epoch=True, fail=True)
    with pytest.raises(UsageError, match="holds an interrupted training"):
        use(tmp_path, finish_epoch=False, fail=False)
    with pytest.raises(KeyboardInterrupt):
        use(tmp_path, finish_epoch=False, fail=True, resume=True)
    assert CHECKPOINT_NAME not in use(tmp_path, finish_epoch=True, fail=False, restart=True)


def test_resume_finds_the_checkpoint_and_without_one_begins(tmp_path: Path) -> None:
    assert CHECKPOINT_NAME not in use(tmp_path, finish_epoch=True, fail=False, resume=True)
    with pytest.raises(KeyboardInterrupt):
        use(tmp_path, finish_epoch=True, fail=True)
    assert CHECKPOINT_NAME in use(tmp_path, finish_epoch=True, fail=False, resume=True)


@pytest.mark.parametrize("restart", [False, True])
def test_a_users_directory_of_that_name_is_left_alone(tmp_path: Path, restart: bool) -> None:
    thesis = tmp_path / "out.training" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    with pytest.raises(LitesightError, match="is not a training's"):
        use(tmp_path, finish_epoch=False, fail=False, restart=restart)
    assert thesis.read_text() == "years of work"


@pytest.mark.parametrize(
    ("photos", "output"), [("out", "out"), ("out/photos", "out"), (".", "out"), ("out.training", "out")]
)
def test_photos_and_output_in_each_other_are_refused(tmp_path: Path, photos: str, output: str) -> None:
    (tmp_path / photos).mkdir(parents=True, exist_ok=True)
    with (
        pytest.raises(UsageError, match="lie in each other"),
        open_work(tmp_path / output, tmp_path / photos, resume=False, restart=True),
    ):
        pass
    assert (tmp_path / photos).is_dir()


def test_two_trainings_of_one_output_do_not_meet(tmp_path: Path) -> None:
    with (
        open_work(tmp_path / "out", tmp_path / "photos", resume=False, restart=False) as work,
        pytest.raises(LitesightError, match=r"another training of .* is running"),
    ):
        use(tmp_path, finish_epoch=False, fail=False, restart=True)
    assert not work.exists()
