"""
What the records of a run say: the state of each session, and the intents that have no result.

The fold is held equal to the live state in every test, so whatever it needs is in the records.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from realtime_async._core.accounting import Delivery
from realtime_async._core.lifecycle import RealtimeSessionState
from realtime_async._core.records import (
    INTENT_OF,
    INTENTS,
    TERMINAL,
    JournalRecord,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
)
from realtime_async.errors import JournalCorrupt, RetryClassification

__all__ = ["RecoveredSession", "RunFold", "fold"]

_Kind = RealtimeSessionRecordKind


@attrs.define
class RecoveredSession:
    """One session, as its records tell."""

    state: RealtimeSessionState
    """After its last record."""
    open_intents: dict[str, JournalRecord] = attrs.field(factory=dict)
    """By effect, in the order in which they were begun."""
    gated: list[str] = attrs.field(factory=list)
    """Ids of the frames that wait in the gate."""
    terminal: JournalRecord | None = None
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    in_doubt: int = 0
    replayed: int = 0
    returnable: str | None = None
    """The frame whose failure was the last record: it may come back to the gate."""

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
            queued=len(self.gated) + self._in_flight(),
            replayed=self.replayed,
        )

    def _in_flight(self) -> int:
        """Frames with an intent of their own that has no result."""
        return sum(
            record.payload.kind is _Kind.INPUT_SEND_REQUESTED and record.payload.extent is None
            for record in self.open_intents.values()
        )


class RunFold:
    """Folds the records of one run, in order."""

    def __init__(self) -> None:
        self.sessions: dict[str, RecoveredSession] = {}
        self.last_seq = 0

    def add(self, record: JournalRecord) -> None:
        """
        Take in the next *record*.

        Raises:
            JournalCorrupt: It cannot follow those before it.
        """
        if record.journal_seq != self.last_seq + 1:
            raise JournalCorrupt(
                f"run {str(record.run_id)!r} has record {record.journal_seq} after {self.last_seq}: "
                "a record is missing; restore the journal from a copy"
            )
        self.last_seq = record.journal_seq
        payload = record.payload
        session = self.sessions.get(payload.session_id)
        if session is None:
            session = self.sessions[payload.session_id] = RecoveredSession(_state(payload))
        if session.terminal is not None:
            raise _broken(record, "follows the terminal record of its session")
        session.state = _state(payload)
        _link(session, record)
        _count(session, record)
        if payload.kind in TERMINAL:
            session.terminal = record


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


def _state(payload: RealtimeSessionRecord) -> RealtimeSessionState:
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


def _link(session: RecoveredSession, record: JournalRecord) -> None:
    """Open an intent, or close it by its result."""
    payload = record.payload
    if payload.kind in INTENTS:
        session.open_intents[record.record_id] = record
    elif payload.kind in INTENT_OF or payload.kind is _Kind.OUTCOME_UNKNOWN:
        intent = session.open_intents.pop(payload.effect_intent_ref or "", None)
        if intent is None:
            raise _broken(record, "is the result of no open intent")
        if INTENT_OF.get(payload.kind, intent.payload.kind) is not intent.payload.kind:
            raise _broken(record, f"is no result of {intent.payload.kind}")


def _broken(record: JournalRecord, what: str) -> JournalCorrupt:
    return JournalCorrupt(
        f"record {record.journal_seq} of run {str(record.run_id)!r}, {record.payload.kind}, {what}: "
        "restore the journal from a copy"
    )


def _count(session: RecoveredSession, record: JournalRecord) -> None:
    payload = record.payload
    frame_id = str(payload.frame_id)
    returnable, session.returnable = session.returnable, None
    went = 0 if payload.extent is None else payload.extent.frames
    match payload.kind:
        case _Kind.INPUT_SEND_REQUESTED if frame_id in session.gated:
            session.gated.remove(frame_id)
        case _Kind.INPUT_SENT:
            session.sent += 1 if payload.extent is None else went
        case _Kind.INPUT_SEND_FAILED:
            session.sent += went
            if _is_in_doubt(payload):
                session.in_doubt += 1
            else:
                session.failed += 1
                session.returnable = frame_id
        case _Kind.BACKPRESSURE_APPLIED:
            if returnable == frame_id:
                # It certainly did not arrive, and waits at the head: its failure was not its end.
                session.failed -= 1
                session.gated.insert(0, frame_id)
            else:
                session.gated.append(frame_id)
        case _Kind.INPUT_DROPPED:
            if frame_id not in session.gated:
                raise _broken(record, "drops a frame that was not in the gate")
            session.gated.remove(frame_id)
            session.dropped += 1
        case _Kind.INPUT_REPLAYED | _Kind.INPUT_REPLAY_FAILED:
            session.replayed += went
        case _:
            pass


def _is_in_doubt(payload: RealtimeSessionRecord) -> bool:
    return payload.error is not None and payload.error.retry is RetryClassification.UNKNOWN_OUTCOME
