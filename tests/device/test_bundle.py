# SPDX-License-Identifier: Apache-2.0
"""A bundle that is not exactly what was written must not load."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import bundle
from device.bundle import BundleError
from device.errors import LitesightError
from device.manifest import MAX_BYTES, ManifestError, input_fields, manifest_bytes, parse_manifest
from device.preprocess import InputSpec

SPEC = InputSpec(4, 6)


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "cells",
        "license": "Apache-2.0",
        "classes": 2,
        "input": input_fields(SPEC),
        "output": {"scale": 0.1, "zero_point": -3, "activation": "none"},
        "architecture": {"width": 0.35},
        "ops": ["CONV_2D"],
        "macs": 12,
        "calibration": {"n": 1, "sha256": "0" * 64},
        "metrics": {"int8_top1": 0.5},
        "tools": {"python": "3.11"},
        **changes,
    }


def content() -> dict[str, bytes]:
    inputs = np.arange(72, dtype=np.int8).reshape(1, 4, 6, 3)
    return {
        bundle.MODEL: b"the network",
        bundle.FLOAT_MODEL: b"the float network",
        bundle.LABELS: bundle.labels_bytes(("défective cell", "functional")),
        bundle.CALIBRATION: b"a.png\n",
        bundle.GOLDEN: bundle.golden_bytes(inputs, np.array([[3, -4]], np.int8), "tflite-micro 1"),
        bundle.MODEL_CARD: b"# cells\n",
        bundle.REPORT: b"<html>",
        bundle.SEEN: b"0123456789abcdef\n",
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    bundle.write(tmp_path / "cells", content(), fields())
    return tmp_path / "cells"


def test_what_was_written_is_read(path: Path) -> None:
    loaded = bundle.load(path)
    assert loaded.labels == ("défective cell", "functional")
    assert loaded.model_bytes() == b"the network"
    assert loaded.manifest.input == SPEC
    assert (loaded.manifest.output.scale, loaded.manifest.output.zero_point) == (0.1, -3)
    golden = loaded.golden()
    assert golden.inputs.tolist() == np.arange(72).reshape(1, 4, 6, 3).tolist()
    assert (golden.outputs.tolist(), golden.oracle) == ([[3, -4]], "tflite-micro 1")


@pytest.mark.parametrize("name", [*content(), bundle.MANIFEST])
def test_a_changed_byte_in_any_file_is_an_error(path: Path, name: str) -> None:
    original = (path / name).read_bytes()
    for position in {0, len(original) // 2, len(original) - 1}:
        changed = bytearray(original)
        changed[position] ^= 0x20
        (path / name).write_bytes(changed)
        with pytest.raises(LitesightError, match=f"{name} is damaged"):
            bundle.load(path)


@pytest.mark.parametrize("name", [*content(), bundle.MANIFEST])
def test_a_file_cut_short_is_an_error(path: Path, name: str) -> None:
    (path / name).write_bytes((path / name).read_bytes()[:-1])
    with pytest.raises(LitesightError, match=f"{name} is damaged"):
        bundle.load(path)


@pytest.mark.parametrize("name", bundle.REQUIRED)
def test_a_missing_file_is_an_error(path: Path, name: str) -> None:
    (path / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        bundle.load(path)


@pytest.mark.parametrize("name", bundle.HOST_ONLY)
def test_a_bundle_stripped_for_a_device_is_whole(path: Path, name: str) -> None:
    (path / name).unlink()
    assert bundle.load(path).model_bytes() == b"the network"


def test_without_the_float_network_there_is_no_path_to_it(path: Path) -> None:
    assert bundle.load(path).float_model_path == path / "float.tflite"
    (path / "float.tflite").unlink()
    assert bundle.load(path).float_model_path is None


def test_the_model_is_checked_again_when_it_is_read(path: Path) -> None:
    loaded = bundle.load(path)
    (path / bundle.MODEL).write_bytes(b"the netw0rk")
    with pytest.raises(BundleError, match="damaged"):
        loaded.model_bytes()


def test_a_manifest_made_pretty_by_an_editor_is_an_error(path: Path) -> None:
    document = json.loads((path / bundle.MANIFEST).read_bytes())
    (path / bundle.MANIFEST).write_text(json.dumps(document))
    with pytest.raises(LitesightError, match="its own hash does not fit"):
        bundle.load(path)


def test_another_schema_names_both_versions(path: Path) -> None:
    with pytest.raises(LitesightError, match="expected schema 1, found 2"):
        parse_manifest(b'{"schema": 2}', Path("manifest.json"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": 3}, "labels.txt has 2 labels, the manifest says 3 classes"),
        ({"classes": True}, "classes: expected a whole number"),
        ({"name": ""}, "name: expected a text"),
        ({"name": "a\x1b[31mb"}, "name: expected printable text"),
        ({"license": "a\nb"}, "license: expected printable text"),
        ({"ops": ["CONV_2D\x07"]}, "ops: expected printable text"),
        ({"ops": [1]}, "ops: expected printable text"),
        ({"tools": {"a": "\x9b1m"}}, "tools.a: expected printable text"),
        ({"tools": {"\x9b1m": ""}}, "tools: expected printable text"),
        ({"name": "half a pair \ud800"}, "a value that cannot be written"),
        ({"macs": float("nan")}, "a value that cannot be written"),
        ({"input": {**input_fields(SPEC), "scale": 10**400}}, "input.scale: expected a positive number"),
        ({"input": {**input_fields(SPEC), "scale": 1e-320}}, "input.scale: expected a positive number that float32"),
        ({"input": {**input_fields(SPEC), "scale": 1e39}}, "input.scale: expected a positive number that float32"),
        ({"input": {**input_fields(SPEC), "std": [10**400] * 3}}, "input.std: expected a list of numbers"),
        ({"input": {**input_fields(SPEC), "std": [1e-320] * 3}}, "input.std: expected a list of numbers"),
        ({"input": {**input_fields(SPEC), "mean": [-(10**400)] * 3}}, "input.mean: expected a list of numbers"),
        ({"input": {**input_fields(SPEC), "std": [0, 1, 1]}}, "std must be greater than 0"),
        ({"output": {"scale": 1e-320, "zero_point": 0, "activation": "none"}}, "output.scale: expected a positive"),
        ({"output": {"scale": -1, "zero_point": 0, "activation": "none"}}, "output.scale: expected a positive number"),
        ({"output": {"scale": 0, "zero_point": 0, "activation": "none"}}, "output.scale: expected a positive number"),
        ({"output": {"scale": 1, "zero_point": 0, "activation": "relu"}}, "output.activation: expected one of"),
        ({"output": {"scale": 1, "zero_point": 300, "activation": "none"}}, "output.zero_point: expected a whole"),
        ({"calibration": {"n": 1, "sha256": "abc"}}, "calibration.sha256: expected 64 hexadecimal digits"),
        ({"input": {**input_fields(SPEC), "resize": "lanczos"}}, "lanczos"),
        ({"input": {**input_fields(SPEC), "mean": ["a"]}}, "input.mean: expected a list of numbers"),
        ({"input": {}}, "the field input.height is missing"),
        ({"ops": "CONV_2D"}, "ops: expected a list"),
    ],
)
def test_a_wrong_field_is_refused_by_name_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises((ManifestError, BundleError), match=said) as caught:
        bundle.write(tmp_path / "cells", content(), fields(**changes))
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [bundle.MANIFEST, bundle.MODEL])
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_pipe_in_a_bundle_is_refused_and_not_waited_for(path: Path, name: str, kind: str) -> None:
    (path / name).unlink()
    if kind == "pipe":
        os.mkfifo(path / name)
    else:
        (path / name).mkdir()
    with pytest.raises(BundleError, match=f"{name}: expected a regular file, found a {kind}"):
        bundle.load(path)


def test_an_endless_manifest_is_refused_unread(path: Path) -> None:
    with (path / bundle.MANIFEST).open("r+b") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(BundleError, match=f"has {1 << 40} bytes; at most {MAX_BYTES}"):
        bundle.load(path)


def test_a_manifest_that_asks_for_endless_memory_is_refused() -> None:
    raw = manifest_bytes(fields(files={"model.tflite": {"sha256": "0" * 64, "bytes": 1 << 40}}))
    with pytest.raises(ManifestError, match=r"files/model\.tflite/bytes: expected a size of at most"):
        parse_manifest(raw, Path("manifest.json"))


def test_half_a_surrogate_pair_in_a_file_is_a_damaged_manifest() -> None:
    raw = manifest_bytes(fields(name="NAME", files={})).replace(b"NAME", b"\\ud800")
    with pytest.raises(ManifestError, match="damaged"):
        parse_manifest(raw, Path("manifest.json"))


def test_a_file_name_cannot_reach_outside_the_bundle() -> None:
    raw = manifest_bytes(fields(files={"../secret": {"sha256": "0" * 64, "bytes": 1}}))
    with pytest.raises(LitesightError, match="expected plain file names"):
        parse_manifest(raw, Path("manifest.json"))


@pytest.mark.parametrize("notes", [False, True])
def test_a_directory_with_anything_of_the_users_is_not_replaced(path: Path, tmp_path: Path, notes: bool) -> None:
    target = path if notes else tmp_path / "extension"
    target.mkdir(exist_ok=True)
    mine = target / ("notes.md" if notes else "manifest.json")
    mine.write_text('{"name": "a browser extension", "manifest_version": 3}')
    with pytest.raises(LitesightError, match="choose another output"):
        bundle.write(target, content(), fields())
    assert mine.exists()


def test_a_damaged_bundle_may_be_replaced(path: Path) -> None:
    (path / bundle.MODEL).write_bytes(b"damaged")
    bundle.write(path, content(), fields())
    assert bundle.load(path).model_bytes() == b"the network"


def test_a_failed_write_keeps_the_old_bundle(path: Path) -> None:
    with pytest.raises(LitesightError):
        bundle.write(path, content(), fields(classes=7))
    assert bundle.load(path).manifest.classes == 2


@pytest.mark.parametrize(("target", "said"), [("nothing", "no bundle at"), ("file", "is a file"), ("empty", "no mani")])
def test_a_place_without_a_bundle_says_what_is_there(tmp_path: Path, target: str, said: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=said):
        bundle.load(tmp_path / target)


def test_an_empty_path_is_not_shown_as_a_lonely_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r"^the current directory is not a bundle"):
        bundle.load(Path(""))  # noqa: PTH201 - what argparse makes of ''


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (np.zeros((1, 4, 6, 3), np.uint8), np.zeros((1, 2), np.int8)),
        (np.zeros((1, 6, 4, 3), np.int8), np.zeros((1, 2), np.int8)),
        (np.zeros((2, 4, 6, 3), np.int8), np.zeros((1, 2), np.int8)),
        (np.zeros((0, 4, 6, 3), np.int8), np.zeros((0, 2), np.int8)),
        (np.zeros((1, 4, 6, 3), np.int8), np.zeros((1, 3), np.int8)),
    ],
)
def test_golden_vectors_of_another_shape_are_refused(inputs: Any, outputs: Any) -> None:
    data = bundle.golden_bytes(inputs, outputs, "x")
    with pytest.raises(BundleError, match=r"expected int8 .* found"):
        bundle.parse_golden(data, (4, 6, 3), 2, Path("golden.npz"))


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_as_manifest_are_one_error(data: bytes) -> None:
    with pytest.raises(LitesightError):
        parse_manifest(data, Path("manifest.json"))


@settings(max_examples=200)
@given(st.data())
def test_damaged_golden_vectors_are_one_error(data: st.DataObject) -> None:
    raw = bytearray(content()[bundle.GOLDEN])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(raw)))
    # A flipped byte in an unused header field may leave the vectors as they were.
    try:
        golden = bundle.parse_golden(bytes(raw[:cut]), (4, 6, 3), 2, Path("golden.npz"))
    except LitesightError:
        return
    assert golden.inputs.shape == (1, 4, 6, 3)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(sorted(fields())),
)
def test_any_value_in_a_field_is_taken_or_refused_by_name(value: Any, key: str) -> None:
    raw = manifest_bytes({**fields(files={}), key: value})
    said = ""
    try:
        parse_manifest(raw, Path("manifest.json"))
    except LitesightError as error:
        said = str(error)
    assert "\n" not in said


def test_as_many_labels_as_a_manifest_allows_are_read() -> None:
    """A comparison of each with each would take minutes here."""
    labels = tuple(f"class {number}" for number in range(100_000))
    assert bundle.parse_labels(bundle.labels_bytes(labels), Path("labels.txt")) == labels


def test_an_oracle_cannot_colour_the_terminal() -> None:
    data = bundle.golden_bytes(np.zeros((1, 4, 6, 3), np.int8), np.zeros((1, 2), np.int8), "tflm\x1b[31m")
    with pytest.raises(BundleError, match="printable name of an oracle"):
        bundle.parse_golden(data, (4, 6, 3), 2, Path("golden.npz"))


def test_labels_must_be_text_without_gaps() -> None:
    with pytest.raises(BundleError, match="line 2: expected a label, found an empty line"):
        bundle.parse_labels(b"a\n\nb\n", Path("labels.txt"))
    with pytest.raises(BundleError, match="line 3: the label 'a' stands there twice"):
        bundle.parse_labels(b"a\nb\na\n", Path("labels.txt"))
    with pytest.raises(BundleError, match=r"line 2: expected a printable label, found 'b\\x1b\[31m'"):
        bundle.parse_labels(b"a\nb\x1b[31m\n", Path("labels.txt"))
    with pytest.raises(BundleError, match="line 1: expected a printable label"):
        bundle.parse_labels(b"a\r\nb\r\n", Path("labels.txt"))
    with pytest.raises(BundleError, match="not UTF-8"):
        bundle.parse_labels(b"\xff", Path("labels.txt"))
