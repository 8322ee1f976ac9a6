# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import bundle as bundles
from device.bundle import BundleError
from device.errors import LitesightError
from device.graph_check import check_graph, count_delegated, writer_of
from device.interpreter import (
    Interpreter,
    InterpreterError,
    check_against_manifest,
    load_runtime,
    open_interpreter,
)
from device.manifest import input_fields
from device.preprocess import InputSpec, Preprocessor

DATA = Path(__file__).parent / "data"
SIDE = 16
BundleMaker = Callable[..., Path]
Painter = Callable[..., np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return open_interpreter(DATA / "tiny_int8.tflite", threads=1)


def test_int8_network_tells_its_facts(interpreter: Interpreter) -> None:
    assert (interpreter.input.shape, interpreter.input.dtype) == ((1, SIDE, SIDE, 3), "int8")
    assert (interpreter.input.scale, interpreter.input.zero_point) == (1 / 128, 0)
    assert (interpreter.output.shape, interpreter.output.scale) == ((1, 3), 1 / 32)
    assert interpreter.threads == 1
    assert interpreter.runtime.startswith(("ai-edge-litert ", "tflite-runtime "))


@pytest.mark.parametrize(("number", "color"), [(0, "red"), (1, "green"), (2, "blue")])
def test_int8_network_sees_the_colour_of_an_rgb_picture(
    interpreter: Interpreter, plain: Painter, number: int, color: str
) -> None:
    output = interpreter.invoke(Preprocessor(InputSpec(SIDE, SIDE))(plain(color)))
    assert output.shape == (3,)
    assert output.dtype == np.int8
    assert int(output.argmax()) == number


def test_float_network_runs_for_the_comparison_with_int8(interpreter: Interpreter, plain: Painter) -> None:
    float_network = open_interpreter(DATA / "tiny_float.tflite", threads=1)
    pixels = plain("green", SIDE, SIDE)
    as_float = float_network.invoke((pixels.astype(np.float32) - 128) / 128)
    as_int8 = interpreter.invoke((pixels ^ 0x80).view(np.int8))
    assert float_network.input.dtype == "float32"
    assert as_float.dtype == np.float32
    assert np.allclose(as_float, as_int8 * interpreter.output.scale, atol=2 * interpreter.output.scale)


def test_output_is_not_overwritten_by_the_next_frame(interpreter: Interpreter) -> None:
    first = interpreter.invoke(np.full((SIDE, SIDE, 3), 100, np.int8))
    kept = first.copy()
    interpreter.invoke(np.full((1, SIDE, SIDE, 3), -100, np.int8))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((SIDE, SIDE, 3), np.uint8),
        np.zeros((SIDE, SIDE, 3), np.float32),
        np.zeros((SIDE, SIDE), np.int8),
        np.zeros((2, SIDE, SIDE, 3), np.int8),
        np.zeros((3, SIDE, SIDE), np.int8),
    ],
)
def test_an_input_of_another_type_or_shape_is_refused(interpreter: Interpreter, x: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InterpreterError, match=r"takes int8 \(1, 16, 16, 3\)"):
        interpreter.invoke(x)


def test_xnnpack_share_is_measured_not_assumed() -> None:
    with_delegate = open_interpreter(DATA / "tiny_int8.tflite", xnnpack=True)
    without = open_interpreter(DATA / "tiny_int8.tflite", xnnpack=False)
    assert (without.ops_total, without.ops_xnnpack) == (4, 0)
    assert with_delegate.ops_total == 4
    if with_delegate.runtime.startswith("ai-edge-litert"):
        assert with_delegate.ops_xnnpack == 4


def test_xnnpack_share_of_a_network_that_it_takes_only_in_parts() -> None:
    runtime = load_runtime()
    if runtime.name != "ai-edge-litert":
        pytest.skip("another runtime delegates other operators")
    native = runtime.module.Interpreter(model_path=str(DATA / "tiny_mixed.tflite"), num_threads=1)
    native.allocate_tensors()
    # CONV_2D | CUMSUM CUMSUM | SUB | REVERSE_V2 | DEPTHWISE_CONV_2D MEAN FULLY_CONNECTED: three islands, 5 operators.
    assert count_delegated(native._get_ops_details()) == (8, 5)


def op(name: str, inputs: Sequence[int], *outputs: int) -> dict[str, Any]:
    return {"op_name": name, "inputs": list(inputs), "outputs": list(outputs)}


def test_an_operator_between_two_islands_is_not_counted() -> None:
    chain = [op("CONV_2D", [0], 1), op("CUSTOM", [1], 2), op("CONV_2D", [2], 3)]
    islands = [op("DELEGATE", [0], 1), op("DELEGATE", [2], 3)]
    assert count_delegated(chain) == (3, 0)
    assert count_delegated([*chain, *islands]) == (3, 2)


def test_an_island_with_two_ways_through_counts_each_operator_once() -> None:
    diamond = [op("RELU", [0], 1), op("RELU", [1], 2), op("RELU", [1], 3), op("ADD", [2, 3], 4)]
    assert count_delegated([*diamond, op("DELEGATE", [0], 4)]) == (4, 4)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a .tflite"),
        (b"TFL3", "not a .tflite"),
        (b"hello, this is a text file", "not a .tflite"),
        (b"\x1c\0\0\0TFL3", "refuses"),
        (b"\x1c\0\0\0TFL3" + b"\xff" * 64, "refuses"),
    ],
)
def test_a_file_that_is_no_network_is_told_in_one_line(content: bytes, told: str) -> None:
    with pytest.raises(LitesightError, match=told) as caught:
        open_interpreter(content)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InterpreterError, match=r"nothing\.tflite"):
        open_interpreter(tmp_path / "nothing.tflite")


@settings(max_examples=60)
@given(data=st.data())
def test_a_cut_network_is_refused_and_never_crashes(tiny_model: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(8, len(tiny_model) - 400))
    with pytest.raises(LitesightError):
        open_interpreter(tiny_model[:length], threads=1)


# A damaged file may end the process, so this runs in a child, which tells its seed before it dies.
FLIPS = """
import random, sys
from pathlib import Path
import numpy as np
from device.bundle import BundleError
from device.errors import LitesightError
from device.interpreter import open_interpreter
model = Path(sys.argv[1]).read_bytes()
for seed in range(int(sys.argv[2]), int(sys.argv[3])):
    random.seed(seed)
    damaged = bytearray(model)
    for _ in range(random.choice([1, 3])):
        damaged[random.randrange(8, len(damaged))] = random.randrange(256)
    print(seed, flush=True)
    try:
        interpreter = open_interpreter(bytes(damaged), threads=1)
        interpreter.invoke(np.zeros(interpreter.input.shape, interpreter.input.dtype))
    except LitesightError as error:
        assert "\\n" not in str(error)
"""


def test_changed_bytes_never_crash_the_runtime() -> None:
    child = subprocess.run(
        [sys.executable, "-c", FLIPS, str(DATA / "tiny_int8.tflite"), "0", "300"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert child.returncode == 0, f"seed {child.stdout.split()[-1:]}: {child.stderr[-500:]}"


def tensor(index: int, shape: Sequence[int] = (1, 4), dtype: Any = np.int8, **changes: Any) -> dict[str, Any]:
    facts = {"scales": np.array([0.5], np.float32), "zero_points": np.array([0]), "quantized_dimension": 0} | changes
    return {
        "index": index,
        "name": "evil\nname",
        "shape": np.array(shape),
        "dtype": dtype,
        "quantization_parameters": facts,
    }


SOUND_OPS = [op("RELU", [0], 1), op("CONV_2D", [1, 2, -1], 3)]


def test_a_float16_network_whose_weights_are_unpacked_first_passes() -> None:
    check_graph([op("DEQUANTIZE", [5], 6), op("CONV_2D", [0, 6, 7], 1)], [], [tensor(0)])


def test_a_sound_graph_passes() -> None:
    per_channel = tensor(2, (8, 1, 1, 3), scales=np.full(8, 0.5), zero_points=np.zeros(8), quantized_dimension=0)
    plain_float = tensor(3, dtype=np.float32, scales=np.array([]), zero_points=np.array([]))
    check_graph(SOUND_OPS, [tensor(0), tensor(1), per_channel, plain_float], [tensor(0)])


@pytest.mark.parametrize(
    ("ops", "told"),
    [
        ([op("CONV_2D", [0], 1)], "2 to 3 inputs, found 1"),
        ([op("DEPTHWISE_CONV_2D", [0, 2], 1)], "3 inputs, found 2"),
        ([op("ADD", [0, 2, 3], 1)], "2 inputs, found 3"),
        ([op("ADD", [0, -1], 1)], "tensor -1, which does not exist"),
        ([op("CONV_2D", [0, 2, -2], 1)], "tensor -2, which does not exist"),
        ([op("RELU", [0])], "one output, found 0"),
        ([op("RELU", [0], 1), op("RELU", [0], 1)], "writes tensor 1, which is written already"),
        ([op("RELU", [1], 0)], "writes tensor 0, which is written already"),
        ([op("RELU", [1], 2), op("RELU", [0], 1)], "reads tensor 1 before it is written"),
        ([op("RELU", [1], 1)], "reads tensor 1 before it is written"),
        ([op("CONV_2D", [5, 6, 7], 1)], "reads tensor 5, which nothing writes"),
        ([op("RELU", [0], 1), op("CONV_2D", [0, 1, 7], 2)], "weights that are not constant: tensor 1"),
        ([op("CONV_2D", [0, 0, 7], 1)], "weights that are not constant: tensor 0"),
        ([op("ADD", [5, 6], 1)], "reads nothing that another one writes"),
        ([op("SPLIT", [0, 2, 3], 1)], "'SPLIT', which is none of a classifier's"),
    ],
)
def test_a_contradictory_graph_is_refused_before_the_runtime_acts_on_it(
    ops: list[Mapping[str, Any]], told: str
) -> None:
    with pytest.raises(LitesightError, match=told):
        check_graph(ops, [tensor(0)], [tensor(0)])


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (tensor(7, scales=np.array([]), zero_points=np.array([])), "tensor 7 is int8 and has no scale"),
        (tensor(7, scales=np.array([0.0])), "not a positive number"),
        (tensor(7, scales=np.array([np.nan])), "not a positive number"),
        (tensor(7, scales=np.array([np.inf])), "not a positive number"),
        (tensor(7, zero_points=np.array([])), "1 scales and 0 zero points"),
        (tensor(7, (4, 2), scales=np.full(3, 0.5), zero_points=np.zeros(3)), "3 scales along axis 0"),
        (tensor(7, scales=np.full(4, 0.5), zero_points=np.zeros(4), quantized_dimension=2), "along axis 2"),
        (tensor(7, scales=np.full(4, 0.5), zero_points=np.zeros(4), quantized_dimension=-1), "along axis -1"),
    ],
)
def test_broken_quantisation_is_refused_before_the_runtime_aborts_on_it(bad: dict[str, Any], told: str) -> None:
    with pytest.raises(LitesightError, match=told) as caught:
        check_graph([], [bad], [])
    assert "\n" not in str(caught.value)


def test_an_operator_that_adds_weights_is_refused_before_the_runtime_aborts_on_it() -> None:
    weights = tensor(2, (8, 1, 1, 3), scales=np.full(8, 0.5), zero_points=np.zeros(8))
    with pytest.raises(LitesightError, match=r"operator 0 \(ADD\) reads a tensor with a scale per channel"):
        check_graph([op("ADD", [0, 2], 1)], [tensor(0), tensor(1), weights], [tensor(0)])


def test_a_network_with_an_operator_that_no_classifier_has_is_refused() -> None:
    with pytest.raises(InterpreterError, match="CUMSUM"):
        open_interpreter(DATA / "tiny_mixed.tflite")


def test_a_bundle_that_agrees_with_its_network_passes(make_bundle: BundleMaker, interpreter: Interpreter) -> None:
    check_against_manifest(bundles.load(make_bundle()), interpreter)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"input": input_fields(InputSpec(32, SIDE))},
            r"input shape \(1, 32, 16, 3\) in the manifest, \(1, 16, 16, 3\)",
        ),
        (
            {"input": input_fields(InputSpec(SIDE, SIDE, scale=1 / 127))},
            "scale 0.00787.* in the manifest, 0.0078125 in",
        ),
        ({"input": input_fields(InputSpec(SIDE, SIDE, zero_point=-1))}, "zero point -1 in the manifest, 0 in"),
        (
            {"output": {"scale": 0.5, "zero_point": 0, "activation": "none"}},
            "output scale 0.5 in the manifest, 0.03125",
        ),
        ({"output": {"scale": 1 / 32, "zero_point": 3, "activation": "none"}}, "zero point 3 in the manifest, 0 in"),
        (
            {"output": {"scale": 1 / 32, "zero_point": 0, "activation": "softmax"}},
            "output activation softmax in the manifest, none in the network",
        ),
    ],
)
def test_a_manifest_that_contradicts_the_network_names_both_values(
    make_bundle: BundleMaker, interpreter: Interpreter, changes: dict[str, Any], told: str
) -> None:
    bundle = bundles.load(make_bundle(**changes))
    with pytest.raises(BundleError, match=told):
        check_against_manifest(bundle, interpreter)


def test_a_manifest_with_another_number_of_classes_names_both(
    make_bundle: BundleMaker, interpreter: Interpreter
) -> None:
    with pytest.raises(BundleError, match=r"output shape \(1, 2\) in the manifest, \(1, 3\)"):
        check_against_manifest(bundles.load(make_bundle(labels=("cat", "dog"))), interpreter)


def test_the_operator_that_ends_the_network_is_named_behind_a_delegate_too() -> None:
    ops = [op("FULLY_CONNECTED", [0, 1, 2], 3), op("SOFTMAX", [3], 4), op("DELEGATE", [0], 4)]
    assert writer_of(ops, 4) == "SOFTMAX"
    assert writer_of(ops[::-1], 4) == "SOFTMAX"
    assert writer_of(ops, 9) is None


@pytest.mark.parametrize("threads", [0, 65, 100_000])
def test_a_number_of_threads_on_which_the_runtime_dies_is_refused(tiny_model: bytes, threads: int) -> None:
    with pytest.raises(InterpreterError, match=f"expected 1 to 64 threads, found {threads}"):
        open_interpreter(tiny_model, threads)


def test_a_fault_of_the_system_is_not_blamed_on_the_file(tiny_model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("device.interpreter.check_graph", fail)
    with pytest.raises(OSError, match="Too many open files"):
        open_interpreter(tiny_model)


def without(monkeypatch: pytest.MonkeyPatch, *absent: str, **present: Any) -> None:
    real = importlib.import_module

    def fake(name: str, package: str | None = None) -> ModuleType:
        top = name.partition(".")[0]
        if top in absent:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
        if top in present:
            if isinstance(present[top], Exception):
                raise present[top]
            module: ModuleType = present[top]
            return module
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", fake)


def test_without_any_runtime_the_command_to_install_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "ai_edge_litert", "tflite_runtime")
    with pytest.raises(InterpreterError, match="pip install"):
        load_runtime()


def test_tflite_runtime_takes_over_and_says_that_it_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "ai_edge_litert", tflite_runtime=ModuleType("tflite_runtime.interpreter"))
    monkeypatch.setattr(np, "__version__", "1.26.4")
    runtime = load_runtime()
    assert runtime.name == "tflite-runtime"
    assert "XNNPACK" in runtime.note


def test_tflite_runtime_under_numpy_2_names_the_real_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "ai_edge_litert", tflite_runtime=ModuleType("tflite_runtime.interpreter"))
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(InterpreterError, match=r"built for numpy 1, found numpy 2\.1\.0.*numpy<2"):
        load_runtime()


def test_a_litert_that_is_broken_is_not_passed_over_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, ai_edge_litert=ImportError("libstdc++.so.6: version `GLIBCXX_3.4.32' not found"))
    with pytest.raises(InterpreterError, match="GLIBCXX"):
        load_runtime()


def test_a_litert_that_lacks_a_dependency_names_it_instead_of_saying_that_litert_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without(monkeypatch, ai_edge_litert=ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers"))
    with pytest.raises(InterpreterError, match="cannot be imported: No module named 'flatbuffers'"):
        load_runtime()
