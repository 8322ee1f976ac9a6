# SPDX-License-Identifier: Apache-2.0
"""From a frame or a photo to the int8 input of a network: the one rule that training, the Pi and the board share.

The rule is called ``box-bilinear-1`` and uses integers only: 8-bit colour, a centre crop to the output's aspect ratio,
the mean over k × k blocks, a bilinear step with 8-bit coefficients, and a quantisation that is ``x ^ 0x80`` or a table.
``docs/preprocessing.md`` states it exactly; ``firmware_export/c/litesight_preprocess.c`` is the same rule in C, and the
tests hold the two together byte for byte. Whoever changes a result here must give the rule a new name.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from device.errors import LitesightError
from device.pixel_steps import (
    Buffers,
    Positions,
    UInt8Array,
    bilinear,
    box,
    from_rgb565,
    from_yuyv,
    interleave,
    luma,
    swap_red_and_blue,
)

RESIZE_RULE = "box-bilinear-1"
MAX_FRAME_SIDE = 16384  # pixels; with MAX_OUTPUT_SIDE it keeps every product of the C side below 2**32
MAX_OUTPUT_SIDE = 2048
MAX_FACTOR = 4096  # 255 * k * k must stay below 2**32

Int8Array: TypeAlias = NDArray[np.int8]

_CACHED_GEOMETRIES = 4  # a camera needs one, a photo set with portrait and landscape two; more would only grow


class PixelFormat(enum.Enum):
    """How the bytes of a frame are to be read. The shape is that of the frame array, W and H its width and height."""

    RGB888 = "RGB888"  # (H, W, 3) uint8
    BGR888 = "BGR888"  # (H, W, 3) uint8, what OpenCV delivers
    GREY8 = "GREY8"  # (H, W) or (H, W, 1) uint8
    RGB565 = "RGB565"  # (H, W, 2) uint8, low byte first; or (H, W) uint16 in little-endian memory
    RGB565_BE = "RGB565_BE"  # (H, W, 2) uint8, high byte first; or the same memory seen as (H, W) uint16
    YUYV = "YUYV"  # (H, W, 2) uint8, bytes Y0 U Y1 V, BT.601 full range; W is even


_REVERSED = {PixelFormat.RGB888: PixelFormat.BGR888, PixelFormat.BGR888: PixelFormat.RGB888}


@dataclass(frozen=True)
class InputSpec:
    """What a network's input tensor wants.

    Args:
        height, width: of the tensor, in pixels, 1 to 2048.
        channels: 3 for RGB and BGR, 1 for GREY.
        color: order of the channels: "RGB", "BGR" or "GREY".
        resize: the rule's name; only "box-bilinear-1" exists.
        mean, std: per channel, in units of an 8-bit pixel; empty means 128 for every channel.
        scale, zero_point: of the int8 tensor, ``real = scale * (q - zero_point)`` with ``real = (pixel - mean) / std``.

    Raises:
        LitesightError: a value is out of range; the message names the field.
    """

    height: int
    width: int
    channels: int = 3
    color: str = "RGB"
    resize: str = RESIZE_RULE
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float = 1 / 128
    zero_point: int = 0

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            if not _is_int(side) or not 1 <= side <= MAX_OUTPUT_SIDE:
                raise LitesightError(f"input {name} must be a whole number from 1 to {MAX_OUTPUT_SIDE}, found {side!r}")
        if self.color not in ("RGB", "BGR", "GREY"):
            raise LitesightError(f"input color must be RGB, BGR or GREY, found {self.color!r}")
        wanted = 1 if self.color == "GREY" else 3
        if not _is_int(self.channels) or self.channels != wanted:
            raise LitesightError(f"input color {self.color} has {wanted} channel(s), found channels={self.channels!r}")
        if self.resize != RESIZE_RULE:
            raise LitesightError(
                f'input resize rule must be "{RESIZE_RULE}", found {self.resize!r}',
                hint="a bundle with a newer rule needs a newer litesight",
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            pinned = tuple(_number(name, value) for value in values) or (128.0,) * wanted
            if len(pinned) != wanted:
                raise LitesightError(f"input {name} must have {wanted} value(s), one per channel, found {len(pinned)}")
            object.__setattr__(self, name, pinned)  # so that equal specs compare equal
        if any(value <= 0 for value in self.std):
            raise LitesightError(f"input std must be greater than 0, found {self.std}")
        object.__setattr__(self, "scale", _number("scale", self.scale))
        if self.scale <= 0:
            raise LitesightError(f"input scale must be greater than 0, found {self.scale}")
        if not _is_int(self.zero_point) or not -128 <= self.zero_point <= 127:
            raise LitesightError(f"input zero_point must be a whole number from -128 to 127, found {self.zero_point!r}")

    def table(self) -> Int8Array | None:
        """The int8 value of every pixel value, (channels, 256); None where that is ``x ^ 0x80`` in every channel.

        ``clamp(round((x - mean) / std / scale) + zero_point, -128, 127)`` in float64, evaluated from left to right,
        halves rounded away from zero as TensorFlow Lite's own QUANTIZE does. The C side is given these bytes.
        """
        pixels = np.arange(256, dtype=np.float64)
        mean = np.array(self.mean, dtype=np.float64)[:, np.newaxis]
        std = np.array(self.std, dtype=np.float64)[:, np.newaxis]
        with np.errstate(over="ignore"):  # an infinite quotient is clamped like any other
            steps = (pixels - mean) / std / self.scale
        # Clamped before the offset too, so that the sum below is exact.
        rounded = np.clip(np.copysign(np.floor(np.abs(steps) + 0.5), steps), -512, 512)
        table = np.clip(rounded + self.zero_point, -128, 127).astype(np.int8)
        is_flip = np.array_equal(table, np.broadcast_to(pixels - 128, table.shape))
        return None if is_flip else table


@dataclass(frozen=True)
class Geometry:
    """Where the crop lies in the frame, and the k × k blocks ("cells") into which it is divided.

    ``columns`` < 2 * width and ``rows`` < 2 * height for any frame, so the row buffers of a chip depend on the size of
    the output only. docs/preprocessing.md has the proof.
    """

    x: int
    y: int
    factor: int
    columns: int
    rows: int


def crop_geometry(width: int, height: int, spec: InputSpec) -> Geometry:
    """Crop and block size for a frame of ``width`` × ``height`` pixels.

    Raises:
        LitesightError: a side is not within 1 to 16384, or a block would be wider than 4096 pixels.
    """
    for name, side in (("width", width), ("height", height)):
        if not 1 <= side <= MAX_FRAME_SIDE:
            raise LitesightError(f"a frame's {name} must be 1 to {MAX_FRAME_SIDE} pixels, found {width}x{height}")
    if width * spec.height > height * spec.width:
        crop_width, crop_height = max(1, height * spec.width // spec.height), height
    else:
        crop_width, crop_height = width, max(1, width * spec.height // spec.width)
    factor = max(1, min(crop_width // spec.width, crop_height // spec.height))
    if factor > MAX_FACTOR:
        raise LitesightError(
            f"a frame may be at most {MAX_FACTOR} times the network's input, found {width}x{height} for "
            f"{spec.width}x{spec.height}",
            hint="shrink the frame first",
        )
    columns, rows = crop_width // factor, crop_height // factor
    return Geometry((width - columns * factor) // 2, (height - rows * factor) // 2, factor, columns, rows)


def crop_box(width: int, height: int, spec: InputSpec) -> tuple[int, int, int, int]:
    """The part of a ``width`` × ``height`` frame that the network sees: (x, y, width, height) in pixels."""
    geometry = crop_geometry(width, height, spec)
    return geometry.x, geometry.y, geometry.columns * geometry.factor, geometry.rows * geometry.factor


class Preprocessor:
    """Turns frames of any size into the input of one network.

    Working memory is kept between calls for the last few frame sizes. One instance serves one thread.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self._table = spec.table()
        self._shape = (spec.height, spec.width, spec.channels)
        self._workspaces: OrderedDict[tuple[int, int], _Workspace] = OrderedDict()
        self._pixels: UInt8Array = np.empty(self._shape, np.uint8)

    def __call__(
        self, frame: NDArray[Any], format: PixelFormat = PixelFormat.RGB888, out: Int8Array | None = None
    ) -> Int8Array:
        """Crop, resize and quantise ``frame``: int8 (height, width, channels), in ``out`` if given."""
        return self.quantize(self.pixels(frame, format, self._pixels), out)

    def pixels(
        self, frame: NDArray[Any], format: PixelFormat = PixelFormat.RGB888, out: UInt8Array | None = None
    ) -> UInt8Array:
        """Crop and resize ``frame``: uint8 (height, width, channels) in the spec's channel order.

        Args:
            frame: an array as ``format`` describes it; any strides; it is never written to.
            out: C-contiguous, not overlapping ``frame``; a new array if None.

        Raises:
            LitesightError: the frame's shape, type or size does not fit ``format``, or ``out`` does not fit.
        """
        raw = _checked(frame, format)
        if format in _REVERSED and raw.strides[2] == -1:  # frame[..., ::-1], the usual way to say BGR
            raw, format = raw[..., ::-1], _REVERSED[format]
        out = self._checked_out(out, np.uint8)
        if np.may_share_memory(raw, out):
            raise LitesightError("out must not overlap the frame", hint="frames are never modified; pass another array")
        height, width = raw.shape[:2]
        workspace = self._workspace(width, height)
        geometry, buffers = workspace.geometry, workspace.buffers
        grey = self.spec.color == "GREY" or format is PixelFormat.GREY8
        cells = box(_colours(raw, format, grey, geometry, buffers), geometry.factor, buffers)
        replicate = grey and self.spec.channels == 3
        swap = not grey and (format is PixelFormat.BGR888) != (self.spec.color == "BGR")
        small = out[..., 0] if grey else out
        if replicate or swap:
            small = buffers.array("small", self._shape[:2] if grey else self._shape)
        bilinear(cells, workspace.columns, workspace.rows, small, buffers)
        if replicate:
            np.copyto(out, small[..., np.newaxis])
        elif swap:
            swap_red_and_blue(small, out)
        return out

    def quantize(self, pixels: UInt8Array, out: Int8Array | None = None) -> Int8Array:
        """Quantise uint8 ``pixels`` (height, width, channels) to int8, in ``out`` if given, else newly allocated."""
        if pixels.shape != self._shape or pixels.dtype != np.uint8:
            raise LitesightError(f"pixels must be uint8 {self._shape}, found {pixels.dtype} {pixels.shape}")
        out = self._checked_out(out, np.int8)
        if self._table is None:
            np.bitwise_xor(pixels, np.uint8(0x80), out=out.view(np.uint8))
        else:
            for channel, row in enumerate(self._table):
                out[..., channel] = row[pixels[..., channel]]
        return out

    def _workspace(self, width: int, height: int) -> _Workspace:
        key = (width, height)
        workspace = self._workspaces.pop(key, None) or _Workspace(crop_geometry(width, height, self.spec), self.spec)
        self._workspaces[key] = workspace
        if len(self._workspaces) > _CACHED_GEOMETRIES:
            self._workspaces.popitem(last=False)
        return workspace

    def _checked_out(self, out: NDArray[Any] | None, dtype: type[np.generic]) -> NDArray[Any]:
        if out is None:
            return np.empty(self._shape, dtype)
        if out.shape != self._shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
            wanted = f"writable C-contiguous {np.dtype(dtype)} {self._shape}"
            raise LitesightError(f"out must be {wanted}, found {out.dtype} {out.shape} with strides {out.strides}")
        return out


class _Workspace:
    """The facts and buffers for one frame size."""

    def __init__(self, geometry: Geometry, spec: InputSpec) -> None:
        self.geometry = geometry
        self.columns = Positions.of(geometry.columns, spec.width)
        self.rows = Positions.of(geometry.rows, spec.height)
        self.buffers = Buffers()


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LitesightError(f"input {name} must be made of finite numbers, found {value!r}")
    try:
        number = float(value)
    except OverflowError as error:
        raise LitesightError(f"input {name} must be made of finite numbers, found one beyond float64") from error
    if not math.isfinite(number):
        raise LitesightError(f"input {name} must be made of finite numbers, found {value!r}")
    return number


def _checked(frame: NDArray[Any], format: PixelFormat) -> NDArray[Any]:
    """``frame`` without GREY8's trailing axis; an error unless it is what ``format`` describes."""
    packed = format in (PixelFormat.RGB565, PixelFormat.RGB565_BE)
    if packed and frame.ndim == 2 and frame.dtype == np.dtype("<u2"):
        return frame
    depth = {PixelFormat.RGB888: 3, PixelFormat.BGR888: 3, PixelFormat.GREY8: 1}.get(format, 2)
    is_plane = format is PixelFormat.GREY8 and frame.ndim == 2
    if frame.dtype != np.uint8 or not (is_plane or (frame.ndim == 3 and frame.shape[2] == depth)):
        wanted = {1: "(H, W) or (H, W, 1)", 2: "(H, W, 2)", 3: "(H, W, 3)"}[depth]
        raise LitesightError(f"a {format.value} frame must be uint8 {wanted}, found {frame.dtype} {frame.shape}")
    if format is PixelFormat.YUYV:
        if frame.shape[1] % 2:
            raise LitesightError(f"a YUYV frame must have an even width, found {frame.shape[1]}x{frame.shape[0]}")
        if frame.shape[1] and frame.strides[1:] != (2, 1):
            raise LitesightError(
                "a YUYV frame must keep its pixel pairs together, found a mirrored or thinned-out view",
                hint="mirror or crop after the conversion",
            )
    return frame if is_plane or depth > 1 else frame[..., 0]


def _colours(frame: NDArray[Any], format: PixelFormat, grey: bool, geometry: Geometry, buffers: Buffers) -> UInt8Array:
    """The crop as 8-bit colour: (rows, columns, 3) in the frame's order of channels, or (rows, columns) if ``grey``."""
    width, height = geometry.columns * geometry.factor, geometry.rows * geometry.factor
    rows = slice(geometry.y, geometry.y + height)
    crop: NDArray[Any] = frame[rows, geometry.x : geometry.x + width]
    if format is PixelFormat.GREY8:
        return crop
    if format is PixelFormat.YUYV:
        if grey:
            return crop[..., 0]  # Y is the luma
        # Whole pairs; a pixel at an odd column shares the chroma of the one on its left, cropped away or not.
        left, right = geometry.x // 2 * 2, (geometry.x + width + 1) // 2 * 2
        pairs = frame[rows, left:right].reshape(height, (right - left) // 2, 4)
        planes = from_yuyv(pairs, buffers)[:, :, geometry.x - left : geometry.x - left + width]
        return interleave(planes, buffers)
    if format in (PixelFormat.RGB565, PixelFormat.RGB565_BE):
        first, second = _byte_planes(crop)
        planes = from_rgb565(*((first, second) if format is PixelFormat.RGB565_BE else (second, first)), buffers)
        return luma(planes[0], planes[1], planes[2], buffers) if grey else interleave(planes, buffers)
    if grey:
        red, blue = (0, 2) if format is PixelFormat.RGB888 else (2, 0)
        return luma(crop[..., red], crop[..., 1], crop[..., blue], buffers)
    return crop


def _byte_planes(crop: NDArray[Any]) -> tuple[UInt8Array, UInt8Array]:
    """The first and the second byte in memory of every 16-bit pixel."""
    if crop.ndim == 3:
        return crop[..., 0], crop[..., 1]
    pairs = crop.view(np.dtype([("first", "u1"), ("second", "u1")]))
    return pairs["first"], pairs["second"]
