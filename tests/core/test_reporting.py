"""What a report makes of single records, also of such as no session of this release would write."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from realtime_async._core.tallies import ERRORS_REMEMBERED, REMEMBERED
from realtime_async.errors import AgentErrorKind, RetryClassification
from realtime_async.ports import (
    EffectId,
    JournalRecord,
    RealtimeFrameId,
    RealtimeSessionRecordKind,
    RecordedError,
    RecordExtent,
    StreamCursor,
)
from realtime_async.reports import ReportFold, SessionReport, report_of
from realtime_async.testing.journal_contract import record

__all__: list[str] = []

Kind = RealtimeSessionRecordKind
LOST = RecordedError(AgentErrorKind.PROVIDER_CONNECTION_LOST, RetryClassification.UNKNOWN_OUTCOME)


class Run:
    """Records, one after the other."""

    def __init__(self) -> None:
        self.records: list[JournalRecord] = []

    def add(self, kind: Kind, of: JournalRecord | None = None, **fields: Any) -> JournalRecord:
        blank = record("run.a", len(self.records) + 1, kind=kind)
        if of is not None:
            fields["effect_intent_ref"] = EffectId(of.record_id)
        made = attrs.evolve(blank, payload=attrs.evolve(blank.payload, **fields))
        self.records.append(made)
        return made

    def sends(self, number: int, result: Kind = Kind.INPUT_SENT, **fields: Any) -> None:
        intent = self.add(Kind.INPUT_SEND_REQUESTED, frame_id=RealtimeFrameId(f"frame.{number}"))
        self.add(
            result,
            intent,
            frame_id=RealtimeFrameId(f"frame.{number}"),
            send_cursor=StreamCursor.chunk(number),
            **fields,
        )

    def report(self) -> SessionReport:
        (session,) = report_of(self.records).sessions
        return session


def extent(first: int, last: int, frames: int | None = None) -> RecordExtent:
    return RecordExtent(
        StreamCursor.chunk(first), StreamCursor.chunk(last), last - first + 1 if frames is None else frames
    )


def test_of_tool_calls_that_a_dead_process_had_begun_the_outcome_is_unknown() -> None:
    run = Run()
    run.add(Kind.TOOL_CALL_FAILED, run.add(Kind.TOOL_CALL_REQUESTED), error=LOST)
    run.add(Kind.TOOL_CALL_COMPLETED, run.add(Kind.TOOL_CALL_REQUESTED))
    run.add(Kind.OUTCOME_UNKNOWN, run.add(Kind.TOOL_CALL_REQUESTED))
    # Of another effect.
    run.add(Kind.OUTCOME_UNKNOWN, run.add(Kind.INTERRUPT_REQUESTED))

    report = run.report()

    assert (report.tool_calls, report.tool_calls_failed, report.tool_calls_unknown) == (3, 1, 1)


def test_ranges_are_told_up_to_a_bound_and_counted_beyond_it() -> None:
    run = Run()
    for number in range(1, 2 * REMEMBERED + 5, 2):
        run.sends(number, Kind.INPUT_SEND_FAILED, error=LOST)

    told = run.report().in_doubt

    assert (told.frames, len(told.ranges)) == (REMEMBERED + 2, REMEMBERED)


def test_restarts_and_their_errors_are_told_up_to_a_bound() -> None:
    run = Run()
    for _ in range(REMEMBERED + 3):
        run.add(Kind.RESTART_REQUESTED)
    for _ in range(ERRORS_REMEMBERED + 3):
        run.add(Kind.RESTART_FAILED, run.add(Kind.RESTART_STARTED), error=LOST)

    session = run.report()

    assert (session.restart_count, len(session.restarts)) == (REMEMBERED + 3, REMEMBERED)


def test_the_errors_of_a_restart_are_told_up_to_a_bound() -> None:
    run = Run()
    run.add(Kind.RESTART_REQUESTED)
    for _ in range(ERRORS_REMEMBERED + 3):
        run.add(Kind.RESTART_FAILED, run.add(Kind.RESTART_STARTED), error=LOST)

    (told,) = run.report().restarts

    assert (told.attempts, len(told.errors), told.outage_s) == (
        ERRORS_REMEMBERED + 3,
        ERRORS_REMEMBERED,
        None,
    )


def test_resumptions_are_told_up_to_a_bound() -> None:
    run = Run()
    for _ in range(REMEMBERED + 3):
        run.add(Kind.SESSION_RECOVERED)

    told = run.report().resumptions

    assert len(told) == REMEMBERED
    assert told[1].silent_s == 0.001


def test_a_replay_that_left_frames_out_takes_none_out_of_doubt() -> None:
    run = Run()
    run.sends(1)
    run.sends(2, Kind.INPUT_SEND_FAILED, error=LOST)
    run.sends(3)
    run.add(Kind.INPUT_REPLAYED, run.add(Kind.INPUT_REPLAY_REQUESTED), extent=extent(1, 3, 2))
    run.add(Kind.INPUT_REPLAYED, run.add(Kind.INPUT_REPLAY_REQUESTED), extent=RecordExtent())
    run.add(Kind.INPUT_REPLAYED, run.add(Kind.INPUT_REPLAY_REQUESTED))

    session = run.report()

    assert session.twice.frames == 2
    assert session.in_doubt_still.ranges == ((2, 2),)


def test_what_is_said_again_leaves_the_rest_in_doubt() -> None:
    run = Run()
    for number in (1, 2, 3, 4, 5):
        run.sends(number, Kind.INPUT_SEND_FAILED, error=LOST)
    for number in (2, 4, 5):
        run.add(Kind.INPUT_REPLAYED, run.add(Kind.INPUT_REPLAY_REQUESTED), extent=extent(number, number))

    session = run.report()

    assert session.in_doubt.ranges == ((1, 5),)
    assert (session.in_doubt_still.frames, session.in_doubt_still.ranges) == (2, ((1, 1), (3, 3)))


def test_what_a_dead_process_may_have_sent_is_in_doubt() -> None:
    run = Run()
    alone = run.add(Kind.INPUT_SEND_REQUESTED)
    span = run.add(Kind.INPUT_SEND_REQUESTED, extent=extent(2, 4))
    receive = run.add(Kind.OUTPUT_RECEIVE_REQUESTED)
    run.add(Kind.OUTCOME_UNKNOWN, alone, send_cursor=StreamCursor.chunk(1))
    run.add(Kind.OUTCOME_UNKNOWN, span, send_cursor=StreamCursor.chunk(4), extent=extent(2, 4))
    run.add(Kind.OUTCOME_UNKNOWN, receive, send_cursor=StreamCursor.chunk(4))

    told = run.report().in_doubt

    assert (told.frames, told.ranges) == (4, ((1, 4),))


def test_a_failed_span_tells_what_had_gone() -> None:
    run = Run()
    run.sends(4, Kind.INPUT_SEND_FAILED, error=LOST, extent=extent(1, 3))
    run.sends(5, Kind.INPUT_SEND_FAILED, extent=RecordExtent())

    session = run.report()

    assert [each.frames for each in session.carried] == [3]
    assert (session.in_doubt.frames, session.failed) == (1, 1)


def test_discarded_output_is_counted() -> None:
    run = Run()
    run.add(Kind.OUTPUT_DISCARDED, extent=extent(1, 3))
    run.add(Kind.OUTPUT_DISCARDED)
    run.add(Kind.OUTPUT_RECEIVED, run.add(Kind.OUTPUT_RECEIVE_REQUESTED), extent=RecordExtent())

    session = run.report()

    assert session.discarded == 3
    assert [each.frames for each in session.carried] == [0]


def test_a_frame_dropped_while_no_restart_came_of_it_belongs_to_none() -> None:
    """A restart that was cancelled before its request had closed the gate; then frames went again."""
    run = Run()
    run.add(Kind.BACKPRESSURE_APPLIED, frame_id=RealtimeFrameId("frame.9"))
    run.add(Kind.INPUT_DROPPED, frame_id=RealtimeFrameId("frame.9"))
    run.sends(1)
    run.add(Kind.RESTART_REQUESTED)

    session = run.report()

    assert (session.dropped, session.restarts[0].dropped) == (1, 0)


@pytest.mark.parametrize("first", [Kind.INPUT_REPLAY_REQUESTED, Kind.INPUT_SEND_REQUESTED])
def test_a_frame_dropped_after_it_was_gated_during_the_drain_belongs_to_that_restart(first: Kind) -> None:
    ends = {Kind.INPUT_REPLAY_REQUESTED: Kind.INPUT_REPLAYED, Kind.INPUT_SEND_REQUESTED: Kind.INPUT_SENT}
    run = Run()
    run.add(Kind.RESTART_REQUESTED)
    started = run.add(Kind.RESTART_STARTED)
    if first is Kind.INPUT_SEND_REQUESTED:
        run.add(Kind.BACKPRESSURE_APPLIED, frame_id=RealtimeFrameId("frame.8"))
    run.add(Kind.RESTART_COMPLETED, started)
    intent = run.add(first, frame_id=RealtimeFrameId("frame.8"))
    run.add(Kind.BACKPRESSURE_APPLIED, frame_id=RealtimeFrameId("frame.9"))
    run.add(ends[first], intent, frame_id=RealtimeFrameId("frame.8"))
    run.add(Kind.INPUT_DROPPED, frame_id=RealtimeFrameId("frame.9"))
    run.add(Kind.RESTART_REQUESTED)

    session = run.report()

    assert [told.dropped for told in session.restarts] == [1, 0]


def test_a_frame_dropped_after_the_gate_was_empty_belongs_to_no_restart() -> None:
    run = Run()
    run.add(Kind.RESTART_REQUESTED)
    run.add(Kind.RESTART_FAILED, run.add(Kind.RESTART_STARTED))
    run.add(Kind.RESTART_COMPLETED, run.add(Kind.RESTART_STARTED))
    run.add(Kind.BACKPRESSURE_APPLIED, frame_id=RealtimeFrameId("frame.9"))
    run.add(Kind.INPUT_DROPPED, frame_id=RealtimeFrameId("frame.9"))

    session = run.report()

    assert (session.dropped, session.restarts[0].dropped) == (1, 0)


def test_the_report_of_a_long_run_needs_no_more_memory_than_that_of_a_short_one() -> None:
    fold = ReportFold()
    sizes = []
    for seq in range(1, 6001, 2):
        intent = record("run.a", seq)
        result = record("run.a", seq + 1, kind=Kind.INPUT_SENT)
        fold.add(intent)
        fold.add(
            attrs.evolve(
                result,
                payload=attrs.evolve(result.payload, effect_intent_ref=EffectId(intent.record_id)),
            )
        )
        tally = fold._tallies["session.run.a"]
        sizes.append(len(tally.gated_at) + len(tally.drained) + len(tally.in_doubt.ranges) + len(tally.again))

    assert set(sizes) == {0}
    assert fold.report().records == 6000
