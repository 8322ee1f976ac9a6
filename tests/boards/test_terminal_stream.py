# SPDX-License-Identifier: Apache-2.0
"""A terminal must carry bytes as they are, and say when its other side is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from boards.serial_line import SerialLine
from boards.terminal_stream import open_terminal
from device.errors import LitesightError

EVERY_BYTE = bytes(range(256))


@pytest.fixture
def pair() -> Iterator[tuple[int, Path]]:
    """The far side's descriptor and the near side's path."""
    far, near = os.openpty()
    yield far, Path(os.ttyname(near))
    for descriptor in (far, near):
        try:
            os.close(descriptor)
        except OSError:
            continue  # the test closed it


def test_every_byte_travels_as_it_is_and_nothing_is_echoed(pair: tuple[int, Path]) -> None:
    far, path = pair
    with open_terminal(path) as stream:
        stream.write(EVERY_BYTE, 5)
        assert os.read(far, 1000) == EVERY_BYTE
        os.write(far, EVERY_BYTE)
        assert stream.read(5) == EVERY_BYTE
        assert stream.read(0) == b""


def test_command_and_answer_over_a_terminal(pair: tuple[int, Path]) -> None:
    far, path = pair
    with open_terminal(path) as stream:

        class Answering:
            def read(self, timeout_s: float) -> bytes:
                return stream.read(timeout_s)

            def write(self, content: bytes, timeout_s: float) -> None:
                stream.write(content, timeout_s)
                assert os.read(far, 100) == b"name%"
                os.write(far, b"m-name-dut-[x]\r\nm-ready\r\n")

        assert SerialLine(Answering()).name() == "x"


def test_other_side_that_goes_away_is_told(pair: tuple[int, Path]) -> None:
    far, path = pair
    with open_terminal(path) as stream:
        os.close(far)
        with pytest.raises(LitesightError, match="the other side is gone"):
            stream.read(5)
        with pytest.raises(LitesightError, match="the other side is gone"):
            stream.write(b"x", 5)


def test_other_side_that_never_reads_is_told(pair: tuple[int, Path]) -> None:
    _, path = pair
    with open_terminal(path) as stream, pytest.raises(LitesightError, match=r"took no more input for 0\.05 s"):
        stream.write(bytes(1_000_000), 0.05)


def test_what_is_no_terminal_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(LitesightError, match="expected a terminal"), open_terminal(file):
        pass
    with pytest.raises(LitesightError, match="No such file"), open_terminal(tmp_path / "none"):
        pass
