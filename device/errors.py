# SPDX-License-Identifier: Apache-2.0
"""The errors a user can cause, each one line long with a hint at what to do."""

from __future__ import annotations


class LitesightError(Exception):
    """A mistake of the user's or a fault of the world, told in one line.

    Args:
        message: what was expected and what was found.
        hint: what to do about it; may be empty.

    The commands print ``message`` and ``hint`` on one line and exit with ``exit_status``.
    """

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(LitesightError):
    """The command line asks for something that cannot be; exit status 2."""

    exit_status = 2
