"""What is told of a run from its records, held to what its controller and its adapter know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import anyio
import attrs
import pytest
from hypothesis import given, settings

from realtime_async import (
    AudioFormat,
    CursorRange,
    MediaSpan,
    RealtimeOverflowPolicy,
    RestartPolicy,
    RestartReport,
)
from realtime_async.adapters.scripted import Delay, Drop, FrameFate, Refuse, Script, ScriptedAdapter
from realtime_async.errors import ContractViolation, JournalCorrupt, ProviderConnectionLost, RestartExhausted
from realtime_async.ports import EffectId, JournalRecord, RealtimeRestartReason, StreamCursor
from realtime_async.reports import RunCheck, SessionReport, report_of
from realtime_async.testing.clock import BACKENDS, run_virtual
from tests.controller.any_order import PLANS, CrashAndResume, Plan, play
from tests.controller.begun import begin
from tests.controller.staged import FRAME, Stage, StagedSession, audio, plain_sidecar, text
from tests.oracle.evidence import calls_of

pytestmark = pytest.mark.virtual_time


def the_session(records: Sequence[JournalRecord]) -> SessionReport:
    (session,) = report_of(records).sessions
    return session


def numbers(ranges: Sequence[CursorRange]) -> list[int]:
    return [number for each in ranges for number in range(each.first, each.last + 1)]


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60)
@given(plan=PLANS)
def test_a_report_adds_up_to_what_the_session_knew(backend: str, plan: Plan) -> None:
    run_virtual(reported, plan, backend=backend)


async def reported(plan: Plan) -> None:
    staged = await play(plan)
    records = await staged.records()
    check = RunCheck()
    for record in records:
        check.add(record)
    session = the_session(records)
    delivery = staged.controller.delivery

    assert list(check.open_intents()) == []
    assert session.open_intents == ()
    assert (session.failed, session.dropped) == (delivery.failed, delivery.dropped)
    assert session.in_doubt.frames == delivery.in_doubt
    assert session.twice.frames == delivery.replayed
    assert session.delivery.sent == delivery.sent
    died = any(isinstance(each, CrashAndResume) for each in plan.steps)
    carried = sum(each.frames for each in session.carried if each.direction == "input_to_provider")
    # What a later record proves of a span whose process died, no record counts by its kind.
    assert carried <= delivery.sent if died else carried == delivery.sent
    assert_as_the_adapter_saw_it(session, staged, died=died)
    assert_as_the_records_say(session, records)


def assert_as_the_adapter_saw_it(session: SessionReport, staged: StagedSession, *, died: bool) -> None:
    """Each number was given to a frame that the adapter took, or is in doubt."""
    taken: dict[int, str] = {}
    for call in calls_of(staged.adapter.log):
        if call.operation == "send" and call.outcome == "returned" and call.cursor is not None:
            taken.setdefault(call.cursor, str(call.frame_id))
    last = staged.controller.state.send_cursor.chunk_sequence
    replayed = set(numbers(session.twice.ranges))
    in_doubt = numbers(session.in_doubt.ranges)

    assert len(set(in_doubt)) == len(in_doubt) == session.in_doubt.frames
    assert set(in_doubt) <= set(range(1, last + 1))
    assert set(range(1, last + 1)) - set(taken) <= set(in_doubt)
    if not died:
        # What was in doubt may have been taken by a later connection.
        assert set(in_doubt) & set(taken) <= replayed
    assert set(numbers(session.in_doubt_still.ranges)) >= set(in_doubt) - replayed


def assert_as_the_records_say(session: SessionReport, records: Sequence[JournalRecord]) -> None:
    payloads = [record.payload for record in records]
    gated = {one.frame_id for one in payloads if one.kind == "backpressure_applied"}
    alone = [one for one in payloads if one.kind == "input_sent" and one.frame_id in gated]
    kinds = [str(one.kind) for one in payloads]

    assert session.late.frames == len(alone)
    assert numbers(session.late.ranges) == [one.send_cursor.chunk_sequence for one in alone]
    assert session.restart_count == len(session.restarts) == kinds.count("restart_requested")
    assert sum(each.attempts for each in session.restarts) == kinds.count("restart_started")
    assert sum(each.completed_millis is not None for each in session.restarts) <= kinds.count(
        "restart_completed"
    )
    assert session.interruptions == kinds.count("interrupt_requested")
    assert len(session.resumptions) == kinds.count("session_recovered")


@pytest.mark.parametrize("span", [None, MediaSpan(3, 1.0)], ids=["alone", "spans"])
@pytest.mark.parametrize("kept", [0, 2, None])
async def test_a_restart_is_told_as_its_own_report_told_it(
    stage: Stage, span: MediaSpan | None, kept: int | None
) -> None:
    cursor = None if kept is None else StreamCursor.chunk(kept)
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[cursor])),
        sidecar=plain_sidecar(
            span=span, queue_capacity=3, overflow_policy=RealtimeOverflowPolicy.DROP_NONCRITICAL
        ),
    )
    for _ in range(4):
        await staged.controller.send(audio())
    staged.provider.inject("send", Drop(FrameFate.VANISHED))
    with pytest.raises(ProviderConnectionLost):
        await staged.controller.send(audio())
    await staged.controller.begin_restart(RealtimeRestartReason.CONNECTION_LOST)
    for _ in range(5):
        await staged.controller.send(audio())
    await staged.controller.complete_restart()
    delivery = staged.controller.delivery
    await staged.controller.close()

    session = the_session(await staged.records())
    (told,) = session.restarts

    assert (told.reason, told.attempts, told.dropped, told.late) == ("connection_lost", 1, 2, 3)
    assert told.replayed == delivery.replayed == (0 if kept is None else 5 - kept)
    assert numbers(session.late.ranges) == [6, 7, 8]
    assert numbers(session.in_doubt.ranges) == [5]
    assert session.in_doubt_still.frames == (1 if kept is None else 0)
    assert told.outage_s is not None


@pytest.mark.parametrize("early, late", [(5, 0), (3, 2), (0, 5)])
async def test_what_is_dropped_before_a_restart_is_begun_belongs_to_its_outage(
    stage: Stage, early: int, late: int
) -> None:
    """The outage lasts from the loss, so its report tells what was dropped from there on, and nothing of others."""
    staged = await stage.connected(
        sidecar=plain_sidecar(queue_capacity=2, overflow_policy=RealtimeOverflowPolicy.DROP_NONCRITICAL),
    )
    reports = []
    for _ in range(2):
        staged.provider.inject("send", Drop(FrameFate.VANISHED))
        with pytest.raises(ProviderConnectionLost):
            await staged.controller.send(audio())
        for _ in range(early):
            await staged.controller.send(audio())
        await staged.controller.begin_restart(RealtimeRestartReason.CONNECTION_LOST)
        for _ in range(late):
            await staged.controller.send(audio())
        staged.provider.inject("restart", Refuse())
        await staged.controller.complete_restart()
        reports.append(await staged.controller.restart(RealtimeRestartReason.REQUESTED))
    await staged.controller.close()

    session = the_session(await staged.records())

    assert [report.dropped for report in reports] == [3, 3]
    assert session.delivery.dropped == 6
    assert [told.dropped for told in session.restarts] == [3, 3, 3, 3]


async def test_a_run_of_one_restart_is_told_as_its_report_told_it(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(1)])))
    for _ in range(4):
        await staged.controller.send(audio())
    staged.provider.inject("restart", Refuse())
    report = await staged.controller.restart(RealtimeRestartReason.GO_AWAY)
    await staged.controller.close()

    session = the_session(await staged.records())
    (told,) = session.restarts

    assert told.reason is report.reason
    assert told.attempts == report.attempts == 2
    assert told.errors == ("provider_failure",)
    assert session.twice.ranges == report.replayed
    assert told.dropped == report.dropped


async def test_what_is_dropped_while_a_restart_waits_for_the_frame_in_flight_is_its_own(stage: Stage) -> None:
    """The gate is closed by then, though the request is not recorded yet."""
    staged = await stage.connected(
        sidecar=plain_sidecar(queue_capacity=1, overflow_policy=RealtimeOverflowPolicy.DROP_NONCRITICAL)
    )
    reports: list[RestartReport] = []

    async def restart() -> None:
        reports.append(await staged.controller.restart())

    for _ in range(2):
        staged.provider.inject("send", Delay(1))
        async with anyio.create_task_group() as tasks:
            await begin(tasks, partial(staged.controller.send, audio()))
            await begin(tasks, restart)
            for _ in range(3):
                await staged.controller.send(audio())
    await staged.controller.close()

    session = the_session(await staged.records())

    assert [told.dropped for told in session.restarts] == [report.dropped for report in reports] == [2, 2]


async def test_an_outage_that_outlasts_a_failed_restart_is_told_as_its_report_told_it(stage: Stage) -> None:
    staged = await stage.connected(
        sidecar=plain_sidecar(queue_capacity=1, overflow_policy=RealtimeOverflowPolicy.DROP_NONCRITICAL)
    )
    staged.provider.inject("restart", Refuse())
    with pytest.raises(RestartExhausted):
        await staged.controller.restart(policy=RestartPolicy(attempts=1))
    for _ in range(3):
        await staged.controller.send(audio())
    report = await staged.controller.restart(RealtimeRestartReason.AGE)
    await staged.controller.close()
    # One record a second.
    records = [attrs.evolve(one, timestamp_millis=1000 * one.journal_seq) for one in await staged.records()]
    at = {str(one.payload.kind): one.journal_seq for one in reversed(records)}

    failed, told = the_session(records).restarts

    assert (failed.completed_millis, failed.dropped) == (None, 2)
    assert told.dropped == report.dropped == 2
    assert told.outage_s == at["restart_completed"] - at["restart_requested"]


async def test_an_outage_lasts_from_the_failure_that_told_of_it_to_the_new_connection(stage: Stage) -> None:
    staged = await stage.connected()
    staged.provider.inject("send", Drop(FrameFate.VANISHED))
    with pytest.raises(ProviderConnectionLost):
        await staged.controller.send(audio())
    await staged.controller.send(text())
    await staged.controller.restart(RealtimeRestartReason.CONNECTION_LOST)
    await staged.controller.close()
    # One record a second.
    records = [attrs.evolve(one, timestamp_millis=1000 * one.journal_seq) for one in await staged.records()]
    at = {str(one.payload.kind): one.journal_seq for one in records}

    session = the_session(records)

    (told,) = session.restarts
    assert told.outage_s == at["restart_completed"] - at["input_send_failed"]
    begun = [one.journal_seq for one in records if one.payload.kind == "input_send_requested"]
    assert session.longest_wait_s == begun[-1] - at["backpressure_applied"]


async def test_audio_is_told_in_seconds_where_its_format_is_known(stage: Stage) -> None:
    staged = await stage.connected(sidecar=plain_sidecar(span=MediaSpan(10, 1.0)))
    for _ in range(10):
        await staged.controller.send(audio())
    await staged.controller.send(text())
    await staged.controller.close()
    records = await staged.records()

    def carried(known: AudioFormat | None) -> list[tuple[str, int, int | None, float | None]]:
        (session,) = report_of(records, input_format=known).sessions
        return [(each.media_kind, each.frames, each.bytes, each.audio_s) for each in session.carried]

    assert carried(None) == [("audio", 10, 10 * len(FRAME), None), ("text", 1, None, None)]
    assert carried(AudioFormat()) == [("audio", 10, 10 * len(FRAME), 0.2), ("text", 1, None, None)]


def test_a_run_without_records_has_no_report() -> None:
    with pytest.raises(ContractViolation, match="without records"):
        report_of([])


async def test_a_missing_result_is_found_with_the_intent_named(stage: Stage) -> None:
    records = await closed_run(stage)
    (sent,) = [one.journal_seq for one in records if one.payload.kind == "input_sent"]
    without = renumbered([one for one in records if one.journal_seq != sent])

    with pytest.raises(JournalCorrupt, match=r"record 3 .*input_send_requested, has no result"):
        checked(without)


async def test_wrong_totals_of_the_gate_are_found(stage: Stage) -> None:
    records = await closed_run(stage)
    last = records[-1].payload

    gate = last.backpressure_state
    for wrong_gate, said in (
        (attrs.evolve(gate, queued_frames=7), "in the gate"),
        (attrs.evolve(gate, dropped_frames=7), "were dropped"),
    ):
        wrong = attrs.evolve(records[-1], payload=attrs.evolve(last, backpressure_state=wrong_gate))
        with pytest.raises(JournalCorrupt, match=f"says that 7 frames .*{said}"):
            checked([*records[:-1], wrong])


async def test_a_number_that_no_frame_has_is_found(stage: Stage) -> None:
    records = await closed_run(stage)
    wrong = [
        attrs.evolve(one, payload=attrs.evolve(one.payload, send_cursor=StreamCursor.chunk(9)))
        if one.payload.kind == "input_sent"
        else one
        for one in records
    ]

    with pytest.raises(JournalCorrupt, match="has given 9 frames a number, and 1 are recorded as sent"):
        checked(wrong)


async def test_a_result_that_names_another_as_itself_is_found(stage: Stage) -> None:
    records = await closed_run(stage)
    wrong = [
        attrs.evolve(one, payload=attrs.evolve(one.payload, effect_result_ref=EffectId("record.elsewhere")))
        if one.payload.kind == "input_sent"
        else one
        for one in records
    ]

    with pytest.raises(JournalCorrupt, match="input_sent, names another record"):
        checked(wrong)


async def closed_run(stage: Stage) -> list[JournalRecord]:
    staged = await stage.connected()
    await staged.controller.send(text())
    await staged.controller.close()
    return await staged.records()


async def test_records_in_each_other_s_places_are_found(stage: Stage) -> None:
    """Each could stand where the other does: nothing but its name says that it doesn't."""
    staged = await stage.connected()
    await staged.controller.begin_restart()
    for answer in ("answer.1", "answer.2"):
        await staged.controller.interrupt(answer)
    *before, first, second = await staged.records()

    exchanged = [
        attrs.evolve(second, journal_seq=first.journal_seq),
        attrs.evolve(first, journal_seq=second.journal_seq),
    ]

    with pytest.raises(
        JournalCorrupt, match=r"record 5 .*, output_fenced, bears the name 'realtime\.record\.6\."
    ):
        checked([*before, *exchanged])


def renumbered(records: Sequence[JournalRecord]) -> list[JournalRecord]:
    """The same as if they had been written one after the other."""
    names = {one.record_id: f"record.{seq}" for seq, one in enumerate(records, start=1)}
    return [
        attrs.evolve(
            one,
            journal_seq=seq,
            record_id=names[one.record_id],
            payload=attrs.evolve(
                one.payload,
                effect_intent_ref=_renamed(names, one.payload.effect_intent_ref),
                effect_result_ref=_renamed(names, one.payload.effect_result_ref),
            ),
        )
        for seq, one in enumerate(records, start=1)
    ]


def _renamed(names: Mapping[str, str], reference: EffectId | None) -> EffectId | None:
    return None if reference is None else EffectId(names[reference])


def checked(records: Sequence[JournalRecord]) -> None:
    check = RunCheck()
    for record in records:
        check.add(record)
