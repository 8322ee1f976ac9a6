# SPDX-License-Identifier: Apache-2.0
"""Cameras under V4L2, such as those on USB, through OpenCV."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from device.frames import Closing, Frame, FrameMemory, SourceError, opencv_format

CAMERA_SIZE: Final = (640, 480)
"""Width and height asked of a camera, in pixels; it may deliver another."""

MAX_LOST_FRAMES: Final = 5
"""So many reads in a row may fail before a camera counts as gone."""

READ_TIMEOUT_S: Final = 3
"""So long OpenCV waits for a picture of a V4L2 camera; its own default is 10."""


class V4L2Camera(Closing):
    """A USB camera, or any other that the kernel offers as /dev/videoN."""

    live = True
    total: int | None = None

    def __init__(self, number: int) -> None:
        self.name = f"camera {number}"
        self._memory = FrameMemory()
        _check_device(number)
        self._stamp = time.monotonic()  # no picture is older than this, and each is newer than the one before
        self._camera = _open_v4l2(number)
        if not self._camera.isOpened():
            self.close()
            raise SourceError(
                f"{self.name} cannot be opened: it is in use, or it delivers no video",
                hint="litesight doctor says who holds it",
            )

    def __iter__(self) -> Iterator[Frame]:
        index = lost = 0
        while True:
            asked_at = time.monotonic()
            ok, pixels = self._camera.read(self._memory.take())
            if not ok or pixels is None:
                lost += 1
                waited_s = time.monotonic() - asked_at
                if lost >= MAX_LOST_FRAMES or waited_s >= READ_TIMEOUT_S:
                    reads = "a read failed" if lost == 1 else f"{lost} reads in a row failed"
                    raise SourceError(f"{self.name} delivers no pictures: {reads}", hint="unplug it and plug it in")
                continue
            lost = 0
            format = opencv_format(pixels, self.name)
            yield Frame(pixels, f"{self.name}#{index}", index, self._taken_at(), format)
            index += 1

    def _taken_at(self) -> float:
        """When the picture was taken, in seconds of ``time.monotonic()``.

        The driver's time stamp, which OpenCV offers under this name; now, if that is of another clock: from before the
        camera was opened, still to come, or no later than the one before.
        """
        import cv2

        now = time.monotonic()
        stamp = float(self._camera.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if not self._stamp < stamp <= now:
            return now
        self._stamp = stamp
        return stamp

    def recycle(self, frame: Frame) -> None:
        self._memory.give(frame.pixels)

    def close(self) -> None:
        self._camera.release()


def _check_device(number: int) -> None:
    """Say the real cause before OpenCV says that something is out of range."""
    if not sys.platform.startswith("linux"):
        return
    device = Path(f"/dev/video{number}")
    if not device.exists():
        others = ", ".join(f"usb:{other}" for other in _video_numbers()) or "none"
        raise SourceError(
            f"camera {number} not found: there is no {device}; cameras there are: {others}",
            hint="litesight doctor looks for cameras; one on the ribbon cable is called picamera2",
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"camera {number} may not be used: no permission for {device}",
            hint="run: sudo usermod -aG video $USER, then log in again",
        )


def _video_numbers() -> list[int]:
    names = (path.name.removeprefix("video") for path in Path("/dev").glob("video*"))
    return sorted(int(name) for name in names if name.isdigit())


def _open_v4l2(number: int) -> Any:
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(READ_TIMEOUT_S))
    # Without native_stderr: a driver that hangs here would keep it, and with it whatever there is to tell, for ever.
    api = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
    camera = cv2.VideoCapture(number, api)
    camera.set(cv2.CAP_PROP_FRAME_WIDTH, CAMERA_SIZE[0])
    camera.set(cv2.CAP_PROP_FRAME_HEIGHT, CAMERA_SIZE[1])
    # The newest frame, not the one that waited longest.
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return camera
