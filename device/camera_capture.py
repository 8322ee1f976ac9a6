# SPDX-License-Identifier: Apache-2.0
"""The newest frame of a camera, whatever happens to the camera: it is watched, and opened again after a fault.

The camera is read in a thread of its own. A read that never returns cannot be ended from outside: its thread is left
alone and another takes its place. What it brings later is ignored.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from device.capture import CLOSE_TIMEOUT_S, Prepared, Preparer
from device.classifier import Model
from device.errors import LitesightError
from device.frames import Source, SourceError

FAULTS: Final = ("failed", "frozen", "repeated", "resized", "unopened")
"""What can befall a camera: it reports an error or ends; delivers nothing; delivers the same picture for too long;
delivers another size than before; cannot be opened again."""


@dataclass(frozen=True)
class Limits:
    """How patient to be with a camera; in seconds but for the last two.

    Attributes:
        frozen_s: without a picture it counts as frozen; longer than the time-outs of the sources, which know more.
        open_s: opening it may take so long.
        repeated_s: it may deliver one and the same picture for so long.
        stale_s: an older picture is not classified.
        first_pause_s, longest_pause_s: before it is opened again; doubled from fault to fault.
        healthy_frames: after so many the next pause is the first again.
        left_alone: so many threads may hang in the driver; then only a new process helps.
    """

    frozen_s: float = 6.0
    open_s: float = 20.0
    repeated_s: float = 5.0
    stale_s: float = 1.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    healthy_frames: int = 30
    left_alone: int = 4


@dataclass(frozen=True)
class CameraEvent:
    """What befell a camera: ``kind`` is one of FAULTS, "stale" or "recovered"; ``text`` is for people."""

    kind: str
    text: str


@dataclass(frozen=True)
class _Fault:
    kind: str
    text: str


class CameraCapture:
    """The newest frame of a camera."""

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source],
        model: Model,
        report: Callable[[CameraEvent], None],
        limits: Limits = Limits(),
    ) -> None:
        """Begin to read.

        Args:
            source: the camera, open.
            reopen: opens it again; raises LitesightError if that fails.
            model: whose preprocessing the frames get.
            report: gets every event, from several threads.
            limits: how patient to be.
        """
        self.counts: Counter[str] = Counter()
        self._name = source.name
        self._reopen = reopen
        self._preparer = Preparer(model)
        self._report = report
        self._limits = limits
        # Guards all below.
        self._changed = threading.Condition()
        self._newest: Prepared | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._turn = 0  # which of the threads is listened to
        self._busy_since: float | None = None  # since when the camera owes something; None while nothing is asked of it
        self._patience_s = limits.frozen_s
        self._pause_s = limits.first_pause_s
        self._is_ailing = False
        self._still: bytes | None = None  # the picture that did not change, nor after the camera was opened again
        self._threads: list[threading.Thread] = []  # of the thread that fetches frames
        self._start(self._turn, source, 0.0)

    @property
    def ended(self) -> bool:
        """Only after :meth:`close`: a camera has no end."""
        return self._closed

    def next(self, timeout_s: float) -> Prepared | None:
        until = time.monotonic() + timeout_s
        while (prepared := self._take(until)) is not None:
            age_s = time.monotonic() - prepared.frame.captured_at
            if age_s <= self._limits.stale_s:
                return prepared
            self.done(prepared)
            self._tell_stale(age_s)
        return None

    def done(self, prepared: Prepared) -> None:
        self._preparer.take_back(prepared)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._turn += 1
            self._changed.notify_all()
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _take(self, until: float) -> Prepared | None:
        """What lies ready; None at the time ``until``. Looks after the camera while it waits."""
        while True:
            with self._changed:
                now = time.monotonic()
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                if self._newest is not None:
                    prepared, self._newest = self._newest, None
                    return prepared
                if self._closed or now >= until:
                    return None
                overdue_at = float("inf") if self._busy_since is None else self._busy_since + self._patience_s
                if now < overdue_at:
                    self._changed.wait(min(until, overdue_at) - now)
                    continue
                self._turn += 1  # before the thread that hangs can come back
                turn, patience_s = self._turn, self._patience_s
            self._replace_thread(turn, patience_s)

    def _replace_thread(self, turn: int, patience_s: float) -> None:
        """The camera's thread hangs in the driver: another takes its place, whose turn it is."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) > self._limits.left_alone:
            raise SourceError(
                f"{self._name} hangs: {len(self._threads)} attempts to read it never came back",
                hint="unplug it and plug it in, then start again; litesight service does the latter by itself",
            )
        pause_s = self._fault(turn, _Fault("frozen", f"no picture for {patience_s:.3g} s"))
        if pause_s is not None:
            self._start(turn, None, pause_s)

    def _start(self, turn: int, source: Source | None, pause_s: float) -> None:
        thread = threading.Thread(target=self._work, args=(turn, source, pause_s), name="camera", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _expect(self, turn: int, patience_s: float) -> bool:
        """The camera has so long from now on; False if this thread's turn is over."""
        with self._changed:
            if turn != self._turn:
                return False
            self._busy_since, self._patience_s = time.monotonic(), patience_s
            self._changed.notify_all()
            return True

    def _work(self, turn: int, source: Source | None, pause_s: float) -> None:
        """What the camera's thread does until another takes its place: read, and open again after a fault."""
        try:
            while True:
                if source is None:
                    source = self._open_again(turn, pause_s)
                if source is None:
                    return
                with source:
                    fault = self._read(turn, source)
                    self._expect(turn, self._limits.frozen_s)  # closing it may hang, too
                source = None
                pause = None if fault is None else self._fault(turn, fault)
                if pause is None:
                    return
                pause_s = pause
        except BaseException as error:  # a mistake of ours belongs into the main thread, where it is seen
            with self._changed:
                if turn == self._turn:
                    self._error = error
                    self._changed.notify_all()

    def _open_again(self, turn: int, pause_s: float) -> Source | None:
        """The camera, however long that takes; None if this thread's turn is over."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: turn != self._turn, pause_s)
            if not self._expect(turn, self._limits.open_s):
                return None
            try:
                source = self._reopen()
            # A driver or its library may raise anything; it is told, and tried again.
            except Exception as error:
                fault = _Fault("unopened", _describe(error))
                pause = self._fault(turn, fault)
                if pause is None:
                    return None
                pause_s = pause
                continue
            if self._expect(turn, self._limits.frozen_s):
                return source
            source.close()
            return None

    def _read(self, turn: int, source: Source) -> _Fault | None:
        """Hand over frame by frame until a fault; None if this thread's turn is over."""
        frames = iter(source)
        shape: tuple[int, ...] | None = None
        last: bytes | None = None
        last_since, good = 0.0, 0
        while True:
            if not self._expect(turn, self._limits.frozen_s):
                return None
            asked_ns = time.perf_counter_ns()
            try:
                frame = next(frames, None)
            # As above: whatever a driver raises is a fault of the camera's.
            except Exception as error:
                return _Fault("failed", _describe(error))
            if frame is None:
                return _Fault("failed", f"{self._name} delivers no more pictures")
            now = time.monotonic()
            with self._changed:
                if turn != self._turn:
                    return None
                self._busy_since = None  # what follows is our own work, and the preprocessing belongs to one thread
            shape = shape or frame.pixels.shape
            if frame.pixels.shape != shape:
                found = f"{_size(frame.pixels.shape)} instead of {_size(shape)} pixels"
                return _Fault("resized", f"{self._name} delivers {found}")
            seen = fingerprint(frame.pixels)
            if seen == last:
                self.counts["repeats"] += 1
                source.recycle(frame)
                if now - last_since > self._limits.repeated_s and seen != self._still:
                    self._still = seen
                    return _Fault("repeated", f"{self._name} delivers the same picture again and again")
                continue
            last, last_since = seen, now
            if seen != self._still:
                self._still = None
            try:
                prepared = self._preparer.prepare(frame, source, asked_ns)
            except LitesightError as error:
                return _Fault("failed", f"{self._name}: {error.message}")
            if not self._hand_over(turn, prepared):
                return None
            good += 1
            if good == self._limits.healthy_frames:
                with self._changed:
                    self._pause_s = self._limits.first_pause_s

    def _hand_over(self, turn: int, prepared: Prepared) -> bool:
        """Put a frame where the network finds it, in the place of one that it had no time for."""
        with self._changed:
            if turn != self._turn:
                return False
            replaced, self._newest = self._newest, prepared
            recovered, self._is_ailing = self._is_ailing, False
            self.counts["frames"] += 1
            self.counts["replaced"] += replaced is not None
            self.counts["recovered"] += recovered
            self._changed.notify_all()
        if replaced is not None:
            self.done(replaced)
        if recovered:
            self._report(CameraEvent("recovered", f"{self._name} delivers pictures again"))
        return True

    def _fault(self, turn: int, fault: _Fault) -> float | None:
        """Tell a fault; how many seconds to wait before the camera is opened again, None if the turn is over."""
        with self._changed:
            if turn != self._turn:
                return None
            pause_s = self._pause_s
            self._pause_s = min(2 * pause_s, self._limits.longest_pause_s)
            self._busy_since = None
            self._is_ailing = True
            self.counts[fault.kind] += 1
        # Without the lock: whoever gets the report may be slow.
        text = fault.text if fault.text.startswith(self._name) else f"{self._name}: {fault.text}"
        self._report(CameraEvent(fault.kind, f"{text}; it is opened again in {pause_s:.3g} s"))
        return pause_s

    def _tell_stale(self, age_s: float) -> None:
        self.counts["stale"] += 1
        if self.counts["stale"] == 1:
            old = f"{self._name} delivers pictures that are {age_s:.1f} s old"
            self._report(CameraEvent("stale", f"{old}; older than {self._limits.stale_s:.3g} s are not classified"))


def fingerprint(pixels: NDArray[Any]) -> bytes:
    """Samples from all over a picture. No two pictures of a sensor have the same, for its noise is never the same."""
    # 61 is prime: the samples fall on every channel and on no column in particular.
    return pixels.reshape(-1)[::61].tobytes()


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"


def _describe(error: Exception) -> str:
    """A driver's complaint in one line."""
    if isinstance(error, LitesightError):
        return error.message
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
