# SPDX-License-Identifier: Apache-2.0
"""Checks of a machine, each a pure function of the facts: what was found, and the one command that mends it.

Standard library only: the doctor is asked before anything is installed. ``device/check_packages.py`` and
``device/check_machine.py`` hold the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from device import check_machine, check_packages
from device.finding import Finding
from device.system_facts import System

CHECKS: Final[tuple[Callable[[System], Iterator[Finding]], ...]] = (
    check_packages.check_python,
    check_packages.check_machine,
    check_machine.check_clock,
    check_packages.check_wheels,
    check_machine.check_disk,
    check_machine.check_user,
    check_packages.check_environment,
    check_packages.check_runtime,
    check_packages.check_packages,
    check_packages.check_host_tools,
    check_machine.check_groups,
    check_machine.check_cameras,
    check_packages.check_picamera2,
    check_machine.check_memory,
    check_machine.check_swap,
    check_machine.check_speed,
)


def examine(system: System) -> tuple[Finding, ...]:
    """All findings, in the order in which one would mend them."""
    return tuple(finding for check in CHECKS for finding in check(system))
