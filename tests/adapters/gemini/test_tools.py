"""Tools that the session runs: each result reaches the model once, and nothing is asked beside it."""

from __future__ import annotations

import json

import anyio
import pytest

from realtime_async import (
    RealtimeInputFrame,
    RealtimeSessionSidecar,
    ResponseDone,
    ToolCall,
    ToolCallCancelled,
    open_session,
)
from realtime_async.adapters.gemini import GeminiLiveAdapter, TextInput
from realtime_async.journals import MemoryJournal
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.gemini import GeminiAnswer, GeminiCall, GeminiScript, LoopbackGemini
from tests.adapters.gemini.gemini_side import KEY, config_for
from tests.adapters.gemini.official import check_client

WEATHER = GeminiAnswer("Sunny.", calls=[GeminiCall("weather", {"city": "Rome"})])
SIDECAR = RealtimeSessionSidecar.voice_defaults("front-desk")
MODELS = {
    TextInput.REALTIME: "gemini-3.8-live",
    TextInput.CONTENT: "gemini-2.5-flash-native-audio",
}


async def weather(city: str) -> dict[str, object]:
    return {"city": city, "celsius": 21}


@pytest.mark.parametrize("text_input", list(TextInput))
async def test_a_result_is_all_that_the_model_is_sent_for_its_call(text_input: TextInput) -> None:
    with LoopbackGemini(GeminiScript([WEATHER]), key=KEY) as server, anyio.fail_after(20):
        config = config_for(server, model=MODELS[text_input], text_input=text_input)
        async with (
            GeminiLiveAdapter(config) as adapter,
            open_session(SIDECAR, adapter, MemoryJournal(), run_id="call") as session,
        ):
            await session.send(RealtimeInputFrame.text("How is the weather?"))
            await session.send(RealtimeInputFrame.request_response())
            status = ""
            async for frame in session.frames():
                match frame.event:
                    case ToolCall() as call:
                        await session.answer(call, weather)
                    case ResponseDone() as done:
                        status = done.status
                        break
        (connection,) = server.log

    sent = [check_client(message) for message in connection.received]
    last = sent[-1]["toolResponse"]["functionResponses"]
    assert [response["response"] for response in last] == [{"city": "Rome", "celsius": 21}]
    assert connection.refused is None
    assert status == "completed"


async def test_a_tool_at_work_when_the_connection_dies_is_given_up_and_called_anew() -> None:
    works = anyio.Event()
    begun: list[str] = []

    async def slow_weather(city: str) -> str:
        begun.append(city)
        if len(begun) == 1:
            works.set()
            await anyio.sleep_forever()
        return "sunny"

    with LoopbackGemini(GeminiScript(otherwise=WEATHER), key=KEY) as server, anyio.fail_after(20):

        async def drop() -> None:
            await works.wait()
            server.drop(DropHow.END_OF_FILE)

        async with (
            GeminiLiveAdapter(config_for(server)) as adapter,
            open_session(SIDECAR, adapter, MemoryJournal(), run_id="call") as session,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(drop)
            await session.send(RealtimeInputFrame.text("How is the weather?"))
            cancelled: list[str] = []
            async for frame in session.frames():
                match frame.event:
                    case ToolCall() as call:
                        await session.answer(call, slow_weather)
                    case ToolCallCancelled(call_ids):
                        cancelled += call_ids
                    case ResponseDone("completed"):
                        break
        results = [
            json.loads(message) for message in server.log[-1].received if b"toolResponse" in as_bytes(message)
        ]

    assert begun == ["Rome", "Rome"]
    assert cancelled == ["function-call-1"]
    (result,) = results
    assert result["toolResponse"]["functionResponses"][0]["id"] == "function-call-2"
    assert [entry.refused for entry in server.log] == [None, None]


def as_bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message
