"""What can be told of a run from its records alone: the values, which `reporting` fills."""

from __future__ import annotations

import attrs

from realtime_async._core.accounting import Delivery, RealtimeRestartReason
from realtime_async._core.cursors import CursorRange
from realtime_async._core.identifiers import RealtimeSessionId, RunId
from realtime_async._core.media import RealtimeMediaKind
from realtime_async._core.records import (
    RealtimeCloseReason,
    RealtimeSessionRecordKind,
    RealtimeSessionStatus,
    StreamDirection,
)
from realtime_async._core.usage import UsageTold
from realtime_async.errors import AgentErrorKind

__all__ = [
    "Carried",
    "OpenIntent",
    "RestartTold",
    "Resumption",
    "RunReport",
    "SessionReport",
    "ToldFrames",
]


@attrs.frozen
class ToldFrames:
    """Input frames that had the same fate."""

    frames: int = 0
    ranges: tuple[CursorRange, ...] = ()
    """
    Of their cursors, the first thousand ranges at most.

    A range may hold more cursors than there were frames, where a replay left frames out in between.
    """
    bytes: int | None = None
    """Of payload; None where their records don't say."""
    audio_s: float | None = None
    """The same as seconds of audio, where the format was told."""


@attrs.frozen
class RestartTold:
    """One restart, from its request until the gate was empty again."""

    requested_millis: int
    reason: RealtimeRestartReason | None
    attempts: int
    completed_millis: int | None = None
    """None: it did not succeed, or not yet."""
    outage_s: float | None = None
    """
    Seconds from its request, or the failure that told of the loss if earlier, to the new connection.

    Where the restart before it had failed, from when that one's began.

    By the clock of the writer; None where there is no new connection.
    """
    errors: tuple[AgentErrorKind, ...] = ()
    """Of attempts that failed, the first ten at most."""
    late: int = 0
    """Frames that waited in the gate and were sent on the new connection."""
    replayed: int = 0
    dropped: int = 0
    """Frames that were dropped out of the gate in its outage; a restart after one that failed tells them again."""


@attrs.frozen
class Resumption:
    """Another process, or another controller, has taken the session up."""

    at_millis: int
    silent_s: float
    """Seconds since the last record before it."""


@attrs.frozen
class Carried:
    """What went in one direction, of one kind."""

    direction: StreamDirection
    media_kind: RealtimeMediaKind
    frames: int
    bytes: int | None
    """Of payload, in those frames that were recorded by the span; None: none were."""
    audio_s: float | None = None
    """The same as seconds of audio, where the format was told."""


@attrs.frozen
class OpenIntent:
    """An effect that was begun, and of which no record tells how it ended."""

    journal_seq: int
    kind: RealtimeSessionRecordKind
    at_millis: int


@attrs.frozen(kw_only=True)
class SessionReport:
    """What became of one session, and of every frame that was given to it."""

    session_id: RealtimeSessionId
    status: RealtimeSessionStatus
    began_millis: int
    last_millis: int
    close_reason: RealtimeCloseReason | None
    """None: it has not ended."""
    delivery: Delivery
    """The totals; what was refused or confirmed is in no record."""
    failed: int
    """Never heard: frames that certainly did not reach the provider."""
    dropped: int
    """Never heard: frames that were dropped out of the gate.  Like those that failed they have no cursor."""
    in_doubt: ToldFrames
    """Perhaps never heard."""
    in_doubt_still: ToldFrames
    """Those of them that no new connection was given again."""
    late: ToldFrames
    """Heard late: they had waited in the gate."""
    longest_wait_s: float
    """Of those in the gate."""
    twice: ToldFrames
    """Given to a new connection once more."""
    restarts: tuple[RestartTold, ...]
    """The first thousand at most."""
    restart_count: int
    """Restarts that were requested."""
    resumptions: tuple[Resumption, ...]
    hand_overs: int
    interruptions: int
    """Asked of the provider."""
    interruptions_failed: int
    fenced: int
    """Interruptions while there was no connection."""
    discarded: int
    """Frames of interrupted answers that nobody got to hear."""
    tool_calls: int
    tool_calls_failed: int
    tool_calls_unknown: int
    """Begun by a process that died: nobody knows how far they came, and they are not begun again."""
    usage: UsageTold
    carried: tuple[Carried, ...]
    open_intents: tuple[OpenIntent, ...]


@attrs.frozen
class RunReport:
    """
    What the records of a run prove.

    It does not know which frames the provider has shown to know: for that there is the `RestartReport` of the
    live session.
    """

    run_id: RunId
    records: int
    began_millis: int
    last_millis: int
    sessions: tuple[SessionReport, ...]
