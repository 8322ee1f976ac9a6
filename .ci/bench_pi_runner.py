# SPDX-License-Identifier: Apache-2.0
"""Figures of the runner by itself for make bench-pi: latency, the live page's cost, the end after SIGTERM, the soak."""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
from bench_pi_report import Line, Results
from bench_pi_setup import FRAMES, ROOT, Stage, tell

CAMERA_S = 1 / 30
LATENCY_FRAMES = 600
WATCHERS = 4
STOPS = 9
SOAK_FRAMES = 100_000


def latency(stage: Stage, options: argparse.Namespace, results: Results) -> None:
    """A camera of 30 frames a second: from the frame's delivery to the label, without the network's own time."""
    from device.capture import Capture
    from device.frames import Closing, Frame
    from device.preprocess import PixelFormat
    from device.runner import open_capture

    pictures = _pictures(stage.clip)

    class Camera(Closing):
        name, live = "camera", True
        total: int | None = None

        def __iter__(self) -> Iterator[Frame]:
            due = time.monotonic()
            for index in range(10 * LATENCY_FRAMES):
                due += CAMERA_S
                time.sleep(max(0.0, due - time.monotonic()))
                yield Frame(pictures[index % len(pictures)], "", index, time.monotonic(), PixelFormat.BGR888)

    tell(f"latency, {LATENCY_FRAMES} frames")
    model = _model(stage.bundle)
    camera = Camera()
    capture: Capture = open_capture(camera, lambda: camera, model, lambda event: None)
    added = []
    for result in _answers(capture, model):
        delivered_ms = (time.monotonic() - result.frame.captured_at) * 1000
        added.append(delivered_ms - result.classification.ms.invoke)
        if len(added) == LATENCY_FRAMES:
            break
    capture.close()
    ordered = sorted(added[30:])
    spread = f"p90 {ordered[len(ordered) * 9 // 10]:.2f}, p99 {ordered[len(ordered) * 99 // 100]:.2f}"
    results.lines.append(
        Line("frame delivered → label, without invoke", statistics.median(ordered), 1.5, "ms", False, spread)
    )


def page(stage: Stage, options: argparse.Namespace, results: Results) -> None:
    """The same clip with and without four browsers' worth of viewers, in turn."""
    from device.live_page.page import LivePage

    model = _model(stage.bundle)
    rates: dict[bool, list[float]] = {False: [], True: []}
    with LivePage(port=0, source="the clip") as live:
        url = live.start()
        _pass(stage, model, live.publish)
        for number in range(options.rounds):
            tell(f"live page, round {number + 1} of {options.rounds}")
            for watched in (False, True) if number % 2 else (True, False):
                with _Watchers(url if watched else None) as seen:
                    rates[watched].append(_pass(stage, model, live.publish))
                if watched and not all(seen.pictures):
                    raise SystemExit(f"expected pictures for {WATCHERS} viewers, found {seen.pictures}")
    ratios = [with_page / without for with_page, without in zip(rates[True], rates[False], strict=True)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    results.lines.append(
        Line(f"speed with {WATCHERS} viewers / without", statistics.median(ratios), 0.95, "×", True, spread)
    )


class _Watchers:
    """Viewers in a process of their own, as browsers are; ``pictures`` counts what each got."""

    CODE = """
import sys, threading
from tests.device.websocket_client import Watcher
def watch(number):
    with Watcher(sys.argv[1]) as watcher:
        while True:
            state, jpeg, png = watcher.look()
            counts[number] += bool(jpeg)
            watcher.more()
counts = [0] * int(sys.argv[2])
for number in range(len(counts)):
    threading.Thread(target=watch, args=(number,), daemon=True).start()
sys.stdin.read()
print(*counts, flush=True)
import os; os._exit(0)
"""

    def __init__(self, url: str | None) -> None:
        self.url, self.pictures = url, list[int]()

    def __enter__(self) -> _Watchers:
        if self.url is not None:
            command = [sys.executable, "-c", self.CODE, self.url, str(WATCHERS)]
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            time.sleep(0.5)  # until they are there
        return self

    def __exit__(self, *exc: object) -> None:
        if self.url is not None:
            told, _ = self.process.communicate(timeout=60)
            self.pictures = [int(part) for part in told.split()]


def stop(stage: Stage, options: argparse.Namespace, results: Results) -> None:
    """SIGTERM somewhere in the middle of a frame: how long until the process is gone; its last line must be whole."""
    seconds = []
    for number in range(STOPS):
        command = [sys.executable, "-m", "litesight", "run", str(stage.bundle), "--source", str(stage.clip), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        told: list[str] = []
        reader = threading.Thread(target=lambda lines=told, stream=process.stdout: lines.extend(stream))
        reader.start()
        while len(told) < 20 + number and process.poll() is None:
            time.sleep(0.001)
        sent = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=60)
        seconds.append(time.perf_counter() - sent)
        reader.join()
        assert status == 128 + signal.SIGTERM, f"expected the status 143, found {status}"
        json.loads(told[-1])
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    results.lines.append(Line("SIGTERM → gone, the slowest", max(seconds), 1.0, "s", False, spread))


def soak(stage: Stage, options: argparse.Namespace, results: Results) -> None:
    """100,000 frames from a camera with every fault there is."""
    tell(f"soak, {SOAK_FRAMES} frames")
    command = [sys.executable, "-m", "tests.device.soak", str(stage.bundle), "--frames", str(SOAK_FRAMES)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=1800)
    found: dict[str, Any] = json.loads(done.stdout)
    planted = sum(found["planted"].values())
    missed = planted - found["counts"]["recovered"]
    kinds = ", ".join(f"{kind} {number}" for kind, number in found["planted"].items())
    results.lines.append(Line("soak: faults without recovery", missed, 0, "", False, f"planted: {kinds}"))
    results.lines.append(Line("soak: growth of memory", found["slope_bytes"] / 1e6, 1, "MB", False))
    descriptors = found["descriptors"][len(found["descriptors"]) // 10 :]
    results.lines.append(Line("soak: growth of file descriptors", max(descriptors) - min(descriptors), 0, "", False))


def _pictures(clip: Path) -> list[Any]:
    video = cv2.VideoCapture(str(clip))
    pictures = []
    while len(pictures) < 60:
        ok, picture = video.read()
        if not ok:
            break
        pictures.append(picture)
    return pictures


def _model(bundle: Path) -> Any:
    from device.classifier import FixedModel, load_classifier

    return FixedModel(load_classifier(bundle, 1))


def _answers(capture: Any, model: Any) -> Iterator[Any]:
    from device.decision import Decision
    from device.runner import results

    return results(capture, model, lambda bundle: Decision(bundle.labels, bundle.manifest.output))


def _pass(stage: Stage, model: Any, publish: Callable[[Any], None]) -> float:
    """Frames a second of one pass over the clip, opened to last label."""
    from device.runner import open_capture
    from device.sources import open_source

    started = time.perf_counter()
    source = open_source(str(stage.clip))
    capture = open_capture(source, lambda: source, model, lambda event: None)
    for result in _answers(capture, model):
        publish(result)
    capture.close()
    return FRAMES / (time.perf_counter() - started)
