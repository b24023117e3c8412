"""
What adapters and journals must offer, and the values they see.

An implementation is proven by its contract class in `realtime_async.testing`.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, runtime_checkable

import attrs

from realtime_async._core import frames as _frames
from realtime_async._core.accounting import RealtimeRestartReason
from realtime_async._core.cursors import CursorLabel, CursorPrecision, StreamCursor
from realtime_async._core.events import (
    GoAway,
    InputCommitted,
    InputTranscript,
    OutputAudio,
    OutputText,
    OutputTranscript,
    ProviderWarning,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    ResponseUsage,
    Restarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolCallCancelled,
)
from realtime_async._core.frames import InputSignal, RealtimeInputFrame, RealtimeOutputFrame
from realtime_async._core.identifiers import (
    AgentId,
    ContentRef,
    DestinationRef,
    EffectId,
    EntityRef,
    PolicyRef,
    RealtimeConnectionId,
    RealtimeFrameId,
    RealtimeResponseId,
    RealtimeSessionId,
    RunId,
    SourceRef,
    safe_id_fragment,
)
from realtime_async._core.media import (
    AudioEncoding,
    AudioFormat,
    PrivacyClass,
    RealtimeMediaKind,
    RetentionClass,
)
from realtime_async._core.playback import HeardItem, PlaybackLedger, heard_items, heard_text
from realtime_async._core.records import (
    JournalCursor,
    JournalRecord,
    RealtimeBackpressureAction,
    RealtimeBackpressureState,
    RealtimeCloseReason,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RealtimeSessionStatus,
    RecordedError,
    RecordExtent,
    StreamChannel,
    StreamDirection,
)

__all__ = [
    "AgentId",
    "AudioEncoding",
    "AudioFormat",
    "ContentRef",
    "CursorLabel",
    "CursorPrecision",
    "DestinationRef",
    "EffectId",
    "EntityRef",
    "GivesWithoutWaiting",
    "GoAway",
    "HeardItem",
    "InputCommitted",
    "InputSignal",
    "InputTranscript",
    "JournalCursor",
    "JournalRecord",
    "LearnsOfInterrupts",
    "ListsRuns",
    "OutputAudio",
    "OutputText",
    "OutputTranscript",
    "PlaybackLedger",
    "PolicyRef",
    "PrivacyClass",
    "ProviderWarning",
    "RealtimeBackpressureAction",
    "RealtimeBackpressureState",
    "RealtimeCloseReason",
    "RealtimeConnectRequest",
    "RealtimeConnectResponse",
    "RealtimeConnectionId",
    "RealtimeEvent",
    "RealtimeFrameId",
    "RealtimeInputFrame",
    "RealtimeMediaKind",
    "RealtimeOutputFrame",
    "RealtimeProviderAdapter",
    "RealtimeResponseId",
    "RealtimeRestartReason",
    "RealtimeSessionId",
    "RealtimeSessionRecord",
    "RealtimeSessionRecordKind",
    "RealtimeSessionStatus",
    "RecordExtent",
    "RecordedError",
    "ResponseDone",
    "ResponseStarted",
    "ResponseUsage",
    "Restarted",
    "RetentionClass",
    "RunId",
    "RunJournal",
    "RunSummary",
    "SourceRef",
    "SpeechStarted",
    "SpeechStopped",
    "StreamChannel",
    "StreamCursor",
    "StreamDirection",
    "TakesWithoutWaiting",
    "ToolCall",
    "ToolCallCancelled",
    "heard_items",
    "heard_text",
    "safe_id_fragment",
]


@attrs.frozen
class RealtimeConnectRequest:
    """What a new connection is to serve."""

    session_id: RealtimeSessionId = attrs.field(converter=RealtimeSessionId)
    provider_route_ref: str
    realtime_capability_ref: str
    previous_connection_id: RealtimeConnectionId | None = attrs.field(
        default=None, converter=attrs.converters.optional(RealtimeConnectionId)
    )
    """The connection that an earlier process had; None on the first of a session."""


@attrs.frozen
class RealtimeConnectResponse:
    """A connection, and what it remembers."""

    connection_id: RealtimeConnectionId = attrs.field(converter=RealtimeConnectionId)
    input_kept_through: StreamCursor | None = None
    """
    The last input cursor that the new connection knows of, as audio or as text put back.

    What lies after it is replayed.
    None: it knows everything; `StreamCursor.chunk(0)`: it knows nothing.
    """


class RealtimeProviderAdapter(Protocol):
    """
    One speech provider.

    It may serve many sessions at once.
    One that needs tasks is an async context manager which owns their task group.
    A call that is cancelled ends; it never appends to a journal.
    Prove an implementation with `realtime_async.testing.AdapterContract`.
    """

    @property
    def adapter_ref(self) -> str:
        """Names the adapter in logs and errors."""
        ...

    @property
    def input_format(self) -> AudioFormat | None:
        """Of the audio it takes; None: pcm16, 24 kHz, mono."""
        ...

    @property
    def output_format(self) -> AudioFormat | None:
        """Of the audio it gives; None: pcm16, 24 kHz, mono."""
        ...

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        """
        Open the session's first connection.

        A connect that fails or is cancelled drops what it had opened.

        Raises:
            ProviderFailure: The provider refused.
            ProviderConnectionLost: It could not be reached.
        """
        ...

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        """
        Hand *frame* to the transport.

        Cancelled, it leaves the wire whole: the frame is delivered entirely or not at all.

        Raises:
            ProviderFailure: The provider refused the frame; the connection lives.
            ProviderConnectionLost: The connection is gone; `delivered` says what is known of the frame.
        """
        ...

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        """
        Return the next frame, or None for an end that was asked for by `close`.

        Cancelled by an anyio scope or natively, it loses nothing: a frame is returned or still pending.
        What an old connection had delivered comes before anything of a new one.
        A frame with an event, a position or a payload that cannot be is refused by the session, as a ProviderFailure.

        Raises:
            ProviderConnectionLost: Any other end.
        """
        ...

    async def interrupt(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        """
        Stop an answer, of which *played_ms* milliseconds were heard.

        Without an id the current answer is meant.
        """
        ...

    async def restart(
        self, session_id: RealtimeSessionId, connection_id: RealtimeConnectionId
    ) -> RealtimeConnectResponse:
        """Replace *connection_id*, dead or alive, by a new connection of the same session."""
        ...

    async def close(self, session_id: RealtimeSessionId, reason: RealtimeCloseReason) -> None:
        """
        End the session at the provider.

        On `host_owned_detach` the provider's own session is left alone.
        """
        ...


@runtime_checkable
class TakesWithoutWaiting(Protocol):
    """What an adapter may offer beside its port, so that a frame costs no deadline of its own."""

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        """
        Take *frame* as `send` would, without waiting; False: there is no room, use `send`.

        Any other answer leaves the frame in doubt.
        Raises what `send` raises.
        """
        ...


@runtime_checkable
class GivesWithoutWaiting(Protocol):
    """What an adapter may offer beside its port, so that a frame that has come costs no call that could wait."""

    def receive_nowait(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        """
        Return the next frame as `receive` would, without waiting; None: there is none to give now, use `receive`.

        The end of the stream is for `receive` to tell.
        A frame that it returned is received: it is not pending any more.
        Raises what `receive` raises.
        """
        ...


@runtime_checkable
class LearnsOfInterrupts(Protocol):
    """
    What an adapter may offer beside its port, so that nothing is asked again that nobody wants to hear.

    An adapter whose `restart` asks the new connection for the answer that was cut off, or is owed, needs it.
    """

    def interrupted_meanwhile(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        """
        Learn of an interrupt that met no connection; it is `interrupt` without anybody to tell.

        Called right before `restart`, or while that lasts, and so under its intent; it waits for nothing and raises
        nothing.
        Without an id the answer is meant that was being given when the connection ended, else the one that is owed.
        """
        ...


class RunJournal(Protocol):
    """
    An append-only list of records per run, without gaps.

    Prove an implementation with `realtime_async.testing.JournalContract`.
    """

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        """
        Take *record*, at its own journal_seq; awaiting what is returned waits until it is durable.

        The call takes the record, in order, or raises: it then lands though its caller is cancelled,
        by an anyio scope or natively, and though nobody awaits it.
        What is returned may be awaited more than once, by several tasks; cancelling one harms no other.
        Where it has an attribute `is_durable`, True there spares the wait.
        Appending a record again that is equal in every field changes nothing.
        A record refused in the call was not taken, and the run goes on with one that fits.
        A failure to write what was taken stops this run, and no other; one that nobody awaited is raised by
        the run's next append, and by `aclose`.

        Raises:
            JournalConflict: Another record holds this run_id and journal_seq.
            JournalFailure: It could not be written; neither is anything after it.
        """
        ...

    def read(self, run_id: RunId, *, after: int = 0) -> AsyncIterator[JournalRecord]:
        """Iterate over the durable records of a run whose journal_seq is greater than *after*, in order."""
        ...

    async def last(self, run_id: RunId) -> JournalCursor | None:
        """Return the position of the run's last durable record; None: it has none."""
        ...

    async def aclose(self) -> None:
        """Make durable what was taken, and let go of the store."""
        ...


@attrs.frozen
class RunSummary:
    """What a journal can tell of a run without reading it: its first record and its last."""

    run_id: RunId
    records: int
    """The number of its last record; 0: it is none, as its journal is damaged."""
    began_millis: int | None = None
    """
    When its first record was written, in milliseconds since 1970.

    None, here and in all that follows: the record that would tell is damaged or missing.
    """
    last_millis: int | None = None
    last_kind: RealtimeSessionRecordKind | None = None
    """
    What its last record says.

    A run with one session has ended where this is `closed` or `close_failed`.
    """
    agent_id: AgentId | None = None
    tags: tuple[str, ...] = ()
    """Of its first record."""

    @classmethod
    def of(
        cls, run_id: RunId, *, records: int, first: JournalRecord | None, last: JournalRecord | None
    ) -> RunSummary:
        """Say of a run what its *first* record and its *last* do; None: that one cannot be read."""
        begun = cls(run_id, records)
        if first is not None:
            begun = attrs.evolve(
                begun, began_millis=first.timestamp_millis, agent_id=first.agent_id, tags=first.tags
            )
        if last is not None:
            begun = attrs.evolve(begun, last_millis=last.timestamp_millis, last_kind=last.payload.kind)
        return begun


@runtime_checkable
class ListsRuns(Protocol):
    """
    What a journal may offer beside its port: to say which runs it holds.

    Prove it with `realtime_async.testing.RunListContract`.
    """

    def runs(self, *, after: str = "", tag: str | None = None) -> AsyncIterator[RunSummary]:
        """
        Iterate over the runs that have durable records, in the order of their ids.

        It holds no more than a chunk of them, and never keeps who writes from writing.
        Runs that begin meanwhile may be in it or not.

        Args:
            after: The id after which to begin, so that a list can be taken up where it was left.
            tag: Only runs whose first record bears it.
        """
        ...


def _frame_ids() -> Callable[[], RealtimeFrameId]:
    prefix = f"frame.{secrets.token_hex(6)}."
    numbers = itertools.count(1)
    # This runs 100 times a second and call.
    return lambda: RealtimeFrameId.known_valid(f"{prefix}{next(numbers)}")


def _install_frame_ids() -> None:
    _frames.install_frame_ids(_frame_ids())


_install_frame_ids()
# A forked child would go on with its parent's prefix and numbers.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_install_frame_ids)
