# SPDX-License-Identifier: Apache-2.0
"""Which frames are worth keeping for the next training, and how much of a disk they may fill."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device.errors import UsageError

if TYPE_CHECKING:
    from device.results import Result

UNCERTAIN_MARGIN: Final = 0.2
"""Probability that the likeliest class must be ahead of the second by, or the frame is uncertain."""

_UNITS: Final = {"": 1, "b": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("kmgt", 1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s?([A-Za-z]*)", re.ASCII)
_EVERY: Final = re.compile(r"every:(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class SaveRule:
    """Which frames are wanted.

    *Uncertain* is what the network alone makes of the picture, not what is told after smoothing: margin sampling
    (Scheffer, Decomain and Wrobel 2001), for a photo teaches most where the two likeliest classes are close; and least
    confidence (Lewis and Gale 1994) where the user has said below what probability an answer does not count. Settles,
    "Active Learning Literature Survey" (2009), 3.1, compares both with entropy, which 1000 classes blur: it grows with
    many tiny probabilities that no decision hangs on. A class that is rejected with certainty is not uncertain.

    Attributes:
        every: every so many frames, the first among them; 1 is all.
        is_uncertain: of those, only the uncertain ones.
        threshold: a likeliest class below this probability is uncertain, whatever its margin.
    """

    every: int = 1
    is_uncertain: bool = False
    threshold: float = 0.0

    def wants(self, result: Result, number: int) -> bool:
        """Whether to keep the frame, the ``number``-th since the beginning, from 0. Takes about 10 µs."""
        if number % self.every:
            return False
        return not self.is_uncertain or self._is_unsure_of(result)

    def _is_unsure_of(self, result: Result) -> bool:
        likeliest = result.classification.predictions
        if len(likeliest) < 2:
            from device.postprocess import top_k

            bundle = result.bundle
            likeliest = top_k(result.classification.output, bundle.labels, bundle.manifest.output, 2)
        best = likeliest[0].probability
        second = likeliest[1].probability if len(likeliest) > 1 else 0.0
        return best < self.threshold or best - second < UNCERTAIN_MARGIN


def parse_rule(text: str, threshold: float = 0.0) -> SaveRule:
    """What a user writes after ``--save``: ``uncertain``, ``all`` or ``every:N``.

    Raises:
        UsageError: something else, or N is 0.
    """
    if text == "all":
        return SaveRule()
    if text == "uncertain":
        return SaveRule(is_uncertain=True, threshold=threshold)
    every = _EVERY.fullmatch(text)
    if every is None or int(every[1]) == 0:
        raise UsageError(f"expected uncertain, all or every:N with N of at least 1, found {text!r}")
    return SaveRule(every=int(every[1]))


def parse_size(text: str) -> int:
    """Bytes of ``500MB``, ``2GiB``, ``1.5 GB`` or ``1000000``.

    Raises:
        UsageError: not a size, or less than a byte.
    """
    size = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(size[2].lower()) if size else None
    count = int(float(size[1]) * unit) if size and unit else 0
    if count < 1:
        raise UsageError(f"expected a size such as 500MB or 2GiB, found {text!r}")
    return count


def readable_size(count_bytes: int) -> str:
    """``1.5 GB``: for people, to two digits or more."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if count_bytes >= 1000**power:
            number = count_bytes / 1000**power
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{count_bytes} bytes"
