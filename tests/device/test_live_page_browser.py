# SPDX-License-Identifier: Apache-2.0
"""The live page in a real Chromium, at the sizes of a desk and of a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.classifier import Classifier, load_classifier
from device.live_page.page import LivePage
from device.machine import MachineState
from device.postprocess import Prediction
from device.results import Result
from tests.device.browser import Browser, Page
from tests.device.live_page_stage import Publishing, result_of

pytestmark = pytest.mark.native

Painter = Callable[..., NDArray[np.uint8]]
HOT = MachineState(84.6, 0x50005, "ondemand", 1200.0)
COOL = MachineState(48.2, 0, "ondemand", 1800.0)
TOKEN = "a-token-of-my-own"
SIZES = {"desk": (1280, 800), "phone": (390, 844)}
IS_RED = "document.getElementById('label').textContent === 'red'"


@pytest.fixture(scope="module")
def browser(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = require_tool("chromium")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


@pytest.fixture
def red(classifier: Classifier, plain: Painter) -> Result:
    """A red picture, wider than high."""
    return result_of(classifier, plain("red", 480, 640))


def pixel(page: Page, canvas: str, x: float = 0.5, y: float = 0.5) -> list[int]:
    """Red, green and blue of what a canvas really holds, at a part of its width and height."""
    return list(
        page.evaluate(
            f"(() => {{ const c = document.getElementById('{canvas}');"
            f" return [...c.getContext('2d').getImageData(c.width * {x}, c.height * {y}, 1, 1).data].slice(0, 3); }})()"
        )
    )


def text(page: Page, name: str) -> str:
    return str(page.evaluate(f"document.getElementById('{name}').textContent"))


def is_shown(page: Page, name: str) -> bool:
    return bool(page.evaluate(f"document.getElementById('{name}').checkVisibility()"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_the_picture_the_label_and_no_complaint(
    browser: Browser, red: Result, size: str, dark: bool, tmp_path: Path
) -> None:
    with LivePage(port=0, source="camera 0", describe="a runtime", read=lambda: COOL) as live:
        url = live.start()
        live.note("camera 0 came back")
        with Publishing(live, red), browser.page(*SIZES[size], dark, phone=size == "phone") as page:
            page.open(url)
            page.wait_for(f"{IS_RED} && document.getElementById('facts').textContent.includes('48.2')")
            assert np.abs(np.subtract(pixel(page, "picture"), (220, 30, 30))).max() < 8
            assert pixel(page, "input") == [220, 30, 30]
            assert page.evaluate("document.getElementById('bars').children.length") == 3
            assert text(page, "stages").startswith("capture")
            assert "16 × 16 RGB" in text(page, "input-size")
            assert "camera 0 came back" in text(page, "events")
            assert text(page, "status") == "live"
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert page.complaints == []
            page.screenshot(tmp_path / "page.png")
            seen = cv2.imread(str(tmp_path / "page.png"))
            box = page.evaluate("document.getElementById('picture').getBoundingClientRect().toJSON()")
    assert seen is not None
    scale = 2 if size == "phone" else 1
    middle = seen[int((box["y"] + box["height"] / 2) * scale), int((box["x"] + box["width"] / 2) * scale)]
    assert np.abs(middle.astype(int) - (30, 30, 220)).max() < 12  # what the eye sees, in OpenCV's order
    corner = seen[-4:, :4].mean()
    assert corner < 60 if dark else corner > 180


def test_the_part_that_the_model_sees_is_framed_where_it_is(browser: Browser, red: Result) -> None:
    with LivePage(port=0) as live, browser.page(1280, 800) as page:
        url = live.start()
        with Publishing(live, red):
            page.open(url)
            page.wait_for(IS_RED)
            picture, crop = (
                page.evaluate(f"document.getElementById('{name}').getBoundingClientRect().toJSON()")
                for name in ("picture", "crop")
            )
            assert page.evaluate("document.getElementById('input').getBoundingClientRect().width") % 16 == 0
    # The middle square of 640 × 480.
    assert crop["width"] == pytest.approx(crop["height"], abs=1.5)
    assert crop["height"] == pytest.approx(picture["height"], abs=1.5)
    assert crop["x"] - picture["x"] == pytest.approx(picture["width"] / 8, abs=1.5)


def test_throttling_is_told_in_words_and_in_red(browser: Browser, red: Result) -> None:
    with LivePage(port=0, read=lambda: HOT) as live, browser.page(390, 844, phone=True) as page:
        url = live.start()
        with Publishing(live, red):
            page.open(url)
            page.wait_for("document.getElementById('throttle').checkVisibility()")
            assert text(page, "throttle") == "Slowed down: under-voltage now, throttled now"
            red_, green, blue = page.evaluate(
                "getComputedStyle(document.getElementById('throttle')).color.match(/\\d+/g).map(Number)"
            )
            assert red_ > 2 * max(green, blue)
            assert "84.6 °C" in text(page, "facts")


def test_a_label_is_text_whatever_it_says(browser: Browser, red: Result) -> None:
    bad = "<img src=x onerror='document.title=1'><b>bold</b>"
    predictions = (Prediction(0, bad, 0.75, 1.0), Prediction(1, "& <script>", 0.25, 0.0))
    frame = replace(red.frame, name=bad)
    with LivePage(port=0, source=bad, describe=bad) as live, browser.page(1280, 800) as page:
        url = live.start()
        live.note(bad)
        with Publishing(live, replace(red, frame=frame, predictions=predictions, label=bad)):
            page.open(url)
            page.wait_for("document.getElementById('bars').children.length === 2")
            assert text(page, "label") == bad
            assert page.evaluate("document.querySelectorAll('main img, b:not(#fps)').length") == 0
            assert page.complaints == []


def test_unsure_is_said_in_words(browser: Browser, red: Result) -> None:
    with LivePage(port=0) as live, browser.page(1280, 800) as page:
        url = live.start()
        with Publishing(live, replace(red, label=None)):
            page.open(url)
            page.wait_for("document.getElementById('label').textContent === 'unsure'")
            assert page.evaluate("document.querySelectorAll('#bars .best').length") == 0


def test_a_long_label_and_a_thousand_classes_do_not_widen_a_phone(browser: Browser, red: Result) -> None:
    long = "Lepidopteraverylongwithoutspaces" * 4
    predictions = tuple(Prediction(n, f"{long}{n}", 0.2, 0.0) for n in range(5))
    with LivePage(port=0, source=long, describe=long) as live, browser.page(390, 844, phone=True) as page:
        url = live.start()
        live.note(long)
        with Publishing(live, replace(red, predictions=predictions, label=predictions[0].label)):
            page.open(url)
            page.wait_for("document.getElementById('bars').children.length === 5")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_token_of_the_address_lets_in_and_is_hidden(browser: Browser, red: Result) -> None:
    with LivePage(port=0, token=TOKEN) as live, browser.page(1280, 800) as page:
        url = live.start()
        with Publishing(live, red):
            page.open(url)
            page.wait_for(IS_RED)
            assert TOKEN not in page.evaluate("location.href + document.cookie + document.documentElement.outerHTML")
            page.open("about:blank")
            page.open(url.partition("#")[0])  # this tab has been let in
            page.wait_for(IS_RED)
            assert page.complaints == []


def test_without_the_token_the_page_asks_for_it(browser: Browser, red: Result) -> None:
    with LivePage(port=0, token=TOKEN) as live, browser.page(390, 844, phone=True) as page:
        url = live.start().partition("#")[0]
        with Publishing(live, red):
            page.open(url)
            page.wait_for("document.getElementById('ask').checkVisibility()")
            assert "needs its token" in text(page, "notice")
            assert not is_shown(page, "main")
            page.evaluate(
                f"document.getElementById('token').value = '{TOKEN}', document.querySelector('#ask button').click()"
            )
            page.wait_for(IS_RED)
            assert not is_shown(page, "ask")


def test_a_frozen_camera_and_a_runner_that_is_gone_are_told_and_it_comes_back(
    browser: Browser, classifier: Classifier, red: Result, plain: Painter
) -> None:
    with browser.page(390, 844, phone=True) as page:
        with LivePage(port=0) as live:
            url = live.start()
            with Publishing(live, red):
                page.open(url)
                page.wait_for(f"{IS_RED} && document.getElementById('status').textContent === 'live'")
            page.wait_for("document.getElementById('stale').checkVisibility()")
            assert text(page, "stale").startswith("No new frame for ")
            assert text(page, "status") == "no new frame"
        page.wait_for("document.getElementById('status').textContent === 'not there'")
        assert "litesight has stopped" in text(page, "notice")
        port = int(url.rstrip("/").rpartition(":")[2])
        green = result_of(classifier, plain("green"))
        with LivePage(port=port) as live:
            live.start()
            with Publishing(live, green):
                page.wait_for("document.getElementById('label').textContent === 'green'")
                assert not is_shown(page, "notice")


def test_one_viewer_too_many_is_told_and_let_in_when_there_is_room(browser: Browser, red: Result) -> None:
    with LivePage(port=0, max_clients=1) as live, browser.page(1280, 800) as second:
        url = live.start()
        with Publishing(live, red):
            with browser.page(1280, 800) as first:
                first.open(url)
                first.wait_for(IS_RED)
                second.open(url)
                second.wait_for("document.getElementById('status').textContent === 'full'")
                assert "As many as may watch are watching" in text(second, "notice")
            second.wait_for(IS_RED)


def test_a_new_model_is_shown_with_its_own_name(browser: Browser, red: Result) -> None:
    bundle = replace(red.bundle, manifest=replace(red.bundle.manifest, name="tiny the second"))
    with LivePage(port=0) as live, browser.page(1280, 800) as page:
        url = live.start()
        with Publishing(live, red) as publishing:
            page.open(url)
            page.wait_for("document.getElementById('model').textContent === 'tiny'")
            publishing.result = replace(red, bundle=bundle)
            page.wait_for("document.getElementById('model').textContent === 'tiny the second'")


def test_a_page_that_nobody_looks_at_rests(browser: Browser, red: Result) -> None:
    def hide(page: Page, hidden: bool) -> None:
        page.evaluate(
            f"Object.defineProperty(document, 'hidden', {{ get: () => {str(hidden).lower()}, configurable: true }}),"
            " document.dispatchEvent(new Event('visibilitychange'))"
        )

    with LivePage(port=0) as live, browser.page(390, 844, phone=True) as page, browser.page(390, 844) as other:
        url = live.start()
        with Publishing(live, red):
            for each in (page, other):
                each.open(url)
                each.wait_for(IS_RED)
            page.wait_for("document.getElementById('facts').textContent.includes('watching2')")
            hide(other, True)
            assert text(other, "status") == "paused"
            page.wait_for("document.getElementById('facts').textContent.includes('watchingonly you')")
            hide(other, False)
            other.wait_for("document.getElementById('status').textContent === 'live'")
