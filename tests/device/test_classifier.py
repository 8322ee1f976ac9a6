# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from device import classifier as classifiers
from device.classifier import load_classifier
from device.errors import LitesightError
from device.preprocess import PixelFormat

Painter = Callable[..., np.ndarray[Any, Any]]
BundleMaker = Callable[..., Path]


def test_each_stage_is_charged_for_its_own_time_only(
    tiny_bundle: Path, plain: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = load_classifier(tiny_bundle)
    ticks = iter([0, 1_000_000, 11_000_000, 111_000_000])
    monkeypatch.setattr(classifiers, "time", SimpleNamespace(perf_counter_ns=lambda: next(ticks)))
    ms = classifier.classify(plain("red"), capture_ms=1000.0).ms
    assert (ms.capture, ms.preprocess, ms.invoke, ms.postprocess, ms.total) == (1000, 1, 10, 100, 1111)


def test_the_order_of_colours_is_told_by_the_format(tiny_bundle: Path, plain: Painter) -> None:
    classifier = load_classifier(tiny_bundle)
    pixels = plain("red")
    as_rgb = classifier.classify(pixels, PixelFormat.RGB888)
    as_bgr = classifier.classify(pixels, PixelFormat.BGR888)
    assert (as_rgb.predictions[0].label, as_bgr.predictions[0].label) == ("red", "blue")


def test_a_frame_is_classified_by_itself_whatever_came_before(tiny_bundle: Path, plain: Painter) -> None:
    classifier = load_classifier(tiny_bundle)
    alone = [each.score for each in classifier.classify(plain("green")).predictions]
    classifier.classify(plain("red", 30, 90))
    assert [each.score for each in classifier.classify(plain("green")).predictions] == alone


def test_a_bundle_whose_network_is_another_is_refused(make_bundle: BundleMaker) -> None:
    with pytest.raises(LitesightError, match="contradicts itself"):
        load_classifier(make_bundle(output={"scale": 0.5, "zero_point": 0, "activation": "none"}))
