# SPDX-License-Identifier: Apache-2.0
"""Where frames come from: a photo, a folder of photos, a video file, a camera or an address in the network."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from device.errors import LitesightError, UsageError
from device.frames import Closing, Frame, Source, SourceError

_CAMERA: Final = re.compile(r"(?:(?:usb|camera):)?(\d{1,3})|/dev/video(\d{1,3})")
_PICAMERA: Final = re.compile(r"picamera2(?::(\d))?")
_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


OnBad = Callable[[LitesightError], None]


def _raise(error: LitesightError) -> None:
    raise error


def open_source(spec: str, on_bad: OnBad = _raise, short_side: int | None = None) -> Source:
    """Open what a user names after ``--source``.

    Args:
        spec: the path of a photo, a folder of photos (searched recursively, sorted) or a video; ``usb:0``,
            ``camera:0``, ``0`` or ``/dev/video0`` for a camera under V4L2; ``picamera2`` or ``picamera2:1`` for a
            camera on the ribbon cable; an ``rtsp://`` or ``http://`` address. A file called ``0`` is written ``./0``.
        on_bad: gets the error of every unreadable photo of a folder, which is then passed over; raises it by default.
        short_side: of the network's input, in pixels; a camera that can scale by itself delivers pictures to suit it.

    Raises:
        UsageError: a kind of source that does not exist.
        SourceError: it is missing, cannot be opened or holds no picture.
    """
    if camera := _CAMERA.fullmatch(spec):
        from device.cameras import V4L2Camera

        return V4L2Camera(int(camera[1] or camera[2]))
    if camera := _PICAMERA.fullmatch(spec):
        from device.pi_camera import PiCamera

        return PiCamera(int(camera[1] or 0), short_side)
    if re.match(r"(usb|camera|picamera2):", spec):
        raise UsageError(f"expected a camera such as usb:0 or picamera2, found {spec!r}")
    if address := _ADDRESS.match(spec):
        from device.video import open_address

        return open_address(spec, address[1].lower())
    if not spec:
        raise UsageError("expected a file, a folder, a camera or an address, found an empty --source")
    path = Path(spec)
    if path.is_dir():
        return PhotoFolder(path, on_bad)
    from device.images import IMAGE_SUFFIXES, printable

    if not path.exists():
        raise SourceError(
            f"no source {printable(path)}: no such file or folder", hint="a camera is named usb:0 or picamera2"
        )
    if not path.is_file():
        raise SourceError(f"{printable(path)}: expected a photo, a video or a folder, found a pipe or device")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Photo(path)
    from device.video import VideoFile

    return VideoFile(path)


class Photo(Closing):
    """One photo."""

    live = False
    total: int | None = 1

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def __iter__(self) -> Iterator[Frame]:
        from device.images import read_image

        yield Frame(read_image(self._path), self.name, 0, time.monotonic())


class PhotoFolder(Closing):
    """All photos under a folder. An unreadable one is reported and passed over."""

    live = False

    def __init__(self, path: Path, on_bad: OnBad) -> None:
        from device.images import IMAGE_SUFFIXES, find_images, printable

        self.name = str(path)
        self._paths = find_images(path)
        self._on_bad = on_bad
        self.total: int | None = len(self._paths)
        if not self._paths:
            kinds = " ".join(sorted(IMAGE_SUFFIXES))
            raise SourceError(
                f"{printable(path)}: expected a folder of photos, found none", hint=f"photos end in {kinds}"
            )

    def __iter__(self) -> Iterator[Frame]:
        from device.images import ImageError, read_image

        index = 0
        for path in self._paths:
            try:
                pixels = read_image(path)
            except ImageError as error:
                self._on_bad(error)
                continue
            yield Frame(pixels, str(path), index, time.monotonic())
            index += 1
