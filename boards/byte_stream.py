# SPDX-License-Identifier: Apache-2.0
"""A serial line as bytes: of an emulator, of a pseudo-terminal, of a USB port."""

from __future__ import annotations

from typing import Protocol


class ByteStream(Protocol):
    """What bytes travel over. Whoever makes one closes it."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, at least one byte; ``b""`` if nothing did for ``timeout_s``.

        Raises:
            LitesightError: the other side is gone.
        """
        ...

    def write(self, content: bytes, timeout_s: float) -> None:
        """Send all of it.

        Raises:
            LitesightError: the other side is gone, or did not take it within ``timeout_s``.
        """
        ...
