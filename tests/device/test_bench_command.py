# SPDX-License-Identifier: Apache-2.0
"""``litesight bench``: what a user types, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import litesight
from device.bench_reader import read_record
from device.bench_record import Record, Run
from device.machine import MachineState
from tests.device.bench_maker import COOL, MODEL, board_record, board_run, host_record, host_run, times

BundleMaker = Callable[..., Path]
QUICK = ["--threads", "1", "--runs", "30", "--warmup", "1"]
Ended = tuple[int, str, str]


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """``bench(arguments…)``: exit status, stdout, stderr."""

    def run(*arguments: object) -> Ended:
        try:
            status = litesight.main(["bench", *map(str, arguments)])
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """``file(name, run, …)``: a record of these runs in a file."""

    def write(name: str, *runs: Run, **changes: Any) -> Path:
        path = tmp_path / name
        path.write_bytes(host_record(*runs, **changes).to_bytes())
        return path

    return write


Bench = Callable[..., Ended]
MakeFile = Callable[..., Path]


def test_two_files_are_compared_without_measuring(bench: Bench, file: MakeFile) -> None:
    new, old = file("new.json", host_run(times(10.0, seed=1))), file("old.json", host_run(times(20.0, seed=2)))
    status, out, err = bench(new, "--compare", old)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("new.json against old.json")
    invoke = next(line for line in lines if line.startswith("invoke"))
    assert invoke.split()[2:5] == ["10.007", "20.025", "0.500"], invoke
    assert invoke.endswith("faster")


def test_a_record_that_is_given_alone_is_shown(bench: Bench, file: MakeFile) -> None:
    status, out, _ = bench(file("new.json", host_run()))
    assert status == 0
    assert "ai-edge-litert 2.3.0, 2 threads, XNNPACK runs 61 of 61 operators" in out
    assert "waited 0.5% for a core" in out


def test_the_comparison_as_json_is_the_only_thing_on_stdout(bench: Bench, file: MakeFile) -> None:
    new, old = file("new.json", host_run(times(10.0, seed=1))), file("old.json", host_run(times(20.0, seed=2)))
    status, out, _ = bench(new, "--compare", old, "--json")
    document = json.loads(out)
    assert status == 0
    assert (document["schema"], document["refused"]) == ("litesight-bench-comparison/1", False)
    assert document["pairs"][0]["rows"][1]["verdict"] == "faster"


def test_a_refusal_is_one_line_status_1_and_in_the_json(bench: Bench, file: MakeFile) -> None:
    hot = host_run(after=MachineState(85.0, 0x4, "ondemand", 1500.0))
    new, old = file("new.json", host_run()), file("old.json", hot)
    status, out, err = bench(new, "--compare", old)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "not comparable with old.json: ai-edge-litert, 2 threads of old.json was throttled: throttled now" in err
    assert err.endswith("(--force compares all the same)\n")
    status, out, err = bench(new, "--compare", old, "--json")
    document = json.loads(out)
    assert (status, document["refused"], document["pairs"]) == (1, True, [])
    assert "throttled now" in document["reasons"][0]["why"]
    assert "heat sink" in document["reasons"][0]["remedy"]


def test_forced_it_compares_and_warns(bench: Bench, file: MakeFile) -> None:
    new, old = file("new.json", host_run()), file("old.json", host_run(before=replace(COOL, throttled=1)))
    status, out, err = bench(new, "--compare", old, "--force")
    assert status == 0
    assert "invoke" in out
    assert err.startswith(
        "litesight: warning: not comparable: ai-edge-litert, 2 threads of old.json was throttled: under"
    )


def test_what_has_nothing_in_common_is_refused_even_when_forced(bench: Bench, file: MakeFile, tmp_path: Path) -> None:
    board = tmp_path / "board.json"
    board.write_bytes(board_record(board_run()).to_bytes())
    status, _, err = bench(file("new.json", host_run()), "--compare", board, "--force")
    assert status == 1
    assert "one counts instructions, the other takes milliseconds" in err
    assert "--force" not in err, "that would not help"


def test_boards_records_are_shown_and_compared(bench: Bench, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    for path, count in zip(paths, (30_000_000, 20_000_000), strict=True):
        figures = {"instructions_per_inference": count, "mismatched_bytes": 0}
        path.write_bytes(board_record(board_run(figures=figures)).to_bytes())
    status, out, _ = bench(paths[1])
    assert status == 0
    assert "20,000,000" in out
    status, out, _ = bench(paths[1], "--compare", paths[0])
    assert status == 0
    line = next(line for line in out.splitlines() if line.startswith("instructions"))
    assert line.split() == ["instructions", "20,000,000", "30,000,000", "0.667", "less"]


def test_a_measurement_is_judged_by_an_earlier_one(bench: Bench, tiny_bundle: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    assert bench(tiny_bundle, *QUICK, "-o", old)[0] == 0
    # Forced, for this machine may be busy: then the pair is refused, and rightly.
    status, out, _ = bench(tiny_bundle, *QUICK, "--compare", old, "--force", "-o", new)
    assert status == 0
    assert "this run against old.json" in out
    assert "ai-edge-litert" in out
    assert read_record(new).model == read_record(old).model


def test_another_model_is_refused_before_anything_is_measured(
    bench: Bench, tiny_bundle: Path, file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.bench.bench", lambda *args: pytest.fail("measured in vain"))
    status, out, err = bench(tiny_bundle, "--compare", file("old.json", host_run()))
    assert (status, out) == (1, "")
    assert "another model: tiny" in err
    assert "another input size: 16×16×3 against 96×96×3" in err


def test_what_was_measured_is_kept_when_the_comparison_is_refused(
    bench: Bench, tiny_bundle: Path, tmp_path: Path
) -> None:
    old, new, page = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "new.html"
    assert bench(tiny_bundle, *QUICK, "-o", old)[0] == 0
    hot = read_record(old)
    hot = replace(hot, runs=[replace(hot.runs[0], after=MachineState(85.0, 4, None, None))])
    old.write_bytes(hot.to_bytes())
    status, out, err = bench(tiny_bundle, *QUICK, "--compare", old, "-o", new, "--html", page)
    assert status == 1
    assert "frames/s one after another" in out
    assert "throttled now" in err
    assert read_record(new).runs
    assert "Not comparable" in page.read_text(encoding="utf-8")


def test_a_full_disk_does_not_cost_what_was_measured(bench: Bench, tiny_bundle: Path) -> None:
    status, out, err = bench(tiny_bundle, *QUICK, "--html", "/dev/full")
    assert status == 1
    assert "frames/s one after another" in out
    assert "cannot write /dev/full" in err


@pytest.mark.parametrize(
    "option",
    [
        ["--source", "x"],
        ["--threads", "1"],
        ["--runs", "5"],
        ["--duration", "5"],
        ["--warmup", "0"],
        ["--no-xnnpack"],
        ["--cold-starts", "1"],
        ["-o", "x.json"],
    ],
)
def test_options_of_measuring_have_no_meaning_for_a_record(bench: Bench, file: MakeFile, option: list[str]) -> None:
    status, out, err = bench(file("new.json", host_run()), *option)
    assert (status, out) == (2, "")
    assert f"measured already: {option[0]} has no meaning" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--runs", "5", "--duration", "5"], "not allowed with argument"),
        (["--duration", "0"], "expected seconds above 0, found '0'"),
        (["--duration", "nan"], "expected seconds above 0, found 'nan'"),
        (["--duration", "soon"], "expected seconds above 0, found 'soon'"),
        (["--duration", "inf"], "expected a duration of at most 86400 s, found inf"),
        (["--runs", "50001"], "expected 1 to 50000 timed frames, found 50001 (--duration times longer runs)"),
        (["--threads", "1,1,1,1,1,1,1,1,1"], "expected 1 to 8 numbers of threads, found 9"),
        (["--force"], "--force has no meaning without --compare"),
        (["--html", "."], "expected a file after --html, found the folder ."),
        (["-o", "."], "expected a file after -o, found the folder ."),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(
    bench: Bench, tiny_bundle: Path, arguments: list[str], said: str
) -> None:
    status, out, err = bench(tiny_bundle, *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("place", ["bundle", "other"])
def test_a_file_that_is_no_record_is_one_line(bench: Bench, file: MakeFile, tmp_path: Path, place: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(b"\x00PNG")
    good = file("good.json", host_run())
    status, out, err = bench(*((bad,) if place == "bundle" else (good, "--compare", bad)))
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "bad.json is no bench file" in err


def test_a_missing_record_to_compare_with_is_told_before_anything_is_measured(
    bench: Bench, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.bench.bench", lambda *args: pytest.fail("measured in vain"))
    status, _, err = bench(tiny_bundle, "--compare", "nowhere.json")
    assert status == 1
    assert "no bench file at nowhere.json" in err


def test_texts_of_a_file_are_harmless_to_a_terminal(bench: Bench, tmp_path: Path) -> None:
    evil = "\x1b[2J\u202e\nnewline"
    run = host_run(engine=evil, version=evil, source={"kind": "given", "name": evil, "width": 1, "height": 1})
    run = replace(run, before=replace(COOL, governor=evil))
    record = host_record(run, model=replace(MODEL, name=evil))
    record = replace(record, target=replace(record.target, id=evil))
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    for path, each in zip(paths, (record, replace(record, litesight=evil)), strict=True):
        path.write_bytes(each.to_bytes())
    for arguments in ([paths[0]], [paths[0], "--compare", paths[1]], [paths[0], "--compare", paths[1], "--force"]):
        status, out, err = bench(*arguments)
        assert status == 0
        assert not {"\x1b", "\u202e"} & set(out + err)
        assert not any(line.startswith("newline") for line in out.splitlines())


def test_a_table_shows_what_makes_the_figures_doubtful(bench: Bench, file: MakeFile) -> None:
    figures = dict(host_run().figures) | {"waited_percent": 40.0}
    _, out, _ = bench(file("new.json", host_run(figures=figures)))
    assert "caution  its threads waited 40% of the time for a core: end other programs" in out


def test_a_record_in_which_nothing_was_counted_is_shown(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "bare.json"
    record: Record = board_record(board_run(figures={}, ops=()))
    path.write_bytes(record.to_bytes())
    assert bench(path)[0] == 0
