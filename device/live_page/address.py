# SPDX-License-Identifier: Apache-2.0
"""Where the live page listens, who may look, and the address to open. Standard library only."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import os
import re
import secrets
import socket
from dataclasses import dataclass
from typing import Final

from device.errors import LitesightError

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8080
MIN_TOKEN: Final = 16
_TOKEN_BYTES: Final = 24

_SPEC: Final = re.compile(
    r"(?:(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[A-Za-z0-9._-]+)):)?(?P<port>\d{1,5})", re.ASCII
)
# What may stand in a fragment and in a header's token without being escaped.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)


@dataclass(frozen=True)
class WebAddress:
    """What ``--web`` names: an IP address or host name, and a port (0: any that is free)."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT


def web_address(text: str) -> WebAddress:
    """The argument type of ``--web [ADDRESS:]PORT``; an IPv6 address stands in brackets."""
    match = _SPEC.fullmatch(text)
    port = int(match["port"]) if match else -1
    if match is None or port > 65535 or not _is_host(match["six"], match["name"]):
        examples = f"{DEFAULT_PORT}, 0.0.0.0:{DEFAULT_PORT} or [::]:{DEFAULT_PORT}"
        raise argparse.ArgumentTypeError(f"expected [ADDRESS:]PORT such as {examples}, found {text!r}")
    return WebAddress(match["six"] or match["name"] or DEFAULT_HOST, port)


def web_token(text: str) -> str:
    """The argument type of ``--web-token``."""
    try:
        check_token(text)
    except LitesightError as error:
        raise argparse.ArgumentTypeError(error.message) from error
    return text


def check_token(token: str) -> None:
    """Refuse a token that is easily guessed or that an address cannot carry; the message does not repeat it.

    Raises:
        LitesightError: it is too short or has other characters.
    """
    if len(token) < MIN_TOKEN or not _TOKEN.fullmatch(token):
        raise LitesightError(
            f"expected a token of at least {MIN_TOKEN} letters, digits or . _ ~ -, found {len(token)} characters",
            hint="without --web-token a good one is made",
        )


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen, one for each address that ``host`` stands for.

    Raises:
        LitesightError: no such address, or the port is taken or reserved.
    """
    where = url_host(host)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise LitesightError(
            f"the live page cannot listen on {where}: no such address",
            hint=f"{DEFAULT_HOST} is for this machine alone, 0.0.0.0 for every network that it is on",
        ) from error
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        if sockets:  # all on one port, also where the system was left to choose it
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        try:
            both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
            sockets.append(socket.create_server(address, family=family, backlog=64, dualstack_ipv6=both))
            sockets[-1].setblocking(False)
        except OSError as error:
            refused = error
            # "localhost" has an IPv6 address also where IPv6 is switched off.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
    else:
        if sockets:
            return sockets
    for each in sockets:
        each.close()
    raise _refusal(refused, where, port)


def _refusal(error: OSError | None, where: str, port: int) -> LitesightError:
    code = (error.errno if error else None) or 0
    hints = {
        errno.EADDRINUSE: f"another program has it, perhaps another litesight; try --web {where}:{port % 65535 + 1}",
        errno.EACCES: f"ports below 1024 belong to the system; try --web {where}:{DEFAULT_PORT}",
        errno.EADDRNOTAVAIL: "this machine has no such address; 0.0.0.0 stands for all it has",
    }
    refused = LitesightError(
        f"the live page cannot listen on {where}:{port}: {os.strerror(code)}", hint=hints.get(code, "")
    )
    refused.__cause__ = error
    return refused


def is_loopback(sockets: list[socket.socket]) -> bool:
    """Whether only this machine can reach any of them."""
    return all(_ip(each).is_loopback for each in sockets)


def page_url(host: str, sockets: list[socket.socket], token: str | None) -> str:
    """What to open in a browser.

    The token stands in the fragment, which a browser keeps to itself: no log, proxy or Referer ever sees it.
    """
    first = _ip(sockets[0])
    name = _own_address() if first.is_unspecified else host
    port = sockets[0].getsockname()[1]
    return f"http://{url_host(name)}:{port}/" + (f"#token={token}" if token else "")


def url_host(host: str) -> str:
    """``host`` as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _is_host(six: str | None, name: str | None) -> bool:
    if six is None:
        return name is None or not re.fullmatch(r"[\d.]+", name) or _is_ip(name)
    return ":" in six and _is_ip(six)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _ip(each: socket.socket) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(each.getsockname()[0])


def _own_address() -> str:
    """The address by which others reach this machine, as the routing table has it; else its name. Sends nothing."""
    # Connecting a datagram socket only picks a route. TEST-NET-1 (RFC 5737) is nobody's.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found = str(probe.getsockname()[0])
        except OSError:
            found = ""
    return found or socket.gethostname()
