# SPDX-License-Identifier: Apache-2.0
"""The bundle: the one contract between the host, the Pi and the boards.

A directory with ``model.tflite``, ``labels.txt``, ``manifest.json``, ``calibration.txt``, ``golden.npz``,
``MODEL_CARD.md``, ``report.html`` and, for the host only, ``float.tflite`` (the float32 network that the int8 one was
made from, so that both can be evaluated side by side). A signed one also has ``manifest.sig``, see
:mod:`device.signature`. ``docs/bundle.md`` states every field.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device import atomic
from device.errors import LitesightError
from device.manifest import MAX_BYTES, Manifest, manifest_bytes, parse_manifest
from device.regular_file import RegularFileError, read_regular

MODEL = "model.tflite"
LABELS = "labels.txt"
MANIFEST = "manifest.json"
CALIBRATION = "calibration.txt"
GOLDEN = "golden.npz"
MODEL_CARD = "MODEL_CARD.md"
REPORT = "report.html"
FLOAT_MODEL = "float.tflite"
SEEN = "seen.txt"
SIGNATURE = "manifest.sig"
"""Of the manifest, which covers every other file; so it cannot be listed there."""
SEEN_DIGITS = 16
"""Hexadecimal digits of a photo's SHA-256 in ``seen.txt``: enough to tell photos apart, a quarter of the size."""

REQUIRED = (MODEL, LABELS, CALIBRATION, GOLDEN, MODEL_CARD)
HOST_ONLY = (FLOAT_MODEL, REPORT, SEEN)
"""Files that a device does not need: a bundle without them is whole."""

MAX_GOLDEN_BYTES = 256 << 20


class BundleError(LitesightError):
    """A bundle that is missing, damaged or contradicts itself."""


@dataclass(frozen=True)
class Golden:
    """Inputs and the outputs that the oracle gives for them.

    Attributes:
        inputs: int8, (n, height, width, channels).
        outputs: int8, (n, classes).
        oracle: name and version of the runtime that made the outputs.
    """

    inputs: NDArray[np.int8]
    outputs: NDArray[np.int8]
    oracle: str


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every hash was right when it was loaded."""

    path: Path
    manifest: Manifest
    labels: tuple[str, ...]

    def model_bytes(self) -> bytes:
        """The int8 flatbuffer, checked against its hash again: the file may have changed since the load."""
        return _read_checked(self.path, MODEL, self.manifest)

    def golden(self) -> Golden:
        """The golden vectors.

        Raises:
            BundleError: they do not fit the manifest.
        """
        data = _read_checked(self.path, GOLDEN, self.manifest)
        spec = self.manifest.input
        return parse_golden(data, (spec.height, spec.width, spec.channels), len(self.labels), self.path / GOLDEN)

    @property
    def float_model_path(self) -> Path | None:
        """The float32 network, or None in a bundle stripped for a device."""
        path = self.path / FLOAT_MODEL
        return path if FLOAT_MODEL in self.manifest.files and path.is_file() else None

    def seen_photos(self) -> frozenset[str]:
        """The first ``SEEN_DIGITS`` digits of the SHA-256 of every photo that training saw; empty if it is not told."""
        if SEEN not in self.manifest.files or not (self.path / SEEN).exists():
            return frozenset()
        return frozenset(_read_checked(self.path, SEEN, self.manifest).decode("ascii", "replace").split())

    @property
    def device_files(self) -> tuple[str, ...]:
        """Names of the files that a device needs, the manifest and a signature among them; sorted."""
        extra = (MANIFEST, SIGNATURE) if (self.path / SIGNATURE).exists() else (MANIFEST,)
        return tuple(sorted({*self.manifest.files, *extra} - {*HOST_ONLY}))

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the int8 flatbuffer, hexadecimal: the model's identity everywhere."""
        return self.manifest.files[MODEL].sha256


def load(path: Path) -> Bundle:
    """Read a bundle and check every file against the manifest.

    Raises:
        BundleError: no bundle there, a file is missing, a byte differs, or the files contradict one another.
    """
    if not path.exists():
        raise BundleError(
            f"no bundle at {path}: no such directory", hint="make one with: litesight train PHOTOS -o BUNDLE"
        )
    if not path.is_dir():
        raise BundleError(f"{path} is a file; expected a bundle directory with {MANIFEST} in it")
    try:
        raw = read_regular(path / MANIFEST, MAX_BYTES)
    except FileNotFoundError as error:
        where = "the current directory" if path == Path() else path
        raise BundleError(f"{where} is not a bundle: it has no {MANIFEST}") from error
    except RegularFileError as error:
        raise BundleError(f"{path} is not a bundle: {error.message}") from error
    except OSError as error:
        raise BundleError(f"cannot read {path / MANIFEST}: {error.strerror}") from error
    manifest = parse_manifest(raw, path / MANIFEST)
    for name in REQUIRED:
        if name not in manifest.files:
            raise BundleError(f"{path / MANIFEST} lists no {name}; every bundle has one")
    for name in manifest.files:
        if name in HOST_ONLY and not (path / name).exists():
            continue
        _read_checked(path, name, manifest)
    labels = parse_labels(_read_checked(path, LABELS, manifest), path / LABELS)
    if len(labels) != manifest.classes:
        raise BundleError(
            f"{path}: {LABELS} has {len(labels)} labels, the manifest says {manifest.classes} classes",
            hint="the bundle was put together by hand; export it again",
        )
    return Bundle(path, manifest, labels)


def is_bundle(path: Path) -> bool:
    """Whether ``path`` is a directory that holds a bundle's files, whole or damaged, and nothing else.

    Only such a directory may be replaced: many other things have a ``manifest.json``, and people keep notes.
    """
    try:
        document = json.loads(read_regular(path / MANIFEST, MAX_BYTES))
        present = {entry.name for entry in path.iterdir()}
    except (LitesightError, OSError, ValueError, RecursionError):
        return False
    if not isinstance(document, dict) or not isinstance(document.get("files"), dict):
        return False
    return "manifest_sha256" in document and present <= {MANIFEST, SIGNATURE, *document["files"]}


def write(path: Path, files: Mapping[str, bytes], fields: Mapping[str, Any]) -> Bundle:
    """Write a bundle in one step: a crash leaves the old one or the new one.

    Args:
        path: the bundle's directory; an existing bundle is replaced.
        files: content by file name, all of ``REQUIRED`` among them; not the manifest.
        fields: the manifest but for ``schema``, ``files`` and the hash.

    Raises:
        BundleError: a required file is missing or the fields are not a valid manifest.
        LitesightError: the place cannot be written.
    """
    missing = [name for name in REQUIRED if name not in files]
    if missing:
        raise BundleError(f"a bundle needs {', '.join(missing)}")
    listing = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in sorted(files.items())
    }
    raw = manifest_bytes({**fields, "files": listing})
    parse_manifest(raw, path / MANIFEST)
    with atomic.new_directory(path, is_ours=is_bundle, kind="bundle") as directory:
        for name, data in files.items():
            (directory / name).write_bytes(data)
        (directory / MANIFEST).write_bytes(raw)
        load(directory)
    return load(path)


def golden_bytes(inputs: NDArray[np.int8], outputs: NDArray[np.int8], oracle: str) -> bytes:
    """The content of ``golden.npz``; the same vectors give the same bytes."""
    stream = io.BytesIO()
    np.savez_compressed(stream, inputs=inputs, outputs=outputs, oracle=np.array(oracle))
    return stream.getvalue()


def parse_golden(data: bytes, shape: tuple[int, int, int], classes: int, path: Path) -> Golden:
    """Read ``golden.npz`` without trusting it.

    Args:
        data: the file.
        shape: height, width and channels of one input.
        classes: length of one output.
        path: for messages.

    Raises:
        BundleError: not such a file, or vectors of another shape.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_GOLDEN_BYTES:
            raise BundleError(f"{path} would unpack to {size} bytes; at most {MAX_GOLDEN_BYTES} are expected")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            inputs, outputs, oracle = arrays["inputs"], arrays["outputs"], str(arrays["oracle"])
    except BundleError:
        raise
    except Exception as error:
        # zipfile, zlib and numpy's header parser raise a dozen types on damaged bytes; each is the same fault here.
        raise BundleError(f"{path} is not a file of golden vectors: {_first_line(error)}") from error
    expected = f"int8 {('n', *shape)} and int8 ('n', {classes})"
    found = f"{inputs.dtype} {inputs.shape} and {outputs.dtype} {outputs.shape}"
    fits = (
        inputs.dtype == np.int8
        and outputs.dtype == np.int8
        and inputs.shape[1:] == shape
        and outputs.shape == (inputs.shape[0], classes)
        and inputs.shape[0] > 0
    )
    if not fits:
        raise BundleError(f"{path}: expected {expected}, found {found}")
    if not oracle.isprintable():
        raise BundleError(f"{path}: expected the printable name of an oracle, found {oracle[:60]!r}")
    return Golden(inputs, outputs, oracle)


def parse_labels(data: bytes, path: Path) -> tuple[str, ...]:
    """One label a line, UTF-8.

    Raises:
        BundleError: not UTF-8, an empty line, a label twice, or one with a character that a terminal would obey.
    """
    try:
        labels = data.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8 text") from error
    seen: set[str] = set()
    for number, label in enumerate(labels, 1):
        if not label.strip():
            raise BundleError(f"{path}, line {number}: expected a label, found an empty line")
        if not label.isprintable():
            raise BundleError(f"{path}, line {number}: expected a printable label, found {label[:60]!r}")
        if label in seen:
            raise BundleError(f"{path}, line {number}: the label {label!r} stands there twice")
        seen.add(label)
    return tuple(labels)


def labels_bytes(labels: tuple[str, ...]) -> bytes:
    """The content of ``labels.txt``."""
    return ("\n".join(labels) + "\n").encode()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read_checked(directory: Path, name: str, manifest: Manifest) -> bytes:
    path = directory / name
    facts = manifest.files[name]
    try:
        size = path.stat().st_size
        if path.is_file() and size != facts.bytes:
            raise BundleError(
                f"{path} is damaged: the manifest says {facts.bytes} bytes, found {size}", hint="copy the bundle again"
            )
        data = read_regular(path, facts.bytes)
    except RegularFileError as error:
        raise BundleError(f"{error.message}", hint="copy the bundle again") from error
    except FileNotFoundError as error:
        raise BundleError(f"{directory} is not whole: {name} is missing", hint="copy the bundle again") from error
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != facts.sha256:
        raise BundleError(
            f"{path} is damaged: its SHA-256 is {found[:12]}…, the manifest says {facts.sha256[:12]}…",
            hint="copy the bundle again",
        )
    return data
