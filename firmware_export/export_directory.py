# SPDX-License-Identifier: Apache-2.0
"""The directory of an export: written in one step, and replaced only when nobody has touched it since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device import atomic
from device.errors import LitesightError, UsageError

MANIFEST = "export.json"
KIND = "litesight-export"
SCHEMA = 1


def check_target(target: Path, *, force: bool) -> None:
    """Refuse early what ``write`` would refuse at the end.

    Raises:
        LitesightError: ``target`` is a directory of the user's, or cannot be written.
    """
    if force and target.is_dir():
        _refuse_dangerous(target)
    elif target.is_dir():
        changed = _first_change(target)
        if changed:
            raise LitesightError(
                f"{target} holds an export, but {changed} was added or changed since",
                hint="choose another output, or replace it with --force",
            )
    atomic.check_replaceable(target, is_ours=lambda path: force or _is_export(path), kind="export")


def write(target: Path, files: Mapping[str, bytes], facts: Mapping[str, Any], *, force: bool = False) -> None:
    """Write the files and ``export.json``.

    Args:
        target: the directory; an earlier export that nobody has changed is replaced.
        files: content by path relative to ``target``, "/" between the parts.
        facts: what ``export.json`` says beside kind, schema and the files' hashes.
        force: replace ``target`` whatever it holds.

    Raises:
        LitesightError: ``target`` may not be replaced or cannot be written.
    """
    check_target(target, force=force)
    listing = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in sorted(files.items())
    }
    document = {"kind": KIND, "schema": SCHEMA, **facts, "files": listing}
    with atomic.new_directory(target, is_ours=lambda path: force or _is_export(path), kind="export") as directory:
        for name, data in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (directory / MANIFEST).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n")


def _is_export(path: Path) -> bool:
    return _listing(path) is not None


def _listing(path: Path) -> dict[str, Any] | None:
    """The files that an earlier export says it wrote; None where there is no export."""
    try:
        document = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("kind") != KIND or not isinstance(document.get("files"), dict):
        return None
    return dict(document["files"])


def _first_change(path: Path) -> str:
    """The first file that is not as the export wrote it; empty when all are, or when there is no export."""
    listing = _listing(path)
    if listing is None:
        return ""
    for found in sorted(path.rglob("*")):
        name = found.relative_to(path).as_posix()
        if name == MANIFEST or (found.is_dir() and not found.is_symlink()):
            continue
        facts = listing.get(name)
        expected = facts.get("sha256") if isinstance(facts, dict) else None
        if found.is_symlink() or not found.is_file() or hashlib.sha256(found.read_bytes()).hexdigest() != expected:
            return name
    return ""


def _refuse_dangerous(target: Path) -> None:
    """--force on a mistyped path shall not cost a home directory."""
    place = target.resolve()
    if any(kept.resolve().is_relative_to(place) for kept in (Path.home(), Path.cwd())):
        raise UsageError(f"--force would delete {place}, which holds your home or working directory")
