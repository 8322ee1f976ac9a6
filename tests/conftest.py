# SPDX-License-Identifier: Apache-2.0
"""What every room's tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# CI runs on shared, slow machines: a deadline would time the machine, not the code.
# Its examples are the same every time, so that a change is judged by what it changed; elsewhere they are new.
settings.register_profile(
    "litesight",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("litesight")


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """``require_tool("gcc")`` returns its path; a missing tool skips on a laptop and fails in CI (REQUIRE_TOOLS=1).

    Under emulation it always skips: the tools are those of the machine itself, whose own run of the test uses them.
    """

    def find(name: str) -> str:
        if os.environ.get("LITESIGHT_EMULATED") == "1":
            pytest.skip(f"{name} belongs to the machine, not to the emulated one")
        path = shutil.which(name)
        if path is None:
            message = f"{name} is not installed"
            if os.environ.get("REQUIRE_TOOLS") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find
