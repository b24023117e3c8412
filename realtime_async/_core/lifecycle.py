"""
The life of a session: which operation is legal when, where it leads, and what its records say.

Nothing here waits or calls anybody.
What must survive the process is in the records; whatever else this module
holds can be rebuilt from them (see `recovery`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs

from realtime_async._core.copying import copied
from realtime_async._core.cursors import CursorLabel, StreamCursor
from realtime_async._core.given import is_text
from realtime_async._core.identifiers import (
    PolicyRef,
    RealtimeConnectionId,
    RealtimeSessionId,
    safe_id_fragment,
)
from realtime_async._core.records import (
    RealtimeBackpressureAction,
    RealtimeBackpressureState,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RealtimeSessionStatus,
)
from realtime_async._core.sidecar import RealtimeSessionSidecar
from realtime_async.errors import ContractViolation, SessionStateError

__all__ = [
    "ALLOWED",
    "NEXT",
    "Happening",
    "Operation",
    "Phase",
    "RealtimeSessionState",
    "SessionLife",
    "Verdict",
    "next_step",
    "pending_connection_id",
    "policies_if_valid",
    "refusal",
    "route_if_valid",
]


class Phase(StrEnum):
    NEW = "new"
    CONNECTING = "connecting"
    OPEN = "open"
    LOST = "lost"
    RESTARTING = "restarting"
    RESTART_FAILED = "restart_failed"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"
    DETACHED = "detached"
    HANDED_OVER = "handed_over"


class Operation(StrEnum):
    CONNECT = "connect"
    SEND = "send"
    RECEIVE = "receive"
    INTERRUPT = "interrupt"
    BEGIN_RESTART = "begin_restart"
    COMPLETE_RESTART = "complete_restart"
    CLOSE = "close"
    HAND_OVER = "hand_over"


class Verdict(StrEnum):
    GO = "go"
    GATE = "gate"
    """The frame is kept for the next connection."""
    WAIT = "wait"
    """Until there is a connection again."""
    FENCE = "fence"
    """The answer is kept from the listener; there is no provider to tell."""
    SHARE = "share"
    """The result of the close under way."""
    NONE = "none"
    """The stream has ended."""
    REPEAT = "repeat"
    """The same terminal record again."""


# What each phase allows.  An operation missing from a row is an error there:
# after a terminal record nothing is appended and nobody is called.
_ENDED: Mapping[Operation, Verdict] = {Operation.RECEIVE: Verdict.NONE, Operation.CLOSE: Verdict.REPEAT}
ALLOWED: Mapping[Phase, Mapping[Operation, Verdict]] = {
    # There is nothing to hand over yet: another controller may connect it as well.
    # Closing what never connected is legal, so that a run can be completed without it.
    Phase.NEW: {Operation.CONNECT: Verdict.GO, Operation.CLOSE: Verdict.GO},
    Phase.CONNECTING: {Operation.CLOSE: Verdict.GO},
    Phase.OPEN: {
        Operation.SEND: Verdict.GO,
        Operation.RECEIVE: Verdict.GO,
        Operation.INTERRUPT: Verdict.GO,
        Operation.BEGIN_RESTART: Verdict.GO,
        Operation.CLOSE: Verdict.GO,
        Operation.HAND_OVER: Verdict.GO,
    },
    Phase.LOST: {
        Operation.SEND: Verdict.GATE,
        Operation.RECEIVE: Verdict.WAIT,
        Operation.INTERRUPT: Verdict.FENCE,
        Operation.BEGIN_RESTART: Verdict.GO,
        Operation.CLOSE: Verdict.GO,
        Operation.HAND_OVER: Verdict.GO,
    },
    # Frames sent now must not meet the old connection, nor be lost.
    Phase.RESTARTING: {
        Operation.SEND: Verdict.GATE,
        Operation.RECEIVE: Verdict.WAIT,
        Operation.INTERRUPT: Verdict.FENCE,
        Operation.COMPLETE_RESTART: Verdict.GO,
        Operation.CLOSE: Verdict.GO,
        Operation.HAND_OVER: Verdict.GO,
    },
    Phase.RESTART_FAILED: {
        Operation.SEND: Verdict.GATE,
        Operation.RECEIVE: Verdict.WAIT,
        Operation.INTERRUPT: Verdict.FENCE,
        Operation.BEGIN_RESTART: Verdict.GO,
        Operation.COMPLETE_RESTART: Verdict.GO,
        Operation.CLOSE: Verdict.GO,
        Operation.HAND_OVER: Verdict.GO,
    },
    Phase.CLOSING: {Operation.RECEIVE: Verdict.NONE, Operation.CLOSE: Verdict.SHARE},
    Phase.CLOSED: _ENDED,
    Phase.FAILED: _ENDED,
    Phase.DETACHED: _ENDED,
    # The session lives, but not here.
    Phase.HANDED_OVER: _ENDED,
}

TERMINAL_PHASES = frozenset({Phase.CLOSED, Phase.FAILED, Phase.DETACHED, Phase.HANDED_OVER})

_ANOTHER_SESSION = "open another session for what is still to be said"
_NEXT_STEP: Mapping[Phase, str] = {
    Phase.NEW: "await connect() first",
    Phase.CONNECTING: "wait until connect() has returned",
    Phase.OPEN: "it has a connection; call begin_restart() first to replace it",
    Phase.LOST: "await restart() first",
    Phase.RESTARTING: "await complete_restart() first",
    Phase.RESTART_FAILED: "await restart() or complete_restart() first",
    Phase.CLOSING: _ANOTHER_SESSION,
    Phase.CLOSED: _ANOTHER_SESSION,
    Phase.FAILED: _ANOTHER_SESSION,
    Phase.DETACHED: _ANOTHER_SESSION,
    Phase.HANDED_OVER: "resume it, here or elsewhere, and use what that returns",
}


def next_step(phase: Phase) -> str:
    """What a caller can do whom *phase* keeps from going on."""
    return _NEXT_STEP[phase]


def refusal(operation: str, phase: Phase, session_id: str) -> SessionStateError:
    """The error of an operation that *phase* does not allow."""
    return SessionStateError(
        f"{operation} is not possible while session {str(session_id)!r} is {phase}: {next_step(phase)}"
    )


class Happening(StrEnum):
    """What moves a session from phase to phase."""

    CONNECT_BEGUN = "connect_begun"
    CONNECT_FAILED = "connect_failed"
    CONNECTED = "connected"
    CONNECTION_LOST = "connection_lost"
    RESTART_BEGUN = "restart_begun"
    RESTARTED = "restarted"
    RESTART_FAILED = "restart_failed"
    CLOSE_BEGUN = "close_begun"
    CLOSED = "closed"
    CLOSE_FAILED = "close_failed"
    DETACHED = "detached"
    HANDED_OVER = "handed_over"
    JOURNAL_FAILED = "journal_failed"


_LIVE = (
    Phase.NEW,
    Phase.CONNECTING,
    Phase.OPEN,
    Phase.LOST,
    Phase.RESTARTING,
    Phase.RESTART_FAILED,
)

NEXT: Mapping[tuple[Phase, Happening], Phase] = {
    (Phase.NEW, Happening.CONNECT_BEGUN): Phase.CONNECTING,
    (Phase.CONNECTING, Happening.CONNECT_FAILED): Phase.NEW,
    (Phase.CONNECTING, Happening.CONNECTED): Phase.OPEN,
    (Phase.OPEN, Happening.CONNECTION_LOST): Phase.LOST,
    (Phase.OPEN, Happening.RESTART_BEGUN): Phase.RESTARTING,
    (Phase.LOST, Happening.RESTART_BEGUN): Phase.RESTARTING,
    (Phase.RESTART_FAILED, Happening.RESTART_BEGUN): Phase.RESTARTING,
    (Phase.RESTARTING, Happening.RESTARTED): Phase.OPEN,
    (Phase.RESTARTING, Happening.RESTART_FAILED): Phase.RESTART_FAILED,
    **{(phase, Happening.CLOSE_BEGUN): Phase.CLOSING for phase in _LIVE},
    (Phase.CLOSING, Happening.CLOSED): Phase.CLOSED,
    (Phase.CLOSING, Happening.CLOSE_FAILED): Phase.FAILED,
    (Phase.CLOSING, Happening.DETACHED): Phase.DETACHED,
    (Phase.CLOSING, Happening.HANDED_OVER): Phase.HANDED_OVER,
    # A terminal record that was not written ends nothing; the failure does.
    **{(phase, Happening.JOURNAL_FAILED): Phase.FAILED for phase in Phase},
}
"""
Where a happening leads.

A pair that is missing changes nothing: a connection lost twice, or in the midst of its own
replacement, is lost once.
"""

_Kind = RealtimeSessionRecordKind
_Status = RealtimeSessionStatus

# The status that a record leaves behind.  A kind that is missing keeps the last one.
STATUS_AFTER: Mapping[RealtimeSessionRecordKind, RealtimeSessionStatus] = {
    _Kind.CONNECT_REQUESTED: _Status.CONNECTING,
    _Kind.CONNECTED: _Status.CONNECTED,
    _Kind.CONNECT_FAILED: _Status.FAILED,
    _Kind.INPUT_SENT: _Status.INPUT_SENT,
    _Kind.INPUT_REPLAYED: _Status.INPUT_SENT,
    _Kind.OUTPUT_RECEIVED: _Status.OUTPUT_RECEIVED,
    _Kind.INTERRUPTED: _Status.INTERRUPTED,
    _Kind.OUTPUT_FENCED: _Status.INTERRUPTED,
    _Kind.RESTART_REQUESTED: _Status.RESTART_REQUESTED,
    _Kind.RESTART_STARTED: _Status.RESTART_STARTED,
    _Kind.RESTART_COMPLETED: _Status.RESTART_COMPLETED,
    _Kind.RESTART_FAILED: _Status.RESTART_FAILED,
    _Kind.BACKPRESSURE_APPLIED: _Status.BACKPRESSURE_APPLIED,
    _Kind.CLOSE_FAILED: _Status.FAILED,
    _Kind.CLOSED: _Status.CLOSED,
    _Kind.HANDED_OVER: _Status.DETACHED,
    _Kind.HAND_OVER_FAILED: _Status.FAILED,
}


@attrs.frozen
class RealtimeSessionState:
    """Where a session stands."""

    session_id: RealtimeSessionId
    connection_id: RealtimeConnectionId
    provider_route_ref: str
    send_cursor: StreamCursor
    receive_cursor: StreamCursor
    restart_count: int
    backpressure_state: RealtimeBackpressureState
    lifecycle_status: RealtimeSessionStatus
    policy_refs: tuple[PolicyRef, ...]


def pending_connection_id(session_id: str) -> RealtimeConnectionId:
    """The connection id that records bear before there is a connection."""
    return RealtimeConnectionId(f"realtime.connection.pending.{safe_id_fragment(session_id)}")


def policies_if_valid(sidecar: RealtimeSessionSidecar) -> tuple[PolicyRef, ...]:
    """The sidecar's policies; none where one is not valid, of which `connect` complains."""
    try:
        return sidecar.policy_refs()
    except ContractViolation:
        return ()


def route_if_valid(sidecar: RealtimeSessionSidecar) -> str:
    """The sidecar's route; empty where it is none, of which `connect` complains."""
    return sidecar.provider_route_ref if is_text(sidecar.provider_route_ref) else ""


def _capacity_if_valid(sidecar: RealtimeSessionSidecar) -> int:
    """A session that never connects can be closed, and that is recorded whatever its sidecar says."""
    capacity = sidecar.queue_capacity
    return capacity if type(capacity) is int and 0 < capacity < _LARGEST_CAPACITY else 0


# What every reader of JSON keeps.
_LARGEST_CAPACITY = 2**53


class SessionLife:
    """The session as it stands: mutable inside, frozen in what it gives away."""

    def __init__(self, sidecar: RealtimeSessionSidecar, session_id: RealtimeSessionId) -> None:
        self.phase = Phase.NEW
        self.session_id = session_id
        self.connection_id = pending_connection_id(session_id)
        self.status = RealtimeSessionStatus.CONNECTING
        self.send_cursor = StreamCursor()
        self.receive_cursor = StreamCursor.chunk(0, CursorLabel.RECEIVE)
        self.restart_count = 0
        self.route = route_if_valid(sidecar)
        self.policy_refs = policies_if_valid(sidecar)
        backpressure_ref = sidecar.backpressure_policy_ref if self.policy_refs else None
        self.backpressure = RealtimeBackpressureState(
            _capacity_if_valid(sidecar),
            policy_ref=None if backpressure_ref is None else PolicyRef(backpressure_ref),
        )
        self.blank = RealtimeSessionRecord(
            kind=RealtimeSessionRecordKind.CONNECT_REQUESTED,
            status=self.status,
            session_id=session_id,
            connection_id=self.connection_id,
            provider_route_ref=self.route,
            backpressure_state=self.backpressure,
            policy_refs=self.policy_refs,
        )
        """What its records are copies of."""

    def recover(self, state: RealtimeSessionState) -> None:
        """Stand where an earlier process left the session; the configuration stays this one's."""
        self.connection_id = state.connection_id
        self.status = state.lifecycle_status
        self.send_cursor = state.send_cursor
        self.receive_cursor = state.receive_cursor
        self.restart_count = state.restart_count
        held = state.backpressure_state
        self.backpressure = attrs.evolve(
            self.backpressure,
            queued_frames=held.queued_frames,
            dropped_frames=held.dropped_frames,
            gated_frames=held.gated_frames,
            last_action=held.last_action,
        )

    def verdict(self, operation: Operation) -> Verdict | None:
        """What the phase says to *operation*; None: it is an error."""
        return ALLOWED[self.phase].get(operation)

    def demand(self, operation: Operation) -> Verdict:
        """
        What the phase says to *operation*.

        Raises:
            SessionStateError: The phase does not allow it.
        """
        verdict = ALLOWED[self.phase].get(operation)
        if verdict is None:
            raise refusal(operation, self.phase, self.session_id)
        return verdict

    def happen(self, happening: Happening) -> None:
        self.phase = NEXT.get((self.phase, happening), self.phase)
        if happening is Happening.JOURNAL_FAILED:
            # The one thing that happens and is in no record.
            self.status = RealtimeSessionStatus.FAILED

    @property
    def ended(self) -> bool:
        return self.phase in TERMINAL_PHASES

    def next_send(self) -> StreamCursor:
        """The number that the next frame takes, if it is sent or left in doubt."""
        return StreamCursor(self.send_cursor.chunk_sequence + 1)

    def next_receive(self) -> StreamCursor:
        return StreamCursor(self.receive_cursor.chunk_sequence + 1, label=CursorLabel.RECEIVE)

    def gated(self, action: RealtimeBackpressureAction) -> None:
        """A frame went into the gate."""
        held = self.backpressure
        self.backpressure = attrs.evolve(
            held, queued_frames=held.queued_frames + 1, gated_frames=held.gated_frames + 1, last_action=action
        )

    def not_gated(self) -> None:
        """A frame did not go into the gate, as that could not be recorded."""
        held = self.backpressure
        self.backpressure = attrs.evolve(
            held, queued_frames=held.queued_frames - 1, gated_frames=held.gated_frames - 1
        )

    def ungated(self) -> None:
        """A frame left the gate for the provider."""
        held = self.backpressure
        self.backpressure = attrs.evolve(held, queued_frames=held.queued_frames - 1)

    def dropped(self, *, is_out: bool = False) -> None:
        """A frame left the gate for good; *is_out*, it had left it for the provider."""
        held = self.backpressure
        self.backpressure = attrs.evolve(
            held,
            queued_frames=held.queued_frames - (not is_out),
            dropped_frames=held.dropped_frames + 1,
        )

    def record(self, kind: RealtimeSessionRecordKind, fields: Mapping[str, Any]) -> RealtimeSessionRecord:
        """The record of a step that has just been taken; *fields* are those of this step alone."""
        status = STATUS_AFTER.get(kind, self.status)
        if status is RealtimeSessionStatus.CLOSED and self.phase is Phase.DETACHED:
            status = RealtimeSessionStatus.DETACHED
        self.status = status
        changed: dict[str, Any] = {
            "kind": kind,
            "status": status,
            "connection_id": self.connection_id,
            "send_cursor": self.send_cursor,
            "receive_cursor": self.receive_cursor,
            "restart_count": self.restart_count,
            "backpressure_state": self.backpressure,
        }
        return copied(self.blank, {**changed, **fields})

    def state(self) -> RealtimeSessionState:
        return RealtimeSessionState(
            session_id=self.session_id,
            connection_id=self.connection_id,
            provider_route_ref=self.route,
            send_cursor=self.send_cursor,
            receive_cursor=self.receive_cursor,
            restart_count=self.restart_count,
            backpressure_state=self.backpressure,
            lifecycle_status=self.status,
            policy_refs=self.policy_refs,
        )
