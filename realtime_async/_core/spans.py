"""
Many frames under one intent.

A span is opened by an intent that reserves cursors and closed by a result that states what went.
"""

from __future__ import annotations

import hashlib
import math

from realtime_async._core.cursors import CursorLabel, StreamCursor
from realtime_async._core.media import RealtimeMediaKind
from realtime_async._core.records import RecordExtent
from realtime_async._core.sidecar import MediaSpan

__all__ = ["NO_FRAMES", "SPANNED_KINDS", "OpenSpan", "first_limit", "reserved"]

SPANNED_KINDS = frozenset({RealtimeMediaKind.AUDIO, RealtimeMediaKind.VIDEO})
NO_FRAMES = RecordExtent()


# Its multiples leave remainders that are spread evenly, however many there are.
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def first_limit(limit: MediaSpan, place: int) -> MediaSpan:
    """
    The *limit* of a session's first span, which ends sooner, so that the spans of many do not all end together.

    Only its time is cut: a span that fills before holds as many frames as any.

    What a span's end writes takes as long as many frames: of fifty calls that were opened at once, all would end theirs
    within 20 ms, once a second, and every frame of that moment would be late.

    Args:
        place: Of the session's run among those of its journal, from 0: that one's first span is as long as any.
    """
    return MediaSpan(limit.frames, limit.seconds * (1 - place * _GOLDEN_RATIO % 1))


def reserved(after: StreamCursor, limit: MediaSpan) -> RecordExtent:
    """What an intent reserves: the *limit* of frames that follow *after*."""
    first = after.chunk_sequence + 1
    return RecordExtent(
        StreamCursor.chunk(first, after.label),
        StreamCursor.chunk(first + limit.frames - 1, after.label),
        limit.frames,
    )


class OpenSpan:
    """The frames that have gone under one intent so far."""

    __slots__ = ("_digest", "bytes", "first", "frames", "label", "last", "limit", "over_at")

    def __init__(self, limit: MediaSpan, label: CursorLabel) -> None:
        self.limit = limit
        self.label = label
        self.frames = 0
        self.bytes = 0
        self.first = 0
        self.last = 0
        self.over_at = math.inf
        """From then on the next frame belongs to the next span."""
        self._digest = hashlib.sha256()

    def add(self, number: int, payload: bytes | str | None, now: float) -> None:
        """Count the frame with cursor *number*."""
        if not self.frames:
            self.first = number
            self.over_at = now + self.limit.seconds
        self.frames += 1
        if self.frames >= self.limit.frames:
            self.over_at = -math.inf
        self.last = number
        if payload:
            if isinstance(payload, str):
                payload = payload.encode("utf-8", "surrogatepass")
            self.bytes += len(payload)
            self._digest.update(payload)

    def extent(self) -> RecordExtent:
        if not self.frames:
            return NO_FRAMES
        return RecordExtent(
            StreamCursor.chunk(self.first, self.label),
            StreamCursor.chunk(self.last, self.label),
            self.frames,
            self.bytes,
            self._digest.hexdigest(),
        )
