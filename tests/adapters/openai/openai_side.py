"""The OpenAI adapter and a provider on loopback, as the adapter contract sees them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs

from realtime_async.adapters.openai import OpenAIRealtimeAdapter, OpenAIRealtimeConfig
from realtime_async.ports import (
    InputTranscript,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeSessionId,
)
from realtime_async.testing.loopback import DropHow, LoopbackServer, Peer
from realtime_async.testing.loopback.hearing import numbered_audio
from realtime_async.testing.loopback.openai import Answer, LoopbackOpenAI, OpenAIScript

__all__ = [
    "ASK",
    "REQUEST",
    "SESSION",
    "OpenAISide",
    "Stubborn",
    "config_for",
    "open_openai_side",
    "until",
]

SESSION = RealtimeSessionId("session.openai")
REQUEST = RealtimeConnectRequest(SESSION, "provider.openai", "realtime.voice")
ASK = RealtimeInputFrame.request_response()

# It begins, and goes on only when it is cut.
ENDLESS = Answer(text="And so on, and on.", audio_ms=60_000, hold_after=2)


async def until(adapter: OpenAIRealtimeAdapter, kind: type[RealtimeEvent]) -> RealtimeEvent:
    """Receive until an event of *kind* comes."""
    while True:
        frame = await adapter.receive(SESSION)
        assert frame is not None
        if isinstance(frame.event, kind):
            return frame.event


def config_for(server: LoopbackOpenAI, **others: Any) -> OpenAIRealtimeConfig:
    fields: dict[str, Any] = {
        "model": "gpt-realtime",
        "api_key": server.key,
        "base_url": server.url,
        **others,
    }
    return OpenAIRealtimeConfig(**fields)


class Stubborn(LoopbackServer):
    """Refuses every configuration, or says nothing about it."""

    def __init__(self, *, is_silent: bool) -> None:
        super().__init__()
        self.is_silent = is_silent

    async def handle(self, peer: Peer) -> None:
        await peer.send_json({"type": "conversation.created"})
        async for event in peer:
            if not self.is_silent:
                error = {"code": "invalid_value", "message": "secret", "event_id": event["event_id"]}
                await peer.send_json({"type": "error", "error": error})


class WatchedAdapter(OpenAIRealtimeAdapter):
    """Knows which of the server's connections serve which session."""

    def __init__(self, server: LoopbackOpenAI, config: OpenAIRealtimeConfig) -> None:
        super().__init__(config)
        self.server = server
        self.numbers: dict[str, list[int]] = defaultdict(list)

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        response = await super().connect(request)
        self.numbers[request.session_id].append(len(self.server.log))
        return response

    async def restart(
        self, session_id: RealtimeSessionId, connection_id: RealtimeConnectionId
    ) -> RealtimeConnectResponse:
        response = await super().restart(session_id, connection_id)
        self.numbers[session_id].append(len(self.server.log))
        return response


@attrs.frozen
class OpenAISide:
    """A `ProviderSide` that is told numbers as audio, and says them as transcripts."""

    adapter: WatchedAdapter
    server: LoopbackOpenAI

    def input_frame(self, number: int) -> RealtimeInputFrame:
        return RealtimeInputFrame.audio(numbered_audio(number))

    def secret_frame(self, text: str) -> RealtimeInputFrame:
        return RealtimeInputFrame.text(text)

    async def heard(self, session_id: RealtimeSessionId, last: int) -> list[int]:
        await self.server.until(lambda: last in self.numbers_heard(session_id))
        return self.numbers_heard(session_id)

    def numbers_heard(self, session_id: RealtimeSessionId) -> list[int]:
        logs = [self.server.log[number - 1] for number in self.adapter.numbers[session_id]]
        return [number for log in logs for number in log.heard]

    async def say(self, session_id: RealtimeSessionId, number: int) -> None:
        # To all of them: the tests let only one session listen then.
        event = {
            "type": "conversation.item.input_audio_transcription.completed",
            "event_id": "event",
            "item_id": "item",
            "content_index": 0,
            "transcript": str(number),
            "usage": {"type": "duration", "seconds": 1},
        }
        self.server.say(json.dumps(event))

    def number_of(self, frame: RealtimeOutputFrame) -> int | None:
        match frame.event:
            case InputTranscript(text, final=True):
                return int(text)
        return None

    async def start_answer(self, session_id: RealtimeSessionId) -> None:
        await self.adapter.send(session_id, RealtimeInputFrame.request_response())

    async def drop(self, session_id: RealtimeSessionId) -> None:
        number = self.adapter.numbers[session_id][-1]
        [peer] = [peer for peer in self.server.peers if peer.number == number]
        self.server._call(lambda: peer.drop(DropHow.RESET, None, ""))

    async def connections(self) -> int:
        # The other side hears of an end a little later; one that is never let go of is counted all the same.
        try:
            await self.server.until(lambda: len(self.server.peers) == self.meant())
        except TimeoutError:
            return len(self.server.peers)
        return self.meant()

    def meant(self) -> int:
        """How many connections the adapter says it has."""
        return sum(not session.line.is_closed for session in self.adapter._sessions)


@asynccontextmanager
async def open_openai_side(**config: Any) -> AsyncIterator[OpenAISide]:
    async with (
        LoopbackOpenAI(OpenAIScript(otherwise=ENDLESS, turns=None)) as server,
        WatchedAdapter(server, config_for(server, **config)) as adapter,
    ):
        yield OpenAISide(adapter, server)
