# SPDX-License-Identifier: Apache-2.0
"""Photos out of a .zip from anywhere: only photos, only inside the target folder, all of them or none."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from device.atomic import cannot_write
from device.errors import LitesightError
from device.images import MAX_FILE_BYTES, is_hidden, printable
from device.progress import Progress, silent

MAX_BYTES: Final = 64 << 30
MAX_ENTRIES: Final = 5_000_000
# Photos are compressed already; even flat BMP pictures stay far below this. A bomb is 1000 to 1 and more.
MAX_RATIO: Final = 200
# Below this size no ratio does harm.
RATIO_MATTERS_BYTES: Final = 100 << 20

_CHUNK_BYTES = 1 << 20


def extract(archive: Path, into: Path, *, suffixes: frozenset[str], progress: Progress = silent) -> Path:
    """Unpack the photos of ``archive`` into a new folder below ``into``, named after the archive and its content.

    A folder that an earlier call finished is used again. Hidden files, ``__MACOSX`` and files with other suffixes are
    left in the archive; empty folders are made, so that an empty class can be reported.

    Args:
        archive: a .zip file; its content is not trusted.
        into: where to unpack; made if missing.
        suffixes: what to unpack, in lower case with the dot.
        progress: shows the files.

    Returns:
        The folder with the archive's content.

    Raises:
        LitesightError: the archive is damaged, encrypted, implausibly large, holds a symbolic link, or a name that is
            absolute or leads out of the folder; or ``into`` cannot be written. Nothing is left behind then.
    """
    target = into / f"{archive.stem}-{_sha256(archive)[:16]}"
    if target.is_dir():
        return target
    temporary: Path | None = None
    try:
        with zipfile.ZipFile(archive) as source:
            members = _members(archive, source, suffixes)
            into.mkdir(parents=True, exist_ok=True)
            needed = sum(info.file_size for info, _ in members)
            if needed > shutil.disk_usage(into).free:
                raise LitesightError(
                    f"{printable(archive)}: not enough space to unpack in {printable(into)}: {needed} bytes needed",
                    hint="free some space or choose another disk",
                )
            temporary = Path(tempfile.mkdtemp(dir=into, prefix=f".{archive.stem}.", suffix=".partial"))
            for info, name in progress(members, "Unpacking", len(members)):
                _extract_one(archive, source, info, temporary / name)
        temporary.chmod(0o755)
        temporary.rename(target)
        temporary = None
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, NotImplementedError) as error:
        # NotImplementedError: a feature of the format that Python lacks. ValueError: fields that point nowhere.
        raise LitesightError(
            f"{printable(archive)}: damaged zip archive: {printable(str(error))}", hint="make or download it again"
        ) from error
    except OSError as error:
        raise cannot_write(into, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _members(
    archive: Path, source: zipfile.ZipFile, suffixes: frozenset[str]
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """What is to be unpacked and under which relative name, after every check that needs no reading of content."""
    entries = source.infolist()
    if len(entries) > MAX_ENTRIES:
        raise LitesightError(f"{printable(archive)}: zip archive has {len(entries)} files, at most {MAX_ENTRIES}")
    members = []
    for info in entries:
        name = _safe_name(archive, info)
        if any(is_hidden(part) for part in name.parts):
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise _unsafe(archive, info, "is a symbolic link")
        if info.is_dir() or name.suffix.lower() in suffixes:
            if info.flag_bits & 1:
                raise LitesightError(
                    f"{printable(archive)}: zip archive is encrypted", hint="unpack it and give the folder"
                )
            # bzip2 and LZMA report damage as an OSError or in ways of their own; nobody packs photos with them.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise LitesightError(
                    f"{printable(archive)}: expected a zip archive with ordinary compression, found method "
                    f"{info.compress_type}",
                    hint="unpack it and give the folder",
                )
            if info.file_size > MAX_FILE_BYTES:
                raise _unsafe(archive, info, f"unpacks to {info.file_size} bytes, at most {MAX_FILE_BYTES}")
            members.append((info, name))
    unpacked = sum(info.file_size for info, _ in members)
    packed = max(archive.stat().st_size, 1)
    if unpacked > MAX_BYTES:
        raise LitesightError(
            f"{printable(archive)}: zip archive unpacks to {unpacked} bytes, at most {MAX_BYTES}",
            hint="unpack it and give the folder",
        )
    # Against the size of the file: entries that share one piece of it are a bomb too.
    if unpacked > RATIO_MATTERS_BYTES and unpacked > MAX_RATIO * packed:
        raise LitesightError(
            f"{printable(archive)}: zip archive of {packed} bytes unpacks to {unpacked}, more than {MAX_RATIO} times: "
            "these are no photos"
        )
    return members


def _safe_name(archive: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    text = info.filename
    if not info.flag_bits & 0x800:
        # Without the UTF-8 flag zipfile reads cp437, but macOS writes UTF-8 and sets no flag.
        try:
            text = text.encode("cp437").decode("utf-8")
        except UnicodeError:
            text = info.filename
    text = text.replace("\\", "/")  # some Windows programs
    name = PurePosixPath(text)
    if text.startswith("/") or (len(text) > 1 and text[1] == ":"):
        raise _unsafe(archive, info, "is an absolute name")
    if ".." in name.parts:
        raise _unsafe(archive, info, "leads out of the folder")
    return name


def _unsafe(archive: Path, info: zipfile.ZipInfo, why: str) -> LitesightError:
    return LitesightError(
        f"{printable(archive)}: unsafe zip archive: {printable(info.filename)} {why}",
        hint="unpack it yourself and give the folder",
    )


def _extract_one(archive: Path, source: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    try:
        if info.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x": a second entry of the same name must not quietly replace the first.
        with source.open(info) as packed, target.open("xb") as unpacked:
            shutil.copyfileobj(packed, unpacked, _CHUNK_BYTES)
    except (FileExistsError, NotADirectoryError) as error:
        raise LitesightError(
            f"{printable(archive)}: zip archive holds {printable(info.filename)} twice, or as a file and a folder",
            hint="unpack it yourself and give the folder",
        ) from error


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise LitesightError(f"{printable(path)}: zip archive cannot be read: {reason}") from error
