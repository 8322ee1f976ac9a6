# SPDX-License-Identifier: Apache-2.0
"""What makes the figures of a run doubtful, in words. Pure functions of the record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from device.bench_record import Run
from device.machine import THROTTLE_BITS

NOW_BITS: Final = 0xFFFF
SINCE_BOOT_BITS: Final = 0xFFFF_0000

MANY_OTHERS_PERCENT: Final = 15.0
"""More of all cores' time than this went to other processes. One busy core of four is 25: it takes cache and memory
away even from who never waits for a core."""

LONG_WAIT_PERCENT: Final = 10.0
"""The threads waited longer than this for a core: others were in the way."""

QUIET_REMEDY: Final = "end other programs, then measure again"

SLOWDOWN: Final = 1.05
"""The last quarter of the frames took so much longer than the first."""


def throttle_faults(run: Run) -> tuple[str, ...]:
    """Why the run was not at the machine's speed: bits that were set now, or that were set since boot in between.

    Bits "since boot" that were there before tell of the past and are no fault.
    """
    before = run.before.throttled if run.before else None
    after = run.after.throttled if run.after else None
    during = run.conditions.throttled if run.conditions else None
    now = ((before or 0) | (after or 0) | (during or 0)) & NOW_BITS
    new = 0 if before is None else ((after or 0) | (during or 0)) & ~before & SINCE_BOOT_BITS
    # "was throttled since boot" says nothing that "throttled now" has not said.
    return tuple(
        words
        for bit, words in THROTTLE_BITS.items()
        if (now >> bit & 1) or (new >> bit & 1 and not now >> bit - 16 & 1)
    )


def throttle_remedy(faults: tuple[str, ...]) -> str:
    """What to do about throttling."""
    if any("voltage" in fault for fault in faults):
        return "use the official power supply and a short cable, then measure again"
    return "mount a heat sink or a fan, let it cool down, then measure again"


def was_disturbed(run: Run) -> str:
    """Who was in the way, in words; empty if nobody."""
    waited, others = (run.figures.get(name) or 0.0 for name in ("waited_percent", "others_cpu_percent"))
    found = []
    if waited > LONG_WAIT_PERCENT:
        found.append(f"its threads waited {waited:.0f}% of the time for a core")
    if others > MANY_OTHERS_PERCENT:
        found.append(f"other programs took {others:.0f}% of all cores' time")
    return " and ".join(found)


def cautions(run: Run) -> Iterator[str]:
    """Everything a reader of the figures should know first; nothing where all is well."""
    faults = throttle_faults(run)
    if faults:
        yield f"throttled during the run ({', '.join(faults)}): {throttle_remedy(faults)}"
    disturbed = was_disturbed(run)
    if disturbed:
        yield f"{disturbed}: {QUIET_REMEDY}"
    conditions = run.conditions
    if conditions is not None and conditions.busy:
        yield (
            f"the machine was busy before: load average {conditions.load_1min:.1f} on {conditions.cores} cores; "
            f"{QUIET_REMEDY}"
        )
    slowdown = run.figures.get("slowdown_ratio")
    # Where others were in the way, it is they who came and went.
    if slowdown is not None and slowdown > SLOWDOWN and not disturbed:
        yield f"the last quarter of the frames was {slowdown - 1:.0%} slower than the first: let it run on (--duration)"
    for state in (run.before, run.after):
        if state is not None and state.governor == "powersave":
            yield "the governor powersave keeps the clock low: litesight doctor says how to change it"
            break
