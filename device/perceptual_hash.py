# SPDX-License-Identifier: Apache-2.0
"""Pictures that look alike have hashes that differ in few bits.

The hash is the DCT one that Zauner describes ("Implementation and Benchmarking of Perceptual Image Hash Functions",
2010): shrink to 32 × 32, take the lowest 8 × 8 frequencies, and ask of each whether it is above their median. Two
things are done otherwise. The mean brightness has no say, so that it makes no difference. And a wave that nobody could
see counts as none, or else the noise of a camera in the dark would make every black frame a new one.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_BITS: Final = 64
_SIDE: Final = 32
_LOWEST: Final = 8
# Of a coefficient of the orthonormal DCT; over 32 × 32 pixels this is a wave of an eighth of a grey level.
_VISIBLE: Final = 2.0


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """The 64-bit hash of a picture.

    Args:
        pixels: (height, width) grey or (height, width, 3) BGR; not written to.
    """
    grey: NDArray[Any] = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    waves = cv2.dct(small)[:_LOWEST, :_LOWEST].ravel()
    waves[0] = 0.0
    bits = np.packbits(waves > max(float(np.median(waves)), _VISIBLE))
    return int.from_bytes(bits.tobytes(), "big")


def hamming(hashes: NDArray[np.uint64], hash: int) -> NDArray[np.uint64]:
    """In how many bits each of ``hashes`` differs from ``hash``: (n,), 0 to 64."""
    # Sums of neighbouring bits, then pairs, then nibbles; the product adds the bytes up in the top one (Warren,
    # Hacker's Delight, 5-1). numpy has this as bitwise_count, but only since version 2.
    x = hashes ^ np.uint64(hash)
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    x *= np.uint64(0x0101010101010101)
    result: NDArray[np.uint64] = x >> np.uint64(56)
    return result


class HashIndex:
    """Hashes of pictures that are kept; grows as needed, 8 bytes each."""

    def __init__(self) -> None:
        self._hashes: NDArray[np.uint64] = np.empty(64, np.uint64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, hash: int) -> None:
        """Keep one more; a copy does no harm."""
        if self._count == len(self._hashes):
            self._hashes = np.concatenate((self._hashes, np.empty_like(self._hashes)))
        self._hashes[self._count] = hash
        self._count += 1

    def has_near(self, hash: int, distance: int) -> bool:
        """Whether any of them differs from ``hash`` in fewer than ``distance`` bits; never for a distance of 0."""
        return bool((hamming(self._hashes[: self._count], hash) < distance).any())
