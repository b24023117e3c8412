"""A session that keeps itself connected: what is restarted when, and what becomes of it when nothing helps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

import anyio
import pytest

from realtime_async import RealtimeSession, RestartPolicy, RestartReport
from realtime_async.adapters.scripted import Delay, Drop, EndOfStream, FrameFate, Hang, Played, Refuse
from realtime_async.errors import JournalFailure, ProviderConnectionLost, RestartExhausted
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    GoAway,
    RealtimeCloseReason,
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeRestartReason,
    ResponseDone,
    ResponseStarted,
    Restarted,
)
from realtime_async.testing import FaultyJournal, JournalFault
from tests.controller.begun import Begun, begin, settled
from tests.controller.staged import audio, text
from tests.test_session import Call, next_frames
from tests.test_session_frames import heard, spoken

pytestmark = pytest.mark.virtual_time

Reason = RealtimeRestartReason
EVEN = RestartPolicy(attempts=3, first_wait_s=1, factor=2, jitter=0)


def said(*events: RealtimeEvent) -> list[RealtimeOutputFrame]:
    return [RealtimeOutputFrame.of(event, response_id="answer") for event in events]


def reports_in(frames: list[RealtimeOutputFrame]) -> list[RestartReport]:
    return [frame.event.report for frame in frames if isinstance(frame.event, Restarted)]


async def listen_to(session: RealtimeSession, frames: list[RealtimeOutputFrame]) -> None:
    """Put what is heard into *frames*, as it is heard."""
    async for frame in session.frames():
        frames += [frame]


async def until_restarted(session: RealtimeSession) -> RestartReport:
    async for frame in session.frames():
        if isinstance(frame.event, Restarted):
            return frame.event.report
    raise AssertionError("the session ended without a restart")


# -- losses


@pytest.mark.parametrize("loss", [Drop(), EndOfStream()], ids=["lost", "ended"])
async def test_a_lost_connection_is_replaced_and_the_loop_goes_on(loss: Played) -> None:
    call = Call(*spoken(1), Delay(0.5), loss, Delay(1), *spoken(2)[1:])

    async with call.open() as session:
        frames = await next_frames(session, 3)

    assert heard(frames) == ["said.1", "restarted", "said.2"]
    assert reports_in(frames)[0].reason is Reason.CONNECTION_LOST
    assert await call.ending() == ("closed", RealtimeCloseReason.NORMAL)


async def test_what_is_sent_meanwhile_waits_for_the_new_connection() -> None:
    call = Call(Delay(5), Drop(), faults={("restart", 1): Delay(3)})
    frames = [audio(number) for number in range(1, 5)]

    async with call.open() as session:
        await anyio.sleep(6)
        for frame in frames:
            await session.send(frame)
        assert session.delivery.queued == 4
        report = await until_restarted(session)

    assert [frame.frame_id for frame in call.adapter.sent] == [frame.frame_id for frame in frames]
    assert [(part.first, part.last) for part in report.gated] == [(1, 4)]
    assert report.outage_s == pytest.approx(3, abs=0.1)


async def test_a_loss_that_a_send_meets_is_mended_though_nobody_listens() -> None:
    call = Call(faults={("send", 2): Drop(FrameFate.NOT_SENT)})
    frames = [audio(number) for number in range(1, 4)]

    async with call.open() as session:
        for frame in frames:
            await session.send(frame)
        await anyio.sleep(1)

    assert [frame.frame_id for frame in call.adapter.sent] == [frame.frame_id for frame in frames]
    assert session.delivery.sent == 3


async def test_a_microphone_goes_on_though_a_frame_of_it_is_in_doubt() -> None:
    frames = [audio() for _ in range(3)]

    async def microphone() -> AsyncIterator[RealtimeInputFrame]:
        for frame in frames:
            yield frame
            await anyio.sleep(1)

    call = Call()
    async with call.open() as session:
        call.adapter.inject("send")
        call.adapter.inject("send", Drop(FrameFate.VANISHED))
        await session.send_audio_from(microphone())

    assert (session.delivery.sent, session.delivery.in_doubt) == (2, 1)
    assert [frame.frame_id for frame in call.adapter.sent] == [frames[0].frame_id, frames[2].frame_id]


async def test_a_microphone_ends_with_its_connection_where_the_program_restarts() -> None:
    async def microphone() -> AsyncIterator[bytes]:
        yield bytes(960)

    call = Call()
    async with call.open(restart_policy=None) as session:
        call.adapter.inject("send", Drop(FrameFate.VANISHED))
        with pytest.raises(ProviderConnectionLost):
            await session.send_audio_from(microphone())


async def test_an_interrupt_that_loses_its_connection_is_no_concern_of_the_loop() -> None:
    call = Call(*said(ResponseStarted()), RealtimeOutputFrame.audio(b"ab", response_id="answer"))

    async with call.open() as session:
        await next_frames(session, 2)
        call.adapter.inject("interrupt", Drop())
        record = await session.interrupt()
        report = await until_restarted(session)

    assert record.kind == "interrupt_failed"
    assert report.reason is Reason.CONNECTION_LOST


async def test_attempts_that_fail_are_waited_between() -> None:
    call = Call(Drop(), faults={("restart", 1): Refuse(), ("restart", 2): Refuse()})

    async with call.open(restart_policy=EVEN) as session:
        report = await until_restarted(session)

    assert report.attempts == 3
    assert report.outage_s == pytest.approx(1 + 2, abs=0.1)


# -- planned restarts and stalls


async def test_a_provider_that_says_goodbye_is_left_when_the_answer_is_over() -> None:
    call = Call(*said(ResponseStarted(), GoAway(60)), Delay(4), *said(ResponseDone()))

    async with call.open() as session:
        frames = await next_frames(session, 4)
        at = anyio.current_time()

    assert isinstance(frames[2].event, ResponseDone)
    assert reports_in(frames)[0].reason is Reason.GO_AWAY
    assert at == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("ask", [RealtimeInputFrame.request_response, RealtimeInputFrame.end_of_turn])
async def test_a_goodbye_between_a_question_and_its_answer_waits_for_the_answer(
    ask: Callable[[], RealtimeInputFrame],
) -> None:
    call = Call(Delay(1), *said(GoAway(60)), Delay(2), *said(ResponseStarted(), ResponseDone()))

    async with call.open() as session:
        await session.send(ask())
        frames = await next_frames(session, 4)

    assert isinstance(frames[2].event, ResponseDone)
    assert reports_in(frames)[0].reason is Reason.GO_AWAY


async def test_a_goodbye_does_not_wait_for_an_answer_that_nobody_wants_any_more() -> None:
    call = Call(Delay(1), *said(GoAway(60)))

    async with call.open() as session:
        await session.send(RealtimeInputFrame.request_response())
        await anyio.sleep(3)
        await session.interrupt()
        await until_restarted(session)
        at = anyio.current_time()

    assert at == pytest.approx(3, abs=0.1)


async def test_a_turn_without_an_end_does_not_hold_up_a_goodbye() -> None:
    call = Call(*said(ResponseStarted(), GoAway(60)))

    async with call.open(restart_policy=RestartPolicy(turn_wait_s=7)) as session:
        report = await until_restarted(session)
        at = anyio.current_time()

    assert report.reason is Reason.GO_AWAY
    assert at == pytest.approx(7, abs=0.1)


async def test_an_idle_connection_is_replaced_at_its_age_again_and_again() -> None:
    call = Call()

    async with call.open(restart_policy=RestartPolicy(attempts=1, max_connection_age_s=540)) as session:
        reports = [await until_restarted(session) for _ in range(10)]
        at = anyio.current_time()

    assert {report.reason for report in reports} == {Reason.AGE}
    assert at == pytest.approx(5400, abs=2)


async def test_the_program_may_ask_for_a_restart() -> None:
    call = Call()

    async with call.open() as session, anyio.create_task_group() as tasks:
        loop = await begin(tasks, partial(until_restarted, session))
        report = await session.restart(Reason.REQUESTED)
        await settled()

    assert loop.result == report
    assert report.reason is Reason.REQUESTED


async def test_two_who_ask_at_once_share_a_restart() -> None:
    call = Call(faults={("restart", 1): Delay(2)})

    async with call.open() as session, anyio.create_task_group() as tasks:
        asked = [await begin(tasks, session.restart) for _ in range(2)]
        for each in asked:
            await each.over()

    assert asked[0].result is asked[1].result
    assert call.calls == ["connect", "restart", "close"]


async def test_a_restart_goes_on_though_who_asked_for_it_does_not_wait() -> None:
    call = Call(faults={("restart", 1): Delay(2)})

    async with call.open() as session:
        with anyio.move_on_after(1):
            await session.restart()
        await until_restarted(session)

    assert session.state.restart_count == 1


async def test_a_restart_by_hand_that_came_to_nothing_is_made_up_for_by_one_that_is_asked_for() -> None:
    call = Call(faults={("restart", 1): Refuse()})

    async with call.open() as session:
        with pytest.raises(RestartExhausted):
            await session.controller.restart(policy=RestartPolicy(attempts=1))
        with anyio.fail_after(60):
            await session.restart()
        await session.send(text())

    assert session.delivery.sent == 1


async def test_a_restart_that_is_asked_for_does_not_disturb_one_by_hand_that_waits() -> None:
    refused = Refuse()
    call = Call(faults={("restart", 1): refused, ("restart", 2): refused})

    async with call.open() as session, anyio.create_task_group() as tasks:
        by_hand = await begin(tasks, partial(session.controller.restart, policy=EVEN))
        asked = await begin(tasks, session.restart)
        await by_hand.over()
        await asked.over()

    assert (by_hand.error, asked.error) == (None, None)


async def test_restarts_asked_for_are_not_counted_against_the_provider() -> None:
    call = Call()

    async with call.open(restart_policy=RestartPolicy(attempts=1)) as session:
        for _ in range(80):
            await session.restart()
        frames = await next_frames(session, 1)

        assert session.state.restart_count == 80
    assert reports_in(frames)


# -- whoever waits when the block is left


async def listened_after_the_block(call: Call, *, fails_at: int | None = None) -> Begun:
    """Leave the block beside a loop that goes on in a task of its own."""
    if fails_at is not None:
        call.journal = FaultyJournal(MemoryJournal(), fail_at=fails_at, how=JournalFault.REFUSE)
    async with anyio.create_task_group() as tasks:
        with suppress(JournalFailure):
            async with call.open() as session:
                loop = await begin(tasks, partial(listen_to, session, []))
        await settled()
        assert loop.is_over
    return loop


async def test_a_loop_beside_the_block_ends_with_it() -> None:
    call = Call()

    loop = await listened_after_the_block(call)

    assert loop.error is None
    assert await call.ending() == ("closed", RealtimeCloseReason.NORMAL)


async def test_a_loop_beside_the_block_hears_that_the_journal_fails_as_it_is_left() -> None:
    # After connect_requested, connected and output_receive_requested comes the end.
    loop = await listened_after_the_block(Call(), fails_at=4)

    assert isinstance(loop.error, JournalFailure)


async def test_a_loop_entered_after_the_block_is_over_at_once() -> None:
    call = Call()

    async with call.open() as session:
        pass

    with anyio.fail_after(1):
        assert await next_frames(session, 1) == []


async def test_whoever_waits_for_a_restart_hears_that_the_block_was_left() -> None:
    call = Call(faults={("restart", 1): Hang()})

    async with anyio.create_task_group() as tasks:
        async with call.open() as session:
            asking = await begin(tasks, session.restart)
        await settled()
        assert asking.is_over

    assert isinstance(asking.error, ProviderConnectionLost)
    assert "open a session of its own" in str(asking.error)
