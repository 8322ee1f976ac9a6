# SPDX-License-Identifier: Apache-2.0
"""``litesight service``: the classifier as a systemd service, started at boot and kept alive."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device.service import Status, Systemd

HELP = "Run the classifier as a systemd service: started at boot, restarted, watched, logged in the journal."

EPILOG = """\
What stands behind -- are options of litesight run. They are checked now, not at the next boot. The service runs as the
user who calls sudo, may write only where --save-to and --writable say, and is restarted when it ends or falls silent.

examples:
  sudo .venv/bin/litesight service install solar.bundle --source picamera2
  sudo .venv/bin/litesight service install ~/litesight-models --source usb:0 -- --save uncertain --save-to frames
  litesight service install solar.bundle --source usb:0 --print    only show the unit
  litesight service status                                         with its last lines; --json for a program
  sudo .venv/bin/litesight service remove
  journalctl -fu litesight                                         follow its log

exit status: 0 done, or active; 1 a failure; 2 wrong call; status: 3 installed but not active, 4 not installed."""

NOT_ACTIVE = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=("install", "status", "remove"), help="what to do")
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="install: a bundle, or a directory of model slots")
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="install: options of litesight run")
    parser.add_argument("--source", metavar="CAMERA|URL|FILE", help="install: as for litesight run")
    parser.add_argument("--name", default="litesight", metavar="NAME", help="of the service (default: litesight)")
    parser.add_argument("--user", metavar="NAME", help="install: run as this user (default: who calls sudo)")
    parser.add_argument(
        "--writable", action="append", default=[], metavar="DIR", help="install: one more directory to write to"
    )
    parser.add_argument("--memory-max", default="", metavar="SIZE", help="install: end it above that, such as 400M")
    parser.add_argument("--quiet", action="store_true", help="install: no line per frame in the journal, only messages")
    parser.add_argument(
        "--print", action="store_true", dest="only_print", help="install: show the unit, change nothing"
    )
    parser.add_argument("--json", action="store_true", help="status: as JSON")


def run(args: argparse.Namespace) -> int:
    """Do what ``action`` says."""
    from device.errors import UsageError
    from device.service import Systemd, remove
    from device.systemd_unit import unit_name

    args.name = unit_name(args.name)
    systemd = Systemd()
    if args.action == "install":
        return _install(args, systemd)
    if args.bundle is not None:
        raise UsageError(
            f"litesight service {args.action} takes no {args.bundle!r}", hint="name a service with --name NAME"
        )
    if args.action == "status":
        return _status(args, systemd)
    systemd.check()
    _need_root()
    remove(args.name, systemd)
    print(f"{args.name}.service was stopped and removed")
    return 0


def _install(args: argparse.Namespace, systemd: Systemd) -> int:
    from device.service import install
    from device.service_plan import plan
    from device.systemd_unit import unit_text

    if not args.only_print:
        systemd.check()
    made = plan(args, systemd.version())
    for note in made.notes:
        print(f"litesight: warning: {note}", file=sys.stderr)
    if args.only_print:
        sys.stdout.write(unit_text(made.service))
        return 0
    _need_root()
    print(f"starting {args.name}.service as {made.service.user}", file=sys.stderr)
    status = install(made.service, systemd, made.reads)
    print(f"{args.name}.service is active (pid {status.pid}) and starts at boot; its log: journalctl -fu {args.name}")
    return 0


def _status(args: argparse.Namespace, systemd: Systemd) -> int:
    from device.service import read_status

    status = read_status(args.name, systemd)
    if args.json:
        print(json.dumps({**asdict(status), "path": str(status.path)}, indent=1))
    else:
        print("\n".join(_lines(status)))
    return 0 if status.active == "active" else NOT_ACTIVE


def _lines(status: Status) -> list[str]:
    """For people."""
    state = f"{status.active} ({status.sub})"
    if status.since is not None:
        state += time.strftime(" since %Y-%m-%d %H:%M:%S", time.localtime(status.since))
    elif status.result not in ("", "success"):
        state += f": {status.result}, exit status {status.exit_status}"
    memory = "unknown" if status.memory_bytes is None else f"{status.memory_bytes / (1 << 20):.0f} MiB"
    facts = [
        ("state", state),
        ("says", status.text),
        ("at boot", status.enabled),
        ("pid", str(status.pid or "")),
        ("restarts", "unknown" if status.restarts is None else str(status.restarts)),
        (
            "watchdog",
            f"a sign of life every {status.watchdog}" if status.watchdog not in ("", "0", "infinity") else "off",
        ),
        ("memory", memory if status.pid else ""),
        ("unit", str(status.path)),
    ]
    lines = [f"{status.name}.service", *(f"  {name:<10}{value}" for name, value in facts if value)]
    if not status.log:
        return [*lines, "  log       none to be read here: sudo journalctl -u " + status.name]
    return [*lines, "  log", *(f"    {line}" for line in status.log)]


def _need_root() -> None:
    """Say the exact command: sudo forgets PATH and with it the virtual environment."""
    from device.errors import LitesightError
    from device.service_plan import program

    if os.geteuid() != 0:
        command = shlex.join(["sudo", *program(), *sys.argv[1:]])
        raise LitesightError("a service is installed and removed by root", hint=f"run: {command}")
