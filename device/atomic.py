# SPDX-License-Identifier: Apache-2.0
"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from device.errors import LitesightError

_PARTIAL = ".partial"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds either its old content or all of the new.

    A link stays, and what it points to is written. A device or a pipe is written to, not replaced.

    Raises:
        LitesightError: the place cannot be written or is full.
    """
    temporary: Path | None = None
    path = Path(os.path.realpath(path))
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files for the owner alone; a result is for everybody whom the umask lets read it.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error
    except BaseException:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def new_directory(target: Path, *, is_ours: Callable[[Path], bool], kind: str) -> Iterator[Path]:
    """Yield an empty directory that becomes ``target`` when the block ends well, and vanishes when it does not.

    An existing ``target`` is replaced in one step if it is empty or ``is_ours`` says that an earlier run of this kit
    wrote it; anything else of the user's is left alone.

    Args:
        target: the directory to be.
        is_ours: tells whether an existing directory may be replaced.
        kind: what is written, for the error message ("bundle").

    Raises:
        LitesightError: ``target`` is something else, or cannot be written.
    """
    check_replaceable(target, is_ours=is_ours, kind=kind)
    # A link stays, and what it points to is replaced.
    target = Path(os.path.realpath(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=_PARTIAL))
        lock = lock_directory(temporary)
    except OSError as error:
        raise cannot_write(target, error) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _put_in_place(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        # After an exchange this is the old content; after a failure, the unfinished new one.
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def lock_directory(path: Path) -> int | None:
    """Lock a directory for this process.

    Returns:
        A file descriptor; the lock ends when it is closed, at the latest with the process. None if another process
        holds the lock.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def check_replaceable(target: Path, *, is_ours: Callable[[Path], bool], kind: str) -> None:
    """Refuse a target that ``new_directory`` would refuse; for commands that work long before they write.

    Raises:
        LitesightError: ``target`` is a file, a directory with other content, or lies in a place that is read-only.
    """
    try:
        here = Path.cwd()
        if target.resolve() in (here, *here.parents):
            raise LitesightError(
                f"cannot write the {kind}: {target.resolve()} is the current directory or holds it",
                hint=f"choose a directory of its own, such as {here / 'out'}",
            )
        if target.is_dir():
            if any(target.iterdir()) and not is_ours(target):
                raise LitesightError(
                    f"cannot write the {kind}: {target} exists and holds other files",
                    hint="choose another output, or move it away",
                )
        elif target.exists() or target.is_symlink():
            raise LitesightError(
                f"cannot write the {kind}: {target} is a file", hint="choose the name of a directory that may be made"
            )
        nearest = next(parent for parent in target.absolute().parents if parent.exists())
        # Root may write where the permission bits say no, but nobody may write to a read-only file system.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise cannot_write(target, error) from error


def cannot_write(path: Path, error: OSError) -> LitesightError:
    """The one line a user gets when the system refuses a write."""
    hints = {
        errno.ENOSPC: "free some space or choose another disk",
        errno.EDQUOT: "your quota is used up: free some space",
        errno.EROFS: "choose a place on a disk that can be written",
        errno.EACCES: "choose a place that you may write to",
        errno.EPERM: "choose a place that you may write to",
    }
    reason = os.strerror(error.errno) if error.errno else str(error)
    return LitesightError(f"cannot write {path}: {reason}", hint=hints.get(error.errno or 0, ""))


def _sweep(target: Path) -> None:
    """Remove what runs that were killed have left of the same target; those that go on hold a lock."""
    for stale in target.parent.glob(f".{glob.escape(target.name)}.*{_PARTIAL}"):
        if stale.is_dir() and not stale.is_symlink():
            lock = lock_directory(stale)
            if lock is not None:
                shutil.rmtree(stale, ignore_errors=True)
                os.close(lock)


def _put_in_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    if _exchange(temporary, target):
        return
    # Without an exchange (not Linux, or a file system that lacks it) there is an instant in which the target is away.
    aside = temporary.with_suffix(".old")
    target.rename(aside)
    temporary.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two directories in one step; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done = renameat2(
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(first)),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(second)),
        ctypes.c_uint(_RENAME_EXCHANGE),
    )
    return bool(done == 0)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
