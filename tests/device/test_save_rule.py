# SPDX-License-Identifier: Apache-2.0
"""What ``--save``, ``--save-to`` and ``--save-limit`` mean, and what is wrong with them."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import bundle as bundles
from device.bundle import Bundle
from device.commands.save_arguments import add_arguments, open_saver
from device.errors import UsageError
from device.frames import Frame
from device.postprocess import top_k
from device.results import Classification, Result, StageTimes
from device.save_rule import SaveRule, parse_rule, parse_size, readable_size

BundleMaker = Callable[..., Path]
Shares = tuple[int, int, int]


@pytest.fixture
def softmax(make_bundle: BundleMaker) -> Bundle:
    """A bundle whose outputs are 256ths of the probability."""
    return bundles.load(make_bundle(output={"scale": 1 / 256, "zero_point": -128, "activation": "softmax"}))


def result_of(bundle: Bundle, shares: Shares, top: int = 3, label: str | None = "red") -> Result:
    """A result whose classes have so many 256ths of the probability."""
    output = (np.array(shares) - 128).astype(np.int8)
    predictions = top_k(output, bundle.labels, bundle.manifest.output, top)
    frame = Frame(np.zeros((4, 4, 3), np.uint8), "f", 0, time.monotonic())
    classification = Classification(predictions, StageTimes(0, 0, 0), output)
    smoothed = top_k(np.array([127, -128, -128], np.int8), bundle.labels, bundle.manifest.output, top)
    return Result(frame, classification, smoothed, label, np.zeros((16, 16, 3), np.int8), bundle)


@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize(
    ("shares", "threshold", "is_wanted"),
    [
        ((160, 60, 36), 0.0, False),
        ((125, 75, 56), 0.0, True),  # a margin of 50/256 = 0.195
        ((75, 127, 54), 0.0, False),  # 52/256 = 0.203
        ((160, 60, 36), 0.625, False),  # 160/256 itself
        ((160, 60, 36), 0.63, True),
    ],
)
def test_uncertain_is_a_close_second_class_or_a_probability_below_the_threshold(
    softmax: Bundle, shares: Shares, threshold: float, is_wanted: bool, top: int
) -> None:
    """The network's word on this picture counts: the smoothed one of ``result_of`` is always sure."""
    rule = parse_rule("uncertain", threshold)
    assert rule.wants(result_of(softmax, shares, top), 0) is is_wanted


def test_a_class_that_is_rejected_with_certainty_is_not_uncertain(softmax: Bundle) -> None:
    assert not parse_rule("uncertain").wants(result_of(softmax, (250, 3, 3), label=None), 0)


def test_a_model_of_one_class_is_uncertain_below_the_threshold_only(make_bundle: BundleMaker) -> None:
    output = {"scale": 1 / 256, "zero_point": -128, "activation": "softmax"}
    bundle = bundles.load(make_bundle(labels=("only",), output=output))
    likely = top_k(np.array([30], np.int8), bundle.labels, bundle.manifest.output, 3)
    classification = Classification(likely, StageTimes(0, 0, 0), np.array([30], np.int8))
    frame = Frame(np.zeros((4, 4, 3), np.uint8), "f", 0, 0.0)
    result = Result(frame, classification, likely, "only", np.zeros((16, 16, 3), np.int8), bundle)
    assert not parse_rule("uncertain").wants(result, 0)
    assert parse_rule("uncertain", 0.7).wants(result, 0)


def test_all_are_all_and_every_counts_from_the_first(softmax: Bundle) -> None:
    result = result_of(softmax, (250, 3, 3))
    assert [number for number in range(7) if parse_rule("all", 0.99).wants(result, number)] == list(range(7))
    assert [number for number in range(7) if parse_rule("every:3", 0.99).wants(result, number)] == [0, 3, 6]


@pytest.mark.parametrize(
    "text", ["", "some", "every", "every:", "every:0", "every:-1", "every:1.5", "every:٣", "ALL", "all "]
)
def test_another_rule_is_a_wrong_call_that_names_the_rules(text: str) -> None:
    with pytest.raises(UsageError, match="expected uncertain, all or every:N with N of at least 1, found"):
        parse_rule(text)


@given(st.text())
def test_whatever_is_written_it_is_a_rule_or_a_wrong_call(text: str) -> None:
    for parse in (parse_rule, parse_size):
        with contextlib.suppress(UsageError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000000", 1_000_000),
        ("500MB", 500_000_000),
        ("500 mb", 500_000_000),
        ("2GiB", 2 << 30),
        ("1.5GB", 1_500_000_000),
        ("1kB", 1000),
        ("3KiB", 3072),
        ("1TB", 10**12),
        ("7B", 7),
    ],
)
def test_sizes_are_decimal_or_binary_as_their_unit_says(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "0", "0.1B", "GB", "-5MB", "5G", "5 apples", "1e9", "1,5GB", "inf", "nan", "٣MB"])
def test_another_size_is_a_wrong_call_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size such as 500MB or 2GiB, found"):
        parse_size(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999 bytes"), (1500, "1.5 kB"), (2 << 30, "2.1 GB"), (500_000_000, "500 MB"), (10**12, "1.0 TB")],
)
def test_sizes_are_told_in_short(count: int, text: str) -> None:
    assert readable_size(count) == text


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_nothing_is_made_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_saver(parse(), print) is None
    assert list(tmp_path.iterdir()) == []


def test_the_options_reach_the_saver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, softmax: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    args = parse("--save", "uncertain", "--save-to", "here", "--save-limit", "2kB")
    args.threshold = 0.63
    with (saver := open_saver(args, print)) as _:  # type: ignore[union-attr]
        pass
    assert saver is not None
    assert (tmp_path / "here").is_dir()
    assert "0 saved" in saver.summary()
    assert str(tmp_path / "here") in saver.summary()
    saver = open_saver(args, print, patient=True)
    assert saver is not None
    assert saver._patient
    saver.offer(result_of(softmax, (160, 60, 36)))
    saver.offer(result_of(softmax, (250, 3, 3)))
    saver.close(60)
    assert (saver.saved, saver.duplicates, saver.dropped) == (1, 0, 0)
    assert [path.name for path in (tmp_path / "here").glob("*/")] == ["red"]


def test_the_limit_counts_and_there_is_a_default_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, softmax: Bundle
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    saver = open_saver(parse("--save", "all", "--save-limit", "50B"), said.append)
    assert saver is not None
    saver.offer(result_of(softmax, (250, 3, 3)))
    saver.close(60)
    assert (saver.saved, saver.dropped) == (0, 1)
    assert said == [
        f"no frames are saved for now: {tmp_path / 'frames'} has reached its limit of 50 bytes "
        "(move frames away or raise --save-limit)"
    ]


@pytest.mark.parametrize("option", ["--save-to", "--save-limit"])
def test_an_option_without_save_is_a_wrong_call(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} needs --save"):
        open_saver(parse(option, "1GB"), print)


@pytest.mark.parametrize(("option", "value"), [("--save", "some"), ("--save-limit", "much"), ("--save-to", "")])
def test_a_wrong_value_is_told_by_argparse(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(option, value)
    err = capsys.readouterr().err
    assert f"argument {option}: expected " in err
    assert (repr(value) if value else "an empty name") in err


def test_rules_compare_equal_by_what_they_want() -> None:
    assert parse_rule("every:1") == parse_rule("all") == SaveRule()
