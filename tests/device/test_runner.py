# SPDX-License-Identifier: Apache-2.0
"""The loop around the network."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from device import network_thread, runner
from device.bundle import Bundle
from device.capture import Prepared
from device.classifier import Classifier, FixedModel, Model, load_classifier
from device.decision import Decision
from device.errors import LitesightError
from device.frames import Frame, Source
from device.interpreter import InterpreterError
from device.runner import results
from device.sources import Photo
from tests.device.fake_camera import ScriptedCamera, picture


class Frames:
    """A capture that delivers frames, errors, and ``None`` for a moment without; keeps what came back."""

    def __init__(self, model: Model, *frames: Frame | Exception | None, source: Source | None = None) -> None:
        self.model, self.frames = model, list(frames)
        self.source = source or ScriptedCamera()
        self.counts: Counter[str] = Counter()
        self.back: list[int] = []

    @property
    def ended(self) -> bool:
        return not self.frames

    def next(self, timeout_s: float) -> Prepared | None:
        frame = self.frames.pop(0)
        if frame is None:
            time.sleep(timeout_s)
            return None
        if isinstance(frame, Exception):
            raise frame
        classifier = self.model.current()
        input = np.empty(classifier.input_shape, np.int8)
        classifier.prepare(frame.pixels, frame.format, input)
        return Prepared(frame, self.source, input, classifier, 1.5, 0.5, 1_000_000)

    def done(self, prepared: Prepared) -> None:
        self.back.append(prepared.frame.index)

    def close(self) -> None:
        pass


class TwoModels:
    """The second is in use; when it fails, the first is again."""

    def __init__(self, first: Classifier, second: Classifier) -> None:
        self.first, self.now = first, second
        self.good: list[Classifier] = []
        self.errors: list[Exception] = []

    def current(self) -> Classifier:
        return self.now

    def worked(self, classifier: Classifier) -> None:
        self.good.append(classifier)

    def failed(self, classifier: Classifier, error: Exception) -> bool:
        self.errors.append(error)
        self.now = self.first
        return True

    def close(self) -> None:
        pass


def frame(colour: str, index: int) -> Frame:
    return Frame(picture(colour, index), f"frame {index}", index, 100 + index / 10)


def decide(bundle: Bundle) -> Decision:
    return Decision(bundle.labels, bundle.manifest.output)


@pytest.fixture
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


def test_each_frame_has_its_own_answer_and_is_given_back_when_the_next_is_asked_for(classifier: Classifier) -> None:
    capture = Frames(FixedModel(classifier), frame("red", 0), None, frame("blue", 1), frame("green", 2))
    back, labels = [], []
    for result in results(capture, FixedModel(classifier), decide):
        labels.append(result.label)
        back.append(list(capture.back))
        assert result.bundle is classifier.bundle
        assert result.predictions == result.classification.predictions
        alone = classifier.classify(result.frame.pixels, result.frame.format)
        assert np.array_equal(result.classification.output, alone.output)
        assert result.input.shape == classifier.input_shape
    assert labels == ["red", "blue", "green"]
    assert back == [[], [0], [0, 1]]
    assert capture.back == [0, 1, 2]


def test_times_are_those_of_the_stages(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([3_000_000, 13_000_000])
    clock = SimpleNamespace(perf_counter_ns=lambda: next(ticks), monotonic=time.monotonic)
    monkeypatch.setattr(network_thread, "time", clock)
    monkeypatch.setattr(runner, "time", SimpleNamespace(perf_counter_ns=lambda: 113_000_000))
    (result,) = results(Frames(FixedModel(classifier), frame("red", 0)), FixedModel(classifier), decide)
    ms = result.classification.ms
    assert (ms.capture, ms.preprocess, ms.wait, ms.invoke, ms.postprocess) == (1.5, 0.5, 2, 10, 100)
    assert ms.latency == 112.5
    assert ms.total == 114


def test_the_network_goes_on_while_an_answer_is_told_but_not_away(classifier: Classifier) -> None:
    capture = Frames(FixedModel(classifier), *(frame("red", index) for index in range(6)))
    answers = results(capture, FixedModel(classifier), decide)
    first = next(answers)
    deadline = time.monotonic() + 30
    while len(capture.frames) > 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert first.frame.index == 0
    assert len(capture.frames) == 3, "the second answer waits, the third has no room, the fourth frame is not fetched"
    assert [result.frame.index for result in answers] == [1, 2, 3, 4, 5]


def test_an_error_of_the_source_comes_after_the_answers_before_it(classifier: Classifier) -> None:
    capture = Frames(FixedModel(classifier), frame("red", 0), LitesightError("the disk is gone"))
    answers = results(capture, FixedModel(classifier), decide)
    assert next(answers).label == "red"
    with pytest.raises(LitesightError, match="the disk is gone"):
        next(answers)


def test_a_mistake_of_our_own_in_the_network_is_seen(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, classifier, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        list(results(Frames(FixedModel(classifier), frame("red", 0)), FixedModel(classifier), decide))


def test_a_network_that_hangs_is_told_and_not_kept_alive_by_the_loop(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(network_thread, "HANG_S", 0.1)
    monkeypatch.setattr(network_thread, "CLOSE_TIMEOUT_S", 0.0)
    monkeypatch.setattr(classifier, "invoke", lambda input: over.wait(30))
    try:
        with pytest.raises(LitesightError, match=r"the network has not answered a frame for 0\.1 s"):
            list(results(Frames(FixedModel(classifier), frame("red", 0)), FixedModel(classifier), decide))
    finally:
        over.set()


def test_the_threads_end_with_the_loop(classifier: Classifier) -> None:
    answers = results(Frames(FixedModel(classifier), *[frame("red", 0)] * 9), FixedModel(classifier), decide)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "network"]


def test_smoothing_tells_both_the_mean_and_the_frame_alone(classifier: Classifier) -> None:
    capture = Frames(FixedModel(classifier), frame("red", 0), frame("red", 1), frame("blue", 2))
    last = list(results(capture, FixedModel(classifier), lambda b: Decision(b.labels, b.manifest.output, smooth=3)))[-1]
    assert (last.label, last.predictions[0].label) == ("red", "red")
    assert last.predictions[0].probability == pytest.approx(2 / 3, abs=0.05)
    assert last.classification.predictions[0].label == "blue"
    assert len(last.classification.predictions) == len(last.predictions) == 3


def test_smoothing_begins_anew_after_a_gap(classifier: Classifier) -> None:
    late = Frame(picture("blue", 2), "late", 2, 160.0)
    capture = Frames(FixedModel(classifier), frame("red", 0), frame("red", 1), late)
    answers = results(capture, FixedModel(classifier), lambda b: Decision(b.labels, b.manifest.output, smooth=3))
    assert [result.label for result in answers] == ["red", "red", "blue"]


def test_smoothing_of_a_file_does_not_depend_on_how_fast_it_is_read(classifier: Classifier, tmp_path: Path) -> None:
    late = Frame(picture("blue", 2), "late", 2, 160.0)
    capture = Frames(FixedModel(classifier), frame("red", 0), frame("red", 1), late, source=Photo(tmp_path))
    answers = results(capture, FixedModel(classifier), lambda b: Decision(b.labels, b.manifest.output, smooth=3))
    assert [result.label for result in answers] == ["red", "red", "red"]


def broken(monkeypatch: pytest.MonkeyPatch, classifier: Classifier, error: Exception) -> None:
    def invoke(input: Any) -> Any:
        raise error

    monkeypatch.setattr(classifier, "invoke", invoke)


def test_a_network_that_fails_is_an_error_where_there_is_no_other(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, classifier, InterpreterError("the runtime failed"))
    capture = Frames(FixedModel(classifier), frame("red", 0))
    with pytest.raises(InterpreterError, match="the runtime failed"):
        list(results(capture, FixedModel(classifier), decide))
    assert capture.back == [0]


def test_a_network_that_fails_gives_way_to_an_older_one(
    classifier: Classifier, make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = load_classifier(make_bundle("newer.bundle"), threads=1)
    error = InterpreterError("the runtime failed")
    broken(monkeypatch, newer, error)
    model = TwoModels(classifier, newer)
    capture = Frames(model, *(frame("blue", index) for index in range(9)))
    found = [(result.frame.index, result.label, result.bundle.path) for result in results(capture, model, decide)]
    # What was prepared for the model that failed is lost with it: the network is up to three frames ahead.
    lost = 9 - len(found)
    assert 1 <= lost <= 4
    assert found == [(index, "blue", classifier.bundle.path) for index in range(lost, 9)]
    assert model.errors == [error] * lost
    assert model.good == [classifier] * len(found)
    assert capture.back == list(range(9))


def test_a_decision_that_a_new_model_does_not_allow_counts_as_its_failure(
    classifier: Classifier, make_bundle: Callable[..., Path]
) -> None:
    other = load_classifier(make_bundle("other.bundle", labels=("cat", "dog", "bird")), threads=1)
    model = TwoModels(classifier, other)
    capture = Frames(model, *(frame("red", index) for index in range(9)))

    def rejecting(bundle: Bundle) -> Decision:
        return Decision(bundle.labels, bundle.manifest.output, reject=("blue",))

    turns = results(capture, model, rejecting)
    labels = [result.label for result in turns]
    assert set(labels) == {"red"}
    assert len(labels) >= 5
    assert isinstance(model.errors[0], LitesightError)


def test_a_new_model_has_its_own_rule_of_decision(
    classifier: Classifier, make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load_classifier(make_bundle("other.bundle", labels=("cat", "dog", "bird")), threads=1)
    model = FixedModel(classifier)
    answers = results(Frames(model, *(frame("red", index) for index in range(9))), model, decide)
    assert next(answers).label == "red"
    monkeypatch.setattr(model, "_classifier", other)
    # The network is ahead of what is told by a frame or two.
    labels = [result.label for result in answers]
    assert labels[-1] == "cat"
    assert labels[labels.index("cat") :] == ["cat"] * labels.count("cat"), "and no way back"


def test_the_loop_ends_when_it_is_told_to_and_comes_round_without_frames(classifier: Classifier) -> None:
    capture = Frames(FixedModel(classifier), *[None] * 1000)
    turns = iter([True, True, True, False])
    assert list(results(capture, FixedModel(classifier), decide, lambda: next(turns))) == []
    assert next(turns, None) is None
