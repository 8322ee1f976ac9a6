# SPDX-License-Identifier: Apache-2.0
"""Where in the arena each buffer lies.

Two buffers may lie over each other as long as their needed bytes never do. So a tensor that is consumed row by row
makes room for one that grows meanwhile: the second lies some way below the first and never catches up with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from firmware_export.static_engine.lifetimes import Buffer

T = TypeVar("T")

# After so many attempts without an improvement the search goes on from another order.
PATIENCE = 200


@dataclass(frozen=True)
class Packing:
    """The outcome.

    Attributes:
        offsets: bytes from the arena's start, by buffer.
        arena_bytes: where the highest buffer ends.
    """

    offsets: tuple[int, ...]
    arena_bytes: int


@dataclass(frozen=True)
class Distance:
    """How far a buffer must keep from another, which is needed at the same time.

    Its offset is at least the other's plus ``above``, or at most the other's minus ``below``.
    """

    other: int
    above: int
    below: int


def distances(buffers: Sequence[Buffer]) -> list[list[Distance]]:
    """For each buffer, what it must keep to because of the others."""
    result: list[list[Distance]] = [[] for _ in buffers]
    for i, a in enumerate(buffers):
        for j, b in enumerate(buffers[:i]):
            first, end = max(a.first, b.first), min(a.end, b.end)
            if first >= end:
                continue
            a_low, a_high = (values[first - a.first : end - a.first] for values in (a.low, a.high))
            b_low, b_high = (values[first - b.first : end - b.first] for values in (b.low, b.high))
            both = (a_low < a_high) & (b_low < b_high)
            if both.any():
                a_above_b = int((b_high - a_low)[both].max())
                b_above_a = int((a_high - b_low)[both].max())
                result[i].append(Distance(j, above=a_above_b, below=b_above_a))
                result[j].append(Distance(i, above=b_above_a, below=a_above_b))
    return result


def pack(buffers: Sequence[Buffer], *, alignment: int, enough_bytes: int, attempts: int) -> Packing:
    """Offsets of all buffers, as low as a bounded search finds them; the same on every run.

    Buffers are laid one by one, each as low as it can be; the order decides. First come orders that are often good;
    then the best of them is changed at random, by moving forward what ends up too high or something near it.

    Args:
        buffers: of one schedule.
        alignment: of offsets, bytes.
        enough_bytes: the search stops when the arena is no larger.
        attempts: how many changes to try at most.
    """
    layout = _Layout(buffers, alignment)
    starts = sorted(
        ((layout.lay(order), order) for order in _first_orders(buffers)), key=lambda start: layout.top(start[0])
    )
    # Of its methods only random() promises the same numbers in every version of Python.
    random = Random(0).random
    offsets, order = starts[0]
    best, best_top = offsets, layout.top(offsets)
    goal = best_top - alignment
    excess = layout.excess(offsets, goal)
    restarts = stale = 0
    for _ in range(attempts):
        if best_top <= enough_bytes:
            break
        if stale == PATIENCE:
            restarts += 1
            offsets, order = starts[restarts % len(starts)]
            excess = layout.excess(offsets, goal)
            stale = 0
        new_order, unchanged = layout.change(order, offsets, goal, random)
        new_offsets = layout.lay(new_order, unchanged, offsets)
        new_excess = layout.excess(new_offsets, goal)
        stale = 0 if new_excess < excess else stale + 1
        if new_excess <= excess:
            offsets, order, excess = new_offsets, new_order, new_excess
        if excess == 0:
            best, best_top = offsets, layout.top(offsets)
            goal = best_top - alignment
            excess = layout.excess(offsets, goal)
    return Packing(tuple(best), best_top)


def _first_orders(buffers: Sequence[Buffer]) -> list[list[int]]:
    indices = range(len(buffers))
    lives = [buffer.end - buffer.first for buffer in buffers]
    sizes = [buffer.size_bytes for buffer in buffers]
    return [
        # Among tensors of one size the later lies lower, so that it can grow into the room that the earlier leaves.
        sorted(indices, key=lambda index: (-sizes[index], -buffers[index].first)),
        sorted(indices, key=lambda index: -sizes[index] * lives[index]),
        sorted(indices, key=lambda index: -lives[index]),
        sorted(indices, key=lambda index: -buffers[index].end),
        sorted(indices, key=lambda index: buffers[index].first),
    ]


class _Layout:
    """Turns orders into offsets."""

    def __init__(self, buffers: Sequence[Buffer], alignment: int) -> None:
        self._sizes = [buffer.size_bytes for buffer in buffers]
        self._near = [[(near.other, near.below, near.above) for near in row] for row in distances(buffers)]
        self._alignment = alignment

    def lay(self, order: Sequence[int], unchanged: int = 0, before: Sequence[int] = ()) -> list[int]:
        """Each buffer as low as it can be.

        Args:
            order: of the buffers.
            unchanged: how many at its start lie as ``before``.
            before: offsets.
        """
        offsets = [-1] * len(order)
        for index in order[:unchanged]:
            offsets[index] = before[index]
        for index in order[unchanged:]:
            # Between these bounds, bounds excluded, it must not start.
            forbidden = [
                (offsets[other] - below, offsets[other] + above)
                for other, below, above in self._near[index]
                if offsets[other] >= 0
            ]
            forbidden.sort()
            offset = 0
            for low, high in forbidden:
                if offset <= low:
                    break
                if offset < high:
                    offset = -(-high // self._alignment) * self._alignment
            offsets[index] = offset
        return offsets

    def top(self, offsets: Sequence[int]) -> int:
        """Where the highest buffer ends."""
        return max(map(int.__add__, offsets, self._sizes))

    def excess(self, offsets: Sequence[int], goal: int) -> int:
        """By how much buffers end above the goal, in sum."""
        ends = map(int.__add__, offsets, self._sizes)
        return sum(end - goal for end in ends if end > goal)

    def change(
        self, order: Sequence[int], offsets: Sequence[int], goal: int, random: Callable[[], float]
    ) -> tuple[list[int], int]:
        """Another order, and how many buffers at its start are as before."""
        high = [
            index for index, (offset, size) in enumerate(zip(offsets, self._sizes, strict=True)) if offset + size > goal
        ]
        moved = _choice(high, random)
        result = list(order)
        if random() < 0.6 or not self._near[moved]:
            place = order.index(moved)
            target = int(random() * (place + 1))
        else:
            moved = _choice(self._near[moved], random)[0]
            place = order.index(moved)
            target = int(random() * len(order))
        result.insert(target, result.pop(place))
        return result, min(place, target)


def _choice(values: Sequence[T], random: Callable[[], float]) -> T:
    return values[int(random() * len(values))]
