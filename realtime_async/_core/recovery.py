"""
What the records of a run say: the state of each session, the intents that have no result, the gate.

The fold is held equal to the live state in every test, so whatever it needs is in the records.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from realtime_async._core.accounting import Delivery
from realtime_async._core.cursors import CursorLabel, StreamCursor
from realtime_async._core.identifiers import RealtimeConnectionId
from realtime_async._core.lifecycle import RealtimeSessionState
from realtime_async._core.records import (
    INTENT_OF,
    INTENTS,
    SCHEMA_VERSION,
    TERMINAL,
    JournalRecord,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RecordExtent,
)
from realtime_async._core.sidecar import RealtimeSessionSidecar
from realtime_async._core.spans import NO_FRAMES
from realtime_async._core.tools import REMEMBERED_CALLS
from realtime_async._core.usage import NOTHING_TOLD, UsageTold
from realtime_async.errors import (
    AgentErrorKind,
    ContractViolation,
    JournalCorrupt,
    RetryClassification,
    SessionStateError,
)

__all__ = ["RecoveredSession", "RunFold", "Unknown", "check_sidecar", "fingerprint_of", "fold"]

_Kind = RealtimeSessionRecordKind


@attrs.frozen
class Unknown:
    """An open intent, and where each half stands if everything that it announced has happened."""

    intent: JournalRecord
    send_cursor: StreamCursor
    receive_cursor: StreamCursor
    extent: RecordExtent | None
    """Of a span or a replay, the frames that nobody knows of."""


@attrs.define
class RecoveredSession:
    """One session, as its records tell."""

    last: JournalRecord
    open_intents: dict[str, JournalRecord] = attrs.field(factory=dict)
    """By effect, in the order in which they were begun."""
    waiting: deque[RealtimeSessionRecord] = attrs.field(factory=deque)
    """In order, what their records say of the frames in the gate; one that was given twice waits twice."""
    calls: OrderedDict[str, None] = attrs.field(factory=OrderedDict)
    """By name, in order, the tool calls that were begun last."""
    connection_id: RealtimeConnectionId | None = None
    """The last connection that there was."""
    terminal: JournalRecord | None = None
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    in_doubt: int = 0
    replayed: int = 0
    usage: UsageTold = NOTHING_TOLD
    drained: str | None = None
    """The frame whose send began last, where it had waited in the gate."""
    returnable: str | None = None
    """
    The frame whose failure was the last record, where it may come back to the gate.

    A lost connection sends back whatever it certainly did not take, a cancellation what it keeps from being drained.
    Any other that is gated then was given again.
    """
    settled: dict[CursorLabel, int] = attrs.field(factory=lambda: dict.fromkeys(CursorLabel, 0))
    """The number of each half after which an open span begins."""

    @property
    def state(self) -> RealtimeSessionState:
        """After its last record."""
        payload = self.last.payload
        return RealtimeSessionState(
            session_id=payload.session_id,
            connection_id=payload.connection_id,
            provider_route_ref=payload.provider_route_ref,
            send_cursor=payload.send_cursor,
            receive_cursor=payload.receive_cursor,
            restart_count=payload.restart_count,
            backpressure_state=payload.backpressure_state,
            lifecycle_status=payload.status,
            policy_refs=payload.policy_refs,
        )

    @property
    def gated(self) -> list[str]:
        """Ids of the frames that wait in the gate."""
        return [str(waiting.frame_id) for waiting in self.waiting]

    def leaves_the_gate(self, frame_id: str) -> bool:
        """Take the oldest frame of that id out of the gate, where there is one."""
        for index, waiting in enumerate(self.waiting):
            if waiting.frame_id == frame_id:
                del self.waiting[index]
                return True
        return False

    def delivery(self) -> Delivery:
        """
        The totals that the records prove.

        Frames of a span that is open count when it ends; what was refused, or confirmed, is in no record.
        """
        return Delivery(
            sent=self.sent,
            failed=self.failed,
            dropped=self.dropped,
            in_doubt=self.in_doubt,
            queued=len(self.waiting) + self._in_flight(),
            replayed=self.replayed,
        )

    def _in_flight(self) -> int:
        """Frames with an intent of their own that has no result."""
        return sum(map(_is_one_send, self.open_intents.values()))

    def unknown(self) -> Iterator[Unknown]:
        """
        What is to be said of each open intent, so that no number is ever given to two frames.

        A span's uncertainty is what it has reserved, less what a later record proves.
        """
        sends, receives = self.last.payload.send_cursor, self.last.payload.receive_cursor
        settled = dict(self.settled)
        # A frame alone goes after the spans before it have ended, and before those that are only reserved.
        for intent in sorted(self.open_intents.values(), key=lambda intent: not _is_one_send(intent)):
            extent = intent.payload.extent
            match intent.payload.kind:
                case _Kind.INPUT_SEND_REQUESTED:
                    sends, extent = _reached(intent, sends, settled)
                case _Kind.OUTPUT_RECEIVE_REQUESTED:
                    receives, extent = _reached(intent, receives, settled)
                case _:
                    pass
            yield Unknown(intent, sends, receives, extent)


def _is_one_send(intent: JournalRecord) -> bool:
    return intent.payload.kind is _Kind.INPUT_SEND_REQUESTED and intent.payload.extent is None


def _reached(
    intent: JournalRecord, known: StreamCursor, settled: dict[CursorLabel, int]
) -> tuple[StreamCursor, RecordExtent | None]:
    """How far *intent* may have brought its half, and which of its frames that would be."""
    label, extent = known.label, intent.payload.extent
    begin = known.chunk_sequence
    # An intent that was reserved ahead may be used earlier than it says, so only its size counts.
    end = max(begin, settled[label] + (1 if extent is None else extent.frames))
    settled[label] = end
    if extent is not None:
        first, last = StreamCursor.chunk(begin + 1, label), StreamCursor.chunk(end, label)
        extent = RecordExtent(first, last, end - begin) if begin < end else NO_FRAMES
    return StreamCursor.chunk(end, label), extent


class RunFold:
    """Folds the records of one run, in order."""

    def __init__(self) -> None:
        self.sessions: dict[str, RecoveredSession] = {}
        self.last_seq = 0

    def add(self, record: JournalRecord) -> None:
        """
        Take in the next *record*.

        Raises:
            JournalCorrupt: It cannot follow those before it, or is of a later release.
        """
        if record.journal_seq != self.last_seq + 1:
            raise JournalCorrupt(
                f"run {str(record.run_id)!r} has record {record.journal_seq} after {self.last_seq}: "
                "a record is missing; restore the journal from a copy"
            )
        if record.schema_version > SCHEMA_VERSION:
            raise JournalCorrupt(
                f"record {record.journal_seq} of run {str(record.run_id)!r} has schema version "
                f"{record.schema_version!r}, and this release reads up to {SCHEMA_VERSION}: "
                "resume it with the release that wrote it, or a later one"
            )
        self.last_seq = record.journal_seq
        payload = record.payload
        session = self.sessions.get(payload.session_id)
        if session is None:
            session = self.sessions[payload.session_id] = RecoveredSession(record)
        if session.terminal is not None:
            raise _broken(record, "follows the terminal record of its session")
        session.last = record
        intent = _link(session, record)
        tell = _TELLS.get(payload.kind)
        if tell is not None:
            tell(session, record, intent)
        if payload.kind is not _Kind.INPUT_SEND_FAILED:
            session.returnable = None
        if payload.kind in TERMINAL:
            session.terminal = record

    def session(self, run_id: str, session_id: str | None) -> RecoveredSession:
        """
        The session that can be resumed; without a *session_id* the only one.

        Raises:
            SessionStateError: There is none, or it has ended.
            ContractViolation: There are several.
        """
        if not self.sessions:
            raise SessionStateError(
                f"run {str(run_id)!r} has no records in this journal, so there is nothing to resume: "
                "look at run_id and journal, or begin the run with connect()"
            )
        live = {name: session for name, session in self.sessions.items() if session.terminal is None}
        if session_id is None:
            if len(live) > 1:
                raise ContractViolation(
                    f"run {str(run_id)!r} has {len(live)} sessions that have not ended: "
                    f"say which with session_id, one of {_listed(live)}"
                )
            session_id = next(iter(live), None)
        if session_id in live:
            return live[session_id]
        if session_id is None or session_id in self.sessions:
            ended = _listed(self.sessions) if session_id is None else repr(str(session_id))
            raise SessionStateError(
                f"session {ended} of run {str(run_id)!r} has ended: open a session of its own for what is to be said still"
            )
        raise SessionStateError(
            f"run {str(run_id)!r} has no session {str(session_id)!r}: it has {_listed(self.sessions)}"
        )


def fold(records: Iterable[JournalRecord]) -> dict[str, RecoveredSession]:
    """
    What *records*, a whole run in order, say of each of its sessions.

    Raises:
        JournalCorrupt: They cannot be those of a run.
    """
    run = RunFold()
    for record in records:
        run.add(record)
    return run.sessions


def _listed(sessions: Mapping[str, RecoveredSession]) -> str:
    return ", ".join(repr(str(session_id)) for session_id in sessions)


def fingerprint_of(sidecar: RealtimeSessionSidecar, version: str) -> str:
    """What records say, unless told otherwise, of the program that wrote them."""
    return f"realtime-async:{version}:{sidecar.content_hash()}"


_FINGERPRINT = re.compile(r"realtime-async:[^:]+:(sha256:[0-9a-f]{64})")


def check_sidecar(session: RecoveredSession, sidecar: RealtimeSessionSidecar) -> None:
    """
    Find out whether *session* was run by *sidecar*; a program that gave a fingerprint of its own is believed.

    Raises:
        ContractViolation: It was run by another.
    """
    known = _FINGERPRINT.fullmatch(session.last.runtime_package_fingerprint)
    if known is not None and known[1] != sidecar.content_hash():
        raise ContractViolation(
            f"session {str(session.last.payload.session_id)!r} was run by a sidecar with the hash {known[1]}, and "
            f"{sidecar.sidecar_id!r} has {sidecar.content_hash()}: resume it with the one it had, "
            "or say allow_other_sidecar=True"
        )


def _link(session: RecoveredSession, record: JournalRecord) -> JournalRecord | None:
    """Open an intent, or close it by its result; returns the one that was closed."""
    payload = record.payload
    if payload.kind in INTENTS:
        session.open_intents[record.record_id] = record
        return None
    if payload.kind not in INTENT_OF and payload.kind is not _Kind.OUTCOME_UNKNOWN:
        return None
    intent = session.open_intents.pop(payload.effect_intent_ref or "", None)
    if intent is None:
        raise _broken(record, "is the result of no open intent")
    if INTENT_OF.get(payload.kind, intent.payload.kind) is not intent.payload.kind:
        raise _broken(record, f"is no result of {intent.payload.kind}")
    return intent


def _broken(record: JournalRecord, what: str) -> JournalCorrupt:
    return JournalCorrupt(
        f"record {record.journal_seq} of run {str(record.run_id)!r}, {record.payload.kind}, {what}: "
        "restore the journal from a copy"
    )


def _connected(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    session.connection_id = record.payload.connection_id


def _send_begun(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    frame_id = str(record.payload.frame_id)
    session.drained = frame_id if session.leaves_the_gate(frame_id) else None


def _sent(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    payload = record.payload
    session.sent += 1 if payload.extent is None else payload.extent.frames
    session.settled[CursorLabel.SEND] = payload.send_cursor.chunk_sequence


def _send_failed(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    payload = record.payload
    session.sent += 0 if payload.extent is None else payload.extent.frames
    session.settled[CursorLabel.SEND] = payload.send_cursor.chunk_sequence
    error, frame_id = payload.error, str(payload.frame_id)
    if error is not None and error.retry is RetryClassification.UNKNOWN_OUTCOME:
        session.in_doubt += 1
        session.returnable = None
        return
    session.failed += 1
    was_lost = error is not None and error.kind is AgentErrorKind.PROVIDER_CONNECTION_LOST
    was_cut = error is not None and error.kind is AgentErrorKind.CANCELLED and session.drained == frame_id
    session.returnable = frame_id if was_lost or was_cut else None


def _gated(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    payload = record.payload
    if session.returnable == str(payload.frame_id):
        # It certainly did not arrive, and waits at the head: its failure was not its end.
        session.failed -= 1
        session.waiting.appendleft(payload)
    else:
        session.waiting.append(payload)


def _dropped(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    if not session.leaves_the_gate(str(record.payload.frame_id)):
        raise _broken(record, "drops a frame that was not in the gate")
    session.dropped += 1


def _replayed(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    extent = record.payload.extent
    session.replayed += 0 if extent is None else extent.frames


def _received(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    payload = record.payload
    session.settled[CursorLabel.RECEIVE] = payload.receive_cursor.chunk_sequence
    if payload.usage is not None:
        session.usage = session.usage.plus(payload.usage)


def _call_begun(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    for ref in record.payload.content_refs:
        session.calls[str(ref)] = None
        if len(session.calls) > REMEMBERED_CALLS:
            session.calls.popitem(last=False)


def _unknown(session: RecoveredSession, record: JournalRecord, intent: JournalRecord | None) -> None:
    assert intent is not None
    payload = record.payload
    if intent.payload.kind is _Kind.INPUT_SEND_REQUESTED:
        number = session.settled[CursorLabel.SEND] = payload.send_cursor.chunk_sequence
        session.in_doubt += 1 if payload.extent is None else payload.extent.frames
        # Every number was given to a frame that was sent, or to one in doubt.
        session.sent = number - session.in_doubt
    elif intent.payload.kind is _Kind.OUTPUT_RECEIVE_REQUESTED:
        _received(session, record, intent)


# What a record, and of a result the intent that it closes, adds to what is known.
_TELLS: Mapping[
    RealtimeSessionRecordKind, Callable[[RecoveredSession, JournalRecord, JournalRecord | None], None]
] = {
    _Kind.CONNECTED: _connected,
    _Kind.RESTART_COMPLETED: _connected,
    _Kind.INPUT_SEND_REQUESTED: _send_begun,
    _Kind.INPUT_SENT: _sent,
    _Kind.INPUT_SEND_FAILED: _send_failed,
    _Kind.INPUT_DROPPED: _dropped,
    _Kind.INPUT_REPLAYED: _replayed,
    _Kind.INPUT_REPLAY_FAILED: _replayed,
    _Kind.BACKPRESSURE_APPLIED: _gated,
    _Kind.OUTPUT_RECEIVED: _received,
    _Kind.OUTPUT_RECEIVE_FAILED: _received,
    _Kind.OUTPUT_ENDED: _received,
    _Kind.OUTPUT_DISCARDED: _received,
    _Kind.TOOL_CALL_REQUESTED: _call_begun,
    _Kind.OUTCOME_UNKNOWN: _unknown,
}
