# SPDX-License-Identifier: Apache-2.0
"""libcamera through picamera2: the cameras on the ribbon cable of a Raspberry Pi.

Written against the sources of picamera2 0.3.12 to 0.3.38, which Raspberry Pi OS has shipped since Bookworm.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np

from device.errors import LitesightError
from device.frames import Closing, Frame, FrameMemory, SourceError
from device.pi_camera_mode import best_mode, stream_size
from device.preprocess import PixelFormat

FORMATS: Final = {"BGR888": PixelFormat.RGB888, "RGB888": PixelFormat.BGR888}
"""libcamera names a format by the value of a little-endian pixel: its "BGR888" is R, G, B in memory."""

FRAME_TIMEOUT_S: Final = 3.0
"""Without a picture for so long a camera counts as frozen. The longest exposure is 83 ms, the start takes below 1 s."""

CLOSE_TIMEOUT_S: Final = 2.0
"""So long is waited for the driver to let go of the camera; it goes on by itself."""

BUFFERS: Final = 4
"""One that picamera2 keeps, one that is copied, two for the camera."""

FRAME_DURATIONS_US: Final = (33_333, 83_333)
"""30 pictures a second, and down to 12 in the dark, where a longer exposure is better than noise."""

LONGEST_AGE_NS: Final = 10_000_000_000
"""picamera2 keeps one picture, and a frozen camera ends sooner: an older time stamp is one of another clock."""

APT_PICAMERA2: Final = "sudo apt install python3-picamera2"
JOIN_VIDEO: Final = "run: sudo usermod -aG video $USER, then log in again"
MAKE_VENV: Final = "make the environment with: /usr/bin/python3 -m venv --system-site-packages .venv"


class PiCamera(Closing):
    """A camera on the ribbon cable.

    Frames come as RGB888 in arrays of their own, which :meth:`recycle` takes back. One thread iterates; any thread may
    close, which ends the iteration. A camera that delivers nothing for FRAME_TIMEOUT_S, or reports an error, is closed
    and raises SourceError.
    """

    live = True
    total: int | None = None

    def __init__(self, number: int, short_side: int | None = None) -> None:
        """Open and start.

        Args:
            number: as ``rpicam-hello --list-cameras`` counts.
            short_side: of the network's input, in pixels; decides the size of the frames, see
                :func:`device.pi_camera_mode.stream_size`.

        Raises:
            SourceError: no such camera, in use, it does not start, or picamera2 is not installed.
        """
        self.name = f"picamera2 camera {number}"
        self._lock = threading.Lock()  # guards what close() shares with the reading thread
        self._reading = threading.Lock()  # held while a buffer of the camera's is looked at
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._memory = FrameMemory()
        module = _import_picamera2()
        self._mapped: Callable[[Any], Any] = _read_only(module.MappedArray)
        self._camera: Any = _open(module.Picamera2, number, self.name)
        try:
            self._format = _configure(self._camera, short_side, self.name)
            _start(self._camera, _event_loop(module.previews.NullPreview(), self._answers), self.name)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        try:
            while (frame := self._read(index)) is not None:
                yield frame
                index += 1
        except SourceError:
            # An unanswered question of ours would keep the buffer that answers it.
            self.close()
            raise

    def recycle(self, frame: Frame) -> None:
        """Take a frame's array back for a later frame; one of another size is forgotten when it is found."""
        self._memory.give(frame.pixels)

    def close(self) -> None:
        """Stop the camera and give it back; in at most CLOSE_TIMEOUT_S, from any thread."""
        with self._lock:
            camera, self._camera = self._camera, None
            self._answers.put(None)
        if camera is None:
            return
        # The reading thread leaves now, or as soon as it has copied the picture in its hands.
        with self._reading:
            _give_back(camera, self._answers)

    def _read(self, index: int) -> Frame | None:
        """The next frame; None if the camera was closed."""
        with self._reading:
            try:
                request = self._next_request()
                return None if request is None else self._copy(request, index)
            except SourceError:
                raise
            # picamera2 and libcamera raise whatever befell them: RuntimeError, OSError, ValueError.
            except Exception as error:
                raise SourceError(
                    f"{self.name} delivers no pictures: {_cause(error)}", hint="check the ribbon cable"
                ) from error

    def _next_request(self) -> Any:
        """What picamera2 calls a completed request: the newest picture in a buffer of the camera's.

        With its ``queue=True`` picamera2 keeps the newest picture that nobody had and gives that at once; without, it
        throws away what comes while nobody waits, and a reader slower than the camera gets only every second picture.
        What it keeps is at most one picture old, and ``captured_at`` tells.
        """
        with self._lock:
            if self._camera is None:
                return None
            # Not the job's get_result(timeout): close() must be able to answer too, and old versions have no time-out.
            self._camera.capture_request(wait=False, signal_function=self._answers.put)
        try:
            answer = self._answers.get(timeout=FRAME_TIMEOUT_S)
        except Empty:
            raise SourceError(
                f"{self.name} delivers no pictures: none came for {FRAME_TIMEOUT_S:g} s", hint="check the ribbon cable"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else answer.get_result()

    def _copy(self, request: Any, index: int) -> Frame:
        try:
            # picamera2's view is without the padding at the end of the rows.
            with self._mapped(request) as mapped:
                pixels = self._memory.take_shaped(mapped.array.shape, np.uint8)
                np.copyto(pixels, mapped.array)
            captured_at = monotonic_time(request.get_metadata().get("SensorTimestamp"))
        finally:
            request.release()
        return Frame(pixels, f"{self.name}#{index}", index, captured_at, self._format)


def monotonic_time(stamp_ns: object) -> float:
    """A SensorTimestamp in seconds of ``time.monotonic()``; now, if it is None or cannot be.

    libcamera documents CLOCK_BOOTTIME; the drivers stamp with CLOCK_MONOTONIC and picamera2 compares with that. The two
    differ by the time that the machine slept, so at most one of them makes the picture neither old nor of the future.
    """
    now_ns = time.monotonic_ns()
    age_ns = 0
    if isinstance(stamp_ns, int):
        ages = (now_ns - stamp_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - stamp_ns)
        age_ns = min((age for age in ages if 0 <= age < LONGEST_AGE_NS), default=0)
    return (now_ns - age_ns) / 1e9


def _open(picamera2_class: Any, number: int, name: str) -> Any:
    try:
        there = picamera2_class.global_camera_info()
    except Exception as error:
        raise SourceError(
            f"{name} not found: libcamera does not start: {_cause(error)}", hint="run: rpicam-hello --list-cameras"
        ) from error
    # Not left to the constructor, which keeps a pipe open for every camera that it does not find.
    if number >= len(there):
        if not there and (barred := _barred_devices()):
            raise SourceError(f"{name} not found: no permission for {barred}", hint=JOIN_VIDEO)
        found = ", ".join(f"picamera2:{index} ({camera.get('Model')})" for index, camera in enumerate(there)) or "none"
        raise SourceError(
            f"{name} not found; cameras there are: {found}",
            hint="check the ribbon cable with the power off, then run: rpicam-hello --list-cameras",
        )
    # In two steps, so that what a failed constructor leaves can be given back.
    camera = picamera2_class.__new__(picamera2_class)
    try:
        camera.__init__(number)
    except BaseException as error:
        _give_back(camera)
        camera.is_open = False
        if (pipe := getattr(camera, "notifymeread", None)) is not None and not pipe.closed:
            pipe.close()
            os.close(camera.notifyme_w)
        if not isinstance(error, Exception):
            raise
        raise _refused(f"{name} cannot be opened", error) from error
    return camera


def _barred_devices(devices: Path = Path("/dev")) -> str:
    """The media devices, if this user may use none of them: libcamera then finds no camera and says no more."""
    media = sorted(devices.glob("media*"))
    return "" if any(os.access(path, os.R_OK | os.W_OK) for path in media) else ", ".join(map(str, media))


def _configure(camera: Any, short_side: int | None, name: str) -> PixelFormat:
    """Choose size and mode; the format of the frames."""
    try:
        camera.configure(_configuration(camera, short_side))
        format = str(camera.camera_configuration()["main"]["format"])
    except Exception as error:
        raise _refused(f"{name} does not start", error) from error
    if format not in FORMATS:
        raise SourceError(
            f"{name} delivers {format}; expected a camera on the ribbon cable",
            hint="a USB camera is called usb:0; litesight doctor lists them",
        )
    return FORMATS[format]


def _start(camera: Any, event_loop: Any, name: str) -> None:
    try:
        camera.start(show_preview=event_loop)
    except Exception as error:
        raise _refused(f"{name} does not start", error) from error


def _event_loop(event_loop: Any, answers: SimpleQueue[Any]) -> Any:
    """picamera2's thread, told to give its errors to the reader; of itself it would end with a traceback on stderr."""

    def handle_request(camera: Any) -> None:
        try:
            camera.process_requests(event_loop)
        except Exception as error:
            answers.put(error)

    event_loop.handle_request = handle_request
    return event_loop


def _configuration(camera: Any, short_side: int | None) -> Any:
    """A main stream that the camera's own processor scales, from a sensor mode with the whole field of view."""

    def keeps_width(width: int) -> bool:
        stream = {"format": "BGR888", "size": (width, 2)}
        camera.align_stream(stream)
        return bool(stream["size"][0] == width)

    size = stream_size(camera.sensor_resolution, short_side, keeps_width)
    options: dict[str, Any] = {"main": {"format": "BGR888", "size": size}, "buffer_count": BUFFERS}
    if "FrameDurationLimits" in camera.camera_controls:
        options["controls"] = {"FrameDurationLimits": FRAME_DURATIONS_US}
    try:
        # Tries each mode, with buffers of its size.
        modes = list(camera.sensor_modes)
    # Too little memory for the largest, or a USB camera that knows no sensor modes: then libcamera chooses.
    except (RuntimeError, OSError, KeyError):
        modes = []
    mode = best_mode(modes, size, 1e6 / FRAME_DURATIONS_US[0])
    if "sensor" in inspect.signature(camera.create_video_configuration).parameters:
        # No raw stream: nobody looks at it, and its buffers are several times the size of the picture's.
        options["raw"] = None
        if mode is not None:
            options["sensor"] = {"output_size": mode["size"], "bit_depth": mode["bit_depth"]}
    elif mode is not None:  # picamera2 0.3.12: the raw stream is what chooses the mode
        options["raw"] = {"size": mode["size"], "format": str(mode["format"])}
    return camera.create_video_configuration(**options)


def _give_back(camera: Any, answers: SimpleQueue[Any] | None = None) -> None:
    """Close the camera, whatever state it is in, without waiting for a driver that hangs.

    On a camera with a loose cable the kernel may not return from stopping the stream (raspberrypi/picamera2#1275).
    """
    thread = threading.Thread(target=_close, args=(camera, answers), name="close camera", daemon=True)
    thread.start()
    thread.join(CLOSE_TIMEOUT_S)


def _close(camera: Any, answers: SimpleQueue[Any] | None) -> None:
    # Not stop(): it asks picamera2's event loop behind the requests for pictures, so with a frozen camera it waits for
    # ever (raspberrypi/picamera2#1065, #1264). close() ends that loop first.
    with suppress(Exception):
        camera.close()
    if getattr(camera, "is_open", False):
        # A start that failed half-way: picamera2 does not stop what it did not see start, and libcamera does not
        # release what runs.
        with suppress(Exception):
            camera.camera.stop()
        with suppress(Exception):
            camera.close()
    if getattr(camera, "is_open", False):
        # libcamera keeps it, and may go on to deliver: what belongs to it must stay until the next one takes its place.
        camera.is_open = False
        return
    # A picture that came at the same time and that nobody fetched.
    while answers is not None and not answers.empty():
        with suppress(Exception):
            answers.get().get_result().release()
    # What refers to itself, and so stays open until then, would add up in a runner that opens a camera again and again:
    # the selectors of picamera2's threads, and the DMA heap, which a closed camera of it opens once more.
    gc.collect()


def _read_only(mapped_array: Any) -> Callable[[Any], Any]:
    """Makes the view of a request's picture; without write access where there is a choice, which spares a flush."""
    options = {"write": False} if "write" in inspect.signature(mapped_array).parameters else {}
    return lambda request: mapped_array(request, "main", **options)


def _refused(what: str, error: Exception) -> SourceError:
    cause = _cause(error)
    if "busy" in cause.lower():  # libcamera gives the words for EBUSY
        return SourceError(f"{what}: it is in use ({cause})", hint="litesight doctor says who holds it")
    if "permission denied" in cause.lower():
        return SourceError(f"{what}: {cause}", hint=JOIN_VIDEO)
    return SourceError(f"{what}: {cause}", hint="run: rpicam-hello --list-cameras")


def _cause(error: BaseException) -> str:
    """The root of an error, in one line: picamera2 wraps it up to four times."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return " ".join(str(error).split()) or type(error).__name__


def _import_picamera2() -> Any:
    # Both would tell the user in their own ways, on stderr, what is told here in one line.
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    log = logging.getLogger("picamera2")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    try:
        return importlib.import_module("picamera2")
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == "picamera2":
            hint = f"run: {APT_PICAMERA2}, and {MAKE_VENV}"
        elif missing.startswith("libcamera."):
            hint = f"apt's libcamera is for the system's Python: {MAKE_VENV}"
        else:
            # What pip installs under this name lacks everything beneath it.
            hint = f"run: pip uninstall picamera2; {APT_PICAMERA2}, and {MAKE_VENV}"
        raise SourceError(f"picamera2 cannot be imported: there is no module {missing}", hint=hint) from error
    # With a numpy that its compiled parts were not built for it raises ValueError or AttributeError.
    except Exception as error:
        raise LitesightError(f"picamera2 cannot be imported: {_cause(error)}", hint="run: litesight doctor") from error
