# SPDX-License-Identifier: Apache-2.0
"""Other engines that may run a bundle's network on this machine, to be timed beside the kit's own.

None of them is a dependency: each is imported when it is asked for, and one that cannot be used here says why.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from device.bundle import FLOAT_MODEL, MODEL, Bundle
from device.errors import LitesightError
from device.interpreter import open_interpreter
from device.manifest import MAX_FILE_BYTES
from device.preprocess import InputSpec
from device.quiet import native_stderr
from device.regular_file import read_regular

ONNX_MODEL: Final = "model.onnx"
"""Looked for beside ``model.tflite`` where no ONNX file is named."""

Array: TypeAlias = NDArray[Any]


class AbsentError(LitesightError):
    """Why a peer cannot be timed here."""


@dataclass(frozen=True)
class Engine:
    """A peer with a network in it, ready to run.

    Attributes:
        name: as in the record: the package's name.
        version: of the package.
        network: which file, and the numbers that it computes with, such as "float.tflite, float32".
        prepare: from the kit's input, int8 (height, width, channels), to what the engine takes: a batch, other numbers,
            planes. Never timed, so that no engine pays for what its user would have done in preprocessing.
        run: from that to the scores, (classes,), of which the largest is the answer.
    """

    name: str
    version: str
    network: str
    prepare: Callable[[NDArray[np.int8]], Array]
    run: Callable[[Array], Array]


@dataclass(frozen=True)
class Peer:
    """An engine that may be installed here.

    Attributes:
        name: for messages.
        open: ``open(bundle, threads, onnx)``; raises AbsentError. ``onnx`` is the network as an ONNX file, if given.
    """

    name: str
    open: Callable[[Bundle, int, Path | None], Engine]


def open_peer(peer: Peer, bundle: Bundle, threads: int, onnx: Path | None = None) -> Engine:
    """The peer, after it has answered once.

    Args:
        threads: of one inference. Those of OpenCV belong to the process: whoever measures sets them.
        onnx: the network as an ONNX file; None looks for ``model.onnx`` in the bundle's directory.

    Raises:
        AbsentError: it is not installed, refuses the network, or needs a file that is not there.
    """
    spec = bundle.manifest.input
    try:
        with native_stderr():
            engine = peer.open(bundle, threads, onnx)
            scores = engine.run(engine.prepare(np.zeros((spec.height, spec.width, spec.channels), np.int8)))
    except LitesightError as error:
        raise AbsentError(error.message, hint=error.hint) from error
    # Whatever a foreign engine throws at a network that it cannot run: the bench goes on without it.
    except Exception as error:
        raise AbsentError(f"cannot run the network: {_one_line(error)}") from error
    if scores.shape != (len(bundle.labels),):
        raise AbsentError(f"expected {len(bundle.labels)} scores, one per label, found shape {scores.shape}")
    return engine


def _open_litert(bundle: Bundle, threads: int, onnx: Path | None) -> Engine:
    interpreter = open_interpreter(bundle.model_bytes(), threads, xnnpack=False)
    name, _, version = interpreter.runtime.partition(" ")
    return Engine(f"{name}, no delegate", version, f"{MODEL}, int8", np.asarray, interpreter.invoke)


def _open_tflite_runtime(bundle: Bundle, threads: int, onnx: Path | None) -> Engine:
    package = _import("tflite_runtime", "tflite-runtime")
    # It can be imported under numpy 2 all the same; the first interpreter then fails with a SystemError.
    if int(np.__version__.partition(".")[0]) >= 2:
        raise AbsentError(f"tflite-runtime was built for numpy 1, found numpy {np.__version__}")
    native = importlib.import_module("tflite_runtime.interpreter").Interpreter(
        model_content=bundle.model_bytes(), num_threads=threads
    )
    native.allocate_tensors()
    source, target = native.get_input_details()[0]["index"], native.get_output_details()[0]["index"]

    def run(x: Array) -> Array:
        native.set_tensor(source, x)
        native.invoke()
        return _flat(native.get_tensor(target))

    return Engine("tflite-runtime", str(package.__version__), f"{MODEL}, int8", lambda x: x[np.newaxis], run)


def _open_opencv(bundle: Bundle, threads: int, onnx: Path | None) -> Engine:
    """The int8 network where OpenCV can run it, else the float one.

    OpenCV 5.0 and 5.1 refuse the int8 network of an EfficientNet-Lite: they have no layer for an int8 MEAN.
    """
    import cv2

    def run_with(net: Any, x: Array) -> Array:
        net.setInput(x)
        return _flat(net.forward())

    def opened(path: Path, numbers: str, prepare: Callable[[NDArray[np.int8]], Array]) -> Engine:
        run = functools.partial(run_with, cv2.dnn.readNetFromTFLite(str(path)))
        return Engine("opencv-dnn", str(cv2.__version__), f"{path.name}, {numbers}", prepare, run)

    spec = bundle.manifest.input
    try:
        engine = opened(bundle.path / MODEL, "int8", _planes)
        engine.run(_planes(np.zeros((spec.height, spec.width, spec.channels), np.int8)))
        return engine
    except cv2.error as error:
        refusal = f"OpenCV {cv2.__version__} refuses the int8 network ({_one_line(error)})"
    if bundle.float_model_path is None:
        raise AbsentError(f"{refusal}, and the bundle has no {FLOAT_MODEL}", hint="copy the bundle with it")
    return opened(bundle.float_model_path, "float32", lambda x: _planes(_real(x, spec)))


def _open_onnx_runtime(bundle: Bundle, threads: int, onnx: Path | None) -> Engine:
    path = onnx or bundle.path / ONNX_MODEL
    runtime = _import("onnxruntime", "onnxruntime")
    try:
        content = read_regular(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        wanted = "no such file" if onnx else f"the bundle has no {ONNX_MODEL}"
        raise AbsentError(f"{path}: {wanted}", hint="give the same network as an ONNX file: --onnx FILE") from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # only what ends the process
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    if len(session.get_inputs()) != 1:
        raise AbsentError(f"{path}: expected a classifier with one input, found {len(session.get_inputs())}")
    (tensor,) = session.get_inputs()
    kind = _onnx_numbers(content)
    prepare = _onnx_input(str(tensor.type), list(tensor.shape), bundle.manifest.input, path)
    name, outputs = tensor.name, [session.get_outputs()[0].name]
    return Engine(
        "onnxruntime",
        str(runtime.__version__),
        f"{path.name}, {kind}",
        prepare,
        lambda x: _flat(session.run(outputs, {name: x})[0]),
    )


PEERS: Final = (
    Peer("LiteRT without the delegate", _open_litert),
    Peer("tflite-runtime", _open_tflite_runtime),
    Peer("ONNX Runtime", _open_onnx_runtime),
    Peer("OpenCV DNN", _open_opencv),
)
"""In the order in which they are timed."""


def _onnx_numbers(content: bytes) -> str:
    """An ONNX file names its operators in plain text; one of these makes int8 of what flows between them."""
    return "int8" if b"QuantizeLinear" in content or b"QLinearConv" in content else "float32"


def _onnx_input(kind: str, shape: list[Any], spec: InputSpec, path: Path) -> Callable[[NDArray[np.int8]], Array]:
    """How the kit's int8 input becomes the one that an ONNX network declares."""
    numbers: dict[str, Callable[[NDArray[np.int8]], Array]] = {
        "tensor(int8)": np.asarray,
        # The same quantisation in other clothes: 128 more, and the zero point too.
        "tensor(uint8)": lambda x: x.view(np.uint8) ^ np.uint8(0x80),
        "tensor(float)": lambda x: _real(x, spec),
    }
    layouts: dict[tuple[int, int, int], Callable[[Array], Array]] = {
        (spec.height, spec.width, spec.channels): lambda x: x[np.newaxis],
        (spec.channels, spec.height, spec.width): _planes,
    }
    convert, arrange = numbers.get(kind), layouts.get(tuple(shape[1:]))
    if convert is None or arrange is None:
        wanted = f"int8, uint8 or float (1, {spec.height}, {spec.width}, {spec.channels}), or channels first"
        raise AbsentError(f"{path}: expected an input {wanted}, found {kind} {tuple(shape)}")
    return lambda x: np.ascontiguousarray(arrange(convert(x)))


def _real(x: NDArray[np.int8], spec: InputSpec) -> NDArray[np.float32]:
    """The numbers that the int8 input stands for."""
    return ((x.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)).astype(np.float32)


def _planes(x: Array) -> Array:
    """(height, width, channels) → (1, channels, height, width)."""
    return np.ascontiguousarray(x.transpose(2, 0, 1)[np.newaxis])


def _flat(scores: Any) -> Array:
    return np.asarray(scores).reshape(-1)


def _import(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise AbsentError(f"{package} is not installed") from error
        raise


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
