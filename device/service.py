# SPDX-License-Identifier: Apache-2.0
"""Installs, examines and removes the classifier as a systemd service.

A unit that this kit did not write is never touched. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from device import atomic
from device.errors import LitesightError
from device.systemd_unit import MARKER, START_S, Service, is_ours, unit_text

LOG_LINES: Final = 8
_CALL_S: Final = 30
_STOP_S: Final = 60
_PROPERTIES: Final = (
    "LoadState", "LoadError", "FragmentPath", "UnitFileState", "ActiveState", "SubState", "Result", "ExecMainStatus",
    "MainPID", "NRestarts", "ActiveEnterTimestamp", "StatusText", "WatchdogUSec", "MemoryCurrent",
)  # fmt: skip

# Run as the service's user: prints every path that cannot be used as it has to be.
_ACCESS: Final = """
import os, sys
for path, mode in zip(sys.argv[1::2], sys.argv[2::2]):
    if not os.access(path, int(mode)):
        print(path)
"""


class ServiceError(LitesightError):
    """systemd refuses, or the service does not come up."""


class NotInstalledError(ServiceError):
    """There is no such service; the exit status is that of ``systemctl status``."""

    exit_status = 4


@dataclass(frozen=True)
class Systemd:
    """Where units lie and whether systemd runs this machine; a test has places of its own."""

    units: Path = Path("/etc/systemd/system")
    booted: Path = Path("/run/systemd/system")

    def path(self, name: str) -> Path:
        """Of the unit's file."""
        return self.units / f"{name}.service"

    def check(self) -> None:
        """Raise ServiceError where no systemd runs; sd_booted(3) looks for the same directory."""
        if not self.booted.is_dir() or shutil.which("systemctl") is None:
            raise ServiceError(
                "systemd does not run this machine, so there is nothing to install a service into",
                hint="start litesight run by what starts programs here; --print shows the unit",
            )

    def version(self) -> int:
        """Of systemd; 0 if it cannot be told."""
        try:
            words = ask("systemctl", "--version").stdout.split()
        except LitesightError:
            return 0
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


@dataclass(frozen=True)
class Status:
    """What systemd tells of a service.

    Attributes:
        name: of the unit, without ".service".
        path: of its file.
        active: "active", "inactive", "failed", "activating" …; and ``sub``, the same in more detail.
        enabled: whether it starts at boot, in systemd's words.
        result: why it ended last: "success", "exit-code", "watchdog" …
        exit_status: of the process that ran last.
        pid: of the process; None if none runs.
        restarts: by systemd, since it was started by hand or at boot.
        since: when it became active, in seconds since 1970; None if it is not.
        text: what the classifier says of itself.
        watchdog: the time within which systemd wants a sign of life, in systemd's words.
        memory_bytes: of the service with its children; None if unknown.
        log: last lines of the journal, oldest first.
    """

    name: str
    path: Path
    active: str
    sub: str
    enabled: str
    result: str
    exit_status: int | None
    pid: int | None
    restarts: int | None
    since: float | None
    text: str
    watchdog: str
    memory_bytes: int | None
    log: tuple[str, ...] = field(default=())


def ask(program: str, *arguments: str, timeout_s: float = _CALL_S) -> subprocess.CompletedProcess[str]:
    """Run systemctl or journalctl; no pager, no question for a password, messages in English.

    Raises:
        ServiceError: it is not there, or does not answer in time.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    try:
        return subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=environment,
        )
    except FileNotFoundError as error:
        raise ServiceError(f"there is no {program} on this machine", hint="systemd is needed") from error
    except subprocess.TimeoutExpired as error:
        call = " ".join([program, *arguments])
        raise ServiceError(
            f"{call} did not answer within {timeout_s:.0f} s", hint="look at: systemctl list-jobs"
        ) from error


def install(service: Service, systemd: Systemd, reads: tuple[Path, ...] = ()) -> Status:
    """Write the unit, start it, and have it start at boot; an earlier one of ours is replaced.

    If the new unit cannot be loaded, or does not come up where the old one was active, the old one is put back and
    started. A first one that does not come up is left to systemd, which tries again.

    Args:
        service: what to run.
        systemd: where.
        reads: files and directories that the user must be able to read, beside what ``service`` names.

    Raises:
        ServiceError: another's unit has the name, the user has no access, or it does not come up; says why.
        LitesightError: the unit cannot be written.
    """
    text = unit_text(service)
    systemd.check()
    path = systemd.path(service.name)
    old = _our_text(path)
    was_active = old is not None and _show(service.name).get("ActiveState") == "active"
    _refuse_shadowing(service.name, path)
    _make_writable(service)
    _check_access(service, reads)
    try:
        _write(path, text)
        return _start(service.name, systemd)
    except BaseException as error:
        never_loaded = not isinstance(error, _NotUpError)
        if old is None and never_loaded:
            _put_back(path, None, service.name)
        elif old is not None and (never_loaded or was_active):
            _put_back(path, old, service.name)
            if isinstance(error, ServiceError):
                raise ServiceError(f"{error.message}; the old service was put back", hint=error.hint) from error
        raise


def remove(name: str, systemd: Systemd) -> None:
    """Stop the service and delete its unit.

    Raises:
        NotInstalledError: there is none.
        ServiceError: the unit is not ours, or systemd refuses.
    """
    path = systemd.path(name)
    if _our_text(path) is None:
        raise _not_installed(name, path)
    systemd.check()
    _command("disable", "--now", f"{name}.service", timeout_s=_STOP_S)
    try:
        path.unlink()
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
    _command("daemon-reload")
    # A unit that had failed would go on being listed.
    ask("systemctl", "reset-failed", f"{name}.service")


def read_status(name: str, systemd: Systemd, lines: int = LOG_LINES) -> Status:
    """Ask systemd and the journal.

    Raises:
        NotInstalledError: there is no such unit of ours.
        ServiceError: the unit is not ours, or systemd does not answer.
    """
    path = systemd.path(name)
    if _our_text(path) is None:
        raise _not_installed(name, path)
    systemd.check()
    known = _show(name)
    since = known.get("ActiveEnterTimestamp", "").removeprefix("@")
    pid = _number(known.get("MainPID", ""))
    active = known.get("ActiveState", "unknown")
    return Status(
        name=name,
        path=path,
        active=active,
        sub=known.get("SubState", "unknown"),
        enabled=known.get("UnitFileState", "unknown"),
        result=known.get("Result", ""),
        exit_status=_number(known.get("ExecMainStatus", "")),
        pid=pid or None,
        restarts=_number(known.get("NRestarts", "")),
        since=float(since) if active == "active" and since.isdigit() else None,
        text=known.get("StatusText", ""),
        watchdog=known.get("WatchdogUSec", ""),
        memory_bytes=_number(known.get("MemoryCurrent", "")),
        log=read_log(name, lines),
    )


def read_log(name: str, lines: int = LOG_LINES) -> tuple[str, ...]:
    """The last lines of the journal, oldest first; empty where this user may not read it."""
    try:
        answer = ask("journalctl", "--unit", f"{name}.service", "--lines", str(lines), "--no-pager", "--quiet",
                     "--output", "short-iso")  # fmt: skip
    except ServiceError:
        return ()
    printable = ("".join(c if c.isprintable() else "?" for c in line) for line in answer.stdout.splitlines())
    return tuple(line for line in printable if line)[-lines:]


class _NotUpError(ServiceError):
    """The unit was loaded and started, and the service is not active."""


def _start(name: str, systemd: Systemd) -> Status:
    unit = f"{name}.service"
    _command("daemon-reload")
    known = _show(name)
    if known.get("LoadState") != "loaded":
        why = known.get("LoadError") or known.get("LoadState") or "no answer"
        raise ServiceError(f"systemd does not take {systemd.path(name)}: {why}", hint=f"systemd-analyze verify {unit}")
    _command("enable", unit)
    # Or else the attempts of an earlier fault count.
    ask("systemctl", "reset-failed", unit)
    # With Type=notify this returns when the classifier is ready, or has failed once.
    answer = ask("systemctl", "restart", unit, timeout_s=START_S + _STOP_S)
    status = read_status(name, systemd)
    if answer.returncode == 0 and status.active == "active":
        return status
    why = _last_words(status.log)
    ended = f"{status.result}, exit status {status.exit_status}" if status.exit_status else status.result
    goes_on = "systemd tries again" if status.active == "activating" else "systemd has given it up"
    raise _NotUpError(
        f"{unit} is {status.active} ({ended}), {goes_on}; its last words: {why}",
        hint=f"all of its log: journalctl -u {name}",
    )


def _put_back(path: Path, old: str | None, name: str) -> None:
    """What was before, as far as it goes; the fault that led here is what the user is told."""
    with contextlib.suppress(LitesightError, OSError):
        if old is None:
            ask("systemctl", "disable", "--now", f"{name}.service", timeout_s=_STOP_S)
            path.unlink(missing_ok=True)
            ask("systemctl", "daemon-reload")
        else:
            _write(path, old)
            ask("systemctl", "daemon-reload")
            ask("systemctl", "reset-failed", f"{name}.service")
            ask("systemctl", "restart", f"{name}.service", timeout_s=START_S + _STOP_S)


def _command(*arguments: str, timeout_s: float = _CALL_S) -> None:
    answer = ask("systemctl", *arguments, timeout_s=timeout_s)
    if answer.returncode != 0:
        said = " ".join(answer.stderr.split()) or f"exit status {answer.returncode}"
        raise ServiceError(f"systemctl {' '.join(arguments)} failed: {said}")


def _show(name: str) -> dict[str, str]:
    """systemd's properties of a unit; systemctl(1) gives times as seconds when asked so."""
    answer = ask("systemctl", "show", f"{name}.service", "--timestamp=unix", f"--property={','.join(_PROPERTIES)}")
    if answer.returncode != 0:
        said = " ".join(answer.stderr.split()) or f"exit status {answer.returncode}"
        raise ServiceError(f"systemctl show {name}.service failed: {said}")
    return dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)


def _our_text(path: Path) -> str | None:
    """The unit that is there; None if there is none.

    Raises:
        ServiceError: it is another's.
    """
    if path.is_symlink():
        raise ServiceError(f"{path} is a link: the unit is masked or another's", hint="choose another --name")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ServiceError(f"cannot read {path}: {error.strerror}") from error
    if not is_ours(text):
        raise ServiceError(
            f"{path} was not written by litesight service install: expected {MARKER!r} as its first line",
            hint="choose another --name",
        )
    return text


def _refuse_shadowing(name: str, path: Path) -> None:
    """A unit in /etc hides one of the same name in /usr: a service called ssh would lock its user out."""
    known = _show(name)
    where = known.get("FragmentPath", "")
    if known.get("LoadState") == "masked" or (where and Path(where) != path):
        raise ServiceError(
            f"there is a service {name} already: {where or 'it is masked'}", hint="choose another --name"
        )


def _make_writable(service: Service) -> None:
    """The directories that the service writes to, made for its user where they are missing."""
    entry = pwd.getpwnam(service.user)
    for place in service.writable:
        path = Path(place)
        if path.exists():
            continue
        missing = [each for each in (path, *path.parents) if not each.exists()]
        try:
            path.mkdir(parents=True)
            if os.geteuid() == 0:
                for each in missing:
                    os.chown(each, entry.pw_uid, entry.pw_gid)
        except OSError as error:
            raise atomic.cannot_write(path, error) from error


def _check_access(service: Service, reads: tuple[Path, ...]) -> None:
    """That the user can use every path: asked in a process of that user's, for root may do anything.

    The service's program is Python, so it is the one to ask.
    """
    entry = pwd.getpwnam(service.user)
    wanted = [(service.command[0], os.R_OK | os.X_OK), (str(service.directory), os.X_OK)]
    wanted += [(str(path), os.R_OK | (os.X_OK if path.is_dir() else 0)) for path in reads]
    wanted += [(str(path), os.W_OK | os.X_OK) for path in service.writable]
    arguments = [part for path, mode in wanted for part in (path, str(mode))]
    identity: dict[str, object] = {}
    if os.geteuid() == 0:
        groups = os.getgrouplist(service.user, entry.pw_gid)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
    try:
        child = subprocess.run(
            [service.command[0], "-I", "-S", "-c", _ACCESS, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_CALL_S, check=False, cwd="/",
            **identity,  # type: ignore[call-overload]
        )  # fmt: skip
    except PermissionError as error:
        raise ServiceError(
            f"the user {service.user} may not run {service.command[0]}",
            hint="put the virtual environment into that user's home, or name another with --user",
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f"cannot start {service.command[0]}: {error}") from error
    denied = child.stdout.splitlines()
    if child.returncode != 0 or denied:
        what = ", ".join(denied) or " ".join(child.stderr.split())[:200]
        raise ServiceError(
            f"the user {service.user} has no access to {what}",
            hint=f"look at it with: namei -l {denied[0] if denied else service.command[0]}",
        )


def _write(path: Path, text: str) -> None:
    atomic.write_file(path, text.encode())
    try:
        path.chmod(0o644)  # whatever root's umask is: everybody may read a unit
    except OSError as error:
        raise atomic.cannot_write(path, error) from error


def _not_installed(name: str, path: Path) -> NotInstalledError:
    return NotInstalledError(
        f"no service {name} is installed: there is no {path}", hint="litesight service install BUNDLE --source CAMERA"
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _last_words(log: tuple[str, ...]) -> str:
    """What the program said last; what systemd said, if the program said nothing.

    A line of the journal is "time host identifier[pid]: message"; journalctl(1), "short-iso".
    """
    messages = [(head.rpartition(" ")[2], words) for head, _, words in (line.partition(": ") for line in log) if words]
    own = [words for identifier, words in messages if not identifier.startswith("systemd[")]
    return (own or [words for _, words in messages] or ["the journal tells nothing"])[-1]
