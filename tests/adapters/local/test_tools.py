"""A local brain that asks the program to do something."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from realtime_async import ProviderFailure
from realtime_async.adapters.local import Brain, CallTool, LocalSpeechAdapter, answer_command
from realtime_async.adapters.local.tools import ToolCalls
from realtime_async.ports import (
    InputTranscript,
    OutputAudio,
    RealtimeInputFrame,
    ResponseDone,
    ResponseStarted,
    ToolCall,
    ToolCallCancelled,
)
from tests.adapters.local.caller import QUESTION, SESSION, Caller, asked, connected

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ready_made_ears")]

BOOKED = "Table nine is yours."


@asynccontextmanager
async def called(brain: Brain = answer_command, *tools: str) -> AsyncIterator[Caller]:
    async with LocalSpeechAdapter(brain, tools=tools or ["book_table"]) as adapter:
        yield await connected(adapter)


async def tool_call(caller: Caller) -> ToolCall:
    event = (await caller.receive_until(ToolCall)).event
    assert isinstance(event, ToolCall)
    return event


async def answer(caller: Caller, call: ToolCall, output: str = BOOKED) -> None:
    await caller.send(RealtimeInputFrame.tool_result(call.call_id, output))


async def ask(caller: Caller, question: str = QUESTION) -> ToolCall:
    await caller.send(RealtimeInputFrame.request_response(question))
    return await tool_call(caller)


async def two_tools(heard: str) -> AsyncGenerator[str | CallTool, str | None]:
    yield "One moment"
    first = yield CallTool("first")
    second = yield CallTool("second")
    missing = yield CallTool("third")
    yield f"{first}, {second}, {missing}."


async def test_a_spoken_question_calls_a_tool_and_its_result_is_the_answer() -> None:
    async with called() as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(caller.say, asked())
        call = await tool_call(caller)
        await answer(caller, call)
        await caller.receive_until(ResponseDone)

        assert (call.name, call.arguments) == ("book_table", '{"people": 4}')
        assert caller.heard() == [QUESTION]
        assert caller.said() == [BOOKED]


async def test_a_tool_that_the_program_does_not_offer_is_not_called() -> None:
    async with called(two_tools, "first", "second") as caller:
        first = await ask(caller)
        await answer(caller, first, "1")
        await answer(caller, await tool_call(caller), "2")
        await caller.receive_until(ResponseDone)

        assert caller.said() == ["One moment 1, 2, None."]


async def test_what_was_said_before_a_tool_is_called_is_heard_before_it_is() -> None:
    async with called(two_tools, "first") as caller:
        await ask(caller)

        assert caller.events(OutputAudio)


async def test_a_result_that_overtakes_a_question_asks_for_no_answer_of_its_own() -> None:
    """The listener is busy, or waits for the speaker: it hears of the question when the result is there already."""
    asked_for: list[str] = []

    async def book_first(question: str) -> AsyncGenerator[str | CallTool, str | None]:
        asked_for.append(question)
        booked = (yield CallTool("book_table")) if question == QUESTION else None
        yield booked or "Next."

    async with called(book_first) as caller:
        call = await ask(caller)
        await caller.send(RealtimeInputFrame.request_response("And then?"))
        await answer(caller, call)
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseDone, times=2)
        await anyio.wait_all_tasks_blocked()

        assert caller.said() == [BOOKED, "Next."]
        assert asked_for == [QUESTION, "And then?"]


@pytest.mark.parametrize("restarts", [1, 2])
async def test_a_tool_is_called_once_though_the_connection_dies_while_it_works(restarts: int) -> None:
    async with called() as caller:
        call = await ask(caller)

        for _ in range(restarts):
            await caller.restart()
            await caller.receive_until(ResponseStarted)
        await answer(caller, call)
        await caller.receive_until(ResponseDone)

        assert caller.events(ToolCall) == [call]
        assert caller.said() == [BOOKED]


async def test_a_tool_is_called_once_though_the_connection_dies_after_its_result() -> None:
    async with called() as caller:
        await answer(caller, await ask(caller))
        await caller.receive_until(OutputAudio)

        await caller.restart()
        await caller.receive_until(ResponseDone, times=2)

        assert len(caller.events(ToolCall)) == 1
        assert caller.said() == [BOOKED]


async def test_a_call_that_nobody_has_seen_is_made_anew_on_the_next_connection() -> None:
    async with called() as caller:
        await caller.send(RealtimeInputFrame.request_response(QUESTION))
        await anyio.wait_all_tasks_blocked()

        await caller.restart()
        await answer(caller, await tool_call(caller))
        await caller.receive_until(ResponseDone)

        assert len(caller.events(ToolCall)) == 1
        assert caller.said() == [BOOKED]


async def test_an_interrupted_answer_takes_its_call_back() -> None:
    async with called() as caller:
        call = await ask(caller)

        await caller.adapter.interrupt(SESSION, None)
        await caller.receive_until(ResponseDone)
        await answer(caller, call)
        await caller.send(RealtimeInputFrame.request_response("hello"))
        await caller.receive_until(ResponseDone)

        assert caller.events(ToolCallCancelled) == [ToolCallCancelled((call.call_id,))]
        assert caller.said() == ["Hello! What can I do for you?"]


async def test_a_call_that_nobody_has_seen_is_not_taken_back() -> None:
    async with called() as caller:
        await caller.send(RealtimeInputFrame.request_response(QUESTION))
        await caller.receive_until(ResponseStarted)
        await anyio.wait_all_tasks_blocked()

        await caller.adapter.interrupt(SESSION, None)
        await caller.receive_until(ResponseDone)

        assert caller.events(ToolCall, ToolCallCancelled) == []


async def test_a_request_that_follows_a_result_asks_for_nothing_more() -> None:
    async with called() as caller:
        await answer(caller, await ask(caller))
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseDone)
        await caller.restart()
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseDone)

        assert caller.said() == [BOOKED, "Hello! What can I do for you?"]


async def test_the_result_of_a_call_that_never_was_is_refused() -> None:
    async with called() as caller:
        with pytest.raises(ProviderFailure, match="has asked for no tool call"):
            await caller.send(RealtimeInputFrame.tool_result("call.7", "a secret"))


@pytest.mark.virtual_time
async def test_a_tool_that_gives_no_result_is_given_up() -> None:
    async with called() as caller:
        call = await ask(caller)
        await caller.receive_until(ResponseDone)

        assert caller.said() == ["A table for four is booked. See you tonight!"]
        assert caller.events(ToolCallCancelled) == [ToolCallCancelled((call.call_id,))]


async def test_a_brain_that_does_nothing_but_call_tools_is_ended() -> None:
    async def obsessed(heard: str) -> AsyncGenerator[str | CallTool, str | None]:
        while True:
            yield CallTool("first")

    async with called(obsessed, "first") as caller:
        await caller.send(RealtimeInputFrame.request_response("go"))
        for _ in range(ToolCalls.OPEN):
            await answer(caller, await tool_call(caller))

        with pytest.raises(ProviderFailure, match="ContractViolation"):
            await caller.receive_until(InputTranscript)
