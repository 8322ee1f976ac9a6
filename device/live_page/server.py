# SPDX-License-Identifier: Apache-2.0
"""The page's few addresses, on tornado. No directory is behind them: a path is one of these or it is not there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from device.live_page.guard import Guard, token_of
from device.live_page.hub import Hub

REQUEST_S: Final = 10.0
"""From connecting to the end of the answer; a WebSocket has its own limit."""

SPARE_CONNECTIONS: Final = 32
"""For fetching the page, beside one for each viewer."""

MAX_HEADER_BYTES: Final = 16 << 10
MAX_BODY_BYTES: Final = 1 << 10
MAX_MESSAGE_BYTES: Final = 64
MORE: Final = "more"
"""The one word that a viewer says."""

_ASSETS: Final = Path(__file__).parent / "assets"
_TYPES: Final = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Connection": "close",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SENTENCES: Final = {
    HTTPStatus.FORBIDDEN: "This page needs its token: open the address that litesight printed when it started.",
    HTTPStatus.NOT_FOUND: "There is nothing here.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address is only for reading.",
    HTTPStatus.MISDIRECTED_REQUEST: "This page is for its own machine: open it as 127.0.0.1 or localhost.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many wrong tokens; wait a moment.",
    HTTPStatus.SERVICE_UNAVAILABLE: "As many as may watch are watching; close another one first.",
}


class _Plain(RequestHandler):
    """What every answer has in common: safe headers, and errors in one plain sentence."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        del kwargs
        self.refuse(HTTPStatus(status_code))

    def refuse(self, status: HTTPStatus) -> None:
        """End with a sentence that says no more than the status does."""
        self.set_status(status)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", "GET, HEAD")
        self.finish(_SENTENCES.get(status, status.phrase) + "\n")


class _Asset(_Plain):
    """One of the page's files, read when the server starts. They hold no data, so nobody needs a token for them."""

    def initialize(self, content: bytes, kind: str) -> None:
        self._content, self._kind = content, kind

    def get(self) -> None:
        self.set_header("Content-Type", self._kind)
        self.finish(self._content)

    def head(self) -> None:
        self.get()


class _Nothing(_Plain):
    """Every other path, whatever the method."""

    def prepare(self) -> None:
        self.refuse(HTTPStatus.NOT_FOUND)


class _Guarded(_Plain):
    """What only those may ask who may look."""

    def initialize(self, guard: Guard, hub: Hub) -> None:
        self._guard, self._hub = guard, hub

    def prepare(self) -> None:
        if self.request.method not in ("GET", "HEAD"):
            return  # told that the method is wrong
        headers = self.request.headers
        token = token_of(headers.get("Authorization", ""), headers.get("Sec-WebSocket-Protocol", ""))
        status = self._guard.check(headers.get("Host", ""), token)
        if status is HTTPStatus.OK and self._hub.is_full:
            status = HTTPStatus.SERVICE_UNAVAILABLE
        if status is not HTTPStatus.OK:
            self.refuse(status)


class _Check(_Guarded):
    """Would ``/live`` let me in? A browser tells a script nothing about a WebSocket that is refused."""

    def get(self) -> None:
        self.set_status(HTTPStatus.NO_CONTENT)

    def head(self) -> None:
        self.get()


class _Live(_Guarded, WebSocketHandler):
    """A viewer's WebSocket. Tornado itself refuses one that a page of another origin opens."""

    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)
        self.settings["keep"](self._stream())
        self._hub.join(self)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "litesight" if "litesight" in subprotocols else None

    def on_message(self, message: str | bytes) -> None:
        if message != MORE or not self._hub.ask(self):
            self.drop()

    def on_close(self) -> None:
        self._hub.leave(self)

    def send(self, message: bytes) -> None:
        """See :class:`device.live_page.hub.Viewer`."""
        try:
            sent = self.write_message(message, binary=True)
        except WebSocketClosedError:
            self._hub.leave(self)
            return
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())

    def drop(self) -> None:
        """See :class:`device.live_page.hub.Viewer`."""
        self._hub.leave(self)
        with contextlib.suppress(WebSocketClosedError):
            self.close(1001)
        if (stream := self._stream()) is not None:
            stream.close()

    def _stream(self) -> IOStream | None:
        return None if self.ws_connection is None else self.ws_connection.stream


class PageServer(HTTPServer):
    """Tornado's server with a limit to connections, and to the time of each."""

    def initialize(self, guard: Guard, hub: Hub) -> None:  # type: ignore[override]
        self._streams: dict[IOStream, asyncio.TimerHandle] = {}
        self._max_connections = hub.max_viewers + SPARE_CONNECTIONS
        super().initialize(
            _application(guard, hub, self._keep),
            max_header_size=MAX_HEADER_BYTES,
            max_body_size=MAX_BODY_BYTES,
            max_buffer_size=MAX_HEADER_BYTES + MAX_BODY_BYTES,
        )

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """A connection that makes no WebSocket within ``REQUEST_S`` seconds is closed, however slowly it reads."""
        self._forget_closed()
        if len(self._streams) >= self._max_connections:
            stream.close()
            return
        loop = asyncio.get_running_loop()
        self._streams[stream] = loop.call_later(REQUEST_S, stream.close)
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        super().on_close(server_conn)
        self._forget_closed()

    def close(self) -> None:
        """Stop listening and close every connection."""
        self.stop()
        for stream, timer in list(self._streams.items()):
            timer.cancel()
            stream.close()

    def _keep(self, stream: IOStream) -> None:
        """It has become a WebSocket, which the hub looks after."""
        self._streams[stream].cancel()

    def _forget_closed(self) -> None:
        for stream in [each for each in self._streams if each.closed()]:
            self._streams.pop(stream).cancel()


def quiet_logs() -> None:
    """Keep what strangers send out of the user's stderr; a program that wants tornado's log still gets it."""
    for name in ("tornado.access", "tornado.general"):
        if not (logger := logging.getLogger(name)).handlers:
            logger.addHandler(logging.NullHandler())


def _application(guard: Guard, hub: Hub, keep: Any) -> Application:
    assets = {name: {"content": (_ASSETS / name).read_bytes(), "kind": kind} for name, kind in _TYPES.items()}
    guarded = {"guard": guard, "hub": hub}
    return Application(
        [
            (r"/", _Asset, assets["page.html"]),
            *((f"/{name}".replace(".", r"\."), _Asset, assets[name]) for name in _TYPES if name != "page.html"),
            (r"/check", _Check, guarded),
            (r"/live", _Live, guarded),
        ],
        default_handler_class=_Nothing,
        log_function=lambda handler: None,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        keep=keep,
    )
