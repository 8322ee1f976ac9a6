# SPDX-License-Identifier: Apache-2.0
"""Numbers, strings and comments as C source text; labels and names come from outside and may hold anything."""

from __future__ import annotations

from collections.abc import Iterable

_COLUMNS = 120


def c_string(text: str) -> str:
    """A C string literal of ASCII characters whose bytes are ``text`` in UTF-8.

    Octal escapes end after three digits, hexadecimal ones would swallow a digit that follows. A question mark is
    escaped, for two of them begin a trigraph.
    """
    return '"' + "".join(_escape(byte) for byte in text.encode("utf-8")) + '"'


def _escape(byte: int) -> str:
    if byte in b'"\\?':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def c_comment(text: str) -> str:
    """Text that can stand in a C comment: one line of ASCII that neither ends the comment nor continues the line."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    # The backslash first: what stands in for it must not end the comment either.
    return plain.replace("\\", "/").replace("*/", "* /").replace("/*", "/ *")


def c_float(value: float) -> str:
    """A C literal of type float; nine digits tell any two of them apart."""
    text = f"{value:.9g}"
    return text + ("f" if any(char in text for char in ".e") else ".0f")


def c_values(values: Iterable[int], indent: str = "    ") -> str:
    """Lines of comma-separated numbers, at most 120 columns wide."""
    lines: list[str] = []
    line = indent
    for value in values:
        item = f"{value},"
        if len(line) + len(item) + 1 > _COLUMNS and line != indent:
            lines.append(line.rstrip())
            line = indent
        line += item if line == indent else f" {item}"
    return "\n".join([*lines, line.rstrip()]) if line.strip() else "\n".join(lines)


def c_bytes(data: bytes, indent: str = "    ") -> str:
    """The same for bytes, in hexadecimal, 16 a line, so that an address is easy to find."""
    rows = (data[start : start + 16] for start in range(0, len(data), 16))
    return "\n".join(indent + ", ".join(f"0x{byte:02x}" for byte in row) + "," for row in rows)


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line, also in a table."""
    line = "".join(char if char.isprintable() else "?" for char in text)
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|!&" else char for char in line)
