"""What records fold to, and which cannot be those of a run."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_async._core.cursors import StreamCursor
from realtime_async._core.identifiers import (
    AgentId,
    DestinationRef,
    EntityRef,
    RealtimeSessionId,
    RunId,
    SourceRef,
)
from realtime_async._core.lifecycle import SessionLife
from realtime_async._core.records import JournalRecord, RealtimeSessionRecordKind, RecordedError, RecordExtent
from realtime_async._core.recovery import RecoveredSession, RunFold, fold
from realtime_async._core.sidecar import RealtimeSessionSidecar
from realtime_async._core.tools import REMEMBERED_CALLS
from realtime_async.errors import AgentErrorKind, JournalCorrupt, RetryClassification

REFUSED = RecordedError(AgentErrorKind.PROVIDER_FAILURE, RetryClassification.NOT_RETRYABLE)
LOST = RecordedError(AgentErrorKind.PROVIDER_CONNECTION_LOST, RetryClassification.RETRYABLE)
CANCELLED = RecordedError(AgentErrorKind.CANCELLED, RetryClassification.RETRYABLE)
UNKNOWN = RecordedError(AgentErrorKind.PROVIDER_CONNECTION_LOST, RetryClassification.UNKNOWN_OUTCOME)


class Run:
    """Writes the records of a run by hand."""

    def __init__(self) -> None:
        self.records: list[JournalRecord] = []
        self._life = SessionLife(
            RealtimeSessionSidecar.voice_defaults("desk"), RealtimeSessionId("session-1")
        )

    def write(self, kind: str, *, of: int | None = None, seq: int | None = None, **fields: Any) -> int:
        """Write a record, the result of number *of* where given, and return its number."""
        number = len(self.records) + 1 if seq is None else seq
        if of is not None:
            fields["effect_intent_ref"] = f"record-{of}"
        payload = self._life.record(RealtimeSessionRecordKind(kind), fields)
        self.records.append(
            JournalRecord(
                journal_seq=number,
                record_id=f"record-{number}",
                run_id=RunId("run-1"),
                agent_id=AgentId("agent"),
                source=SourceRef("host", "test"),
                destination=DestinationRef("provider", "route"),
                subject_ref=EntityRef("realtime_session", "session-1"),
                event_kind=f"realtime_{kind}",
                timestamp_millis=0,
                runtime_package_fingerprint="test",
                payload=payload,
            )
        )
        return number

    def sent(self, frame_id: str) -> None:
        self.write("input_sent", of=self.write("input_send_requested", frame_id=frame_id), frame_id=frame_id)

    def session(self) -> RecoveredSession:
        return fold(self.records)["session-1"]


def extent(frames: int) -> RecordExtent:
    return RecordExtent(StreamCursor.chunk(1), StreamCursor.chunk(frames), frames)


def test_an_intent_is_open_until_its_result() -> None:
    run = Run()
    intent = run.write("connect_requested")
    assert list(run.session().open_intents) == ["record-1"]

    run.write("connected", of=intent)

    assert run.session().open_intents == {}


def test_a_frame_that_was_given_twice_leaves_the_gate_twice() -> None:
    run = Run()
    for frame_id in ("a", "b", "a"):
        run.write("backpressure_applied", frame_id=frame_id)

    run.sent("b")
    assert run.session().gated == ["a", "a"]
    run.sent("a")
    assert run.session().gated == ["a"]
    run.write("input_dropped", frame_id="a")

    assert run.session().gated == []
    run.write("input_dropped", frame_id="a")
    with pytest.raises(JournalCorrupt):
        run.session()


def test_a_crash_leaves_what_resume_closes_as_unknown() -> None:
    run = Run()
    intent = run.write("input_send_requested", frame_id="a")
    assert run.session().delivery().queued == 1

    run.write("outcome_unknown", of=intent)

    assert run.session().open_intents == {}


def test_frames_are_counted_by_how_they_ended() -> None:
    run = Run()
    run.sent("a")
    span = run.write("input_send_requested", extent=extent(50))
    run.write("input_sent", of=span, extent=extent(7))
    run.write("input_send_failed", of=run.write("input_send_requested"), frame_id="b", error=REFUSED)
    span = run.write("input_send_requested", extent=extent(50))
    run.write("input_send_failed", of=span, frame_id="c", extent=extent(3), error=UNKNOWN)
    run.write("input_replayed", of=run.write("input_replay_requested"), extent=extent(4))

    told = run.session().delivery()

    assert (told.sent, told.failed, told.in_doubt, told.replayed) == (11, 1, 1, 4)


def test_the_tool_calls_that_were_begun_last_are_known() -> None:
    run = Run()
    for number in range(REMEMBERED_CALLS + 2):
        run.write("tool_call_requested", content_refs=(f"realtime.tool_call.{number}",))

    known = list(run.session().calls)

    assert len(known) == REMEMBERED_CALLS
    assert (known[0], known[-1]) == ("realtime.tool_call.2", f"realtime.tool_call.{REMEMBERED_CALLS + 1}")


def test_a_frame_whose_drain_was_cancelled_has_not_failed() -> None:
    run = Run()
    run.write("backpressure_applied", frame_id="first")
    run.write("backpressure_applied", frame_id="late")
    drained = run.write("input_send_requested", frame_id="first")
    run.write("input_send_failed", of=drained, frame_id="first", error=CANCELLED)
    run.write("backpressure_applied", frame_id="first")

    session = run.session()

    assert session.gated == ["first", "late"]
    assert (session.failed, session.delivery().queued) == (0, 2)


def test_a_frame_that_came_back_to_the_head_of_the_gate_has_not_failed() -> None:
    run = Run()
    run.write("backpressure_applied", frame_id="late")
    run.write("input_send_failed", of=run.write("input_send_requested"), frame_id="first", error=LOST)
    run.write("backpressure_applied", frame_id="first")

    session = run.session()

    assert session.gated == ["first", "late"]
    assert (session.failed, session.delivery().queued) == (0, 2)


@pytest.mark.parametrize("error", [REFUSED, CANCELLED], ids=["refused", "cancelled"])
def test_a_frame_that_failed_and_was_given_again_waits_behind(error: RecordedError) -> None:
    run = Run()
    run.write("backpressure_applied", frame_id="early")
    run.write("input_send_failed", of=run.write("input_send_requested"), frame_id="again", error=error)
    run.write("backpressure_applied", frame_id="again")

    session = run.session()

    assert session.gated == ["early", "again"]
    assert (session.failed, session.delivery().queued) == (1, 2)


def test_a_frame_leaves_the_gate_to_be_sent_or_dropped() -> None:
    run = Run()
    run.write("backpressure_applied", frame_id="a")
    run.write("backpressure_applied", frame_id="b")
    run.sent("a")
    run.write("input_dropped", frame_id="b")

    session = run.session()

    assert session.gated == []
    assert (session.sent, session.dropped) == (1, 1)


def test_the_state_is_that_of_the_last_record() -> None:
    run = Run()
    run.write("connected", of=run.write("connect_requested"))

    session = run.session()

    assert session.state.lifecycle_status == "connected"
    assert session.terminal is None


def test_a_session_ends_with_its_terminal_record() -> None:
    run = Run()
    run.write("closed", of=run.write("close_requested"))

    assert run.session().terminal is run.records[-1]


def test_a_missing_record_is_corrupt() -> None:
    run = Run()
    run.write("connect_requested")
    run.write("connected", of=1, seq=3)

    with pytest.raises(JournalCorrupt, match="record 3 after 1"):
        run.session()


@pytest.mark.parametrize("kind", ["connected", "outcome_unknown"])
def test_a_result_without_its_intent_is_corrupt(kind: str) -> None:
    run = Run()
    run.write(kind, of=7)

    with pytest.raises(JournalCorrupt, match=f"record 1 .* {kind}, is the result of no open intent"):
        run.session()


def test_a_result_of_another_kind_of_intent_is_corrupt() -> None:
    run = Run()
    run.write("interrupted", of=run.write("connect_requested"))

    with pytest.raises(JournalCorrupt, match="is no result of connect_requested"):
        run.session()


def test_a_frame_dropped_that_never_waited_is_corrupt() -> None:
    run = Run()
    run.write("input_dropped", frame_id="a")

    with pytest.raises(JournalCorrupt, match="not in the gate"):
        run.session()


def test_a_record_after_the_terminal_one_is_corrupt() -> None:
    run = Run()
    run.write("closed", of=run.write("close_requested"))
    run.write("connect_requested")

    with pytest.raises(JournalCorrupt, match="follows the terminal record"):
        run.session()


def test_a_fold_does_not_grow_with_the_length_of_a_run() -> None:
    """It holds what is open, what waits, and the last tool calls; a record that is over leaves no trace."""
    written, run = Run(), RunFold()
    sizes = []
    for number in range(3000):
        written.sent(f"frame.{number}")
        written.write(
            "tool_call_failed", of=written.write("tool_call_requested", content_refs=(f"call.{number % 7}",))
        )
        for record in written.records[-4:]:
            run.add(record)
        session = run.sessions["session-1"]
        sizes.append(
            len(session.open_intents) + len(session.waiting) + len(session.calls) + len(session.settled)
        )

    assert max(sizes[:10]) == max(sizes) < 20


def test_of_very_many_tool_calls_the_last_are_known() -> None:
    written, run = Run(), RunFold()
    for number in range(REMEMBERED_CALLS + 3):
        intent = written.write("tool_call_requested", content_refs=(f"call.{number}",))
        written.write("tool_call_completed", of=intent)
    for record in written.records:
        run.add(record)

    calls = [*run.sessions["session-1"].calls]

    assert calls == [f"call.{number}" for number in range(3, REMEMBERED_CALLS + 3)]
