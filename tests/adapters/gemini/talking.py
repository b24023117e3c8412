"""A session that is connected to a server on loopback, for tests to talk in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs

from realtime_async.adapters.gemini import GeminiLiveAdapter
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeSessionId,
    StreamCursor,
)
from realtime_async.testing.loopback.gemini import GeminiAnswer, GeminiCall, GeminiScript, LoopbackGemini
from realtime_async.testing.loopback.hearing import TurnsByNumber, numbered_audio
from tests.adapters.gemini.gemini_side import KEY, config_for
from tests.adapters.gemini.official import check_client

__all__ = ["LONG", "REQUEST", "SECRET", "SESSION", "WEATHER", "Talk", "speech", "talk"]

SESSION = RealtimeSessionId("session.1")
REQUEST = RealtimeConnectRequest(
    session_id=SESSION, provider_route_ref="provider.gemini", realtime_capability_ref="realtime.voice"
)
SECRET = "mauve-door-91"
WEATHER = GeminiAnswer("Sunny.", calls=[GeminiCall("weather", {"city": "Rome"})])
LONG = GeminiAnswer("Once upon a time", audio_ms=1000, hold_after=1)


@attrs.define
class Talk:
    """A connected session, and what it was told."""

    adapter: GeminiLiveAdapter
    server: LoopbackGemini
    connection_id: RealtimeConnectionId
    frames: list[RealtimeOutputFrame] = attrs.field(factory=list)
    sent: int = 0

    async def say(self, *frames: RealtimeInputFrame) -> None:
        for frame in frames:
            self.sent += 1
            await self.adapter.send(SESSION, frame.stamped(StreamCursor.chunk(self.sent)))

    async def hear(self) -> RealtimeOutputFrame:
        frame = await self.adapter.receive(SESSION)
        assert frame is not None
        self.frames.append(frame)
        return frame

    async def until(self, event: type[Any]) -> RealtimeOutputFrame:
        frame = await self.hear()
        while not isinstance(frame.event, event):
            frame = await self.hear()
        return frame

    async def restart(self) -> StreamCursor | None:
        response = await self.adapter.restart(SESSION, self.connection_id)
        self.connection_id = response.connection_id
        return response.input_kept_through

    def kinds(self) -> list[str]:
        return [type(frame.event).__name__ for frame in self.frames]


@asynccontextmanager
async def talk(
    *answers: GeminiAnswer, script: GeminiScript | None = None, **config: Any
) -> AsyncIterator[Talk]:
    """Connect; on the way out, all that was sent must pass the official types, and nothing may have been refused."""
    script = GeminiScript(answers, turns=TurnsByNumber([(1, 5)])) if script is None else script
    with LoopbackGemini(script, key=KEY) as server, anyio.fail_after(20):
        async with GeminiLiveAdapter(config_for(server, **config)) as adapter:
            response = await adapter.connect(REQUEST)
            yield Talk(adapter, server, response.connection_id)
            await adapter.close(SESSION, RealtimeCloseReason.NORMAL)
        assert [entry.refused for entry in server.log if entry.refused] == []
        for entry in server.log:
            for message in entry.received:
                check_client(message)


def speech(*numbers: int) -> list[RealtimeInputFrame]:
    return [RealtimeInputFrame.audio(numbered_audio(number, frame_bytes=640)) for number in numbers]
