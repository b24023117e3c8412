"""The table of phases, where happenings lead, and the records that a life writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.identifiers import RealtimeSessionId
from realtime_async._core.lifecycle import (
    ALLOWED,
    NEXT,
    TERMINAL_PHASES,
    Happening,
    Operation,
    Phase,
    SessionLife,
    Verdict,
    pending_connection_id,
    refusal,
)
from realtime_async._core.records import (
    RealtimeBackpressureAction,
    RealtimeSessionRecordKind,
    RealtimeSessionStatus,
)
from realtime_async._core.sidecar import RealtimeSessionSidecar
from realtime_async.errors import SessionStateError

SIDECAR = RealtimeSessionSidecar.voice_defaults("desk", queue_capacity=3)


def life(sidecar: RealtimeSessionSidecar = SIDECAR) -> SessionLife:
    return SessionLife(sidecar, RealtimeSessionId("session-1"))


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("phase", list(Phase))
def test_every_pair_that_the_table_leaves_out_is_an_error(phase: Phase, operation: Operation) -> None:
    session = life()
    session.phase = phase
    verdict = ALLOWED[phase].get(operation)

    assert session.verdict(operation) is verdict
    if verdict is None:
        with pytest.raises(SessionStateError, match=f"{operation} is not possible while .* is {phase}"):
            session.demand(operation)
    else:
        assert session.demand(operation) is verdict


@pytest.mark.parametrize("phase", sorted(TERMINAL_PHASES))
def test_nothing_can_follow_a_terminal_record(phase: Phase) -> None:
    assert ALLOWED[phase] == {Operation.RECEIVE: Verdict.NONE, Operation.CLOSE: Verdict.REPEAT}
    assert {happening for at, happening in NEXT if at is phase} == {Happening.JOURNAL_FAILED}


@pytest.mark.parametrize("phase", list(Phase))
def test_a_refusal_says_what_to_do_next(phase: Phase) -> None:
    message = refusal(Operation.SEND, phase, "s-1").message

    assert "'s-1'" in message
    assert len(message.split(": ", 1)[1]) > 10


@given(st.lists(st.sampled_from(list(Happening))))
def test_whatever_happens_a_session_is_in_some_phase_and_stays_ended(happenings: list[Happening]) -> None:
    session = life()
    for happening in happenings:
        ended = session.ended
        session.happen(happening)
        assert session.phase in Phase
        assert not ended or session.ended


def test_a_connection_lost_in_the_midst_of_its_replacement_changes_nothing() -> None:
    session = life()
    for happening in (Happening.CONNECT_BEGUN, Happening.CONNECTED, Happening.RESTART_BEGUN):
        session.happen(happening)

    session.happen(Happening.CONNECTION_LOST)

    assert session.phase is Phase.RESTARTING


def test_the_gate_is_counted_as_frames_come_and_go() -> None:
    session = life()
    session.gated(RealtimeBackpressureAction.GATE)
    session.gated(RealtimeBackpressureAction.BLOCK)
    session.gated(RealtimeBackpressureAction.DROP_NONCRITICAL)
    session.ungated()
    session.dropped()

    held = session.state().backpressure_state

    assert (held.capacity, held.queued_frames, held.gated_frames, held.dropped_frames) == (3, 1, 3, 1)
    assert held.last_action is RealtimeBackpressureAction.DROP_NONCRITICAL
    assert held.policy_ref == "policy.desk.backpressure"


def test_a_record_bears_the_state_that_the_session_then_has() -> None:
    session = life()
    session.send_cursor = session.next_send()
    session.receive_cursor = session.next_receive()

    record = session.record(RealtimeSessionRecordKind.INPUT_SENT, {})

    state = session.state()
    assert record.status is state.lifecycle_status is RealtimeSessionStatus.INPUT_SENT
    assert (record.send_cursor, record.receive_cursor) == (state.send_cursor, state.receive_cursor)
    assert record.send_cursor.chunk_sequence == 1
    assert record.policy_refs == state.policy_refs == SIDECAR.policy_refs()


def test_a_record_that_is_only_an_intent_keeps_the_status() -> None:
    session = life()

    record = session.record(RealtimeSessionRecordKind.INPUT_SEND_REQUESTED, {})

    assert record.status is RealtimeSessionStatus.CONNECTING


def test_a_session_that_the_host_keeps_ends_detached() -> None:
    session = life()
    session.happen(Happening.CLOSE_BEGUN)
    session.happen(Happening.DETACHED)

    assert session.record(RealtimeSessionRecordKind.CLOSED, {}).status is RealtimeSessionStatus.DETACHED


def test_before_there_is_a_connection_its_id_says_so() -> None:
    assert (
        life().connection_id == pending_connection_id("session-1") == "realtime.connection.pending.session-1"
    )


def test_a_sidecar_with_a_bad_policy_waits_for_connect_to_complain() -> None:
    bad = RealtimeSessionSidecar("desk", "route", "voice", send_policy_ref="not an id")

    assert life(bad).policy_refs == ()


def test_a_sidecar_without_a_backpressure_policy_names_none() -> None:
    bare = RealtimeSessionSidecar("desk", "route", "voice", send_policy_ref="policy.send")

    assert life(bare).backpressure.policy_ref is None
