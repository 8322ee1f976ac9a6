# SPDX-License-Identifier: Apache-2.0
"""``litesight doctor``: check this machine and say how to mend it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from device.finding import Finding

HELP = "Check this machine for what litesight needs, and name the command that mends each fault."

EPILOG = """\
Needs nothing but Python: run it before the packages are installed, and again when something does not work. What stands
behind an arrow is a command to be pasted into a shell. sudo shows the processes of other users that hold a camera.

examples:
  litesight doctor                  one line per check
  python3 litesight.py doctor       in a checkout, before anything is installed
  litesight doctor --json           for a program

exit status: 0 nothing is wrong, or only warnings; 1 at least one problem."""

_COLORS = {"ok": "\033[32m", "warning": "\033[33m", "problem": "\033[1;31m"}
_BOLD, _PLAIN = "\033[1m", "\033[0m"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--json", action="store_true", help="the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Examine and tell."""
    from device.doctor import examine
    from device.finding import PROBLEM
    from device.system_facts import read_system

    findings = examine(read_system())
    problems = sum(finding.status == PROBLEM for finding in findings)
    if args.json:
        print(json.dumps({"problems": problems, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        print("\n".join(report(findings, colored=_wants_color(sys.stdout))))
    return 1 if problems else 0


def report(findings: Sequence[Finding], *, colored: bool) -> list[str]:
    """One line per finding, in columns."""
    width = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        status, mend = f"{finding.status:<8}", finding.mend
        if colored:
            status = f"{_COLORS[finding.status]}{status}{_PLAIN}"
            mend = mend and f"{_BOLD}{mend}{_PLAIN}"
        lines.append(f"{status} {finding.name:<{width}}  {finding.found}" + (f" → {mend}" if mend else ""))
    return lines


def _wants_color(stream: TextIO) -> bool:
    """On a terminal that knows colors, unless its user does not want them (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
