# SPDX-License-Identifier: Apache-2.0
"""From the start of a process to its first label, as somebody meets it who types ``litesight run``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Timer
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError

TIMEOUT_S: Final = 120.0
_ROOT: Final = Path(__file__).parents[1]


def cold_start_ms(bundle: Path, source: str | None, threads: int, frame: NDArray[np.uint8], starts: int) -> float:
    """Start ``litesight run`` so many times and take the median.

    Args:
        bundle: the bundle directory.
        source: as for ``litesight run``; None writes ``frame`` to a file and gives it that.
        threads: of the network.
        frame: (height, width, 3) uint8 RGB.
        starts: how many processes, one after another.

    Returns:
        Milliseconds from before the process is made until its first line is read.

    Raises:
        LitesightError: it fails, or takes longer than TIMEOUT_S.
    """
    with tempfile.TemporaryDirectory(prefix="litesight-bench-") as folder:
        if source is None:
            source = str(Path(folder) / "frame.bmp")
            cv2.imwrite(source, frame[..., ::-1])
        arguments = [str(bundle), "--source", source, "--threads", str(threads), "--limit", "1", "--json"]
        command = [sys.executable, "-P", "-m", "litesight", "run", *arguments]
        times = sorted(first_line_ms(command) for _ in range(starts))
    return times[len(times) // 2]


def first_line_ms(command: list[str], timeout_s: float = TIMEOUT_S) -> float:
    """Milliseconds from before ``command`` is started until its first line on stdout.

    Raises:
        LitesightError: it ends without one, or takes longer than ``timeout_s``.
    """
    # The child must find this very kit, be it installed or a checkout.
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter_ns()
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": path},
        ) as process:
            # Killed, it closes its stdout, and the reading below ends.
            watchdog = Timer(timeout_s, process.kill)
            watchdog.start()
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                elapsed_ms = (time.perf_counter_ns() - started) / 1e6
                process.stdout.read()
            finally:
                watchdog.cancel()
                # Nothing to do after a good end; after Ctrl-C the child must not outlive us.
                process.kill()
        errors.seek(0)
        said = errors.read(4096).decode("utf-8", "replace").strip().splitlines()
    if not line.endswith(b"\n"):
        reason = said[-1] if said else f"no line within {timeout_s:g} s"
        raise LitesightError(f"the cold start cannot be timed: {reason}", hint="leave --cold-starts out")
    return elapsed_ms
