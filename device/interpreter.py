# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle's network with LiteRT, and measures how much of it XNNPACK took."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.errors import LitesightError
from device.graph_check import check_graph, count_delegated, writer_of
from device.machine import MAX_THREADS
from device.manifest import MAX_FILE_BYTES
from device.network_facts import NetworkFacts, TensorFacts, activation_of, compare
from device.quiet import native_stderr
from device.regular_file import read_regular

MAX_DEFAULT_THREADS: Final = 4
_IDENTIFIER: Final = b"TFL3"
_LITERT = ("ai-edge-litert", "ai_edge_litert")
_TFLITE_RUNTIME = ("tflite-runtime", "tflite_runtime")


class InterpreterError(LitesightError):
    """No runtime, a network that it refuses, or an input that does not fit."""


@dataclass(frozen=True)
class Runtime:
    """The package that executes networks.

    Attributes:
        name: its name on PyPI.
        version: its version.
        module: its ``interpreter`` module.
        note: what the user should know about it; empty if it is the right one.
    """

    name: str
    version: str
    module: Any
    note: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def default_threads() -> int:
    """The cores that this process may use, at most 4: more never helped a network of this size."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return max(1, min(cores, MAX_DEFAULT_THREADS))


def load_runtime() -> Runtime:
    """LiteRT, or tflite-runtime where only that is installed.

    Raises:
        InterpreterError: neither is there, or the one that is there cannot be imported; the message has the real cause.
    """
    module = _import(*_LITERT)
    if module is not None:
        return Runtime(_LITERT[0], _version(_LITERT[0]), module, "")
    module = _import(*_TFLITE_RUNTIME)
    if module is not None:
        # It can be imported under numpy 2 all the same; the first interpreter then fails with a SystemError.
        if int(np.__version__.partition(".")[0]) >= 2:
            raise InterpreterError(
                f"{_TFLITE_RUNTIME[0]} was built for numpy 1, found numpy {np.__version__}",
                hint="run: pip install 'numpy<2'",
            )
        note = "ai-edge-litert is not installed; tflite-runtime does not hand int8 networks to XNNPACK, so it is slower"
        return Runtime(_TFLITE_RUNTIME[0], _version(_TFLITE_RUNTIME[0]), module, note)
    raise InterpreterError(
        "expected the LiteRT runtime, found neither ai-edge-litert nor tflite-runtime",
        hint="in a checkout of litesight: pip install '.[device]'",
    )


class Interpreter:
    """One network, ready to run. Made by :func:`open_interpreter`; one instance serves one thread.

    Attributes:
        runtime: name and version, for example "ai-edge-litert 2.3.0".
        runtime_note: what the user should know about the runtime; usually empty.
        threads: threads of one inference.
        ops_total: operators in the network's graph.
        ops_xnnpack: how many of them XNNPACK executes, counted in the graph after delegation.
        input, output: the one input and the one output.
        facts: both, and whether the network ends in a softmax, for the comparison with a manifest.
    """

    def __init__(self, native: Any, runtime: Runtime, threads: int, ops_total: int, ops_xnnpack: int) -> None:
        self._native = native
        self.runtime = str(runtime)
        self.runtime_note = runtime.note
        self.threads = threads
        self.ops_total = ops_total
        self.ops_xnnpack = ops_xnnpack
        self._input_index, self.input = _only_tensor(native.get_input_details(), "input")
        self._output_index, self.output = _only_tensor(native.get_output_details(), "output")
        self._dtype = np.dtype(self.input.dtype)
        last = writer_of(native._get_ops_details(), self._output_index)
        self.facts = NetworkFacts(self.input, self.output, activation_of(last))

    def invoke(self, x: NDArray[Any]) -> NDArray[Any]:
        """Run the network once.

        Args:
            x: (h, w, c) or (1, h, w, c), of the input's dtype.

        Returns:
            (classes,) of the output's dtype, a new array.

        Raises:
            InterpreterError: ``x`` does not fit, or the runtime failed.
        """
        if x.dtype != self._dtype or x.shape not in (self.input.shape, self.input.shape[1:]):
            raise InterpreterError(
                f"the network takes {self.input.dtype} {self.input.shape}, found {x.dtype} {x.shape}"
            )
        try:
            self._native.set_tensor(self._input_index, x.reshape(self.input.shape))
            self._native.invoke()
            output: NDArray[Any] = self._native.get_tensor(self._output_index)
        except (RuntimeError, ValueError) as error:
            raise InterpreterError(f"{self.runtime} failed to run the network: {_one_line(error)}") from error
        return output.reshape(-1)


def open_interpreter(model: bytes | Path, threads: int | None = None, xnnpack: bool = True) -> Interpreter:
    """Make an interpreter for a .tflite.

    The runtime verifies the flatbuffer's offsets itself but believes what the tables say and aborts the process on some
    contradictions; :func:`device.graph_check.check_graph` refuses those first.

    Args:
        model: the flatbuffer, or its path.
        threads: of one inference; :func:`default_threads` if None.
        xnnpack: False runs LiteRT's own kernels, without any delegate.

    Raises:
        InterpreterError: no runtime, not a .tflite, or a network the runtime refuses.
    """
    threads = default_threads() if threads is None else threads
    if not 1 <= threads <= MAX_THREADS:
        raise InterpreterError(f"expected 1 to {MAX_THREADS} threads, found {threads}")
    name, content = _read(model)
    runtime = load_runtime()
    kinds = runtime.module.OpResolverType
    kind = kinds.AUTO if xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with native_stderr():
            native = runtime.module.Interpreter(
                model_content=content, num_threads=threads, experimental_op_resolver_type=kind
            )
            check_graph(native._get_ops_details(), native.get_tensor_details(), native.get_input_details())
            native.allocate_tensors()
        total, delegated = count_delegated(native._get_ops_details())
        return Interpreter(native, runtime, threads, total, delegated)
    except LitesightError as error:
        raise InterpreterError(f"{name}: {error.message}", hint=error.hint) from error
    except MemoryError as error:
        raise InterpreterError(f"{name}: its tensors do not fit in memory, or the file is damaged") from error
    except OSError:  # the system's fault, not the file's
        raise
    # What the runtime throws at a damaged file differs between its versions: ValueError, RuntimeError, TypeError …
    except Exception as error:
        raise InterpreterError(
            f"{name}: {runtime} refuses it: {_one_line(error)}", hint="the file is damaged or not a .tflite"
        ) from error


def check_against_manifest(bundle: Bundle, interpreter: Interpreter) -> None:
    """Compare what stands both in the manifest and in the int8 network; see :func:`device.network_facts.compare`.

    Raises:
        BundleError: they differ; names both values.
    """
    compare(bundle, interpreter.facts)


def _read(model: bytes | Path) -> tuple[str, bytes]:
    """What to call the network in a message, and its bytes."""
    try:
        name, content = (
            ("the network", model) if isinstance(model, bytes) else (str(model), read_regular(model, MAX_FILE_BYTES))
        )
    except OSError as error:
        raise InterpreterError(f"cannot read {model!s}: {error.strerror}") from error
    if content[4:8] != _IDENTIFIER:
        raise InterpreterError(
            f"{name} is not a .tflite: expected the identifier {_IDENTIFIER!r} at byte 4, found {content[4:8]!r}"
        )
    return name, content


def _import(package: str, module: str) -> Any | None:
    """The ``interpreter`` module, or None if the package is not installed."""
    try:
        return importlib.import_module(f"{module}.interpreter")
    except ModuleNotFoundError as error:
        if error.name == module:
            return None
        cause: Exception = error
    # A C extension that does not fit raises ImportError, AttributeError or SystemError.
    except Exception as error:
        cause = error
    raise InterpreterError(
        f"{package} is installed but cannot be imported: {_one_line(cause)}", hint="run: litesight doctor"
    ) from cause


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # from a Debian package, or a copy on the path
        return "(unknown version)"


def _only_tensor(details: list[dict[str, Any]], which: str) -> tuple[int, TensorFacts]:
    if len(details) != 1:
        raise InterpreterError(f"expected a classifier with one {which}, found {len(details)}")
    tensor = details[0]
    shape = tuple(int(side) for side in tensor["shape"])
    dtype = np.dtype(tensor["dtype"]).name
    rank = 4 if which == "input" else 2
    if dtype not in ("int8", "float32") or len(shape) != rank or shape[0] != 1 or min(shape) < 1:
        layout = "(1, height, width, channels)" if which == "input" else "(1, classes)"
        raise InterpreterError(f"expected a classifier with an int8 or float32 {which} {layout}, found {dtype} {shape}")
    scales = tensor["quantization_parameters"]["scales"]
    zero_points = tensor["quantization_parameters"]["zero_points"]
    if dtype == "float32":
        return int(tensor["index"]), TensorFacts(shape, dtype, 0.0, 0)
    if len(scales) != 1 or len(zero_points) != 1:
        raise InterpreterError(f"expected one scale and one zero point for the {which}, found {len(scales)} scales")
    return int(tensor["index"]), TensorFacts(shape, dtype, float(scales[0]), int(zero_points[0]))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
