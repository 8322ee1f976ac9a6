# SPDX-License-Identifier: Apache-2.0
"""What a slots directory does with files: a lock, links that change in one step, and bytes that survive a power cut."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from device import atomic
from device.bundle import BundleError
from device.errors import LitesightError
from device.manifest import MAX_FILE_BYTES
from device.regular_file import read_regular

LOCK_WAIT_S: Final = 30.0
_LOCK_POLL_S: Final = 0.02


class SlotError(LitesightError):
    """A slots directory that is missing, empty, busy or not one."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, which is made if it is missing; the lock ends with the process at the latest.

    Raises:
        SlotError: another process has held it for LOCK_WAIT_S.
        LitesightError: the place cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
    try:
        ends = time.monotonic() + LOCK_WAIT_S
        while not _take(descriptor):
            if time.monotonic() >= ends:
                raise SlotError(
                    f"{path.parent} is busy: another process has held its lock for {LOCK_WAIT_S:.0f} s",
                    hint="try again when the other deploy has ended",
                )
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def read_link(path: Path) -> str | None:
    """Where a link points; None if there is none.

    Raises:
        SlotError: something else is there.
    """
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return None
    except OSError as error:
        found = "something else" if os.path.lexists(path) else error.strerror
        raise SlotError(f"{path}: expected a link to a slot, found {found}", hint="move it away") from error


def put_link(path: Path, target: str) -> None:
    """Make ``path`` a link to ``target`` in one step, whatever link was there.

    Raises:
        LitesightError: the place cannot be written; the old link is there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.symlink_to(target)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise atomic.cannot_write(path, error) from error


def read(path: Path) -> bytes:
    """A file of a bundle.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file, on the disk before this returns."""
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def sync_directory(path: Path) -> None:
    """The names in a directory, on the disk before this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def age_s(path: Path) -> float:
    """Seconds since its last change; not its modification time, which whoever copies may set to the original's."""
    return time.time() - path.lstat().st_ctime


def remove(path: Path) -> None:
    """A directory of ours, or what somebody put in its place; a link is removed, not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
