"""
Positions: where each half of a session stands.

Every input frame that reached the provider, or may have, has a number; so has every output frame taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple, Self

import attrs

from realtime_async._core.given import shown
from realtime_async.errors import ContractViolation

__all__ = ["CursorLabel", "CursorPrecision", "CursorRange", "StreamCursor", "is_position", "ranges_of"]


def is_position(number: object) -> bool:
    """Whether *number* is whole and not below 0: that of a frame, or of a millisecond."""
    return type(number) is int and number >= 0


class CursorPrecision(StrEnum):
    CHUNK_SEQUENCE_ONLY = "chunk_sequence_only"
    EXACT = "exact"


class CursorLabel(StrEnum):
    SEND = "send"
    RECEIVE = "receive"


# Without slots a frozen class takes half the time to build, and one is built per frame.
@attrs.frozen(slots=False)
class StreamCursor:
    """The position of one half of the session; 0 is before the first frame."""

    chunk_sequence: int = 0
    byte_offset: int | None = None
    """Bytes into the half's media; None where precision is chunk_sequence_only."""
    precision: CursorPrecision = CursorPrecision.CHUNK_SEQUENCE_ONLY
    label: CursorLabel = attrs.field(default=CursorLabel.SEND, eq=False)
    """Which half; two positions are compared within one half, so it takes no part in equality."""

    @classmethod
    def chunk(cls, chunk_sequence: int, label: CursorLabel = CursorLabel.SEND) -> Self:
        """The position after frame number *chunk_sequence*; 0 is before the first."""
        if not is_position(chunk_sequence):
            raise ContractViolation(
                f"{shown(chunk_sequence)} is no position: give the whole number of a frame, or 0 for before the first"
            )
        return cls(chunk_sequence, None, CursorPrecision.CHUNK_SEQUENCE_ONLY, label)


class CursorRange(NamedTuple):
    """The input frames numbered *first* to *last*, both included."""

    first: int
    last: int

    @property
    def frames(self) -> int:
        return self.last - self.first + 1


# `NamedTuple` keeps what it finds, which is text in this file, and a converter of cattrs looks for a class there.
CursorRange.__annotations__ = {"first": int, "last": int}


def ranges_of(numbers: Iterable[int]) -> tuple[CursorRange, ...]:
    """Join consecutive *numbers* into ranges, in rising order."""
    ranges: list[CursorRange] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1].last == number - 1:
            ranges[-1] = CursorRange(ranges[-1].first, number)
        else:
            ranges.append(CursorRange(number, number))
    return tuple(ranges)
