# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_export.static_engine.lifetimes import Buffer, Kind
from firmware_export.static_engine.packing import pack


def _block(size: int, first: int, end: int) -> Buffer:
    """Needed as a whole from one step to another."""
    low = np.zeros(end - first, dtype=np.int64)
    return Buffer(Kind.TENSOR, 0, size, 1, first, low, low + size)


def _growing(size: int, first: int) -> Buffer:
    """One more byte at each step."""
    low = np.zeros(size, dtype=np.int64)
    return Buffer(Kind.TENSOR, 0, size, 1, first, low, np.arange(1, size + 1))


def _shrinking(size: int, first: int) -> Buffer:
    """One byte fewer at each step, from the lowest on."""
    return Buffer(Kind.TENSOR, 0, size, 1, first, np.arange(size), np.full(size, size))


def _overlap(a: Buffer, b: Buffer, distance: int) -> bool:
    """Whether needed bytes of both meet, with ``b`` so far above ``a``."""
    return any(
        max(a.low[step - a.first], b.low[step - b.first] + distance)
        < min(a.high[step - a.first], b.high[step - b.first] + distance)
        for step in range(max(a.first, b.first), min(a.end, b.end))
    )


# Size, first step and end of blocks that no usual order lays well.
_HARD = [(4, 6, 9), (8, 2, 7), (4, 2, 10), (5, 7, 8), (7, 1, 8), (5, 7, 10)]

_buffers = st.lists(
    st.one_of(
        st.builds(lambda size, first, steps: _block(size, first, first + steps), *(st.integers(1, 9),) * 3),
        st.builds(_growing, st.integers(1, 9), st.integers(1, 9)),
        st.builds(_shrinking, st.integers(1, 9), st.integers(1, 9)),
    ),
    min_size=1,
    max_size=9,
)


@given(_buffers, st.sampled_from([1, 4]))
def test_needed_bytes_that_meet(buffers: list[Buffer], alignment: int) -> None:
    found = pack(buffers, alignment=alignment, enough_bytes=0, attempts=30)

    for index, (a, offset) in enumerate(zip(buffers, found.offsets, strict=True)):
        assert offset >= 0
        assert offset % alignment == 0
        for b, other in zip(buffers[:index], found.offsets, strict=False):
            assert not _overlap(a, b, other - offset)
    assert found.arena_bytes == max(
        offset + buffer.size_bytes for buffer, offset in zip(buffers, found.offsets, strict=True)
    )


def test_room_that_is_left_unused() -> None:
    # The second and the third fit above each other beside the first; the fourth follows the first.
    buffers = [_block(12, 0, 4), _block(8, 0, 9), _block(4, 2, 9), _block(12, 4, 9)]

    assert pack(buffers, alignment=4, enough_bytes=24, attempts=0).arena_bytes == 24


def test_a_gap_of_just_the_right_size() -> None:
    # The first goes below or above the second, where the last has left just as much room.
    buffers = [_block(5, 4, 5), _block(5, 3, 5), _block(4, 1, 5), _block(5, 0, 4)]

    assert pack(buffers, alignment=1, enough_bytes=14, attempts=0).arena_bytes == 14


@pytest.mark.parametrize("alignment", [1, 4])
def test_a_growing_buffer_that_does_not_follow_the_shrinking_one(alignment: int) -> None:
    # At each step the upper loses a byte at its start, one step after the lower took one at its end.
    found = pack([_shrinking(100, 0), _growing(100, 0)], alignment=alignment, enough_bytes=0, attempts=100)

    assert found.arena_bytes == 100 + alignment
    assert found.offsets == (alignment, 0)


def test_a_search_that_gives_up_too_early() -> None:
    buffers = [_block(size, first, end) for size, first, end in _HARD]

    assert pack(buffers, alignment=1, enough_bytes=25, attempts=0).arena_bytes == 28
    # At step 7 are needed 4 + 4 + 5 + 7 + 5.
    assert pack(buffers, alignment=1, enough_bytes=25, attempts=600).arena_bytes == 25


def test_a_search_that_goes_on_when_it_has_enough() -> None:
    buffers = [_block(size, first, end) for size, first, end in _HARD]

    usual = pack(buffers, alignment=1, enough_bytes=28, attempts=0)
    assert pack(buffers, alignment=1, enough_bytes=28, attempts=600) == usual
