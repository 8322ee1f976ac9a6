# SPDX-License-Identifier: Apache-2.0
"""The host's side of an inference on a board, against boards that answer half, nonsense or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from boards.serial_line import SerialLine
from device.errors import LitesightError
from firmware_export.board_inference import BoardInference, StepTime
from firmware_export.firmware import FRAME, ROWS

VALUES = np.arange(-12, 12, dtype=np.int8).reshape(4, 2, 3)
Answer = Callable[[str], list[str] | None]


class Firmware:
    """A stream behind which a firmware of 4 rows and 3 classes answers; None is silence, a list lines."""

    def __init__(self, change: Answer | None = None) -> None:
        self.change = change
        self.output = b""
        self.received = b""
        self.commands: list[str] = []
        self.row = 0

    def read(self, timeout_s: float) -> bytes:
        output, self.output = self.output, b""
        return output

    def write(self, content: bytes, timeout_s: float) -> None:
        *commands, self.received = (self.received + content).split(b"%")
        for command in map(bytes.decode, commands):
            self.commands.append(command)
            lines = self.answer(command)
            changed = self.change(command) if self.change else lines
            for line in [] if changed is None else [*(lines if changed == ["?"] else changed), "m-ready"]:
                self.output += f"{line}\r\n".encode("latin-1")

    def answer(self, command: str) -> list[str]:
        fixed = {
            "bytes int8": [],
            "paint": [],
            "db load 24": ["m-[Expecting 24 bytes]"],
            "infer 1 0": ["m-infer-start-1", "m-lap-us-1", "m-lap-us-2", "m-infer-done", "m-results-[0.1,0.2,0.7]"],
            "output": ["m-output-[80ff7f]"],
            "ticks": ["m-ticks-[1234]"],
            "stack": ["m-stack-[400]"],
            "steps": ["m-step-[0,4,17]", "m-step-[1,2,1217]"],
            "profile": ["m-profile-[litesight-serial/1]", "m-model-[x]", f"m-sha256-[{'ab' * 32}]"],
            "rows": ["m-row-0"],
        }
        if command in fixed:
            self.row = 0
            return fixed[command]
        if command.startswith("db "):
            return ["m-load-done"]
        self.row += 1
        return [f"m-row-{self.row}"] if self.row < 4 else ["m-rows-done", "m-results-[0.1,0.2,0.7]"]


def inference(firmware: Firmware, form: str) -> BoardInference:
    return BoardInference(SerialLine(firmware, timeout_s=0.01), form, 3)


@pytest.mark.parametrize("form", [FRAME, ROWS])
def test_an_inference_gives_output_ticks_and_stack(form: str) -> None:
    firmware = Firmware()
    found = inference(firmware, form).run(VALUES)
    assert firmware.commands[0] == "bytes int8", "or the board takes the values for pixels"
    assert found.output.tolist() == [-128, -1, 127]
    assert (found.ticks, found.stack_bytes) == (1234, 400)
    sent = firmware.commands if form == ROWS else [command.removeprefix("db ") for command in firmware.commands]
    assert VALUES.tobytes().hex() in "".join(sent)
    assert sent.index("paint") < sent.index("rows" if form == ROWS else "infer 1 0"), "or the stack is that of earlier"


def test_the_times_of_the_ops_are_read() -> None:
    assert inference(Firmware(), FRAME).step_times() == (StepTime(0, 4, 17), StepTime(1, 2, 1217))


def test_another_model_on_the_board_is_told() -> None:
    inference(Firmware(), FRAME).check_model("ab" * 32)
    with pytest.raises(LitesightError, match=r"expected the model cdcdcdcdcdcd… on the board, found abababababab…"):
        inference(Firmware(), FRAME).check_model("cd" * 32)


@pytest.mark.parametrize(
    ("command", "answer", "said"),
    [
        ("output", ["m-output-[80ff]"], r"expected 6 hexadecimal digits, the output's 3 bytes.*received 4 .*'80ff'"),
        ("output", ["m-output-[80ff7g]"], r"expected 6 hexadecimal digits"),
        ("output", ["m-output-[80ff7f7f]"], r"received 8 characters"),
        ("output", ["m-output-[]"], r"received 0 characters"),
        ("output", ["e-[No inference yet]"], r"the board refused 'output': No inference yet"),
        ("output", ["\xff\xfe\x80"], r"expected text in answer to 'output'"),
        ("output", None, r"within 0.01 s, received nothing"),
        ("ticks", ["m-ticks-[-3]"], r"expected a number in m-ticks-\[…\].*'-3'"),
        ("ticks", [], r"expected the line m-ticks"),
        ("stack", ["m-stack-[many]"], r"expected a number"),
        ("infer 1 0", ["m-warmup-start-0"], r"expected the line m-infer-done"),
        ("infer 1 0", ["m-fault-[hard fault pc=00000000"], r"crashed.*hard fault"),
        ("infer 1 0", ["m-init-done"], r"restarted"),
        ("db load 24", ["e-[Input: expected 27 bytes, found 24]"], r"refused 'db load 24': Input: expected 27"),
    ],
)
def test_what_a_board_says_wrong_is_one_line(command: str, answer: list[str] | None, said: str) -> None:
    firmware = Firmware(lambda asked: answer if asked == command else ["?"])
    with pytest.raises(LitesightError, match=said) as caught:
        inference(firmware, FRAME).run(VALUES)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("wrong_row", "answer", "said"),
    [
        (1, ["m-row-3"], r"expected m-row-1 from the board, received 'm-row-3'"),
        (3, ["m-rows-done"], r"expected m-row-3 from the board, received 'm-rows-done'"),
        (4, ["m-row-4"], r"expected m-rows-done after 4 rows, received 'm-row-4'"),
        (2, ["e-[Row: expected 12 hex digits, found 6]"], r"the board refused .*Row: expected 12"),
        (2, None, r"received nothing"),
    ],
)
def test_rows_out_of_step_are_one_line(wrong_row: int, answer: list[str] | None, said: str) -> None:
    def change(command: str) -> list[str] | None:
        is_row = re.fullmatch(r"[0-9a-f]{12}", command) is not None
        return answer if is_row and firmware.row == wrong_row else ["?"]

    firmware = Firmware(change)
    with pytest.raises(LitesightError, match=said):
        inference(firmware, ROWS).run(VALUES)


@pytest.mark.parametrize("answer", [[], ["m-step-[1,2]"], ["m-step-[0,4,17]", "m-results-[1]"], ["m-step-[-1,2,3]"]])
def test_steps_that_are_none_are_one_line(answer: list[str]) -> None:
    firmware = Firmware(lambda command: answer if command == "steps" else ["?"])
    with pytest.raises(LitesightError, match=r"expected lines m-step-\[op,steps,ticks\]"):
        inference(firmware, FRAME).step_times()
