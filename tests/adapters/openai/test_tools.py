"""Answers that call tools, and the request for the answer that comes of their results."""

from __future__ import annotations

import json

import pytest

from realtime_async import RealtimeSessionSidecar, open_session
from realtime_async.adapters.openai import OpenAIRealtimeAdapter
from realtime_async.adapters.openai import session as openai_session
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    GoAway,
    OutputTranscript,
    RealtimeInputFrame,
    ResponseDone,
    ResponseStarted,
    ToolCall,
)
from realtime_async.testing.loopback.openai import Answer, Call, LoopbackOpenAI, OpenAIScript
from tests.adapters.openai.openai_side import ASK, REQUEST, SESSION, config_for, until


async def test_two_tools_of_one_answer_have_one_answer_between_them() -> None:
    async def book() -> str:
        return "booked"

    script = OpenAIScript([Answer(text=None, calls=[Call("book"), Call("book")])], Answer("Both are booked."))
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    async with (
        LoopbackOpenAI(script) as server,
        OpenAIRealtimeAdapter(config_for(server, tools=[book])) as adapter,
        open_session(sidecar, adapter, MemoryJournal(), run_id="call-42") as session,
    ):
        await session.send(ASK)
        async for frame in session.frames():
            if isinstance(frame.event, ToolCall):
                await session.answer(frame.event, book)
            if isinstance(frame.event, OutputTranscript) and frame.event.final:
                break

        received = [json.loads(message)["type"] for message in server.log[0].received]
        assert received[1:] == ["response.create", *["conversation.item.create"] * 2, "response.create"]


async def _two_calls(adapter: OpenAIRealtimeAdapter) -> list[ToolCall]:
    await adapter.connect(REQUEST)
    await adapter.send(SESSION, ASK)
    calls = [await until(adapter, ToolCall) for _ in range(2)]
    await until(adapter, ResponseDone)
    return [call for call in calls if isinstance(call, ToolCall)]


async def _ask_between_two_results(adapter: OpenAIRealtimeAdapter) -> None:
    book, forecast = await _two_calls(adapter)
    await adapter.send(SESSION, RealtimeInputFrame.tool_result(book.call_id, "booked"))
    await adapter.send(SESSION, ASK)
    await adapter.send(SESSION, RealtimeInputFrame.tool_result(forecast.call_id, "rain"))


async def test_a_call_that_nobody_answers_keeps_the_model_silent_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openai_session, "RESULTS_WITHIN_S", 0.05)
    script = OpenAIScript([Answer(text=None, calls=[Call("book"), Call("forecast")])], Answer("Booked."))
    async with LoopbackOpenAI(script) as server, OpenAIRealtimeAdapter(config_for(server)) as adapter:
        book, _ = await _two_calls(adapter)

        await adapter.send(SESSION, RealtimeInputFrame.tool_result(book.call_id, "booked"))
        await adapter.send(SESSION, ASK)

        assert isinstance(await until(adapter, ResponseStarted), ResponseStarted)


async def test_that_a_connection_will_end_is_told_though_a_request_waited_for_results_on_it() -> None:
    script = OpenAIScript([Answer(text=None, calls=[Call("book"), Call("forecast")])], Answer("Both."))
    async with (
        LoopbackOpenAI(script) as server,
        OpenAIRealtimeAdapter(config_for(server, connection_lifetime_s=1.0, go_away_before_s=0.8)) as adapter,
    ):
        await _ask_between_two_results(adapter)

        assert isinstance(await until(adapter, GoAway), GoAway)


async def test_the_end_of_a_connection_is_told_once_though_a_request_waits_for_results_after_it() -> None:
    script = OpenAIScript([Answer(text=None, calls=[Call("book"), Call("forecast")])], Answer("Both."))
    async with (
        LoopbackOpenAI(script) as server,
        OpenAIRealtimeAdapter(config_for(server, connection_lifetime_s=60, go_away_before_s=60)) as adapter,
    ):
        await _ask_between_two_results(adapter)

        heard = [await adapter.receive(SESSION) for _ in range(3)]

        assert not any(frame is not None and isinstance(frame.event, GoAway) for frame in heard)
