# SPDX-License-Identifier: Apache-2.0
"""Multipliers and shifts of a layer's channels, as ``litesight_channels`` of litesight_layer.h wants them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_export.static_engine.layers import Requantization

_SHIFTS_PER_WORD = 4
_BIT_30 = 1 << 30


@dataclass(frozen=True)
class ChannelTable:
    """One word per channel, and one byte more where the words cannot hold the shifts.

    Attributes:
        words: uint32, (channels,): multipliers, or multiplier and shift packed.
        shifts: int8, (channels,), to the right; None where they are packed.
        base_shift: what the packed shifts are counted from.
    """

    words: NDArray[np.uint32]
    shifts: NDArray[np.int8] | None
    base_shift: int

    @property
    def size_bytes(self) -> int:
        """Bytes of flash."""
        return self.words.nbytes + (0 if self.shifts is None else self.shifts.nbytes)


def channel_table(requantization: Requantization) -> ChannelTable:
    """Pack where possible.

    A multiplier is 2**30 to 2**31 - 1: its bit 30 says nothing and bit 31 is free, which makes room for four different
    shifts. A multiplier of 0, a shift to the left or shifts further apart do not fit.
    """
    right = -requantization.shifts.astype(np.int64)
    words = requantization.multipliers.astype(np.uint32)
    base = int(right.min())
    fits = base >= 0 and int(right.max()) - base < _SHIFTS_PER_WORD and bool((words >= _BIT_30).all())
    if not fits:
        return ChannelTable(words, right.astype(np.int8), 0)
    packed = (words & np.uint32(_BIT_30 - 1)) | ((right - base).astype(np.uint32) << np.uint32(30))
    return ChannelTable(packed.astype(np.uint32), None, base)
