# SPDX-License-Identifier: Apache-2.0
"""Bench files come from other machines: whatever is in them, the reader gives a record or one line."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import bench_reader
from device.bench import Options, bench
from device.bench_reader import RecordError, parse_record, read_record
from device.bench_record import Record
from tests.device.bench_maker import board_record, board_run, host_record, host_run, records, times


@given(records)
def test_what_is_written_is_read_back_the_same(record: Record) -> None:
    data = record.to_bytes()
    again = parse_record(data, "file")
    assert again == record
    assert json.loads(again.to_bytes()) == json.loads(data)


def test_a_measured_record_is_read_back(tiny_bundle: Path, video: Path, tmp_path: Path) -> None:
    record = bench(tiny_bundle, str(video), Options(threads=(1, 2), runs=5, warmup=1))
    path = tmp_path / "r.json"
    path.write_bytes(record.to_bytes())
    again = read_record(path)
    assert again.to_bytes() == record.to_bytes()
    assert again.target == record.target
    assert [run.before for run in again.runs] == [run.before for run in record.runs]


def test_a_boards_record_is_read_like_any_other() -> None:
    record = board_record(board_run())
    assert parse_record(record.to_bytes(), "file") == record


@pytest.fixture
def document() -> Any:
    return json.loads(host_record(host_run(times(10.0, 5))).to_bytes())


Change = Callable[[Any], object]


def _set(path: str, value: object) -> Change:
    def change(document: Any) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parents:
            document = document[part]
        document[last] = value

    return change


INVOKE = "runs.0.stages.invoke"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("schema", "litesight-bench/2", "expected the schema litesight-bench/1, found 'litesight-bench/2'"),
        ("schema", None, "expected the schema"),
        ("created", 5, "created: expected a text, found 5"),
        ("model.sha256", "AB" * 32, "model.sha256: expected 64 hexadecimal digits"),
        ("model.input", [96, 96], "model.input: expected height, width and channels"),
        ("model.input", [96, 96, 0], "model.input: expected height, width and channels"),
        ("model.input", [96, True, 3], "model.input: expected height, width and channels"),
        ("model.classes", 0, "model.classes: expected a whole number from 1"),
        ("target.kind", "laptop", "target.kind: expected one of host, board, emulator, found 'laptop'"),
        ("target.machine.cores", "4", "target.machine.cores: expected a whole number"),
        ("runs", [], "runs: expected at least 1"),
        ("runs", {}, "runs: expected a list"),
        ("runs.0", 7, "runs.0: expected a JSON object, found 7"),
        ("runs.0.engine", "", "runs.0.engine: expected a text"),
        ("runs.0.settings.threads", [1], "settings.threads: expected a number, a text"),
        ("runs.0.settings.threads", float("inf"), "settings.threads: expected a number, a text"),
        ("runs.0.stages", {"../x": {}}, "expected a stage such as invoke"),
        (f"{INVOKE}.unit", "s", "stages.invoke.unit: expected ms, found 's'"),
        (f"{INVOKE}.samples", [], "stages.invoke.samples: expected at least one sample"),
        (f"{INVOKE}.samples.3", -0.1, "stages.invoke.samples.3: expected milliseconds from 0"),
        (f"{INVOKE}.samples.3", 1e9, "stages.invoke.samples.3: expected milliseconds"),
        (f"{INVOKE}.samples.3", True, "stages.invoke.samples.3: expected milliseconds"),
        (f"{INVOKE}.samples.3", 10**4000, "stages.invoke.samples.3: expected milliseconds"),
        (f"{INVOKE}.samples.3", 500.0, "as the samples have it"),
        (f"{INVOKE}.n", 4, "stages.invoke.n: expected 5"),
        (f"{INVOKE}.p50", 9.0, "stages.invoke.p50: expected"),
        (f"{INVOKE}.p90", 9.0, "stages.invoke.p90: expected"),
        (f"{INVOKE}.p99", 9.0, "stages.invoke.p99: expected"),
        (f"{INVOKE}.min", 0, "stages.invoke.min: expected"),
        (f"{INVOKE}.max", 99.0, "stages.invoke.max: expected"),
        (f"{INVOKE}.mean", 10.5, "stages.invoke.mean: expected"),
        ("runs.0.figures.rss_bytes", -1, "figures.rss_bytes: expected a number from 0"),
        ("runs.0.figures.rss_bytes", 1e300, "figures.rss_bytes: expected a number from 0"),
        ("runs.0.before.throttled", 1.5, "before.throttled: expected a whole number"),
        ("runs.0.before.throttle_reasons", ["throttled now"], "throttle_reasons: expected ()"),
        ("runs.0.before.temperature_c", 5000, "before.temperature_c: expected a number"),
        ("runs.0.conditions.affinity", [-1], "conditions.affinity: expected numbers of cores"),
        ("runs.0.conditions.readings", [{"frame": -1}], "conditions.readings.0.frame: expected a whole number"),
    ],
)
def test_a_wrong_field_is_named(document: Any, path: str, value: object, said: str) -> None:
    _set(path, value)(document)
    with pytest.raises(RecordError, match=r"^file: ") as caught:
        bench_reader.from_json(document, "file")
    assert said in caught.value.message


@pytest.mark.parametrize("path", ["created", "model", "model.macs", "target.id", "runs", "runs.0.ops", f"{INVOKE}.p99"])
def test_a_missing_field_is_named(document: Any, path: str) -> None:
    parents, _, last = path.rpartition(".")
    owner = document
    for part in filter(None, parents.split(".")):
        owner = owner[int(part) if part.isdigit() else part]
    del owner[last]
    with pytest.raises(RecordError, match=f"the field {path} is missing"):
        bench_reader.from_json(document, "file")


def test_fields_of_a_later_version_are_passed_over_and_those_of_an_earlier_may_be_missing(document: Any) -> None:
    document["weather"] = "fine"
    document["runs"][0]["figures"]["furlongs_per_fortnight"] = 1
    del document["runs"][0]["conditions"]
    run = bench_reader.from_json(document, "file").runs[0]
    assert run.conditions is None
    assert "furlongs_per_fortnight" not in run.figures


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"schema": NaN}', "not JSON"),
        (b'{"schema": Infinity}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "expected a JSON object, found []"),
        (b"9" * 5000, "not JSON"),
        (b'{"schema": 1e999}', "expected the schema"),
    ],
)
def test_what_is_no_bench_file_is_told(data: bytes, said: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(data, "file")
    assert said in str(caught.value)


def test_an_infinite_sample_is_refused(document: Any) -> None:
    text = json.dumps(document).replace('"samples": [', '"samples": [1e999, ', 1)
    with pytest.raises(RecordError, match=r"samples\.0: expected milliseconds"):
        parse_record(text.encode(), "file")


def test_a_pipe_a_folder_a_huge_and_a_missing_file_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    large = tmp_path / "large.json"
    large.write_bytes(b" " * 2000)
    monkeypatch.setattr(bench_reader, "MAX_RECORD_BYTES", 1000)
    for path, said in (
        (tmp_path / "pipe", "found a pipe or device"),
        (tmp_path, "found a folder"),
        (large, "has 2000 bytes; at most 1000"),
        (tmp_path / "none", "no bench file at"),
        (tmp_path / "nul\0", "cannot read"),
    ):
        with pytest.raises(RecordError, match=said):
            read_record(path)


def fault_of(read: Callable[[], Record]) -> str:
    """What the reader complains of; a record that it gives instead must be whole enough to be written."""
    try:
        read().to_bytes()
    except RecordError as error:
        return str(error)
    return ""


BASE = host_record(host_run(times(10.0, 3)), host_run(times(10.0, 3))).to_bytes()


@given(st.integers(0, len(BASE) - 1), st.integers(0, len(BASE)), st.binary(max_size=6))
def test_damaged_bytes_give_a_record_or_one_line(start: int, length: int, junk: bytes) -> None:
    assert "\n" not in fault_of(lambda: parse_record(BASE[:start] + junk + BASE[start + length :], "file"))


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_a_field_of_any_other_kind_gives_a_record_or_one_line(data: st.DataObject) -> None:
    document = json.loads(BASE)
    owner: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(owner) if isinstance(owner, dict) else range(len(owner))))
        inner = owner[key]
        if not inner or not isinstance(inner, dict | list) or data.draw(st.integers(0, 4)) == 0:
            break
        owner = inner
    owner[key] = data.draw(_JUNK)
    before = copy.deepcopy(document)
    assert "\n" not in fault_of(lambda: bench_reader.from_json(document, "file"))
    assert repr(document) == repr(before), "the document is the caller's"
