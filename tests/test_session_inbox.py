"""What lies between the provider and a loop that is slow, gives up, or interrupts."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import anyio
import pytest

from realtime_async import Deadlines, RealtimeSession
from realtime_async._session.inbox import MAX_BYTES, MAX_FRAMES, Entry, Inbox, TakenOut
from realtime_async.adapters.scripted import Delay, Drop, Hang, Refuse
from realtime_async.errors import (
    AgentError,
    DeadlineExceeded,
    JournalFailure,
    PolicyDenied,
    ProviderFailure,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    JournalRecord,
    OutputText,
    OutputTranscript,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    Restarted,
    ToolCall,
)
from realtime_async.testing import FaultyJournal, JournalFault, SuspendingJournal
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, audio
from tests.test_session import Call, next_frames, on_asyncio
from tests.test_session_frames import heard, spoken
from tests.test_session_supervised import listen_to, reports_in, said
from tests.test_session_tools import BOOK

pytestmark = pytest.mark.virtual_time


async def test_a_slow_loop_slows_the_provider() -> None:
    """So much is taken ahead, and no more."""
    call = Call(*spoken(1000))
    taken = 0

    async with call.open() as session:
        async for _ in session.frames():
            taken += 1
            await anyio.sleep(1)
            assert call.adapter.calls.count("receive") <= taken + MAX_FRAMES
            if taken == 100:
                break

    assert (await call.kinds()).count("output_received") == 100 + MAX_FRAMES


async def test_large_frames_fill_it_sooner() -> None:
    call = Call(*[RealtimeOutputFrame.audio(bytes(MAX_BYTES // 4)) for _ in range(20)])

    async with call.open() as session:
        await anyio.sleep(1)
        assert call.adapter.calls.count("receive") == 4
        await next_frames(session, 20)


async def test_interrupts_that_are_refused_fill_it_no_further_than_twice() -> None:
    """Each takes out what is there, and puts it back behind what came meanwhile."""
    answers = [answer(number) for number in range(1, 21)]
    call = Call(*[frame for frames in answers for frame in frames])

    async with call.open() as session:
        for _ in answers:
            call.adapter.inject("interrupt", Delay(1), Refuse())
            with pytest.raises(ProviderFailure):
                await session.interrupt()
            await anyio.sleep(1)
        taken_ahead = (await call.kinds()).count("output_received")
        first = await next_frames(session, 50)

    assert taken_ahead <= 2 * MAX_FRAMES
    assert first == answers[0][:50]


def answer(number: int) -> list[RealtimeOutputFrame]:
    return [RealtimeOutputFrame.audio(FRAME, response_id=f"answer.{number}") for _ in range(100)]


async def test_what_an_interrupt_has_silenced_makes_room() -> None:
    inbox = Inbox()

    def filled_and_taken_out() -> TakenOut:
        for frame in answer(1)[:MAX_FRAMES]:
            inbox.put(Entry(frame, 0))
        return inbox.take_out(None)

    filled_and_taken_out()
    silenced = filled_and_taken_out()
    assert inbox.is_full

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(inbox.room)
        await settled()
        silenced.let_go()

    assert not inbox.is_full


async def test_a_loop_that_runs_without_a_pause_lets_others_run() -> None:
    call = Call(*spoken(600))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        await next_frames(session, 600)
        tasks.cancel_scope.cancel()

    assert turns >= 600 // 50


@pytest.mark.parametrize("patience_s", [0.1, 0.5, 1, 1.5])
async def test_a_loop_that_gives_up_and_comes_back_misses_nothing(patience_s: float) -> None:
    call = Call(*[item for frame in spoken(20) for item in (Delay(0.5), frame)])
    frames: list[RealtimeOutputFrame] = []

    async with call.open() as session:
        while len(frames) < 20:
            with anyio.move_on_after(patience_s):
                await listen_to(session, frames)

    assert heard(frames) == [f"said.{number}" for number in range(1, 21)]


@on_asyncio
async def test_a_native_cancellation_loses_no_frame() -> None:
    """At each number of turns of the event loop after the frame was let go."""
    call = Call()
    frames: list[RealtimeOutputFrame] = []

    async with call.open() as session:
        for number, frame in enumerate(spoken(20)):
            task = asyncio.ensure_future(listen_to(session, frames))
            await settled()
            call.adapter.feed(frame)
            for _ in range(number):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        with anyio.move_on_after(1):
            await listen_to(session, frames)

    assert heard(frames) == [f"said.{number}" for number in range(1, 21)]


async def test_a_second_loop_is_refused_and_does_not_deafen_the_first() -> None:
    call = Call(Delay(1), *spoken(1))

    async with call.open() as session, anyio.create_task_group() as tasks:
        loop = await begin(tasks, partial(next_frames, session, 1))
        with pytest.raises(SessionStateError):
            await next_frames(session, 1)
        await loop.over()

    assert isinstance(loop.result, list)
    assert heard(loop.result) == ["said.1"]


async def test_restarts_that_nobody_hears_of_do_not_pile_up() -> None:
    call = Call(*spoken(1))

    async with call.open() as session:
        for _ in range(200):
            await session.restart()
        await session.close()
        frames = [frame async for frame in session.frames()]

    assert frames == []


async def test_a_closed_session_says_no_more() -> None:
    call = Call(*spoken(30))

    async with call.open() as session:
        await next_frames(session, 5)
        await session.close()

        assert [frame async for frame in session.frames()] == []


async def test_a_session_closed_within_a_restart_says_nothing_of_the_new_connection() -> None:
    """What that had said already waits for the news of it, which doesn't come."""
    call = Call(Drop(), *spoken(1), faults={("restart", 1): Delay(1), ("send", 1): Delay(4)})

    async with call.open() as session:
        await anyio.sleep(0.5)
        await session.send(audio())
        await anyio.sleep(1)
        await session.close()
        await settled()

        assert [frame async for frame in session.frames()] == []


# -- an interrupt


@pytest.mark.parametrize("named", ["answer", None])
async def test_an_interrupted_answer_is_not_heard_on(named: str | None) -> None:
    answer = [RealtimeOutputFrame.audio(FRAME, response_id="answer") for _ in range(30)]
    call = Call(*said(ResponseStarted()), *answer, *said(ResponseDone("cancelled")), Delay(5), *spoken(1))

    async with call.open() as session:
        await next_frames(session, 5)
        await session.interrupt(named)
        rest = await next_frames(session, 2)

    assert isinstance(rest[0].event, ResponseDone)
    assert heard(rest)[1:] == ["said.1"]


async def test_an_answer_that_could_not_be_interrupted_goes_on() -> None:
    answer = [
        RealtimeOutputFrame.audio(FRAME, response_id="answer", frame_id=f"answer.{number}")
        for number in range(1, 31)
    ]
    call = Call(*answer, faults={("interrupt", 1): Refuse()})

    async with call.open() as session:
        before = await next_frames(session, 5)
        with pytest.raises(ProviderFailure):
            await session.interrupt()
        after = await next_frames(session, 25)

    assert heard(before + after) == [f"answer.{number}" for number in range(1, 31)]


async def test_what_came_within_an_answer_that_could_not_be_interrupted_keeps_its_place() -> None:
    played = said(ResponseStarted(), OutputText("A table", final=True), ToolCall("call-1"), ResponseDone())
    call = Call(*played, Delay(1), faults={("interrupt", 1): Refuse()})

    async with call.open() as session:
        await settled()
        with pytest.raises(ProviderFailure):
            await session.interrupt()
        after = await next_frames(session, 4)

    assert heard(after) == heard(played)


def answered_within_a_restart() -> Call:
    """The answer comes by the new connection, while what waits in the gate is being sent."""
    answer = RealtimeOutputFrame.audio(FRAME, response_id="answer", frame_id="answer.1")
    done = RealtimeOutputFrame.of(ResponseDone(), response_id="answer", frame_id="done")
    return Call(Drop(), answer, Delay(10), done, faults={("restart", 1): Delay(1), ("send", 1): Delay(4)})


async def interrupt_within_a_restart(session: RealtimeSession, named: str | None) -> None:
    await anyio.sleep(0.5)
    await session.send(audio())
    await anyio.sleep(1)
    await session.interrupt(named)


@pytest.mark.parametrize("named", ["answer", None])
async def test_an_answer_that_waits_for_the_news_of_a_restart_is_interrupted_too(named: str | None) -> None:
    call = answered_within_a_restart()

    async with call.open() as session:
        await interrupt_within_a_restart(session, named)
        frames = await next_frames(session, 2)

    assert heard(frames) == ["restarted", "done"]


@pytest.mark.parametrize("late_s", [1, 4.5], ids=["before the news", "after it"])
async def test_an_answer_that_waits_for_the_news_goes_on_where_its_interrupt_is_refused(
    late_s: float,
) -> None:
    call = answered_within_a_restart()

    async with call.open() as session:
        call.adapter.inject("interrupt", Delay(late_s), Refuse())
        with pytest.raises(ProviderFailure):
            await interrupt_within_a_restart(session, "answer")
        frames = await next_frames(session, 3)

    assert heard(frames) == ["restarted", "answer.1", "done"]


async def test_what_two_interrupts_at_once_had_taken_out_is_back_in_its_place() -> None:
    """Both were refused, as the answer had ended."""
    inbox = Inbox()
    said = [RealtimeOutputFrame.audio(FRAME, response_id="answer.1") for _ in range(3)]
    called = RealtimeOutputFrame.of(BOOK)
    inbox.put(Entry(said[0], 0))
    taken_first = inbox.take_out(None)
    inbox.put(Entry(called, 0))
    inbox.put(Entry(said[1], 0))
    taken_second = inbox.take_out(None)

    taken_first.put_back()
    inbox.put(Entry(said[2], 0))
    taken_second.put_back()

    assert [await inbox.take() for _ in range(4)] == [said[0], called, said[1], said[2]]


async def test_what_an_interrupt_took_out_stays_out_where_another_was_not_refused() -> None:
    call = Call(*spoken(3), Delay(100))

    async with call.open() as session, anyio.create_task_group() as tasks:
        await settled()
        call.adapter.inject("interrupt", Delay(1), Refuse())
        refused = await begin(tasks, session.interrupt)
        await session.interrupt()
        await anyio.sleep(2)
        assert isinstance(refused.error, ProviderFailure)
        with anyio.move_on_after(1):
            await next_frames(session, 1)
            pytest.fail("output of an answer that was interrupted was heard")


async def test_what_the_pump_has_in_hand_stays_out_whatever_a_later_interrupt_comes_to() -> None:
    inbox = Inbox()
    in_hand = Entry(RealtimeOutputFrame.audio(FRAME, response_id="answer.1"), 1)
    inbox.take_out(None, in_hand).let_go()
    refused = inbox.take_out(None, in_hand)

    refused.put_back()
    inbox.put(in_hand)

    assert not inbox


@pytest.mark.parametrize("patience_s", [1, 60], ids=["cancelled", "out of time"])
async def test_an_answer_of_whose_interrupt_the_provider_was_not_told_goes_on(patience_s: float) -> None:
    """The intent was not durable in time, so nobody stopped the answer."""
    answer = spoken(9)
    call = Call(*answer, Delay(100))
    # connect_requested, connected, and two for each frame that is waited for; then the interrupt's.
    stalls_at = 2 + 2 * len(answer) + 1 + 1
    call.journal = FaultyJournal(MemoryJournal(), fail_at=stalls_at, how=JournalFault.STALL, stall_s=20)

    async with call.open(deadlines=Deadlines(interrupt=5, close=60, journal=60)) as session:
        await settled()
        with anyio.move_on_after(patience_s), suppress(DeadlineExceeded):
            await session.interrupt()
        after = await next_frames(session, len(answer))

    assert heard(after) == heard(answer)
    assert "interrupt" not in call.calls


@pytest.mark.parametrize("fault", [Hang(), Drop()], ids=["hung", "lost"])
async def test_an_interrupt_of_which_nobody_knows_silences_the_answer(fault: Hang | Drop) -> None:
    answer = [RealtimeOutputFrame.audio(FRAME, response_id="answer") for _ in range(30)]
    call = Call(*answer, Delay(20), *said(ResponseDone()), faults={("interrupt", 1): fault})

    async with call.open() as session:
        await next_frames(session, 5)
        # A connection that is lost cuts the answer off, as was wished.
        with pytest.raises(DeadlineExceeded) if isinstance(fault, Hang) else nullcontext():
            await session.interrupt("answer")
        rest = await next_frames(session, 1 if isinstance(fault, Hang) else 2)

    assert {type(frame.event) for frame in rest} <= {ResponseDone, Restarted}


@pytest.mark.parametrize(
    "error, goes_on",
    [(PolicyDenied("not now"), True), (ProviderFailure("no"), True), (OSError(), False)],
    ids=["denied", "refused", "broken"],
)
async def test_an_answer_goes_on_whole_or_not_at_all_whatever_an_adapter_raises(
    error: Exception, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupt(*_: object, **__: object) -> None:
        raise error

    call = Call(*said(ResponseStarted()), *spoken(2), Delay(1), *spoken(4)[2:], *said(ResponseDone()))
    monkeypatch.setattr(call.adapter, "interrupt", interrupt)

    async with call.open() as session:
        await next_frames(session, 1)
        await settled()
        with pytest.raises(AgentError):
            await session.interrupt()
        frames = await next_frames(session, 5 if goes_on else 1)

    assert isinstance(frames[-1].event, ResponseDone)


@pytest.mark.parametrize("kind", ["interrupt_requested", "interrupted"])
async def test_an_answer_whose_interrupt_the_journal_does_not_take_is_heard_no_more(kind: str) -> None:
    class Full(MemoryJournal):
        def append(self, record: JournalRecord) -> Any:
            if record.payload.kind == kind:
                raise JournalFailure("the disk is full")
            return super().append(record)

    call = Call(*said(ResponseStarted()), *spoken(4), Delay(100))
    call.journal = Full()

    # The block's own end raises it, too.
    with suppress(JournalFailure):
        async with call.open() as session:
            await next_frames(session, 1)
            await settled()
            with pytest.raises(JournalFailure):
                await session.interrupt()
            with pytest.raises(JournalFailure):
                await next_frames(session, 1)


async def test_each_of_two_interrupts_that_meet_one_loss_returns_its_own_record() -> None:
    call = Call(Delay(100))
    call.journal = SuspendingJournal(MemoryJournal())

    async with call.open() as session, anyio.create_task_group() as tasks:
        call.adapter.inject("interrupt", Delay(1), Drop())
        first = await begin(tasks, partial(session.interrupt, "answer.1"))
        call.adapter.inject("interrupt", Delay(1))
        second = await begin(tasks, partial(session.interrupt, "answer.2"))
        await anyio.sleep(2)

        records = [each.result for each in (first, second)]
        assert [getattr(record, "response_id", None) for record in records] == ["answer.1", "answer.2"]


# -- a restart


async def test_an_answer_that_its_connection_did_not_finish_ends_with_it() -> None:
    """The new connection gives it anew, and nobody wants to hear both."""
    call = Call(*said(ResponseStarted()), *spoken(30), Delay(0.5), Drop(), Delay(2), *spoken(32)[30:])

    async with call.open() as session:
        before = await next_frames(session, 11)
        await anyio.sleep(1)
        after = await next_frames(session, 3)

    assert heard(before)[1:] == [f"said.{number}" for number in range(1, 11)]
    assert heard(after) == ["restarted", "said.31", "said.32"]
    assert reports_in(after)[0].fenced == 20


async def test_a_text_that_is_whole_is_heard_though_its_answer_is_not() -> None:
    call = Call(*said(OutputTranscript("a ta"), OutputTranscript("a table", True)), Drop())

    async with call.open() as session:
        await anyio.sleep(1)
        frames = await next_frames(session, 2)

    assert frames[0].event == OutputTranscript("a table", True)
    assert reports_in(frames)[0].fenced == 1


async def test_an_answer_that_was_finished_is_heard_to_its_end() -> None:
    call = Call(*said(ResponseStarted(), OutputTranscript("a table", True), ResponseDone()), Drop())

    async with call.open() as session:
        await anyio.sleep(1)
        frames = await next_frames(session, 4)

    assert [type(frame.event) for frame in frames] == [
        ResponseStarted,
        OutputTranscript,
        ResponseDone,
        Restarted,
    ]
    assert reports_in(frames)[0].fenced == 0


async def test_a_frame_of_the_new_connection_comes_after_the_news_of_it() -> None:
    """It may be there before the gate is drained."""
    call = Call(Drop(), *spoken(1), faults={("restart", 1): Delay(1), ("send", 1): Delay(4)})

    async with call.open() as session:
        await anyio.sleep(0.5)
        await session.send(audio())
        frames = await next_frames(session, 2)

    assert heard(frames) == ["restarted", "said.1"]
