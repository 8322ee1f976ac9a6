# SPDX-License-Identifier: Apache-2.0
"""Video that FFmpeg decodes for OpenCV: from a file, or from an address in the network."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from device.errors import UsageError
from device.frames import Closing, Frame, FrameMemory, Source, SourceError, opencv_format
from device.quiet import native_stderr

SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
OPEN_TIMEOUT_MS: Final = 10_000
READ_TIMEOUT_MS: Final = 5_000
MOST_OF_IT: Final = 0.9


class VideoFile(Closing):
    """A video that OpenCV can decode, from its first frame to its last, as fast as it is asked for."""

    live = False

    def __init__(self, path: Path) -> None:
        from device.images import printable

        self.name = str(path)
        self._memory = FrameMemory()
        with native_stderr():
            # FFmpeg takes what stands before a colon for a protocol, and recordings are named after the time of day.
            self._video = _open(str(path.absolute()))
            # Some files open and hold nothing that can be decoded; this is the time to say so.
            self._first = _first_frame(self._video)
        if self._first is None:
            self.close()
            raise SourceError(
                f"{printable(path)}: expected a photo or a video, found a file that OpenCV cannot decode",
                hint="videos: MP4, MKV, AVI, WebM; photos are known by their suffix",
            )
        self.total = _frame_count(self._video)

    def __iter__(self) -> Iterator[Frame]:
        first, self._first = self._first, None
        yield from _frames(self._video, self.name, first, self._memory)

    def recycle(self, frame: Frame) -> None:
        self._memory.give(frame.pixels)

    def close(self) -> None:
        self._video.release()


class NetworkVideo(VideoFile):
    """A stream, or a video file behind an address.

    A stream is live: it has no end, and what is not fetched in time is lost. When it breaks off, iteration ends.
    """

    def __init__(self, address: str) -> None:
        self.name = without_password(address)
        self._memory = FrameMemory()
        # stderr belongs to the whole process: it is not held while somebody far away takes his time.
        self._video = _open(address, network=True)
        self._first = _first_frame(self._video)
        if self._first is None:
            self.close()
            raise SourceError(
                f"{self.name}: expected a video within {OPEN_TIMEOUT_MS // 1000} s, found none that can be decoded",
                hint="try the address in a video player on this machine",
            )
        self.total = _frame_count(self._video)
        self.live = self.total is None

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        for frame in super().__iter__():
            count += 1
            yield frame
        # A connection that breaks off ends like the video itself, and its length is
        # an estimate where the frame rate varies.
        if self.total is not None and count < MOST_OF_IT * self.total:
            raise SourceError(
                f"{self.name} broke off after {count} of about {self.total} frames",
                hint="save the video to a file first",
            )


def open_address(address: str, scheme: str) -> Source:
    """Open a stream or a video behind an address.

    Args:
        address: the whole of it, with user and password if it needs them.
        scheme: what stands before ``://``, in lower case.

    Raises:
        UsageError: a scheme that is not one of ``SCHEMES``.
        SourceError: nobody answers in time, or what comes is no video.
    """
    if scheme not in SCHEMES:
        raise UsageError(
            f"expected an address that starts with {', '.join(f'{each}://' for each in SCHEMES)}, "
            f"found {without_password(address)!r}",
            hint="a file is named by its path",
        )
    return NetworkVideo(address)


def without_password(address: str) -> str:
    """The address as it may be shown: user and password, and a query that may hold a token, are left out."""
    from device.images import printable

    return printable(re.sub(r"\?.*", "?…", re.sub(r"(://)[^/?#]*@", r"\1…@", address), flags=re.DOTALL))


def _open(name: str, network: bool = False) -> Any:
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # OpenCV hands it to FFmpeg, which would report every damaged frame on stderr; -8 is its AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if not network:
        return cv2.VideoCapture(name, cv2.CAP_ANY)
    # Over UDP a lost packet is a torn picture.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
    return cv2.VideoCapture(name, cv2.CAP_FFMPEG, limits)


def _first_frame(video: Any) -> Any | None:
    if not video.isOpened():
        return None
    ok, pixels = video.read()
    return pixels if ok else None


def _frame_count(video: Any) -> int | None:
    import cv2

    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    return count if count > 0 else None


def _frames(video: Any, name: str, first: Any, memory: FrameMemory) -> Iterator[Frame]:
    index, pixels = 0, first
    while pixels is not None:
        format = opencv_format(pixels, name)
        yield Frame(pixels, f"{name}#{index}", index, time.monotonic(), format)
        index += 1
        # OpenCV writes into the array that it is given if it has the right size, and makes a new one if not.
        ok, following = video.read(memory.take())
        pixels = following if ok else None
