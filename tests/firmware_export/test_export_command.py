# SPDX-License-Identifier: Apache-2.0
"""``litesight export``: one line when it cannot be, nothing half-written, and never a file of the user's lost."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tflite

import litesight
from device.bundle import Golden
from device.errors import UsageError
from firmware_export import export_directory
from firmware_export.tflite_reader import read_model
from tests.firmware_export.tflite_builder import RandomNetwork

DATA = Path(__file__).resolve().parent / "data"
TINY = DATA / "tiny_int8.tflite"

pytestmark = pytest.mark.usefixtures("require_oracle")

MakeBundle = Callable[..., Path]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int = 1) -> str:
    """The one line with which the command refuses."""
    assert litesight.main(["export", *arguments]) == status
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("litesight: error: ")
    return lines[0]


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_is_exported(capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle, tmp_path: Path) -> None:
    out = tmp_path / "firmware"
    assert litesight.main(["export", str(make_bundle()), "--engine", "tflm", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    facts = json.loads((out / "export.json").read_text())
    assert f"arena {facts['memory']['arena_bytes']}" in said
    assert "ADD, CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, MEAN" in said
    assert (out / "README.md").is_file()
    assert left_behind(tmp_path) == ["bundle", "firmware"]


def test_json_tells_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "firmware"
    assert litesight.main(["export", str(TINY), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    facts = json.loads((out / "export.json").read_text())
    assert told["output"] == str(out)
    assert told["memory"] == facts["memory"]
    assert told["model"] == facts["model"]


def test_a_float_model_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = refused(capsys, [str(DATA / "tiny_float.tflite"), "-o", str(tmp_path / "out")])
    assert "tiny_float.tflite: expected a fully int8 model, found float32 input" in line
    assert left_behind(tmp_path) == []


def test_a_damaged_model_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "half.tflite").write_bytes(TINY.read_bytes()[:4000])
    line = refused(capsys, [str(tmp_path / "half.tflite"), "-o", str(tmp_path / "out")])
    assert "half.tflite: the .tflite is damaged" in line
    assert left_behind(tmp_path) == ["half.tflite"]


def test_an_unknown_operator_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = bytearray(TINY.read_bytes())
    code = tflite.Model.GetRootAsModel(bytes(data), 0).OperatorCodes(0)
    for slot in (0, 3):
        data[code._tab.Pos + code._tab.Offset(4 + 2 * slot)] = tflite.BuiltinOperator.RNN
    (tmp_path / "rnn.tflite").write_bytes(data)
    line = refused(capsys, [str(tmp_path / "rnn.tflite"), "-o", str(tmp_path / "out")])
    assert "RNN" in line
    assert left_behind(tmp_path) == ["rnn.tflite"]


def test_no_such_source_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "no bundle at" in refused(capsys, [str(tmp_path / "nothing"), "-o", str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": {"scale": 0.25, "zero_point": 0, "activation": "none"}}, "output scale 0.25 in the manifest, "),
        ({"output": {"scale": None, "zero_point": 5, "activation": "none"}}, "output zero point 5 in the manifest, "),
        (
            {"output": {"scale": None, "zero_point": None, "activation": "softmax"}},
            "output activation softmax in the manifest, none in the network",
        ),
    ],
)
def test_a_manifest_that_contradicts_the_model_is_refused(
    capsys: pytest.CaptureFixture[str],
    make_bundle: MakeBundle,
    tmp_path: Path,
    changes: dict[str, dict[str, object]],
    message: str,
) -> None:
    output = read_model(TINY.read_bytes()).output
    given = changes["output"]
    given["scale"] = given["scale"] or output.scales[0]
    given["zero_point"] = output.zero_points[0] if given["zero_point"] is None else given["zero_point"]
    path = make_bundle(**changes)
    line = refused(capsys, [str(path), "-o", str(tmp_path / "out")])
    assert "contradicts itself" in line
    assert message in line
    assert left_behind(tmp_path) == ["bundle"]


def test_golden_vectors_of_another_model_are_not_flashed(
    capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle, tmp_path: Path, tiny_golden: Golden
) -> None:
    path = make_bundle(outputs=tiny_golden.outputs ^ np.int8(1))
    line = refused(capsys, [str(path), "-o", str(tmp_path / "out")])
    assert "16 of 16 golden output bytes differ from tflite-micro" in line
    assert left_behind(tmp_path) == ["bundle"]


def export_again(out: Path, *options: str) -> int:
    return litesight.main(["export", str(TINY), "-o", str(out), *options])


def test_an_earlier_export_is_replaced_and_a_changed_one_is_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert export_again(out) == 0
    assert export_again(out) == 0
    capsys.readouterr()
    main = out / "example" / "main.c"
    main.write_text(main.read_text() + "/* my own */\n")
    assert "example/main.c was added or changed since" in refused(capsys, [str(TINY), "-o", str(out)])
    assert main.read_text().endswith("/* my own */\n")
    assert export_again(out, "--force") == 0
    assert "my own" not in main.read_text()
    (out / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert "notes.txt was added or changed" in refused(capsys, [str(TINY), "-o", str(out)])
    assert left_behind(tmp_path) == ["out"]


def test_a_directory_of_the_users_is_left_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("mine")
    assert "cannot write the export: " + str(out) + " exists and holds other files (" in refused(
        capsys, [str(TINY), "-o", str(out)]
    )
    assert left_behind(out) == ["chapter1.tex"]
    (tmp_path / "file").write_text("mine")
    assert "is a file" in refused(capsys, [str(TINY), "-o", str(tmp_path / "file")])
    assert left_behind(tmp_path) == ["file", "thesis"]


def test_force_does_not_delete_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    with pytest.raises(UsageError, match="--force would delete"):
        export_directory.check_target(tmp_path, force=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    (tmp_path / "home" / "me").mkdir(parents=True)
    monkeypatch.chdir("/")
    for target in (tmp_path / "home" / "me", tmp_path / "home"):
        with pytest.raises(UsageError, match="--force would delete"):
            export_directory.check_target(target, force=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fills_up_leaves_the_old_export(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    out = tmp_path / "out"
    assert export_again(out) == 0
    capsys.readouterr()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write_bytes = Path.write_bytes

    def fail_late(self: Path, data: bytes) -> int:
        if self.name == "litesight_model.h":
            raise OSError(number, "no")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", fail_late)
    line = refused(capsys, [str(TINY), "-o", str(out)])
    assert "cannot write" in line
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert left_behind(tmp_path) == ["out"]


def test_a_file_name_that_is_no_text_does_not_break_the_sources(tmp_path: Path) -> None:
    model = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tflite"))
    try:
        model.write_bytes(TINY.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    assert litesight.main(["export", str(model), "-o", str(tmp_path / "out")]) == 0
    header = (tmp_path / "out" / "src" / "litesight_model.h").read_text("utf-8")
    assert '#define LITESIGHT_MODEL_NAME "caf\\357\\277\\275"' in header


def test_a_wrong_engine_is_a_wrong_call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        litesight.main(["export", str(TINY), "--engine", "onnx", "-o", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert "tflm" in capsys.readouterr().err


def test_the_static_engine_takes_the_kernels_of_the_board(
    capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle, tmp_path: Path
) -> None:
    out = tmp_path / "firmware"
    arguments = ["export", str(make_bundle()), "--engine", "static", "--board", "mps2-an386", "-o", str(out)]
    assert litesight.main(arguments) == 0
    said = capsys.readouterr().out
    facts = json.loads((out / "export.json").read_text())
    assert facts["engine"] == "static"
    assert facts["kernels"] == "dsp"
    assert f"arena {facts['memory']['arena_bytes']}" in said
    assert (out / "memory_map.txt").is_file()
    # Without a board any core can run it; with --kernels the board's are not taken.
    for options, kernels in (([], "portable"), (["--board", "mps2-an386", "--kernels", "portable"], "portable")):
        assert export_again(out, "--engine", "static", "--json", *options) == 0
        assert json.loads(capsys.readouterr().out)["kernels"] == kernels


def test_a_network_that_does_not_fit_the_board_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from boards.catalogue import DEFINITIONS

    text = (DEFINITIONS / "mps2-an386.toml").read_text()
    board = tmp_path / "tiny.toml"
    board.write_text(text.replace('"mps2-an386"', '"tiny"', 1).replace("length = 0x40_0000", "length = 0x2800"))
    arguments = [str(TINY), "--engine", "static", "--board", str(board), "-o", str(tmp_path / "out")]
    assert "the network does not fit tiny: ssram" in refused(capsys, arguments)
    assert left_behind(tmp_path) == ["tiny.toml"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kernels", "dsp"], "--kernels is for the static engine"),
        (["--engine", "tflm", "--board", "mps2-an386"], "--board is for the static engine"),
        (["--engine", "static", "--board", "nowhere"], "unknown board 'nowhere'"),
        (["--engine", "static", "--board", "mps2-an385", "--kernels", "dsp"], "mps2-an385 is a cortex-m3"),
    ],
)
def test_options_that_contradict_each_other_are_a_wrong_call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], message: str
) -> None:
    assert message in refused(capsys, [str(TINY), *options, "-o", str(tmp_path / "out")], status=2)
    assert left_behind(tmp_path) == []


def test_an_operator_that_the_static_engine_lacks_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    net = RandomNetwork()
    x = net.input(4, 4, 3)
    y = net.feature((1, 4, 4, 3))
    net.operator("MUL", (x, x), (y,), {})
    (tmp_path / "mul.tflite").write_bytes(net.finish(y))
    line = refused(capsys, [str(tmp_path / "mul.tflite"), "--engine", "static", "-o", str(tmp_path / "out")])
    assert "operator 0 (MUL)" in line
    assert left_behind(tmp_path) == ["mul.tflite"]
