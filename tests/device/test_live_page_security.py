# SPDX-License-Identifier: Apache-2.0
"""Strangers: wrong tokens, other origins, paths outside, noise on the wire, connections that only sit there."""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.live_page import hub, server
from device.live_page.guard import WRONG_GUESSES, Guard, token_of
from device.live_page.page import LivePage
from device.machine import MachineState
from tests.device.live_page_stage import ask
from tests.device.websocket_client import RefusedError, Watcher, WebSocket

TOKEN = "correct-horse-battery"
WRONG = "wrong-horse-battery-x"
CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing that strangers do is an error of ours or reaches the user's terminal."""
    yield
    ours = [record for record in caplog.records if record.name in ("tornado.application", "tornado.access", "asyncio")]
    assert not [record for record in ours if record.levelno >= logging.WARNING], ours
    assert capfd.readouterr() == ("", "")


def started(**options: Any) -> LivePage:
    return LivePage(port=0, read=lambda: MachineState(None, None, None, None), **options)


@pytest.fixture
def url() -> Iterator[str]:
    """Of a page for this machine, without a token."""
    with started() as page:
        yield page.start()


@pytest.fixture
def guarded() -> Iterator[str]:
    """Of a page that needs TOKEN."""
    with started(token=TOKEN) as page:
        yield page.start().partition("#")[0]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_page_and_its_files_are_there_with_safe_headers(url: str) -> None:
    kinds = {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript", "/icon.svg": "image/svg+xml"}
    for path, kind in kinds.items():
        status, headers, body = ask(url, path)
        assert status == 200
        assert headers["content-type"].startswith(kind)
        assert headers["content-security-policy"].startswith(CSP)
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
        assert int(headers["content-length"]) == len(body) > 100
        assert ask(url, path, "HEAD")[0::2] == (200, b"")


def test_the_page_loads_nothing_from_elsewhere_and_makes_no_html_of_what_it_is_told() -> None:
    for name in ("page.html", "page.css", "page.js"):
        text = (server._ASSETS / name).read_text(encoding="utf-8")
        assert not re.findall(r"https?:|wss?:|url\(|@import|[\"'(]//", text)
        assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|srcdoc|\son\w+=|style=", text)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/", "/page.js", "/check", "/live"])
def test_other_methods_are_refused(url: str, method: str, path: str) -> None:
    status, headers, body = ask(url, path, method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert body == b"This address is only for reading.\n"


def outside_paths() -> list[str]:
    random.seed(4)
    up = ("..", "%2e%2e", "%2E.", "..%2f", "%252e%252e", "..\\", "..%5c", ".", "%00", "/", "%2f", "%c0%ae")
    steps = (*up, "etc", "passwd", "assets", "page.js", "page.py", "live", "static", "proc", "self", "?x", ";", "\xe4")
    made = ["/" + "/".join(random.choices(steps, k=random.randint(1, 6))) for _ in range(100)]
    known = {"/", "/page.js", "/live", "/check"}
    fixed = [
        "/../../etc/passwd",
        "/page.html",
        "/PAGE.JS",
        "/page.js/",
        "//page.js",
        "/pagexjs",
        "/page%2ejs",
        "/live/",
        "/%",
    ]
    return [path for path in (*fixed, *made) if path.partition("?")[0] not in known]


def test_a_path_outside_the_page_is_not_there(url: str) -> None:
    address = urlsplit(url).hostname, urlsplit(url).port
    for path in outside_paths():
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"))
            answer = connection.makefile("rb").read()
        # An address that is not even one, such as with a space, is malformed; every other one is unknown.
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), (path, answer)
        assert b"root:" not in answer
        assert b"import" not in answer


def test_a_right_token_lets_in_as_header_and_as_protocol(guarded: str) -> None:
    assert ask(guarded, "/check", headers=bearer(TOKEN))[0] == 204
    Watcher(guarded, TOKEN).close()


def test_a_wrong_token_and_none_are_told_the_same(guarded: str) -> None:
    answers = [
        ask(guarded, "/check", headers=headers) for headers in ({}, bearer(WRONG), bearer("x"), bearer(TOKEN[:-1]))
    ]
    for status, headers, body in answers:
        del headers["date"]
        assert (status, headers, body) == (403, answers[0][1], answers[0][2])
        assert TOKEN.encode() not in body
    for token in ("", WRONG, TOKEN + "x"):
        with pytest.raises(RefusedError, match="needs its token") as caught:
            Watcher(guarded, token)
        assert caught.value.status == 403


def test_the_files_of_the_page_hold_no_data_and_need_no_token(guarded: str) -> None:
    assert ask(guarded, "/")[0] == 200


def test_many_wrong_tokens_are_not_even_compared(guarded: str) -> None:
    statuses = [ask(guarded, "/check", headers=bearer(f"{WRONG}{n}"))[0] for n in range(WRONG_GUESSES + 5)]
    assert statuses[:WRONG_GUESSES] == [403] * WRONG_GUESSES
    assert 429 in statuses[WRONG_GUESSES:]


def test_the_limit_of_guesses_counts_wrong_ones_and_forgets_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    guard = Guard(TOKEN, clock=lambda: now[0])
    for _ in range(100):
        assert guard.check("", TOKEN) is HTTPStatus.OK
        assert guard.check("", "") is HTTPStatus.FORBIDDEN
    for _ in range(WRONG_GUESSES):
        assert guard.check("", WRONG) is HTTPStatus.FORBIDDEN
    compared: list[bytes] = []
    original = hmac.compare_digest

    def note(one: Any, other: Any) -> bool:
        compared.extend((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", note)
    assert guard.check("", WRONG) is HTTPStatus.TOO_MANY_REQUESTS
    assert guard.check("", TOKEN) is HTTPStatus.TOO_MANY_REQUESTS
    assert compared == []
    now[0] += 1.0
    assert guard.check("", WRONG) is HTTPStatus.FORBIDDEN
    assert guard.check("", WRONG) is HTTPStatus.TOO_MANY_REQUESTS
    assert {len(each) for each in compared} == {32}  # digests: the length of a guess tells nothing
    now[0] += 1e6
    assert guard.check("", TOKEN) is HTTPStatus.OK
    for _ in range(WRONG_GUESSES):
        assert guard.check("", "\udcff" + WRONG) is HTTPStatus.FORBIDDEN
    assert guard.check("", WRONG) is HTTPStatus.TOO_MANY_REQUESTS


@pytest.mark.parametrize(
    ("authorization", "protocols", "token"),
    [
        ("Bearer abc", "", "abc"),
        ("bearer  abc ", "", "abc"),
        ("Basic abc", "", ""),
        ("", "litesight, token.abc", "abc"),
        ("", "token.abc", "abc"),
        ("", "litesight", ""),
        ("", "", ""),
        ("Bearer abc", "token.other", "abc"),
    ],
)
def test_a_token_is_found_where_clients_put_it(authorization: str, protocols: str, token: str) -> None:
    assert token_of(authorization, protocols) == token


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 204),
        ("LocalHost:9000", 204),  # forwarded through ssh under another port
        ("[::1]:8080", 204),
        ("127.1.2.3:1", 204),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.168.1.7:8080", 421),
        ("localhost:80:80", 421),
        ("[::1", 421),
    ],
)
def test_a_page_without_token_answers_only_to_its_own_machines_names(url: str, host: str, status: int) -> None:
    assert ask(url, "/check", headers={"Host": host})[0] == status
    if status == 421:
        with pytest.raises(RefusedError) as caught:
            WebSocket(url + "live", {"Host": host})
        assert caught.value.status == 421


def test_a_page_with_a_token_may_be_reached_by_any_name(guarded: str) -> None:
    assert ask(guarded, "/check", headers={**bearer(TOKEN), "Host": "pi.example"})[0] == 204


@pytest.mark.parametrize(
    "extra", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_web_site_elsewhere_cannot_open_the_socket(guarded: str, url: str, extra: dict[str, str]) -> None:
    for each, token in ((guarded, TOKEN), (url, "")):
        with pytest.raises(RefusedError) as caught:
            Watcher(each, token, headers=extra)
        assert caught.value.status == 403


def test_the_pages_own_origin_opens_it(url: str) -> None:
    Watcher(url, headers={"Origin": url.rstrip("/")}).close()


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)


def is_ended(connection: socket.socket) -> bool:
    """Whether the server ends the connection; waits for it, up to the socket's timeout."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600) + b"\r\n\r\n",  # somebody tries https
        b"\r\n" * 9000,
    ],
)
def test_malformed_requests_end_their_connection_only(url: str, sent: bytes) -> None:
    with connect(url) as connection:
        with contextlib.suppress(ConnectionError):  # it may have hung up in the middle
            connection.sendall(sent)
        assert is_ended(connection)
    assert ask(url, "/check")[0] == 204


BEGINNINGS = (
    b"",
    b"GET ",
    b"GET / HTTP/1.1\r\n",
    b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: ",
    b"POST / HTTP/1.1\r\nContent-Length: ",
)


@given(st.sampled_from(BEGINNINGS), st.binary(max_size=300))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_does_no_harm(url: str, beginning: bytes, noise: bytes) -> None:
    with connect(url) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(beginning + noise)
        connection.shutdown(socket.SHUT_WR)
        is_ended(connection)
    assert ask(url, "/check")[0] == 204


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_instead_of_websocket_frames_does_no_harm(url: str, noise: bytes) -> None:
    with WebSocket(url + "live") as viewer, contextlib.suppress(ConnectionError):
        viewer.socket.sendall(noise)
        viewer.socket.shutdown(socket.SHUT_WR)
        is_ended(viewer.socket)
    assert ask(url, "/check")[0] == 204


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\xfe\x13\x88" + bytes(4),  # a text of 5000 bytes is announced
        b"\x81\xff" + b"\x7f" + b"\xff" * 7 + bytes(4),  # of 2**63
        b"\x89\xfe\x01\x00" + bytes(4),  # a ping that is too long
        b"\xf1\x84" + bytes(8),  # reserved bits
        b"\x80\x84" + bytes(8),  # goes on with what never began
        b"\x83\x80" + bytes(4),  # an opcode that does not exist
        b"\x81\x82" + bytes(4) + b"\xff\xfe",  # not UTF-8
    ],
)
def test_a_websocket_frame_that_breaks_the_protocol_ends_the_connection(
    url: str, frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ANSWER_S", 1000.0)
    with WebSocket(url + "live") as viewer:
        viewer.socket.sendall(frame)
        assert is_ended(viewer.socket)
    assert ask(url, "/check")[0] == 204


@pytest.mark.parametrize(
    "sends", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc"]
)
def test_a_connection_that_only_sits_there_is_ended(monkeypatch: pytest.MonkeyPatch, sends: bytes) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.2)
    with started() as page:
        url = page.start()
        with connect(url) as connection:
            connection.sendall(sends)
            assert is_ended(connection)


def test_a_request_that_trickles_in_is_ended_however_lively(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.2)
    with started() as page, connect(page.start()) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        ended = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.01):
                    connection.sendall(b"X: y\r\n")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert is_ended(connection)
        finally:
            ended.set()
            thread.join()


def test_a_connection_that_goes_on_asking_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.2)
    with started() as page, connect(page.start()) as connection, connection.makefile("rb") as answers:
        deadline = time.monotonic() + 20
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                connection.sendall(b"GET /check HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if not answers.readline():
                    break
                while answers.readline().strip():
                    pass
        assert time.monotonic() < deadline


def test_a_viewer_stays_longer_than_a_request_may_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.2)
    monkeypatch.setattr("device.live_page.page.HEARTBEAT_S", 0.15)
    with started() as page, Watcher(page.start()) as viewer:
        for _ in range(4):
            assert viewer.look()[0]["viewers"] == 1
            viewer.more()


def test_connections_beyond_the_limit_are_ended_and_the_others_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SPARE_CONNECTIONS", 4)
    with started(max_clients=1) as page, contextlib.ExitStack() as stack:
        url = page.start()
        held = [stack.enter_context(connect(url)) for _ in range(5)]
        for each in held:
            each.sendall(b"GET ")
        with connect(url) as another:
            assert is_ended(another)
        for each in held:
            each.sendall(b"/check HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert each.makefile("rb").read().startswith(b"HTTP/1.1 204 ")
        assert ask(url, "/check")[0] == 204


def test_no_file_descriptor_is_left_behind() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not looked at

    before = descriptors()
    with started() as page:
        url = page.start()
        for _ in range(10):
            ask(url, "/")
            WebSocket(url + "live").close()
    assert descriptors() == before
