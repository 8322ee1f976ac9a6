# SPDX-License-Identifier: Apache-2.0
"""The files of a collection of frames: found, written whole or not at all, and named in a log.

``device.atomic`` would do an fsync for every file, which costs an SD card more than the picture. Here a crash leaves a
file whole or not there; when the power goes, the last ones may come out cut, and :func:`saved_frames` sweeps them.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from device.atomic import cannot_write
from device.errors import LitesightError
from device.images import printable

LOG: Final = "frames.jsonl"

_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-\d{6,}-([0-9a-f]{16})\.png")
_PARTIAL: Final = re.compile(rf"\.{_NAME.pattern}\.partial")
_LOGGED_FILE: Final = re.compile(rb'\{"file": ("(?:[^"\\]|\\.)*")')
_PNG_END: Final = b"\x00\x00\x00\x00IEND\xaeB`\x82"
# What is older than so many frames has reached the disk.
_UNPROVEN: Final = 200
_LINE_BYTES: Final = 1 << 16
# A living process needs no longer for one file.
_STALE_S: Final = 60.0


@dataclass(frozen=True, order=True)
class SavedFrame:
    """A frame on the disk: its file's name, the class folder it is in, its perceptual hash, its size."""

    name: str
    folder: str
    hash: int
    bytes: int


def frame_name(taken: datetime, index: int, hash: int) -> str:
    """The file's name; names sort by time."""
    return f"{taken:%Y%m%dT%H%M%S.%fZ}-{index:06d}-{hash:016x}.png"


def ready_folder(folder: Path) -> Path:
    """The folder without links, made if it is missing and proven to take files.

    Raises:
        LitesightError: it is a file, or cannot be written.
    """
    path = folder
    try:
        # A relative one stays where it was, and a link is not followed anew to somewhere else.
        path = Path(os.path.realpath(folder))
        if path.exists() and not path.is_dir():
            raise LitesightError(f"expected a folder to save frames in, found the file {printable(folder)}")
        path.mkdir(parents=True, exist_ok=True)
        # Root may write where the permission bits say no, but nobody may write to a read-only file system.
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def saved_frames(root: Path) -> tuple[list[SavedFrame], int]:
    """The frames below ``root``, and the bytes of all files there. What a crash or a power cut left is removed.

    Raises:
        OSError: a folder cannot be read.
    """
    total, saved = 0, []
    for folder, entry in _files(root):
        try:
            facts = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # somebody tidies up
        frame = _NAME.fullmatch(entry.name)
        is_empty = frame is not None and facts.st_size == 0
        if is_empty or (_PARTIAL.fullmatch(entry.name) and time.time() - facts.st_mtime > _STALE_S):
            _remove(entry.path)
            continue
        total += facts.st_size
        if frame:
            saved.append((SavedFrame(entry.name, folder, int(frame[1], 16), facts.st_size), entry.path))
    cut = {path for _, path in heapq.nlargest(_UNPROVEN, saved) if not _has_end(path)}
    for path in cut:
        _remove(path)
    total -= sum(frame.bytes for frame, path in saved if path in cut)
    return [frame for frame, path in saved if path not in cut], total


def logged_frames(log: Path) -> Iterator[tuple[str, int]]:
    """Class folder and perceptual hash of every frame that was ever saved. Whatever is no line of ours is passed over.

    Raises:
        LitesightError: the log is no regular file.
        OSError: it cannot be read.
    """
    try:
        descriptor = _open_log(log, os.O_RDONLY)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "rb") as stream:
        while line := stream.readline(_LINE_BYTES):
            found = _LOGGED_FILE.match(line)
            if found is None:
                continue
            try:
                folder, _, name = str(json.loads(found[1])).partition("/")
            except ValueError:
                continue
            if frame := _NAME.fullmatch(name):
                yield folder, int(frame[1], 16)


@contextlib.contextmanager
def class_folder(path: Path) -> Iterator[None]:
    """Make the folder if it is missing; take it away again if the block fails and leaves it empty.

    Raises:
        LitesightError: something else has the name.
    """
    try:
        path.mkdir()
    except FileExistsError:
        # A link would lead out of the folder whose size is limited.
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise LitesightError(f"expected a class folder, found a file or a link: {printable(path)}") from None
        yield
        return
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            path.rmdir()
        raise


def write_frame(path: Path, data: bytes, log: Path, line: bytes) -> None:
    """Write a file and its line in the log: both or neither.

    Raises:
        OSError: the system refused.
    """
    temporary = path.with_name(f".{path.name}.partial")
    written = temporary
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o666), "wb", buffering=0) as stream:
            rest = memoryview(data)
            while rest:
                rest = rest[stream.write(rest) :]
        temporary.rename(path)
        written = path
        _append(log, line)
    except BaseException:
        _remove(written)
        raise


def _append(log: Path, line: bytes) -> None:
    """One write, so that the lines of several processes do not mix; what a full disk cut is taken back."""
    descriptor = _open_log(log, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        # After a power cut the last line may lack its end; this one must not become its continuation.
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        written = os.write(descriptor, line)
        if written < len(line):
            if os.fstat(descriptor).st_size == size + written:  # or else somebody else has written on
                os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _files(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below ``root``, links not followed, with the name of the class folder that it is in, or ""."""
    ahead = [("", str(root))]
    while ahead:
        top, folder = ahead.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append((top or entry.name, entry.path))
                    else:
                        yield top, entry
        except FileNotFoundError:
            if not top:
                raise


def _open_log(path: Path, flags: int) -> int:
    """A descriptor of the log; never of a pipe, which would wait, nor of a file that a link leads to."""
    other = LitesightError(f"expected a regular file, found a folder, a link or a pipe: {printable(path)}")
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise other from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise other
    return descriptor


def _has_end(path: str) -> bool:
    try:
        with Path(path).open("rb") as stream:
            stream.seek(-len(_PNG_END), os.SEEK_END)
            return stream.read() == _PNG_END
    except OSError:
        return False


def _remove(path: str | Path) -> None:
    with contextlib.suppress(OSError):
        Path(path).unlink()
