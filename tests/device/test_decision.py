# SPDX-License-Identifier: Apache-2.0
"""What is told after smoothing, threshold and reject classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.decision import MAX_SMOOTH, Decision
from device.errors import LitesightError, UsageError
from device.manifest import OutputSpec
from device.postprocess import probabilities, top_k

LOGITS = OutputSpec(scale=0.125, zero_point=-3, activation="none")
SOFTMAX = OutputSpec(scale=1 / 256, zero_point=-128, activation="softmax")
LABELS = ("cat", "dog", "background")

Outputs = list[NDArray[np.int8]]


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(count))


@st.composite
def streams(draw: st.DrawFn, longest: int = 12) -> Outputs:
    """Outputs of one model, frame after frame."""
    classes = draw(st.integers(1, 30))
    frame = st.lists(st.integers(-128, 127), min_size=classes, max_size=classes)
    return [np.array(each, np.int8) for each in draw(st.lists(frame, min_size=1, max_size=longest))]


def sure_of(label: str) -> NDArray[np.int8]:
    """A softmax output that gives ``label`` 254/256 and the others 1/256."""
    return np.array([126 if each == label else -127 for each in LABELS], np.int8)


@given(streams(), st.sampled_from([LOGITS, SOFTMAX]), st.integers(1, 40))
def test_without_smoothing_every_frame_stands_for_itself(outputs: Outputs, spec: OutputSpec, top: int) -> None:
    labels = names(len(outputs[0]))
    decision = Decision(labels, spec, top=top)
    for output in outputs:
        predictions, label = decision.decide(output)
        assert predictions == top_k(output, labels, spec, top)
        assert label == predictions[0].label


@given(streams(), st.sampled_from([LOGITS, SOFTMAX]), st.integers(2, 6), st.integers(1, 40))
def test_smoothing_is_the_mean_of_the_last_frames(outputs: Outputs, spec: OutputSpec, smooth: int, top: int) -> None:
    labels = names(len(outputs[0]))
    decision = Decision(labels, spec, smooth=smooth, top=top)
    for number, output in enumerate(outputs, 1):
        predictions, label = decision.decide(output)
        window = outputs[max(0, number - smooth) : number]
        mean = np.mean([probabilities(each, spec) for each in window], axis=0)
        assert len(predictions) == len({each.index for each in predictions}) == min(top, len(labels))
        for each in predictions:
            assert each.probability == pytest.approx(mean[each.index], abs=1e-11)
            assert (each.label, each.score) == (labels[each.index], output[each.index])
        # Likeliest first, of equal ones the lower index, and nobody left out who is likelier.
        keys = [(-each.probability, each.index) for each in predictions]
        assert keys == sorted(keys)
        others = np.delete(mean, [each.index for each in predictions])
        assert (others <= predictions[-1].probability + 1e-11).all()
        assert label == predictions[0].label


@pytest.mark.parametrize("top", [3, 20])
def test_of_equally_likely_classes_the_lower_index_comes_first(top: int) -> None:
    decision = Decision(names(40), LOGITS, smooth=2, top=top)
    output = np.zeros(40, np.int8)
    output[[7, 30]] = 50
    for _ in range(3):
        predictions, _ = decision.decide(output)
    rest = [index for index in range(40) if index not in (7, 30)]
    assert [each.index for each in predictions] == [7, 30, *rest][:top]


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_what_has_left_the_window_leaves_no_trace_however_long_it_ran(seed: int, smooth: int) -> None:
    random = np.random.default_rng(seed)
    outputs = random.integers(-128, 128, (300, 7), np.int8)
    old, new = Decision(names(7), LOGITS, smooth=smooth, top=7), Decision(names(7), LOGITS, smooth=smooth, top=7)
    for output in outputs:
        old.decide(output)
    for output in outputs[-smooth:]:
        new.decide(output)
    assert old.decide(outputs[0]) == new.decide(outputs[0])


def test_after_a_reset_the_frames_before_do_not_count() -> None:
    decision = Decision(LABELS, SOFTMAX, smooth=10)
    for _ in range(5):
        decision.decide(sure_of("cat"))
    decision.reset()
    predictions, label = decision.decide(sure_of("dog"))
    assert (label, predictions[0].probability) == ("dog", 254 / 256)
    assert predictions == Decision(LABELS, SOFTMAX).decide(sure_of("dog"))[0]


def test_one_wrong_frame_does_not_change_what_is_told() -> None:
    decision = Decision(LABELS, SOFTMAX, smooth=3)
    told = [decision.decide(sure_of(label))[1] for label in ("cat", "cat", "dog", "cat", "dog", "dog")]
    assert told == ["cat", "cat", "cat", "cat", "dog", "dog"]


def test_the_threshold_is_for_the_smoothed_probability_and_reaching_it_suffices() -> None:
    both = (254 / 256 + 1 / 256) / 2
    for threshold, told in ((both, "cat"), (both + 1e-6, None)):
        decision = Decision(LABELS, SOFTMAX, threshold, smooth=2)
        decision.decide(sure_of("cat"))
        predictions, label = decision.decide(sure_of("dog"))
        assert predictions[0].probability == pytest.approx(both)
        assert label == told


def test_a_reject_class_is_no_label_but_is_among_the_predictions() -> None:
    decision = Decision(LABELS, SOFTMAX, reject=["background"])
    predictions, label = decision.decide(sure_of("background"))
    assert (predictions[0].label, label) == ("background", None)
    assert decision.decide(sure_of("dog"))[1] == "dog"


def test_the_output_may_be_overwritten_afterwards() -> None:
    decision = Decision(LABELS, SOFTMAX, smooth=2)
    output = sure_of("cat")
    decision.decide(output)
    output[:] = sure_of("dog")
    predictions, _ = decision.decide(sure_of("cat"))
    assert predictions[0].probability == 254 / 256


@pytest.mark.parametrize(
    ("reject", "said"),
    [
        ("Background", r"a class of the model to reject, found 'Background' \(did you mean 'background'\?\)"),
        ("cats", r"found 'cats' \(did you mean 'cat'\?\)"),
        ("zebra", r"found 'zebra' \(its classes are 'cat', 'dog', 'background'\)"),
    ],
)
def test_an_unknown_reject_class_is_a_wrong_call_that_names_the_nearest(reject: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Decision(LABELS, SOFTMAX, reject=["cat", reject])


def test_of_many_classes_only_some_are_named() -> None:
    with pytest.raises(UsageError, match=r"'class 4' and 35 more\)"):
        Decision(names(40), SOFTMAX, reject=["zebra"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"threshold": 1.01}, "threshold from 0 to 1, found 1.01"),
        ({"threshold": float("nan")}, "threshold from 0 to 1, found nan"),
        ({"smooth": 0}, f"1 to {MAX_SMOOTH} frames to smooth over, found 0"),
        ({"smooth": MAX_SMOOTH + 1}, f"found {MAX_SMOOTH + 1}"),
        ({"top": 0}, "at least one label to show, found 0"),
    ],
)
def test_values_out_of_range_are_wrong_calls(arguments: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Decision(LABELS, SOFTMAX, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("smooth", [1, 2])
def test_an_output_of_another_model_is_refused(smooth: int) -> None:
    with pytest.raises(LitesightError, match="expected 3 outputs, one per label, found 2"):
        Decision(LABELS, SOFTMAX, smooth=smooth).decide(np.zeros(2, np.int8))
