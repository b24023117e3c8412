"""Google's client holds a whole conversation with the loopback server."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trustme
from google import genai
from google.genai import errors, types
from google.genai.live import AsyncSession

from realtime_async.testing._journal_records import first_of
from realtime_async.testing.loopback.gemini import GeminiAnswer, GeminiCall, GeminiScript, LoopbackGemini
from realtime_async.testing.loopback.hearing import TurnsByLoudness, numbered_audio
from tests.adapters.gemini.official import check_server

MODEL = "gemini-3.8-live"
SCRIPT = GeminiScript(
    answers=[
        GeminiAnswer("It is sunny.", calls=[GeminiCall("weather", {"city": "Rome"})]),
        GeminiAnswer("Once upon a time", audio_ms=2000, hold_after=2),
    ],
    turns=TurnsByLoudness(3, 5),
    heard_as="How is the weather?",
)

# The client knows asyncio only, and its module is deprecated in parts that are not used here.
pytestmark = [
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


# The client speaks nothing but TLS.
AUTHORITY = trustme.CA()
TRUSTING = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTING)


def loopback(script: GeminiScript | None = None) -> LoopbackGemini:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(tls)
    return LoopbackGemini(script, tls=tls)


@asynccontextmanager
async def official(server: LoopbackGemini, **config: Any) -> AsyncIterator[AsyncSession]:
    options = types.HttpOptions(
        base_url=server.http_url, api_version="v1beta", async_client_args={"ssl": TRUSTING}
    )
    client = genai.Client(api_key=server.key, vertexai=False, http_options=options)
    live_config = types.LiveConnectConfig(**{"response_modalities": ["AUDIO"], **config})
    with anyio.fail_after(20):
        async with client.aio.live.connect(model=MODEL, config=live_config) as session:
            yield session


async def turn(session: AsyncSession) -> list[types.LiveServerMessage]:
    return [message async for message in session.receive()]


async def speak(session: AsyncSession, *frames: bytes) -> None:
    for pcm in frames:
        await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type="audio/pcm;rate=16000"))


async def test_it_speaks_is_asked_for_a_tool_hears_the_answer_and_talks_over_the_next() -> None:
    config = {
        "session_resumption": {},
        "input_audio_transcription": {},
        "output_audio_transcription": {},
        "system_instruction": "Be brief.",
        "tools": [{"function_declarations": [{"name": "weather"}]}],
    }
    with loopback(SCRIPT) as server:
        async with official(server, **config) as session:
            await speak(session, *(numbered_audio(number, frame_bytes=640) for number in range(1, 7)))
            await speak(session, *[bytes(640)] * 6)
            messages = []
            calls: list[types.FunctionCall] = []
            async for message in session.receive():
                messages.append(message)
                if message.tool_call and message.tool_call.function_calls:
                    calls += message.tool_call.function_calls
                    await session.send_tool_response(
                        function_responses=types.FunctionResponse(
                            id=calls[0].id, name=calls[0].name, response={"output": "sunny"}
                        )
                    )
            await session.send_realtime_input(text="Tell me a story.")
            stories = session.receive()
            while not (await anext(stories)).data:
                pass
            await speak(session, *(numbered_audio(number, frame_bytes=640) for number in range(7, 11)))
            cut = [message async for message in stories]
        (connection,) = server.log

    heard = [message.server_content.input_transcription.text for message in messages
             if message.server_content and message.server_content.input_transcription]  # fmt: skip
    assert heard == ["How is the weather?"]
    assert sum(len(message.data or b"") for message in messages) == 400 * 48
    assert [call.args for call in calls] == [{"city": "Rome"}]
    assert any(message.server_content and message.server_content.interrupted for message in cut)
    assert server.conversations[0].heard == list(range(1, 11))
    assert server.conversations[0].questions == ["Tell me a story."]
    assert connection.refused is None
    for sent in connection.sent:
        check_server(json.dumps(sent))


async def test_it_marks_its_turns_itself() -> None:
    detection = {"automatic_activity_detection": {"disabled": True}}
    with loopback() as server:
        async with official(server, realtime_input_config=detection) as session:
            await session.send_realtime_input(activity_start=types.ActivityStart())
            await speak(session, numbered_audio(1, frame_bytes=640))
            await session.send_realtime_input(activity_end=types.ActivityEnd())
            messages = await turn(session)

    assert messages[-1].server_content is not None
    assert messages[-1].server_content.turn_complete


async def test_it_resumes_by_the_handle_that_it_was_given() -> None:
    with loopback() as server:
        async with official(server, session_resumption={}) as session:
            await session.send_realtime_input(text="frame 1")
            await turn(session)
            update = (await first_of(session.receive())).session_resumption_update
        assert update is not None
        async with official(server, session_resumption={"handle": update.new_handle}) as session:
            await session.send_realtime_input(text="frame 2")
            await turn(session)

    (conversation,) = server.conversations
    assert conversation.known == [1, 2]


async def test_it_is_told_by_the_close_code_that_it_broke_a_rule() -> None:
    with loopback() as server:
        async with official(server) as session:
            await session.send_client_content(turns=types.Content(role="user", parts=[types.Part(text="Hi")]))

            with pytest.raises(errors.APIError) as refused:
                await turn(session)

    assert refused.value.code == 1007
