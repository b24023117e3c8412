"""Who says much and leaves at once is heard to the end, though nobody is there to be answered."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import anyio

from realtime_async.adapters._websocket import WebSocket, open_websocket
from realtime_async.testing.loopback import LoopbackGemini, LoopbackOpenAI
from realtime_async.testing.loopback.gemini import GeminiScript
from realtime_async.testing.loopback.hearing import TurnsByNumber, numbered_audio
from realtime_async.testing.loopback.openai import Moment, OpenAIScript
from tests.testing.loopback.raw_gemini import MODEL, PATH, audio

SPOKEN = [*range(1, 31)]
# The server has something to say early, and the most of what was said is still to be read.
TURNS = TurnsByNumber([(2, 10), (12, 20)])
PATIENCE_S = 10.0


@asynccontextmanager
async def leaving(url: str, key: str, may_read: Event) -> AsyncIterator[WebSocket]:
    """A client that has said goodbye, and all before it, when the server may read on."""
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            websocket = await open_websocket(tasks, url, headers={"Authorization": key})
            yield websocket
            tasks.start_soon(websocket.aclose)
            await anyio.wait_all_tasks_blocked()
            may_read.set()


async def say(websocket: WebSocket, message: dict[str, Any]) -> None:
    await websocket.send(json.dumps(message))


async def test_openai_hears_the_end_of_what_was_said_before_goodbye() -> None:
    may_read = Event()
    async with LoopbackOpenAI(OpenAIScript(turns=TURNS)) as server:
        server.at("session.updated", lambda: may_read.wait(PATIENCE_S), moment=Moment.BEFORE)
        async with leaving(server.url, f"Bearer {server.key}", may_read) as websocket:
            await say(websocket, {"type": "session.update", "session": {"type": "realtime"}})
            for number in SPOKEN:
                sound = base64.b64encode(numbered_audio(number)).decode()
                await say(websocket, {"type": "input_audio_buffer.append", "audio": sound})
        await server.until(lambda: not server.peers)

        assert server.heard == SPOKEN


async def test_gemini_hears_the_end_of_what_was_said_before_goodbye() -> None:
    may_read = Event()
    async with LoopbackGemini(GeminiScript(turns=TURNS)) as server:
        server.at(2, lambda: may_read.wait(PATIENCE_S))
        async with leaving(f"{server.url}{PATH}", f"Token {server.key}", may_read) as websocket:
            await say(websocket, {"setup": {"model": MODEL}})
            await websocket.receive()
            server.go_away()
            for number in SPOKEN:
                await say(websocket, audio(numbered_audio(number, frame_bytes=640)))
        await server.until(lambda: not server.peers)

        assert server.conversations[0].heard == SPOKEN
