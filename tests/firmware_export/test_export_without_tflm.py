# SPDX-License-Identifier: Apache-2.0
"""On a Raspberry Pi there is no TFLM package; a bundle that was proved elsewhere must be exported all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import litesight
from device import bundle as bundles
from device.bundle import Golden
from firmware_export.arena import arena_size
from firmware_export.tflite_reader import read_model

TINY = Path(__file__).resolve().parent / "data" / "tiny_int8.tflite"
ARENA = 7680

MakeBundle = Callable[..., Path]


@pytest.fixture(autouse=True)
def _pi(without_tflm: None) -> None:
    """Every test here."""


def refused(capsys: pytest.CaptureFixture[str], source: Path, out: Path) -> str:
    assert litesight.main(["export", str(source), "-o", str(out)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert not out.exists()
    return said.err


def test_the_arena_and_the_golden_vectors_come_from_the_bundle(
    capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle, tmp_path: Path, tiny_golden: Golden
) -> None:
    path = make_bundle(metrics={"tflm_arena_bytes": ARENA})
    assert litesight.main(["export", str(path), "-o", str(tmp_path / "out")]) == 0
    assert f"{ARENA} bytes measured in TFLM when the bundle was made (there is none here)" in capsys.readouterr().out
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert facts["arena_source"] == "manifest"
    assert facts["memory"]["arena_host_bytes"] == ARENA
    assert facts["memory"]["arena_bytes"] == arena_size(read_model(TINY.read_bytes()), ARENA).total_bytes
    assert facts["oracle"] == facts["golden_oracle"] == tiny_golden.oracle
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "they were made with it, on another machine, and not checked\nagain at this export" in readme
    header = (tmp_path / "out" / "src" / "litesight_model.h").read_text()
    assert "(when the bundle was made, on another machine; TFLM was not installed at this export)" in header
    vectors = (tmp_path / "out" / "src" / "litesight_golden.c").read_text()
    assert ", ".join(str(value) for value in tiny_golden.outputs[0].tolist()) in vectors


def test_the_self_test_still_compiles(
    make_bundle: MakeBundle, tmp_path: Path, require_tool: Callable[[str], str], run_tool: Callable[..., str]
) -> None:
    path = make_bundle(metrics={"tflm_arena_bytes": ARENA})
    assert litesight.main(["export", str(path), "-o", str(tmp_path / "out")]) == 0
    sources = [str(source) for source in (tmp_path / "out").rglob("*.c")]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
    run_tool([require_tool("gcc"), *flags, f"-I{tmp_path}/out/src", f"-I{tmp_path}/out/example", *sources])


def test_what_tflm_never_measured_is_refused(
    capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle, tmp_path: Path
) -> None:
    line = refused(capsys, make_bundle(), tmp_path / "out")
    assert "the Python package tflite-micro is missing, and none ran the model when the bundle was made" in line
    assert "(make the bundle or export it on x86-64 Linux" in line


@pytest.mark.parametrize("oracle", ["ai-edge-litert 2.3.0, not TFLM", "tflite-microscope 1", "not tflite-micro 1"])
def test_vectors_of_another_runtime_are_not_flashed_as_tflms(
    capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle, tmp_path: Path, oracle: str
) -> None:
    path = make_bundle(metrics={"tflm_arena_bytes": ARENA}, oracle=oracle)
    assert "none ran the model when the bundle was made" in refused(capsys, path, tmp_path / "out")


@pytest.mark.parametrize("stated", [0, -1, 2560, True, 7680.0, "7680\n", [], 1 << 40, "9" * 1000])
def test_an_arena_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle, tmp_path: Path, stated: Any
) -> None:
    path = make_bundle(metrics={"tflm_arena_bytes": stated})
    line = refused(capsys, path, tmp_path / "out")
    assert "metrics.tflm_arena_bytes: expected more than the 2560 bytes of the activations, found " in line
    assert len(line) < 500 + len(str(path))


def test_a_bare_model_needs_tflm(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "it exists for x86-64 Linux only" in refused(capsys, TINY, tmp_path / "out")


def test_nothing_is_called_proved(capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle) -> None:
    assert litesight.main(["verify", str(make_bundle(metrics={"tflm_arena_bytes": ARENA}))]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "the Python package tflite-micro is missing" in said.err


def test_a_contradiction_is_found_here_too(
    capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle, tmp_path: Path
) -> None:
    path = make_bundle(metrics={"tflm_arena_bytes": ARENA}, macs=1)
    assert "says multiply-adds 1, its model" in refused(capsys, path, tmp_path / "out")
    bundle = bundles.load(path)
    assert bundle.golden().outputs.dtype == np.int8
