# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of others: found or told how to get, bounded in time, their last words kept for the error."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from device.errors import LitesightError

INSTALL: Mapping[str, str] = {
    "arm-none-eabi": "sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "sudo apt-get install qemu-system-arm",
}
"""The one command that installs a tool, by its name or the prefix of it; on Debian, Ubuntu and Raspberry Pi OS."""


def find_tool(name: str, package: str) -> str:
    """The path of a program.

    Args:
        name: of the program.
        package: key of :data:`INSTALL`.

    Raises:
        LitesightError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise LitesightError(f"{name} is not installed", hint=INSTALL[package])
    return path


def run_tool(argv: Sequence[str], *, timeout_s: float, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end with nothing on its standard input. Its exit status is the caller's to judge.

    Raises:
        LitesightError: it cannot be started, or takes longer than ``timeout_s``.
    """
    name = Path(argv[0]).name
    try:
        return subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=timeout_s,
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LitesightError(f"{name} did not end within {timeout_s:g} s and was stopped") from None
    except OSError as error:
        raise LitesightError(f"{name} cannot be started: {error.strerror or error}") from None
