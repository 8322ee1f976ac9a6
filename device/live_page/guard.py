# SPDX-License-Identifier: Apache-2.0
"""Who may look at the live page."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

WRONG_GUESSES: Final = 10
"""So many wrong tokens are compared at once; then one a second."""

_PROTOCOL: Final = "token."
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")


class Guard:
    """Compares tokens in constant time, and fewer of them after many wrong ones.

    Without a token only requests that name this machine itself are let in, so that a web site cannot have its own name
    point at 127.0.0.1 and read the page from a visitor's browser ("DNS rebinding").

    Args:
        token: what a client must know; None lets in everybody on this machine.
        host: a name of this machine that is as good as localhost.
        clock: seconds, monotonic.
    """

    def __init__(self, token: str | None, host: str = "localhost", clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = None if token is None else _digest(token)
        self._names = {"localhost", host.lower()}
        self._clock = clock
        self._guesses = float(WRONG_GUESSES)
        self._refilled = clock()

    def check(self, host: str, token: str) -> HTTPStatus:
        """OK, or what to refuse a client with.

        Args:
            host: the request's Host header.
            token: what it brought; empty if nothing.
        """
        if self._expected is None:
            return HTTPStatus.OK if self._is_own(host) else HTTPStatus.MISDIRECTED_REQUEST
        now = self._clock()
        self._guesses = min(WRONG_GUESSES, self._guesses + now - self._refilled)
        self._refilled = now
        if token and self._guesses < 1:
            return HTTPStatus.TOO_MANY_REQUESTS
        # Digests have one length, so that the comparison tells nothing of the token's.
        if hmac.compare_digest(_digest(token), self._expected):
            return HTTPStatus.OK
        if token:
            self._guesses -= 1
        return HTTPStatus.FORBIDDEN

    def _is_own(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].lower()
        if name in self._names:
            return True
        try:
            return ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return False


def token_of(authorization: str, protocols: str) -> str:
    """The token of a request, empty if there is none.

    Args:
        authorization: its header ``Authorization: Bearer TOKEN``.
        protocols: its header ``Sec-WebSocket-Protocol: litesight, token.TOKEN``, the only one that a browser's script
            can set when it opens a WebSocket.
    """
    kind, _, token = authorization.partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    for protocol in protocols.split(","):
        if protocol.strip().startswith(_PROTOCOL):
            return protocol.strip().removeprefix(_PROTOCOL)
    return ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
