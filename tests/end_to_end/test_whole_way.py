# SPDX-License-Identifier: Apache-2.0
"""Photos → bundle → C array → classification, through the commands; every step must agree with the one before."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device import bundle as contract
from device.images import read_image
from device.interpreter import open_interpreter
from device.preprocess import Preprocessor
from firmware_export import tflm_oracle
from train_host.evaluate import evaluate_bundle

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_the_network_learns_and_int8_keeps_it(bundle: Path) -> None:
    metrics = contract.load(bundle).manifest.metrics
    assert metrics["n_test"] == 15
    assert metrics["float_top1"] >= 0.8
    assert metrics["int8_top1"] >= metrics["float_top1"] - 0.1


def test_the_bundle_holds_what_was_measured(bundle: Path, photos: Path) -> None:
    loaded = contract.load(bundle)
    assert loaded.labels == ("grün blau", "red", "ärger"), "sorted by code point"
    spec = loaded.manifest.input
    assert (spec.height, spec.width, spec.scale, spec.zero_point) == (32, 32, 1 / 128, 0)
    listed = (bundle / contract.CALIBRATION).read_text().splitlines()
    assert loaded.manifest.calibration.n == len(listed) > 0
    assert all((photos / name).is_file() for name in listed)
    assert [path.name for path in bundle.parent.iterdir()] == ["colours"], "no checkpoint or cache is left"


def test_calibration_photos_are_not_test_photos(bundle: Path, photos: Path) -> None:
    from train_host.dataset import scan

    listed = set((bundle / contract.CALIBRATION).read_text().splitlines())
    dataset = scan(photos, seed=3)
    assert listed <= {dataset.name_of(photo) for photo in dataset.train}
    assert not listed & {dataset.name_of(photo) for photo in (*dataset.test, *dataset.val)}


def test_evaluate_of_the_unseen_gives_the_manifests_figures(litesight: Command, bundle: Path, photos: Path) -> None:
    done = litesight("evaluate", bundle, photos, "--json", "--unseen")
    figures, metrics = json.loads(done.stdout), contract.load(bundle).manifest.metrics
    for key in ("float_top1", "int8_top1", "agreement"):
        assert figures[key] == metrics[key], key
    assert [row["label"] for row in figures["per_class"]] == ["grün blau", "red", "ärger"]
    assert sum(row["n"] for row in figures["per_class"]) == figures["n"] == metrics["n_test"] == 15
    assert "warning" not in done.stderr


def test_evaluate_says_that_it_measures_on_training_photos(litesight: Command, bundle: Path, photos: Path) -> None:
    done = litesight("evaluate", bundle, photos, "--json")
    assert "warning: 57 of 72 photos were seen in training" in done.stderr
    assert json.loads(done.stdout)["seen_in_training"] == 57


def test_the_evaluations_int8_logits_are_the_float_ones_but_for_rounding(bundle: Path, photos: Path) -> None:
    some = [(path, 1) for path in sorted((photos / "red").iterdir())[:6]]
    logits = evaluate_bundle(contract.load(bundle), some).logits
    np.testing.assert_allclose(logits["int8"], logits["float"], atol=0.1 * float(np.ptp(logits["float"])))


def test_the_golden_vectors_are_of_all_classes(bundle: Path) -> None:
    assert len(set(contract.load(bundle).golden().outputs.argmax(axis=1).tolist())) == 3


def test_tflm_gives_the_answers_that_were_counted(bundle: Path) -> None:
    metrics = contract.load(bundle).manifest.metrics
    assert metrics["tflm_n"] == 15
    assert metrics["tflm_same_answer"] >= 0.9


def test_run_names_the_classes_that_the_network_gives(litesight: Command, bundle: Path, photos: Path) -> None:
    loaded = contract.load(bundle)
    interpreter, preprocessor = open_interpreter(loaded.model_bytes()), Preprocessor(loaded.manifest.input)
    done = litesight("run", bundle, "--source", photos / "red", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 24
    assert "XNNPACK" in done.stderr
    for line, path in zip(lines, sorted((photos / "red").iterdir()), strict=True):
        wanted = loaded.labels[int(interpreter.invoke(preprocessor(read_image(path))).argmax())]
        assert line["predictions"][0]["label"] == wanted


def test_verify_proves_the_bundle_in_tflm(litesight: Command, bundle: Path) -> None:
    found = json.loads(litesight("verify", bundle, "--json").stdout)
    assert found["mismatched_bytes"] == 0
    assert found["output_bytes"] == 8 * 3


def test_verify_fails_on_golden_vectors_of_another_network(litesight: Command, bundle: Path, tmp_path: Path) -> None:
    loaded = contract.load(bundle)
    golden = loaded.golden()
    wrong = golden.outputs.copy()
    wrong[1, 2] ^= 1
    files = {name: (bundle / name).read_bytes() for name in loaded.manifest.files}
    files[contract.GOLDEN] = contract.golden_bytes(golden.inputs, wrong, golden.oracle)
    fields = json.loads((bundle / contract.MANIFEST).read_bytes())
    for key in ("files", "schema", "manifest_sha256"):
        del fields[key]
    contract.write(tmp_path / "wrong", files, fields)
    done = litesight("verify", tmp_path / "wrong", "--json", status=1)
    assert json.loads(done.stdout)["mismatched_bytes"] == 1


def test_the_exported_array_is_the_network_and_gives_its_bytes_in_tflm(
    litesight: Command, bundle: Path, tmp_path: Path
) -> None:
    from train_host.demo import MODEL_ARRAY, array_bytes

    litesight("export", bundle, "--engine", "tflm", "-o", tmp_path / "one")
    litesight("export", bundle, "--engine", "tflm", "-o", tmp_path / "two")
    array = array_bytes((tmp_path / "one" / MODEL_ARRAY).read_text("utf-8"))
    loaded = contract.load(bundle)
    assert array == loaded.model_bytes()
    golden = loaded.golden()
    np.testing.assert_array_equal(tflm_oracle.run(array, golden.inputs).outputs, golden.outputs)
    files = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*.*")}
    assert files == {path.relative_to(tmp_path / "two"): path.read_bytes() for path in (tmp_path / "two").rglob("*.*")}


def test_the_report_shows_the_manifests_figure(bundle: Path) -> None:
    page = (bundle / contract.REPORT).read_text("utf-8")
    assert f"{contract.load(bundle).manifest.metrics['int8_top1']:.2%}" in page
    assert "ärger" in page
    assert not re.search(r"(src|href)=.https?:", page)


def test_bench_writes_the_kits_schema_with_the_models_hash(litesight: Command, bundle: Path) -> None:
    record = json.loads(litesight("bench", bundle, "--runs", "5", "--warmup", "1", "--threads", "1", "--json").stdout)
    assert record["schema"].startswith("litesight-bench/")
    assert record["model"]["sha256"] == contract.load(bundle).model_sha256
    figures = record["runs"][0]["figures"]
    assert 0 < figures["ops_xnnpack"] <= figures["ops_total"]


def test_ctrl_c_keeps_the_finished_epochs_and_resume_ends_like_an_unbroken_run(
    litesight: Command, bundle: Path, photos: Path, training_options: tuple[str, ...], tmp_path: Path
) -> None:
    target = tmp_path / "colours"
    arguments = ["train", str(photos), "-o", str(target), *training_options]
    checkpoint = tmp_path / "colours.training" / "checkpoint.npz"
    process = subprocess.Popen(
        [sys.executable, "-m", "litesight", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + 300
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, out) == (1, "")
    last = err.strip().splitlines()[-1]
    assert last.startswith("litesight: error: stopped;")
    assert "--resume" in last
    assert not target.exists()

    # Nothing but a directory with the marker of a training is taken for one.
    assert (checkpoint.parent / "litesight-training").is_file()
    refused = litesight(*arguments, status=2)
    assert "holds an interrupted training" in refused.stderr
    other = litesight(*arguments, "--learning-rate", "0.01", "--resume", status=1)
    assert "cannot resume: recipe.learning_rate was" in other.stderr
    litesight(*arguments, "--resume")
    unbroken, resumed = (
        open_interpreter(path / contract.FLOAT_MODEL).invoke(
            contract.load(bundle).golden().inputs[0].astype(np.float32) / 128
        )
        for path in (bundle, target)
    )
    np.testing.assert_allclose(resumed, unbroken, atol=0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["colours"]


@pytest.mark.parametrize("name", [*contract.REQUIRED, *contract.HOST_ONLY, contract.MANIFEST])
def test_no_command_takes_a_bundle_with_a_changed_byte(
    litesight: Command, bundle: Path, photos: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 3] ^= 1
    (copy / name).write_bytes(data)
    for arguments in (["run", copy, "--source", photos], ["verify", copy], ["export", copy, "-o", tmp_path / "out"]):
        done = litesight(*arguments, status=1)
        assert f"{name} is damaged" in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_float_network_is_not_exported(litesight: Command, bundle: Path, tmp_path: Path) -> None:
    done = litesight("export", bundle / contract.FLOAT_MODEL, "-o", tmp_path / "out", status=1)
    assert "expected a fully int8 model, found float32 input" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
