# SPDX-License-Identifier: Apache-2.0
"""What a crash, a full disk or a wrong name must not destroy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from device import atomic
from device.errors import LitesightError


def is_ours(path: Path) -> bool:
    return (path / "mark").exists()


def make(target: Path, content: str, fault: BaseException | None = None) -> None:
    with atomic.new_directory(target, is_ours=is_ours, kind="bundle") as directory:
        (directory / "mark").write_text(content)
        if fault:
            raise fault


def test_an_earlier_result_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    make(target, "one")
    (target / "left over").write_text("of the first run")
    make(target, "two")
    assert [path.name for path in target.iterdir()] == ["mark"]
    assert (target / "mark").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_an_exchange_of_directories_the_result_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    test_an_earlier_result_is_replaced_whole(tmp_path)


@pytest.mark.parametrize("fault", [RuntimeError("crash"), KeyboardInterrupt()])
def test_a_crash_leaves_the_old_directory(tmp_path: Path, fault: BaseException) -> None:
    target = tmp_path / "out"
    make(target, "old")
    with pytest.raises(type(fault)):
        make(target, "half", fault)
    assert (target / "mark").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(LitesightError, match=r"cannot write .*out: No space left on device \(free some space"):
        make(tmp_path / "out", "half", full)
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_directory_is_not_touched(tmp_path: Path) -> None:
    target = tmp_path / "photos"
    target.mkdir()
    (target / "cat.jpg").write_bytes(b"mine")
    with pytest.raises(LitesightError, match=r"cannot write the bundle: .*photos exists and holds other files"):
        make(target, "new")
    assert (target / "cat.jpg").read_bytes() == b"mine"


def test_a_file_in_the_way_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(LitesightError, match="out is a file"):
        make(tmp_path / "out", "new")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    make(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    make(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "mark").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_what_a_killed_run_left_is_swept_but_not_what_a_running_one_writes(tmp_path: Path) -> None:
    (tmp_path / ".out.dead.partial").mkdir()
    (tmp_path / ".out.dead.partial" / "half").write_text("x")
    (tmp_path / ".out.alive.partial").mkdir()
    lock = atomic.lock_directory(tmp_path / ".out.alive.partial")
    assert lock is not None
    assert atomic.lock_directory(tmp_path / ".out.alive.partial") is None
    make(tmp_path / "out", "new")
    os.close(lock)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.alive.partial", "out"]


def test_the_current_directory_is_not_exchanged_under_the_users_feet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for target in (Path(), Path(".."), Path("/")):
        with pytest.raises(LitesightError, match="is the current directory or holds it"):
            make(target, "new")


def test_a_pipe_is_written_to_and_a_link_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real.json")
    atomic.write_file(tmp_path / "link", b"data")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"data"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    atomic.write_file(tmp_path / "pipe", b"data")
    assert os.read(reader, 10) == b"data"
    os.close(reader)


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    make(tmp_path / "out", "new")
    assert (tmp_path / "out" / "mark").read_text() == "new"


@pytest.mark.native  # QEMU's /proc may be an ordinary folder
def test_a_read_only_place_is_found_before_the_work(tmp_path: Path) -> None:
    # /proc refuses everybody, root too.
    with pytest.raises(LitesightError, match="cannot write /proc/out"):
        atomic.check_replaceable(Path("/proc/out"), is_ours=is_ours, kind="bundle")


def test_a_file_is_replaced_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.json"
    atomic.write_file(path, b"one")
    atomic.write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]
    umask = os.umask(0o022)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_refused_file_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(LitesightError, match="No space left on device"):
        atomic.write_file(tmp_path / "result.json", b"data")
    assert list(tmp_path.iterdir()) == []
