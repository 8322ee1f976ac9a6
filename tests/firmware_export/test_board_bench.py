# SPDX-License-Identifier: Apache-2.0
"""The whole way onto emulated boards: built, booted, every byte compared; sizes as they were predicted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import litesight
from boards.board import CODE
from boards.catalogue import all_boards
from device.bench_record import Record
from device.errors import LitesightError
from firmware_export import board_bench, firmware
from firmware_export.board_inference import Measurement, StepTime
from firmware_export.board_project import BoardProject, open_project
from firmware_export.fit import CODE_ALLOWANCE_BYTES, VARIABLES_ALLOWANCE_BYTES
from firmware_export.network_fit import fit_firmware, plan_for, read_network
from tests.firmware_export.compile_cache import CompileCache
from tests.firmware_export.tflite_builder import RandomNetwork

BOARD = "mps2-an386"
FORMS = pytest.mark.parametrize("form", firmware.FORMS)
BOARDS = [board.id for board in all_boards() if board.emulator is not None]
ONE_OF_EACH_KERNEL_SET = ("mps2-an385", BOARD, "mps3-an547")
TINY = Path(__file__).resolve().parent / "data" / "tiny_int8.tflite"


@pytest.fixture(scope="module", autouse=True)
def _compiled_once(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    pytest.importorskip("tflite_micro")
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    with pytest.MonkeyPatch.context() as monkeypatch:
        CompileCache(tmp_path_factory.mktemp("firmware")).use(monkeypatch)
        yield


def every_kernel() -> bytes:
    """A network in which every kernel occurs."""
    net = RandomNetwork(7)
    x = net.conv(net.input(16, 16, 3), 8, kernel=3, stride=2)
    for kernel, stride in ((3, 1), (5, 1), (3, 2)):
        y = net.conv(net.depthwise(net.conv(x, 24), kernel=kernel, stride=stride), 8)
        x = net.add(x, y) if stride == 1 else y
    x = net.depthwise(x, kernel=3, multiplier=2)
    x = net.depthwise(net.conv(x, 6, kernel=(3, 1), dilation=(1, 1)), kernel=(2, 3))
    x = net.relu(net.pool(x, kind="MAX", kernel=2, stride=1, padding="SAME"))
    x = net.pool(net.pad(x, top=1, left=1), kernel=2, stride=1)
    return net.finish(net.softmax(net.fully_connected(net.mean(x), 4)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "every_kernel.tflite"
    path.write_bytes(every_kernel())
    return path


@pytest.fixture(scope="module")
def records(model: Path) -> Callable[[str], tuple[BoardProject, Record]]:
    made: dict[str, tuple[BoardProject, Record]] = {}

    def record(form: str) -> tuple[BoardProject, Record]:
        if form not in made:
            project = open_project(model, BOARD, form, emulated=True)
            made[form] = (project, board_bench.bench(project, 2))
        return made[form]

    return record


Records = Callable[[str], tuple[BoardProject, Record]]


@FORMS
def test_a_record_has_every_figure_and_no_byte_differs(records: Records, form: str) -> None:
    project, record = records(form)
    (run,) = record.runs
    document = json.loads(record.to_bytes())
    assert document["schema"] == "litesight-bench/1"
    assert (record.target.kind, record.target.id) == ("emulator", BOARD)
    assert record.model.sha256 == project.source.sha256
    assert (record.model.input, record.model.classes) == ((16, 16, 3), 4)
    assert run.engine == "static"
    assert (run.settings["input"], run.settings["kernels"], run.settings["vectors"]) == (form, "dsp", 2)
    assert run.figures["mismatched_bytes"] == 0
    assert 0 < (run.figures["stack_bytes"] or 0) < 2048
    flash = run.figures["flash_bytes"]
    constants, code = run.figures["constants_bytes"], run.figures["code_bytes"]
    assert flash is not None
    assert constants is not None
    assert code is not None
    assert 0 <= flash - constants - code < 64, "initial values of variables"


@FORMS
def test_the_ops_add_up_to_the_inference(records: Records, form: str) -> None:
    project, record = records(form)
    run = record.runs[0]
    total = run.figures["instructions_per_inference"]
    assert total is not None
    assert [op.index for op in run.ops] == list(range(len(project.export.layers) + 1))
    assert [op.op for op in run.ops[1:]] == [layer.name for layer in project.export.layers]
    counts = [op.figures["instructions_per_inference"] for op in run.ops]
    assert all(count > 0 for count in counts[1:])
    assert sum(counts) == pytest.approx(total, rel=0.01)


def test_a_frame_costs_its_bytes_and_nothing_else(records: Records) -> None:
    frame, rows = (records(form)[1].runs[0].figures for form in firmware.FORMS)
    assert frame["arena_bytes"] == rows["arena_bytes"]
    assert frame["ram_bytes"] is not None
    assert rows["ram_bytes"] is not None
    assert 16 * 16 * 3 <= frame["ram_bytes"] - rows["ram_bytes"] < 16 * 16 * 3 + 16
    assert frame["instructions_per_inference"] == pytest.approx(rows["instructions_per_inference"], rel=0.02)


@pytest.mark.parametrize("board_id", BOARDS)
def test_every_board_gives_every_byte_and_the_sizes_that_were_predicted(
    model: Path, tmp_path: Path, board_id: str
) -> None:
    if board_id not in ONE_OF_EACH_KERNEL_SET:
        model = TINY  # which compiles faster
    project = open_project(model, board_id, firmware.ROWS, emulated=True)
    image = firmware.compile_sources(
        firmware.source_files(project.export, project.board, project.form), project.board, tmp_path
    )
    planned = plan_for(read_network(model), project.board)
    predicted = fit_firmware(planned, project.board, firmware.ROWS)
    parts = {part.name: part.bytes for part in predicted.parts}
    symbols = {symbol.name: symbol.size for symbol in image.program.symbols}
    assert parts["arena"] == symbols["arena_words"]
    assert parts["weights"] == symbols["weights"] == firmware.sizes(image).weights_bytes
    texts = image.constant_bytes - parts["weights"] - parts["biases, layers, tables"]
    assert texts >= 0, "all constants that were predicted are there"
    assert image.code_bytes + texts + image.data_bytes <= CODE_ALLOWANCE_BYTES
    known = parts["arena"] + parts["engine"] + parts["outputs"]
    assert 0 <= image.ram_bytes - known <= VARIABLES_ALLOWANCE_BYTES
    assert parts["stack"] == image.stack_bytes
    with board_bench.started(project.source, project.board, image.elf, project.form) as board:
        output = board.run(project.source.golden.inputs[0]).output
    np.testing.assert_array_equal(output, project.source.golden.outputs[0])


def test_bytes_that_differ_are_counted_and_fail(
    records: Records, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project, _ = records(firmware.FRAME)
    golden = project.source.golden
    outputs = golden.outputs.copy()
    outputs[0, 1:3] ^= 1
    source = replace(project.source, golden=replace(golden, outputs=outputs))
    wrong = replace(project, source=source)
    monkeypatch.setattr("firmware_export.board_project.open_project", lambda *arguments, **options: wrong)
    assert litesight.main(["bench", str(model), "--board", BOARD, "--vectors", "1"]) == 1
    assert "2 OF 4 BYTES DIFFER" in capsys.readouterr().out
    assert litesight.main(["emulate", str(model), "--board", BOARD]) == 1
    assert capsys.readouterr().out.splitlines()[0].endswith("  2 BYTES DIFFER")


def test_a_bench_is_a_table_or_a_record(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "m4.json"
    assert litesight.main(["bench", str(model), "--board", BOARD, "--vectors", "1", "-o", str(output)]) == 0
    table = capsys.readouterr().out
    assert "golden        1 vectors of tflite-micro" in table
    assert "all 4 bytes equal" in table
    document = json.loads(output.read_bytes())
    total = document["runs"][0]["figures"]["instructions_per_inference"]
    assert f"instructions  {total:,} per inference" in table
    assert litesight.main(["bench", str(model), "--board", BOARD, "--vectors", "1", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    first, second = (each["runs"][0]["figures"] for each in (document, again))
    counts = first.pop("instructions_per_inference"), second.pop("instructions_per_inference")
    assert abs(counts[0] - counts[1]) <= 40, "repeatable to one tick"
    assert first == second


def test_a_record_has_the_mean_count_the_deepest_stack_and_every_difference(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = records(firmware.FRAME)
    golden = project.source.golden.outputs
    found = [Measurement(golden[0], 100, 280), Measurement(golden[1] ^ 1, 104, 300)]
    monkeypatch.setattr(firmware, "sizes", lambda image: firmware.Sizes(1, 2, 3, 4, 5))
    run = board_bench._run(project, cast(Any, None), found, ())
    assert run.figures["instructions_per_inference"] == 102 * 40
    assert run.figures["stack_bytes"] == 300
    assert run.figures["mismatched_bytes"] == 4


def test_what_the_hook_takes_is_taken_off_every_step(records: Records) -> None:
    project, _ = records(firmware.FRAME)
    plain = Measurement(np.zeros(4, np.int8), 1000, 0)
    steps = [StepTime(0, 10, 60), StepTime(1, 30, 1000)]
    ops = board_bench._op_figures(project, plain, 1080, steps)
    assert [op.figures["instructions_per_inference"] for op in ops] == [(60 - 20) * 40, (1000 - 60) * 40]


def test_a_program_of_another_model_is_refused(records: Records, tmp_path: Path) -> None:
    project, _ = records(firmware.FRAME)
    files = firmware.source_files(project.export, project.board, project.form)
    image = firmware.compile_sources(files, project.board, tmp_path)
    other = replace(project.source, sha256="0" * 64)
    with pytest.raises(LitesightError, match=r"expected the model 000000000000… on the board"):  # noqa: SIM117
        with board_bench.started(other, project.board, image.elf, project.form):
            pass


def test_weights_go_where_there_is_room(records: Records, tmp_path: Path) -> None:
    project, _ = records(firmware.FRAME)
    files = firmware.source_files(project.export, project.board, project.form)
    whole = firmware.compile_sources(files, project.board, tmp_path / "whole")
    (code,) = project.board.holding(CODE)
    smaller = replace(code, length=(whole.flash_bytes - 64) // 4 * 4)
    board = replace(project.board, memory=tuple(smaller if each == code else each for each in project.board.memory))
    image = firmware.compile_sources(files, board, tmp_path / "apart")
    used = {region.name: region.used for region in image.regions}
    assert used["psram"] >= firmware.sizes(image).weights_bytes > 0
