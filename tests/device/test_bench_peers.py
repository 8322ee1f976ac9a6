# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import litesight
from device import bundle as bundles
from device.bench_compare import compare
from device.bench_page import page
from device.bench_peers import BLOCK, PICTURES, PeerOptions, bench_peers
from device.bench_reader import RecordError, from_json
from device.bench_record import Run
from device.classifier import Classifier, load_classifier
from device.errors import LitesightError
from device.frames import Closing, Frame
from device.interpreter import Interpreter, open_interpreter
from device.manifest import input_fields
from device.peers import PEERS, AbsentError, Engine, Peer, open_peer
from device.preprocess import InputSpec, PixelFormat

BundleMaker = Callable[..., Path]
Network = Callable[[NDArray[Any]], NDArray[Any]]
QUICK = ["--runs", "4", "--warmup", "0", "--threads", "1"]


def peer(name: str, run: Network) -> Peer:
    return Peer(name, lambda bundle, threads, onnx: Engine(name, "1", "net, int8", np.asarray, run))


def noting(events: list[Any], event: Callable[[], Any], run: Network) -> Network:
    """``run`` that adds ``event()`` to ``events`` first."""

    def noted(x: NDArray[Any]) -> NDArray[Any]:
        events.append(event())
        return run(x)

    return noted


def named(name: str) -> Peer:
    return next(each for each in PEERS if each.name == name)


def timed(classifier: Classifier, *peers: Peer, source: str | None = None, runs: int = 4) -> list[Run]:
    return bench_peers(classifier, source, runs, PeerOptions(peers=peers))


@pytest.fixture
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


class Clock:
    """Time passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ns = 0
        monkeypatch.setattr("device.bench_peers.time", SimpleNamespace(perf_counter_ns=lambda: self.ns))

    def spend(self, run: Callable[[NDArray[Any]], NDArray[Any]], ms: Callable[[], float]) -> Any:
        def slow(x: NDArray[Any]) -> NDArray[Any]:
            self.ns += round(ms() * 1e6)
            return run(x)

        return slow


def test_every_engine_is_timed_on_the_same_pictures_and_the_kits_own_comes_first(
    classifier: Classifier, video: Path
) -> None:
    own, other = timed(classifier, named("LiteRT without the delegate"), source=str(video), runs=25)
    assert (own.engine, other.engine) == ("ai-edge-litert", "ai-edge-litert, no delegate")
    for run in (own, other):
        assert list(run.stages) == ["invoke"]
        assert len(run.stages["invoke"].samples) == 25
        assert run.settings == {"threads": 1, "runs": 25, "rounds": 3, "pictures": 6, "network": "model.tflite, int8"}
        assert run.source == {"kind": "given", "name": str(video), "width": 64, "height": 48}
        assert run.figures["agreement"] == 1
    assert own.figures["invoke_ratio"] == 1


def test_without_a_source_the_golden_vectors_are_the_pictures(make_bundle: BundleMaker) -> None:
    own, _ = timed(load_classifier(make_bundle(), 1), named("LiteRT without the delegate"))
    assert own.settings["pictures"] == 1
    assert own.source == {"kind": "golden", "name": None, "width": 16, "height": 16}


def test_a_peer_that_is_fast_and_wrong_is_seen(classifier: Classifier, video: Path) -> None:
    invoke = classifier.interpreter.invoke
    red = np.array([1.0, 0.0, 0.0])
    runs = timed(
        classifier,
        peer("right, in other numbers", lambda x: invoke(x) / 3.0),
        peer("always red", lambda x: red),
        source=str(video),
        runs=6,
    )
    assert [run.figures["agreement"] for run in runs] == [1, 1, pytest.approx(2 / 6)]


def test_engines_take_turns_in_blocks_and_another_begins_each_round(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    invoke = classifier.interpreter.invoke
    monkeypatch.setattr(classifier.interpreter, "invoke", noting(events, lambda: "own", invoke))
    a, b = (peer(name, noting(events, functools.partial(str, name), invoke)) for name in "ab")
    timed(classifier, a, b, runs=2 * BLOCK + 3)
    assert events[:2] == ["a", "b"], "each answers once when it is opened"
    full, last = BLOCK + 1, 3 + 1
    expected = [*["own"] * full, *["a"] * full, *["b"] * full, *["a"] * full, *["b"] * full, *["own"] * full]
    assert events[2:] == [*expected, *["b"] * last, *["own"] * last, *["a"] * last]


def test_the_ratio_is_taken_within_rounds_so_that_a_slowing_machine_does_not_change_it(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, slowness = Clock(monkeypatch), 1.0
    invoke = classifier.interpreter.invoke
    monkeypatch.setattr(classifier.interpreter, "invoke", clock.spend(invoke, lambda: 2 * slowness))

    def rounds(iterable: Any, label: str, total: int | None = None) -> Any:
        nonlocal slowness
        for each in iterable:
            yield each
            slowness *= 10

    twice = peer("twice as long", clock.spend(invoke, lambda: 4 * slowness))
    own, other = bench_peers(classifier, None, 3 * BLOCK, PeerOptions(peers=(twice,)), rounds)
    assert other.figures["invoke_ratio"] == pytest.approx(2)
    assert own.stages["invoke"].samples == pytest.approx([2] * BLOCK + [20] * BLOCK + [200] * BLOCK)
    assert other.stages["invoke"].samples == pytest.approx([4] * BLOCK + [40] * BLOCK + [400] * BLOCK)


def test_one_round_in_which_a_peer_was_held_up_does_not_decide(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    invoke = classifier.interpreter.invoke
    monkeypatch.setattr(classifier.interpreter, "invoke", clock.spend(invoke, lambda: 1.0))
    calls = iter([3.0] * (1 + BLOCK + 1) + [500.0] * (BLOCK + 1) + [3.0] * (BLOCK + 1))
    held_up = peer("held up", clock.spend(invoke, lambda: next(calls)))
    _, other = timed(classifier, held_up, runs=3 * BLOCK)
    assert other.figures["invoke_ratio"] == pytest.approx(3)


def test_preparing_the_input_is_not_timed(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    invoke = classifier.interpreter.invoke
    monkeypatch.setattr(classifier.interpreter, "invoke", clock.spend(invoke, lambda: 1.0))
    prepare, run = clock.spend(np.asarray, lambda: 9.0), clock.spend(invoke, lambda: 2.0)
    engine = Engine("slow to prepare", "1", "net", prepare, run)
    _, other = timed(classifier, Peer("slow to prepare", lambda bundle, threads, onnx: engine))
    assert set(other.stages["invoke"].samples) == {2.0}


def test_opencv_gets_as_many_threads_as_the_others_and_then_its_own_back(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier.interpreter, "threads", 2)
    seen: list[int] = []
    invoke = classifier.interpreter.invoke
    cv2.setNumThreads(1)
    try:
        timed(classifier, peer("a", noting(seen, cv2.getNumThreads, invoke)))
        assert set(seen) == {2}
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(-1)


class Camera(Closing):
    """Red pictures as a camera has them, blue first."""

    name, live, total = "camera", True, None

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = np.ascontiguousarray(pixels[..., ::-1])
        self.delivered: list[int] = []
        self.recycled: list[int] = []

    def __iter__(self) -> Iterator[Frame]:
        for index in range(2 * PICTURES):
            self.delivered.append(index)
            yield Frame(self.pixels, "red", index, 0.0, PixelFormat.BGR888)

    def recycle(self, frame: Frame) -> None:
        self.recycled.append(frame.index)


def test_a_camera_gives_some_pictures_in_its_own_order_of_colours_and_gets_its_memory_back(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, plain: Callable[..., NDArray[np.uint8]]
) -> None:
    camera = Camera(plain("red"))
    monkeypatch.setattr("device.sources.open_source", lambda spec, on_bad: camera)
    red = np.array([1.0, 0.0, 0.0])
    own, other = timed(classifier, peer("always red", lambda x: red), source="usb:0")
    assert own.settings["pictures"] == PICTURES
    assert camera.delivered == camera.recycled == list(range(PICTURES))
    assert other.figures["agreement"] == 1


def test_a_source_without_a_readable_picture_is_told(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("not a photo")
    with pytest.raises(LitesightError, match="has no picture that can be read"):
        timed(classifier, source=str(tmp_path / "bad"))


def test_a_peer_that_fails_is_named_with_its_reason_and_the_others_are_timed(classifier: Classifier) -> None:
    def fail(x: NDArray[Any]) -> NDArray[Any]:
        raise SystemError("two\nlines")

    told: list[str] = []
    invoke = classifier.interpreter.invoke
    options = PeerOptions(
        absent=lambda name, why: told.append(f"{name}: {why}"),
        peers=(peer("broken", fail), peer("odd", lambda x: np.zeros(5)), peer("sound", invoke)),
    )
    runs = bench_peers(classifier, None, 2, options)
    assert [run.engine for run in runs] == ["ai-edge-litert", "sound"]
    assert told == [
        "broken: cannot run the network: two lines",
        "odd: expected 3 scores, one per label, found shape (5,)",
    ]


def test_litert_without_the_delegate_really_is_without_it(
    tiny_bundle: Path, tiny_model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[bytes, int, Interpreter]] = []

    def spy(model: bytes, threads: int, **options: bool) -> Interpreter:
        opened.append((model, threads, open_interpreter(model, threads, **options)))
        return opened[-1][-1]

    monkeypatch.setattr("device.peers.open_interpreter", spy)
    open_peer(named("LiteRT without the delegate"), bundles.load(tiny_bundle), 2)
    ((model, threads, interpreter),) = opened
    assert (model, threads) == (tiny_model, 2)
    assert (interpreter.ops_total, interpreter.ops_xnnpack) == (4, 0)


def installed(monkeypatch: pytest.MonkeyPatch, **modules: Any) -> None:
    """Exactly these of the optional engines can be imported."""
    real = importlib.import_module

    def fake(name: str, package: str | None = None) -> ModuleType:
        top = name.partition(".")[0]
        if top in modules:
            found: ModuleType = modules[top]
            return found
        if top in ("onnxruntime", "tflite_runtime"):
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", fake)


def absent(name: str, bundle: Path, onnx: Path | None = None) -> str:
    with pytest.raises(AbsentError) as caught:
        open_peer(named(name), bundles.load(bundle), 1, onnx)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_engines_that_are_not_installed_say_so(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    assert absent("ONNX Runtime", tiny_bundle) == "onnxruntime is not installed"
    assert absent("tflite-runtime", tiny_bundle) == "tflite-runtime is not installed"


def test_an_engine_that_lacks_a_dependency_of_its_own_is_not_called_missing(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(name: str, package: str | None = None) -> ModuleType:
        raise ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers")

    monkeypatch.setattr(importlib, "import_module", fake)
    assert absent("ONNX Runtime", tiny_bundle) == "cannot run the network: No module named 'flatbuffers'"


class FakeTflite:
    """Stands for tflite_runtime; answers with the sums of the channels."""

    __version__ = "2.14.0"

    def __init__(self) -> None:
        self.opened: dict[str, Any] = {}

    def Interpreter(self, **arguments: Any) -> FakeTflite:  # noqa: N802 (their name)
        self.opened = arguments
        return self

    def allocate_tensors(self) -> None: ...
    def get_input_details(self) -> list[dict[str, int]]:
        return [{"index": 4}]

    def get_output_details(self) -> list[dict[str, int]]:
        return [{"index": 7}]

    def set_tensor(self, index: int, x: NDArray[np.int8]) -> None:
        assert (index, x.shape, x.dtype.name) == (4, (1, 16, 16, 3), "int8")
        self.x = x

    def invoke(self) -> None:
        self.y: NDArray[np.int64] = self.x.astype(np.int64).sum(axis=(1, 2))

    def get_tensor(self, index: int) -> NDArray[np.int64]:
        assert index == 7
        return self.y


def test_tflite_runtime_is_timed_where_numpy_is_old_enough(
    tiny_bundle: Path, tiny_model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeTflite()
    installed(monkeypatch, tflite_runtime=fake)
    monkeypatch.setattr(np, "__version__", "2.1.0")
    assert absent("tflite-runtime", tiny_bundle) == "tflite-runtime was built for numpy 1, found numpy 2.1.0"
    monkeypatch.setattr(np, "__version__", "1.26.4")
    engine = open_peer(named("tflite-runtime"), bundles.load(tiny_bundle), 2)
    assert (engine.name, engine.version, engine.network) == ("tflite-runtime", "2.14.0", "model.tflite, int8")
    assert fake.opened == {"model_content": tiny_model, "num_threads": 2}
    x = np.zeros((16, 16, 3), np.int8)
    x[0, 0] = (1, 2, 3)
    assert engine.run(engine.prepare(x)).tolist() == [1, 2, 3]


class FakeOnnx:
    """Stands for onnxruntime: a network with one input, which answers with the first three numbers it is given."""

    __version__ = "1.32.0"
    GraphOptimizationLevel = SimpleNamespace(ORT_ENABLE_ALL=99)

    def __init__(self, kind: str, *shape: int | str) -> None:
        self.kind, self.shape = kind, list(shape)
        self.inputs = 1

    def SessionOptions(self) -> SimpleNamespace:  # noqa: N802 (their name)
        self.options = SimpleNamespace()
        return self.options

    def InferenceSession(self, content: bytes, options: Any, providers: list[str]) -> FakeOnnx:  # noqa: N802
        assert options is self.options
        self.content, self.providers = content, providers
        return self

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="image", type=self.kind, shape=self.shape)] * self.inputs

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="scores")]

    def run(self, outputs: list[str], feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        assert outputs == ["scores"]
        self.x = feed["image"]
        assert self.x.flags.c_contiguous
        return [self.x.reshape(1, -1)[:, :3]]


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"..Conv..")
    return path


def picture() -> NDArray[np.int8]:
    return np.arange(16 * 16 * 3).astype(np.int8).reshape(16, 16, 3)


@pytest.mark.parametrize(
    ("fake", "expected"),
    [
        (FakeOnnx("tensor(int8)", 1, 16, 16, 3), picture()[np.newaxis]),
        (FakeOnnx("tensor(uint8)", "batch", 16, 16, 3), (picture()[np.newaxis].astype(np.int16) + 128)),
        (FakeOnnx("tensor(float)", 1, 16, 16, 3), (picture()[np.newaxis].astype(np.float32) - 5) / 64),
        (FakeOnnx("tensor(float)", 1, 3, 16, 16), (picture().transpose(2, 0, 1)[np.newaxis].astype(float) - 5) / 64),
    ],
    ids=["int8", "uint8", "float", "channels first"],
)
def test_onnx_runtime_is_given_the_same_picture_in_the_numbers_it_declares(
    make_bundle: BundleMaker, onnx_file: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeOnnx, expected: NDArray[Any]
) -> None:
    installed(monkeypatch, onnxruntime=fake)
    spec = InputSpec(16, 16, scale=1 / 64, zero_point=5)
    engine = open_peer(named("ONNX Runtime"), bundles.load(make_bundle(input=input_fields(spec))), 2, onnx_file)
    engine.run(engine.prepare(picture()))
    np.testing.assert_array_equal(fake.x, expected)
    assert (fake.options.intra_op_num_threads, fake.options.inter_op_num_threads) == (2, 1)
    assert fake.options.graph_optimization_level == 99
    assert (fake.content, fake.providers) == (onnx_file.read_bytes(), ["CPUExecutionProvider"])
    assert (engine.name, engine.version, engine.network) == ("onnxruntime", "1.32.0", "net.onnx, float32")


@pytest.mark.parametrize(
    ("operators", "numbers"),
    [(b"..QuantizeLinear..", "int8"), (b"..QLinearConv..", "int8"), (b"..Conv..DequantizeLinear..", "float32")],
    ids=["quantised activations", "quantised operators", "only the weights are int8"],
)
def test_an_onnx_file_is_called_int8_if_its_activations_are(
    tiny_bundle: Path, onnx_file: Path, monkeypatch: pytest.MonkeyPatch, operators: bytes, numbers: str
) -> None:
    installed(monkeypatch, onnxruntime=FakeOnnx("tensor(int8)", 1, 16, 16, 3))
    onnx_file.write_bytes(operators)
    assert open_peer(named("ONNX Runtime"), bundles.load(tiny_bundle), 1, onnx_file).network == f"net.onnx, {numbers}"


def test_the_onnx_file_is_looked_for_in_the_bundle(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, onnxruntime=FakeOnnx("tensor(int8)", 1, 16, 16, 3))
    assert "the bundle has no model.onnx (give the same network" in absent("ONNX Runtime", tiny_bundle)
    (tiny_bundle / "model.onnx").write_bytes(b"..Conv..")
    assert open_peer(named("ONNX Runtime"), bundles.load(tiny_bundle), 1).network == "model.onnx, float32"


@pytest.mark.parametrize(
    "fake",
    [
        FakeOnnx("tensor(int8)", 1, 32, 32, 3),
        FakeOnnx("tensor(int64)", 1, 16, 16, 3),
        FakeOnnx("tensor(float)", 1, 768),
    ],
    ids=["other size", "other numbers", "other rank"],
)
def test_an_onnx_network_that_takes_something_else_is_refused(
    tiny_bundle: Path, onnx_file: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeOnnx
) -> None:
    installed(monkeypatch, onnxruntime=fake)
    assert f"found {fake.kind} {tuple(fake.shape)}" in absent("ONNX Runtime", tiny_bundle, onnx_file)


def test_an_onnx_network_with_two_inputs_is_refused(
    tiny_bundle: Path, onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeOnnx("tensor(int8)", 1, 16, 16, 3)
    fake.inputs = 2
    installed(monkeypatch, onnxruntime=fake)
    assert "one input, found 2" in absent("ONNX Runtime", tiny_bundle, onnx_file)


def test_opencv_refuses_the_int8_network_and_the_missing_float_one_is_named(tiny_bundle: Path) -> None:
    told = absent("OpenCV DNN", tiny_bundle)
    assert "refuses the int8 network" in told
    assert "the bundle has no float.tflite" in told


class FakeNet:
    """Stands for cv2.dnn.Net; answers with the sums of the planes."""

    def __init__(self, refuses: str) -> None:
        self.refuses = refuses

    def setInput(self, x: NDArray[Any]) -> None:  # noqa: N802 (their name)
        if x.dtype == self.refuses:
            raise cv2.error("no such layer")
        assert x.shape == (1, 3, 16, 16)
        self.x = x

    def forward(self) -> NDArray[Any]:
        sums: NDArray[Any] = self.x.astype(np.float32).sum(axis=(2, 3))
        return sums


@pytest.mark.parametrize(
    ("refuses", "network", "value"),
    [("float32", "model.tflite, int8", [1, 2, 3]), ("int8", "float.tflite, float32", [1 / 128, 2 / 128, 3 / 128])],
)
def test_opencv_runs_the_int8_network_or_else_the_float_one_and_says_which(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, refuses: str, network: str, value: list[float]
) -> None:
    bundle = bundles.load(tiny_bundle)
    float_model = tiny_bundle / "float.tflite"
    monkeypatch.setattr(type(bundle), "float_model_path", property(lambda self: float_model))
    read: list[str] = []

    def read_net(path: str) -> FakeNet:
        read.append(path)
        return FakeNet(refuses)

    monkeypatch.setattr(cv2.dnn, "readNetFromTFLite", read_net)
    engine = open_peer(named("OpenCV DNN"), bundle, 1)
    assert (engine.name, engine.version, engine.network) == ("opencv-dnn", cv2.__version__, network)
    assert Path(read[-1]).name == network.partition(",")[0]
    x = np.zeros((16, 16, 3), np.int8)
    x[3, 4] = (1, 2, 3)
    assert engine.run(engine.prepare(x)).tolist() == value


def test_the_command_adds_the_peers_to_the_record_and_names_those_that_are_not_here(
    tiny_bundle: Path, video: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(monkeypatch)
    assert litesight.main(["bench", str(tiny_bundle), *QUICK, "--peers", "--source", str(video), "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert [run["engine"] for run in document["runs"]] == ["ai-edge-litert"]
    assert [run["engine"] for run in document["peers"]] == ["ai-edge-litert", "ai-edge-litert, no delegate"]
    assert document["peers"][1]["figures"]["agreement"] == 1
    record = from_json(document, "the record")
    assert [run.engine for run in record.peers] == ["ai-edge-litert", "ai-edge-litert, no delegate"]
    html = page(record).decode()
    assert html.count("same answers") == 2
    assert "ai-edge-litert, no delegate" in html
    compared = compare(record, record, force=True)
    assert len(compared.pairs) == 1, "engines in turn are judged in their own record"
    del document["peers"][1]["stages"]["invoke"]
    with pytest.raises(RecordError, match=r"peers\.1"):
        from_json(document, "the record")
    assert "not here: tflite-runtime: tflite-runtime is not installed\n" in err
    assert "not here: ONNX Runtime: onnxruntime is not installed\n" in err
    assert "not here: OpenCV DNN: " in err


def test_the_table_tells_engine_network_ratio_and_agreement(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert litesight.main(["bench", str(tiny_bundle), "--runs", "12", "--threads", "1,2", "--peers"]) == 0
    out = capsys.readouterr().out
    for threads in ("1 thread", "2 threads"):
        assert f"engines in turn, {threads}: 12 frames each in 2 rounds, 1 pictures, only the network" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("ai-edge-litert, no delegate")]
    assert len(rows) == 2
    for row in rows:
        assert row[-1] == "100.0%"
        assert float(row[-2]) > 0


def test_without_the_argument_no_peer_is_timed(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert litesight.main(["bench", str(tiny_bundle), *QUICK]) == 0
    out, err = capsys.readouterr()
    assert "in turn" not in out
    assert "not here" not in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--peers", "--onnx", "no.onnx"], "expected an ONNX file after --onnx, found no.onnx"),
        (["--onnx", "no.onnx"], "--onnx is for --peers"),
    ],
)
def test_an_onnx_file_that_is_not_there_is_told_before_anything_is_measured(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert litesight.main(["bench", "no.bundle", *arguments]) == 2
    assert told in capsys.readouterr().err
