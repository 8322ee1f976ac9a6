# SPDX-License-Identifier: Apache-2.0
"""``litesight deploy``: a new model onto another machine, without a restart there."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands.arguments import port

if TYPE_CHECKING:
    from device.deploy import Deployed
    from device.remote import Target

HELP = "Copy a bundle to a Raspberry Pi over ssh, have it checked there, and make it active while the old one runs."

EPILOG = """\
Your key must be on the other machine (ssh-copy-id user@host) and litesight must be installed there. Hashes, signature
and golden vectors are checked there before anything changes; on any failure the old model stays. A `litesight run` of
the same directory takes the new model over in about a second, and goes back to the old one if its first frames fail.

examples:
  litesight deploy cells pi@raspberrypi.local
  litesight deploy cells pi@192.168.1.20 --port 2222 --identity ~/.ssh/id_pi
  litesight deploy cells camera1 --slots models/door         relative to the home there
  litesight deploy cells pi@raspberrypi.local --remote-command '~/venv/bin/litesight'
  litesight deploy cells pi@raspberrypi.local --dry-run      only shows what would be called

exit status: 0 the new model is active; 1 it is not, and the old one stays; 2 wrong call."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle directory")
    parser.add_argument("target", metavar="USER@HOST", help="or an alias of your ssh configuration")
    parser.add_argument(
        "--slots",
        default="~/litesight-models",
        metavar="DIR",
        help="the slots directory there (default: ~/litesight-models); quote a ~, or it is your own home",
    )
    parser.add_argument("--port", type=port, metavar="N", help="of ssh")
    parser.add_argument("--identity", type=Path, metavar="FILE", help="your private ssh key")
    parser.add_argument("--ssh-config", type=Path, metavar="FILE", help="instead of your own ssh configuration")
    parser.add_argument(
        "--remote-command",
        default="",
        metavar="COMMAND",
        help="starts litesight there (default: looked for on the path, and in ~/litesight/.venv)",
    )
    parser.add_argument(
        "--copy-with", choices=("auto", "rsync", "scp"), default="auto", help="default: rsync where both sides have it"
    )
    parser.add_argument("--dry-run", action="store_true", help="check the bundle and print the commands; run none")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Deploy, then tell."""
    from device.deploy import deploy, plan

    target = _target(args)
    if args.dry_run:
        lines = list(plan(args.bundle, target, args.slots, args.copy_with))
        print(json.dumps({"commands": lines}, indent=1) if args.json else "\n".join(lines))
        return 0
    done = deploy(args.bundle, target, args.slots, lambda line: print(line, file=sys.stderr), args.copy_with)
    if args.json:
        outcome = {"target": done.target, "copied_with": done.copier, "bytes": done.copied_bytes, **done.verdict}
        print(json.dumps(outcome, indent=1, sort_keys=True))
    else:
        print(_verdict(done))
    return 0


def _target(args: argparse.Namespace) -> Target:
    from device.errors import UsageError
    from device.remote import Target, parse_target

    user, host = parse_target(args.target)
    for path in (args.identity, args.ssh_config):
        if path is not None and not path.is_file():
            raise UsageError(f"expected a file, found none at {path}")
    try:
        command = tuple(shlex.split(args.remote_command))
    except ValueError as error:
        raise UsageError(f"--remote-command: a quote is not closed in {args.remote_command!r}") from error
    if not args.slots:
        raise UsageError("expected a directory after --slots, found nothing")
    return Target(host, user, args.port, args.identity, args.ssh_config, command)


def _verdict(done: Deployed) -> str:
    from device.remote import printable

    told = {key: printable(str(value)) for key, value in done.verdict.items()}
    previous = told["previous"] if done.verdict.get("previous") else "none"
    return (
        f"{told.get('name', '?')} is active on {done.target}: slot {told.get('slot', '?')}, previous {previous}; "
        f"{told.get('check', 'nothing said of its golden vectors')}"
    )
