"""The Gemini adapter and a server on loopback, as the adapter contract sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs

from realtime_async.adapters.gemini import GeminiLiveAdapter, GeminiLiveConfig
from realtime_async.ports import OutputTranscript, RealtimeInputFrame, RealtimeOutputFrame, RealtimeSessionId
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.gemini import FirstHandle, GeminiAnswer, GeminiScript, LoopbackGemini
from realtime_async.testing.loopback.hearing import TurnsByNumber, numbered_audio

__all__ = ["KEY", "GeminiSide", "config_for", "open_gemini_side"]

KEY = "test-key-mauve"

# Whoever the contract connects first is its first conversation.
_CONVERSATIONS = {"session.contract": 1, "session.other": 2}


@attrs.frozen
class GeminiSide:
    """A `ProviderSide` whose numbers are written in, and transcribed out."""

    adapter: GeminiLiveAdapter
    server: LoopbackGemini

    def input_frame(self, number: int) -> RealtimeInputFrame:
        return RealtimeInputFrame.audio(numbered_audio(number, frame_bytes=640))

    def secret_frame(self, text: str) -> RealtimeInputFrame:
        return RealtimeInputFrame.text(text)

    async def heard(self, session_id: RealtimeSessionId, last: int) -> list[int]:
        heard = self.server.conversations[_CONVERSATIONS[session_id] - 1].heard
        await self.server.until(lambda: last in heard)
        return list(heard)

    async def say(self, session_id: RealtimeSessionId, number: int) -> None:
        part: dict[str, Any] = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAA="}}
        self._tell(
            session_id,
            {"modelTurn": {"parts": [part]}, "outputTranscription": {"text": str(number)}},
            {"turnComplete": True},
        )

    def number_of(self, frame: RealtimeOutputFrame) -> int | None:
        match frame.event:
            case OutputTranscript(text, final=True) if text.isdecimal():
                return int(text)
        return None

    async def start_answer(self, session_id: RealtimeSessionId) -> None:
        await self.adapter.send(session_id, RealtimeInputFrame.request_response("Tell me a long story."))

    async def drop(self, session_id: RealtimeSessionId) -> None:
        self.server.drop_conversation(_CONVERSATIONS[session_id], DropHow.END_OF_FILE)

    async def connections(self) -> int:
        # The adapter's sessions have one each; what it left open beside them never ends, and this fails.
        await self.server.until(lambda: len(self.server.peers) == len(self.adapter._sessions))
        # One that is let go of may be seen to come only now, and to go.
        return len(self.adapter._sessions)

    def _tell(self, session_id: RealtimeSessionId, *contents: dict[str, Any]) -> None:
        messages = [{"serverContent": content} for content in contents]
        self.server.tell(*messages, conversation=_CONVERSATIONS[session_id])


def config_for(server: LoopbackGemini, **fields: Any) -> GeminiLiveConfig:
    return GeminiLiveConfig(**{"model": "gemini-3.8-live", "api_key": KEY, "base_url": server.url, **fields})


@asynccontextmanager
async def open_gemini_side(**fields: Any) -> AsyncIterator[GeminiSide]:
    """Open a pair whose model is silent until it is asked, and then says a word and waits."""
    # With a handle from the start, a conversation goes on over all connections, and bears one number.
    script = GeminiScript(
        otherwise=GeminiAnswer(hold_after=1), turns=TurnsByNumber([]), first_handle=FirstHandle.AFTER_SETUP
    )
    with LoopbackGemini(script, key=KEY) as server:
        async with GeminiLiveAdapter(config_for(server, **fields)) as adapter:
            yield GeminiSide(adapter, server)
