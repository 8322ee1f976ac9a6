# SPDX-License-Identifier: Apache-2.0
"""A WebSocket client of a few lines, which can also misbehave. It speaks to the live page and to DevTools."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

TIMEOUT_S = 20.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class RefusedError(Exception):
    """The server did not switch protocols; ``status`` is what it answered instead."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


class WebSocket:
    """One connection, blocking.

    Args:
        url: ``ws://HOST:PORT/PATH`` (or http://).
        headers: further ones; None takes a header away.
        receive_bytes: size of the socket's receive buffer; the system's own if 0.
    """

    def __init__(self, url: str, headers: dict[str, str | None] | None = None, receive_bytes: int = 0) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.settimeout(TIMEOUT_S)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            self.socket.connect((host, port))
            fields: dict[str, str | None] = {
                "Host": parts.netloc,
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
                "Sec-WebSocket-Version": "13",
                **(headers or {}),
            }
            lines = [f"GET {parts.path or '/'} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v is not None)]
            self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            self._file = self.socket.makefile("rb")
            status = int(self._file.readline().split()[1])
            length = 0
            while line := self._file.readline().strip().lower():
                if line.startswith(b"content-length:"):
                    length = int(line.split()[1])
            if status != 101:
                raise RefusedError(status, self._file.read(length).decode("utf-8", "replace"))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes | str, opcode: int = TEXT) -> None:
        payload = data.encode() if isinstance(data, str) else data
        mask = os.urandom(4)
        length = len(payload)
        size = (
            struct.pack("!B", 0x80 | length)
            if length < 126
            else struct.pack("!BH", 0x80 | 126, length)
            if length < 1 << 16
            else struct.pack("!BQ", 0x80 | 127, length)
        )
        repeated = (mask * (length // 4 + 1))[:length]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + masked)

    def receive(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next message; fragments are joined.

        Raises:
            EOFError: the connection has ended.
        """
        opcode, payload = 0, b""
        while True:
            first, second = self._exactly(2)
            length = second & 0x7F
            if length > 125:
                length = int.from_bytes(self._exactly(2 if length == 126 else 8), "big")
            part = self._exactly(length)
            if first & 0x0F == PING:
                self.send(part, PONG)
                continue
            opcode, payload = opcode or first & 0x0F, payload + part
            if first & 0x80:
                return opcode, payload

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        self.socket.close()


class Watcher(WebSocket):
    """A viewer of the live page."""

    def __init__(self, url: str, token: str = "", **more: Any) -> None:
        protocols = {"Sec-WebSocket-Protocol": f"litesight, token.{token}"} if token else {}
        super().__init__(url.partition("#")[0] + "live", {**protocols, **more.pop("headers", {})}, **more)

    def look(self) -> tuple[dict[str, Any], bytes, bytes]:
        """(state, JPEG, PNG) of the next message."""
        opcode, message = self.receive()
        if opcode != BINARY:
            raise EOFError
        length = int.from_bytes(message[:4], "big")
        state = json.loads(message[4 : 4 + length])
        first, second = state["bytes"]
        pictures = message[4 + length :]
        assert len(pictures) == first + second
        return state, pictures[:first], pictures[first:]

    def more(self) -> None:
        """Ask for the next message."""
        self.send("more")
