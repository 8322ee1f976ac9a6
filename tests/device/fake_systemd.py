# SPDX-License-Identifier: Apache-2.0
"""A stand-in for systemctl and journalctl: logs how it was called and answers from a file of states.

As a program: ``fake_systemd.py systemctl|journalctl DIRECTORY ARGUMENT…``. ``DIRECTORY/state.json`` holds::

    loaded      systemd has read the unit's text of now
    active      "active", "inactive", "activating", "failed"
    enabled     whether it starts at boot
    breaks      texts which, if the unit holds one, make it fail when it is started; by what then happens
    fail        verbs that fail, with what they say on stderr
    foreign     FragmentPath of a unit of that name elsewhere
    hang        verbs that never answer
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> int:
    program, directory, *arguments = sys.argv[1:]
    home = Path(directory)
    with (home / "calls").open("a") as log:
        log.write(json.dumps([program, *arguments]) + "\n")
    if program == "journalctl":
        sys.stdout.write((home / "journal").read_text())
        return 0
    state = json.loads((home / "state.json").read_text())
    if arguments == ["--version"]:
        print("systemd 252 (252.38-1~deb12u1)\n+PAM")
        return 0
    verb = arguments[0]
    if verb in state["hang"]:
        time.sleep(60)
    if verb in state["fail"]:
        print(state["fail"][verb], file=sys.stderr)
        return 1
    unit = next(each for each in arguments if each.endswith(".service")) if verb != "daemon-reload" else ""
    status = _answer(verb, home, unit, state, arguments)
    (home / "state.json").write_text(json.dumps(state))
    return status


def _answer(verb: str, home: Path, unit: str, state: dict[str, Any], arguments: list[str]) -> int:
    if verb == "daemon-reload":
        units = list((home / "units").glob("*.service"))
        state["loaded"] = units[0].read_text() if units else ""
    elif verb == "enable":
        state["enabled"] = True
    elif verb == "disable":
        state["enabled"] = False
        if "--now" in arguments:
            state["active"] = "inactive"
    elif verb == "restart":
        after = next((becomes for text, becomes in state["breaks"].items() if text in state["loaded"]), "active")
        state["active"] = after
        return 0 if after == "active" else 1
    elif verb == "show":
        _show(home, unit, state)
    elif verb != "reset-failed":
        print(f"Unknown command verb {verb}.", file=sys.stderr)
        return 1
    return 0


def _show(home: Path, unit: str, state: dict[str, Any]) -> None:
    active = state["active"]
    sub = {"active": "running", "activating": "auto-restart", "inactive": "dead"}.get(active, active)
    broken = active in ("activating", "failed")
    print(f"LoadState={'loaded' if state['loaded'] or state['foreign'] else 'not-found'}")
    print(f"FragmentPath={state['foreign'] or (home / 'units' / unit if state['loaded'] else '')}")
    print(f"UnitFileState={'enabled' if state['enabled'] else 'disabled'}")
    print(f"ActiveState={active}\nSubState={sub}")
    print(f"Result={'exit-code' if broken else 'success'}\nExecMainStatus={1 if broken else 0}")
    print(f"MainPID={812 if active == 'active' else 0}\nNRestarts={3 if broken else 0}")
    print(f"ActiveEnterTimestamp={'@1764000000' if active == 'active' else ''}")
    print("StatusText=usb:0, 30.0 frames a second = all\nWatchdogUSec=30s")
    print(f"MemoryCurrent={'125829120' if active == 'active' else '18446744073709551615'}")


if __name__ == "__main__":
    sys.exit(main())
