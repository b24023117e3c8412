"""The scripted provider, as the adapter contract sees it."""

from __future__ import annotations

import attrs

from realtime_async.adapters.scripted import FrameTaken, ScriptedAdapter
from realtime_async.ports import OutputText, RealtimeInputFrame, RealtimeOutputFrame, RealtimeSessionId

__all__ = ["ScriptedSide"]


@attrs.frozen
class ScriptedSide:
    """A `ProviderSide` whose numbers are text."""

    adapter: ScriptedAdapter

    def input_frame(self, number: int) -> RealtimeInputFrame:
        return RealtimeInputFrame.text(str(number))

    def secret_frame(self, text: str) -> RealtimeInputFrame:
        return RealtimeInputFrame.text(text)

    async def heard(self, session_id: RealtimeSessionId, last: int) -> list[int]:
        await self.adapter.until(lambda: last in self.numbers(session_id))
        return self.numbers(session_id)

    def numbers(self, session_id: RealtimeSessionId) -> list[int]:
        taken = [
            entry.frame.payload
            for entry in self.adapter.log
            if isinstance(entry, FrameTaken) and entry.session_id == session_id
        ]
        return [int(payload) for payload in taken if payload]

    async def say(self, session_id: RealtimeSessionId, number: int) -> None:
        self.adapter.feed(said(number), session_id=session_id)

    def number_of(self, frame: RealtimeOutputFrame) -> int | None:
        text = str(frame.payload)
        return int(text) if text.isdecimal() else None

    async def start_answer(self, session_id: RealtimeSessionId) -> None:
        words = [said("word", "response.1") for _ in range(100)]
        self.adapter.feed(*words, session_id=session_id)

    async def drop(self, session_id: RealtimeSessionId) -> None:
        self.adapter.drop(session_id)

    async def connections(self) -> int:
        return sum(
            self.adapter.is_connected(session_id)
            for session_id in {entry.session_id for entry in self.adapter.log}
        )


def said(word: object, response_id: str | None = None) -> RealtimeOutputFrame:
    return RealtimeOutputFrame.of(OutputText(str(word)), response_id=response_id, payload=str(word))
