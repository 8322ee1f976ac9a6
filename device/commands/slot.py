# SPDX-License-Identifier: Apache-2.0
"""``litesight slot``: look at and change the models of a slots directory, on the machine that runs them."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.slots import Slots

HELP = "Show, check in, switch or take back the models of a slots directory."

EPILOG = """\
actions:
  status           what is active, since when, what there is beside it, why the last model was given up
  receive BUNDLE   check a bundle (hashes, signature, golden vectors) and make it active
  switch SLOT      make a slot active, named by the first digits of its name
  back             make the previous one active again
  stage, discard   a place for an upload: `litesight deploy` calls these

It works whether or not a `litesight run` uses the directory; one that does follows within about a second.

examples:
  litesight slot status ~/litesight-models
  litesight slot receive ~/litesight-models cells
  litesight slot back ~/litesight-models
  litesight slot receive ~/litesight-models cells --require-signature release.pub

exit status: 0 done; 1 refused or failed, and what was active still is; 2 wrong call."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=sorted(_ACTIONS), help="see below")
    parser.add_argument("slots", type=Path, metavar="DIR", help="the slots directory")
    parser.add_argument("what", nargs="?", metavar="BUNDLE|SLOT", help="a bundle to receive, a slot to switch to")
    parser.add_argument(
        "--require-signature",
        type=Path,
        action="append",
        default=[],
        metavar="KEY.pub",
        help="receive: refuse a bundle that this key has not signed; may be given again for another key",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Do it, then tell."""
    from device.errors import UsageError

    action, takes = _ACTIONS[args.action]
    if takes and not args.what:
        raise UsageError(f"litesight slot {args.action} DIR {takes}: expected {takes}, found nothing")
    if not takes and args.what:
        raise UsageError(f"litesight slot {args.action} takes nothing after DIR, found {args.what!r}")
    if args.require_signature and args.action != "receive":
        raise UsageError("--require-signature belongs to litesight slot receive")
    told = action(args)
    print(json.dumps(told, sort_keys=True) if args.json else "\n".join(_lines(told)))
    return 0


def _status(args: argparse.Namespace) -> dict[str, Any]:
    from device.slots import Slots

    return _told(Slots(args.slots))


def _receive(args: argparse.Namespace) -> dict[str, Any]:
    from device.slots import create_slots

    slots, staging = create_slots(args.slots), Path(args.what)
    try:
        received = slots.receive(staging, args.require_signature)
        slots.switch(received.slot)
    finally:
        if slots.is_staged(staging):
            slots.discard(staging)
    return {**_told(slots), "golden": vars(received.golden), "check": str(received.golden)}


def _switch(args: argparse.Namespace) -> dict[str, Any]:
    from device.slots import Slots

    slots = Slots(args.slots)
    slots.switch(slots.find(args.what))
    return _told(slots)


def _back(args: argparse.Namespace) -> dict[str, Any]:
    from device.slots import Slots

    slots = Slots(args.slots)
    slots.back()
    return _told(slots)


def _stage(args: argparse.Namespace) -> dict[str, Any]:
    from device.slots import create_slots

    slots = create_slots(args.slots)
    return {
        "staging": str(slots.stage()),
        "free_bytes": shutil.disk_usage(slots.root).free,
        "rsync": shutil.which("rsync") is not None,
    }


def _discard(args: argparse.Namespace) -> dict[str, Any]:
    from device.slots import Slots

    Slots(args.slots).discard(Path(args.what))
    return {"discarded": args.what}


def _told(slots: Slots) -> dict[str, Any]:
    """The status for programs."""
    from device import bundle as bundles
    from device.errors import LitesightError

    status = slots.status()
    name = model = fault = None
    if status.active is not None:
        try:
            active = bundles.load(slots.current())
            name, model = active.manifest.name, active.model_sha256
        except LitesightError as error:
            fault = str(error)
    return {
        "slot": status.active,
        "name": name,
        "model_sha256": model,
        "fault": fault,
        "since": status.since,
        "proved": status.proved,
        "previous": status.previous,
        "slots": list(status.slots),
        "fallback": None if status.fallback is None else vars(status.fallback),
    }


def _lines(told: dict[str, Any]) -> list[str]:
    """The same for people."""
    if "slot" not in told:
        return [f"{key:<9} {value}" for key, value in told.items()]
    if told["slot"] is None:
        lines = ["active    none"]
    else:
        proved = "its first frames went well" if told["proved"] else "no runner has proved it yet"
        lines = [f"active    {told['slot']} {told['name'] or '(damaged)'}, since {told['since']}, {proved}"]
    if told["fault"]:
        lines.append(f"fault     {told['fault']}")
    lines.append(f"previous  {told['previous'] or 'none'}")
    lines.append(f"kept      {', '.join(told['slots']) or 'none'}")
    if told["fallback"]:
        last = told["fallback"]
        lines.append(f"given up  {last['slot']} at {last['at']}: {last['reason']}")
    if "check" in told:
        lines.append(f"checked   {told['check']}")
    return lines


_ACTIONS: dict[str, tuple[Callable[[argparse.Namespace], dict[str, Any]], str]] = {
    "status": (_status, ""),
    "receive": (_receive, "BUNDLE"),
    "switch": (_switch, "SLOT"),
    "back": (_back, ""),
    "stage": (_stage, ""),
    "discard": (_discard, "DIR"),
}
"""What an action does, and what it takes after the slots directory."""
