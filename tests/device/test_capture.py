# SPDX-License-Identifier: Apache-2.0
"""Frames of photos and videos: all of them, in order, ahead of the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.capture import FRAMES_AHEAD, FileCapture
from device.classifier import Classifier, FixedModel, load_classifier
from device.errors import LitesightError
from device.frames import Closing, Frame
from device.runner import open_capture
from device.sources import open_source
from tests.device.fake_camera import picture

PATIENT_S = 30.0


class Clip(Closing):
    """``length`` frames, then its error if it has one."""

    live = False
    name = "clip"

    def __init__(self, length: int, error: Exception | None = None) -> None:
        self.total: int | None = length
        self.length, self.error = length, error
        self.decoded = 0
        self.given_back: list[int] = []
        self.closed = threading.Event()
        self.waits = threading.Semaphore(0)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.length):
            self.decoded += 1
            self.waits.release()
            yield Frame(picture("red", index), f"clip#{index}", index, 0.0)
        if self.error is not None:
            raise self.error

    def recycle(self, frame: Frame) -> None:
        self.given_back.append(frame.index)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def model(tiny_bundle: Path) -> FixedModel:
    return FixedModel(load_classifier(tiny_bundle, threads=1))


def test_every_frame_comes_once_and_in_order_and_is_given_back(model: FixedModel) -> None:
    clip = Clip(50)
    capture = FileCapture(clip, model)
    seen, inputs = [], {}
    while not capture.ended:
        prepared = capture.next(PATIENT_S)
        if prepared is not None:
            seen.append(prepared.frame.index)
            inputs[id(prepared.input)] = prepared.input
            capture.done(prepared)
    assert seen == clip.given_back == list(range(50))
    assert len(inputs) <= FRAMES_AHEAD + 2, "memory is used again"
    assert clip.closed.wait(PATIENT_S)
    capture.close()


def test_decoding_runs_ahead_of_the_network_but_not_away(model: FixedModel) -> None:
    clip = Clip(50)
    capture = FileCapture(clip, model)
    for _ in range(FRAMES_AHEAD + 1):  # so many lie ready, and one waits for room
        assert clip.waits.acquire(timeout=PATIENT_S)
    assert not clip.waits.acquire(timeout=0.1)
    assert clip.decoded == FRAMES_AHEAD + 1
    capture.close()
    assert clip.closed.wait(PATIENT_S)
    assert clip.decoded == FRAMES_AHEAD + 1
    assert capture.ended


def test_frames_that_lie_ready_when_the_source_is_done_are_not_lost(model: FixedModel) -> None:
    clip = Clip(FRAMES_AHEAD)
    capture = FileCapture(clip, model)
    assert clip.closed.wait(PATIENT_S)
    for thread in threading.enumerate():
        if thread.name == "capture":
            thread.join(PATIENT_S)
    got = []
    while not capture.ended:
        prepared = capture.next(PATIENT_S)
        got.append(prepared is not None and prepared.frame.index)
    assert got == list(range(FRAMES_AHEAD))


def test_capture_and_preprocessing_are_measured_apart(model: FixedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "prepare", lambda *arguments: time.sleep(0.05))
    prepared = FileCapture(Clip(1), model).next(PATIENT_S)
    assert prepared is not None
    assert prepared.preprocess_ms >= 50
    assert prepared.capture_ms < prepared.preprocess_ms


def test_what_lies_behind_the_limit_is_not_read(model: FixedModel) -> None:
    clip = Clip(3, LitesightError("nobody asked for it"))
    capture = FileCapture(clip, model, limit=3)
    got = [capture.next(PATIENT_S) for _ in range(3)]
    assert [prepared.frame.index for prepared in got if prepared is not None] == [0, 1, 2]
    assert capture.next(PATIENT_S) is None
    assert capture.ended
    capture.close()


def test_an_error_comes_after_the_frames_before_it(model: FixedModel) -> None:
    capture = FileCapture(Clip(3, LitesightError("the disk is gone")), model)
    got = [capture.next(PATIENT_S) for _ in range(3)]
    assert [prepared.frame.index for prepared in got if prepared is not None] == [0, 1, 2]
    assert not capture.ended
    with pytest.raises(LitesightError, match="the disk is gone"):
        capture.next(PATIENT_S)
    assert capture.ended
    assert capture.next(PATIENT_S) is None


def test_an_empty_source_ends_at_once(model: FixedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clip, "close", lambda clip: time.sleep(0.1))  # until somebody waits for a frame
    started = time.monotonic()
    capture = FileCapture(Clip(0), model)
    assert capture.next(PATIENT_S) is None
    assert time.monotonic() - started < PATIENT_S / 2
    assert capture.ended


def test_a_video_comes_whole_through_its_own_thread(model: FixedModel, video: Path) -> None:
    source = open_source(str(video))
    capture = open_capture(source, lambda: source, model, lambda event: None)
    assert isinstance(capture, FileCapture)
    labels = []
    while not capture.ended:
        prepared = capture.next(PATIENT_S)
        if prepared is not None:
            output = prepared.classifier.invoke(prepared.input)
            labels.append(int(output.argmax()))
            capture.done(prepared)
    assert labels == [0, 0, 1, 1, 2, 2]
