# SPDX-License-Identifier: Apache-2.0
"""Every emulated board boots, talks, counts, and ends; and what it tells when it does not."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boards.build import Image, build
from boards.catalogue import all_boards, find
from boards.counter import instructions, instructions_per_tick
from boards.emulator import Emulator, emulate, emulate_terminal, emulate_until, emulator_argv
from boards.serial_line import SerialLine
from boards.terminal_stream import open_terminal
from device.errors import LitesightError, UsageError

EMULATED = [board.id for board in all_boards() if board.emulator is not None]
SECONDS = 30.0
Probe = Callable[[str], Image]


class Conversation:
    """Asks the probe firmware."""

    def __init__(self, image: Image, emulator: Emulator) -> None:
        self.image, self.emulator = image, emulator
        self.received = b""
        assert self.line() == "m-ready"

    def bytes(self, count: int) -> bytes:
        while len(self.received) < count:
            came = self.emulator.read(SECONDS)
            assert came, f"nothing after {self.received!r}"
            self.received += came
        answer, self.received = self.received[:count], self.received[count:]
        return answer

    def line(self) -> str:
        while b"\r\n" not in self.received:
            came = self.emulator.read(SECONDS)
            assert came, f"nothing after {self.received!r}"
            self.received += came
        line, _, self.received = self.received.partition(b"\r\n")
        return line.decode()

    def ask(self, text: str) -> int:
        self.emulator.write(text.encode(), SECONDS)
        return int(self.line())


@pytest.fixture(scope="module", params=EMULATED)
def conversation(request: pytest.FixtureRequest, probe: Probe) -> Iterator[Conversation]:
    image = probe(request.param)
    with emulate(image.board, image.elf) as emulator:
        yield Conversation(image, emulator)


def test_every_byte_value_travels_both_ways(conversation: Conversation) -> None:
    conversation.emulator.write(b"".join(b"b" + bytes([value]) for value in range(256)), SECONDS)
    assert conversation.bytes(256) == bytes(255 - value for value in range(256))


def test_initialised_and_zeroed_variables_are_so_after_start_up(conversation: Conversation) -> None:
    assert conversation.ask("m") == 0x12345678


def test_start_up_sets_variables_whatever_the_memory_holds(probe: Probe) -> None:
    image = probe("mps2-an386")
    with emulate(image.board, image.elf) as emulator:
        conversation = Conversation(image, emulator)
        emulator.write(b"r", SECONDS)
        assert conversation.line() == "m-ready"
        assert conversation.ask("m") == 0x12345678


def test_floating_point_works_where_the_core_has_it(conversation: Conversation) -> None:
    assert conversation.ask("h") == 42


def test_counter_counts_the_instructions_of_a_loop(conversation: Conversation) -> None:
    board = conversation.image.board
    tick = instructions_per_tick(board)
    overhead = 40  # of the call and of reading the counter
    for iterations in (10_000, 20_000, 1_000_000):
        ticks = conversation.ask(f"t{iterations};")
        assert 4 * iterations - tick <= instructions(board, ticks) <= 4 * iterations + overhead + tick


def test_counter_goes_on_beyond_the_24_bits_of_systick(probe: Probe) -> None:
    # At 168 MHz on this board a wrap takes the fewest instructions: 2^24 ticks are 100 million.
    image = probe("netduinoplus2")
    iterations = 30_000_000
    with emulate(image.board, image.elf) as emulator:
        ticks = Conversation(image, emulator).ask(f"t{iterations};")
    assert ticks > 1 << 24
    # One wrap has been counted by an interrupt of some ten instructions.
    assert 0 <= instructions(image.board, ticks) - 4 * iterations < 200


def test_counter_never_goes_back_when_systick_wraps(conversation: Conversation) -> None:
    assert conversation.ask("w") == 1


def test_stack_mark_is_what_the_deepest_call_used(conversation: Conversation) -> None:
    board = conversation.image.board
    assert 0 < conversation.ask("u") < 500
    before = conversation.ask("s")
    value, after, size = (int(conversation.line()) for _ in range(3))
    assert value == 1
    assert 1000 <= after - before <= 1100
    assert before < 500
    assert size == conversation.image.stack_bytes == board.build.stack_bytes


@pytest.mark.parametrize("board", EMULATED)
def test_fault_is_told_in_one_line(board: str, probe: Probe) -> None:
    image = probe(board)
    with emulate(image.board, image.elf) as emulator:
        conversation = Conversation(image, emulator)
        emulator.write(b"f", SECONDS)
        assert conversation.line() == ""
        line = conversation.line()
    assert line.startswith("m-fault-[hard fault pc=")
    for name, word in (("crash", "pc="), ("main", "lr=")):
        (function,) = [symbol for symbol in image.program.symbols if symbol.name == name]
        address = int(line.split(word)[1][:8], 16)
        assert function.address <= address < function.address + function.size


@pytest.mark.parametrize("board", EMULATED)
def test_stack_overflow_is_told_instead_of_corrupting_variables(board: str, probe: Probe) -> None:
    image = probe(board)
    with emulate(image.board, image.elf) as emulator:
        conversation = Conversation(image, emulator)
        emulator.write(b"o", SECONDS)
        assert conversation.line() == ""
        assert conversation.line().startswith("m-fault-[stack overflow cfsr=")


def test_output_until_main_returns(probe: Probe, tmp_path: Path) -> None:
    source = tmp_path / "main.c"
    source.write_text(
        '#include "litesight_port.h"\nint main(void) { litesight_port_print("4294967295 "); '
        "litesight_port_print_number(4294967295u); return 3; }\n"
    )
    board = find("mps2-an385")
    image = build(board, [source], output_dir=tmp_path)
    assert emulate_until(board, image.elf, timeout_s=SECONDS) == "4294967295 4294967295\nm-end-[3]\n"


def test_fault_and_silence_end_the_wait_for_a_marker(probe: Probe, tmp_path: Path) -> None:
    board = find("mps2-an386")
    source = tmp_path / "main.c"
    source.write_text("int main(void) { *(volatile int *)0xF0000000u = 1; return 0; }\n")
    image = build(board, [source], output_dir=tmp_path)
    with pytest.raises(LitesightError, match=r"the program faulted: m-fault-\[hard fault"):
        emulate_until(board, image.elf, timeout_s=SECONDS)
    with pytest.raises(LitesightError, match=r"'never' did not come within 0\.3 s; the program printed 'm-ready"):
        emulate_until(board, probe("mps2-an386").elf, "never", timeout_s=0.3)


def test_serial_line_on_a_pseudo_terminal(probe: Probe) -> None:
    image = probe("mps2-an386")
    with emulate_terminal(image.board, image.elf) as terminal, open_terminal(terminal.path) as stream:
        # The greeting went before the terminal was open, or is still to come.
        stream.write(b"bA", SECONDS)
        received = b""
        while not received.endswith(b"\xbe"):
            came = stream.read(SECONDS)
            assert came
            received += came
    assert received in (b"\xbe", b"m-ready\r\n\xbe")


def test_emulator_that_dies_is_told_to_whoever_serves_its_terminal(probe: Probe) -> None:
    image = probe("mps2-an386")
    with emulate_terminal(image.board, image.elf) as terminal:
        os.kill(terminal.process.pid, signal.SIGKILL)
        with pytest.raises(LitesightError, match="the emulator was ended by signal 9: it said nothing"):
            terminal.wait()


def test_emulator_that_dies_is_told_while_reading_and_writing(probe: Probe) -> None:
    image = probe("mps2-an386")
    with emulate(image.board, image.elf) as emulator:
        Conversation(image, emulator)
        os.kill(emulator.process.pid, signal.SIGKILL)
        with pytest.raises(LitesightError, match="the emulator was ended by signal 9: it said nothing"):
            emulator.read(SECONDS)
        with pytest.raises(LitesightError, match="the emulator was ended by signal 9"):
            emulator.write(b"x" * 10, SECONDS)


def test_emulator_that_refuses_is_told_with_its_words(probe: Probe) -> None:
    image = probe("mps2-an386")
    assert image.board.emulator is not None
    wrong = dataclasses.replace(image.board, emulator=dataclasses.replace(image.board.emulator, machine="toaster"))
    with (
        emulate(wrong, image.elf) as emulator,
        pytest.raises(LitesightError, match=r"ended with status 1: .*unsupported machine type"),
    ):
        emulator.read(SECONDS)


def test_program_that_never_answers_is_a_clear_error_in_bounded_time(probe: Probe) -> None:
    image = probe("mps2-an386")
    with emulate(image.board, image.elf) as emulator:
        line = SerialLine(emulator, timeout_s=0.3)
        line.wait_ready(SECONDS)
        start = time.monotonic()
        with pytest.raises(LitesightError, match=r"expected m-ready in answer to 't' within 0\.3 s, received nothing"):
            line.command("t")
        assert time.monotonic() - start < SECONDS


def test_program_that_halted_takes_no_more_input(probe: Probe) -> None:
    image = probe("mps2-an386")
    with emulate(image.board, image.elf) as emulator:
        conversation = Conversation(image, emulator)
        emulator.write(b"q", SECONDS)
        assert conversation.line() == ""
        assert conversation.line() == "m-end-[7]"
        with pytest.raises(LitesightError, match=r"took no more input for 0\.2 s"):
            emulator.write(b"x" * 4_000_000, 0.2)


def test_nothing_is_left_running_when_the_block_ends(probe: Probe) -> None:
    image = probe("mps2-an386")

    def crash() -> None:
        with emulate(image.board, image.elf) as emulator:
            processes.append(emulator.process)
            raise KeyError

    processes: list[subprocess.Popen[bytes]] = []
    with pytest.raises(KeyError):
        crash()
    assert processes[0].poll() == -signal.SIGKILL


def test_argument_list_of_the_emulator() -> None:
    assert emulator_argv(find("mps3-an547"), Path("a b.elf"), serial="pty") == [
        "qemu-system-arm",
        *("-M", "mps3-an547", "-nic", "none", "-icount", "shift=0", "-nographic", "-monitor", "none"),
        *("-serial", "pty", "-kernel", "a b.elf"),
    ]


def test_argument_list_passes_over_the_serial_lines_that_the_port_does_not_use() -> None:
    argv = emulator_argv(find("netduinoplus2"), Path("x.elf"), serial="chardev:line")
    assert argv[argv.index("-serial") : argv.index("-kernel")] == ["-serial", "null"] * 5 + ["-serial", "chardev:line"]


def test_board_without_emulator_is_refused() -> None:
    board = dataclasses.replace(find("mps2-an386"), emulator=None)
    with pytest.raises(UsageError, match="nothing emulates mps2-an386"):
        emulator_argv(board, Path("x.elf"), serial="pty")


def test_missing_emulator_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LitesightError) as raised, emulate(find("mps2-an386"), tmp_path / "x.elf"):
        pass
    assert str(raised.value) == "qemu-system-arm is not installed (sudo apt-get install qemu-system-arm)"


def test_missing_program_is_refused_before_anything_starts(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    with pytest.raises(LitesightError, match="expected a program"), emulate(find("mps2-an386"), tmp_path / "x.elf"):
        pass


def test_instructions_follow_from_the_clock() -> None:
    assert instructions_per_tick(find("mps2-an386")) == 40
    assert instructions_per_tick(find("mps2-an505")) == 50
    assert float(instructions_per_tick(find("mps3-an547"))) == 31.25
    assert instructions(find("mps2-an386"), 1_116_250) == 44_650_000
    assert instructions(find("netduinoplus2"), 168) == 1000
