"""Replacing the connection: what waits, what is cut, and what is tried again."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from realtime_async._core.restarts import RestartPolicy
from realtime_async._core.sidecar import MediaSpan
from realtime_async.adapters.scripted import Delay, Drop, FrameFate, Hang, Refuse, Script, ScriptedAdapter
from realtime_async.controller import Deadlines
from realtime_async.errors import (
    JournalFailure,
    ProviderConnectionLost,
    ProviderFailure,
    RestartExhausted,
    RetryClassification,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeOutputFrame, RealtimeRestartReason
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, Stage, StagedSession, audio, kinds_of, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

Reason = RealtimeRestartReason
CUTTING = [Reason.CONNECTION_LOST, Reason.STALLED]
WAITING = [Reason.REQUESTED, Reason.GO_AWAY, Reason.AGE]


@pytest.mark.parametrize("reason", WAITING)
async def test_a_restart_waits_for_the_frame_in_flight(stage: Stage, reason: RealtimeRestartReason) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("send", 1): Delay(2)})))
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(staged.controller.send, text()))
        restart = await begin(tasks, partial(staged.controller.begin_restart, reason))
        waited = not restart.is_over
        gated = await staged.controller.send(text())
        announced = "restart_requested" in await staged.kinds()

        await anyio.sleep(3)

    assert waited
    assert not announced
    assert gated.kind == "backpressure_applied"
    assert sending.error is restart.error is None
    assert (await staged.kinds(after=2)).index("input_sent") < (await staged.kinds(after=2)).index(
        "restart_requested"
    )
    assert [record.restart_reason for record in restart.result] == [reason, reason]  # type: ignore[attr-defined]  # a list of records


@pytest.mark.parametrize("reason", CUTTING)
async def test_a_restart_of_a_dead_connection_cuts_the_frame_in_flight(
    stage: Stage, reason: RealtimeRestartReason
) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("send", 1): Hang()})))
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(staged.controller.send, text()))
        began = anyio.current_time()

        await staged.controller.begin_restart(reason)

        assert anyio.current_time() - began < 1
        await settled()

    assert isinstance(sending.error, ProviderConnectionLost)
    assert sending.error.delivered is None
    assert await staged.kinds(after=2) == [
        "input_send_requested", "input_send_failed", "restart_requested", "restart_started",
    ]  # fmt: skip
    assert staged.controller.delivery.in_doubt == 1


async def test_a_begin_restart_that_is_given_up_before_it_announced_anything_leaves_the_session_open(
    stage: Stage,
) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("send", 1): Delay(2)})))
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(staged.controller.send, text()))
        restart = await begin(tasks, staged.controller.begin_restart)
        restart.scope.cancel()
        await anyio.sleep(3)

    record = await staged.controller.send(text())

    assert record.kind == "input_sent"
    assert "restart_requested" not in await staged.kinds()


async def test_a_frame_gated_for_a_restart_that_never_came_is_sent_first(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("send", 1): Delay(2)})))
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(staged.controller.send, first := text()))
        restart = await begin(tasks, staged.controller.begin_restart)
        await staged.controller.send(second := text())
        restart.scope.cancel()
        await anyio.sleep(3)

    await staged.controller.send(third := text())

    assert [frame.frame_id for frame in staged.provider.sent] == [
        first.frame_id,
        second.frame_id,
        third.frame_id,
    ]


async def test_a_span_that_such_a_frame_ends_is_told_of_while_that_waits(stage: Stage) -> None:
    script = Script(faults={("send", 1): Delay(2)})
    staged = await stage.connected(ScriptedAdapter(script), sidecar=plain_sidecar(span=MediaSpan(3, 60.0)))
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(staged.controller.send, audio()))
        restart = await begin(tasks, staged.controller.begin_restart)
        await staged.controller.send(audio())
        restart.scope.cancel()
        await anyio.sleep(3)

    await staged.controller.send(text())

    ended = next(each.payload for each in await staged.records() if each.payload.kind == "input_sent")
    assert ended.backpressure_state.queued_frames == 1
    await staged.check()


async def test_a_receive_that_waits_goes_on_with_the_new_connection_under_the_same_intent(
    stage: Stage,
) -> None:
    staged = await stage.connected()
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)
        await staged.controller.begin_restart()
        await staged.controller.complete_restart()
        staged.provider.feed(RealtimeOutputFrame.audio(FRAME))
        await settled()

        assert receiving.is_over
        assert receiving.error is None

    kinds = await staged.kinds(after=2)
    assert kinds.count("output_receive_requested") == kinds.count("output_received") == 1
    assert kinds == [
        "output_receive_requested", "restart_requested", "restart_started", "restart_completed",
        "output_received",
    ]  # fmt: skip


async def test_what_the_old_connection_had_delivered_comes_first(stage: Stage) -> None:
    staged = await stage.connected()
    staged.provider.feed(RealtimeOutputFrame.audio(FRAME, frame_id="old"))
    staged.provider.drop()
    staged.provider.feed(RealtimeOutputFrame.audio(FRAME, frame_id="new"))
    await staged.controller.begin_restart(Reason.CONNECTION_LOST)
    await staged.controller.complete_restart()

    received = [await staged.controller.receive() for _ in range(2)]

    assert [each.frame.frame_id for each in received if each is not None] == ["old", "new"]


async def test_a_connection_lost_under_a_receive_is_raised_and_the_next_one_waits(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([Drop()])))

    with pytest.raises(ProviderConnectionLost):
        await staged.controller.receive()

    assert (await staged.kinds())[-1] == "output_receive_failed"
    assert (await staged.controller.send(text())).kind == "backpressure_applied"
    await staged.controller.begin_restart(Reason.CONNECTION_LOST)
    await staged.controller.complete_restart()
    assert len(staged.provider.sent) == 1


async def test_a_connection_lost_under_an_interrupt_is_raised_and_the_session_can_be_restarted(
    stage: Stage,
) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("interrupt", 1): Drop()})))

    with pytest.raises(ProviderConnectionLost):
        await staged.controller.interrupt()

    assert (await staged.kinds())[-1] == "interrupt_failed"
    await staged.controller.begin_restart(Reason.CONNECTION_LOST)
    assert kinds_of(await staged.controller.complete_restart()) == ["restart_completed"]


@pytest.mark.parametrize("fault", [Refuse(), Drop(), Hang()], ids=["refused", "lost", "out of time"])
async def test_a_restart_that_failed_can_be_completed_again(
    stage: Stage, fault: Refuse | Drop | Hang
) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("restart", 1): fault})))
    await staged.controller.begin_restart()
    await staged.controller.send(frame := text())

    failed = await staged.controller.complete_restart()
    completed = await staged.controller.complete_restart()

    assert kinds_of(failed) == ["restart_failed"]
    assert kinds_of(completed)[:2] == ["restart_started", "restart_completed"]
    assert [sent.frame_id for sent in staged.provider.sent] == [frame.frame_id]
    assert staged.controller.state.restart_count == 1


async def test_a_restart_that_failed_can_be_begun_again(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("restart", 1): Refuse()})))
    await staged.controller.begin_restart()
    await staged.controller.complete_restart()

    again = await staged.controller.begin_restart(Reason.AGE)
    await staged.controller.complete_restart()

    assert kinds_of(again) == ["restart_requested", "restart_started"]
    assert staged.controller.state.restart_count == 1


async def test_a_complete_restart_cancelled_before_the_answer_has_failed(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("restart", 1): Hang()})))
    await staged.controller.begin_restart()
    async with anyio.create_task_group() as tasks:
        completing = await begin(tasks, staged.controller.complete_restart)
        completing.scope.cancel()
        await settled()

    assert (await staged.kinds())[-1] == "restart_failed"
    assert (await staged.controller.send(text())).kind == "backpressure_applied"
    assert kinds_of(await staged.controller.complete_restart())[:2] == [
        "restart_started",
        "restart_completed",
    ]


async def test_a_session_is_restarted_in_one_call(stage: Stage) -> None:
    staged = await stage.connected()

    report = await staged.controller.restart(Reason.GO_AWAY)

    assert (report.reason, report.attempts) == ("go_away", 1)
    assert report.outage_s == pytest.approx(0)
    assert await staged.kinds(after=2) == ["restart_requested", "restart_started", "restart_completed"]


async def test_a_restart_waits_between_its_attempts_as_its_policy_says(stage: Stage) -> None:
    faults = {("restart", attempt): Refuse() for attempt in (1, 2, 3)}
    staged = await stage.connected(ScriptedAdapter(Script(faults=faults)))
    began = anyio.current_time()

    report = await staged.controller.restart(
        policy=RestartPolicy(attempts=4, first_wait_s=1, factor=2, max_wait_s=3, jitter=0)
    )

    assert report.attempts == 4
    assert anyio.current_time() - began == pytest.approx(1 + 2 + 3)
    assert report.outage_s == pytest.approx(6)
    assert staged.adapter.operations == ["connect", *["restart"] * 4]
    assert staged.controller.state.restart_count == 1


async def test_a_restart_that_waits_for_its_next_attempt_ends_with_the_session(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("restart", 1): Refuse()})))
    policy = RestartPolicy(attempts=2, first_wait_s=600, max_wait_s=600, jitter=0)
    async with anyio.create_task_group() as tasks:
        restart = await begin(tasks, partial(staged.controller.restart, policy=policy))
        assert not restart.is_over

        await staged.controller.close()
        await settled()

        assert restart.is_over
        assert isinstance(restart.error, SessionStateError)
        assert (await staged.kinds())[-1] == "closed"
        tasks.cancel_scope.cancel()


async def test_a_restart_that_waits_for_its_next_attempt_is_told_that_the_journal_failed() -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=6, how=JournalFault.REFUSE)
    staged = StagedSession(ScriptedAdapter(Script(faults={("restart", 1): Refuse()})), journal=journal)
    await staged.controller.connect()
    policy = RestartPolicy(attempts=2, first_wait_s=600, max_wait_s=600, jitter=0)
    async with anyio.create_task_group() as tasks:
        restart = await begin(tasks, partial(staged.controller.restart, policy=policy))

        with pytest.raises(JournalFailure):
            await staged.controller.send(audio())
        await settled()

        assert isinstance(restart.error, JournalFailure)
        tasks.cancel_scope.cancel()


async def test_a_restart_gives_up_when_its_attempts_are_used_up(stage: Stage) -> None:
    faults = {("restart", attempt): Refuse() for attempt in (1, 2)}
    staged = await stage.connected(ScriptedAdapter(Script(faults=faults)))

    with pytest.raises(RestartExhausted) as exhausted:
        await staged.controller.restart(policy=RestartPolicy(attempts=2))

    assert isinstance(exhausted.value, ProviderFailure)
    assert staged.adapter.operations.count("restart") == 2
    assert (await staged.kinds())[-1] == "restart_failed"
    await staged.controller.restart()
    assert staged.controller.state.restart_count == 1


async def test_a_restart_does_not_try_again_what_cannot_be_helped(stage: Stage) -> None:
    refusal = Refuse("invalid_api_key", RetryClassification.NOT_RETRYABLE)
    staged = await stage.connected(ScriptedAdapter(Script(faults={("restart", 1): refusal})))

    with pytest.raises(RestartExhausted):
        await staged.controller.restart()

    assert staged.adapter.operations.count("restart") == 1


async def test_the_attempts_of_a_lifetime_are_counted_over_all_restarts(stage: Stage) -> None:
    faults = {("restart", attempt): Refuse() for attempt in (2, 3, 4)}
    staged = await stage.connected(ScriptedAdapter(Script(faults=faults)))
    policy = RestartPolicy(lifetime_attempts=3)
    await staged.controller.restart(policy=policy)

    with pytest.raises(RestartExhausted):
        await staged.controller.restart(policy=policy)

    assert staged.adapter.operations.count("restart") == 3


async def test_a_restart_whose_new_connection_dies_at_once_goes_on_trying(stage: Stage) -> None:
    staged = await stage.connected()
    await staged.controller.begin_restart()
    await staged.controller.send(frame := text())
    await staged.controller.complete_restart()
    staged.provider.inject("send", Drop(FrameFate.NOT_SENT))
    await staged.controller.send(second := text())
    staged.provider.inject("send", Drop(FrameFate.NOT_SENT))

    report = await staged.controller.restart(Reason.CONNECTION_LOST)

    assert [sent.frame_id for sent in staged.provider.sent] == [frame.frame_id, second.frame_id]
    assert report.attempts == 2
    assert staged.controller.state.restart_count == 3


async def test_a_restart_out_of_time_has_failed_when_its_deadline_passes(stage: Stage) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(faults={("restart", 1): Hang()})), deadlines=Deadlines(restart=3)
    )
    await staged.controller.begin_restart()
    began = anyio.current_time()

    records = await staged.controller.complete_restart()

    assert kinds_of(records) == ["restart_failed"]
    assert anyio.current_time() - began == pytest.approx(3)
    assert records[0].error is not None
    assert records[0].error.kind == "deadline_exceeded"
