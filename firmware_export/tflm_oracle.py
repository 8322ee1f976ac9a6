# SPDX-License-Identifier: Apache-2.0
"""The oracle: TensorFlow Lite Micro itself, compiled for the host (PyPI `tflite-micro`), in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError
from device.progress import Progress, silent
from firmware_export.int8_core import decode_output, encode_input, int8_core
from firmware_export.tflite_reader import Model, count_multiply_adds, read_model, require_int8
from firmware_export.tflm_child import ALIGNMENT

_PACKAGE = "tflite-micro"
_LARGEST_ARENA_BYTES = 2 << 30
_START_SECONDS = 60.0
# TFLM's reference kernels take 1.5 ns a multiply-add on a desktop; thirty times that is a hang.
_SECONDS_EACH = 1.0
_SECONDS_PER_MAC = 5e-8


class OracleError(LitesightError):
    """TFLM is absent, refused the model, crashed or did not end."""


@dataclass(frozen=True)
class OracleResult:
    """What TFLM computed.

    Attributes:
        outputs: int8, (n, classes): of the model's int8 core.
        arena_bytes: the smallest tensor arena (multiple of 16) with which TFLM ran the model on this 64-bit host.
        arena_breakdown: what the recording allocator printed, in bytes: "total", "head" (activations, shared by all
            layers), "tail" (what stays for the interpreter's life), and its kinds by TFLM's names.
        version: version of the `tflite-micro` package.
    """

    outputs: NDArray[np.int8]
    arena_bytes: int
    arena_breakdown: Mapping[str, int]
    version: str

    @property
    def name(self) -> str:
        """The oracle's name and version, as in a bundle's golden vectors."""
        return f"{_PACKAGE} {self.version}"


def version() -> str:
    """The version of the installed `tflite-micro`.

    Raises:
        OracleError: it is not installed.
    """
    try:
        found = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        found = ""
    if not found or util.find_spec("tflite_micro") is None:
        raise OracleError(
            f"TensorFlow Lite Micro is not installed here: the Python package {_PACKAGE} is missing",
            hint="it exists for x86-64 Linux only; there, in a checkout of litesight: pip install '.[host]'",
        )
    return found


def made(oracle: str) -> bool:
    """Whether golden vectors with this oracle's name are TFLM's, of any version."""
    return oracle.startswith(f"{_PACKAGE} ")


def run(
    model: bytes,
    inputs: NDArray[np.int8],
    *,
    timeout_s: float | None = None,
    progress: Progress = silent,
) -> OracleResult:
    """Run int8 inputs through TFLM and measure the arena.

    Args:
        model: a fully int8 .tflite, or one with float32 or uint8 edges around an int8 core.
        inputs: int8, (n, height, width, channels), n > 0: what the core shall read.
        timeout_s: limit in seconds; None computes one from the model's multiply-adds.
        progress: wraps the loop over the inputs.

    Raises:
        ModelError: the model is damaged or not fully int8.
        OracleError: TFLM is not installed, refused the model, crashed, or passed the time limit.
    """
    found = version()
    graph = read_model(model)
    core = int8_core(graph)
    require_int8(core)
    expected = core.input.shape[1:]
    if inputs.dtype != np.int8 or inputs.shape[1:] != expected or inputs.shape[0] == 0:
        raise OracleError(f"expected int8 inputs ('n', {expected}), found {inputs.dtype} {inputs.shape}")
    if timeout_s is None:
        timeout_s = _START_SECONDS + len(inputs) * (_SECONDS_EACH + _SECONDS_PER_MAC * count_multiply_adds(graph))
    try:
        with tempfile.TemporaryDirectory(prefix="litesight-") as name:
            directory = Path(name)
            (directory / "model.tflite").write_bytes(model)
            np.save(directory / "inputs.npy", encode_input(graph, core, inputs))
            _run_child(directory, _ample_arena_bytes(graph), len(inputs), timeout_s, progress)
            outputs = decode_output(graph, core, np.load(directory / "outputs.npy", allow_pickle=False))
            allocations = _parse_allocations((directory / "allocations.txt").read_text("utf-8", "replace"))
            smallest = int((directory / "smallest.txt").read_text())
    except OSError as error:
        # What crosses to the child and back are a few files in the system's temporary directory.
        raise OracleError(
            f"cannot run TFLM: {error.strerror or error} in {tempfile.gettempdir()}", hint="is the disk full?"
        ) from error
    return OracleResult(outputs, smallest, allocations, found)


def _ample_arena_bytes(graph: Model) -> int:
    """More than TFLM can need: every activation on its own, and a generous multiple of the per-channel facts.

    Pages that are never touched cost nothing.
    """
    activations = sum(tensor.size_bytes for tensor in graph.tensors if not tensor.is_constant)
    ample = 2 * activations + 8 * graph.size_bytes + (1 << 20)
    if ample > _LARGEST_ARENA_BYTES:
        raise OracleError(
            f"the model's tensors would take {activations >> 20} MiB; TFLM is for models of a few",
            hint="make it smaller",
        )
    # The allocator fills the arena from both ends: with another size modulo 16 it would record other sizes.
    return -(-ample // ALIGNMENT) * ALIGNMENT


def _run_child(directory: Path, arena_bytes: int, count: int, timeout_s: float, progress: Progress) -> None:
    room = Path(__file__).resolve().parent
    # -P keeps the working directory, where a user may have a file of any name, out of the child's search path.
    command = [sys.executable, "-P", "-m", "firmware_export.tflm_child", str(directory), str(arena_bytes)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(room.parent), os.environ.get("PYTHONPATH", "")])}
    log = directory / "log.txt"
    timed_out = threading.Event()
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=environment
        ) as child,
    ):

        def stop() -> None:
            timed_out.set()
            child.kill()

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        try:
            for _ in progress(_lines(child), "Running TFLM", count):
                pass
            status = child.wait()
        finally:
            timer.cancel()
            child.kill()
    said = log.read_text("utf-8", "replace")
    if timed_out.is_set():
        raise OracleError(
            f"TFLM did not end within {timeout_s:.0f} s on {count} inputs",
            hint="is the machine busy, or the model huge?",
        )
    if status:
        raise OracleError(_failure(status, said))


def _lines(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    assert child.stdout is not None
    yield from child.stdout


def _failure(status: int, said: str) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        return f"TFLM crashed on this model ({name}): the file is damaged, or uses what TFLM does not support"
    # TFLM names the cause first; what follows are its consequences, and last the child's own word.
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"TFLM refused the model: {lines[0][:300] if lines else f'exit status {status}'}"


def _parse_allocations(text: str) -> dict[str, int]:
    """Bytes by name from the recording allocator's lines."""
    found = {name: int(size) for name, size in re.findall(r"Arena allocation (\w+) (\d+) bytes", text)}
    found |= {name: int(size) for name, size in re.findall(r"'([^']+)' used (\d+) bytes", text)}
    if not {"total", "head", "tail"} <= found.keys():
        raise OracleError("TFLM's recording allocator printed no arena sizes", hint=f"is this another {_PACKAGE}?")
    return found
