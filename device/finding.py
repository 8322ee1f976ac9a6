# SPDX-License-Identifier: Apache-2.0
"""One line of the doctor's report. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        status: OK, WARNING or PROBLEM.
        name: of the check, one or two words.
        found: what is there, and where no command helps, what to do.
        mend: a shell command that mends it, to be pasted as it is; empty if there is none.
    """

    status: str
    name: str
    found: str
    mend: str = ""
