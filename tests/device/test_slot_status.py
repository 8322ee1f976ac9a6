# SPDX-License-Identifier: Apache-2.0
"""The status file is for people: whatever is in it, nothing fails and nothing of it reaches a terminal as a command."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from device.slot_status import MAX_REASON, Fallback, Record, one_line, parse_record, record_bytes

NAMES = st.text("0123456789abcdef", min_size=16, max_size=16)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
TIME = "2026-11-24T18:00:00+00:00"


@given(NAMES, st.lists(NAMES, max_size=3), st.none() | NAMES, st.text(max_size=400))
def test_what_is_written_is_read(active: str, proved: list[str], to: str | None, reason: str) -> None:
    record = Record(active, TIME, tuple(proved), Fallback(active, to, TIME, one_line(reason)))
    assert parse_record(record_bytes(record)) == record


@settings(max_examples=200)
@given(st.binary(max_size=100))
def test_any_bytes_are_read_as_nothing(data: bytes) -> None:
    assert parse_record(data) == Record()


def fallback_of(**changes: Any) -> Any:
    return {"slot": "0" * 16, "to": None, "at": TIME, "reason": "x", **changes}


@settings(max_examples=300)
@given(st.sampled_from(["active", "since", "proved", "fallback", "slot", "to", "at", "reason", "schema"]), JSON)
def test_any_value_in_a_field_is_taken_or_left_out(field: str, value: Any) -> None:
    document = {"schema": 1, "active": "1" * 16, "since": TIME, "proved": [], "fallback": fallback_of()}
    inner = field in ("slot", "to", "at", "reason")
    document.update({"fallback": fallback_of(**{field: value})} if inner else {field: value})
    record = parse_record(json.dumps(document).encode())
    shown = [record.active or "", record.since, *record.proved]
    if record.fallback is not None:
        shown += [record.fallback.slot, record.fallback.to or "", record.fallback.at, record.fallback.reason]
    assert all(text.isprintable() and len(text) <= MAX_REASON for text in shown)
    assert parse_record(record_bytes(record)) == record


def test_another_schema_is_read_as_nothing() -> None:
    assert parse_record(json.dumps({"schema": 2, "active": "1" * 16}).encode()) == Record()


def test_a_time_of_another_zone_is_told_in_utc_and_nonsense_is_left_out() -> None:
    for found, told in (("2026-11-24T20:00:00+02:00", TIME), ("0001-01-01T00:00:00+23:59", ""), ("soon", ""), (5, "")):
        assert parse_record(json.dumps({"schema": 1, "since": found}).encode()).since == told


def test_a_reason_is_one_short_printable_line() -> None:
    assert one_line("a\n b\x1b[31m\t c") == "a b?[31m c"
    assert one_line("x" * 1000) == "x" * (MAX_REASON - 1) + "…"
