"""Positions of the two halves of a session."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.cursors import CursorLabel, CursorPrecision, CursorRange, StreamCursor, ranges_of
from realtime_async.errors import ContractViolation


def test_a_cursor_stands_before_the_first_frame_unless_told() -> None:
    assert StreamCursor() == StreamCursor.chunk(0)


def test_a_chunk_cursor_knows_its_number_and_no_bytes() -> None:
    cursor = StreamCursor.chunk(7)

    assert (cursor.chunk_sequence, cursor.byte_offset) == (7, None)
    assert cursor.precision is CursorPrecision.CHUNK_SEQUENCE_ONLY
    assert cursor.label is CursorLabel.SEND


def test_positions_are_compared_within_one_half() -> None:
    assert StreamCursor.chunk(3, CursorLabel.RECEIVE) == StreamCursor.chunk(3, CursorLabel.SEND)
    assert StreamCursor.chunk(3) != StreamCursor.chunk(4)
    assert StreamCursor.chunk(3) != StreamCursor(3, 960, CursorPrecision.EXACT)


@pytest.mark.parametrize(
    "numbers, ranges",
    [
        ([], []),
        ([1], [(1, 1)]),
        ([1, 2, 3], [(1, 3)]),
        ([3, 1, 2, 2], [(1, 3)]),
        ([1, 3, 4, 9], [(1, 1), (3, 4), (9, 9)]),
    ],
    ids=["none", "one", "a row", "unordered and twice", "with gaps"],
)
def test_consecutive_numbers_are_joined(numbers: list[int], ranges: list[tuple[int, int]]) -> None:
    assert ranges_of(numbers) == tuple(CursorRange(*each) for each in ranges)


@given(numbers=st.lists(st.integers(1, 60)))
def test_ranges_hold_exactly_the_numbers_they_were_made_of(numbers: list[int]) -> None:
    ranges = ranges_of(iter(numbers))

    assert [n for each in ranges for n in range(each.first, each.last + 1)] == sorted(set(numbers))
    assert sum(each.frames for each in ranges) == len(set(numbers))
    assert all(before.last + 1 < after.first for before, after in pairwise(ranges))


def test_there_is_no_position_before_the_beginning() -> None:
    with pytest.raises(ContractViolation, match="-1 is no position"):
        StreamCursor.chunk(-1)


@pytest.mark.parametrize("value", [-1, "a", 1.0, True, None])
def test_what_is_no_number_of_a_frame_is_no_position(value: Any) -> None:
    with pytest.raises(ContractViolation, match="is no position: give the whole number of a frame"):
        StreamCursor.chunk(value)
