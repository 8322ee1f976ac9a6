# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import errno
import os
import re
import socket
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import LitesightError
from device.live_page.address import (
    WebAddress,
    check_token,
    is_loopback,
    listen,
    new_token,
    page_url,
    web_address,
    web_token,
)
from device.live_page.page import LivePage


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8080", "127.0.0.1", 8080),
        ("0", "127.0.0.1", 0),
        ("65535", "127.0.0.1", 65535),
        ("0.0.0.0:9000", "0.0.0.0", 9000),
        ("[::]:8080", "::", 8080),
        ("[fe80::1%eth0]:8080", "fe80::1%eth0", 8080),
        ("raspberrypi.local:80", "raspberrypi.local", 80),
    ],
)
def test_address_and_port_are_read(text: str, host: str, port: int) -> None:
    assert web_address(text) == WebAddress(host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", ":8080", "0.0.0.0", "65536", "-1", "8080 ", "::1:8080", "[::1]8080", "[1.2.3.4]:80", "300.1.1.1:80",
     "[::g]:80", "a b:80", "localhost:http", "1.2.3.4:", "٣:80", "٨٠"],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected \[ADDRESS:\]PORT such as 8080, .*, found"):
        web_address(text)


@given(st.text(max_size=40))
def test_no_text_is_read_as_something_that_sockets_do_not_take(text: str) -> None:
    try:
        found = web_address(text)
    except argparse.ArgumentTypeError:
        return
    assert 0 <= found.port <= 65535
    assert found.host.isascii()
    assert found.host


def test_a_token_that_is_easily_guessed_is_refused_without_being_repeated() -> None:
    for bad in ("short", "x" * 15, "sixteen chars or", "ünïcode-and-long-enough", "x" * 16 + "\n"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a token of at least 16") as caught:
            web_token(bad)
        assert bad not in str(caught.value)
        with pytest.raises(LitesightError):
            LivePage(token=bad)
    assert web_token("x" * 16) == "x" * 16


def test_a_made_token_is_long_good_and_new() -> None:
    tokens = {new_token() for _ in range(20)}
    assert len(tokens) == 20
    for token in tokens:
        assert len(token) >= 32
        check_token(token)


def test_a_port_that_is_taken_is_told_with_another_to_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LitesightError, match=rf"cannot listen on 127\.0\.0\.1:{port}: ") as caught:
            LivePage(port=port).start()
        assert f"--web 127.0.0.1:{port % 65535 + 1}" in caught.value.hint


def test_a_port_of_the_system_is_told_with_another_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> socket.socket:  # root may bind any port, so it is played
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(LitesightError, match=r"listen on 0\.0\.0\.0:80: .*try --web 0\.0\.0\.0:8080"):
        listen("0.0.0.0", 80)


@pytest.mark.parametrize("host", ["198.51.100.7", "no-such-host.invalid"])
def test_an_address_that_is_not_this_machine_is_told(host: str) -> None:
    with pytest.raises(LitesightError, match=rf"cannot listen on {re.escape(host)}") as caught:
        listen(host, 0)
    assert "0.0.0.0" in caught.value.hint


def test_only_addresses_of_this_machine_alone_need_no_token() -> None:
    with ExitStack() as stack:

        def bound(host: str) -> list[socket.socket]:
            sockets = listen(host, 0)
            for each in sockets:
                stack.enter_context(each)
            return sockets

        assert is_loopback(bound("127.0.0.1"))
        assert is_loopback(bound("127.3.2.1"))
        assert not is_loopback(bound("0.0.0.0"))
        assert not is_loopback([*bound("127.0.0.1"), *bound("0.0.0.0")])


def test_a_token_is_made_wherever_others_can_reach_the_page() -> None:
    with LivePage("0.0.0.0", 0) as page:
        url = page.start()
    # For people on another machine: 0.0.0.0 is no address to open.
    assert re.fullmatch(r"http://(?!0\.0\.0\.0)[\w.:\[\]-]+:\d+/#token=[\w-]{32}", url)
    with LivePage("127.0.0.1", 0) as page:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", page.start())
    with LivePage("127.0.0.1", 0, token="my-own-token-of-mine") as page:
        assert page.start().endswith("/#token=my-own-token-of-mine")


def test_a_name_with_several_addresses_has_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("198.51.100.7", "127.0.0.1", "127.0.0.2")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: ours)
    with ExitStack() as stack:
        names = [stack.enter_context(each).getsockname() for each in listen("localhost", 0)]
    # The first is not this machine's, as ::1 is not where IPv6 is switched off.
    assert [host for host, _ in names] == ["127.0.0.1", "127.0.0.2"]
    assert names[0][1] == names[1][1]


def test_the_url_names_what_was_asked_for() -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in listen("127.0.0.1", 0)]
        port = sockets[0].getsockname()[1]
        assert page_url("localhost", sockets, None) == f"http://localhost:{port}/"
        assert page_url("::1", sockets, "t") == f"http://[::1]:{port}/#token=t"
