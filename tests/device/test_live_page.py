# SPDX-License-Identifier: Apache-2.0
"""What viewers are sent, and that the classifier does not notice them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.classifier import Classifier, load_classifier
from device.live_page import hub, page
from device.live_page.page import LivePage
from device.live_page.picture import Slot
from device.machine import MachineState
from device.preprocess import PixelFormat
from device.results import Result
from tests.device.live_page_stage import Publishing, ask, result_of
from tests.device.websocket_client import CLOSE, RefusedError, Watcher

Painter = Callable[..., NDArray[np.uint8]]


STATE = MachineState(51.5, 0x50005, "ondemand", 1800.0)


@pytest.fixture
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures as often as they can be made, and a second's patience is a tenth."""
    monkeypatch.setattr(page, "UPDATE_S", 0.001)
    monkeypatch.setattr(page, "PAGE_SHARE", 1.0)
    monkeypatch.setattr(page, "COPY_SHARE", 1.0)
    monkeypatch.setattr(page, "HEARTBEAT_S", 0.1)


@pytest.fixture
def live(capfd: pytest.CaptureFixture[str]) -> Iterator[LivePage]:
    """A page that is closed at the end, and has written nothing by then."""
    with LivePage(port=0, source="camera 0", describe="a runtime", read=lambda: STATE) as live:
        yield live
    assert capfd.readouterr() == ("", "")


def decoded(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


@pytest.mark.parametrize("format", [PixelFormat.RGB888, PixelFormat.BGR888])
def test_red_is_sent_as_red_whatever_the_order_of_bytes(
    live: LivePage, classifier: Classifier, plain: Painter, format: PixelFormat
) -> None:
    pixels = plain("red") if format is PixelFormat.RGB888 else np.ascontiguousarray(plain("red")[..., ::-1])
    url = live.start()
    with Publishing(live, result_of(classifier, pixels, format)), Watcher(url) as watcher:
        state, jpeg, png = watcher.look()
    assert state["label"] == "red"
    frame = decoded(jpeg)
    assert frame.shape == (48, 64, 3)
    assert np.abs(frame.astype(int) - (30, 30, 220)).max() < 8  # OpenCV's order
    assert (decoded(png) == (30, 30, 220)).all()


def test_a_viewer_is_told_everything_that_the_page_shows(
    live: LivePage, classifier: Classifier, plain: Painter
) -> None:
    result = result_of(classifier, plain("green", 48, 96), index=7)
    url = live.start()
    with Publishing(live, result), Watcher(url) as watcher:
        state, _, _ = watcher.look()
        while (
            state["machine"] is None or state["fps"] is None
        ):  # asked for by the first message; two results make a rate
            watcher.more()
            state, _, _ = watcher.look()
    best = result.predictions[0]
    assert state["label"] == "green"
    assert state["predictions"][0]["label"] == "green"
    assert state["predictions"][0]["probability"] == pytest.approx(best.probability, abs=1e-4)
    assert state["model"] == {
        "name": "tiny",
        "sha256": classifier.bundle.model_sha256[:12],
        "classes": 3,
        "input": {"width": 16, "height": 16, "color": "RGB"},
    }
    assert state["frame"] == {"name": "camera 0#7", "index": 7, "width": 96, "height": 48, "crop": [24, 0, 48, 48]}
    assert (state["source"], state["runtime"], state["viewers"]) == ("camera 0", "a runtime", 1)
    assert state["ms"]["invoke"] == pytest.approx(result.classification.ms.invoke, abs=1e-3)
    assert state["ms"]["latency"] == pytest.approx(result.classification.ms.latency, abs=1e-3)
    assert state["machine"]["temperature_c"] == 51.5
    assert state["machine"]["throttle_reasons"][:2] == ["under-voltage now", "throttled now"]
    assert state["memory_bytes"] > 1e6
    assert state["fps"] > 0
    assert state["age_ms"] >= 0


def test_nothing_for_sure_is_null_and_no_more_classes_than_asked_for(classifier: Classifier, plain: Painter) -> None:
    with LivePage(port=0, top=2) as live:
        url = live.start()
        with Publishing(live, result_of(classifier, plain("red"), label=None)), Watcher(url) as watcher:
            state, _, _ = watcher.look()
    assert state["label"] is None
    assert len(state["predictions"]) == 2


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often a slot was filled and encoded."""
    counts = {"fill": 0, "encode": 0}
    for name in counts:
        original = getattr(Slot, name)

        def count(*args: Any, name: str = name, original: Any = original) -> Any:
            counts[name] += 1
            return original(*args)

        monkeypatch.setattr(Slot, name, count)
    return counts


def test_without_viewers_nothing_is_copied_or_encoded(
    live: LivePage, classifier: Classifier, plain: Painter, counted: dict[str, int]
) -> None:
    result = result_of(classifier, plain("red"))
    live.publish(result)
    url = live.start()
    for _ in range(100):
        live.publish(result)
    assert counted == {"fill": 0, "encode": 0}
    with Watcher(url) as watcher, Publishing(live, result):
        assert watcher.look()[1]
    assert counted["encode"] >= 1


def test_a_viewer_that_does_not_ask_gets_nothing_more(
    live: LivePage, classifier: Classifier, plain: Painter, counted: dict[str, int]
) -> None:
    result = result_of(classifier, plain("red"))
    url = live.start()
    with Watcher(url) as watcher:
        with Publishing(live, result):
            assert watcher.look()[1]
        seen = dict(counted)
        for _ in range(100):
            live.publish(result)
        assert counted == seen
        assert seen["fill"] == 1


def test_one_encoding_serves_everybody(
    live: LivePage, classifier: Classifier, plain: Painter, counted: dict[str, int]
) -> None:
    url = live.start()
    with Watcher(url) as first, Watcher(url) as second:
        first_heard, second_heard = first.look()[0], second.look()[0]  # no picture yet
        assert (first_heard["number"], second_heard["number"]) == (0, 0)
        first.more()
        second.more()
        with Publishing(live, result_of(classifier, plain("red"))):
            pictures = []
            for watcher in (first, second):
                state, jpeg, png = watcher.look()
                while state["number"] == 0:
                    watcher.more()
                    state, jpeg, png = watcher.look()
                pictures.append((state["number"], jpeg, png))
        assert counted["encode"] == max(number for number, _, _ in pictures)
        assert pictures[0][1:] == pictures[1][1:]


def test_a_viewer_that_never_reads_stops_nobody_and_is_dropped(
    live: LivePage, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ANSWER_S", 0.3)
    noise = np.random.default_rng(2).integers(0, 256, (640, 640, 3), np.uint8)  # more than the sockets' buffers hold
    url = live.start()
    with Publishing(live, result_of(classifier, noise)), Watcher(url, receive_bytes=2048), Watcher(url) as good:
        viewers, numbers = [], set()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            state, _, _ = good.look()
            good.more()
            viewers.append(state["viewers"])
            numbers.add(state["number"])
            if 2 in viewers and viewers[-1] == 1:
                break
    assert 2 in viewers
    assert viewers[-1] == 1
    assert len(numbers) >= 2


@pytest.mark.parametrize("says", ["silence", "nonsense", "out of turn", "bytes", "too much"])
def test_a_viewer_that_breaks_the_rules_is_dropped(
    live: LivePage, classifier: Classifier, plain: Painter, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ANSWER_S", 0.1 if says == "silence" else 1000.0)
    url = live.start()
    with Publishing(live, result_of(classifier, plain("red"))), Watcher(url) as watcher:
        watcher.look()
        if says == "nonsense":
            watcher.send("less")
        elif says == "out of turn":
            for _ in range(3):
                watcher.more()
        elif says == "bytes":
            watcher.send(b"more", opcode=2)
        elif says == "too much":
            watcher.send("more" * 1000)
        with contextlib.suppress(ConnectionResetError):
            while watcher.receive()[0] != CLOSE:
                pass


def test_without_new_frames_the_state_goes_on_and_late_comers_see_the_last_picture(
    live: LivePage, classifier: Classifier, plain: Painter
) -> None:
    url = live.start()
    with Watcher(url) as watcher:
        with Publishing(live, result_of(classifier, plain("red"))):
            state, jpeg, png = watcher.look()
        live.note("camera 0 froze; reopened\nafter 1 s")
        watcher.more()
        later, no_jpeg, no_png = watcher.look()
        assert (later["number"], no_jpeg, no_png) == (state["number"], b"", b"")
        assert later["age_ms"] > state["age_ms"]
        assert [each["text"] for each in later["events"]] == ["camera 0 froze; reopened\\nafter 1 s"]
        with Watcher(url) as late:
            assert late.look()[1:] == (jpeg, png)


def test_the_limit_of_viewers_is_told_and_a_place_that_is_left_is_free(classifier: Classifier) -> None:
    with LivePage(port=0, max_clients=2) as live:
        url = live.start()
        first, second = Watcher(url), Watcher(url)
        with pytest.raises(RefusedError, match=r"As many as may watch are watching") as caught:
            Watcher(url)
        assert caught.value.status == 503
        first.close()
        second.look()
        second.more()
        while second.look()[0]["viewers"] == 2:
            second.more()
        Watcher(url).close()
        second.close()


@pytest.mark.parametrize("viewer", ["nobody", "reads", "never reads", "half a request"])
def test_closing_is_quick_whoever_is_connected(
    live: LivePage, classifier: Classifier, viewer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (640, 640, 3), np.uint8)
    url = live.start()
    address = urlsplit(url).hostname, urlsplit(url).port
    open_sockets: list[Any] = []
    result = result_of(classifier, noise)
    with Publishing(live, result):
        if viewer == "half a request":
            open_sockets.append(socket.create_connection(address))
            open_sockets[0].sendall(b"GET /live HTTP/1.1\r\nHost")
        elif viewer != "nobody":
            open_sockets.append(Watcher(url, receive_bytes=2048 if viewer == "never reads" else 0))
        if viewer == "reads":
            open_sockets[0].look()
        live.close()
        if viewer == "reads":
            while (heard := open_sockets[0].receive())[0] != CLOSE:
                pass
            assert heard[1] == (1001).to_bytes(2, "big")  # going away
    assert live._thread is not None
    assert not live._thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address).close()
    live.publish(result)
    live.close()
    for each in open_sockets:
        each.close()


def test_a_system_without_descriptors_is_told_by_start_and_not_by_a_thread(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(page, "PageServer", refuse)
    with LivePage(port=0) as live, pytest.raises(OSError, match="Too many open files"):
        live.start()
    assert capfd.readouterr() == ("", "")


def test_a_page_that_never_started_can_be_closed(classifier: Classifier, plain: Painter) -> None:
    live = LivePage()
    live.publish(result_of(classifier, plain("red")))
    live.note("nothing")
    live.close()


def test_while_a_frame_is_copied_no_other_is_asked_for(
    live: LivePage, classifier: Classifier, plain: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    fills: list[Result] = []
    may_end = threading.Event()
    original = Slot.fill

    def slow(slot: Slot, result: Result) -> None:
        fills.append(result)
        assert may_end.wait(20)
        original(slot, result)

    monkeypatch.setattr(Slot, "fill", slow)
    result = result_of(classifier, plain("red"))
    url = live.start()
    with Watcher(url) as watcher, Publishing(live, result):
        for _ in range(3):  # heartbeats, for the first copy does not end
            assert watcher.look()[0]["number"] == 0
            watcher.more()
        live.publish(result)
        assert len(fills) == 1
        may_end.set()
        while watcher.look()[0]["number"] == 0:
            watcher.more()


def test_a_viewer_that_left_in_the_meantime_costs_no_copy(
    classifier: Classifier, plain: Painter, counted: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pausing, go_on = threading.Event(), threading.Event()
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pausing.set()
        while not go_on.is_set():
            await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", pause)
    with LivePage(port=0, max_clients=1) as live:
        url = live.start()
        with Watcher(url):
            assert pausing.wait(20)
        while ask(url, "/check")[0] != 204:
            pass
        go_on.set()
        for _ in range(3):
            ask(url, "/check")  # the page's thread has gone round
            live.publish(result_of(classifier, plain("red")))
    assert counted == {"fill": 0, "encode": 0}


@pytest.mark.parametrize("busy", ["encoding", "copying"])
def test_the_page_takes_no_more_than_its_share(
    live: LivePage, classifier: Classifier, plain: Painter, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    asked = threading.Event()

    async def note_wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            asked.set()

    def encode(slot: Slot) -> tuple[bytes, bytes]:
        end = time.thread_time() + (0.02 if busy == "encoding" else 0.0)  # work, not waiting
        while time.thread_time() < end:
            pass
        slot.copy_s = 0.02 if busy == "copying" else 0.0
        return b"x", b"y"

    monkeypatch.setattr(page, "PAGE_SHARE" if busy == "encoding" else "COPY_SHARE", 0.1)
    monkeypatch.setattr(Slot, "encode", encode)
    monkeypatch.setattr(asyncio, "sleep", note_wait)
    url = live.start()
    with Publishing(live, result_of(classifier, plain("red"))), Watcher(url) as watcher:
        for _ in range(3):
            watcher.look()
            watcher.more()
        assert asked.wait(10)
    # 20 ms are a tenth of 200 ms, of which they themselves are a part.
    assert max(waits) > 0.1
