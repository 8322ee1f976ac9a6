# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import litesight
from device.bench import Options, bench
from device.bench_record import FIGURES, SCHEMA, ModelFacts, OpFigures, Record, Run, Series, Target
from device.errors import LitesightError
from device.machine import MachineState, parse_throttled, read_facts, read_memory, read_state

BundleMaker = Callable[..., Path]
DOCS = Path(__file__).parents[2] / "docs" / "bench-schema.md"
QUICK = ["--runs", "4", "--warmup", "1"]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([1, 50, 90, 99, 100]))
def test_a_percentile_is_a_sample_with_enough_samples_below(samples: list[float], percent: int) -> None:
    found = Series("ms", tuple(samples)).percentile(percent)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= percent / 100 * len(samples)
    smaller = [sample for sample in samples if sample < found]
    assert len(smaller) < percent / 100 * len(samples)


def test_percentiles_are_nearest_rank() -> None:
    hundred = Series("ms", tuple(float(number) for number in range(100, 0, -1)))
    assert [hundred.percentile(percent) for percent in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert hundred.mean == 50.5
    assert Series("ms", (7.0,)).percentile(99) == 7.0


def test_raw_samples_are_kept_in_the_order_they_were_taken() -> None:
    document = Series("ms", (3.0, 1.0, 2.0)).to_json()
    assert document["samples"] == [3.0, 1.0, 2.0]
    assert (document["n"], document["min"], document["p50"], document["max"]) == (3, 1.0, 2.0, 3.0)


def test_every_stage_is_timed_and_the_warm_up_is_not(tiny_bundle: Path, video: Path) -> None:
    record = bench(tiny_bundle, str(video), Options(threads=(1, 2), runs=9, warmup=2))
    assert [run.settings["threads"] for run in record.runs] == [1, 2]
    for run in record.runs:
        assert list(run.stages) == ["capture", "preprocess", "invoke", "postprocess", "total"]
        assert {len(series.samples) for series in run.stages.values()} == {9}, "nine of a six-frame video: read twice"
        parts = [run.stages[name].samples for name in ("capture", "preprocess", "invoke", "postprocess")]
        assert [math.fsum(times) for times in zip(*parts, strict=True)] == pytest.approx(run.stages["total"].samples)
        assert run.figures["frames_per_second"] == pytest.approx(1000 / run.stages["total"].mean)
        assert run.figures["ops_total"] == 4
        assert run.source == {"kind": "given", "name": str(video), "width": 64, "height": 48}
        for cold in ("open_ms", "first_frame_ms"):
            assert (run.figures[cold] or 0) > 0


def test_the_record_names_the_model_by_its_hash(tiny_bundle: Path) -> None:
    record = bench(tiny_bundle, None, Options(threads=(1,), runs=2, warmup=0))
    model = (tiny_bundle / "model.tflite").read_bytes()
    assert (record.model.sha256, record.model.bytes) == (hashlib.sha256(model).hexdigest(), len(model))
    assert (record.model.input, record.model.classes, record.model.macs) == ((16, 16, 3), 3, 7000)


def test_without_a_source_there_is_no_capture_stage_and_it_is_said(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert litesight.main(["bench", str(tiny_bundle), *QUICK]) == 0
    out = capsys.readouterr().out
    assert "synthetic frame 640×480" in out
    assert "capture is not timed" in out
    assert not re.search(r"^capture", out, re.MULTILINE)
    assert re.search(r"^invoke +\d", out, re.MULTILINE)


def test_xnnpack_can_be_left_out_to_see_what_it_is_worth(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert litesight.main(["bench", str(tiny_bundle), *QUICK, "--threads", "1", "--no-xnnpack"]) == 0
    assert "1 thread, XNNPACK runs 0 of 4 operators" in capsys.readouterr().out


def test_the_file_and_the_json_on_stdout_are_the_same_and_hold_the_samples(
    tiny_bundle: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new folder" / "pi.json"
    arguments = ["bench", str(tiny_bundle), "--source", str(photos), *QUICK, "--json", "-o", str(target)]
    assert litesight.main(arguments) == 0
    out = capsys.readouterr().out
    assert out == target.read_text()
    document = json.loads(out)
    assert document["schema"] == SCHEMA
    assert len(document["runs"][0]["stages"]["invoke"]["samples"]) == 4
    assert document["target"]["kind"] == "host"
    assert document["target"]["machine"]["cores"] >= 1


def test_a_folder_with_unreadable_photos_only_ends_instead_of_looping(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("not a photo")
    assert litesight.main(["bench", str(tiny_bundle), "--source", str(tmp_path / "bad"), *QUICK]) == 1
    assert "has no picture that can be read" in capsys.readouterr().err


@pytest.mark.parametrize("threads", ["0", "1,", "1,x", "2,-1"])
def test_wrong_threads_are_one_line_and_status_2(
    tiny_bundle: Path, threads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        litesight.main(["bench", str(tiny_bundle), "--threads", threads])
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bench_without_warm_up_times_every_frame_but_the_first(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert litesight.main(["bench", str(tiny_bundle), "--runs", "3", "--warmup", "0", "--threads", "1", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["runs"][0]
    assert run["settings"]["warmup"] == 0
    assert run["stages"]["invoke"]["n"] == 3


def test_a_negative_warm_up_is_refused(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        litesight.main(["bench", str(tiny_bundle), "--warmup", "-1"])
    assert "at least 0, found '-1'" in capsys.readouterr().err


def test_an_output_that_is_a_folder_is_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert litesight.main(["bench", "no.bundle", "-o", str(tmp_path)]) == 2
    assert "expected a file after -o" in capsys.readouterr().err


MODEL = ModelFacts("m", "0" * 64, 10, (16, 16, 3), 3, 7000)


def test_a_board_fits_into_the_same_schema() -> None:
    ops = (OpFigures(0, "CONV_2D", {"instructions_per_inference": 1200}),)
    figures = {"instructions_per_inference": 3456, "ram_bytes": 1000, "stack_bytes": 200, "mismatched_bytes": 0}
    run = Run("static", "0.1.0", {"cflags": "-O2"}, {"kind": "golden"}, {}, figures, ops)
    document = json.loads(Record("2026-01-01T00:00:00+00:00", "0.1.0", MODEL, Target("board", "x"), [run]).to_bytes())
    assert document["target"] == {"kind": "board", "id": "x", "machine": None}
    assert document["runs"][0]["figures"]["instructions_per_inference"] == 3456
    assert document["runs"][0]["ops"] == [
        {"index": 0, "op": "CONV_2D", "figures": {"instructions_per_inference": 1200}}
    ]
    assert document["runs"][0]["before"] is None


def test_a_figure_without_a_meaning_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="unknown figures milliseconds"):
        Run("tflm", "1", {}, {}, {}, {"milliseconds": 1.0})
    with pytest.raises(ValueError, match="unknown figures cycles"):
        Run("tflm", "1", {}, {}, {}, {}, (OpFigures(0, "ADD", {"cycles": 1.0}),))
    with pytest.raises(ValueError, match="target kind"):
        Target("laptop", "x")


def keys(document: Any) -> set[str]:
    if isinstance(document, dict):
        return set(document).union(*map(keys, document.values()))
    if isinstance(document, list):
        return set().union(*map(keys, document))
    return set()


def test_every_field_of_the_record_is_documented(tiny_bundle: Path, video: Path) -> None:
    record = bench(tiny_bundle, str(video), Options(threads=(1,), runs=1, warmup=0))
    documented = set(re.findall(r"`([a-z0-9_]+)`", DOCS.read_text(encoding="utf-8")))
    missing = (keys(record.to_json()) | FIGURES.keys()) - documented
    assert not missing, f"docs/bench-schema.md does not mention {sorted(missing)}"


def fake_machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


PI = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n",
    "proc/meminfo": "MemTotal:        8000 kB\nMemAvailable:    4000 kB\n",
    "proc/self/status": "Name:\tpython3\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n",
    "sys/class/thermal/thermal_zone0/temp": "51234\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "70000\n",
    "sys/class/thermal/thermal_zone1/type": "nvme\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
}


def test_a_raspberry_pi_is_read_from_its_files(tmp_path: Path) -> None:
    root = fake_machine(tmp_path, PI)
    facts, state = read_facts(root), read_state(root)
    assert (facts.board, facts.cpu) == ("Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76")
    assert facts.features == ("asimd", "asimddp")
    assert facts.memory_bytes == 8000 * 1024
    assert state.temperature_c == 51.234, "the processor's zone, not the hottest"
    assert (state.governor, state.clock_mhz) == ("ondemand", 2400.0)
    assert state.throttled == 0x50005
    assert state.throttle_reasons == (
        "under-voltage now",
        "throttled now",
        "under-voltage since boot",
        "was throttled since boot",
    )
    assert read_memory(root) == (1024 * 1024, 2048 * 1024)


def test_a_machine_that_tells_nothing_is_unknown_not_guessed(tmp_path: Path) -> None:
    facts, state = read_facts(tmp_path), read_state(tmp_path)
    assert (facts.board, facts.cpu, facts.memory_bytes, facts.features) == (None, None, None, ())
    assert state == MachineState(None, None, None, None)
    assert state.throttle_reasons is None
    assert read_memory(tmp_path) == (None, None)


@pytest.mark.parametrize(
    ("text", "bits"),
    [("throttled=0x0\n", 0), ("throttled=0x50000\n", 0x50000), ("error", None), ("", None), ("throttled=0xzz", None)],
)
def test_the_firmware_answer_is_parsed(text: str, bits: int | None) -> None:
    assert parse_throttled(text) == bits


def test_peak_memory_is_of_this_process_and_plausible() -> None:
    resident, peak = read_memory()
    assert resident is not None
    assert peak is not None
    assert 10_000_000 < resident <= peak + 4_000_000


def test_a_bundle_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(LitesightError, match="no bundle at"):
        bench(tmp_path / "nothing", None, Options(threads=(1,)))
