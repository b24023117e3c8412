"""A session that is handed over by the everyday door, between turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from realtime_async import RealtimeSession, RestartPolicy
from realtime_async.adapters.scripted import Delay, Played, Refuse
from realtime_async.errors import JournalFailure, RetryClassification, SessionStateError
from realtime_async.ports import (
    InputCommitted,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    Restarted,
    SpeechStarted,
    SpeechStopped,
)
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, audio
from tests.test_session import Call, next_frames
from tests.test_session_resumed import Resumed
from tests.test_session_supervised import listen_to, said
from tests.test_session_tools import BOOK, Tables, results

pytestmark = pytest.mark.virtual_time

BOTH = pytest.mark.parametrize("policy", [RestartPolicy(), None], ids=["supervised", "by hand"])


@BOTH
async def test_its_frames_end_and_the_block_writes_nothing_more(policy: RestartPolicy | None) -> None:
    call, frames = Call(), list[RealtimeOutputFrame]()

    async with call.open(restart_policy=policy) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, frames)
        await session.send(audio())
        await session.hand_over()
        with pytest.raises(SessionStateError, match="resume it"):
            await session.send(audio())

    assert call.calls == ["connect", "send", "close"]
    assert (await call.kinds())[-1] == "handed_over"


async def test_the_next_one_goes_on() -> None:
    before = Call()
    async with before.open() as session:
        await session.send(audio())
        await session.hand_over()
    after = await Resumed.of(before)

    async with after.open() as session:
        await session.send(audio())

    assert (session.delivery.sent, session.delivery.in_doubt) == (2, 0)
    assert (await after.kinds())[-1] == "closed"


# -- between turns

TURN: list[Played] = [
    *said(SpeechStarted()), Delay(1), *said(SpeechStopped(), InputCommitted()), Delay(1), *said(ResponseStarted()),
    RealtimeOutputFrame.audio(FRAME, response_id="answer"), Delay(1), *said(ResponseDone()),
]  # fmt: skip


@BOTH
async def test_a_turn_is_waited_for_until_its_answer_is_over(policy: RestartPolicy | None) -> None:
    call = Call(*TURN)

    async with call.open(restart_policy=policy) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, [])
        await settled()
        await session.between_turns()
        assert anyio.current_time() == pytest.approx(3)
        await session.close()


async def test_between_turns_nothing_is_waited_for() -> None:
    call = Call()

    async with call.open() as session:
        await session.between_turns()
        assert anyio.current_time() == 0


@pytest.mark.parametrize("asks", [RealtimeInputFrame.request_response, RealtimeInputFrame.end_of_turn])
async def test_an_answer_that_was_asked_for_is_waited_for(
    asks: Callable[[], RealtimeInputFrame],
) -> None:
    call = Call(Delay(2), *said(ResponseStarted(), ResponseDone()))

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, [])
        await session.send(asks())
        await session.between_turns()
        assert anyio.current_time() == pytest.approx(2)
        await session.close()


async def test_what_the_loop_has_not_taken_is_waited_for() -> None:
    call = Call(*said(ResponseStarted(), ResponseDone()))

    async with call.open() as session, anyio.create_task_group() as tasks:
        await anyio.sleep(1)
        waiting = await begin(tasks, session.between_turns)
        for _ in range(2):
            assert not waiting.is_over
            await next_frames(session, 1)
            await settled()
        assert waiting.is_over


async def test_a_tool_is_waited_for_and_its_answer_is_sent() -> None:
    call, tables = Call(), Tables(seconds=5)

    async with call.open() as session, anyio.create_task_group() as tasks:
        await session.answer(BOOK, tables.book)
        waiting = await begin(tasks, session.between_turns)
        await anyio.sleep(4)
        assert not waiting.is_over
        await anyio.sleep(2)
        # The result has asked for an answer, which a silent provider owes still.
        assert not waiting.is_over
        assert len(results(call)) == 1
        tasks.cancel_scope.cancel()

    assert tables.booked == [2]


@pytest.mark.parametrize("ends_after", [3, 0], ids=["the tool is quick", "the tool is slow"])
@BOTH
async def test_what_is_said_of_a_tool_in_another_answer_is_waited_for(
    policy: RestartPolicy | None, ends_after: float
) -> None:
    call = Call(
        *said(ResponseStarted(), BOOK), Delay(ends_after), *said(ResponseDone()), Delay(6),
        *said(ResponseStarted()), Delay(1), *said(ResponseDone()),
    )  # fmt: skip
    tables = Tables(seconds=2)

    async with call.open(restart_policy=policy) as session, anyio.create_task_group() as tasks:

        async def loop() -> None:
            async for frame in session.frames():
                if frame.event == BOOK:
                    await session.answer(BOOK, tables.book)

        tasks.start_soon(loop)
        await settled()
        await session.between_turns()
        assert anyio.current_time() == pytest.approx(ends_after + 6 + 1)
        await session.close()

    assert tables.booked == [2]


async def test_an_answer_that_the_new_connection_is_asked_for_again_is_waited_for() -> None:
    call, frames = Call(*said(ResponseStarted())), list[RealtimeOutputFrame]()

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, frames)
        await settled()
        await session.restart()
        await settled()
        assert isinstance(frames[-1].event, Restarted)
        waiting = await begin(tasks, session.between_turns)
        for event in (ResponseStarted(), ResponseDone()):
            assert not waiting.is_over
            call.adapter.feed(*said(event))
            await settled()
        assert waiting.is_over
        await session.close()


async def test_an_answer_that_was_interrupted_while_there_was_no_connection_is_not_waited_for() -> None:
    call = Call(*said(ResponseStarted()))

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, [])
        await settled()
        call.adapter.drop()
        await session.interrupt()
        await anyio.sleep(5)
        await session.between_turns()
        await session.close()


async def test_an_answer_that_is_owed_is_waited_for_until_it_is_interrupted() -> None:
    call = Call()

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, [])
        await session.send(RealtimeInputFrame.request_response())
        waiting = await begin(tasks, session.between_turns)
        assert not waiting.is_over
        await session.interrupt()
        await settled()
        assert waiting.is_over
        await session.close()


async def test_a_session_that_ends_is_waited_for_no_longer() -> None:
    call = Call(*said(ResponseStarted()))

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, [])
        await settled()
        waiting = await begin(tasks, session.between_turns)
        await session.close()
        await settled()
        assert waiting.is_over


@BOTH
@pytest.mark.parametrize("end", [RealtimeSession.close, RealtimeSession.hand_over])
async def test_a_session_that_ends_with_nobody_listening_is_waited_for_no_longer(
    end: Callable[[RealtimeSession], Awaitable[object]], policy: RestartPolicy | None
) -> None:
    call = Call()

    async with call.open(restart_policy=policy) as session, anyio.create_task_group() as tasks:
        await session.send(RealtimeInputFrame.request_response())
        waiting = await begin(tasks, session.between_turns)
        await end(session)
        await settled()
        assert waiting.is_over


async def test_a_session_whose_provider_is_gone_is_waited_for_no_longer() -> None:
    call = Call(faults={("restart", 1): Refuse("invalid_api_key", RetryClassification.NOT_RETRYABLE)})

    async with call.open() as session, anyio.create_task_group() as tasks:
        await session.send(RealtimeInputFrame.request_response())
        waiting = await begin(tasks, session.between_turns)
        call.adapter.drop()
        await settled()
        assert waiting.is_over


async def test_a_session_whose_journal_fails_is_waited_for_no_longer() -> None:
    call = Call()
    call.journal = FaultyJournal(call.journal, fail_at=6, how=JournalFault.REFUSE)

    async def talk_into_a_full_disk() -> None:
        async with call.open() as session, anyio.create_task_group() as tasks:
            await session.send(RealtimeInputFrame.request_response())
            waiting = await begin(tasks, session.between_turns)
            with pytest.raises(JournalFailure):
                await session.send(audio())
            await settled()
            assert waiting.is_over

    with pytest.raises(JournalFailure):
        await talk_into_a_full_disk()
