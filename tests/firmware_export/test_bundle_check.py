# SPDX-License-Identifier: Apache-2.0
"""A manifest that was written anew by hand has right hashes and may still say what is not so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import litesight
from device import bundle as bundles
from device.bundle import BundleError
from firmware_export.bundle_check import check_manifest
from firmware_export.tflite_reader import count_multiply_adds, ops_used, read_model

MakeBundle = Callable[..., Path]

LIST = b"a.png\nb.png\n"
OPS = "ADD, CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, MEAN"


def check(path: Path) -> None:
    bundle = bundles.load(path)
    check_manifest(bundle, read_model(bundle.model_bytes()))


def test_what_fits_is_accepted_in_any_order(make_bundle: MakeBundle, tiny_bytes: bytes) -> None:
    check(make_bundle())
    check(make_bundle("reversed", ops=list(ops_used(read_model(tiny_bytes)))[::-1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ops": ["ADD", "CONV_2D"]}, f"its manifest says operators ADD, CONV_2D, its model {OPS} ("),
        ({"ops": [*OPS.split(", "), "SOFTMAX"]}, f"says operators {OPS}, SOFTMAX, its model {OPS} ("),
        ({"ops": []}, f"says operators none, its model {OPS} ("),
        ({"ops": ["X" * 5000]}, f"says operators {'X' * 300}…, its model {OPS} ("),
        (
            {"calibration": {"n": 3, "sha256": hashlib.sha256(LIST).hexdigest()}},
            "its manifest says calibration photos 3, calibration.txt 2 (",
        ),
        (
            {"calibration": {"n": 2, "sha256": "0" * 64}},
            f"says calibration SHA-256 {'0' * 64}, calibration.txt {hashlib.sha256(LIST).hexdigest()} (",
        ),
    ],
)
@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_difference_is_one_line_with_both_values(
    capsys: pytest.CaptureFixture[str],
    make_bundle: MakeBundle,
    tmp_path: Path,
    command: str,
    changes: dict[str, Any],
    message: str,
) -> None:
    arguments = [command, str(make_bundle(**changes))]
    assert litesight.main(arguments + (["-o", str(tmp_path / "out")] if command == "export" else [])) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "contradicts itself" in said.err
    assert message in said.err
    assert not (tmp_path / "out").exists()


def test_other_multiply_adds_are_named(make_bundle: MakeBundle, tiny_bytes: bytes) -> None:
    true = count_multiply_adds(read_model(tiny_bytes))
    path = make_bundle(macs=true + 1)
    with pytest.raises(BundleError, match=rf"says multiply-adds {true + 1}, its model {true} \("):
        check(path)


def test_a_list_that_vanished_after_the_load_is_one_line(make_bundle: MakeBundle) -> None:
    bundle = bundles.load(make_bundle())
    (bundle.path / "calibration.txt").unlink()
    with pytest.raises(BundleError, match=r"cannot read .*calibration.txt: No such file"):
        check_manifest(bundle, read_model(bundle.model_bytes()))
