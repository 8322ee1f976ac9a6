# SPDX-License-Identifier: Apache-2.0
"""``manifest.json``: what a bundle says of itself, parsed without trust."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.errors import LitesightError
from device.preprocess import InputSpec

SCHEMA = 1
ACTIVATIONS = ("none", "softmax")
MAX_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30
"""Of any file of a bundle; it is read into memory whole."""
_SMALLEST_FLOAT32 = 2.0**-126
_LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127


class ManifestError(LitesightError):
    """A manifest that is damaged, of another schema, or not a manifest."""


@dataclass(frozen=True)
class FileFacts:
    """SHA-256 (hexadecimal) and size of a file of the bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class OutputSpec:
    """How to read the int8 outputs: ``real = scale * (q - zero_point)``; then softmax if the activation is "none"."""

    scale: float
    zero_point: int
    activation: str


@dataclass(frozen=True)
class Calibration:
    """How many photos were the representative dataset, and the SHA-256 of their list."""

    n: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The facts of a bundle.

    Attributes:
        name: the model's name.
        license: SPDX expression.
        classes: length of the output.
        input: geometry, colour order and quantisation of the input.
        output: quantisation and activation of the output.
        architecture: variant, width, depth, resolution, stem and head policy.
        ops: TFLite operator names, each once.
        macs: multiply-adds of one inference.
        calibration: the representative dataset.
        metrics: figures of the test split (``float_top1``, ``int8_top1``, … as fractions).
        tools: versions of what made the bundle.
        files: facts by file name.
    """

    name: str
    license: str
    classes: int
    input: InputSpec
    output: OutputSpec
    architecture: Mapping[str, Any]
    ops: tuple[str, ...]
    macs: int
    calibration: Calibration
    metrics: Mapping[str, Any]
    tools: Mapping[str, str]
    files: Mapping[str, FileFacts]


def manifest_bytes(fields: Mapping[str, Any]) -> bytes:
    """The file's content: ``fields``, the schema version, and a hash over both so that no byte can change unnoticed.

    Raises:
        ManifestError: a value that JSON or UTF-8 cannot hold.
    """
    body = {**fields, "schema": SCHEMA}
    try:
        return _canonical({**body, "manifest_sha256": hashlib.sha256(_canonical(body)).hexdigest()})
    # ValueError: NaN, infinity, half of a surrogate pair.
    except (ValueError, TypeError, RecursionError) as error:
        raise ManifestError(f"the manifest has a value that cannot be written: {_shown(str(error))}") from error


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """Read a manifest.

    Args:
        raw: the file's bytes.
        path: for messages.

    Raises:
        ManifestError: damaged, of another schema version, or a field is missing or of the wrong kind.
    """
    if len(raw) > MAX_BYTES:
        raise ManifestError(f"{path} has {len(raw)} bytes; a manifest has at most {MAX_BYTES}")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} is damaged: not JSON", hint="copy the bundle again") from error
    if not isinstance(document, dict):
        raise ManifestError(f"{path} is damaged: expected a JSON object")
    schema = document.get("schema")
    if schema != SCHEMA:
        raise ManifestError(
            f"{path}: expected schema {SCHEMA}, found {_shown(schema)}",
            hint="this bundle needs another version of litesight",
        )
    body = {key: value for key, value in document.items() if key != "manifest_sha256"}
    try:
        intact = manifest_bytes({key: value for key, value in body.items() if key != "schema"}) == raw
    except ManifestError:
        intact = False
    if not intact:
        raise ManifestError(f"{path} is damaged: its own hash does not fit", hint="copy the bundle again")
    return _Reader(path, document).manifest()


def input_fields(spec: InputSpec) -> dict[str, Any]:
    """The manifest's ``input`` object."""
    return {
        "height": spec.height,
        "width": spec.width,
        "channels": spec.channels,
        "color": spec.color,
        "resize": spec.resize,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "scale": spec.scale,
        "zero_point": spec.zero_point,
    }


def _canonical(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False)
    return (text + "\n").encode()


def _shown(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 60 else text[:57] + "…"


def _float32_range(value: object) -> float | None:
    """``value`` if it is a finite number, and 0 or within what float32 holds without loss of range; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared as it is: a whole number may be too large to become a float. A NaN fails every comparison.
    return float(value) if value == 0 or _SMALLEST_FLOAT32 <= abs(value) <= _LARGEST_FLOAT32 else None


class _Reader:
    """Takes typed fields out of a document; says which one is wrong."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self._path = path
        self._document = document

    def manifest(self) -> Manifest:
        return Manifest(
            name=self._text("name"),
            license=self._text("license"),
            classes=self._integer("classes", 1, 100_000),
            input=self._input(),
            output=self._output(),
            architecture=self._object("architecture"),
            ops=tuple(self._printable("ops", op) for op in self._list("ops")),
            macs=self._integer("macs", 0, 1 << 50),
            calibration=Calibration(self._integer("calibration.n", 0, 1 << 30), self._hash("calibration.sha256")),
            metrics=self._object("metrics"),
            tools={
                self._printable("tools", key): self._printable(f"tools.{key}", str(value))
                for key, value in self._object("tools").items()
            },
            files=self._files(),
        )

    def _input(self) -> InputSpec:
        try:
            return InputSpec(
                height=self._integer("input.height", 1, 4096),
                width=self._integer("input.width", 1, 4096),
                channels=self._integer("input.channels", 1, 3),
                color=self._text("input.color"),
                resize=self._text("input.resize"),
                mean=self._numbers("input.mean"),
                std=self._numbers("input.std"),
                scale=self._scale("input.scale"),
                zero_point=self._integer("input.zero_point", -128, 127),
            )
        except ManifestError:
            raise
        except LitesightError as error:
            raise ManifestError(f"{self._path}: {error.message}", hint=error.hint) from error

    def _output(self) -> OutputSpec:
        activation = self._text("output.activation")
        if activation not in ACTIVATIONS:
            raise self._wrong("output.activation", f"one of {', '.join(ACTIVATIONS)}", activation)
        return OutputSpec(self._scale("output.scale"), self._integer("output.zero_point", -128, 127), activation)

    def _files(self) -> dict[str, FileFacts]:
        files = {}
        for name in self._object("files"):
            # A name with a slash could reach outside the bundle.
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
                raise self._wrong("files", "plain file names", name)
            key = f"files/{name}"
            facts = self._document["files"][name]
            if not isinstance(facts, dict):
                raise self._wrong(key, "an object", facts)
            digest, size = facts.get("sha256"), facts.get("bytes")
            if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise self._wrong(f"{key}/sha256", "64 hexadecimal digits", digest)
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FILE_BYTES:
                raise self._wrong(f"{key}/bytes", f"a size of at most {MAX_FILE_BYTES} bytes", size)
            files[name] = FileFacts(digest, size)
        return files

    def _value(self, key: str) -> Any:
        value: Any = self._document
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise ManifestError(f"{self._path}: the field {key} is missing")
            value = value[part]
        return value

    def _text(self, key: str) -> str:
        value = self._value(key)
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "a text", value)
        return self._printable(key, value)

    def _printable(self, key: str, value: object) -> str:
        """These texts go to terminals, where a control character would be obeyed."""
        if not isinstance(value, str) or not value.isprintable():
            raise self._wrong(key, "printable text", value)
        return value

    def _integer(self, key: str, low: int, high: int) -> int:
        value = self._value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(key, f"a whole number from {low} to {high}", value)
        return value

    def _scale(self, key: str) -> float:
        value = self._value(key)
        number = _float32_range(value)
        if number is None or number < _SMALLEST_FLOAT32:
            raise self._wrong(key, "a positive number that float32 can hold", value)
        return number

    def _numbers(self, key: str) -> tuple[float, ...]:
        values = self._list(key)
        numbers = [number for value in values if (number := _float32_range(value)) is not None]
        if len(numbers) != len(values):
            raise self._wrong(key, "a list of numbers that float32 can hold", values)
        return tuple(numbers)

    def _list(self, key: str) -> list[Any]:
        value = self._value(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        return value

    def _object(self, key: str) -> dict[str, Any]:
        value = self._value(key)
        if not isinstance(value, dict):
            raise self._wrong(key, "an object", value)
        return value

    def _hash(self, key: str) -> str:
        value = self._text(key)
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise self._wrong(key, "64 hexadecimal digits", value)
        return value

    def _wrong(self, key: str, expected: str, found: object) -> ManifestError:
        where = key if key.isprintable() else _shown(key)
        return ManifestError(f"{self._path}: {where}: expected {expected}, found {_shown(found)}")
