# SPDX-License-Identifier: Apache-2.0
"""100,000 frames from a camera with every fault there is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.device.soak import FAULTS

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.native
def test_a_hundred_thousand_frames_with_every_fault_leak_nothing_and_miss_no_recovery(tiny_bundle: Path) -> None:
    command = [sys.executable, "-m", "tests.device.soak", str(tiny_bundle), "--frames", "100000"]
    child = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False)
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    planted, counts = Counter(found["planted"]), Counter(found["counts"])
    assert counts["recovered"] == planted.total(), f"not recovered: {list(FAULTS)[(planted.total() - 1) % len(FAULTS)]}"
    assert found["delivered"] >= 100_000
    assert min(planted[kind] for kind in FAULTS) >= 50
    for seen in set(FAULTS.values()):
        assert counts[seen] == sum(planted[kind] for kind, name in FAULTS.items() if name == seen), seen
    assert counts["unopened"] == 3 * planted["gone"]
    # Each is told as often as it happened.
    assert found["events"] == {kind: counts[kind] for kind in found["events"]}
    assert set(found["events"]) == {*FAULTS.values(), "unopened", "recovered"}
    assert found["classified"] > 10_000
    assert found["slope_bytes"] < 1_000_000
    settled = found["descriptors"][len(found["descriptors"]) // 10 :]
    assert max(settled) == min(settled)
    # The main thread, the network's, the one that reads, and at most one that still hangs.
    assert max(found["threads"]) <= 4
