# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from train_host.checkpoint_reader import (
    LEGACY_MAGIC,
    LEGACY_PROTOCOL,
    CheckpointError,
    parse_checkpoint,
    read_checkpoint,
)

TENSORS: dict[str, NDArray[Any]] = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "count": np.array(7, np.int64),
    "half": np.array([0.5, -2.0], np.float16),
    "none": np.zeros((0, 4), np.float64),
}
STORAGE = {"float32": "FloatStorage", "int64": "LongStorage", "float16": "HalfStorage", "float64": "DoubleStorage"}


class _Global:
    """Pickles as a reference to a name that does not exist here, as PyTorch's do."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Only so that pickle takes it for a constructor."""


class _Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


class _Persistent:
    def __init__(self, identity: Any) -> None:
        self.identity = identity


class _Pickler(pickle._Pickler):
    """The pure-Python pickler, taught to write the three things above."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, _Global):
            return self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())  # type: ignore[attr-defined]
        if isinstance(obj, _Call):
            self.save(obj.function)
            self.save(obj.arguments)
            return self.write(b"R")  # type: ignore[attr-defined]
        if isinstance(obj, _Persistent):
            self.save(obj.identity, False)
            return self.write(b"Q")  # type: ignore[attr-defined]
        return super().save(obj, save_persistent_id)  # type: ignore[misc]


def _pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, 2).dump(value)
    return stream.getvalue()


def _view(
    key: str, array: NDArray[Any], *, count: int | None = None, offset: int = 0, shape: Any = None, strides: Any = None
) -> _Call:
    kind = _Global("torch", STORAGE[array.dtype.name])
    storage = _Persistent(("storage", kind, key, "cpu", array.size if count is None else count, None))
    steps = tuple(step // array.dtype.itemsize for step in np.ascontiguousarray(array).strides) if array.ndim else ()
    return _Call(
        _Global("torch._utils", "_rebuild_tensor_v2"),
        storage,
        offset,
        array.shape if shape is None else shape,
        steps if strides is None else strides,
        False,
        _Call(_Global("collections", "OrderedDict")),
    )


def _legacy(tree: Any, arrays: dict[str, NDArray[Any]], *, little_endian: bool = True) -> bytes:
    data = b"".join(
        _pickled(part) for part in (LEGACY_MAGIC, LEGACY_PROTOCOL, {"little_endian": little_endian}, tree, list(arrays))
    )
    return data + b"".join(struct.pack("<q", array.size) + array.tobytes() for array in arrays.values())


def _zipped(tree: Any, arrays: dict[str, NDArray[Any]], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("archive/data.pkl", _pickled(tree))
        archive.writestr("archive/byteorder", "little")
        for key, array in arrays.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
    return stream.getvalue()


ARRAYS = {str(100 + index): array for index, array in enumerate(TENSORS.values())}
TREE = {name: _view(key, array) for (name, array), key in zip(TENSORS.items(), ARRAYS, strict=True)}
LEGACY, ZIPPED = _legacy(TREE, ARRAYS), _zipped(TREE, ARRAYS)


def _same(found: dict[str, NDArray[Any]]) -> None:
    assert list(found) == list(TENSORS)
    for name, array in TENSORS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize("data", [LEGACY, ZIPPED], ids=["legacy", "zip"])
def test_both_formats_give_back_every_tensor(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    _same(read_checkpoint(path))


@pytest.mark.parametrize("pack", [_legacy, _zipped])
def test_a_state_dict_inside_a_dict_is_found(pack: Any) -> None:
    _same(parse_checkpoint(pack({"epoch": 3, "state_dict": TREE}, ARRAYS)))


def test_a_transposed_view_and_an_offset_are_followed() -> None:
    array = np.arange(12, dtype=np.float32)
    tree = {"t": _view("0", array, shape=(3, 2), strides=(1, 4), offset=2)}
    expected = np.array([[2, 6], [3, 7], [4, 8]], np.float32)
    assert np.array_equal(parse_checkpoint(_legacy(tree, {"0": array}))["t"], expected)


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_is_refused_and_never_run(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    hostile = pickle.dumps({"x": _Evil(marker)}, protocol)
    preamble = b"".join(map(_pickled, (LEGACY_MAGIC, LEGACY_PROTOCOL, {"little_endian": True})))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", hostile)
    for data in (hostile, preamble + hostile, stream.getvalue()):
        with pytest.raises(CheckpointError):
            parse_checkpoint(data)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["os system", "builtins eval", "torch load", "torch._utils _rebuild_sparse", "collections Counter"]
)
def test_any_other_global_is_refused_by_name(name: str) -> None:
    module, attribute = name.split()
    with pytest.raises(CheckpointError, match=f"refused: the file asks for {module}.{attribute}"):
        parse_checkpoint(_legacy({"x": _Call(_Global(module, attribute), "1")}, {}))


ONE = np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (_view("0", ONE, shape=(5,), strides=(1,)), "reaches beyond its storage"),
        (_view("0", ONE, shape=(4,), strides=(2,)), "reaches beyond its storage"),
        (_view("0", ONE, offset=1), "reaches beyond its storage"),
        (_view("0", ONE, shape=(10**9,), strides=(0,)), "reaches beyond its storage"),
        (_view("0", ONE, shape=(0,), strides=(1,), offset=9), "reaches beyond its storage"),
        (_view("0", ONE, shape=(-1,), strides=(1,)), "malformed tensor"),
        (_view("0", ONE, shape=(4, 1), strides=(1,)), "malformed tensor"),
        (_view("0", ONE, count=5), "expected 5 elements, found 4"),
        (_view("0", ONE, count=-1), "expected a sensible element count"),
    ],
)
def test_a_tensor_that_lies_about_its_size_is_refused(view: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_checkpoint(_legacy({"x": view}, {"0": ONE}))


def test_many_views_of_one_storage_cannot_fill_the_memory() -> None:
    array = np.zeros(1 << 16, np.float32)
    tree = {f"t{index}": _view("0", array) for index in range(64)}
    with pytest.raises(CheckpointError, match="more than"):
        parse_checkpoint(_legacy(tree, {"0": array}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "malformed|truncated"),
        (b"hello", "malformed|refused"),
        (_pickled(3), "wrong magic number"),
        (_legacy(TREE, ARRAYS, little_endian=False), "little-endian"),
        (_legacy({"x": "text"}, {}), "expected a tensor at 'x', found str"),
        (_legacy(["list"], {}), "expected a dict of tensors, found list"),
        (_legacy(TREE, ARRAYS) + b"\0", "unexpected bytes"),
        (_legacy({}, {"7": ONE}), "'7' is unknown"),
        (LEGACY.replace(b"collections\n", b"collec\\ions\n"), "refused: the file asks for"),
        (_zipped(TREE, {}), "is missing in the archive"),
        (_zipped(TREE, {**ARRAYS, "100": ONE}), "expected 96 bytes, found 16"),
        (_zipped(TREE, ARRAYS, zipfile.ZIP_DEFLATED), "not a compressed"),
    ],
)
def test_a_malformed_file_is_an_error_that_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_checkpoint(data)


def test_a_missing_file_and_a_directory_are_errors_with_their_path(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(CheckpointError, match=str(path)):
            read_checkpoint(path)


@given(st.integers(0, max(len(LEGACY), len(ZIPPED)) - 1))
def test_a_file_cut_anywhere_is_refused(length: int) -> None:
    for data in (LEGACY, ZIPPED):
        if length < len(data):
            with pytest.raises(CheckpointError):
                parse_checkpoint(data[:length])


@settings(max_examples=300)
@given(
    st.booleans(),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_changed_bytes_give_tensors_or_a_checkpoint_error(zipped: bool, changes: list[tuple[float, int]]) -> None:
    data = bytearray(ZIPPED if zipped else LEGACY)
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        found = parse_checkpoint(bytes(data))
    except CheckpointError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        parse_checkpoint(data)


def test_an_ordered_dict_with_attributes_is_read() -> None:
    # PyTorch hangs `_metadata` on its OrderedDict with a BUILD instruction.
    class _Builder(collections.OrderedDict[str, Any]):
        def __reduce__(self) -> Any:
            return _Global("collections", "OrderedDict"), (), {"_metadata": {}}, None, iter(TREE.items())

    _same(parse_checkpoint(_legacy(_Builder(), ARRAYS)))
