# SPDX-License-Identifier: Apache-2.0
"""Names and labels come from outside: as C text they must neither break the build nor change on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from firmware_export.c_text import c_bytes, c_comment, c_float, c_string, c_values, markdown

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def read_c_string(literal: str) -> bytes:
    """The bytes of a C string literal, by the language's own rules."""
    assert re.fullmatch(r'"([ !#-\[\]-~]|\\["\\?]|\\[0-7]{3})*"', literal)
    body = literal[1:-1]
    assert "??" not in body, "two question marks begin a trigraph"
    parts = re.findall(r'\\([0-7]{3})|\\(["\\?])|(.)', body)
    return bytes(int(octal, 8) if octal else ord(escaped or plain) for octal, escaped, plain in parts)


@given(TEXT)
@example("??/")
@example("\x071")
@example("é1")
def test_a_string_keeps_its_bytes(text: str) -> None:
    assert read_c_string(c_string(text)) == text.encode()


def test_compilers_read_back_the_same_bytes(
    tmp_path: Path, require_tool: Callable[[str], str], run_tool: Callable[..., str]
) -> None:
    """Every character of one byte, and some of more, before what it could swallow or become part of."""
    characters = [chr(code) for code in range(256)] + ["\u2028", "\ufeff", "\U0001f34e"]
    followers = ("0", "f", "\\", "/", "?", "\n", '"')
    labels = [f"??{character}{follower}" for character in characters for follower in followers]
    rows = ",\n".join(f"    {{{c_string(label)}, sizeof {c_string(label)} - 1}}" for label in labels)
    (tmp_path / "labels.c").write_text(
        "#include <stdio.h>\n"
        f"/* {c_comment(''.join(labels))} */\n"
        f"static const struct {{ const char *text; size_t bytes; }} labels[] = {{\n{rows}\n}};\n"
        "int main(void) {\n"
        f"  for (size_t i = 0; i < {len(labels)}; ++i) {{ fwrite(labels[i].text, 1, labels[i].bytes, stdout); }}\n"
        "  return 0;\n}\n"
    )
    # -std=c11 reads trigraphs, gnu11 does not: the bytes must be the same in both.
    for compiler, language in (("gcc", "c11"), ("gcc", "gnu11"), ("clang", "c11")):
        command = [require_tool(compiler), f"-std={language}", "-Wall", "-Wextra", "-Werror", "-pedantic"]
        run_tool([*command, str(tmp_path / "labels.c"), "-o", str(tmp_path / "labels")])
        run_tool(["sh", "-c", f"{tmp_path}/labels > {tmp_path}/bytes"])
        assert (tmp_path / "bytes").read_bytes() == "".join(labels).encode()


@given(TEXT)
@example("*/ int x; /*")
@example("end\\")
@example("a\nb\u2028c")
@example("**//")
@example("*\\")
@example("\\*")
def test_a_comment_stays_a_comment(text: str) -> None:
    comment = c_comment(text)
    assert re.fullmatch(r"[ -~]*", comment)
    assert "*/" not in comment
    assert "/*" not in comment
    assert "\\" not in comment


@given(st.floats(width=32, min_value=0, max_value=2.0**100))
def test_a_float_keeps_its_value(value: float) -> None:
    text = c_float(value)
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?f", text)
    assert re.search(r"[.e]", text), "an integer with the suffix f does not compile"
    assert np.float32(text[:-1]) == np.float32(value)


@given(st.lists(st.integers(-(2**31), 2**32), max_size=60))
def test_values_are_all_there_in_short_lines(values: list[int]) -> None:
    text = c_values(values)
    assert [int(item) for item in text.replace(",", " ").split()] == values
    assert all(len(line) <= 120 for line in text.splitlines())


@given(st.binary(max_size=100))
def test_bytes_are_all_there(data: bytes) -> None:
    assert bytes(int(item, 16) for item in c_bytes(data).replace(",", " ").split()) == data


@given(TEXT)
@example("| a | `b` <script> [x](y)")
def test_markdown_is_one_line_without_markup(text: str) -> None:
    shown = markdown(text)
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[`|<\[*_#]", shown)
