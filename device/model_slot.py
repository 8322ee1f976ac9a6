# SPDX-License-Identifier: Apache-2.0
"""The active model of a slots directory, exchanged between two frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device.errors import LitesightError, UsageError
from device.slots import Slots

if TYPE_CHECKING:
    from device.classifier import Classifier

PROBATION_FRAMES: Final = 30
POLL_S: Final = 1.0
CLOSE_WAIT_S: Final = 5.0
"""A network that is being opened when the runner ends is waited for: ending under it would crash the process."""


@dataclass(frozen=True)
class _Loaded:
    """A classifier and the slot that it came from."""

    classifier: Classifier
    slot: Path


class SlotModel:
    """The active model of a slots directory.

    A thread looks at the directory's link, opens a new model beside the running one and exchanges them between two
    frames. During the new one's first frames the old one stays in memory; a frame that fails then brings it back at
    once, and ``current`` is pointed back to it on the disk. A model that cannot even be opened is refused in one line
    and not tried again until somebody makes it active again.

    What counts as failing is an exception. Outputs are int8 and so always numbers, and the same answer frame after
    frame is what a good model says of a scene in which nothing moves; whether the network computes what it should is
    judged by its golden vectors before it becomes active.

    Args:
        slots: the directory.
        load: opens the bundle at a path; it raises what makes the bundle unfit. Called from both threads.
        report: gets one line for every change; from both threads.
        poll_s: how often the link is looked at, in seconds.
        probation_frames: so many frames must go well before the old model is given up.

    Raises:
        LitesightError: the active model cannot be opened, and there is none to fall back to.
    """

    def __init__(
        self,
        slots: Slots,
        load: Callable[[Path], Classifier],
        report: Callable[[str], None],
        poll_s: float = POLL_S,
        probation_frames: int = PROBATION_FRAMES,
    ) -> None:
        self._slots, self._load, self._report = slots, load, report
        self._poll_s, self._probation_frames = poll_s, probation_frames
        self._lock = threading.Lock()
        self._seen = slots.link_state()
        self._active = self._open_first()
        self._classifier = self._active.classifier
        self._old: _Loaded | None = None
        proved = probation_frames < 1 or self._is_proved(self._active.slot)
        self._on_probation: Classifier | None = None if proved else self._classifier
        self._frames_left = probation_frames
        self._proved: Path | None = None
        self._given_up: tuple[Path, Path, str] | None = None
        self._wake, self._ended = threading.Event(), False
        self._watcher = threading.Thread(target=self._watch, name="litesight-slots", daemon=True)
        self._watcher.start()

    def current(self) -> Classifier:
        """The classifier for the next frame."""
        return self._classifier

    def worked(self, classifier: Classifier) -> None:
        """Count a good frame of a model on probation."""
        if classifier is not self._on_probation:
            return
        with self._lock:
            if classifier is not self._on_probation:
                return
            self._frames_left -= 1
            if self._frames_left <= 0:
                # The watcher writes it down and lets go of the old one: both take longer than a frame may.
                self._on_probation, self._proved = None, self._active.slot
                self._wake.set()

    def failed(self, classifier: Classifier, error: Exception) -> bool:
        """Bring the old model back if this one is on probation."""
        with self._lock:
            if classifier is not self._classifier:
                return True  # it was exchanged while the frame was on its way
            if classifier is not self._on_probation:
                return False
            bad, old = self._active, self._old
            reason = f"one of its first {self._probation_frames} frames failed: {_text(error)}"
            if old is None:
                # Nothing is in memory after a start with a model that never ran; there is no frame to hurry for.
                old = self._open_previous(bad.slot)
            if old is None:
                return False
            self._install(old, on_probation=False)
            self._given_up = (bad.slot, old.slot, reason)
        self._report(f"model {bad.slot.name} was given up: {reason}; {old.slot.name} goes on")
        self._wake.set()
        return True

    def close(self) -> None:
        """End the watcher; what is to be written down is written down."""
        self._ended = True
        self._wake.set()
        self._watcher.join(CLOSE_WAIT_S)

    def _open_first(self) -> _Loaded:
        try:
            slot = self._slots.current()
            return _Loaded(self._load(slot), slot)
        except LitesightError as error:
            reason = f"it cannot be opened: {_text(error)}"
            previous = self._slots.previous()
            # A model that has proved itself is not at fault if it is called in another way: with a misspelt label, say.
            if previous is None or (isinstance(error, UsageError) and self._slots.status().proved):
                raise
            try:
                loaded = _Loaded(self._load(previous), previous)
            except LitesightError:
                raise error from None
            self._report(f"the active model was given up: {reason}; {previous.name} runs instead")
            self._write(lambda: self._slots.fall_back(reason, to=previous))
            return loaded

    def _open_previous(self, bad: Path) -> _Loaded | None:
        previous = self._slots.previous()
        if previous is None or previous.name == bad.name:
            return None
        try:
            return _Loaded(self._load(previous), previous)
        except Exception as error:
            self._report(f"model {previous.name} cannot be fallen back to: {_text(error)}")
            return None

    def _watch(self) -> None:
        while True:
            self._wake.wait(self._poll_s)
            self._wake.clear()
            ended = self._ended
            self._write_down()
            if ended:
                return
            self._look()

    def _write_down(self) -> None:
        with self._lock:
            given_up, self._given_up = self._given_up, None
            proved, self._proved = self._proved, None
            dropped = self._old if self._on_probation is None else None
            if dropped is not None:
                self._old = None
        del dropped  # outside of the lock, for closing a network takes its time
        if given_up is not None:
            bad, good, reason = given_up
            self._write(lambda: self._slots.fall_back(reason, failed=bad, to=good))
        if proved is not None:
            slot = proved
            self._write(lambda: self._slots.prove(slot))

    def _look(self) -> None:
        """Open what has become active."""
        state = self._slots.link_state()
        if state is None or state == self._seen:
            return
        self._seen = state
        try:
            slot = self._slots.current()
        except (LitesightError, OSError) as error:
            self._report(f"{error}; the running model goes on")
            return
        if slot == self._active.slot:
            return
        try:
            loaded = _Loaded(self._load(slot), slot)
        # Whatever is wrong with it, the running model is not to be touched by it.
        except Exception as error:
            if self._slots.link_state() != state:
                return  # a newer one is there already, and this one may be gone
            # Asked for only now: the one that ran when this one began to be opened may have been given up since.
            running, reason = self._active.slot, f"it cannot be opened: {_text(error)}"
            self._report(f"model {slot.name} was refused: {reason}; {running.name} goes on")
            self._write(lambda: self._slots.fall_back(reason, failed=slot, to=running))
            return
        with self._lock:
            # Two new models in a row: the one that has proved itself is kept, not the one in between.
            if self._on_probation is None or self._old is None:
                self._old = self._active
            self._install(loaded, on_probation=self._probation_frames > 0)
        self._report(f"model {slot.name} ({loaded.classifier.bundle.manifest.name}) is active now")

    def _install(self, loaded: _Loaded, *, on_probation: bool) -> None:
        """With the lock held."""
        self._active = loaded
        self._frames_left = self._probation_frames
        self._on_probation = loaded.classifier if on_probation else None
        self._classifier = loaded.classifier

    def _is_proved(self, slot: Path) -> bool:
        status = self._slots.status()
        return status.active == slot.name and status.proved

    def _write(self, action: Callable[[], object]) -> None:
        """The directory may be somebody else's or full: that is told, and the classifier lives."""
        try:
            action()
        except (LitesightError, OSError) as error:
            self._report(f"cannot write down which model is active: {_text(error)}")


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
