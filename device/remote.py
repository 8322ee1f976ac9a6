# SPDX-License-Identifier: Apache-2.0
"""Another machine behind ssh: what is called there, how files get there, and what a failure means.

The system's own ``ssh``, ``rsync`` and ``scp`` do the work, so keys, agents, aliases and jump hosts of the user's ssh
configuration count. No password is ever asked for. Argument lists go to them; the one thing that a shell reads is the
command on the other machine, and every word of it is quoted.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.errors import LitesightError, UsageError

CONNECT_TIMEOUT_S: Final = 10
ANSWER_TIMEOUT_S: Final = 60.0
SLOWEST_BYTES_PER_S: Final = 20_000
"""A copy that is slower than this is given up."""

COMMAND_NOT_FOUND: Final = 127
_SSH_FAILED: Final = 255
_INSTALL: Final = "docs/raspberry-pi.md says how to install it there; if it is elsewhere: --remote-command PATH"

# A login over ssh does not activate an environment: the places where docs/raspberry-pi.md and pip put the command.
_FIND: Final = (
    'for each in litesight "$HOME/litesight/.venv/bin/litesight" "$HOME/.venv/bin/litesight" '
    '"$HOME/.local/bin/litesight"; do if command -v "$each" >/dev/null 2>&1; then exec "$each" "$@"; fi; done; '
    f"exit {COMMAND_NOT_FOUND}"
)

# Neither an option (a leading "-") nor anything that a shell or ssh's own configuration would expand.
_USER: Final = r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.+-]*)@)?"
_TARGET: Final = re.compile(_USER + r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*)")
_TARGET_IPV6: Final = re.compile(_USER + r"\[?(?P<host>[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9_.-]+)?)\]?")


class RemoteError(LitesightError):
    """The other machine cannot be reached, does not let us in, or has no litesight."""


@dataclass(frozen=True)
class Answer:
    """What a command on the other machine left.

    Attributes:
        status: its exit status; 255 is ssh's own.
        out: its stdout.
        error: its last line of stderr, or ssh's, printable; empty if there is none.
        log: all of stderr.
    """

    status: int
    out: str
    error: str
    log: str


@dataclass(frozen=True)
class Target:
    """A machine, and how to log in there.

    Attributes:
        user: None leaves it to ssh's configuration.
        host: a name, an alias of ssh's configuration, or an address (IPv6 without brackets).
        port, identity, ssh_config: None leaves them to ssh's configuration.
        command: words that start litesight there; a first word that begins with ``~/`` is looked for in the user's home
            there. Empty: it is looked for where installations are.
    """

    host: str
    user: str | None = None
    port: int | None = None
    identity: Path | None = None
    ssh_config: Path | None = None
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def options(self) -> list[str]:
        """What ssh and scp have in common."""
        words = ["-F", str(self.ssh_config.absolute())] if self.ssh_config else []
        # Dead connections end: ssh asks, and gives up after the third silence.
        for option in (
            "BatchMode=yes",
            f"ConnectTimeout={CONNECT_TIMEOUT_S}",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=3",
            "ClearAllForwardings=yes",
        ):
            words += ["-o", option]
        if self.port is not None:
            words += ["-o", f"Port={self.port}"]
        if self.identity is not None:
            words += ["-i", str(self.identity.absolute())]
        return words

    def ssh(self, remote_command: str) -> list[str]:
        """The argument list that runs a command line of the other machine's shell."""
        return ["ssh", *self.options, "--", str(self), remote_command]

    def litesight(self, words: Sequence[str]) -> list[str]:
        """The argument list that runs ``litesight`` with ``words`` on the other machine."""
        if not self.command:
            return self.ssh(shlex.join(["sh", "-c", _FIND, "litesight", *words]))
        first, *rest = self.command
        if first.startswith("~/"):
            return self.ssh(f'"$HOME"/{shlex.join([first[2:], *rest, *words])}')
        return self.ssh(shlex.join([first, *rest, *words]))

    def rsync(self, files: Sequence[Path], directory: str) -> list[str]:
        """The argument list that copies files into an existing directory of the other machine."""
        shell = " ".join(_rsync_quoted(word) for word in ["ssh", *self.options])
        # --protect-args: no shell over there reads the path. Links are followed: a slot holds files.
        return [
            "rsync", "--protect-args", "--copy-links", "--timeout=30", "-e", shell, "--",
            *[str(path.absolute()) for path in files], f"{self._in_a_path}:{directory}/",
        ]  # fmt: skip

    def scp(self, files: Sequence[Path], directory: str, *, sftp: bool) -> list[str]:
        """The same with scp: over SFTP, or over its old protocol, in which a shell over there reads the path."""
        place = directory if sftp else shlex.quote(directory)
        paths = [str(path.absolute()) for path in files]
        return ["scp", "-q", *(["-s"] if sftp else []), *self.options, "--", *paths, f"{self._in_a_path}:{place}/"]

    @property
    def _in_a_path(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" if self.user else host


def parse_target(text: str) -> tuple[str | None, str]:
    """(user, host) of ``user@host``; an IPv6 address may stand in brackets.

    Raises:
        UsageError: it is neither, or it could be taken for an option.
    """
    found = _TARGET.fullmatch(text) or _TARGET_IPV6.fullmatch(text)
    if found is None:
        raise UsageError(
            f"expected user@host, found {printable(text)!r}", hint="a port goes after --port, a directory after --slots"
        )
    return found["user"], found["host"]


def run(argv: Sequence[str], timeout_s: float, what: str) -> Answer:
    """Run one of the tools.

    Args:
        argv: its argument list.
        timeout_s: after which it is ended.
        what: for the message ("copying to pi@host").

    Raises:
        RemoteError: it is not installed or does not end.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, "LC_ALL": "C"},  # its messages are looked at
        )
    except FileNotFoundError as error:
        raise RemoteError(f"expected the program {argv[0]}, found none", hint=_package(argv[0])) from error
    except subprocess.TimeoutExpired as error:
        raise RemoteError(f"{what}: no answer within {timeout_s:.0f} s", hint="is the network up?") from error
    out, log = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    lines = [line for line in log.splitlines() if line.strip()]
    return Answer(done.returncode, out, printable(lines[-1].strip()) if lines else "", log)


def call(target: Target, words: Sequence[str], timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
    """Run ``litesight`` with ``words`` on the other machine.

    Raises:
        RemoteError: no connection, or no litesight there. What litesight itself says is the caller's.
    """
    answer = run(target.litesight(words), timeout_s, f"litesight {' '.join(words[:2])} on {target}")
    if answer.status == _SSH_FAILED:
        raise connection_error(target, answer)
    if answer.status in (COMMAND_NOT_FOUND, 126) and "litesight: error:" not in answer.log:
        found = f": {answer.error}" if answer.error else ""
        raise RemoteError(f"no litesight on {target}{found}", hint=_INSTALL)
    return answer


def connection_error(target: Target, answer: Answer) -> RemoteError:
    """What it means that ssh did not get through."""
    log, port = answer.log, f" -p {target.port}" if target.port else ""
    for sign, message, hint in (
        (
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            f"{target} shows another host key than it used to",
            f"if you wrote its card anew: ssh-keygen -R {target.host}",
        ),
        (
            "Host key verification failed",
            f"the host key of {target} is not known here",
            f"log in once by hand and compare it: ssh{port} {target}",
        ),
        (
            "Permission denied",
            f"{target} does not let you in with a key",
            f"copy your key there: ssh-copy-id{port} {target}",
        ),
        ("Could not resolve hostname", f"there is no host {target.host} in this network", "is its name right?"),
        ("Connection refused", f"{target} refuses connections", "switch ssh on there: sudo raspi-config"),
        ("timed out", f"{target} does not answer", "is it switched on and in this network?"),
        ("No route to host", f"there is no way to {target}", "is it switched on and in this network?"),
    ):
        if sign in log:
            return RemoteError(message, hint=hint)
    said = answer.error or "ssh says nothing"
    return RemoteError(f"no connection to {target}: {said}", hint=f"try: ssh{port} {target}")


def has_rsync() -> bool:
    """Whether rsync 3 is installed here; the openrsync of newer Macs lacks options."""
    if shutil.which("rsync") is None:
        return False
    return re.match(r"rsync\s+version 3\.", run(["rsync", "--version"], 10, "rsync").out) is not None


def scp_has_sftp() -> bool:
    """Whether this machine's scp can speak SFTP: since OpenSSH 8.7."""
    found = re.search(r"OpenSSH\w*_(\d+)\.(\d+)", run(["ssh", "-V"], 10, "ssh").log)
    return found is not None and (int(found[1]), int(found[2])) >= (8, 7)


def printable(text: str) -> str:
    """What another machine says, without the characters that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _rsync_quoted(word: str) -> str:
    """rsync splits -e itself; inside quotes a doubled quote stands for one."""
    return "'" + word.replace("'", "''") + "'"


def _package(program: str) -> str:
    return f"run: sudo apt install {'rsync' if program == 'rsync' else 'openssh-client'}"
