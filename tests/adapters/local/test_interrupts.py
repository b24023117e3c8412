"""Speaking into an answer of the local adapter."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from realtime_async.ports import (
    OutputAudio,
    RealtimeInputFrame,
    ResponseDone,
    ResponseStarted,
)
from tests.adapters.local.caller import (
    SESSION,
    called,
    ramble,
    repeat,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ready_made_ears")]


async def test_an_interrupted_answer_says_nothing_more_but_that_it_is_over() -> None:
    async with called(ramble) as caller:
        await caller.send(RealtimeInputFrame.request_response())
        started = await caller.receive_until(OutputAudio)
        await anyio.wait_all_tasks_blocked()

        await caller.adapter.interrupt(SESSION, None, played_ms=20)
        following = await caller.adapter.receive(SESSION)

        assert following is not None
        assert (following.event, following.response_id) == (ResponseDone("cancelled"), started.response_id)


async def test_an_interrupt_overtakes_a_speaker_that_was_just_given_room() -> None:
    async with called(ramble) as caller:
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseStarted)
        await anyio.wait_all_tasks_blocked()

        await caller.adapter.receive(SESSION)
        await caller.adapter.interrupt(SESSION, None)
        await anyio.wait_all_tasks_blocked()
        await caller.receive_until(ResponseDone)
        with anyio.move_on_after(0) as nothing_follows:
            await caller.adapter.receive(SESSION)

        assert nothing_follows.cancelled_caught


async def test_a_brain_that_thinks_is_interrupted() -> None:
    ended = anyio.Event()

    async def think(question: str) -> str:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return "never"

    async with called(think) as caller:
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseStarted)

        await caller.adapter.interrupt(SESSION, None)
        await ended.wait()

        assert (await caller.receive_until(ResponseDone)).event == ResponseDone("cancelled")


async def test_an_answer_that_is_complete_is_silenced_too() -> None:
    async with called() as caller:
        await caller.send(RealtimeInputFrame.request_response("hello"))
        await caller.receive_until(ResponseStarted)
        await anyio.wait_all_tasks_blocked()

        await caller.adapter.interrupt(SESSION, caller.received[-1].response_id)
        following = await caller.adapter.receive(SESSION)

        assert following is not None
        assert isinstance(following.event, ResponseDone)


async def test_an_interrupt_of_another_answer_changes_nothing() -> None:
    async with called(repeat) as caller:
        await caller.adapter.interrupt(SESSION, None)
        await caller.send(RealtimeInputFrame.request_response("first"))
        first = await caller.receive_until(ResponseDone)
        await caller.send(RealtimeInputFrame.request_response("second"))
        await caller.receive_until(ResponseStarted)

        await caller.adapter.interrupt(SESSION, first.response_id)
        done = await caller.receive_until(ResponseDone)

        assert done.event == ResponseDone("completed")
