# SPDX-License-Identifier: Apache-2.0
"""Collects frames for the next training beside the classifier, which it never keeps waiting."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from device.atomic import cannot_write
from device.errors import LitesightError
from device.frame_store import FrameStore, NoRoomError, Outcome, Shot
from device.results import Result
from device.save_rule import SaveRule

MIN_DISTANCE: Final = 6
"""Bits of 64. Of 500 photos, those changed a little differ in fewer, but for 1 in 2,500; no two in fewer than 12."""
CLOSE_S: Final = 0.5

_QUEUE_FRAMES: Final = 4
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 300.0
# A disk that takes longer is not one to wait for.
_PATIENCE_S: Final = 10.0
_NICENESS: Final = 10


class FrameSaver:
    """Saves the frames that a rule wants into class folders; see :mod:`device.frame_store`.

    Args:
        folder: of the class folders; made if it is missing.
        rule: which frames are wanted.
        limit_bytes: the most that the folder may hold.
        min_distance: kept frames of a class differ in at least so many bits of their perceptual hash.
        report: gets one line about what a user should know: that saving pauses and why, that it goes on. It is called
            in a thread of the saver's.
        patient: where no frame is lost by waiting, as with photos and videos, :meth:`offer` waits for a slow disk.

    Attributes:
        saved: frames written.
        duplicates: wanted frames that look like one that is kept.
        dropped: wanted frames that came while the queue was full or saving had paused, or that could not be written.
            Once the saver is closed, every wanted frame is in one of the three.

    Raises:
        LitesightError: the folder is a file, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        rule: SaveRule,
        limit_bytes: int,
        min_distance: int,
        report: Callable[[str], None],
        *,
        patient: bool = False,
    ) -> None:
        self.saved = self.dropped = self.duplicates = 0
        self._store = FrameStore(folder, limit_bytes, min_distance)
        self._rule, self._report, self._patient = rule, report, patient
        self._offered = 0
        # Everything below belongs to whoever holds this.
        self._changed = threading.Condition()
        self._queue: deque[Shot] = deque()
        self._spare: list[NDArray[Any]] = []
        self._paused_until = 0.0
        self._last_moment: float | None = None  # set by close()
        # Of the thread alone.
        self._pause_s = _FIRST_PAUSE_S
        self._told_pause = self._told_fault = ""
        self._thread = threading.Thread(target=self._work, name="frame-saver", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def offer(self, result: Result) -> None:
        """Take a result; keep a copy of its frame if the rule wants it and there is room. Never fails.

        Without ``patient`` this takes as long as the rule and a copy of the pixels.
        """
        number, self._offered = self._offered, self._offered + 1
        if not self._rule.wants(result, number):
            return
        with self._changed:
            if self._patient:
                self._changed.wait_for(lambda: not self._is_full() or self._is_deaf(), _PATIENCE_S)
            if self._is_full() or self._is_deaf():
                self.dropped += 1
                return
            self._queue.append(_shot(result, self._spare.pop() if self._spare else None))
            self._changed.notify_all()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Save what is queued, at most for ``timeout_s``; the rest is dropped. Again does no harm."""
        with self._changed:
            if self._last_moment is None:
                self._last_moment = time.monotonic() + timeout_s
            self._changed.notify_all()
        # A disk that hangs holds the thread, but not the program: it is a daemon, and its file has no name yet.
        self._thread.join(timeout_s)

    def summary(self) -> str:
        """One line for the end of a run."""
        with self._changed:
            counts = [f"{self.saved} saved", f"{self.duplicates} like a saved one"]
            counts += [f"{self.dropped} dropped"] if self.dropped else []
        return f"frames for the next training: {', '.join(counts)} ({self._store.folder})"

    def _is_full(self) -> bool:
        return len(self._queue) >= _QUEUE_FRAMES

    def _is_deaf(self) -> bool:
        """Whether it would be of no use to queue a frame now."""
        is_closed = self._last_moment is not None or not self._thread.is_alive()
        return is_closed or time.monotonic() < self._paused_until

    def _work(self) -> None:
        _be_nice()
        self._attempt(self._store.refresh)
        while (shot := self._next()) is not None:
            outcome = self._attempt(functools.partial(self._store.save, shot))
            with self._changed:
                self.saved += outcome is Outcome.SAVED
                self.duplicates += outcome is Outcome.DUPLICATE
                self.dropped += outcome is None
                if len(self._spare) < _QUEUE_FRAMES:
                    self._spare.append(shot.pixels)
                self._changed.notify_all()

    def _next(self) -> Shot | None:
        """The next frame to save, as soon as there is one; None at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or self._last_moment is not None)
                now = time.monotonic()
                is_late = self._last_moment is not None and now >= self._last_moment
                if is_late or now < self._paused_until:
                    self.dropped += len(self._queue)
                    self._queue.clear()
                    self._changed.notify_all()
                if self._queue:
                    return self._queue.popleft()
                if self._last_moment is not None:
                    return None

    def _attempt(self, action: Callable[[], Outcome | None]) -> Outcome | None:
        """What ``action`` returns; None if it failed."""
        try:
            outcome = action()
        except NoRoomError as error:
            self._pause(str(error))
            return None
        except OSError as error:
            self._pause(str(cannot_write(self._store.folder, error)))
            return None
        except (LitesightError, MemoryError, ValueError, cv2.error) as error:
            # The fault of one picture or one class folder: the next frame may do better.
            fault = f"a frame was not saved: {' '.join(str(error).split()) or 'out of memory'}"
            if fault != self._told_fault:
                self._told_fault = fault
                self._say(fault)
            return None
        if outcome is Outcome.SAVED and self._told_pause:
            self._told_pause, self._pause_s = "", _FIRST_PAUSE_S
            self._say("frames are saved again")
        return outcome

    def _pause(self, reason: str) -> None:
        """Take no frames for a while, longer each time; the reason is told once."""
        with self._changed:
            self._paused_until = time.monotonic() + self._pause_s
            self._changed.notify_all()
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        if reason != self._told_pause:
            self._told_pause = reason
            self._say(f"no frames are saved for now: {reason}")

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads it any more
            self._report(text)


def _shot(result: Result, buffer: NDArray[Any] | None) -> Shot:
    """A copy of what the next result will overwrite, into ``buffer`` if it fits."""
    frame, pixels = result.frame, result.frame.pixels
    if buffer is None or buffer.shape != pixels.shape or buffer.dtype != pixels.dtype:
        buffer = np.empty(pixels.shape, pixels.dtype)
    np.copyto(buffer, pixels)
    return Shot(
        pixels=buffer,
        format=frame.format,
        name=frame.name,
        index=frame.index,
        taken_at=time.time() - (time.monotonic() - frame.captured_at),
        label=result.label,
        predictions=result.predictions,
        likeliest=result.classification.predictions[0].label,
        scores=result.classification.output.copy(),
        bundle=result.bundle,
    )


def _be_nice() -> None:
    """The classifier goes first. On Linux niceness belongs to a thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)
