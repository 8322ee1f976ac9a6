# SPDX-License-Identifier: Apache-2.0
"""Who is watching, and what they are sent. Everything here happens in the page's own thread."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, Protocol

ANSWER_S: Final = 10.0
"""A viewer that has not asked for more by then is dropped: it does not read, or its network is gone."""


class Viewer(Protocol):
    """A browser with the page open."""

    def send(self, message: bytes) -> None:
        """Hand a message to its connection; does not wait."""
        ...

    def drop(self) -> None:
        """Close its connection at once."""
        ...


class Hub:
    """The viewers. Each gets one message, and the next only when it has asked for it: nothing ever queues.

    Attributes:
        max_viewers: more are refused.
        waits: set while a viewer waits for a message.
    """

    def __init__(self, max_viewers: int) -> None:
        self.max_viewers = max_viewers
        self.waits = asyncio.Event()
        self._waiting: dict[Viewer, int] = {}
        self._busy: dict[Viewer, tuple[int, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._busy)

    @property
    def is_full(self) -> bool:
        """Whether another viewer would be one too many."""
        return len(self) >= self.max_viewers

    def join(self, viewer: Viewer) -> None:
        """A viewer has come, and waits for its first picture."""
        self._waiting[viewer] = 0
        self.waits.set()

    def ask(self, viewer: Viewer) -> bool:
        """A viewer has drawn what it got and wants more; False if it was not its turn to ask."""
        if viewer not in self._busy:
            return False
        number, timer = self._busy.pop(viewer)
        timer.cancel()
        self._waiting[viewer] = number
        self.waits.set()
        return True

    def leave(self, viewer: Viewer) -> None:
        """A viewer is gone; again does no harm."""
        self._waiting.pop(viewer, None)
        _, timer = self._busy.pop(viewer, (0, None))
        if timer is not None:
            timer.cancel()
        if not self._waiting:
            self.waits.clear()

    def send(self, state: dict[str, Any], number: int, pictures: tuple[bytes, bytes]) -> None:
        """Send everybody who waits the state, and the pictures to those who have not seen those of this number."""
        whole = bare = b""
        loop = asyncio.get_running_loop()
        waiting = self._waiting
        self._waiting = {}
        self.waits.clear()
        for viewer, seen in waiting.items():
            if seen == number:
                message = bare = bare or pack(state, (b"", b""))
            else:
                message = whole = whole or pack(state, pictures)
            self._busy[viewer] = (number, loop.call_later(ANSWER_S, viewer.drop))
            viewer.send(message)

    def drop_all(self) -> None:
        """Close every connection."""
        for viewer in (*self._waiting, *self._busy):
            viewer.drop()


def pack(state: dict[str, Any], pictures: tuple[bytes, bytes]) -> bytes:
    """One message: 4 bytes, big-endian, the length of the JSON; the JSON; the picture; the network's input.

    The JSON's ``bytes`` says how long the two are. Either may be empty.
    """
    header = json.dumps({**state, "bytes": [len(each) for each in pictures]}).encode("ascii")
    return b"".join((len(header).to_bytes(4, "big"), header, *pictures))
