# SPDX-License-Identifier: Apache-2.0
"""Which size and which sensor mode to ask of a Raspberry Pi's camera, so that its own processor does the scaling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

Size = tuple[int, int]

DEFAULT_SHORT_SIDE: Final = 480
LEAST_SHORT_SIDE: Final = 240

NETWORK_SIDES: Final = 2
"""A picture is so many times the network's input: for a saved frame to be worth training with, and for the box filter
of the preprocessing to average."""

FULL_VIEW: Final = 0.97
"""A mode that sees this share of the sensor's width and height counts as seeing all: some leave out a few columns."""

_WIDEST_ALIGNMENT: Final = 64


def stream_size(sensor: Size, short_side: int | None, fits: Callable[[int], bool]) -> Size:
    """Width and height of the pictures, in pixels: the sensor's aspect ratio, and enough of them for the network.

    Args:
        sensor: its width and height.
        short_side: of the network's input; None for a picture like 640×480.
        fits: whether the hardware writes rows of a width without padding.

    Returns:
        Even sides, the shorter at least NETWORK_SIDES × ``short_side`` and LEAST_SHORT_SIDE where the sensor has that.
    """
    wanted = DEFAULT_SHORT_SIDE if short_side is None else max(NETWORK_SIDES * short_side, LEAST_SHORT_SIDE)
    # Rounded up: with a pixel less the box filter would take every pixel as it is instead of averaging four.
    least = min(_even_quotient(sensor[0] * wanted, min(sensor)), sensor[0] // 2 * 2)
    above = range(least, min(least + _WIDEST_ALIGNMENT, sensor[0] + 1), 2)
    below = range(least, 0, -2)
    width = next((width for width in (*above, *below) if fits(width)), least)
    return width, width * sensor[1] // sensor[0] // 2 * 2


def best_mode(modes: Iterable[Mapping[str, Any]], size: Size, frame_rate: float) -> Mapping[str, Any] | None:
    """The sensor mode to take: it sees all that the sensor sees, and is the smallest that need not be enlarged.

    Args:
        modes: picamera2's ``sensor_modes``: ``size``, ``bit_depth``, ``fps`` and ``crop_limits`` (x, y, width, height).
        size: of the pictures that are wanted.
        frame_rate: pictures a second that are wanted.

    Returns:
        One of ``modes``; None if none of them is of a sensor.
    """
    known = [mode for mode in modes if mode.keys() >= {"size", "bit_depth", "fps", "crop_limits"}]
    if not known:
        return None
    widest = max((mode["crop_limits"][2:] for mode in known), key=_area)
    whole = [mode for mode in known if all(map(_sees_all, mode["crop_limits"][2:], widest))]
    large = [mode for mode in whole if mode["size"][0] >= size[0] and mode["size"][1] >= size[1]]

    def rank(mode: Mapping[str, Any]) -> tuple[float, ...]:
        # Of modes of one size the one that is fast enough, then the one with more bits, then the faster.
        return _area(mode["size"]), -min(mode["fps"], frame_rate), -mode["bit_depth"], -mode["fps"]

    return min(large, key=rank) if large else max(whole, key=lambda mode: (_area(mode["size"]), mode["fps"]))


def _area(size: Size) -> int:
    return size[0] * size[1]


def _sees_all(length: int, whole: int) -> bool:
    return length >= FULL_VIEW * whole


def _even_quotient(dividend: int, divisor: int) -> int:
    """The quotient, rounded up to an even number."""
    return -(-dividend // (2 * divisor)) * 2
