# SPDX-License-Identifier: Apache-2.0
"""What is exported: a bundle, or a bare .tflite whose missing facts are filled in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device import bundle as bundles
from device.bundle import Bundle, Golden
from device.errors import LitesightError
from device.preprocess import InputSpec
from device.progress import Progress, silent
from firmware_export import tflm_oracle
from firmware_export.tflite_reader import Model, ModelError, read_model, require_int8
from firmware_export.tflm_oracle import OracleResult

MAX_CLASSES = 1 << 16
_BARE_GOLDEN_VECTORS = 4
_LARGEST_TFLITE_BYTES = 1 << 30


@dataclass(frozen=True)
class ExportSource:
    """A model with everything an engine needs to know.

    Attributes:
        name: of the model.
        license: SPDX expression, "NOASSERTION" for a bare .tflite.
        data: the flatbuffer.
        sha256: of ``data``, hexadecimal.
        model: the graph of ``data``; fully int8.
        labels: by class index.
        spec: geometry, colour and quantisation of the input.
        is_probability: whether the network ends in a softmax.
        golden: inputs and outputs, the latter confirmed by the oracle just now.
        oracle: what the oracle said of the golden inputs.
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
    oracle: OracleResult


def open_source(path: Path, *, progress: Progress = silent) -> ExportSource:
    """Read a bundle or a .tflite, check it, and run its golden vectors in TFLM.

    Args:
        path: a bundle directory, or a .tflite file. The latter gets labels class0, class1, …, random golden inputs, and
            the assumption that a pixel x is quantised as x - 128, colours in the order RGB.
        progress: wraps the loop over the golden vectors.

    Raises:
        LitesightError: it is damaged, not fully int8, contradicts itself, or TFLM gives other outputs.
    """
    if path.is_file():
        return _bare_source(path, progress)
    return _bundle_source(bundles.load(path), progress)


def check_against_model(bundle: Bundle, model: Model) -> None:
    """Compare what stands both in the manifest and in the flatbuffer.

    Raises:
        BundleError: they differ; the message has both values.
    """
    spec, output = bundle.manifest.input, bundle.manifest.output
    pairs = (
        ("input shape", (1, spec.height, spec.width, spec.channels), model.input.shape),
        ("input scale", _float32(spec.scale), _float32(model.input.scales[0])),
        ("input zero point", spec.zero_point, model.input.zero_points[0]),
        ("number of classes", len(bundle.labels), model.output.elements),
        ("output scale", _float32(output.scale), _float32(model.output.scales[0])),
        ("output zero point", output.zero_point, model.output.zero_points[0]),
        ("output activation", output.activation == "softmax", _ends_in_softmax(model)),
    )
    for what, stated, found in pairs:
        if stated != found:
            raise bundles.BundleError(
                f"{bundle.path} contradicts itself: its manifest says {what} {stated}, its model {found}",
                hint="the bundle was put together by hand; train or convert it again",
            )


def _bundle_source(bundle: Bundle, progress: Progress) -> ExportSource:
    data = bundle.model_bytes()
    model = _int8_model(data, bundle.path / bundles.MODEL)
    check_against_model(bundle, model)
    _check_classes(len(bundle.labels))
    golden = bundle.golden()
    result = tflm_oracle.run(data, golden.inputs, progress=progress)
    if not np.array_equal(result.outputs, golden.outputs):
        differing = int(np.count_nonzero(result.outputs != golden.outputs))
        raise bundles.BundleError(
            f"{bundle.path}: {differing} of {golden.outputs.size} golden output bytes differ from {result.name}",
            hint=f"they were made with {golden.oracle}; litesight verify tells more",
        )
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
        oracle=result,
    )


def _bare_source(path: Path, progress: Progress) -> ExportSource:
    try:
        if path.stat().st_size > _LARGEST_TFLITE_BYTES:
            raise ModelError(f"{path} is larger than {_LARGEST_TFLITE_BYTES >> 20} MiB; no microcontroller holds that")
        data = path.read_bytes()
    except OSError as error:
        raise LitesightError(f"cannot read {path}: {error.strerror}") from error
    model = _int8_model(data, path)
    _, height, width, channels = model.input.shape
    if channels not in (1, 3):
        raise ModelError(f"{path}: expected an input with 1 or 3 channels, found {channels}: {model.input.label}")
    _check_classes(model.output.elements)
    # Whatever the training subtracted and divided by, it spread the pixels 0 to 255 over the int8 range.
    spec = InputSpec(height=height, width=width, channels=channels, color="RGB" if channels == 3 else "GREY")
    inputs = np.random.default_rng(0).integers(-128, 128, (_BARE_GOLDEN_VECTORS, *model.input.shape[1:]), np.int8)
    result = tflm_oracle.run(data, inputs, progress=progress)
    return ExportSource(
        name=path.stem,
        license="NOASSERTION",
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        model=model,
        labels=tuple(f"class{index}" for index in range(model.output.elements)),
        spec=spec,
        is_probability=_ends_in_softmax(model),
        golden=Golden(inputs, result.outputs, result.name),
        oracle=result,
    )


def _int8_model(data: bytes, path: Path) -> Model:
    try:
        model = read_model(data)
        require_int8(model)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error
    return model


def _ends_in_softmax(model: Model) -> bool:
    producers = {index: op.name for op in model.operators for index in op.outputs}
    return producers.get(model.outputs[0]) == "SOFTMAX"


def _check_classes(classes: int) -> None:
    if classes >= MAX_CLASSES:
        raise LitesightError(f"expected fewer than {MAX_CLASSES} classes for a microcontroller, found {classes}")


def _float32(value: float) -> float:
    return float(np.float32(value))
