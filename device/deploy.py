# SPDX-License-Identifier: Apache-2.0
"""Brings a bundle to another machine's slots: checked here, copied aside, checked there, and only then made active.

Three calls: ``litesight slot stage`` makes a directory on the other machine, rsync or scp fills it, and ``litesight
slot receive`` checks what has arrived and switches. Whatever fails, the old model stays active and the copy is removed;
one that an interrupted deploy leaves behind lies where nothing looks for a model, and a later one removes it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device import bundle as bundles
from device.errors import LitesightError
from device.remote import (
    ANSWER_TIMEOUT_S,
    SLOWEST_BYTES_PER_S,
    Answer,
    RemoteError,
    Target,
    call,
    connection_error,
    has_rsync,
    printable,
    run,
    scp_has_sftp,
)

COPIERS: Final = ("auto", "rsync", "scp")
CHECK_TIMEOUT_S: Final = 300.0
"""The golden vectors of a large network on a small machine."""
DISCARD_TIMEOUT_S: Final = 15.0
SPARE_BYTES: Final = 1 << 20
_SSH_FAILED: Final = 255


class DeployError(LitesightError):
    """The other machine refused the bundle, or it did not get there."""


@dataclass(frozen=True)
class Deployed:
    """How it ended.

    Attributes:
        target: user and host.
        copier: "rsync" or "scp".
        copied_bytes: size of the files.
        verdict: what ``litesight slot receive`` said: ``slot``, ``name``, ``previous``, ``golden`` …
    """

    target: str
    copier: str
    copied_bytes: int
    verdict: dict[str, Any]


def deploy(path: Path, target: Target, slots: str, report: Callable[[str], None], copier: str = "auto") -> Deployed:
    """Put the bundle at ``path`` into the slots directory ``slots`` of ``target`` and make it active there.

    Args:
        path: a bundle; files that a device does not need are left out.
        target: the other machine.
        slots: path there; ``~/`` is the user's home there.
        report: gets a line for every step.
        copier: one of COPIERS; "auto" takes rsync where both machines have it.

    Raises:
        BundleError: the bundle is not whole.
        RemoteError: no connection, or no litesight there.
        DeployError: it was not copied, or refused there; the old model is active.
    """
    bundle = bundles.load(path)
    files = [path / name for name in bundle.device_files]
    size_bytes = sum(file.stat().st_size for file in files)
    report(f"{bundle.manifest.name}: {len(files)} files, {size_bytes:,} bytes, all hashes right")
    staged = _answered(target, call(target, stage_words(slots)))
    staging, free_bytes = staged.get("staging"), staged.get("free_bytes")
    if not isinstance(staging, str) or not staging.startswith("/"):
        raise RemoteError(f"expected a directory from {target}, found {printable(repr(staging))}")
    try:
        # The copy, and the slot that is made of it.
        if isinstance(free_bytes, int) and free_bytes < 2 * size_bytes + SPARE_BYTES:
            raise DeployError(
                f"the disk of {target} is full: {free_bytes:,} bytes are free, "
                f"{2 * size_bytes + SPARE_BYTES:,} are needed",
                hint="free some space there",
            )
        copier = _chosen(copier, bool(staged.get("rsync")))
        _copy(files, size_bytes, target, staging, copier)
        report(f"copied to {target} with {copier}; checking there")
        return Deployed(str(target), copier, size_bytes, _answered(target, _received(target, slots, staging)))
    except BaseException:
        # A Ctrl-C too; and the reason for giving up is what counts.
        with suppress(LitesightError):
            call(target, ["slot", "discard", "--", slots, staging], DISCARD_TIMEOUT_S)
        raise


def plan(path: Path, target: Target, slots: str, copier: str = "auto") -> Iterator[str]:
    """The command lines that :func:`deploy` would run, for a shell of this machine; the bundle is checked.

    Raises:
        BundleError: the bundle is not whole.
    """
    bundle = bundles.load(path)
    files = [path / name for name in bundle.device_files]
    staging = "/STAGING"
    yield shlex.join(target.litesight(stage_words(slots)))
    yield shlex.join(_copy_words(files, target, staging, _chosen(copier, True)))
    yield shlex.join(target.litesight(receive_words(slots, staging)))


def stage_words(slots: str) -> list[str]:
    """The call that asks the other machine for a place."""
    return ["slot", "stage", "--json", "--", slots]


def receive_words(slots: str, staging: str) -> list[str]:
    """The call that has the copy checked and made active."""
    return ["slot", "receive", "--json", "--", slots, staging]


def _received(target: Target, slots: str, staging: str) -> Answer:
    try:
        return call(target, receive_words(slots, staging), CHECK_TIMEOUT_S)
    except (RemoteError, KeyboardInterrupt) as error:
        # It may go on over there: what is active is whole, but nobody knows here which one it is.
        reason = "stopped" if isinstance(error, KeyboardInterrupt) else error.message
        raise DeployError(
            f"{reason}, while the bundle was checked there; the old model or the new one is active",
            hint=f"ask there: litesight slot status {slots}",
        ) from error


def _chosen(copier: str, remote_has_rsync: bool) -> str:
    if copier != "auto":
        return copier
    return "rsync" if remote_has_rsync and has_rsync() else "scp"


def _copy_words(files: list[Path], target: Target, staging: str, copier: str) -> list[str]:
    if copier == "rsync":
        return target.rsync(files, staging)
    return target.scp(files, staging, sftp=scp_has_sftp())


def _copy(files: list[Path], size_bytes: int, target: Target, staging: str, copier: str) -> None:
    timeout_s = ANSWER_TIMEOUT_S + size_bytes / SLOWEST_BYTES_PER_S
    answer = run(_copy_words(files, target, staging, copier), timeout_s, f"copying to {target}")
    if answer.status == 0:
        return
    if "No space left on device" in answer.log:
        raise DeployError(f"the disk of {target} is full; nothing has changed there", hint="free some space there")
    if answer.status == _SSH_FAILED:
        raise connection_error(target, answer)
    reason = answer.error or f"{copier} ended with status {answer.status}"
    other = "scp" if copier == "rsync" else "rsync"
    raise DeployError(
        f"the bundle was not copied to {target}: {reason}", hint=f"try again, or with --copy-with {other}"
    )


def _answered(target: Target, answer: Answer) -> dict[str, Any]:
    """The JSON object that litesight printed there.

    Raises:
        DeployError: it printed an error instead, which is handed on.
    """
    if answer.status != 0:
        raise DeployError(f"{target} says: {_their_error(answer)}")
    # A login script may have printed something first.
    for line in reversed(answer.out.splitlines()):
        with suppress(ValueError, RecursionError):
            document = json.loads(line)
            if isinstance(document, dict):
                return document
    raise RemoteError(
        f"expected a JSON object from litesight on {target}, found {printable(answer.out[:60])!r}",
        hint="is it the same version as here? litesight --version",
    )


def _their_error(answer: Answer) -> str:
    prefix = "litesight: error: "
    for line in reversed(answer.log.splitlines()):
        if line.startswith(prefix):
            return printable(line.removeprefix(prefix))
    return answer.error or f"exit status {answer.status} without a message"
