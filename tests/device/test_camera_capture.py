# SPDX-License-Identifier: Apache-2.0
"""What becomes of a classifier whose camera fails: it is told, the camera is opened again, the frames go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.camera_capture import CameraCapture, CameraEvent, Limits, fingerprint
from device.capture import Prepared
from device.classifier import Classifier, FixedModel, load_classifier
from device.errors import LitesightError
from device.frames import Frame, Source, SourceError
from tests.device.fake_camera import Hang, ScriptedCamera, picture

PATIENT_S = 30.0
"""No test waits that long unless something is broken."""

QUICK = Limits(frozen_s=0.1, open_s=0.1, repeated_s=0.05, first_pause_s=0.01, longest_pause_s=0.04, healthy_frames=3)


class World:
    """Opens one camera after another, and keeps what is reported."""

    def __init__(self, classifier: Classifier) -> None:
        self.model = FixedModel(classifier)
        self.events: list[CameraEvent] = []
        self.cameras: list[Any] = []
        self.opened: list[Any] = []
        self.capture: CameraCapture | None = None
        self._others = set(threading.enumerate())

    def start(self, first: ScriptedCamera, *later: Any, limits: Limits = QUICK) -> CameraCapture:
        """``later``: a camera for each time that it is opened again, or the error that opening raises."""
        self.cameras = list(later)
        self.opened = [first]
        self.capture = CameraCapture(first, self.open_again, self.model, self.events.append, limits)
        return self.capture

    def open_again(self) -> Source:
        camera = self.cameras.pop(0) if self.cameras else SourceError("camera 0 is gone for good")
        self.opened.append(camera)
        if isinstance(camera, LateCamera):
            camera.over.wait(60)
        if isinstance(camera, Hang):
            camera.begun.set()
            camera.over.wait(60)
            raise SourceError("too late")
        if isinstance(camera, Exception):
            raise camera
        assert isinstance(camera, ScriptedCamera)
        return camera

    def frame(self) -> Prepared:
        assert self.capture is not None
        prepared = self.capture.next(PATIENT_S)
        assert prepared is not None, self.events
        return prepared

    def threads(self) -> list[threading.Thread]:
        """Those that read a camera of this world."""
        return [each for each in set(threading.enumerate()) - self._others if each.name == "camera"]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture
def world(tiny_bundle: Path) -> Iterator[World]:
    world = World(load_classifier(tiny_bundle, threads=1))
    yield world
    assert world.capture is not None
    for camera in world.opened + world.cameras:
        for item in (camera, *getattr(camera, "script", ())):
            if isinstance(item, Hang):
                item.over.set()
        if isinstance(camera, ScriptedCamera):
            camera.close()
    world.capture.close()
    left = world.threads()
    for thread in left:
        thread.join(PATIENT_S)
    assert not [thread for thread in left if thread.is_alive()]


def test_the_newest_frame_wins_and_the_others_are_counted_and_given_back(world: World) -> None:
    camera = ScriptedCamera(*(picture("red", number) for number in range(5)))
    capture = world.start(camera)
    assert camera.exhausted.wait(PATIENT_S)
    assert world.frame().frame.index == 4
    assert capture.next(0.0) is None
    assert (capture.counts["frames"], capture.counts["replaced"]) == (5, 4)
    assert camera.given_back == [0, 1, 2, 3]


def test_a_frame_comes_ready_for_the_network(world: World) -> None:
    world.start(ScriptedCamera(picture("green")))
    prepared = world.frame()
    expected = np.empty_like(prepared.input)
    prepared.classifier.prepare(picture("green"), prepared.frame.format, expected)
    assert np.array_equal(prepared.input, expected)
    assert prepared.capture_ms >= 0 < prepared.preprocess_ms
    assert prepared.ready_ns <= time.perf_counter_ns()


def test_waiting_for_a_frame_ends_in_time(world: World) -> None:
    capture = world.start(ScriptedCamera(), limits=Limits())
    assert capture.next(0.01) is None
    assert not capture.ended


def test_a_camera_that_reports_an_error_is_told_and_opened_again(world: World) -> None:
    first = ScriptedCamera(picture("red", 1), SourceError("camera 0 delivers no pictures: 5 reads in a row failed"))
    capture = world.start(first, ScriptedCamera(picture("blue", 2)))
    while world.frame().frame.pixels[0, 0, 2] < 200:
        pass
    assert first.closed.is_set(), "or the device would still be held"
    assert world.kinds() == ["failed", "recovered"]
    assert world.events[0].text == (
        "camera 0 delivers no pictures: 5 reads in a row failed; it is opened again in 0.01 s"
    )
    assert capture.counts["recovered"] == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("no\nbuffers"), "RuntimeError: no buffers"), (OSError(19, "No device"), "19")],
)
def test_whatever_a_driver_raises_is_one_line_and_no_end(world: World, error: Exception, told: str) -> None:
    world.start(ScriptedCamera(error), ScriptedCamera(picture("red")))
    world.frame()
    assert told in world.events[0].text
    assert "\n" not in world.events[0].text


class EndingCamera(ScriptedCamera):
    def __iter__(self) -> Iterator[Any]:
        yield from ()


def test_a_stream_that_ends_is_opened_again(world: World) -> None:
    world.start(EndingCamera(), ScriptedCamera(picture("red")))
    world.frame()
    assert world.kinds() == ["failed", "recovered"]
    assert "no more pictures" in world.events[0].text


def test_the_pauses_grow_to_a_limit_while_it_cannot_be_opened_and_begin_anew_when_it_is_well(world: World) -> None:
    gone = SourceError("camera 0 not found")
    well = ScriptedCamera(*(picture("red", number) for number in range(4)), gone)
    world.start(ScriptedCamera(gone), gone, RuntimeError("device busy"), gone, well, ScriptedCamera(picture("red")))
    while "failed" not in world.kinds()[1:] or world.kinds()[-1] != "recovered":
        world.frame()
    assert world.kinds() == ["failed", "unopened", "unopened", "unopened", "recovered", "failed", "recovered"]
    pauses = [event.text.rpartition(" in ")[2] for event in world.events if event.kind != "recovered"]
    assert pauses == ["0.01 s", "0.02 s", "0.04 s", "0.04 s", "0.01 s"]


def test_a_camera_that_hangs_is_replaced_and_what_it_delivers_later_is_ignored(world: World) -> None:
    hang = Hang()
    first = ScriptedCamera(hang, picture("blue", 7))
    capture = world.start(first, ScriptedCamera(*(picture("red", number) for number in range(3))))
    assert world.frame().frame.pixels[0, 0, 0] >= 200
    assert world.kinds() == ["frozen", "recovered"]
    assert "no picture for 0.1 s" in world.events[0].text
    hang.over.set()
    assert first.closed.wait(PATIENT_S), "its thread gives the device back when it wakes"
    late = capture.next(0.05)
    assert late is None or late.frame.pixels[0, 0, 0] >= 200
    assert capture.counts["frozen"] == 1


def test_opening_that_hangs_is_given_up_too(world: World) -> None:
    world.start(ScriptedCamera(SourceError("camera 0 is gone")), Hang(), ScriptedCamera(picture("red")))
    world.frame()
    assert world.kinds() == ["failed", "frozen", "recovered"]


class LateCamera(ScriptedCamera):
    """Opening it hangs, and succeeds when nobody waits for it any more."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()


def test_a_camera_that_is_open_too_late_is_given_back(world: World) -> None:
    late = LateCamera()
    world.start(ScriptedCamera(SourceError("camera 0 is gone")), late, ScriptedCamera(picture("red")))
    try:
        world.frame()
    finally:
        late.over.set()
    assert late.closed.wait(PATIENT_S), "or nobody could open it again"


class ClingingCamera(ScriptedCamera):
    """Closing it hangs."""

    def __init__(self, *script: Any) -> None:
        super().__init__(*script)
        self.over = threading.Event()

    def __exit__(self, *exc: object) -> None:
        self.over.wait(60)
        raise RuntimeError("too late")


def test_closing_that_hangs_is_given_up_too(world: World) -> None:
    first = ClingingCamera(picture("red", 1), picture("red", 2, 24, 32))
    capture = world.start(first, ScriptedCamera(picture("blue", 3)))
    try:
        while world.frame().frame.pixels[0, 0, 2] < 200:
            pass
        assert world.kinds() == ["frozen", "recovered"]
    finally:
        first.over.set()
    wait_for_threads(world, 1)
    capture.next(0.0)  # what a thread meets after its turn is nobody's concern


def wait_for_threads(world: World, number: int) -> None:
    deadline = time.monotonic() + PATIENT_S
    while len(world.threads()) > number:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_thread_that_came_back_does_not_count_as_left_alone(world: World) -> None:
    hangs = [Hang() for _ in range(3)]
    late = SourceError("nobody wants to hear it any more")
    cameras = [ScriptedCamera(picture("red", number), hang, late) for number, hang in enumerate(hangs)]
    world.start(*cameras, ScriptedCamera(picture("blue")), limits=Limits(0.1, first_pause_s=0.001, left_alone=1))
    world.frame()
    for hang in hangs:
        world.frame()
        hang.over.set()
        wait_for_threads(world, 1)
    assert world.kinds() == ["frozen", "recovered"] * 3


def test_closing_does_not_wait_for_a_long_pause_to_end(world: World) -> None:
    gone = SourceError("camera 0 is gone")
    capture = world.start(ScriptedCamera(gone), limits=Limits(first_pause_s=600))
    assert capture.next(0.2) is None
    assert world.kinds() == ["failed"]
    assert len(world.opened) == 1, "and the pause is kept"
    capture.close()
    wait_for_threads(world, 0)


def test_slow_preprocessing_is_not_the_cameras_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = Classifier.prepare

    def slow(*arguments: Any) -> None:
        time.sleep(3 * QUICK.frozen_s)
        prepare(*arguments)

    monkeypatch.setattr(Classifier, "prepare", slow)
    world.start(ScriptedCamera(picture("red", 1)))
    world.frame()
    assert world.kinds() == [], "or two threads would share one preprocessing"


def test_a_driver_that_swallows_thread_after_thread_ends_the_run_with_advice(world: World) -> None:
    hangs = [Hang() for _ in range(4)]
    cameras = [ScriptedCamera(hang) for hang in hangs]
    capture = world.start(*cameras, limits=Limits(frozen_s=0.02, first_pause_s=0.001, left_alone=2))
    with pytest.raises(SourceError, match=r"camera 0 hangs: 3 attempts .*unplug it"):
        capture.next(PATIENT_S)
    assert world.kinds() == ["frozen", "frozen"]


def test_another_size_is_told_once_and_then_taken(world: World) -> None:
    small = [picture("red", number, 24, 32) for number in range(3)]
    first = ScriptedCamera(picture("red", 9), small[0])
    world.start(first, ScriptedCamera(*small[1:]))
    while world.frame().frame.pixels.shape[0] != 24:
        pass
    assert world.kinds() == ["resized", "recovered"]
    assert "camera 0 delivers 32×24 instead of 64×48 pixels" in world.events[0].text


def test_the_same_picture_is_classified_once_and_reopens_the_camera_when_it_stays(world: World) -> None:
    same = picture("red", 1)
    first = RepeatingCamera(same)
    capture = world.start(first, ScriptedCamera(picture("blue", 2)))
    assert np.array_equal(world.frame().frame.pixels, same)
    assert np.array_equal(world.frame().frame.pixels, picture("blue", 2))
    assert world.kinds() == ["repeated", "recovered"]
    assert capture.counts["repeats"] == first.delivered - 1
    assert capture.counts["frames"] == 2
    assert len(first.given_back) == first.delivered - 1, "those not classified are given back"


class RepeatingCamera(ScriptedCamera):
    """One picture, again and again, ``times`` times or until it is closed."""

    def __init__(self, same: np.ndarray[Any, Any], times: int | None = None) -> None:
        super().__init__()
        self.same, self.times, self.delivered = same, times, 0

    def __iter__(self) -> Iterator[Any]:
        while self.times is None or self.delivered < self.times:
            self.delivered += 1
            yield Frame(self.same, self.name, self.delivered, time.monotonic())
            time.sleep(0.001)
        self.exhausted.set()
        self.closed.wait(60)


def test_a_picture_may_be_repeated_for_a_while(world: World) -> None:
    camera = RepeatingCamera(picture("red"), times=20)
    world.start(camera, limits=Limits(repeated_s=PATIENT_S))
    assert camera.exhausted.wait(PATIENT_S)
    world.frame()
    assert world.kinds() == []


def test_the_pauses_grow_while_the_camera_delivers_too_few_pictures_to_count_as_well(world: World) -> None:
    gone = SourceError("camera 0 is gone")
    cameras = [ScriptedCamera(*(picture("red", n) for n in range(2)), gone) for _ in range(3)]
    world.start(*cameras, ScriptedCamera(picture("blue")))
    while world.frame().frame.pixels[0, 0, 2] < 200:
        pass
    pauses = [event.text.rpartition(" in ")[2] for event in world.events if event.kind == "failed"]
    assert pauses == ["0.01 s", "0.02 s", "0.04 s"]


def test_a_view_that_never_changes_is_told_once_and_not_opened_for_ever(world: World) -> None:
    same = picture("red", 1)
    second = RepeatingCamera(same, times=150)
    world.start(RepeatingCamera(same), second)
    world.frame()
    world.frame()
    assert second.exhausted.wait(PATIENT_S)
    assert world.kinds() == ["repeated", "recovered"]


def test_a_picture_that_stays_for_the_second_time_is_a_fault_again(world: World) -> None:
    same, other = picture("red", 1), picture("blue", 2)
    world.start(RepeatingCamera(same), ScriptedCamera(other), ScriptedCamera(picture("green", 3)))
    world.frame()
    world.frame()
    world.opened[1].close()  # ends, and the next delivers what stayed before
    world.cameras = [RepeatingCamera(same), ScriptedCamera(picture("green", 3))]
    world.frame()
    world.frame()
    assert world.kinds() == ["repeated", "recovered", "failed", "recovered", "repeated", "recovered"]


def test_old_pictures_are_not_classified_and_told_once(world: World) -> None:
    camera = ScriptedCamera(picture("red", 1), age_s=3.0)
    capture = world.start(camera)
    assert capture.next(0.05) is None
    assert camera.given_back == [0]
    assert world.kinds() == ["stale"]
    assert "3.0 s old; older than 1 s are not classified" in world.events[0].text
    assert capture.counts["stale"] == 1


def test_a_picture_that_cannot_be_preprocessed_is_the_cameras_fault(world: World) -> None:
    world.start(ScriptedCamera(np.zeros((0, 4, 3), np.uint8)), ScriptedCamera(picture("red")))
    world.frame()
    assert world.kinds() == ["failed", "recovered"]
    assert "a frame's height must be 1 to" in world.events[0].text


def test_a_mistake_of_our_own_is_seen_where_frames_are_fetched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        time.sleep(0.1)  # until somebody waits for the frame
        raise ZeroDivisionError

    monkeypatch.setattr(Classifier, "prepare", broken)
    capture = world.start(ScriptedCamera(picture("red")))
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        capture.next(PATIENT_S)
    assert time.monotonic() - started < PATIENT_S / 2


def test_closing_does_not_wait_for_a_driver_that_hangs(world: World) -> None:
    hang = Hang()
    capture = world.start(ScriptedCamera(hang), limits=Limits())
    assert hang.begun.wait(PATIENT_S)
    capture.close()
    assert capture.ended
    started = time.monotonic()
    assert capture.next(PATIENT_S) is None
    assert time.monotonic() - started < PATIENT_S / 2
    assert not hang.over.is_set()


def test_a_frame_is_preprocessed_for_the_model_of_the_moment(
    world: World, make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = world.model.current(), load_classifier(make_bundle("other.bundle"), threads=1)
    camera = ScriptedCamera(picture("red", 1), hang := Hang(), picture("red", 2))
    world.start(camera, limits=Limits())
    assert world.frame().classifier is first
    monkeypatch.setattr(world.model, "_classifier", second)
    hang.over.set()
    assert world.frame().classifier is second


def test_memory_is_used_again(world: World) -> None:
    camera = ScriptedCamera(*(picture("red", number) for number in range(200)))
    capture = world.start(camera)
    inputs = set()
    while (prepared := capture.next(0.2)) is not None:
        inputs.add(prepared.input.__array_interface__["data"][0])
        capture.done(prepared)
    assert len(inputs) <= 3
    assert len(camera.given_back) == 200


def test_a_fingerprint_sees_a_change_of_one_in_a_64th_of_the_picture_and_any_noise() -> None:
    pixels = picture("red", 1, 480, 640)
    patched = pixels.copy()
    patched[60:120, 80:160] += 1
    assert fingerprint(pixels) == fingerprint(pixels.copy()) == fingerprint(np.asfortranarray(pixels))
    assert fingerprint(patched) != fingerprint(pixels)
    striped = pixels.copy()
    striped[:, 1] += 1
    assert fingerprint(striped) != fingerprint(pixels), "no column goes unseen"
    assert fingerprint(picture("red", 2, 480, 640)) != fingerprint(pixels)


def test_errors_of_the_kit_are_told_without_their_type(world: World) -> None:
    world.start(ScriptedCamera(LitesightError("the lens cap is on")), ScriptedCamera(picture("red")))
    world.frame()
    assert world.events[0].text.startswith("camera 0: the lens cap is on; it is opened again")
