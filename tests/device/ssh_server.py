# SPDX-License-Identifier: Apache-2.0
"""A real sshd of the test's own: on a free port of the loopback, with keys and configuration made for it."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 20.0


@dataclass(frozen=True)
class SshServer:
    """How to log in.

    Attributes:
        port: on 127.0.0.1.
        user: the one who runs the tests.
        identity: a private key that is let in; ``stranger`` is one that is not.
        config: for the client: the host ``pi`` with everything that it takes.
        known_hosts: with the server's key.
        log: what the server said.
    """

    port: int
    user: str
    identity: Path
    stranger: Path
    config: Path
    known_hosts: Path
    log: Path

    def client_config(self, path: Path, **options: str) -> Path:
        """Another configuration, options replaced by name."""
        settings = {
            "HostName": "127.0.0.1",
            "Port": str(self.port),
            "User": self.user,
            "IdentityFile": f'"{self.identity}"',
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": f'"{self.known_hosts}"',
            "GlobalKnownHostsFile": "/dev/null",
            **options,
        }
        path.write_text("Host pi\n" + "".join(f"  {name} {value}\n" for name, value in settings.items()))
        return path


@contextmanager
def serve(folder: Path, require_tool: Callable[[str], str]) -> Iterator[SshServer]:
    """Start it, wait until it answers, and end it by its process."""
    sshd = require_tool(shutil.which("sshd") or "/usr/sbin/sshd")
    keygen = require_tool("ssh-keygen")
    require_tool("ssh")
    if os.geteuid() == 0:
        # Where the init system would have made it: sshd refuses to start as root without it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "identity of 'us'", "stranger"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name], check=True, timeout=60)
    identity, known_hosts, log = folder / "identity of 'us'", folder / "known_hosts", folder / "log"
    shutil.copy(f"{identity}.pub", folder / "authorized_keys")
    port = _free_port()
    known_hosts.write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    configuration = folder / "sshd_config"
    configuration.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    process = subprocess.Popen([sshd, "-D", "-f", configuration, "-E", log], stdin=subprocess.DEVNULL)
    try:
        _wait_for(port, process, log)
        user = getpass.getuser()
        server = SshServer(port, user, identity, folder / "stranger", folder / "config", known_hosts, log)
        server.client_config(server.config)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def script(path: Path, lines: str) -> str:
    """An executable shell script, and the words that call it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return shlex.quote(str(path))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + START_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.settimeout(5)
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        said = log.read_text() if log.exists() else ""
        assert process.poll() is None, f"sshd ended: {said}"
        assert time.monotonic() < ends, f"sshd does not answer: {said}"
        time.sleep(0.02)
