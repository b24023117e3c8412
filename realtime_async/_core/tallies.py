"""What a report counts of one session, as its records come."""

from __future__ import annotations

import attrs

from realtime_async._core.cursors import CursorRange
from realtime_async._core.media import AudioFormat, RealtimeMediaKind
from realtime_async._core.records import (
    JournalRecord,
    RealtimeSessionRecordKind,
    RecordExtent,
    StreamDirection,
)
from realtime_async._core.run_report import RestartTold, Resumption, ToldFrames
from realtime_async.errors import AgentErrorKind

__all__ = ["ERRORS_REMEMBERED", "REMEMBERED", "Fate", "RestartTally", "Tally", "seconds"]

REMEMBERED = 1000
"""Ranges of one fate, and restarts, that are told one by one; all are counted."""
ERRORS_REMEMBERED = 10


@attrs.define
class Fate:
    """Frames of one fate, as they come."""

    frames: int = 0
    bytes: int | None = None
    ranges: list[CursorRange] = attrs.field(factory=list)

    def add(self, first: int, last: int, frames: int, size: int | None = None) -> None:
        self.frames += frames
        if size is not None:
            self.bytes = (self.bytes or 0) + size
        if self.ranges and self.ranges[-1].last + 1 == first:
            self.ranges[-1] = CursorRange(self.ranges[-1].first, last)
        elif len(self.ranges) < REMEMBERED:
            self.ranges.append(CursorRange(first, last))

    def add_extent(self, extent: RecordExtent | None) -> None:
        if extent is not None and extent.first is not None and extent.last is not None:
            size = extent.bytes if extent.sha256 is not None else None
            self.add(extent.first.chunk_sequence, extent.last.chunk_sequence, extent.frames, size)

    def told(self, audio: AudioFormat | None) -> ToldFrames:
        return ToldFrames(self.frames, tuple(self.ranges), self.bytes, seconds(self.bytes, audio))


@attrs.define
class RestartTally:
    """A restart under way."""

    requested: JournalRecord
    lost_millis: int
    attempts: int = 0
    completed: JournalRecord | None = None
    errors: list[AgentErrorKind] = attrs.field(factory=list)
    late: int = 0
    replayed: int = 0
    dropped: int = 0
    gate_is_empty: bool = False

    def told(self) -> RestartTold:
        completed = None if self.completed is None else self.completed.timestamp_millis
        return RestartTold(
            requested_millis=self.requested.timestamp_millis,
            reason=self.requested.payload.restart_reason,
            attempts=self.attempts,
            completed_millis=completed,
            outage_s=None if completed is None else (completed - self.lost_millis) / 1000,
            errors=tuple(self.errors),
            late=self.late,
            replayed=self.replayed,
            dropped=self.dropped,
        )


@attrs.define
class Tally:
    """What is counted of one session beside what recovery folds."""

    first: JournalRecord
    last: JournalRecord
    gated_at: dict[str, int] = attrs.field(factory=dict)
    """By id, since when the frames in the gate wait."""
    drained: dict[str, int] = attrs.field(factory=dict)
    """By id, how long those waited that left it and have no result yet."""
    in_doubt: Fate = attrs.field(factory=Fate)
    late: Fate = attrs.field(factory=Fate)
    twice: Fate = attrs.field(factory=Fate)
    again: set[int] = attrs.field(factory=set)
    """Cursors in doubt that were given to a new connection."""
    failed_last: tuple[str, int] | None = None
    """The frame that may come back to the gate, as its failure was the last record, and how long it had waited."""
    longest_wait: int = 0
    restart: RestartTally = attrs.field(
        default=attrs.Factory(lambda tally: RestartTally(tally.first, 0), takes_self=True)
    )
    """The last one; before the first, and after a resumption, one that nobody is told of."""
    restarts: list[RestartTally] = attrs.field(factory=list)
    restart_count: int = 0
    lost_millis: int | None = None
    replays: bool = False
    """Whether a replay is under way."""
    dropped_before_loss: int = 0
    dropped_ahead: int = 0
    """Out of a gate of which no restart tells yet."""
    resumptions: list[Resumption] = attrs.field(factory=list)
    counts: dict[RealtimeSessionRecordKind, int] = attrs.field(factory=dict)
    discarded: int = 0
    tool_calls_unknown: int = 0
    carried: dict[tuple[StreamDirection, RealtimeMediaKind], Fate] = attrs.field(factory=dict)

    def count(self, kind: RealtimeSessionRecordKind) -> int:
        return self.counts.get(kind, 0)

    def carry(self, record: JournalRecord, direction: StreamDirection) -> None:
        payload = record.payload
        kind = payload.media_kind or RealtimeMediaKind.CONTROL
        fate = self.carried.setdefault((direction, kind), Fate())
        if payload.extent is None:
            fate.frames += 1
        elif payload.extent.frames:
            fate.frames += payload.extent.frames
            fate.bytes = (fate.bytes or 0) + payload.extent.bytes


def seconds(size: int | None, audio: AudioFormat | None) -> float | None:
    return None if size is None or audio is None else size / audio.bytes_per_second
