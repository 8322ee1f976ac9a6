# SPDX-License-Identifier: Apache-2.0
"""A new model must come without a gap between frames, and a bad one must not stop the classifier."""

from __future__ import annotations

import gc
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from device import bundle
from device.classifier import Classifier, FixedModel, load_classifier
from device.errors import LitesightError
from device.model_slot import SlotModel
from device.slots import Slots, create_slots

Vectors = tuple[NDArray[np.int8], NDArray[np.int8]]
WAIT_S = 20.0
"""So long a test waits for what must happen; it happens in milliseconds."""


class FakeClassifier:
    """Stands for a classifier of a slot."""

    def __init__(self, slot: Path) -> None:
        self.slot = slot
        self.bundle = SimpleNamespace(manifest=SimpleNamespace(name=f"net {slot.name[0]}"))


class Bench:
    """A slots directory with empty slots, and a SlotModel on it whose loads the test decides."""

    def __init__(self, root: Path) -> None:
        self.slots = create_slots(root)
        self.reports: queue.Queue[str] = queue.Queue()
        self.faults: dict[str, Exception] = {}
        self.loads: list[str] = []

    def slot(self, digit: str) -> Path:
        path = self.slots.root / "slots" / (digit * 16)
        path.mkdir(exist_ok=True)
        return path

    def switch(self, digit: str) -> Path:
        slot = self.slot(digit)
        self.slots.switch(slot)
        return slot

    def load(self, path: Path) -> Classifier:
        self.loads.append(path.name[0])
        if path.name[0] in self.faults:
            raise self.faults[path.name[0]]
        return cast(Classifier, FakeClassifier(path))

    @contextmanager
    def model(self, frames: int = 3, poll_s: float = 0.002) -> Iterator[SlotModel]:
        model = SlotModel(self.slots, self.load, self.reports.put, poll_s, frames)
        try:
            yield model
        finally:
            model.close()

    def said(self) -> str:
        return self.reports.get(timeout=WAIT_S)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "models")
    bench.switch("a")
    return bench


def digit(model: SlotModel) -> str:
    return cast(FakeClassifier, model.current()).slot.name[0]


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.001)


def prove(model: SlotModel, frames: int = 3) -> None:
    for _ in range(frames):
        model.worked(model.current())


def test_a_new_model_comes_while_frames_go_on(bench: Bench) -> None:
    """It takes long to open, and every frame until then has the old one."""
    opened = threading.Event()
    load = bench.load

    def slow(path: Path) -> Classifier:
        classifier = load(path)
        if path.name[0] == "b":
            assert opened.wait(WAIT_S)
        return classifier

    bench.load = slow  # type: ignore[method-assign]
    with bench.model() as model:
        bench.switch("b")
        until(lambda: "b" in bench.loads)
        for _ in range(1000):
            assert digit(model) == "a"
            model.worked(model.current())
        opened.set()
        assert bench.said() == f"model {'b' * 16} (net b) is active now"
        assert digit(model) == "b"
    assert bench.loads == ["a", "b"]


def test_a_failure_among_the_first_frames_brings_the_old_model_back(bench: Bench) -> None:
    with bench.model(frames=3) as model:
        prove(model)
        first = model.current()
        bench.switch("b")
        bench.said()
        second = model.current()
        model.worked(second)
        model.worked(second)
        assert model.failed(second, ValueError("no\nsense")) is True
        assert model.current() is first, "at once, and the same one: nothing is opened again"
        assert "one of its first 3 frames failed: no sense; aaaa" in bench.said()
        assert model.failed(second, ValueError("a frame that was on its way")) is True
        model.worked(second)
        assert model.failed(first, ValueError("the frame's fault")) is False
    status = bench.slots.status()
    assert (status.active, status.previous) == ("a" * 16, None)
    assert status.fallback is not None
    assert status.fallback.slot == "b" * 16
    assert "no sense" in status.fallback.reason
    assert bench.loads == ["a", "b"]


def test_after_its_first_frames_a_model_is_on_its_own_and_the_old_one_is_let_go(bench: Bench) -> None:
    with bench.model(frames=3) as model:
        prove(model)
        old = weakref.ref(model.current())
        bench.switch("b")
        bench.said()
        prove(model, 2)
        gc.collect()
        assert old() is not None
        prove(model, 1)
        until(lambda: gc.collect() >= 0 and old() is None)
        assert model.failed(model.current(), ValueError("x")) is False
        assert digit(model) == "b"
        until(lambda: bench.slots.status().proved)
    assert bench.slots.status().active == "b" * 16


def test_frames_of_the_old_model_do_not_count_for_the_new_one(bench: Bench) -> None:
    with bench.model(frames=2) as model:
        prove(model)
        first = model.current()
        bench.switch("b")
        bench.said()
        for _ in range(10):
            model.worked(first)
        assert model.failed(first, ValueError("late")) is True
        assert digit(model) == "b", "that is no fault of the new one"
        assert model.failed(model.current(), ValueError("x")) is True
        assert digit(model) == "a"


@pytest.mark.parametrize("fault", [LitesightError("damaged", hint="copy it"), MemoryError(), RuntimeError("boom")])
def test_a_model_that_cannot_be_opened_is_refused_once_and_the_link_points_back(bench: Bench, fault: Exception) -> None:
    bench.faults["b"] = fault
    with bench.model() as model:
        first = model.current()
        bench.switch("b")
        said = bench.said()
        assert said.startswith(f"model {'b' * 16} was refused: it cannot be opened: ")
        assert said.endswith(f"{str(fault) or 'MemoryError'}; {'a' * 16} goes on")
        until(lambda: bench.slots.current().name == "a" * 16)
        assert model.current() is first
        bench.slots.switch(bench.slot("c"))  # whoever sees c has looked again after b
        bench.said()
    assert bench.loads == ["a", "b", "c"]
    assert bench.reports.empty()


def test_a_refused_model_is_not_tried_again_though_the_link_cannot_be_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.faults["b"] = LitesightError("damaged")
    looks = threading.Semaphore(0)
    link_state = bench.slots.link_state

    def counted() -> Any:
        looks.release()
        return link_state()

    def forbidden(*arguments: object, **named: object) -> None:
        raise LitesightError("cannot write: Permission denied")

    monkeypatch.setattr(bench.slots, "link_state", counted)
    monkeypatch.setattr(bench.slots, "fall_back", forbidden)
    with bench.model() as model:
        bench.switch("b")
        assert "was refused" in bench.said()
        assert bench.said() == "cannot write down which model is active: cannot write: Permission denied"
        for _ in range(8):
            assert looks.acquire(timeout=WAIT_S)
        assert bench.loads == ["a", "b"]
        assert digit(model) == "a"
        del bench.faults["b"]
        bench.switch("b")  # somebody mended it and makes it active again
        assert "is active now" in bench.said()
        assert digit(model) == "b"


def test_two_new_models_in_a_row_fall_back_to_the_one_that_worked(bench: Bench) -> None:
    with bench.model(frames=5) as model:
        prove(model, 5)
        first = model.current()
        for name in "bc":
            bench.switch(name)
            bench.said()
            model.worked(model.current())
        assert model.failed(model.current(), ValueError("x")) is True
        assert model.current() is first
    assert bench.slots.status().active == "a" * 16


def test_a_model_that_was_replaced_while_it_was_opened_is_no_fault(bench: Bench) -> None:
    load = bench.load

    def overtaken(path: Path) -> Classifier:
        if path.name[0] == "b":
            bench.switch("c")
            raise LitesightError("it is gone")
        return load(path)

    bench.load = overtaken  # type: ignore[method-assign]
    with bench.model() as model:
        bench.switch("b")
        assert bench.said() == f"model {'c' * 16} (net c) is active now"
        assert digit(model) == "c"
    assert bench.slots.status().fallback is None


@pytest.mark.parametrize("opens", [False, True])
def test_it_goes_back_to_the_model_that_runs_and_not_to_one_that_came_in_between(bench: Bench, opens: bool) -> None:
    """The link ``previous`` is on b then, which nobody ever ran."""
    load = bench.load

    def overtaken(path: Path) -> Classifier:
        if path.name[0] == "b":
            bench.switch("c")
            raise LitesightError("it is gone")
        if path.name[0] == "c" and not opens:
            raise LitesightError("damaged")
        return load(path)

    bench.load = overtaken  # type: ignore[method-assign]
    with bench.model() as model:
        bench.switch("b")
        bench.said()
        if opens:
            assert model.failed(model.current(), ValueError("x")) is True
        assert digit(model) == "a"
    assert bench.slots.current().name == "a" * 16


def test_a_model_that_fails_while_the_next_bad_one_is_opened_is_not_gone_back_to(bench: Bench) -> None:
    load, opening, failed = bench.load, threading.Event(), threading.Event()

    def late(path: Path) -> Classifier:
        if path.name[0] == "c":
            opening.set()
            assert failed.wait(WAIT_S)
            raise LitesightError("damaged")
        return load(path)

    bench.load = late  # type: ignore[method-assign]
    with bench.model() as model:
        prove(model)
        bench.switch("b")
        bench.said()
        second = model.current()
        bench.switch("c")
        assert opening.wait(WAIT_S)
        assert model.failed(second, ValueError("x")) is True
        failed.set()
    assert bench.slots.current().name == "a" * 16


def test_the_same_model_made_active_again_changes_nothing(bench: Bench) -> None:
    with bench.model() as model:
        first = model.current()
        bench.switch("a")
        bench.switch("b")
        bench.said()
        assert model.current() is not first
    assert bench.loads == ["a", "b"]


def test_a_link_that_leads_nowhere_is_told_once_and_the_running_model_goes_on(bench: Bench) -> None:
    with bench.model() as model:
        link = bench.slots.root / "current"
        link.unlink()
        link.symlink_to("/etc")
        assert "expected a link to a slot" in bench.said()
        bench.switch("b")
        assert "is active now" in bench.said()
        assert digit(model) == "b"


def test_a_start_with_a_bad_model_takes_the_previous_one(bench: Bench) -> None:
    bench.switch("b")
    bench.faults["b"] = LitesightError("damaged")
    with bench.model() as model:
        assert digit(model) == "a"
        assert "the active model was given up: it cannot be opened: damaged; aaaa" in bench.said()
    assert bench.slots.current().name == "a" * 16
    assert bench.loads == ["b", "a"]


def test_a_start_without_any_good_model_is_the_first_ones_error(bench: Bench) -> None:
    bench.faults["a"] = LitesightError("damaged a")
    with pytest.raises(LitesightError, match="damaged a"):
        SlotModel(bench.slots, bench.load, bench.reports.put)
    bench.switch("b")
    bench.faults["b"] = LitesightError("damaged b")
    with pytest.raises(LitesightError, match="damaged b"):
        SlotModel(bench.slots, bench.load, bench.reports.put)
    assert bench.slots.current().name == "b" * 16
    assert bench.reports.empty()


def test_a_model_that_never_ran_is_on_probation_after_a_start_too(bench: Bench) -> None:
    """It was deployed while nothing ran; without this a service would start and fail for ever."""
    bench.switch("b")
    with bench.model(frames=3) as model:
        assert digit(model) == "b"
        assert model.failed(model.current(), ValueError("x")) is True
        assert digit(model) == "a"
    assert bench.slots.current().name == "a" * 16


def test_a_start_with_a_model_that_has_proved_itself_gives_no_reason_to_fall_back(bench: Bench) -> None:
    bench.switch("b")
    with bench.model(frames=3) as model:
        prove(model)
    with bench.model(frames=3) as model:
        assert model.failed(model.current(), ValueError("a broken camera")) is False
        assert digit(model) == "b"
    assert bench.slots.status().fallback is None


def test_a_start_whose_previous_model_is_bad_too_fails_with_the_frames_error(bench: Bench) -> None:
    bench.switch("b")
    bench.faults["a"] = LitesightError("damaged")
    with bench.model(frames=3) as model:
        assert model.failed(model.current(), ValueError("x")) is False
        assert digit(model) == "b"
        assert "cannot be fallen back to: damaged" in bench.said()


def test_close_ends_the_thread_and_writes_down_what_happened_last(bench: Bench) -> None:
    model = SlotModel(bench.slots, bench.load, bench.reports.put, poll_s=0.002, probation_frames=3)
    prove(model)
    bench.switch("b")
    bench.said()
    model.failed(model.current(), ValueError("x"))
    model.close()
    model.close()
    assert "litesight-slots" not in {thread.name for thread in threading.enumerate()}
    assert bench.slots.current().name == "a" * 16


def test_a_plain_bundle_stays_what_it_is() -> None:
    classifier = cast(Classifier, FakeClassifier(Path("x")))
    model = FixedModel(classifier)
    model.worked(classifier)
    assert model.failed(classifier, ValueError("x")) is False
    assert model.current() is classifier
    model.close()


def test_real_networks_are_exchanged_between_two_frames(
    tmp_path: Path, make_bundle: Callable[..., Path], true_golden: Vectors, plain: Callable[..., NDArray[np.uint8]]
) -> None:
    directory = create_slots(tmp_path / "models")
    first = make_bundle("first", golden=true_golden)
    second = make_bundle("second", golden=true_golden, labels=("rot", "grün", "blau"))
    directory.switch(directory.receive(first).slot)
    reports: queue.Queue[str] = queue.Queue()
    model = SlotModel(directory, lambda path: load_classifier(path, threads=1), reports.put, 0.002, 2)
    told: list[str] = []

    def frame() -> None:
        classifier = model.current()
        told.append(classifier.classify(plain("green")).predictions[0].label)
        model.worked(classifier)

    try:
        frame()
        Slots(directory.root).switch(directory.receive(second).slot)
        until(lambda: frame() or told[-1] == "grün")  # type: ignore[func-returns-value]
        frame()
        frame()
    finally:
        model.close()
    assert set(told) == {"green", "grün"}
    assert told == sorted(told), "not one frame of the old model after the new one"
    assert directory.status().proved
    assert bundle.load(directory.current()).labels == ("rot", "grün", "blau")
