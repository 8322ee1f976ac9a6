# SPDX-License-Identifier: Apache-2.0
"""The cross compiler of a board."""

from __future__ import annotations

import re
from dataclasses import dataclass

from boards.tool import find_tool, run_tool
from device.errors import LitesightError

VERSION_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Toolchain:
    """Paths of the tools, and the compiler's version, e.g. ``12.2.1``."""

    prefix: str
    gcc: str
    size: str
    objdump: str
    version: str


def find_toolchain(prefix: str) -> Toolchain:
    """Find a toolchain on the path.

    Args:
        prefix: of its tools' names, e.g. ``arm-none-eabi``.

    Raises:
        LitesightError: a tool is missing (the hint is the command that installs it) or does not tell its version.
    """
    gcc, size, objdump = (find_tool(f"{prefix}-{tool}", prefix) for tool in ("gcc", "size", "objdump"))
    answer = run_tool([gcc, "-dumpfullversion", "-dumpversion"], timeout_s=VERSION_TIMEOUT_S)
    version = answer.stdout.strip()
    if answer.returncode != 0 or re.fullmatch(r"\d+(\.\d+)*", version) is None:
        found = " ".join((answer.stderr or answer.stdout).split())[:200] or "nothing"
        raise LitesightError(f"{gcc}: expected the compiler's version, found {found}")
    return Toolchain(prefix=prefix, gcc=gcc, size=size, objdump=objdump, version=version)
