# SPDX-License-Identifier: Apache-2.0
"""The text of a systemd unit that runs the classifier; systemd.service(5), systemd.exec(5) and systemd.syntax(7).

Pure: nothing is read from the machine and nothing is written. Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from device.errors import LitesightError, UsageError

MARKER: Final = "# Written by: litesight service install. It is written anew by install and deleted by remove."
"""First line of every unit that is ours."""

WATCHDOG_S: Final = 30
"""So long may the classifier be silent before systemd restarts it."""

START_S: Final = 90
"""So long may it take until the first frame is awaited: a Pi Zero 2 loads its packages from a slow card."""

WRONG_CALL: Final = 2
WRONG_CONFIGURATION: Final = 78
"""Exit statuses after which systemd does not start it again; 78 is EX_CONFIG of sysexits.h."""

BACK_OFF_SINCE: Final = 254
"""The version of systemd that learned RestartSteps= and RestartMaxDelaySec=. Bookworm has 252, Trixie 257."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_MEMORY: Final = re.compile(r"[1-9][0-9]{0,11}[KMG]?")


@dataclass(frozen=True)
class Service:
    """What a unit says.

    Attributes:
        name: of the unit, without ".service".
        command: the argument list; the first is the absolute path of a program.
        user: an ordinary user, by name.
        groups: in addition to the user's own.
        directory: absolute; where the process starts, so that relative paths mean what they meant to the user.
        writable: absolute directories in which the process may write; everything else is read-only to it.
        needs: absolute paths whose file systems must be mounted first.
        private_tmp: it gets a /tmp of its own.
        network: it waits for a network.
        quiet: stdout, a line per frame, is dropped; messages go to the journal in any case.
        memory_max: above which the kernel ends it, such as "400M"; empty for no limit.
        systemd: version of the manager, 0 if unknown.
    """

    name: str
    command: tuple[str, ...]
    user: str
    directory: PurePosixPath
    groups: tuple[str, ...] = ()
    writable: tuple[PurePosixPath, ...] = ()
    needs: tuple[PurePosixPath, ...] = ()
    private_tmp: bool = True
    network: bool = False
    quiet: bool = False
    memory_max: str = ""
    systemd: int = 0


def unit_name(text: str) -> str:
    """``text`` as the name of a unit, without ".service".

    Raises:
        UsageError: a name that systemd or a file system would not take, or that means something else to them.
    """
    name = text.removesuffix(".service")
    if not _NAME.fullmatch(name):
        raise UsageError(f"expected a service's name of letters, digits, '-', '_' and '.', found {text!r}")
    return name


def memory_limit(text: str) -> str:
    """``text`` as a limit of memory in bytes.

    Raises:
        UsageError: another form.
    """
    if not _MEMORY.fullmatch(text):
        raise UsageError(f"expected an amount of memory such as 400M, found {text!r}")
    return text


def is_ours(text: str) -> bool:
    """Whether the text of a unit is one of ours, which may be replaced and deleted."""
    return text.partition("\n")[0] == MARKER


def quote(argument: str) -> str:
    """``argument`` as one word of a setting that knows quotes, specifiers escaped; systemd.syntax(7), "Quoting".

    Raises:
        LitesightError: it holds bytes that are no UTF-8, or a zero.
    """
    if "\0" in argument or not _is_text(argument):
        raise LitesightError(
            f"{argument!r} cannot be written into a unit: it is not UTF-8 text", hint="rename the file or directory"
        )
    # Specifiers are expanded after quotes were removed, in quoted words too.
    escaped = argument.replace("%", "%%")
    if _PLAIN.fullmatch(escaped):
        return escaped
    return (
        '"'
        + "".join(_ESCAPES.get(c) or (c if ord(c) >= 32 and c != "\x7f" else f"\\x{ord(c):02x}") for c in escaped)
        + '"'
    )


def quote_command(command: tuple[str, ...]) -> str:
    """An argument list as the value of ExecStart=.

    The colon in front makes systemd leave "$" alone, which it would expand in quoted words too (systemd.service(5),
    "Special executable prefixes"); it belongs into the quotes of the first word.
    """
    program, *arguments = command
    _check_path(program)
    return " ".join([quote(f":{program}"), *map(quote, arguments)])


def unit_text(service: Service) -> str:
    """The unit's text.

    Raises:
        LitesightError: a path that no unit can name.
    """
    paths = [str(path) for path in (service.directory, *service.writable, *service.needs)]
    for path in paths:
        _check_path(path)
    mounts = " ".join(dict.fromkeys(quote(path) for path in paths))
    lines = [
        MARKER,
        "# Change it by installing again, or add to it with: sudo systemctl edit " + service.name,
        "",
        "[Unit]",
        "Description=Litesight image classifier",
        "# Disks first that hold the bundle, the program and the saved frames.",
        f"RequiresMountsFor={mounts}",
        *_network(service),
        "# A loop of starts is ended. The pauses below keep to fewer, so a missing camera is waited for.",
        "StartLimitIntervalSec=60",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "# Started when it says so, and restarted when it has been silent for so long.",
        "Type=notify",
        "NotifyAccess=main",
        f"TimeoutStartSec={START_S}",
        f"WatchdogSec={WATCHDOG_S}",
        *_restart(service),
        "# Asked to stop, it writes its last line and goes; SIGKILL follows where it does not.",
        "KillMode=mixed",
        "TimeoutStopSec=10",
        "",
        f"User={service.user}",
        *([f"SupplementaryGroups={' '.join(service.groups)}"] if service.groups else []),
        # This setting knows no quotes: the path is the rest of the line.
        f"WorkingDirectory={str(service.directory).replace('%', '%%')}",
        "Environment=PYTHONUNBUFFERED=1",
        f"ExecStart={quote_command(service.command)}",
        f"SyslogIdentifier={service.name}",
        *_output(service),
        "",
        *_hardening(service),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _network(service: Service) -> list[str]:
    if not service.network:
        return []
    return ["# Its frames come over the network.", "Wants=network-online.target", "After=network-online.target"]


def _restart(service: Service) -> list[str]:
    lines = [
        "# Again and again, for a camera may come back; not after a wrong call (2) or configuration (78).",
        "Restart=always",
        f"RestartPreventExitStatus={WRONG_CALL} {WRONG_CONFIGURATION}",
        "# Stopped by a signal before the end of a video.",
        "SuccessExitStatus=143",
    ]
    if service.systemd >= BACK_OFF_SINCE:
        return [*lines, "RestartSec=2", "RestartSteps=5", "RestartMaxDelaySec=30"]
    return [*lines, "RestartSec=10"]


def _output(service: Service) -> list[str]:
    if service.quiet:
        return ["# No line per frame; messages only.", "StandardOutput=null", "StandardError=journal"]
    return ["StandardOutput=journal", "StandardError=journal"]


def _hardening(service: Service) -> list[str]:
    """What the process may not do. systemd.exec(5) says what each costs."""
    temporary = (
        ["# A /tmp of its own.", "PrivateTmp=yes"]
        if service.private_tmp
        else ["# No PrivateTmp=: it works on files in /tmp or /var/tmp."]
    )
    writable = [f"-{path}" for path in service.writable]
    memory = ["# Ended before it drives the machine into swap.", f"MemoryMax={service.memory_max}"]
    return [
        "# No more rights than the user has, by no way.",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "RestrictSUIDSGID=yes",
        "# The file system is read-only to it but for these directories.",
        "ProtectSystem=strict",
        *([f"ReadWritePaths={' '.join(map(quote, writable))}"] if writable else []),
        *temporary,
        "# Kernel, control groups, host name: hands off.",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "RestrictNamespaces=yes",
        "LockPersonality=yes",
        "# Sockets it needs: the journal and systemd, the network, and the kernel's news of cameras (netlink).",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "# Not set, for cameras are devices: PrivateDevices=, DevicePolicy=, and ProtectClock=, which implies one.",
        *(memory if service.memory_max else []),
    ]


def _check_path(path: str) -> None:
    """Not every setting knows quotes or escapes, and systemd takes no control characters in paths."""
    if not path.startswith("/"):
        raise ValueError(f"expected an absolute path, found {path!r}")
    if not path.isprintable() or path != path.strip() or path.endswith("\\"):
        raise LitesightError(
            f"{path!r} cannot be named in a unit: control characters, spaces at its end or a last backslash",
            hint="rename it",
        )


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
