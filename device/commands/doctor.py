# SPDX-License-Identifier: Apache-2.0
"""``litesight doctor``: check this machine and say how to mend it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

HELP = "Check this machine for what litesight needs, and name the command that mends each fault."

EPILOG = """\
Needs nothing but Python: run it before the packages are installed, and again when something does not work.

examples:
  litesight doctor                  one line per check
  python3 litesight.py doctor       in a checkout, before anything is installed
  litesight doctor --json           for a program

exit status: 0 nothing is wrong, or only warnings; 1 at least one problem."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--json", action="store_true", help="the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Examine and tell."""
    from device.doctor import PROBLEM, examine
    from device.system_facts import read_system

    findings = examine(read_system())
    problems = sum(finding.status == PROBLEM for finding in findings)
    if args.json:
        print(json.dumps({"problems": problems, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        for finding in findings:
            mend = f" → {finding.mend}" if finding.mend else ""
            print(f"{finding.status:<8} {finding.name:<15} {finding.found}{mend}")
    return 1 if problems else 0
