"""A provider that stalls: who is waited for, and for how long; silence alone is no reason to restart."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from realtime_async import Deadlines, RealtimeSession, RestartPolicy, RestartReport
from realtime_async.adapters.scripted import Delay
from realtime_async.ports import (
    InputCommitted,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeRestartReason,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
)
from tests.controller.begun import begin
from tests.controller.staged import audio
from tests.test_session import Call, next_frames
from tests.test_session_frames import spoken
from tests.test_session_supervised import listen_to, reports_in, said, until_restarted

pytestmark = pytest.mark.virtual_time

Reason = RealtimeRestartReason


async def test_a_provider_that_hears_and_says_nothing_is_replaced() -> None:
    call = Call()
    policy = RestartPolicy(stalled_after_s=30, max_connection_age_s=None)

    async with call.open(restart_policy=policy) as session, anyio.create_task_group() as tasks:
        loop = await begin(tasks, partial(until_restarted, session))
        for _ in range(100):
            await session.send(audio())
            await anyio.sleep(1)
        tasks.cancel_scope.cancel()

    assert isinstance(loop.result, RestartReport)
    assert loop.result.reason is Reason.STALLED
    assert loop.ended_at == pytest.approx(30, abs=0.1)


async def microphone(session: RealtimeSession, until: float) -> None:
    """Send what it hears once a second, which is nothing."""
    while anyio.current_time() < until:
        await session.send(audio())
        await anyio.sleep(1)


async def test_a_caller_who_is_silent_for_ten_minutes_is_not_cut_off() -> None:
    call = Call(*said(SpeechStarted(), SpeechStopped(), InputCommitted(), ResponseStarted(), ResponseDone()))

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, [])
        await microphone(session, 600)
        await session.close()

    assert session.delivery.sent == 600
    assert "restart" not in call.calls


async def test_a_provider_that_stalls_in_its_answer_is_replaced() -> None:
    call = Call(*said(ResponseStarted()), Delay(60), *said(ResponseDone()))

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(microphone, session, 30)
        report = await until_restarted(session)

    assert report.reason is Reason.STALLED


async def test_a_provider_that_begins_an_answer_and_stalls_is_replaced_though_nothing_is_sent() -> None:
    call = Call(Delay(5), *said(ResponseStarted()), Delay(600), *said(ResponseDone()))

    async with call.open() as session:
        report = await until_restarted(session)

    assert report.reason is Reason.STALLED
    assert anyio.current_time() == pytest.approx(5 + 30, abs=1)


async def test_a_provider_that_stalls_after_a_loop_was_slow_is_replaced() -> None:
    call = Call(*said(ResponseStarted()), *spoken(80), Delay(600), *said(ResponseDone()))

    async with call.open() as session:
        await anyio.sleep(100)
        report = await until_restarted(session)

    assert report.reason is Reason.STALLED
    assert anyio.current_time() == pytest.approx(100 + 30, abs=1)


async def test_a_provider_that_does_not_answer_when_asked_is_replaced_once() -> None:
    """Whether the next connection has been asked is the adapter's to know, so it is not judged by it."""
    call, frames = Call(), list[RealtimeOutputFrame]()

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, frames)
        await session.send(RealtimeInputFrame.request_response())
        await microphone(session, 600)
        await session.close()

    assert [report.reason for report in reports_in(frames)] == [Reason.STALLED]


async def test_a_tool_may_take_longer_than_an_answer() -> None:
    call = Call(*said(ResponseStarted(), ToolCall("call.1")))

    async def slow() -> str:
        await anyio.sleep(100)
        return "done"

    async with call.open(deadlines=Deadlines(tool=200)) as session:
        frames = await next_frames(session, 2)
        assert isinstance(frames[1].event, ToolCall)
        await session.answer(frames[1].event, slow)
        await call.adapter.until_sent(1)

    assert "restart" not in call.calls


async def test_silence_on_both_sides_is_no_stall() -> None:
    call = Call()
    policy = RestartPolicy(stalled_after_s=30, max_connection_age_s=None)

    async with call.open(restart_policy=policy) as session:
        await anyio.sleep(10_000)
        assert session.state.restart_count == 0


async def test_a_loop_that_does_not_listen_makes_no_stall() -> None:
    call = Call(*spoken(200))
    policy = RestartPolicy(stalled_after_s=30, max_connection_age_s=None)

    async with call.open(restart_policy=policy) as session:
        for _ in range(100):
            await session.send(audio())
            await anyio.sleep(1)
        assert session.state.restart_count == 0
