# SPDX-License-Identifier: Apache-2.0
"""The array steps of ``device.preprocess``: colour, box and bilinear, each exact to the byte.

Every step has a numpy version, which is the reference. OpenCV's faster versions stand in only where they are known to
give the same bytes, and only after they have done so on fixed samples in this very process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

UInt8Array: TypeAlias = NDArray[np.uint8]

_CHUNK_BYTES = 1 << 18  # row sums of this size stay in the second-level cache


class Buffers:
    """Working arrays by name, kept from call to call with whatever the last call left in them."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
        array = self._arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            array = self._arrays[name] = np.empty(shape, dtype)
        return array


def from_rgb565(high: UInt8Array, low: UInt8Array, buffers: Buffers) -> UInt8Array:
    """RRRRRGGG and GGGBBBBB to planes (3, H, W); a field's upper bits are repeated below it, so that 31 becomes 255."""
    planes = buffers.array("planes", (3, *high.shape))
    top, bottom, part = (buffers.array(name, high.shape) for name in ("top", "bottom", "part"))
    np.copyto(top, high)
    np.copyto(bottom, low)
    np.right_shift(top, 5, out=part)
    np.bitwise_and(top, 0xF8, out=planes[0])
    np.bitwise_or(planes[0], part, out=planes[0])
    np.left_shift(top, 5, out=planes[1])
    np.right_shift(bottom, 3, out=part)
    np.bitwise_and(part, 0x1C, out=part)
    np.bitwise_or(planes[1], part, out=planes[1])
    np.right_shift(planes[1], 6, out=part)
    np.bitwise_or(planes[1], part, out=planes[1])
    np.left_shift(bottom, 3, out=planes[2])
    np.right_shift(planes[2], 5, out=part)
    np.bitwise_or(planes[2], part, out=planes[2])
    return planes


def from_yuyv(pairs: UInt8Array, buffers: Buffers) -> UInt8Array:
    """Pairs Y0 U Y1 V, (H, W/2, 4), to planes (3, H, W): BT.601 full range, weights in 1/256, rounded half up."""
    height, half_width = pairs.shape[:2]
    planes = buffers.array("planes", (3, height, half_width, 2))
    half = {
        name: buffers.array(name, (height, half_width), np.int16) for name in ("y0", "y1", "u", "v", "chroma", "term")
    }
    u, v, chroma, term = half["u"], half["v"], half["chroma"], half["term"]
    for index, name in enumerate(("y0", "u", "y1", "v")):
        np.copyto(half[name], pairs[..., index])
    np.subtract(u, 128, out=u)
    np.subtract(v, 128, out=v)
    # The whole multiples of 256 in 359 V, -88 U - 183 V and 454 U are taken out of the shift, so that
    # 16 bits suffice: v + (103 v >> 8), -v + ((73 v - 88 u) >> 8) and 2 u + (-58 u >> 8).
    for plane, whole_u, whole_v, part_u, part_v in zip(
        planes, (0, 0, 2), (1, -1, 0), (0, -88, -58), (103, 73, 0), strict=True
    ):
        np.multiply(u, part_u, out=chroma)
        np.multiply(v, part_v, out=term)
        np.add(chroma, term, out=chroma)
        np.add(chroma, 128, out=chroma)
        np.right_shift(chroma, 8, out=chroma)
        np.multiply(u if whole_u else v, whole_u or whole_v, out=term)
        np.add(chroma, term, out=chroma)
        for parity, name in enumerate(("y0", "y1")):
            np.add(half[name], chroma, out=term)
            np.maximum(term, 0, out=term)
            np.minimum(term, 255, out=term)
            np.copyto(plane[..., parity], term, casting="unsafe")
    return planes.reshape(3, height, half_width * 2)


def luma(red: UInt8Array, green: UInt8Array, blue: UInt8Array, buffers: Buffers) -> UInt8Array:
    """(77 R + 150 G + 29 B + 128) >> 8; the coefficients add up to 256, so grey stays grey and 16 bits suffice."""
    total, term = (buffers.array(name, red.shape, np.uint16) for name in ("total", "weighted"))
    np.multiply(red, np.uint16(77), out=total)
    for plane, coefficient in ((green, 150), (blue, 29)):
        np.multiply(plane, np.uint16(coefficient), out=term)
        np.add(total, term, out=total)
    np.add(total, np.uint16(128), out=total)
    np.right_shift(total, 8, out=total)
    out: UInt8Array = buffers.array("grey", red.shape)
    np.copyto(out, total, casting="unsafe")
    return out


def interleave(planes: UInt8Array, buffers: Buffers) -> UInt8Array:
    """Planes (3, H, W) to pixels (H, W, 3)."""
    out: UInt8Array = buffers.array("interleaved", (*planes.shape[1:], 3))
    fast = opencv()
    if fast is not None:
        fast.interleave(planes, out)
    else:
        for channel, plane in enumerate(planes):
            np.copyto(out[..., channel], plane)
    return out


def swap_red_and_blue(pixels: UInt8Array, out: UInt8Array) -> None:
    """RGB to BGR and back, (H, W, 3)."""
    fast = opencv()
    if fast is not None:
        fast.swap(pixels, out)
    else:
        np.copyto(out, pixels[..., ::-1])


def box(image: UInt8Array, factor: int, buffers: Buffers) -> UInt8Array:
    """The mean over each block of ``factor`` × ``factor`` pixels, rounded half up; both sides are multiples of it."""
    if factor == 1:
        return image
    cells: UInt8Array = buffers.array("cells", (image.shape[0] // factor, image.shape[1] // factor, *image.shape[2:]))
    fast = opencv()
    if fast is not None and factor == 2:
        fast.halve(_row_contiguous(image, buffers, fast), cells)
    else:
        box_reference(image, factor, cells, buffers)
    return cells


def box_reference(image: UInt8Array, factor: int, cells: UInt8Array, buffers: Buffers) -> None:
    """Sums whole rows first, which runs along memory, then every k-th column of the much smaller rest."""
    out = cells[..., np.newaxis] if cells.ndim == 2 else cells
    rows, columns, depth = out.shape
    sum_type = np.uint16 if 255 * factor <= 0xFFFF else np.uint32
    chunk = max(1, min(rows, _CHUNK_BYTES // (image[0].size * np.dtype(sum_type).itemsize)))
    row_sums = buffers.array("row_sums", (chunk, *image.shape[1:]), sum_type)
    block_sums = buffers.array("block_sums", (chunk, columns), np.uint32)
    for start in range(0, rows, chunk):
        count = min(chunk, rows - start)
        part = image[start * factor : (start + count) * factor]
        sums, block = row_sums[:count], block_sums[:count]
        np.add.reduce(part.reshape(count, factor, *image.shape[1:]), axis=1, dtype=sum_type, out=sums)
        blocks = sums.reshape(count, columns, factor, depth)
        for channel in range(depth):
            block[...] = factor * factor // 2
            for column in range(factor):
                np.add(block, blocks[:, :, column, channel], out=block)
            np.floor_divide(block, np.uint32(factor * factor), out=block)
            np.copyto(out[start : start + count, :, channel], block, casting="unsafe")


@dataclass(frozen=True)
class Positions:
    """For each output pixel along one axis: the cells before and after it, and the weight of the latter in 1/256."""

    before: NDArray[np.intp]
    after: NDArray[np.intp]
    weight: NDArray[np.uint32]
    has_ties: bool  # whether the rounding of a position is ever a tie

    @staticmethod
    def of(cells: int, outputs: int) -> Positions:
        """``outputs`` pixel centres spread over ``cells`` cell centres, to 1/256 cell, rounded half up, clamped."""
        numerator = (2 * np.arange(outputs, dtype=np.int64) + 1) * cells * 128
        position = np.clip((numerator + outputs // 2) // outputs - 128, 0, (cells - 1) * 256)
        before = (position >> 8).astype(np.intp)
        after = np.minimum(before + 1, cells - 1)
        # 2 * numerator / outputs is an odd whole number for some index just if outputs has 2 as a factor eight times
        # more often than cells has.
        has_ties = (cells & -cells) << 8 == outputs & -outputs
        return Positions(before, after, (position & 255).astype(np.uint32), has_ties)


def bilinear(cells: UInt8Array, columns: Positions, rows: Positions, out: UInt8Array, buffers: Buffers) -> None:
    """Resizes ``cells`` into ``out``, both (H, W[, 3])."""
    fast = opencv()
    if fast is not None and not (columns.has_ties or rows.has_ties):  # OpenCV rounds a tie to even
        fast.bilinear(_row_contiguous(cells, buffers, fast), out)
    else:
        bilinear_reference(cells, columns, rows, out)


def bilinear_reference(cells: UInt8Array, columns: Positions, rows: Positions, out: UInt8Array) -> None:
    """The sum over both axes is rounded once, at the end; so which axis goes first makes no difference."""
    g = rows.weight.astype(np.uint16).reshape(-1, *(1,) * (cells.ndim - 1))
    vertical = cells[rows.before] * (256 - g) + cells[rows.after] * g  # at most 255 * 256: fits 16 bits
    f = columns.weight.reshape(-1, *(1,) * (cells.ndim - 2))
    total = vertical.take(columns.before, axis=1) * (256 - f)
    total += vertical.take(columns.after, axis=1) * f
    total += np.uint32(32768)
    total >>= np.uint32(16)
    np.copyto(out, total, casting="unsafe")


def _row_contiguous(image: UInt8Array, buffers: Buffers, fast: OpenCV) -> UInt8Array:
    """``image`` itself if its pixels lie side by side, else a copy; OpenCV's own copy takes far longer."""
    side_by_side = (1,) if image.ndim == 2 else (image.shape[2], 1)
    is_upright = image.strides[0] >= image.shape[1] * side_by_side[0]
    if is_upright and image.strides[1:] == side_by_side:
        return image
    copy: UInt8Array = buffers.array("copy", image.shape)
    if is_upright and image.strides[1:] == (-side_by_side[0], *side_by_side[1:]):
        fast.mirror(image[:, ::-1], copy)
    else:
        np.copyto(copy, image)
    return copy


@dataclass(frozen=True)
class OpenCV:
    """OpenCV's versions of some steps, each called with (source, destination)."""

    halve: Callable[[UInt8Array, UInt8Array], None]
    bilinear: Callable[[UInt8Array, UInt8Array], None]
    interleave: Callable[[UInt8Array, UInt8Array], None]
    swap: Callable[[UInt8Array, UInt8Array], None]
    mirror: Callable[[UInt8Array, UInt8Array], None]


@functools.cache
def opencv() -> OpenCV | None:
    """OpenCV's versions, or None where OpenCV is missing or any of them differs from the reference on fixed samples."""
    try:
        import cv2
    except ImportError:
        return None

    def into(out: UInt8Array, result: NDArray[Any]) -> None:
        if not np.may_share_memory(result, out):  # OpenCV allocates where a destination does not suit it
            np.copyto(out, result.reshape(out.shape))

    def resize(source: UInt8Array, out: UInt8Array, interpolation: int) -> None:
        into(out, cv2.resize(source, (out.shape[1], out.shape[0]), dst=out, interpolation=interpolation))

    fast = OpenCV(
        halve=lambda source, out: resize(source, out, cv2.INTER_AREA),
        bilinear=lambda source, out: resize(source, out, cv2.INTER_LINEAR_EXACT),
        interleave=lambda source, out: into(out, cv2.merge(list(source), out)),
        swap=lambda source, out: into(out, cv2.cvtColor(source, cv2.COLOR_BGR2RGB, out)),
        mirror=lambda source, out: into(out, cv2.flip(source, 1, out)),
    )
    return fast if agrees_with_reference(fast) else None


# (source width, height, output width, height): larger and smaller, long and thin, a single pixel.
_SAMPLES = ((97, 64, 48, 40), (130, 131, 99, 65), (61, 45, 60, 44), (40, 33, 96, 95), (5, 64, 3, 40), (1, 1, 3, 3))


def agrees_with_reference(fast: OpenCV) -> bool:
    """Whether every step of ``fast`` gives the reference's bytes on the fixed samples."""
    random = np.random.default_rng(0)
    for width, height, out_width, out_height in _SAMPLES:
        for depth in ((), (3,)):

            def blank(height: int, width: int, depth: tuple[int, ...] = depth) -> UInt8Array:
                return np.zeros((height, width, *depth), np.uint8)

            image = random.integers(0, 256, (height, width, *depth), np.uint8)
            double = random.integers(0, 256, (height * 2, width * 2, *depth), np.uint8)
            resized, halved, mirrored = blank(out_height, out_width), blank(height, width), blank(height, width)
            bilinear_reference(image, Positions.of(width, out_width), Positions.of(height, out_height), resized)
            box_reference(double, 2, halved, Buffers())
            np.copyto(mirrored, image[:, ::-1])
            checks = [(fast.bilinear, image, resized), (fast.halve, double, halved), (fast.mirror, image, mirrored)]
            if depth:
                planes = np.ascontiguousarray(image.transpose(2, 0, 1))
                checks += [(fast.swap, image, image[..., ::-1]), (fast.interleave, planes, image)]
            for step, source, expected in checks:
                found = blank(*expected.shape[:2])
                step(source, found)
                if not np.array_equal(found, expected):
                    return False
    return True
