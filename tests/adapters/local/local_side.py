"""The local adapter and its brain, as the adapter contract sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import attrs

from realtime_async.adapters.local import LocalSpeechAdapter
from realtime_async.adapters.local.bell import Bell
from realtime_async.ports import OutputTranscript, RealtimeInputFrame, RealtimeOutputFrame, RealtimeSessionId

__all__ = ["LocalSide", "open_local_side"]


@attrs.define
class Asked:
    """A brain that repeats, and that knows what it was asked."""

    questions: list[str] = attrs.field(factory=list)
    bell: Bell = attrs.field(factory=Bell)

    async def __call__(self, question: str) -> AsyncIterator[str]:
        self.questions.append(question)
        self.bell.ring()
        task, _, words = question.rpartition("\n")[2].partition(" ")
        if task == "say":
            yield words
        while task == "ramble":
            yield "And so on. "


@attrs.define
class LocalSide:
    """A `ProviderSide` whose numbers are written, and spoken."""

    adapter: LocalSpeechAdapter
    brain: Asked

    def input_frame(self, number: int) -> RealtimeInputFrame:
        return RealtimeInputFrame.text(str(number))

    def secret_frame(self, text: str) -> RealtimeInputFrame:
        return RealtimeInputFrame.text(text)

    async def heard(self, session_id: RealtimeSessionId, last: int) -> list[int]:
        await self.adapter.send(session_id, RealtimeInputFrame.request_response(f"note {session_id}"))
        while last not in self.numbers(session_id):
            await self.brain.bell.rung()
        return self.numbers(session_id)

    def numbers(self, session_id: RealtimeSessionId) -> list[int]:
        """What was written to that session before each note."""
        notes = [
            question.split("\n")
            for question in self.brain.questions
            if question.endswith(f"note {session_id}")
        ]
        return [int(number) for *numbers, _ in notes for number in numbers]

    async def say(self, session_id: RealtimeSessionId, number: int) -> None:
        await self.adapter.send(session_id, RealtimeInputFrame.request_response(f"say {number}"))

    def number_of(self, frame: RealtimeOutputFrame) -> int | None:
        match frame.event:
            case OutputTranscript(text, final=True) if text.isdecimal():
                return int(text)
        return None

    async def start_answer(self, session_id: RealtimeSessionId) -> None:
        await self.adapter.send(session_id, RealtimeInputFrame.request_response("ramble"))

    async def drop(self, session_id: RealtimeSessionId) -> None:
        self.adapter.drop(session_id)

    async def connections(self) -> int:
        await anyio.wait_all_tasks_blocked()
        return sum(str(task.name).startswith("local speech") for task in anyio.get_running_tasks())


@asynccontextmanager
async def open_local_side() -> AsyncIterator[LocalSide]:
    brain = Asked()
    async with LocalSpeechAdapter(brain, sessions=2) as adapter:
        yield LocalSide(adapter, brain)
