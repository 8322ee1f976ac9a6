# SPDX-License-Identifier: Apache-2.0
"""The client of the serial command set, against a board that behaves and boards that do not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boards.serial_line import MAXIMUM_LINE_BYTES, SerialLine
from device.errors import LitesightError


class Script:
    """A stream that delivers these chunks, then nothing; what is written is kept."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = list(chunks)
        self.written = b""

    def read(self, timeout_s: float) -> bytes:
        # A read that does not wait comes before a command, when a real board has said nothing yet.
        return self.chunks.pop(0) if self.chunks and timeout_s > 0 else b""

    def write(self, content: bytes, timeout_s: float) -> None:
        self.written += content


class Board:
    """A stream with a firmware behind it that speaks as mlcommons/tiny's reference does."""

    def __init__(self, *, ready: str = "m-ready") -> None:
        self.output = b"m-timestamp-mode-performance\r\nm-init-done\r\nm-ready\r\n"
        self.command = b""
        self.commands: list[str] = []
        self.buffer = bytearray()
        self.expected = 0
        self.ready = ready

    def read(self, timeout_s: float) -> bytes:
        output, self.output = self.output[:7], self.output[7:]
        return output

    def write(self, content: bytes, timeout_s: float) -> None:
        *commands, self.command = (self.command + content).split(b"%")
        for command in commands:
            self.commands.append(command.decode())
            lines = [*self.answer(command.decode()), self.ready]
            self.output += "".join(f"{line}\r\n" for line in lines).encode()

    def answer(self, command: str) -> list[str]:
        word, *arguments = command.split()
        if word == "name":
            return ["m-name-dut-[probe]"]
        if word == "profile":
            return ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[ic01]"]
        if word == "help":
            return ["ULPMark for tinyML Firmware V0.0.1", "", "help         : Print this information"]
        if word == "timestamp":
            return ["m-lap-us-4294967295"]
        if word == "infer":
            return ["m-warmup-start-2", "m-warmup-done", "m-infer-start-5", "m-lap-us-1", "m-lap-us-9", "m-infer-done"]
        if word == "results":
            return ["m-results-[0.100,-1.000,2.500]"]
        if word == "db" and arguments[0] == "load":
            self.expected, self.buffer = int(arguments[1]), bytearray()
            return [f"m-[Expecting {self.expected} bytes]"]
        if word == "db":
            self.buffer += bytes.fromhex(arguments[0])
            return ["m-load-done"] if len(self.buffer) == self.expected else []
        return [f"e-[Unknown command: {word}]"]


def ready_line(board: Board) -> SerialLine:
    line = SerialLine(board)
    line.wait_ready()
    return line


def scripted(*chunks: bytes) -> SerialLine:
    return SerialLine(Script(chunks), timeout_s=5)


def test_every_command_gets_its_answer() -> None:
    board = Board()
    line = SerialLine(board)
    assert line.wait_ready() == ("m-timestamp-mode-performance", "m-init-done")
    assert line.name() == "probe"
    assert line.profile() == "ULPMark for tinyML Firmware V0.0.1"
    assert line.model() == "ic01"
    assert line.timestamp() == 4294967295
    assert line.help() == ("ULPMark for tinyML Firmware V0.0.1", "help         : Print this information")
    assert "m-lap-us-9" in line.infer(5, 2)
    assert line.results() == (0.1, -1.0, 2.5)
    assert board.commands == ["name", "profile", "profile", "timestamp", "help", "infer 5 2", "results"]


@given(st.binary(min_size=1, max_size=200), st.integers(1, 64))
def test_loaded_bytes_arrive_whatever_the_chunk(content: bytes, chunk: int) -> None:
    board = Board()
    ready_line(board).load(content, chunk_bytes=chunk)
    assert bytes(board.buffer) == content
    assert all(len(command) <= 3 + 2 * chunk for command in board.commands[1:])


def test_default_chunk_is_one_that_the_public_runner_sends() -> None:
    board = Board()
    ready_line(board).load(bytes(100))
    assert [len(command) for command in board.commands] == [11, 65, 65, 65, 17]


ANSWER = b"m-name-dut-[x]\r\n\r\nm-model-[y]\r\nm-ready\r\n"


@given(st.lists(st.integers(1, len(ANSWER) - 1), unique=True))
def test_answer_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(ANSWER)]
    line = scripted(*(ANSWER[start:end] for start, end in pairwise(edges)))
    assert line.command("x") == ("m-name-dut-[x]", "m-model-[y]")


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8))
def test_any_bytes_end_in_an_answer_or_in_one_line_that_says_what_came(chunks: list[bytes]) -> None:
    for call in (SerialLine.name, SerialLine.results, SerialLine.wait_ready, SerialLine.infer):
        text = _fault(call, scripted(*chunks))
        assert "\n" not in text
        assert text.isprintable()


@given(st.lists(st.sampled_from([b"m-ready", b"\r\n", b"\n", b"e-[", b"]", b"m-fault-[", b"m-", b"\0", b"\xff"])))
def test_pieces_of_the_protocol_in_any_order_are_no_crash(chunks: list[bytes]) -> None:
    text = _fault(SerialLine.model, scripted(*chunks))
    assert text.isprintable()


def _fault(call: Callable[[SerialLine], object], line: SerialLine) -> str:
    try:
        call(line)
    except LitesightError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "expected m-ready in answer to 'name' within 5 s, received nothing (is it the right port"),
        ([b"m-na"], "received the unfinished line 'm-na' (wrong baud rate, or did the board stop?)"),
        ([b"m-name-dut-[x]\r\n"], "received 1 lines, the last 'm-name-dut-[x]'"),
        ([b"m-ready\r\n"], "expected the line m-name-dut-[…] in answer to 'name', received none"),
        ([b"hello\r\nm-ready\r\n"], "expected the line m-name-dut-[…] in answer to 'name', received 'hello'"),
        (
            [b"\xf0\x00\x9f\n"],
            r"expected text in answer to 'name', received 'ð\x9f' (wrong baud rate or a loose wire?)",
        ),
        ([b"e-[Unknown command: name]\r\nm-ready\r\n"], "the board refused 'name': Unknown command: name"),
        ([b"m-fault-[hard fault pc=0]\r\n"], "the board's program crashed during 'name': hard fault pc=0"),
        ([b"m-init-done\r\nm-ready\r\n"], "the board restarted during 'name'"),
        ([b"x" * 40_000, b"x" * 40_000], "received 80,000 bytes without an end, beginning with 'xxx"),
    ],
)
def test_wrong_answer_is_told_with_what_came(chunks: list[bytes], message: str) -> None:
    with pytest.raises(LitesightError) as raised:
        scripted(*chunks).name()
    assert message in str(raised.value)
    assert len(str(raised.value)) < 500


def test_endless_lines_are_given_up() -> None:
    with pytest.raises(LitesightError, match="without an end, beginning with 'abc'"):
        scripted(*[b"abc\n" * 10_000] * 1000).name()


def test_line_may_be_as_long_as_the_limit() -> None:
    length = MAXIMUM_LINE_BYTES - len("m-name-dut-[]\r\n") - 5
    answer = b"m-name-dut-[" + b"n" * length + b"]\r\nm-ready\r\n"
    assert len(scripted(answer).name()) == length


def test_noise_before_the_greeting_is_passed_over() -> None:
    assert scripted(b"\xff\x00\xfe\n\x07\nm-init-done\r\nm-ready\r\n").wait_ready() == ("m-init-done",)


def test_late_answer_to_an_earlier_command_is_not_taken_for_this_one() -> None:
    board = Board()
    line = ready_line(board)
    board.output = b"m-name-dut-[old]\r\nm-ready\r\n"
    assert line.name() == "probe"


def test_crash_between_commands_is_told_at_the_next() -> None:
    board = Board()
    line = ready_line(board)
    board.output = b"m-fault-[stack overflow cfsr=00100000]\r\n"
    with pytest.raises(LitesightError, match=re.escape("crashed during waiting for a command: stack overflow")):
        line.name()


def test_load_that_is_not_complete_is_an_error() -> None:
    class Forgetful(Board):
        def answer(self, command: str) -> list[str]:
            return [] if command.startswith("db 0") else super().answer(command)

    with pytest.raises(LitesightError, match="expected the line m-load-done"):
        ready_line(Forgetful()).load(bytes(40))


def test_load_larger_than_the_boards_buffer_is_an_error() -> None:
    class Small(Board):
        def answer(self, command: str) -> list[str]:
            return ["Supplied buffer size 40 exceeds maximum of 27"] if "load" in command else super().answer(command)

    with pytest.raises(LitesightError, match="received 'Supplied buffer size 40 exceeds maximum of 27'"):
        ready_line(Small()).load(bytes(40))


@pytest.mark.parametrize("text", ["m-results-[]", "m-results-[1.0,x]", "m-results-[nan]", "m-results-[1,,2]"])
def test_results_that_are_no_numbers_are_an_error(text: str) -> None:
    with pytest.raises(LitesightError, match="expected numbers"):
        scripted(text.encode() + b"\r\nm-ready\r\n").results()


@pytest.mark.parametrize("text", ["", "name%", "name\n", "näme"])
def test_text_that_would_be_another_command_is_not_sent(text: str) -> None:
    stream = Script([])
    with pytest.raises(ValueError, match="not a command"):
        SerialLine(stream).command(text)
    assert stream.written == b""
