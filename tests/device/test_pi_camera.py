# SPDX-License-Identifier: Apache-2.0
"""The real picamera2, over a stand-in for libcamera and the kernel (``libcamera_stand_in.py``)."""

from __future__ import annotations

import errno
import gc
import importlib
import importlib.util
import logging
import os
import selectors
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from device import pi_camera
from device.errors import LitesightError
from device.frames import Frame, SourceError
from device.pi_camera import PiCamera, monotonic_time
from device.preprocess import PixelFormat
from device.sources import open_source
from tests.device import libcamera_stand_in as stand_in

pytestmark = [
    # picamera2's NullPreview, in every version, starts its thread the old way.
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),
]
SCENE = (200, 60, 20)


class QuickSelectors:
    """The module ``selectors``, without patience."""

    EVENT_READ = selectors.EVENT_READ

    class DefaultSelector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            return super().select(0.01)


@pytest.fixture(scope="module")
def real_picamera2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The package itself, over the stand-in."""
    if importlib.util.find_spec("picamera2") is None:
        message = "picamera2 is not installed; .ci/virtual-environment does it"
        if os.environ.get("REQUIRE_TOOLS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    heap = tmp_path_factory.mktemp("dev") / "vidbuf_cached"
    heap.touch()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in stand_in.modules().items():
            patch.setitem(sys.modules, name, module)
        module = importlib.import_module("picamera2")
        kernel = SimpleNamespace(ioctl=stand_in.ioctl)
        patch.setattr(importlib.import_module("picamera2.dma_heap"), "heapNames", [str(heap)])
        patch.setattr(importlib.import_module("picamera2.dma_heap"), "fcntl", kernel)
        patch.setattr(importlib.import_module("picamera2.allocators.dmaallocator"), "fcntl", kernel)
        # It looks five times a second whether it should end; the tests look more often.
        patch.setattr(importlib.import_module("picamera2.picamera2"), "selectors", QuickSelectors)
        yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "picamera2"]:
        del sys.modules[name]


@pytest.fixture
def world(real_picamera2: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[stand_in.World]:
    """A machine with an imx219, whose cameras must all be given back in the end."""
    world = stand_in.World()
    world.cameras.append(stand_in.Camera("imx219"))
    monkeypatch.setattr(stand_in, "world", world)
    monkeypatch.setattr(pi_camera, "FRAME_TIMEOUT_S", 20.0)  # a slow machine is no frozen camera
    yield world
    gc.collect()  # tracebacks of expected errors
    assert [camera.state for camera in world.cameras] == ["available"] * len(world.cameras)
    assert world.dma_buffers_open() == 0
    assert world.unbalanced_syncs == 0


@pytest.fixture
def camera(world: stand_in.World) -> stand_in.Camera:
    return world.cameras[0]


def take(source: PiCamera, count: int) -> list[Frame]:
    return [frame for frame, _ in zip(source, range(count), strict=False)]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def number(frame: Frame) -> int:
    """Which picture it is, modulo 256: the stand-in writes it into the first byte."""
    return int(frame.pixels[0, 0, 0])


@pytest.mark.usefixtures("world")
def test_a_red_scene_is_red_and_says_so() -> None:
    with open_source("picamera2") as source:
        assert (source.live, source.total) == (True, None)
        frame = next(iter(source))
    assert frame.format is PixelFormat.RGB888
    assert frame.pixels[1:].reshape(-1, 3).tolist() == [list(SCENE)] * (479 * 640)
    assert (frame.name, frame.index) == ("picamera2 camera 0#0", 0)


def test_a_camera_that_has_only_the_other_order_is_labelled_so(world: stand_in.World) -> None:
    world.cameras[0] = stand_in.Camera("imx219", formats=("RGB888",))
    with PiCamera(0) as source:
        frame = next(iter(source))
    assert frame.format is PixelFormat.BGR888
    assert tuple(frame.pixels[1, 1]) == SCENE[::-1]


def test_the_padding_at_the_end_of_the_rows_is_cut_off(world: stand_in.World) -> None:
    world.stride_alignment = 1024
    with PiCamera(0) as source:
        pixels = next(iter(source)).pixels
    assert pixels.shape == (480, 640, 3)
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels[1:], np.broadcast_to(np.array(SCENE, np.uint8), (479, 640, 3)))


@pytest.mark.parametrize(
    ("sensor", "short_side", "size", "mode"),
    [
        ("imx219", None, (640, 480), (10, (1640, 1232))),  # not the 640×480 mode: it sees a sixth of the scene
        ("imx219", 96, (320, 240), (10, (1640, 1232))),
        ("imx219", 224, (608, 456), (10, (1640, 1232))),
        ("imx219", 640, (1728, 1298), (10, (3280, 2464))),
        ("imx219", 2000, (3264, 2450), (10, (3280, 2464))),  # all that the sensor has
        ("imx477", 224, (608, 454), (12, (2028, 1520))),  # not 1332×990, which is faster and sees less
        ("imx708", None, (864, 486), (10, (2304, 1296))),
        ("imx708", 224, (800, 450), (10, (2304, 1296))),
        ("imx708", 700, (2496, 1404), (10, (4608, 2592))),
    ],
)
def test_the_isp_scales_the_whole_view_of_the_smallest_mode_that_suffices(
    world: stand_in.World, sensor: str, short_side: int | None, size: tuple[int, int], mode: tuple[int, tuple[int, int]]
) -> None:
    world.cameras[0] = camera = stand_in.Camera(sensor)
    with PiCamera(0, short_side) as source:
        pixels = next(iter(source)).pixels
        assert camera.configuration is not None
        name, mode_size, _, _ = camera.configuration.mode
        streams = [stream.role for stream in camera.configuration]
    assert pixels.shape == (size[1], size[0], 3)
    assert (stand_in.bit_depth(name), mode_size) == mode
    assert streams == [stand_in.StreamRole.Viewfinder]  # no memory for raw pictures
    assert camera.start_controls["FrameDurationLimits"] == (33_333, 83_333)


def test_too_little_memory_for_the_largest_mode_is_no_reason_not_to_start(world: stand_in.World) -> None:
    world.largest_buffer = 10_000_000
    with PiCamera(0, 224) as source:
        assert next(iter(source)).pixels.shape == (456, 608, 3)


def test_a_thousand_frames_use_no_more_memory_than_four_buffers_and_one_array(camera: stand_in.Camera) -> None:
    arrays, last = set(), -1.0
    with PiCamera(0, 48) as source:
        for frame in source:
            arrays.add(id(frame.pixels))
            assert frame.captured_at >= last
            last = frame.captured_at
            source.recycle(frame)
            if frame.index == 1000:
                break
        assert stand_in.world.dma_buffers_open() == pi_camera.BUFFERS
        # All buffers are the camera's again, but for the one with the newest picture.
        camera.frozen = True
        camera.wait_until_queued(pi_camera.BUFFERS - 1)
    assert len(arrays) == 1


def test_frames_that_are_kept_stay_as_they_were(camera: stand_in.Camera) -> None:
    with PiCamera(0, 48) as source:
        frames = take(source, 10)
        kept = [frame.pixels.copy() for frame in frames]
        camera.wait_until_delivered(camera.delivered + 20)
    assert all(np.array_equal(frame.pixels, copy) for frame, copy in zip(frames, kept, strict=True))
    assert len({number(frame) for frame in frames}) == 10


def test_a_slow_reader_gets_the_newest_picture_at_once(camera: stand_in.Camera) -> None:
    with PiCamera(0, 48) as source:
        frames = iter(source)
        next(frames)
        camera.wait_until_delivered(50)
        camera.frozen = True
        camera.wait_until_queued(pi_camera.BUFFERS - 1)
        # It is there although no picture comes any more, and it is the last one that came.
        assert number(next(frames)) == (camera.delivered - 1) % 256


@pytest.mark.usefixtures("world")
def test_a_frame_that_came_back_is_used_again_if_it_fits_and_once_only() -> None:
    with PiCamera(0, 48) as source:
        frames = iter(source)
        first, other = next(frames), Frame(np.empty((9, 9, 3), np.uint8), "of another size", 0, 0.0)
        view = Frame(np.empty((240, 320, 4), np.uint8)[..., :3], "not an array of its own", 0, 0.0)
        for frame in (first, first, view, other):
            source.recycle(frame)
        second, third = next(frames), next(frames)
    assert second.pixels is first.pixels
    assert third.pixels is not first.pixels
    assert second.pixels.shape == third.pixels.shape == (240, 320, 3)


def test_cameras_of_other_sizes_do_not_share_arrays(world: stand_in.World) -> None:
    world.cameras.append(stand_in.Camera("imx708"))
    with PiCamera(0, 48) as first, PiCamera(1, 224) as second:
        frame = next(iter(first))
        second.recycle(frame)
        heights = {len(frame.pixels) for frame in take(second, 3)}
    assert len(frame.pixels) == 252
    assert heights == {456}


def test_a_camera_that_is_not_there_is_told_again_and_again_without_leaks(world: stand_in.World) -> None:
    world.cameras.append(stand_in.Camera("imx708"))
    told = r"picamera2 camera 2 not found; cameras there are: picamera2:0 \(imx708\), picamera2:1 \(imx219\)"
    counts = []
    for _ in range(3):
        with pytest.raises(SourceError, match=told):
            open_source("picamera2:2")
        counts.append(open_files())
    assert counts[-1] == counts[0]


def test_no_camera_at_all_is_told(world: stand_in.World) -> None:
    world.cameras.clear()
    with pytest.raises(SourceError, match=r"cameras there are: none.*ribbon cable"):
        PiCamera(0)


def test_devices_without_permission_are_told_as_such(
    world: stand_in.World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "media0").touch()
    (tmp_path / "media1").touch()
    assert pi_camera._barred_devices(tmp_path) == ""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    barred = pi_camera._barred_devices(tmp_path)
    assert barred == f"{tmp_path}/media0, {tmp_path}/media1"
    monkeypatch.setattr(pi_camera, "_barred_devices", lambda: "/dev/media0")
    world.cameras.clear()
    with pytest.raises(SourceError, match=r"no permission for /dev/media0.*usermod"):
        PiCamera(0)


def test_a_camera_in_use_is_told_in_one_line_without_leaks_and_opens_when_it_is_free(
    camera: stand_in.Camera, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the handlers of pytest, as in the command: picamera2 would log to stderr.
    log = logging.getLogger("picamera2")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", False)
    camera.acquire()
    counts = []
    for _ in range(3):
        with pytest.raises(SourceError, match=r"it is in use \(.*busy\).*litesight doctor"):
            PiCamera(0)
        counts.append(open_files())
    assert counts[-1] == counts[0]
    camera.release()
    with PiCamera(0, 48) as source:
        assert take(source, 2)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("world")
def test_libcamera_logs_errors_only_unless_it_was_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBCAMERA_LOG_LEVELS", "")  # to be put back afterwards
    for asked, found in ((None, "*:ERROR"), ("*:DEBUG", "*:DEBUG")):
        os.environ.pop("LIBCAMERA_LOG_LEVELS")
        if asked:
            os.environ["LIBCAMERA_LOG_LEVELS"] = asked
        with pytest.raises(SourceError):
            PiCamera(7)
        assert os.environ["LIBCAMERA_LOG_LEVELS"] == found


@pytest.mark.parametrize("call", ["configure", "start", "queue_request"])
def test_a_camera_that_does_not_start_is_given_back(camera: stand_in.Camera, call: str) -> None:
    camera.fails[call] = errno.EIO
    counts = []
    for _ in range(3):
        with pytest.raises(SourceError, match=r"picamera2 camera 0 does not start: .*Input/output error"):
            PiCamera(0)
        assert camera.state == "available"
        counts.append(open_files())
    assert counts[-1] <= counts[0]
    del camera.fails[call]
    with PiCamera(0) as source:
        assert take(source, 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of picamera2's half-made allocator
def test_no_permission_for_the_camera_memory_names_the_group(
    world: stand_in.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dma_heap = importlib.import_module("picamera2.dma_heap")
    heap, really = dma_heap.heapNames[0], os.open

    def refuse(path: Any, *rest: Any, **options: Any) -> int:
        if path == heap:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return really(path, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SourceError, match=r"cannot be opened: .*Permission denied.*usermod -aG video"):
        PiCamera(0)
    assert world.cameras[0].state == "available"


def test_a_frozen_camera_ends_in_bounded_time_is_given_back_and_opens_again(
    camera: stand_in.Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PiCamera(0, 48)
    frames = iter(source)
    next(frames)
    camera.frozen = True
    monkeypatch.setattr(pi_camera, "FRAME_TIMEOUT_S", 0.05)
    with pytest.raises(SourceError, match=r"delivers no pictures: none came for 0\.05 s.*ribbon cable"):
        list(frames)
    assert camera.calls[-2:] == ["stop", "release"]
    assert list(source) == []  # closed
    camera.frozen = False
    monkeypatch.setattr(pi_camera, "FRAME_TIMEOUT_S", 20.0)
    with PiCamera(0, 48) as again:
        assert len(take(again, 3)) == 3


def test_a_camera_that_disappears_is_told_at_once_and_leaves_nothing_behind(
    camera: stand_in.Camera, capfd: pytest.CaptureFixture[str]
) -> None:
    source = PiCamera(0, 48)
    frames = iter(source)
    next(frames)
    camera.fails["queue_request"] = errno.ENODEV
    with pytest.raises(SourceError, match=r"picamera2 camera 0 delivers no pictures: .*No such device"):
        list(frames)
    del camera.fails["queue_request"]
    stand_in.world.unbalanced_syncs = 0  # picamera2 leaves out the end of those that it could not queue
    with PiCamera(0, 48) as again:
        assert len(take(again, 3)) == 3
    assert capfd.readouterr() == ("", "")


def test_an_error_in_the_event_loop_is_the_readers(
    real_picamera2: Any, camera: stand_in.Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PiCamera(0, 48)
    frames = iter(source)
    next(frames)

    def fail(self: Any, display: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(real_picamera2.Picamera2, "process_requests", fail)
    with pytest.raises(SourceError, match=r"delivers no pictures: .*Input/output error"):
        list(frames)
    assert camera.state == "available"


def test_a_view_that_cannot_be_made_gives_the_buffer_back(
    camera: stand_in.Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PiCamera(0, 48)
    frames = iter(source)
    next(frames)

    def refuse(request: Any) -> Any:
        raise ValueError("cannot reshape\narray")

    monkeypatch.setattr(source, "_mapped", refuse)
    with pytest.raises(SourceError, match="delivers no pictures: cannot reshape array"):
        next(frames)
    assert camera.state == "available"


def test_closing_from_another_thread_ends_the_iteration_of_a_frozen_camera(camera: stand_in.Camera) -> None:
    source = PiCamera(0, 48)
    seen: list[Frame] = []
    first, faults = threading.Event(), list[BaseException]()

    def read() -> None:
        try:
            for frame in source:
                camera.frozen = True
                seen.append(frame)
                first.set()
        except BaseException as error:
            faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert first.wait(20)
    source.close()
    reader.join(20)
    assert not reader.is_alive()
    assert faults == []
    source.close()


def test_closing_while_pictures_stream_in_waits_for_the_one_that_is_copied(camera: stand_in.Camera) -> None:
    for _ in range(3):
        source = PiCamera(0, 48)
        faults = list[BaseException]()

        def read(source: PiCamera = source, faults: list[BaseException] = faults) -> None:
            try:
                for frame in source:
                    source.recycle(frame)
            except BaseException as error:
                faults.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        camera.wait_until_delivered(camera.delivered + 20)
        source.close()
        reader.join(20)
        assert not reader.is_alive()
        assert faults == []


def test_the_camera_is_not_taken_away_under_a_picture_that_is_copied(
    camera: stand_in.Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PiCamera(0, 48)
    closer = threading.Thread(target=source.close)
    really, states = source._mapped, []

    def slow(request: Any) -> Any:
        closer.start()
        closer.join(0.3)  # it waits; were it not to, it would be through by now
        states.append((camera.state, closer.is_alive()))
        return really(request)

    monkeypatch.setattr(source, "_mapped", slow)
    assert len(list(source)) == 1
    closer.join(20)
    assert states == [("running", True)]
    assert camera.state == "available"


def test_a_driver_that_never_comes_back_from_stopping_does_not_hold_the_caller(
    camera: stand_in.Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pi_camera, "CLOSE_TIMEOUT_S", 0.05)
    source = PiCamera(0, 48)
    take(source, 1)
    camera.hang.clear()
    source.close()
    assert camera.state == "running"
    camera.hang.set()  # after all
    for thread in threading.enumerate():
        if thread.name == "close camera":
            thread.join(20)
    assert camera.state == "available"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what libcamera kept is collected late
def test_a_camera_that_cannot_be_stopped_is_in_use_until_it_can(camera: stand_in.Camera) -> None:
    source = PiCamera(0, 48)
    take(source, 1)
    camera.fails = {"stop": errno.ENODEV}
    source.close()
    with pytest.raises(SourceError, match="it is in use"):
        PiCamera(0)
    camera.fails.clear()
    camera.stop()
    camera.release()
    stand_in.world.unbalanced_syncs = 0  # of the pictures that nobody could give back
    with PiCamera(0, 48) as again:
        assert len(take(again, 3)) == 3


def test_opening_again_and_again_leaves_no_file_open(camera: stand_in.Camera) -> None:
    counts = []
    for _ in range(4):
        with PiCamera(0, 48) as source:
            take(source, 1)
        counts.append(open_files())
    assert counts[-1] <= counts[1]


def test_a_usb_camera_is_sent_elsewhere(world: stand_in.World) -> None:
    world.cameras.append(stand_in.Camera("webcam", formats=("MJPEG",)))
    with pytest.raises(SourceError, match=r"picamera2 camera 1 delivers MJPEG.*usb:0"):
        PiCamera(1)


@pytest.mark.parametrize("age_s", [0.0, 0.4])
def test_a_frame_was_taken_when_the_sensor_says(camera: stand_in.Camera, age_s: float) -> None:
    camera.stamp = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(age_s * 1e9)
    before = time.monotonic()
    with PiCamera(0, 48) as source:
        frames = take(source, 3)
    after = time.monotonic()
    assert all(before - 0.001 <= frame.captured_at + age_s <= after for frame in frames)
    assert frames[0].captured_at < frames[2].captured_at


def test_a_frame_without_a_time_stamp_was_taken_now(camera: stand_in.Camera) -> None:
    camera.stamp = None
    with PiCamera(0, 48) as source:
        before = time.monotonic()
        assert before <= next(iter(source)).captured_at <= time.monotonic()


@pytest.mark.parametrize("asleep_s", [0, 5000])
@pytest.mark.parametrize("clock", ["boot", "monotonic"])
def test_either_clock_of_the_drivers_is_understood_also_after_the_machine_slept(
    monkeypatch: pytest.MonkeyPatch, asleep_s: int, clock: str
) -> None:
    second = 10**9
    monkeypatch.setattr(time, "monotonic_ns", lambda: 100 * second)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: (100 + asleep_s) * second)
    stamp = 99 * second + (asleep_s * second if clock == "boot" else 0)
    assert monotonic_time(stamp) == 99.0


@pytest.mark.parametrize("stamp", [None, "now", 0, -1, 10**19, 1.5])
def test_a_time_stamp_that_cannot_be_counts_as_now(stamp: object) -> None:
    before = time.monotonic()
    assert before <= monotonic_time(stamp) <= time.monotonic()


@pytest.mark.parametrize(
    ("missing", "hint"),
    [
        ("picamera2", r"\(run: sudo apt install python3-picamera2, and .*--system-site-packages"),
        ("libcamera", "pip uninstall picamera2; sudo apt install python3-picamera2"),
        ("libcamera._libcamera", "apt's libcamera is for the system's Python: .*/usr/bin/python3 -m venv"),
    ],
)
def test_a_module_that_is_missing_names_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, missing: str, hint: str
) -> None:
    def absent(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(SourceError, match=f"there is no module {missing} .*{hint}"):
        open_source("picamera2")


def test_the_real_package_without_libcamera_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("picamera2") is None:
        pytest.skip("picamera2 is not installed")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("picamera2", "libcamera")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libcamera", None)  # Python's way to say: not there
    with pytest.raises(SourceError, match=r"there is no module libcamera .*pip uninstall picamera2"):
        PiCamera(0)


def test_a_clash_with_numpy_tells_the_real_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def clash(name: str) -> ModuleType:
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setattr(importlib, "import_module", clash)
    with pytest.raises(LitesightError, match=r"numpy\.dtype size changed.*litesight doctor"):
        open_source("picamera2")


class OldPicamera2:
    """What differs in picamera2 0.3.12, of the first Bookworm: no ``sensor``, no ``write``."""

    sensor_resolution = (3280, 2464)
    camera_controls: dict[str, Any] = {"FrameDurationLimits": (1, 2, 3)}  # noqa: RUF012
    sensor_modes = [  # noqa: RUF012
        {"size": size, "format": name, "bit_depth": stand_in.bit_depth(name), "fps": rate, "crop_limits": crop}
        for name, size, rate, crop in stand_in.SENSORS["imx219"]
    ]

    def create_video_configuration(
        self, main: Any = None, raw: Any = None, buffer_count: int = 6, controls: Any = None
    ) -> Any:
        return {"main": main, "raw": raw, "buffer_count": buffer_count, "controls": controls}

    def align_stream(self, stream: dict[str, Any]) -> None:
        width, height = stream["size"]
        stream["size"] = (width - width % 32, height)


def test_an_old_picamera2_chooses_the_mode_by_the_raw_stream() -> None:
    found = pi_camera._configuration(OldPicamera2(), 224)
    assert found["raw"] == {"size": (1640, 1232), "format": "SRGGB10_CSI2P"}
    assert found["main"] == {"size": (608, 456), "format": "BGR888"}


def test_an_old_picamera2_maps_without_being_told_how() -> None:
    def old(request: Any, stream: str, reshape: bool = True) -> Any:
        return request, stream

    assert pi_camera._read_only(old)("request") == ("request", "main")


def test_a_picture_is_mapped_for_reading_only() -> None:
    seen = []

    class Watched:
        def __init__(self, request: Any, stream: str, reshape: bool = True, write: bool = True) -> None:
            seen.append((request, stream, write))

    pi_camera._read_only(Watched)("request")
    assert seen == [("request", "main", False)]
