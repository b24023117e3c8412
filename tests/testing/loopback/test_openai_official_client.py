"""The official client holds a whole conversation with the loopback server."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from openai import AsyncOpenAI

from realtime_async.testing.loopback.hearing import TurnsByFrame, numbered_audio
from realtime_async.testing.loopback.openai import Answer, Call, LoopbackOpenAI, OpenAIScript
from tests.testing.loopback.openai_types import misfits

SCRIPT = OpenAIScript(
    answers=[
        Answer("Let me look.", calls=[Call("book_table", '{"people": 2}')]),
        Answer("It is booked, and there is more to say.", audio_ms=2000, hold_after=3),
    ],
    turns=TurnsByFrame([(5, 30)]),
    transcripts=["A table for two"],
)


# It knows asyncio only.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_official_client_speaks_is_answered_calls_a_tool_and_cancels() -> None:
    with LoopbackOpenAI(SCRIPT) as server, anyio.fail_after(20):
        async with (
            AsyncOpenAI(api_key=server.key, base_url=server.http_url) as client,
            client.realtime.connect(model="gpt-realtime") as connection,
        ):
            until = reading(connection.recv)
            await until("session.created")
            await connection.session.update(
                session={"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
            )
            for number in range(35):
                audio = base64.b64encode(numbered_audio(number)).decode()
                await connection.input_audio_buffer.append(audio=audio)
            heard = await until("conversation.item.input_audio_transcription.completed")
            call = await until("response.function_call_arguments.done")
            first = await until("response.done")
            await connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": call.call_id, "output": "booked"}
            )
            await connection.response.create()
            delta = await until("response.output_audio.delta")
            await connection.response.cancel(response_id=delta.response_id)
            second = await until("response.done")
            await connection.conversation.item.truncate(
                item_id=delta.item_id, content_index=0, audio_end_ms=250
            )
            cut = await until("conversation.item.truncated")

    assert heard.transcript == "A table for two"
    assert (call.name, call.arguments) == ("book_table", '{"people": 2}')
    assert [first.response.status, second.response.status] == ["completed", "cancelled"]
    assert cut.audio_end_ms == 250
    (told,) = server.log
    assert told.heard == [*range(35)]
    assert misfits(told.received, "client") == []


def reading(recv: Callable[[], Awaitable[Any]]) -> Callable[[str], Awaitable[Any]]:
    async def until(kind: str) -> Any:
        while True:
            event = await recv()
            assert event.type != "error", event
            if event.type == kind:
                return event

    return until
