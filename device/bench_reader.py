# SPDX-License-Identifier: Apache-2.0
"""Reads bench files without trust, whoever wrote them: a Pi's, a board's, an emulator's.

A field that this version does not know is passed over: a field never changes its meaning under the same schema number.
Texts are taken as they are; whoever shows them must escape what a terminal or a page would obey.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from device.bench_record import (
    FIGURES,
    PERCENTILES,
    SCHEMA,
    TARGET_KINDS,
    Conditions,
    ModelFacts,
    OpFigures,
    Reading,
    Record,
    Run,
    Series,
    Target,
)
from device.errors import LitesightError
from device.machine import MachineFacts, MachineState
from device.regular_file import RegularFileError, read_regular

MAX_RECORD_BYTES: Final = 64 << 20
MAX_RUNS: Final = 256
MAX_OPS: Final = 10_000
MAX_TEXT: Final = 4096

LONGEST_MS: Final = 86_400_000.0
"""A day. Longer than any frame takes; a larger number is damage, or another unit."""
LARGEST_FIGURE: Final = 1e15

_MEAN_TOLERANCE: Final = 2e-3
"""The mean of samples that were rounded to 1/1000."""

T = TypeVar("T")
_Number = int | float


class RecordError(LitesightError):
    """A bench file that is missing, damaged, of another schema, or that contradicts itself."""


def read_record(path: Path) -> Record:
    """The record in the file ``path``.

    Raises:
        RecordError: missing, unreadable, too large, or as :func:`parse_record`.
    """
    try:
        data = read_regular(path, MAX_RECORD_BYTES)
    except FileNotFoundError as error:
        raise RecordError(f"no bench file at {path}", hint="write one with: litesight bench BUNDLE -o FILE") from error
    except RegularFileError as error:
        raise RecordError(error.message) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecordError(f"cannot read {path}: {reason}") from error
    return parse_record(data, str(path))


def parse_record(data: bytes, name: str) -> Record:
    """Read a bench file's content.

    Args:
        data: of the file.
        name: for messages.

    Raises:
        RecordError: not JSON, another schema, a field that is missing or of the wrong kind, a number that is not
            finite or absurd, or a summary that does not fit its samples.
    """
    try:
        document = json.loads(data, parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{name} is no bench file: not JSON", hint="litesight bench BUNDLE -o FILE writes one"
        ) from error
    return from_json(document, name)


def from_json(document: object, name: str) -> Record:
    """The record that :meth:`Record.to_json` made ``document`` of; as :func:`parse_record` otherwise."""
    root = _Object(name, "", document)
    schema = root.get("schema")
    if schema != SCHEMA:
        raise RecordError(
            f"{name}: expected the schema {SCHEMA}, found {_shown(schema)}",
            hint="it is no bench file, or one of another version of litesight",
        )
    return Record(
        created=root.text("created"),
        litesight=root.text("litesight"),
        model=_model(root.child("model")),
        target=_target(root.child("target")),
        runs=root.each("runs", _run, MAX_RUNS, least=1),
        peers=root.optional("peers", lambda: root.each("peers", _peer, MAX_RUNS)) or (),
    )


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _model(fields: _Object) -> ModelFacts:
    sides = fields.array("input", 3)
    if len(sides) != 3 or not all(_is_integer(side) and 1 <= side <= 65_536 for side in sides):
        raise fields.wrong("input", "height, width and channels", sides)
    sha256 = fields.text("sha256")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise fields.wrong("sha256", "64 hexadecimal digits", sha256)
    height, width, channels = sides
    return ModelFacts(
        name=fields.text("name"),
        sha256=sha256,
        bytes=fields.integer("bytes", 0, 1 << 40),
        input=(height, width, channels),
        classes=fields.integer("classes", 1, 1 << 30),
        macs=fields.integer("macs", 0, 1 << 60),
    )


def _target(fields: _Object) -> Target:
    kind = fields.text("kind")
    if kind not in TARGET_KINDS:
        raise fields.wrong("kind", f"one of {', '.join(TARGET_KINDS)}", kind)
    return Target(kind, fields.text("id"), fields.optional("machine", lambda: _machine(fields.child("machine"))))


def _machine(fields: _Object) -> MachineFacts:
    return MachineFacts(
        board=fields.optional("board", lambda: fields.text("board")),
        cpu=fields.optional("cpu", lambda: fields.text("cpu")),
        architecture=fields.text("architecture"),
        cores=fields.integer("cores", 1, 1 << 20),
        features=fields.texts("features"),
        memory_bytes=fields.optional("memory_bytes", lambda: fields.integer("memory_bytes", 0, 1 << 60)),
        system=fields.text("system"),
        python=fields.text("python"),
    )


def _run(fields: _Object) -> Run:
    return Run(
        engine=fields.text("engine"),
        version=fields.text("version"),
        settings={key: _setting(fields, key, value) for key, value in fields.child("settings").items()},
        source=_source(fields.child("source")),
        stages=_stages(fields.child("stages")),
        figures=_figures(fields.child("figures")),
        ops=fields.each("ops", _op, MAX_OPS),
        before=fields.optional("before", lambda: _state(fields.child("before"))),
        after=fields.optional("after", lambda: _state(fields.child("after"))),
        conditions=fields.optional("conditions", lambda: _conditions(fields.child("conditions"))),
    )


def _peer(fields: _Object) -> Run:
    run = _run(fields)
    if "invoke" not in run.stages:
        raise fields.wrong("stages", "the stage invoke", sorted(run.stages))
    return run


def _setting(fields: _Object, key: str, value: object) -> int | float | str | bool:
    if isinstance(value, bool) or _is_number(value) or (isinstance(value, str) and len(value) <= MAX_TEXT):
        return value  # type: ignore[return-value]
    raise fields.wrong(f"settings.{key}", "a number, a text, true or false", value)


def _source(fields: _Object) -> dict[str, Any]:
    return {
        "kind": fields.text("kind"),
        "name": fields.optional("name", lambda: fields.text("name", empty=True)),
        "width": fields.integer("width", 0, 65_536),
        "height": fields.integer("height", 0, 65_536),
    }


def _stages(stages: _Object) -> dict[str, Series]:
    series = {}
    for name in stages:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
            raise stages.wrong(name, "a stage such as invoke", name)
        series[name] = _series(stages.child(name))
    return series


def _series(fields: _Object) -> Series:
    unit, samples = fields.text("unit"), fields.array("samples", None)
    if unit != "ms":
        raise fields.wrong("unit", "ms", unit)
    if not samples:
        raise fields.wrong("samples", "at least one sample", samples)
    for number, sample in enumerate(samples):
        if not _is_number(sample) or not 0 <= sample <= LONGEST_MS:
            raise fields.wrong(f"samples.{number}", f"milliseconds from 0 to {LONGEST_MS:.0f}", sample)
    series = Series(unit, tuple(float(sample) for sample in samples))
    found = fields.integer("n", 1, 1 << 40)
    if found != len(samples):
        raise fields.wrong("n", f"{len(samples)}, as many as there are samples", found)
    said = {
        "min": min(series.samples),
        "max": max(series.samples),
        **{f"p{percent}": series.percentile(percent) for percent in PERCENTILES},
    }
    for key, expected in said.items():
        if fields.number(key, 0, LONGEST_MS) != expected:
            raise fields.wrong(key, f"{expected:g}, as the samples have it", fields.get(key))
    mean = fields.number("mean", 0, LONGEST_MS)
    if not math.isclose(mean, series.mean, rel_tol=1e-9, abs_tol=_MEAN_TOLERANCE):
        raise fields.wrong("mean", f"{series.mean:g}, as the samples have it", mean)
    return series


def _figures(fields: _Object) -> dict[str, float | None]:
    return {
        name: fields.optional(name, lambda name=name: fields.number(name, 0, LARGEST_FIGURE))  # type: ignore[misc]
        for name in fields
        if name in FIGURES
    }


def _op(fields: _Object) -> OpFigures:
    figures = {name: value for name, value in _figures(fields.child("figures")).items() if value is not None}
    return OpFigures(fields.integer("index", 0, 1 << 30), fields.text("op", empty=True), figures)


def _state(fields: _Object) -> MachineState:
    state = MachineState(
        temperature_c=fields.optional("temperature_c", lambda: fields.number("temperature_c", -100, 1000)),
        throttled=fields.optional("throttled", lambda: fields.integer("throttled", 0, 0xFFFF_FFFF)),
        governor=fields.optional("governor", lambda: fields.text("governor")),
        clock_mhz=fields.optional("clock_mhz", lambda: fields.number("clock_mhz", 0, 1_000_000)),
    )
    reasons = fields.optional("throttle_reasons", lambda: fields.texts("throttle_reasons"))
    if reasons != state.throttle_reasons:
        raise fields.wrong("throttle_reasons", f"{state.throttle_reasons}, as the bits have it", reasons)
    return state


def _conditions(fields: _Object) -> Conditions:
    return Conditions(
        affinity=fields.optional("affinity", lambda: _cores(fields)),
        cores=fields.integer("cores", 1, 1 << 20),
        load_1min=fields.optional("load_1min", lambda: fields.number("load_1min", 0, 1_000_000)),
        readings=fields.each("readings", _reading, 10_000),
        temperature_max_c=fields.optional("temperature_max_c", lambda: fields.number("temperature_max_c", -100, 1000)),
        throttled=fields.optional("throttled", lambda: fields.integer("throttled", 0, 0xFFFF_FFFF)),
    )


def _cores(fields: _Object) -> tuple[int, ...]:
    cores = fields.array("affinity", 1 << 16)
    if not all(_is_integer(core) and 0 <= core < 1 << 20 for core in cores):
        raise fields.wrong("affinity", "numbers of cores", cores)
    return tuple(cores)


def _reading(fields: _Object) -> Reading:
    return Reading(
        frame=fields.integer("frame", 0, 1 << 40),
        temperature_c=fields.optional("temperature_c", lambda: fields.number("temperature_c", -100, 1000)),
        throttled=fields.optional("throttled", lambda: fields.integer("throttled", 0, 0xFFFF_FFFF)),
        clock_mhz=fields.optional("clock_mhz", lambda: fields.number("clock_mhz", 0, 1_000_000)),
    )


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    """Finite. A whole number may be too large to become a float, so it is compared as it is."""
    if isinstance(value, float):
        return math.isfinite(value)
    return _is_integer(value) and abs(value) < 1 << 63  # type: ignore[arg-type]


def _shown(found: object) -> str:
    # Numbers of more than 4300 digits cannot be written.
    text = "a huge number" if _is_integer(found) and not _is_number(found) else ascii(found)
    return text if len(text) <= 60 else text[:57] + "…"


class _Object:
    """Takes typed fields out of a JSON object; says which one is wrong."""

    def __init__(self, name: str, place: str, value: object) -> None:
        self._name = name
        self._place = place
        if not isinstance(value, dict):
            where = f"{name}: {place}" if place else name
            raise RecordError(f"{where}: expected a JSON object, found {_shown(value)}")
        self._fields: Mapping[str, Any] = value

    def __iter__(self) -> Any:
        return iter(self._fields)

    def items(self) -> Any:
        return self._fields.items()

    def get(self, key: str) -> Any:
        return self._fields.get(key)

    def value(self, key: str) -> Any:
        if key not in self._fields:
            raise RecordError(f"{self._name}: the field {self._path(key)} is missing")
        return self._fields[key]

    def optional(self, key: str, read: Callable[[], T]) -> T | None:
        """None if the field is null, or missing, as in a file of an earlier version."""
        return None if self._fields.get(key) is None else read()

    def child(self, key: str) -> _Object:
        return _Object(self._name, self._path(key), self.value(key))

    def each(self, key: str, read: Callable[[_Object], T], most: int, least: int = 0) -> tuple[T, ...]:
        values = self.array(key, most)
        if len(values) < least:
            raise self.wrong(key, f"at least {least}", values)
        return tuple(
            read(_Object(self._name, f"{self._path(key)}.{number}", value)) for number, value in enumerate(values)
        )

    def array(self, key: str, most: int | None) -> list[Any]:
        value = self.value(key)
        if not isinstance(value, list):
            raise self.wrong(key, "a list", value)
        if most is not None and len(value) > most:
            raise self.wrong(key, f"at most {most} entries", len(value))
        return value

    def text(self, key: str, *, empty: bool = False) -> str:
        value = self.value(key)
        if not isinstance(value, str) or len(value) > MAX_TEXT or not (value or empty):
            raise self.wrong(key, "a text", value)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.array(key, 1000)
        if not all(isinstance(value, str) and len(value) <= MAX_TEXT for value in values):
            raise self.wrong(key, "texts", values)
        return tuple(values)

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, f"a whole number from {low} to {high}", value)
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """Whole numbers stay whole."""
        value = self.value(key)
        if not _is_number(value) or not low <= value <= high:
            raise self.wrong(key, f"a number from {low:g} to {high:g}", value)
        return value  # type: ignore[no-any-return]

    def wrong(self, key: str, expected: str, found: object) -> RecordError:
        return RecordError(f"{self._name}: {self._path(key)}: expected {expected}, found {_shown(found)}")

    def _path(self, key: str) -> str:
        path = f"{self._place}.{key}" if self._place else key
        return path if path.isprintable() else ascii(path)
