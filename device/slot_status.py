# SPDX-License-Identifier: Apache-2.0
"""``status.json`` of a slots directory: what is active and since when, what has proved itself, the last fall-back.

The links say what is active; this file is for people and for the choice of what to fall back to. So a damaged one is as
good as none: nothing that stands in it can keep a model from running.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

SCHEMA: Final = 1
MAX_BYTES: Final = 1 << 16
MAX_REASON: Final = 300
"""Characters of a reason that are kept."""

SLOT_NAME: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Fallback:
    """Why and when a model was given up.

    Attributes:
        slot: the one that failed.
        to: the one that is active since; None if there was no other.
        at: ISO 8601 in UTC.
        reason: one printable line.
    """

    slot: str
    to: str | None
    at: str
    reason: str


@dataclass(frozen=True)
class Record:
    """The file's content.

    Attributes:
        active: name of the slot that was active when the file was written.
        since: ISO 8601 in UTC; empty if unknown.
        proved: names of slots whose first frames went well in a runner.
        fallback: the last one.
    """

    active: str | None = None
    since: str = ""
    proved: tuple[str, ...] = field(default=())
    fallback: Fallback | None = None


def now() -> str:
    """This second, ISO 8601 in UTC."""
    return iso(datetime.now(UTC).timestamp())


def iso(seconds: float) -> str:
    """A time of the file system, ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def one_line(text: str) -> str:
    """``text`` as a reason is kept: one printable line of at most MAX_REASON characters."""
    line = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"


def record_bytes(record: Record) -> bytes:
    """The file's content."""
    fallback = record.fallback
    document = {
        "schema": SCHEMA,
        "active": record.active,
        "since": record.since,
        "proved": list(record.proved),
        "fallback": None if fallback is None else vars(fallback),
    }
    return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()


def parse_record(raw: bytes) -> Record:
    """Read the file; whatever is damaged or of another schema is left out."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return Record()
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        return Record()
    proved = document.get("proved")
    return Record(
        _name(document.get("active")),
        _time(document.get("since")),
        tuple(name for each in proved if (name := _name(each))) if isinstance(proved, list) else (),
        _fallback(document.get("fallback")),
    )


def _fallback(found: Any) -> Fallback | None:
    if not isinstance(found, dict):
        return None
    slot, reason = _name(found.get("slot")), found.get("reason")
    if slot is None or not isinstance(reason, str):
        return None
    return Fallback(slot, _name(found.get("to")), _time(found.get("at")), one_line(reason))


def _name(found: Any) -> str | None:
    return found if isinstance(found, str) and SLOT_NAME.fullmatch(found) else None


def _time(found: Any) -> str:
    try:
        return iso(datetime.fromisoformat(found).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        return ""
