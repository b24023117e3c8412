"""Somebody who talks with the local adapter, by its port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from realtime_async.adapters.local import Brain, LocalSpeechAdapter, answer_command
from realtime_async.ports import (
    InputTranscript,
    OutputTranscript,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeSessionId,
    StreamCursor,
)
from tests.adapters.local.speech import frames, silence, spoken

__all__ = [
    "ANSWER",
    "OTHER_QUESTION",
    "QUESTION",
    "SESSION",
    "Caller",
    "asked",
    "called",
    "connected",
    "ramble",
    "repeat",
]

SESSION = RealtimeSessionId("session.1")
QUESTION = "please book a table for four people"
ANSWER = "A table for four is booked. See you tonight!"
OTHER_QUESTION = "what can you do"


@attrs.define
class Caller:
    """A session, driven as a controller would: it numbers its frames, and replays what is forgotten."""

    adapter: LocalSpeechAdapter
    connection_id: RealtimeConnectionId
    session_id: RealtimeSessionId = SESSION
    sent: list[RealtimeInputFrame] = attrs.field(factory=list)
    received: list[RealtimeOutputFrame] = attrs.field(factory=list)

    async def send(self, frame: RealtimeInputFrame) -> None:
        self.sent.append(frame.stamped(StreamCursor.chunk(len(self.sent) + 1)))
        await self.adapter.send(self.session_id, self.sent[-1])

    async def say(self, pcm: bytes) -> None:
        for frame in frames(pcm):
            await self.send(RealtimeInputFrame.audio(frame))

    async def receive_until(self, event: type[RealtimeEvent], times: int = 1) -> RealtimeOutputFrame:
        """Receive until *event* came so many times since this was called."""
        while True:
            frame = await self.adapter.receive(self.session_id)
            assert frame is not None, "the session has ended"
            self.received.append(frame)
            times -= isinstance(frame.event, event)
            if not times:
                return frame

    async def restart(self) -> int:
        """Restart, replay, and return the cursor through which the input was kept."""
        response = await self.adapter.restart(self.session_id, self.connection_id)
        self.connection_id = response.connection_id
        assert response.input_kept_through is not None
        kept = response.input_kept_through.chunk_sequence
        for frame in self.sent[kept:]:
            await self.adapter.send(self.session_id, frame)
        return kept

    def events(self, *kinds: type[RealtimeEvent]) -> list[RealtimeEvent]:
        return [frame.event for frame in self.received if isinstance(frame.event, kinds)]

    def heard(self) -> list[str]:
        return [event.text for event in self.events(InputTranscript) if isinstance(event, InputTranscript)]

    def said(self) -> list[str]:
        return [
            event.text
            for event in self.events(OutputTranscript)
            if isinstance(event, OutputTranscript) and event.final
        ]


async def connected(adapter: LocalSpeechAdapter, session_id: RealtimeSessionId = SESSION) -> Caller:
    request = RealtimeConnectRequest(
        session_id=session_id, provider_route_ref="provider.local", realtime_capability_ref="realtime.voice"
    )
    return Caller(adapter, (await adapter.connect(request)).connection_id, session_id)


@asynccontextmanager
async def called(brain: Brain = answer_command) -> AsyncIterator[Caller]:
    async with LocalSpeechAdapter(brain) as adapter:
        yield await connected(adapter)


def asked(question: str = QUESTION) -> bytes:
    return silence(0.5) + spoken(question) + silence(0.8)


async def repeat(question: str) -> str:
    return question


async def ramble(question: str) -> AsyncIterator[str]:
    while True:
        yield "And so on. "
