# SPDX-License-Identifier: Apache-2.0
"""``litesight verify``: the proof that a bundle's bytes are TFLM's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import litesight
from device.bundle import Golden
from firmware_export import tflm_oracle

MakeBundle = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("require_oracle")


def test_a_good_bundle_is_proved(capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle) -> None:
    assert litesight.main(["verify", str(make_bundle())]) == 0
    said = capsys.readouterr().out
    assert "mismatched bytes  0 of 16" in said
    assert "every byte equal" in said
    assert f"tflite-micro {tflm_oracle.version()}" in said


def test_one_wrong_byte_fails_and_is_located(
    capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle, tiny_golden: Golden
) -> None:
    outputs = tiny_golden.outputs.copy()
    outputs[2, 1] ^= 1
    path = make_bundle(outputs=outputs)
    assert litesight.main(["verify", str(path)]) == 1
    said = capsys.readouterr().out
    assert "mismatched bytes  1 of 16" in said
    assert "DIFFERENT in vectors 2:" in said
    assert litesight.main(["verify", str(path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["mismatched_bytes"] == 1
    assert document["mismatched_vectors"] == [2]
    assert document["equal"] is False
    assert document["vectors"] == 4
    assert document["arena_bytes"] > 2560
    assert document["oracle"] == document["golden_oracle"]


def test_a_damaged_bundle_is_one_line(capsys: pytest.CaptureFixture[str], make_bundle: MakeBundle) -> None:
    path = make_bundle()
    model = path / "model.tflite"
    data = bytearray(model.read_bytes())
    data[5000] ^= 1
    model.write_bytes(data)
    assert litesight.main(["verify", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "model.tflite is damaged" in said.err
