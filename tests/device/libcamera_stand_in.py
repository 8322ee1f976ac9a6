# SPDX-License-Identifier: Apache-2.0
"""What lies beneath picamera2 on a Raspberry Pi: libcamera's Python module, a sensor, and the kernel's DMA heap.

Only what picamera2 0.3.38 uses. How libcamera behaves (who may call what in which state, which calls raise, that a
plane duplicates its file descriptor) follows its Camera class and its Python bindings, ``src/py/libcamera``. Everything
above is the real picamera2. ``world`` is the machine; a test changes it.
"""

from __future__ import annotations

import enum
import errno
import os
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

SENSORS = {
    # Format, size, pictures a second, (x, y, width, height) that is seen. As rpicam-hello --list-cameras prints them:
    # imx219 and imx477 in raspberrypi/documentation, pull request 2587; imx708 in many guides,
    # its views also in Hermann-SW/imx708_regs_annotated.
    "imx219": [
        ("SRGGB10_CSI2P", (640, 480), 206.65, (1000, 752, 1280, 960)),
        ("SRGGB10_CSI2P", (1640, 1232), 41.85, (0, 0, 3280, 2464)),
        ("SRGGB10_CSI2P", (1920, 1080), 47.57, (680, 692, 1920, 1080)),
        ("SRGGB10_CSI2P", (3280, 2464), 21.19, (0, 0, 3280, 2464)),
        ("SRGGB8", (640, 480), 206.65, (1000, 752, 1280, 960)),
        ("SRGGB8", (1640, 1232), 41.85, (0, 0, 3280, 2464)),
        ("SRGGB8", (1920, 1080), 47.57, (680, 692, 1920, 1080)),
        ("SRGGB8", (3280, 2464), 21.19, (0, 0, 3280, 2464)),
    ],
    "imx477": [
        ("SRGGB10_CSI2P", (1332, 990), 120.05, (696, 528, 2664, 1980)),
        ("SRGGB12_CSI2P", (2028, 1080), 50.03, (0, 440, 4056, 2160)),
        ("SRGGB12_CSI2P", (2028, 1520), 40.01, (0, 0, 4056, 3040)),
        ("SRGGB12_CSI2P", (4056, 3040), 10.0, (0, 0, 4056, 3040)),
    ],
    "imx708": [
        ("SRGGB10_CSI2P", (1536, 864), 120.13, (768, 432, 3072, 1728)),
        ("SRGGB10_CSI2P", (2304, 1296), 56.03, (0, 0, 4608, 2592)),
        ("SRGGB10_CSI2P", (4608, 2592), 14.35, (0, 0, 4608, 2592)),
    ],
}
BYTES_IN_MEMORY = {"BGR888": (0, 1, 2), "RGB888": (2, 1, 0)}  # of R, G, B
PADDING = 0xEE


class World:
    """The machine: its cameras, and what ails it."""

    def __init__(self) -> None:
        self.cameras: list[Camera] = []
        self.stride_alignment = 32  # bytes
        self.largest_buffer = 1 << 40  # bytes
        self.dma_buffers: list[tuple[int, int]] = []  # device and inode of all that were handed out
        self.unbalanced_syncs = 0

    def dma_buffers_open(self) -> int:
        """How many of the buffers that were handed out this process still holds, through any descriptor."""
        held = set()
        for descriptor in Path("/proc/self/fd").iterdir():
            try:
                status = descriptor.stat()
            except OSError:  # the descriptor of the listing itself
                continue
            held.add((status.st_dev, status.st_ino))
        return len(held & set(self.dma_buffers))


world = World()


def failure(what: str, number: int) -> RuntimeError:
    """How pybind11 hands on the std::system_error of libcamera's bindings."""
    return RuntimeError(f"{what}: {os.strerror(number)}")


@dataclass(frozen=True)
class ControlId:
    name: str
    type: Any = None


@dataclass(frozen=True)
class ControlInfo:
    min: Any
    max: Any
    default: Any


class ControlType(enum.Enum):
    Integer64 = 1
    Rectangle = 2
    Size = 3


IDS = {
    name: ControlId(name, kind)
    for name, kind in {
        "ExposureTime": None,
        "ExposureTimeMode": None,
        "AnalogueGain": None,
        "AnalogueGainMode": None,
        "FrameDurationLimits": None,
        "NoiseReductionMode": None,
        "ScalerCrop": ControlType.Rectangle,
        "SensorTimestamp": ControlType.Integer64,
        "Model": None,
        "Location": None,
        "Rotation": None,
        "ColorFilterArrangement": None,
    }.items()
}


class Size:
    def __init__(self, width: int = 0, height: int = 0) -> None:
        self.width, self.height = width, height


class Rectangle:
    def __init__(self, x: int = 0, y: int = 0, width: int = 0, height: int = 0) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height


class Transform:
    def __init__(self, other: Transform | None = None, hflip: int = 0, vflip: int = 0, transpose: int = 0) -> None:
        self.hflip: int = other.hflip if other else hflip
        self.vflip: int = other.vflip if other else vflip
        self.transpose: int = other.transpose if other else transpose

    def __str__(self) -> str:  # picamera2 makes it the __repr__ too
        return f"hflip={self.hflip} vflip={self.vflip} transpose={self.transpose}"


class ColorSpace:
    YcbcrEncoding = enum.Enum("YcbcrEncoding", ["Null", "Rec601", "Rec709"])
    Range = enum.Enum("Range", ["Full", "Limited"])

    def __init__(self, primaries: Any, function: Any = None, encoding: Any = None, range: Any = None) -> None:
        if isinstance(primaries, ColorSpace):
            vars(self).update(vars(primaries))
            return
        self.primaries: Any = primaries
        self.transferFunction: Any = function
        self.ycbcrEncoding: Any = encoding
        self.range: Any = range

    def __str__(self) -> str:
        return f"{self.primaries}/{self.transferFunction}/{self.ycbcrEncoding}/{self.range}"

    @classmethod
    def Sycc(cls) -> ColorSpace:  # noqa: N802 (libcamera's names, here and below)
        return cls("Rec709", "Srgb", cls.YcbcrEncoding.Rec601, cls.Range.Full)

    @classmethod
    def Smpte170m(cls) -> ColorSpace:  # noqa: N802
        return cls("Smpte170m", "Rec709", cls.YcbcrEncoding.Rec601, cls.Range.Limited)

    @classmethod
    def Rec709(cls) -> ColorSpace:  # noqa: N802
        return cls("Rec709", "Rec709", cls.YcbcrEncoding.Rec709, cls.Range.Limited)

    @classmethod
    def Raw(cls) -> ColorSpace:  # noqa: N802
        return cls("Raw", "Linear", cls.YcbcrEncoding.Null, cls.Range.Full)


_ORIENTATIONS = [f"Rotate{angle}{mirror}" for angle in (0, 90, 180, 270) for mirror in ("", "Mirror")]
Orientation = SimpleNamespace(**{name: name for name in _ORIENTATIONS})


class StreamRole(enum.Enum):
    Raw = 0
    StillCapture = 1
    VideoRecording = 2
    Viewfinder = 3


class PixelFormat(str):
    __slots__ = ()


@dataclass
class SensorConfiguration:
    bit_depth: int = 0
    output_size: Size = field(default_factory=Size)


class Stream:
    """One of a camera's streams."""


class StreamConfiguration:
    def __init__(self, camera: Camera, role: StreamRole) -> None:
        self.role, self.stream = role, Stream()
        name, size, _, _ = camera.modes[-1] if role is StreamRole.Raw else ("XRGB8888", (640, 480), 0, ())
        self.size, self.pixel_format = Size(*size), PixelFormat(name)
        self.buffer_count, self.stride, self.frame_size = 4, 0, 0
        self.color_space: ColorSpace | None = None
        self.formats = SimpleNamespace(
            pixel_formats=[PixelFormat(name) for name in dict.fromkeys(mode[0] for mode in camera.modes)],
            sizes=lambda wanted: [Size(*size) for name, size, _, _ in camera.modes if name == wanted],
        )


class CameraConfiguration:
    class Status(enum.Enum):
        Valid = 0
        Adjusted = 1
        Invalid = 2

    def __init__(self, camera: Camera, roles: list[StreamRole]) -> None:
        self._camera = camera
        self._streams = [StreamConfiguration(camera, role) for role in roles]
        self.orientation: str | None = None
        self.sensor_config: SensorConfiguration | None = None
        self.mode = camera.modes[-1]

    def at(self, index: int) -> StreamConfiguration:
        return self._streams[index]

    def __iter__(self) -> Iterator[StreamConfiguration]:
        return iter(self._streams)

    def validate(self) -> Status:
        status = self.Status.Valid
        if (sensor := self.sensor_config) is not None:
            wanted = sensor.output_size.width, sensor.output_size.height, sensor.bit_depth
            fitting = [mode for mode in self._camera.modes if (*mode[1], bit_depth(mode[0])) == wanted]
            if not fitting:
                return self.Status.Invalid
            self.mode = fitting[0]
        for stream in self._streams:
            if stream.role is StreamRole.Raw:
                stream.pixel_format, stream.size = PixelFormat(self.mode[0]), Size(*self.mode[1])
                used = stream.size.width * 2
            else:
                if stream.pixel_format not in self._camera.formats:
                    stream.pixel_format = PixelFormat(self._camera.formats[0])
                    status = self.Status.Adjusted
                used = stream.size.width * {"BGR888": 3, "RGB888": 3, "YUYV": 2}.get(stream.pixel_format, 4)
            alignment = world.stride_alignment
            stream.stride = -(-used // alignment) * alignment
            stream.frame_size = stream.stride * stream.size.height
        return status


def bit_depth(name: str) -> int:
    return int("".join(character for character in name.partition("_")[0] if character.isdigit()))


class Plane:
    """Duplicates the descriptor that it is given, as libcamera's SharedFD does."""

    def __init__(self) -> None:
        self._fd, self.offset, self.length = -1, 0, 0

    @property
    def fd(self) -> int:
        return self._fd

    @fd.setter
    def fd(self, fd: int) -> None:
        self._fd = os.dup(fd)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class FrameMetadata:
    class Status(enum.Enum):
        Success = 0
        Error = 1
        Cancelled = 2


class FrameBuffer:
    Plane = Plane

    def __init__(self, planes: list[Any]) -> None:
        self.planes = planes
        self.metadata = SimpleNamespace(status=FrameMetadata.Status.Success, planes=[])


class Request:
    class Status(enum.Enum):
        Pending = 0
        Complete = 1
        Cancelled = 2

    def __init__(self, cookie: int) -> None:
        self.cookie = cookie
        self.buffers: dict[Stream, FrameBuffer] = {}
        self.metadata: dict[ControlId, Any] = {}
        self.status = self.Status.Pending

    def add_buffer(self, stream: Stream, buffer: FrameBuffer) -> None:
        self.buffers[stream] = buffer

    def reuse(self) -> None:
        self.metadata, self.status = {}, self.Status.Pending

    def set_control(self, control: ControlId, value: Any) -> None:
        pass


class Camera:
    """A camera with a sensor of SENSORS, or a USB camera.

    Attributes:
        scene: R, G, B of every pixel; the first pixel of a picture is its number in place of R instead.
        interval_s: between two pictures.
        frozen: it runs and delivers nothing.
        fails: the calls that fail, with the error number: acquire, configure, start, queue_request, stop, release.
        stamp: makes the SensorTimestamp of a picture; None leaves it out.
        hang: cleared, every call that changes its state hangs.
        calls: the names of those calls.
        delivered: how many pictures it has taken.
    """

    def __init__(self, model: str = "imx219", formats: tuple[str, ...] = ("XBGR8888", "BGR888", "RGB888")) -> None:
        self.id = f"/base/soc/i2c0mux/i2c@1/{model}@10" if model in SENSORS else f"/base/usb/{model}"
        self.modes = SENSORS.get(model, [(formats[0], (640, 480), 30.0, (0, 0, 640, 480))])
        self.formats = formats
        self.scene = (200, 60, 20)
        self.interval_s = 0.0005
        self.frozen = False
        self.fails: dict[str, int] = {}
        self.stamp: Any = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.calls: list[str] = []
        self.delivered = 0
        self.state = "available"
        self.hang = threading.Event()
        self.hang.set()
        self.configuration: CameraConfiguration | None = None
        self.start_controls: dict[str, Any] = {}
        self.properties = {IDS["Model"]: model, IDS["Location"]: 2, IDS["Rotation"]: 0}
        if model in SENSORS:
            self.properties[IDS["ColorFilterArrangement"]] = 0
        self._queue: list[Request] = []
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None

    def wait_until_delivered(self, count: int) -> None:
        """Until it has taken so many pictures in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.delivered >= count, 20)

    def wait_until_queued(self, count: int) -> None:
        """Until it has so many buffers to fill; only while it is frozen."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._queue) >= count, 20)

    @property
    def controls(self) -> dict[ControlId, ControlInfo]:
        if IDS["ColorFilterArrangement"] not in self.properties:
            return {}
        _, _, rate, crop = self.modes[-1] if self.configuration is None else self.configuration.mode
        return {
            IDS["ScalerCrop"]: ControlInfo(Rectangle(0, 0, 64, 64), Rectangle(*crop), Rectangle(*crop)),
            IDS["FrameDurationLimits"]: ControlInfo(int(1e6 / rate), 10_000_000, 33_333),
            IDS["ExposureTime"]: ControlInfo(75, 11_766_829, 20_000),
            IDS["AnalogueGain"]: ControlInfo(1.0, 10.66, 1.0),
            IDS["NoiseReductionMode"]: ControlInfo(0, 4, 0),
        }

    def _call(self, name: str, words: str, *states: str) -> None:
        self.hang.wait()
        if self.state not in states:
            raise failure(words, errno.EBUSY if name in ("acquire", "release") else errno.EACCES)
        if name in self.fails:
            raise failure(words, self.fails[name])
        self.calls.append(name)

    def acquire(self) -> None:
        self._call("acquire", "Failed to acquire camera", "available")
        self.state = "acquired"

    def release(self) -> None:
        self._call("release", "Failed to release camera", "acquired", "configured")
        self.state = "available"

    def generate_configuration(self, roles: list[StreamRole]) -> CameraConfiguration:
        return CameraConfiguration(self, roles)

    def configure(self, configuration: CameraConfiguration) -> int:
        self._call("configure", "Failed to configure camera", "acquired", "configured")
        self.configuration, self.state = configuration, "configured"
        return 0

    def create_request(self, cookie: int) -> Request:
        return Request(cookie)

    def start(self, controls: dict[ControlId, Any]) -> None:
        self._call("start", "Failed to start camera", "configured")
        self.start_controls = {control.name: value for control, value in controls.items()}
        self.state = "running"
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def queue_request(self, request: Request) -> None:
        if self.state != "running" or "queue_request" in self.fails:
            raise failure("Failed to queue request", self.fails.get("queue_request", errno.EACCES))
        with self._changed:
            self._queue.append(request)
            self._changed.notify_all()

    def stop(self) -> None:
        if self.state != "running":
            return
        self._call("stop", "Failed to stop camera", "running")
        with self._changed:
            self.state = "configured"
            self._changed.notify_all()
        assert self._worker is not None
        self._worker.join()
        for request in self._queue:
            request.status = Request.Status.Cancelled
            CameraManager.complete(request)
        self._queue = []

    def _work(self) -> None:
        assert self.configuration is not None
        config = self.configuration.at(0)
        red_green_blue = [self.scene[channel] for channel in BYTES_IN_MEMORY[config.pixel_format]]
        used = config.size.width * 3
        row = bytes(red_green_blue) * config.size.width + bytes([PADDING]) * (config.stride - used)
        picture = bytearray(row * config.size.height)
        while True:
            with self._changed:
                self._changed.wait(self.interval_s)
                self._changed.wait_for(lambda: self.state != "running" or (self._queue and not self.frozen))
                if self.state != "running":
                    return
                request = self._queue.pop(0)
            buffer = request.buffers[config.stream]
            picture[0] = self.delivered % 256
            os.pwrite(buffer.planes[0].fd, picture, 0)
            with self._changed:
                self.delivered += 1
                self._changed.notify_all()
            if self.stamp is not None:
                request.metadata[IDS["SensorTimestamp"]] = self.stamp()
            request.status = Request.Status.Complete
            CameraManager.complete(request)


class CameraManager:
    _alive: ClassVar[weakref.ref[CameraManager] | None] = None

    def __init__(self) -> None:
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ready: list[Request] = []
        self._lock = threading.Lock()

    @classmethod
    def singleton(cls) -> CameraManager:
        manager = None if cls._alive is None else cls._alive()
        if manager is None:
            manager = cls()
            cls._alive = weakref.ref(manager)
        return manager

    @classmethod
    def complete(cls, request: Request) -> None:
        manager = cls.singleton()
        with manager._lock:
            manager._ready.append(request)
        os.eventfd_write(manager.event_fd, 1)

    @property
    def cameras(self) -> list[Camera]:
        return world.cameras

    def get_ready_requests(self) -> list[Request]:
        try:
            os.eventfd_read(self.event_fd)
        except BlockingIOError:
            return []
        with self._lock:
            ready, self._ready = self._ready, []
        return ready

    def __del__(self) -> None:
        os.close(self.event_fd)


def ioctl(fd: int, request: int, argument: Any) -> Any:
    """The kernel's answers to what picamera2 asks of the DMA heap and of its buffers."""
    from picamera2 import dma_heap

    if request == dma_heap.DMA_HEAP_IOCTL_ALLOC:
        if argument.len > world.largest_buffer:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        argument.fd = os.memfd_create("dma", os.MFD_CLOEXEC)
        os.ftruncate(argument.fd, argument.len)
        status = os.fstat(argument.fd)
        world.dma_buffers.append((status.st_dev, status.st_ino))
    elif request == dma_heap.DMA_BUF_SET_NAME:
        return argument.encode()
    elif request == dma_heap.DMA_BUF_IOCTL_SYNC:
        world.unbalanced_syncs += -1 if argument.flags & dma_heap.DMA_BUF_SYNC_END else 1
    else:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
    return 0


def modules() -> dict[str, ModuleType]:
    """By name: libcamera, and what picamera2 imports but needs only for displays and for writing files."""
    lowlevel = ModuleType("libcamera._libcamera")
    for thing in (CameraConfiguration, CameraManager, ColorSpace, ControlType, FrameBuffer, FrameMetadata, PixelFormat,
                  Rectangle, Request, SensorConfiguration, Size, StreamRole, Transform):  # fmt: skip
        setattr(lowlevel, thing.__name__, thing)
    noise = SimpleNamespace(Off=0, Fast=1, HighQuality=2, Minimal=3)
    controls = SimpleNamespace(**IDS, draft=SimpleNamespace(NoiseReductionModeEnum=noise))
    libcamera: Any = ModuleType("libcamera")
    vars(libcamera).update(vars(lowlevel), __name__="libcamera", _libcamera=lowlevel)
    libcamera.Camera, libcamera.Orientation, libcamera.controls = Camera, Orientation, controls
    found = {"libcamera": libcamera, "libcamera._libcamera": lowlevel}
    for name in ("pykms", "prctl", "piexif", "simplejpeg", "pidng", "pidng.camdefs", "pidng.core"):
        found[name] = ModuleType(name)
    displayed = ("RGB888", "BGR888", "XRGB8888", "XBGR8888", "YUV420", "YVU420", "NV12")
    vars(found["pykms"])["PixelFormat"] = SimpleNamespace(**dict.fromkeys(displayed, 0))
    vars(found["pidng.camdefs"])["Picamera2Camera"] = vars(found["pidng.core"])["PICAM2DNG"] = object
    return found
