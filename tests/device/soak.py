# SPDX-License-Identifier: Apache-2.0
"""A camera with every fault there is, for as many frames as one likes: ``python -m tests.device.soak BUNDLE``.

The camera stands in for ``cv2.VideoCapture``; all above it is the kit's own: opening, reading, watching, preprocessing,
the network, the decision. Prints one JSON object: faults planted and seen, memory and file descriptors over time.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device import cameras
from device.camera_capture import CameraCapture, CameraEvent, Limits
from device.classifier import FixedModel, load_classifier
from device.decision import Decision
from device.machine import read_memory
from device.runner import results
from device.sources import open_source

FAULTS: Final = {
    "none": "failed",  # reads that bring nothing
    "error": "failed",  # the driver raises
    "gone": "failed",  # and cannot be opened for a while
    "freeze": "frozen",  # a read that does not come back
    "same": "repeated",  # one picture again and again
    "size": "resized",  # pictures of another size
}
"""What is planted, and what the kit calls it."""

PERIOD: Final = 300
"""Good frames between two faults."""

STUCK_S: Final = 20.0
"""A fault that is not healed by then never will be."""

LIMITS: Final = Limits(frozen_s=0.3, repeated_s=0.01, first_pause_s=0.001, longest_pause_s=0.01)


class World:
    """One physical camera that is opened again and again."""

    def __init__(self, frames: int) -> None:
        self.wanted = frames
        self.delivered = 0  # but for those of a fault
        self.good = 0
        self.planted: Counter[str] = Counter()
        self.fault: str | None = None
        self.absent = 0
        self.opened = threading.Event()
        base = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), np.uint8)
        self.pictures: dict[tuple[int, int], NDArray[np.uint8]] = {
            (48, 64): base,
            (32, 32): np.ascontiguousarray(base[:, :32, :32]),
        }

    def open(self, number: int) -> Camera:
        """Stands for the kit's call of ``cv2.VideoCapture``."""
        self.opened.set()
        return Camera(self)

    def next_fault(self) -> str | None:
        """A new fault whenever enough good frames have passed, each kind in turn."""
        if self.good < PERIOD or self.delivered >= self.wanted:
            return None
        self.good = 0
        kind = list(FAULTS)[self.planted.total() % len(FAULTS)]
        self.planted[kind] += 1
        return kind


class Camera:
    """One opening of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fault: str | None = None
        self.present = world.absent == 0
        world.absent = max(0, world.absent - 1)
        self.number = 0

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.present

    def read(self, image: NDArray[np.uint8] | None = None) -> tuple[bool, NDArray[np.uint8] | None]:
        world = self.world
        self.fault = self.fault or world.next_fault()
        match self.fault:
            case "none":
                return self.number % 2 == 0, None
            case "error":
                raise RuntimeError("VIDIOC_DQBUF: No such device")
            case "gone":
                world.absent = 3
                return False, None
            case "freeze":
                world.opened.clear()
                world.opened.wait(30)
                return False, None
        self.number += self.fault != "same"
        world.good += self.fault is None
        world.delivered += self.fault is None
        size = (32, 32) if self.fault == "size" else (48, 64)
        if image is None or image.shape[:2] != size:
            image = np.empty((*size, 3), np.uint8)
        np.add(world.pictures[size][self.number % 8], np.uint8(self.number % 251), out=image)
        return True, image

    def get(self, what: int) -> float:
        return 0.0

    def release(self) -> None:
        pass


def soak(bundle: Path, frames: int) -> dict[str, Any]:
    """Run until the camera has delivered ``frames`` frames, and tell what came of it."""
    world = World(frames)
    cameras._check_device = lambda number: None
    cameras._open_v4l2 = world.open
    model = FixedModel(load_classifier(bundle, threads=1))
    events: Counter[str] = Counter()
    capture = CameraCapture(
        open_source("usb:0"), lambda: open_source("usb:0"), model, lambda event: _count(events, event), LIMITS
    )
    classified = 0
    memory: list[tuple[int, int]] = []
    descriptors: list[int] = []
    threads: list[int] = []
    started = time.monotonic()
    next_sample = 0
    progress, progress_at = (0, 0), started

    def goes_on() -> bool:
        """Until the last fault planted is healed."""
        nonlocal progress, progress_at
        now = (min(world.delivered, frames), capture.counts["recovered"])
        if now != progress:
            progress, progress_at = now, time.monotonic()
        is_stuck = time.monotonic() - progress_at > STUCK_S
        return not is_stuck and (now[0] < frames or now[1] < world.planted.total())

    turns = results(capture, model, lambda each: Decision(each.labels, each.manifest.output, smooth=5), goes_on)
    for _ in turns:
        classified += 1
        if world.delivered >= next_sample:
            next_sample += max(1, frames // 200)
            memory.append((world.delivered, read_memory()[0] or 0))
            descriptors.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
            threads.append(threading.active_count())
    capture.close()
    return {
        "delivered": world.delivered,
        "classified": classified,
        "planted": dict(world.planted),
        "counts": dict(capture.counts),
        "events": dict(events),
        "seconds": round(time.monotonic() - started, 1),
        "memory_bytes": memory,
        "descriptors": descriptors,
        "threads": threads,
    }


def slope_bytes(memory: list[tuple[int, int]]) -> float:
    """Growth over the whole run by a straight line through the samples after the first tenth, in bytes."""
    settled = np.array(memory[len(memory) // 10 :], np.float64)
    slope = np.polyfit(settled[:, 0], settled[:, 1], 1)[0]
    return float(slope * (settled[-1, 0] - settled[0, 0]))


def _count(events: Counter[str], event: CameraEvent) -> None:
    events[event.kind] += 1


def main() -> None:
    """Print the findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--frames", type=int, default=100_000)
    args = parser.parse_args()
    found = soak(args.bundle, args.frames)
    print(json.dumps({**found, "slope_bytes": round(slope_bytes(found["memory_bytes"]))}))


if __name__ == "__main__":
    main()
