# SPDX-License-Identifier: Apache-2.0
"""The process in which TensorFlow Lite Micro runs: TFLM trusts its models, and a damaged one can crash it.

Started by ``tflm_oracle`` as ``python -m firmware_export.tflm_child DIRECTORY ARENA_BYTES``. The directory holds
``model.tflite`` and ``inputs.npy``; ``outputs.npy``, ``allocations.txt`` (what the recording allocator prints) and
``smallest.txt`` (the smallest arena in bytes) are added. "done" goes to stdout after each input; what TFLM complains
of, to stderr.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ALIGNMENT = 16
_ADDRESS_SPACE_BYTES = 8 << 30


def main(directory: Path, arena_bytes: int) -> None:
    """Run every input in an ample arena, then find the smallest; the result is left in ``directory``."""
    _limit_resources()
    from tflite_micro.python.tflite_micro import runtime

    model = (directory / "model.tflite").read_bytes()
    inputs = np.load(directory / "inputs.npy", allow_pickle=False)

    def interpreter(size_bytes: int) -> Any:
        return runtime.Interpreter.from_bytes(model, arena_size=size_bytes)

    def suffices(size_bytes: int) -> bool:
        # That the ample arena does is known; without this, an error of another kind would have no end.
        return size_bytes >= arena_bytes or _succeeds(lambda: interpreter(size_bytes))

    engine = interpreter(arena_bytes)
    outputs = []
    for one in inputs:
        engine.set_input(one[np.newaxis], 0)
        engine.invoke()
        outputs.append(np.array(engine.get_output(0)).reshape(-1))
        print("done", flush=True)
    np.save(directory / "outputs.npy", np.stack(outputs))
    allocations = directory / "allocations.txt"
    with _stderr_to(allocations):
        engine.print_allocations()
    recorded = re.search(r"total (\d+) bytes", allocations.read_text())
    start = int(recorded[1]) if recorded else arena_bytes
    (directory / "smallest.txt").write_text(str(smallest_arena(suffices, start)))


def smallest_arena(suffices: Callable[[int], bool], recorded_bytes: int) -> int:
    """The least multiple of 16 from the recorded size on that suffices.

    The recorded size is what remains in use; while it plans, the allocator can need more for a moment, which shows in
    networks with small tensors. Smaller sizes are not tried: TFLM crashes in an arena much too small.
    """
    low = -(-recorded_bytes // ALIGNMENT) - 1
    step = 1
    while not suffices((low + step) * ALIGNMENT):
        low += step
        step *= 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if suffices(middle * ALIGNMENT):
            high = middle
        else:
            low = middle
    return high * ALIGNMENT


def _succeeds(action: Callable[[], object]) -> bool:
    """Whether an action raises nothing and does not crash: in an arena a little too small, TFLM can do either."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


@contextlib.contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Send file descriptor 2, to which the C++ code prints, to a file."""
    saved = os.dup(2)
    with path.open("wb") as stream:
        os.dup2(stream.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _limit_resources() -> None:
    """A damaged model may ask for any amount of memory, and its crash shall leave no core file."""
    try:
        import resource
    except ModuleNotFoundError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    except Exception as error:
        # The parent makes one line of this and of what TFLM has complained of before.
        sys.exit(str(error) or type(error).__name__)
