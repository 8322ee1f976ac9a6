# SPDX-License-Identifier: Apache-2.0
"""What is exported: a bundle, or a bare .tflite whose missing facts are filled in."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device import bundle as bundles
from device.bundle import Bundle, Golden
from device.errors import LitesightError
from device.network_facts import NetworkFacts, TensorFacts, activation_of, compare
from device.preprocess import InputSpec
from device.progress import Progress, silent
from firmware_export import tflm_oracle
from firmware_export.arena import planned_head_bytes
from firmware_export.bundle_check import check_manifest
from firmware_export.int8_core import int8_core
from firmware_export.tflite_reader import Model, ModelError, read_model, require_int8
from firmware_export.tflm_oracle import OracleError

MAX_CLASSES = 1 << 16
_BARE_GOLDEN_VECTORS = 4
_LARGEST_TFLITE_BYTES = 1 << 30
_LARGEST_ARENA_BYTES = 2 << 30
_ARENA_METRIC = "tflm_arena_bytes"

MEASURED = "measured"
FROM_MANIFEST = "manifest"


@dataclass(frozen=True)
class HostArena:
    """The smallest arena with which TFLM ran the model on a 64-bit host.

    Attributes:
        bytes: its size.
        oracle: name and version of the TFLM that ran.
        source: MEASURED just now, or FROM_MANIFEST: when the bundle was made, on another machine.
    """

    bytes: int
    oracle: str
    source: str


@dataclass(frozen=True)
class ExportSource:
    """A model with everything an engine needs to know.

    Attributes:
        name: of the model.
        license: SPDX expression, "NOASSERTION" for a bare .tflite.
        data: the flatbuffer.
        sha256: of ``data``, hexadecimal.
        model: the graph of ``data``, or its int8 core when its edges are float32 or uint8.
        labels: by class index.
        spec: geometry, colour and quantisation of the input.
        is_probability: whether the network ends in a softmax.
        golden: inputs and outputs, the latter of TFLM; confirmed just now where the arena was measured just now.
        arena: what TFLM needs on a host.
    """

    name: str
    license: str
    data: bytes
    sha256: str
    model: Model
    labels: tuple[str, ...]
    spec: InputSpec
    is_probability: bool
    golden: Golden
    arena: HostArena


def open_source(path: Path, *, int8_edges: bool = True, progress: Progress = silent) -> ExportSource:
    """Read a bundle or a .tflite, check it, and run its golden vectors in TFLM.

    TFLM's package exists for x86-64 Linux only. Elsewhere a bundle that was proved and measured where it was made is
    taken at its word; a bare .tflite needs TFLM.

    Args:
        path: a bundle directory, or a .tflite file. The latter gets labels class0, class1, …, random golden inputs, and
            the assumption that a pixel x is quantised as x - 128, colours in the order RGB.
        int8_edges: whether input and output of a .tflite must be int8 themselves; if not, float32 or uint8 ones with
            QUANTIZE and DEQUANTIZE are cut off. A bundle's always are int8.
        progress: wraps the loop over the golden vectors.

    Raises:
        LitesightError: it is damaged, not fully int8, contradicts itself, TFLM gives other outputs, or TFLM is missing
            and was missing when the bundle was made.
    """
    if path.is_file():
        return _bare_source(path, int8_edges, progress)
    return _bundle_source(bundles.load(path), progress)


def check_against_model(bundle: Bundle, model: Model) -> None:
    """Compare what stands both in the manifest and in the flatbuffer.

    Raises:
        BundleError: they differ; the message has both values.
    """
    source, target = model.input, model.output
    facts = NetworkFacts(
        TensorFacts(source.shape, source.dtype, source.scales[0], source.zero_points[0]),
        TensorFacts((1, target.elements), target.dtype, target.scales[0], target.zero_points[0]),
        activation_of(_last_operator(model)),
    )
    compare(bundle, facts)


def _bundle_source(bundle: Bundle, progress: Progress) -> ExportSource:
    data = bundle.model_bytes()
    model = _int8_model(data, bundle.path / bundles.MODEL)
    check_against_model(bundle, model)
    check_manifest(bundle, model)
    _check_classes(len(bundle.labels))
    golden = bundle.golden()
    try:
        tflm_oracle.version()
    except OracleError as error:
        arena = _stated_arena(bundle, model, golden, error)
    else:
        arena = _measured_arena(bundle, data, golden, progress)
    return ExportSource(
        name=bundle.manifest.name,
        license=bundle.manifest.license,
        data=data,
        sha256=bundle.model_sha256,
        model=model,
        labels=bundle.labels,
        spec=bundle.manifest.input,
        is_probability=bundle.manifest.output.activation == "softmax",
        golden=golden,
        arena=arena,
    )


def _measured_arena(bundle: Bundle, data: bytes, golden: Golden, progress: Progress) -> HostArena:
    result = tflm_oracle.run(data, golden.inputs, progress=progress)
    if not np.array_equal(result.outputs, golden.outputs):
        differing = int(np.count_nonzero(result.outputs != golden.outputs))
        raise bundles.BundleError(
            f"{bundle.path}: {differing} of {golden.outputs.size} golden output bytes differ from {result.name}",
            hint=f"they were made with {golden.oracle}; litesight verify tells more",
        )
    return HostArena(result.arena_bytes, result.name, MEASURED)


def _stated_arena(bundle: Bundle, model: Model, golden: Golden, missing: OracleError) -> HostArena:
    """What TFLM said when the bundle was made, where there is no TFLM to ask again."""
    stated = bundle.manifest.metrics.get(_ARENA_METRIC)
    if stated is None or not tflm_oracle.made(golden.oracle):
        raise bundles.BundleError(
            f"cannot export {bundle.path}: {missing.message}, and none ran the model when the bundle was made",
            hint="make the bundle or export it on x86-64 Linux, where TFLM's package exists",
        ) from missing
    activations = planned_head_bytes(model, [0] * len(model.operators))
    if not isinstance(stated, int) or isinstance(stated, bool) or not activations < stated <= _LARGEST_ARENA_BYTES:
        raise bundles.BundleError(
            f"{bundle.path / bundles.MANIFEST}: metrics.{_ARENA_METRIC}: expected more than the {activations} bytes of "
            f"the activations, found {str(ascii(stated))[:40]}",
            hint="the bundle was put together by hand; train or convert it again",
        )
    return HostArena(stated, golden.oracle, FROM_MANIFEST)


def _bare_source(path: Path, int8_edges: bool, progress: Progress) -> ExportSource:
    try:
        if path.stat().st_size > _LARGEST_TFLITE_BYTES:
            raise ModelError(f"{path} is larger than {_LARGEST_TFLITE_BYTES >> 20} MiB; no microcontroller holds that")
        data = path.read_bytes()
    except OSError as error:
        raise LitesightError(f"cannot read {path}: {error.strerror}") from error
    model = _int8_model(data, path, int8_edges=int8_edges)
    _, height, width, channels = model.input.shape
    if channels not in (1, 3):
        raise ModelError(f"{path}: expected an input with 1 or 3 channels, found {channels}: {model.input.label}")
    _check_classes(model.output.elements)
    # Whatever the training subtracted and divided by, it spread the pixels 0 to 255 over the int8 range.
    spec = InputSpec(height=height, width=width, channels=channels, color="RGB" if channels == 3 else "GREY")
    inputs = np.random.default_rng(0).integers(-128, 128, (_BARE_GOLDEN_VECTORS, *model.input.shape[1:]), np.int8)
    result = tflm_oracle.run(data, inputs, progress=progress)
    return ExportSource(
        # A file's name may hold bytes that are not UTF-8; the sources are.
        name=os.fsencode(path.stem).decode("utf-8", "replace"),
        license="NOASSERTION",
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        model=model,
        labels=tuple(f"class{index}" for index in range(model.output.elements)),
        spec=spec,
        is_probability=activation_of(_last_operator(model)) == "softmax",
        golden=Golden(inputs, result.outputs, result.name),
        arena=HostArena(result.arena_bytes, result.name, MEASURED),
    )


def _int8_model(data: bytes, path: Path, *, int8_edges: bool = True) -> Model:
    try:
        model = read_model(data) if int8_edges else int8_core(read_model(data))
        require_int8(model)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error
    return model


def _last_operator(model: Model) -> str | None:
    producers = {index: op.name for op in model.operators for index in op.outputs}
    return producers.get(model.outputs[0])


def _check_classes(classes: int) -> None:
    if classes >= MAX_CLASSES:
        raise LitesightError(f"expected fewer than {MAX_CLASSES} classes for a microcontroller, found {classes}")
