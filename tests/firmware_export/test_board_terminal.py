# SPDX-License-Identifier: Apache-2.0
"""A terminal is handed out when the board has started and its greeting is gone."""

from __future__ import annotations

import pytest

from device.errors import LitesightError
from firmware_export.board_terminal import await_start

NAME = b"m-ready\r\nm-name-dut-[litesight x]\r\nm-ready\r\n"


class Stream:
    """Greets after some reads, and answers only what comes after that; ``deaf`` drops commands sent before."""

    def __init__(self, starts_after: int, *, deaf: bool) -> None:
        self.reads_left = starts_after
        self.deaf = deaf
        self.output = b""
        self.waiting = 0

    def read(self, timeout_s: float) -> bytes:
        if self.reads_left > 0:
            self.reads_left -= 1
            if self.reads_left == 0:
                self.output += b"\0\xffm-init-done\r\nm-ready\r\n" + NAME * self.waiting
        output, self.output = self.output[:9], self.output[9:]
        return output

    def write(self, content: bytes, timeout_s: float) -> None:
        assert content == b"%name%"
        if self.reads_left == 0:
            self.output += NAME
        elif not self.deaf:
            self.waiting += 1


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("starts_after", [0, 1, 4])
def test_nothing_is_left_to_be_read(starts_after: int, deaf: bool) -> None:
    stream = Stream(starts_after, deaf=deaf)
    await_start(stream)
    assert stream.output == b""
    assert stream.reads_left == 0


def test_a_board_that_never_starts_is_one_line() -> None:
    with pytest.raises(LitesightError, match=r"the board did not start within 0 s, received b''"):
        await_start(Stream(-1, deaf=True), 0.0)
