# SPDX-License-Identifier: Apache-2.0
"""Models that can be changed while one of them runs: a directory of bundles and a link to the active one.

::

    ~/litesight-models/
        slots/1f0c…/       bundles, named by the hash of their manifest and signature; never changed
        current            link to the active slot
        previous           link to the one before, to fall back to
        status.json        for people: since when, and why the last model was given up
        incoming/          uploads that are not checked yet; nothing looks for a model there
        keys/*.pub         optional: then only bundles that one of these keys signed are received
        lock

A link is changed by renaming a new one over it, after everything that it points to is on the disk. So at any moment, a
power cut included, ``current`` is the old model or the new one, whole.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from device import atomic, slot_files, slot_status
from device import bundle as bundles
from device.errors import LitesightError
from device.golden_check import GoldenCheck, check_golden
from device.interpreter import check_against_manifest, open_interpreter
from device.regular_file import RegularFileError, read_regular
from device.signature import load_signed
from device.slot_files import SlotError
from device.slot_status import SLOT_NAME, Fallback, Record, one_line

DEFAULT_ROOT: Final = "~/litesight-models"
KEEP: Final = 3
"""So many slots are kept, and the active and the previous one in any case."""
STALE_UPLOAD_S: Final = 24 * 3600.0
STALE_PARTIAL_S: Final = 60.0

_SLOTS: Final = "slots"
_CURRENT: Final = "current"
_PREVIOUS: Final = "previous"
_STATUS: Final = "status.json"
_INCOMING: Final = "incoming"
_KEYS: Final = "keys"
_LOCK: Final = "lock"
_UPLOAD: Final = "upload-"
_PARTIAL: Final = ".partial"


@dataclass(frozen=True)
class Received:
    """A bundle that was checked and lies in a slot, not active yet."""

    slot: Path
    golden: GoldenCheck


@dataclass(frozen=True)
class Status:
    """What a slots directory holds.

    Attributes:
        active: name of the active slot; None before the first model.
        since: when it became active, ISO 8601 in UTC; empty if there is none.
        proved: whether its first frames went well in a runner.
        previous: what it would fall back to.
        slots: names of all, newest first.
        fallback: the last one.
    """

    active: str | None
    since: str
    proved: bool
    previous: str | None
    slots: tuple[str, ...]
    fallback: Fallback | None


LinkState = tuple[int, int, str]
"""Inode and modification time (ns) of a link, and where it points: it differs after every switch."""


def is_slots(path: Path) -> bool:
    """Whether ``path`` is a slots directory, and not a bundle."""
    return (path / _SLOTS).is_dir() and not (path / bundles.MANIFEST).exists()


def create_slots(root: Path) -> Slots:
    """The slots directory at ``root``, made if it is not there.

    Raises:
        SlotError: something else is there.
        LitesightError: the place cannot be written.
    """
    root = root.expanduser().absolute()
    if not is_slots(root):
        try:
            root.mkdir(parents=True, exist_ok=True)
            # What an interrupted earlier call made is no reason to refuse.
            others = sorted({entry.name for entry in root.iterdir()} - {_INCOMING, _KEYS})
            if others:
                raise SlotError(
                    f"{root} is not a slots directory: it holds {others[0]!r}", hint="choose a directory of its own"
                )
            (root / _INCOMING).mkdir(exist_ok=True)
            (root / _SLOTS).mkdir(exist_ok=True)
        except OSError as error:
            raise atomic.cannot_write(root, error) from error
    return Slots(root)


class Slots:
    """A slots directory. Any number of processes may use it at once.

    Args:
        root: the directory; :func:`create_slots` makes one.

    Raises:
        SlotError: it is not a slots directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        if not is_slots(self.root):
            raise SlotError(
                f"{self.root} is not a slots directory", hint="make one with: litesight deploy BUNDLE user@host"
            )

    def current(self) -> Path:
        """The active slot: the bundle's own path, which stays the same bundle whatever becomes active later.

        Raises:
            SlotError: there is none, or the link is not of this kit's making.
        """
        slot = self._linked(_CURRENT)
        if slot is None:
            raise SlotError(f"{self.root} holds no model yet", hint="put one there: litesight deploy BUNDLE user@host")
        if not slot.is_dir():
            raise SlotError(f"the active slot {slot} is missing", hint=f"run: litesight slot back {self.root}")
        return slot

    def previous(self) -> Path | None:
        """What would be fallen back to; None if there is nothing."""
        slot = self._target(_PREVIOUS)
        # A crash in the middle of a switch leaves both links on the same slot.
        return slot if slot is not None and slot.is_dir() and slot != self._target(_CURRENT) else None

    def link_state(self) -> LinkState | None:
        """Changes whenever a model is made active, the same one again included; None before the first."""
        link = self.root / _CURRENT
        try:
            facts = link.lstat()
            return facts.st_ino, facts.st_mtime_ns, str(link.readlink())
        except OSError:
            return None

    def status(self) -> Status:
        """What is active, since when, and what there is beside it."""
        active, state, record = None, self.link_state(), self._record()
        with suppress(SlotError):
            active = self.current().name
        since = record.since if active is not None and active == record.active else ""
        if active is not None and not since and state is not None:
            since = slot_status.iso(state[1] / 1e9)  # the file was lost, or a crash came before it was written
        previous = self.previous()
        return Status(
            active,
            since,
            active in record.proved,
            previous.name if previous else None,
            tuple(slot.name for slot in self._all()),
            record.fallback,
        )

    def find(self, name: str) -> Path:
        """The slot whose name is or begins with ``name``.

        Raises:
            SlotError: there is none, or more than one.
        """
        found = [slot for slot in self._all() if name and slot.name.startswith(name)]
        if len(found) != 1:
            kept = ", ".join(slot.name for slot in self._all()) or "none"
            raise SlotError(f"expected one slot that begins with {name!r}, found {len(found)}; there are: {kept}")
        return found[0]

    def stage(self) -> Path:
        """A new empty directory for an upload, under ``incoming/``; what others left there long ago is removed."""
        incoming = self.root / _INCOMING
        try:
            incoming.mkdir(exist_ok=True)
            for entry in incoming.glob(f"{_UPLOAD}*"):
                if slot_files.age_s(entry) > STALE_UPLOAD_S:
                    slot_files.remove(entry)
            return Path(tempfile.mkdtemp(dir=incoming, prefix=_UPLOAD))
        except OSError as error:
            raise atomic.cannot_write(incoming, error) from error

    def is_staged(self, path: Path) -> bool:
        """Whether ``path`` is one of :meth:`stage`'s directories."""
        path = path.absolute()
        return path.parent == self.root / _INCOMING and path.name.startswith(_UPLOAD)

    def discard(self, path: Path) -> None:
        """Remove a directory of :meth:`stage`; again does no harm.

        Raises:
            SlotError: it is another directory, which is left alone.
        """
        if not self.is_staged(path):
            raise SlotError(f"expected a directory that `slot stage` made, found {path}")
        slot_files.remove(path.absolute())

    def trusted_keys(self) -> tuple[Path, ...]:
        """The public keys in ``keys/``; empty where there is no such directory.

        Raises:
            SlotError: the directory is there but holds no key: nothing could be received.
        """
        folder = self.root / _KEYS
        if not folder.exists():
            return ()
        keys = tuple(sorted(folder.glob("*.pub")))
        if not keys:
            raise SlotError(
                f"{folder} demands signatures but holds no key", hint="copy NAME.pub there, or remove the directory"
            )
        return keys

    def receive(self, staging: Path, public_keys: Sequence[Path] = ()) -> Received:
        """Check the bundle at ``staging`` and copy it into a slot; it does not become active.

        Hashes, signature, the network against the manifest, and the golden vectors in this machine's runtime: all of it
        is checked on the copy, before the copy becomes a slot. What a device does not need is left out.

        Args:
            staging: a bundle anywhere; it is left as it is.
            public_keys: a signature of one of them is demanded; those of ``keys/`` count too.

        Raises:
            LitesightError: a check failed, or the place cannot be written; nothing has changed.
        """
        keys = (*self.trusted_keys(), *public_keys)
        bundle = load_signed(staging, keys) if keys else bundles.load(staging)
        content = {name: slot_files.read(staging / name) for name in bundle.device_files}
        slot = self.root / _SLOTS / _slot_name(content)
        if _is_whole(slot):
            with suppress(OSError):
                os.utime(slot)  # it is among the newest again
            return Received(slot, _check(slot, keys))
        with atomic.new_directory(slot, is_ours=lambda _: True, kind="slot") as directory:
            for name, data in content.items():
                slot_files.write_synced(directory / name, data)
            golden = _check(directory, keys)
            slot_files.sync_directory(directory)
        slot_files.sync_directory(slot.parent)
        return Received(slot, golden)

    def switch(self, slot: Path) -> None:
        """Make a slot active; the one that was active becomes the previous one, and old slots are removed.

        Where the active one has not proved itself and the previous one has, the previous one stays: two bad models in a
        row must not leave only bad ones to fall back to.

        Raises:
            SlotError: it is not a slot of this directory, or another process holds the lock.
            LitesightError: the place cannot be written; the old model stays active.
        """
        with slot_files.locked(self.root / _LOCK):
            self._check_slot(slot)
            old, record = self._target(_CURRENT), self._record()
            if old is not None and old.is_dir() and old.name != slot.name:
                before = self.previous()
                keeps = before is not None and before.name in record.proved and old.name not in record.proved
                if not keeps:
                    self._point(_PREVIOUS, old)
            self._point(_CURRENT, slot)
            self._write_record(replace(record, active=slot.name, since=slot_status.now()))
            self._clean()

    def back(self) -> Path:
        """Make the previous slot active, and the active one the previous.

        Raises:
            SlotError: there is no previous one.
        """
        previous = self.previous()
        if previous is None:
            raise SlotError(f"{self.root} has no previous model to go back to")
        self.switch(previous)
        return previous

    def prove(self, slot: Path) -> None:
        """Note that a slot's first frames went well."""
        with slot_files.locked(self.root / _LOCK):
            record = self._record()
            if slot.name not in record.proved:
                self._write_record(replace(record, proved=(*record.proved, slot.name)))

    def fall_back(self, reason: str, *, failed: Path | None = None, to: Path | None = None) -> Path | None:
        """Give the active model up.

        Args:
            reason: for the status file.
            failed: the slot that failed; if another one is active by now, nothing changes.
            to: the slot to make active; the previous one by default, or where that is missing.

        Returns:
            The slot that is active now; None if there is none to fall back to, and then nothing changes but the status.

        Raises:
            SlotError: another process holds the lock.
            LitesightError: the place cannot be written.
        """
        with slot_files.locked(self.root / _LOCK):
            active = self._target(_CURRENT)
            failed = failed or active
            if failed is None or (active is not None and active.name != failed.name):
                return active
            candidates = [each for each in (to, self.previous()) if each is not None]
            good = next((each for each in candidates if each.name != failed.name and self._is_slot(each)), None)
            if good is not None:
                self._point(_CURRENT, good)
                # It is what one falls back to now; the failed one must not be.
                with suppress(FileNotFoundError):
                    (self.root / _PREVIOUS).unlink()
            record = self._record()
            at = slot_status.now()
            fallback = Fallback(failed.name, good.name if good else None, at, one_line(reason))
            proved = tuple(name for name in record.proved if name != failed.name)
            active_since = (good.name, at) if good else (failed.name, record.since)
            self._write_record(Record(*active_since, proved, fallback))
            return good

    def _linked(self, link: str) -> Path | None:
        """Where a link points, whether or not that exists; None if there is no link."""
        target = slot_files.read_link(self.root / link)
        if target is None:
            return None
        folder, _, name = target.partition("/")
        if folder != _SLOTS or not SLOT_NAME.fullmatch(name):
            raise SlotError(
                f"{self.root / link}: expected a link to a slot, found {target!r}",
                hint=f"set it with: litesight slot switch {self.root} SLOT",
            )
        return self.root / _SLOTS / name

    def _target(self, link: str) -> Path | None:
        """:meth:`_linked`, and None too for a link that is not of this kit's making."""
        with suppress(SlotError):
            return self._linked(link)
        return None

    def _is_slot(self, slot: Path) -> bool:
        return slot.parent == self.root / _SLOTS and bool(SLOT_NAME.fullmatch(slot.name)) and slot.is_dir()

    def _check_slot(self, slot: Path) -> None:
        if not self._is_slot(slot):
            raise SlotError(f"{slot} is not a slot of {self.root}")

    def _all(self) -> list[Path]:
        """Newest first."""
        found = []
        for entry in (self.root / _SLOTS).iterdir():
            with suppress(OSError):  # removed meanwhile
                if SLOT_NAME.fullmatch(entry.name) and entry.is_dir():
                    found.append((entry.stat().st_mtime_ns, entry))
        return [entry for _, entry in sorted(found, reverse=True)]

    def _point(self, link: str, slot: Path) -> None:
        slot_files.put_link(self.root / link, f"{_SLOTS}/{slot.name}")

    def _record(self) -> Record:
        try:
            return slot_status.parse_record(read_regular(self.root / _STATUS, slot_status.MAX_BYTES))
        except (OSError, RegularFileError):
            return Record()

    def _write_record(self, record: Record) -> None:
        """The links are what counts: a full disk must not undo a switch."""
        present = {slot.name for slot in self._all()}
        record = replace(record, proved=tuple(name for name in record.proved if name in present))
        with suppress(LitesightError):
            atomic.write_file(self.root / _STATUS, slot_status.record_bytes(record))

    def _clean(self) -> None:
        """Remove slots beyond KEEP and what crashes left. Failing to is no fault of the new model's."""
        needed = {path.name for path in (self._target(_CURRENT), self.previous()) if path is not None}
        with suppress(OSError):
            for slot in self._all()[KEEP:]:
                if slot.name not in needed:
                    # Renamed first: half a slot must not have a slot's name.
                    gone = slot.with_name(f".{slot.name}.{secrets.token_hex(4)}{_PARTIAL}")
                    slot.rename(gone)
                    slot_files.remove(gone)
            for stale in (self.root / _SLOTS).glob(f".*{_PARTIAL}"):
                # One that is being written is locked, but not in the instant after it was made.
                descriptor = atomic.lock_directory(stale) if slot_files.age_s(stale) > STALE_PARTIAL_S else None
                if descriptor is not None:
                    slot_files.remove(stale)
                    os.close(descriptor)
            for link in (_CURRENT, _PREVIOUS, _STATUS):
                for stale in self.root.glob(f".{link}.*"):
                    stale.unlink()


def _check(path: Path, keys: Sequence[Path]) -> GoldenCheck:
    """Everything that can be said of a bundle before its first frame; one thread, to leave a runner its cores."""
    bundle = load_signed(path, keys) if keys else bundles.load(path)
    interpreter = open_interpreter(bundle.model_bytes(), threads=1)
    check_against_manifest(bundle, interpreter)
    return check_golden(bundle, interpreter)


def _slot_name(content: dict[str, bytes]) -> str:
    """The manifest covers every other file; a bundle that is signed anew is another one."""
    both = content[bundles.MANIFEST] + content.get(bundles.SIGNATURE, b"")
    return hashlib.sha256(both).hexdigest()[:16]


def _is_whole(slot: Path) -> bool:
    try:
        bundles.load(slot)
    except LitesightError:
        return False
    return True
