# SPDX-License-Identifier: Apache-2.0
"""What one thread makes and another takes, in order: a few things at a time, the error that ended it, and the end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """A thread that makes things, and the place where they wait to be taken.

    Args:
        make: runs in the thread; hands over with :meth:`give` until that says that nobody wants any more. What it
            raises is raised by :meth:`take`, after what it gave before.
        room: so many things may wait.
        name: of the thread.
    """

    def __init__(self, make: Callable[[Handover[T]], None], room: int, name: str) -> None:
        self._make, self._room = make, room
        # Guards all below.
        self._changed = threading.Condition()
        self._ready: deque[T] = deque()
        self._error: BaseException | None = None
        self._finished = self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin to make."""
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether nothing will come any more."""
        with self._changed:
            return self._closed or (self._finished and not self._ready and self._error is None)

    def take(self, timeout_s: float) -> T | None:
        """The next thing; None if none came in time or there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._finished or self._closed, timeout_s)
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
            if self._error is not None:
                error, self._error = self._error, None
                raise error
        return None

    @property
    def wanted(self) -> bool:
        """Whether anybody wants more. For the thread."""
        return not self._closed

    def give(self, thing: T) -> bool:
        """Hand over, when there is room; False if nobody wants it. For the thread."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) < self._room or self._closed)
            if self._closed:
                return False
            self._ready.append(thing)
            self._changed.notify_all()
        return True

    def close(self, timeout_s: float) -> None:
        """Want no more; a thread that does not come back in time is left alone. Again does no harm."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            self._make(self)
        except BaseException as error:  # told where things are taken
            with self._changed:
                self._error = error
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()
