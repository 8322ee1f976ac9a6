# SPDX-License-Identifier: Apache-2.0
"""The oracle gives TFLM's bytes and a true arena size, and whatever goes wrong in TFLM is one line here."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import tflite
from hypothesis import given
from hypothesis import strategies as st

from device.bundle import Golden
from firmware_export import tflm_oracle
from firmware_export.tflite_reader import ModelError
from firmware_export.tflm_child import smallest_arena
from firmware_export.tflm_oracle import OracleError

T = TypeVar("T")


def test_the_golden_vectors_come_out_byte_for_byte(
    require_oracle: None, tiny_bytes: bytes, tiny_golden: Golden
) -> None:
    shown: list[tuple[str, int | None]] = []

    def progress(iterable: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        shown.append((label, total))
        return iter(iterable)

    result = tflm_oracle.run(tiny_bytes, tiny_golden.inputs, progress=progress)
    assert result.outputs.dtype == np.int8
    np.testing.assert_array_equal(result.outputs, tiny_golden.outputs)
    assert shown == [("Running TFLM", 4)]
    breakdown = result.arena_breakdown
    assert breakdown["total"] == breakdown["head"] + breakdown["tail"]
    assert breakdown["head"] == 2560
    assert breakdown["Persistent buffer data"] > 0
    assert breakdown["total"] <= result.arena_bytes < breakdown["total"] + 4096
    assert result.arena_bytes % 16 == 0
    assert result.name == f"tflite-micro {tflm_oracle.version()}"
    again = tflm_oracle.run(tiny_bytes, tiny_golden.inputs[:1])
    assert again.arena_bytes == result.arena_bytes


@given(st.integers(1, 100_000), st.integers(0, 100_000))
def test_the_arena_found_is_the_least_that_suffices(recorded: int, more: int) -> None:
    needed = recorded + more
    tried: list[int] = []

    def suffices(size: int) -> bool:
        tried.append(size)
        return size >= needed

    found = smallest_arena(suffices, recorded)
    assert found % 16 == 0
    assert found - 16 < needed <= found
    # TFLM crashes in an arena far below what it recorded.
    assert min(tried) >= recorded


def test_inputs_of_another_shape_or_type_are_refused(require_oracle: None, tiny_bytes: bytes) -> None:
    for inputs in (np.zeros((1, 16, 15, 3), np.int8), np.zeros((0, 16, 16, 3), np.int8)):
        with pytest.raises(OracleError, match=r"expected int8 inputs \('n', \(16, 16, 3\)\), found int8 \("):
            tflm_oracle.run(tiny_bytes, inputs)
    with pytest.raises(OracleError, match="found float32"):
        tflm_oracle.run(tiny_bytes, np.zeros((1, 16, 16, 3), np.float32))


def test_a_damaged_model_does_not_reach_tflm(require_oracle: None, tiny_bytes: bytes, tiny_golden: Golden) -> None:
    with pytest.raises(ModelError, match="damaged"):
        tflm_oracle.run(tiny_bytes[:5000], tiny_golden.inputs)


def test_what_tflm_refuses_is_one_line(require_oracle: None, tiny_bytes: bytes, tiny_golden: Golden) -> None:
    """The ADD of the graph turned into an operator that TFLM lacks."""
    model = tflite.Model.GetRootAsModel(tiny_bytes, 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    data = bytearray(tiny_bytes)
    code = next(code for code in codes if code.BuiltinCode() == tflite.BuiltinOperator.CONV_2D)
    for slot in (0, 3):
        offset = code._tab.Offset(4 + 2 * slot)
        data[code._tab.Pos + offset] = tflite.BuiltinOperator.L2_POOL_2D
    with pytest.raises(OracleError, match=r"TFLM (refused the model|crashed on this model)") as caught:
        tflm_oracle.run(bytes(data), tiny_golden.inputs)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


FAKE = """
import os, sys
class Interpreter:
    @classmethod
    def from_bytes(cls, model, arena_size):
        {body}
"""


@pytest.fixture
def fake_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_oracle: None) -> Path:
    """A package of TFLM's name that is found before the real one in the child process, and only there."""
    package = tmp_path / "tflite_micro" / "python" / "tflite_micro"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return package / "runtime.py"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.abort()", r"TFLM crashed on this model \(SIGABRT\)"),
        (
            "os.write(2, b'Dims mismatch: 3 vs 4\\n'); raise RuntimeError('TFLM failed')",
            "refused the model: Dims mismatch",
        ),
        ("raise RuntimeError('TFLM failed to allocate tensors')", "TFLM failed to allocate tensors"),
        ("sys.exit(3)", "exit status 3"),
    ],
)
def test_a_crash_of_tflm_is_one_line(
    fake_runtime: Path, tiny_bytes: bytes, tiny_golden: Golden, body: str, message: str
) -> None:
    fake_runtime.write_text(FAKE.format(body=body))
    with pytest.raises(OracleError, match=message) as caught:
        tflm_oracle.run(tiny_bytes, tiny_golden.inputs)
    assert "\n" not in str(caught.value)


SMALL_ARENA_CRASHES = """
import os, sys
import numpy
class Interpreter:
    @classmethod
    def from_bytes(cls, model, arena_size):
        if arena_size < 3000:
            os.abort()
        return cls()
    def set_input(self, values, index):
        pass
    def invoke(self):
        pass
    def get_output(self, index):
        return numpy.zeros((1, 4), numpy.int8)
    def print_allocations(self):
        for line in ("allocation total 1600", "allocation head 1000", "allocation tail 600"):
            print(f"Arena {line} bytes", file=sys.stderr)
"""


def test_a_crash_in_too_small_an_arena_ends_only_the_search(
    fake_runtime: Path, tiny_bytes: bytes, tiny_golden: Golden
) -> None:
    """While it plans a network of few small tensors, TFLM needs more than it records, and crashes without it."""
    fake_runtime.write_text(SMALL_ARENA_CRASHES)
    assert tflm_oracle.run(tiny_bytes, tiny_golden.inputs).arena_bytes == 3008


def test_a_search_in_which_nothing_suffices_ends_with_the_ample_arena(
    fake_runtime: Path, tiny_bytes: bytes, tiny_golden: Golden
) -> None:
    fake = SMALL_ARENA_CRASHES.replace("if arena_size < 3000:", "if hasattr(cls, 'was_made'):")
    fake_runtime.write_text(
        fake.replace("os.abort()", "raise ValueError").replace("return cls()", "cls.was_made = 1; return cls()")
    )
    assert tflm_oracle.run(tiny_bytes, tiny_golden.inputs, timeout_s=30.0).arena_bytes > 1 << 20


def test_a_hanging_tflm_is_stopped(fake_runtime: Path, tiny_bytes: bytes, tiny_golden: Golden) -> None:
    fake_runtime.write_text(FAKE.format(body="import time; time.sleep(600)"))
    with pytest.raises(OracleError, match="did not end within 1 s on 4 inputs"):
        tflm_oracle.run(tiny_bytes, tiny_golden.inputs, timeout_s=1.0)


def test_a_full_temporary_directory_is_one_line(
    require_oracle: None, monkeypatch: pytest.MonkeyPatch, tiny_bytes: bytes, tiny_golden: Golden
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OracleError, match="cannot run TFLM: No space left on device in"):
        tflm_oracle.run(tiny_bytes, tiny_golden.inputs)


def test_a_machine_without_tflm_is_told_so(
    monkeypatch: pytest.MonkeyPatch, tiny_bytes: bytes, tiny_golden: Golden
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(OracleError, match=r"tflite-micro is missing \(it exists for x86-64 Linux only"):
        tflm_oracle.run(tiny_bytes, tiny_golden.inputs)


@pytest.mark.skipif(
    os.environ.get("REQUIRE_TOOLS") != "1" or (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="the package is for x86-64 Linux, and a laptop may do without it",
)
def test_ci_has_the_oracle_without_which_other_tests_skip() -> None:
    assert tflm_oracle.version()
