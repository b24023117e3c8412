"""Whole calls with a provider on loopback: somebody asks, somebody hears the answer, and connections die."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs

from realtime_async import (
    ProviderConnectionLost,
    RealtimeInputFrame,
    RealtimeRestartReason,
    RealtimeSession,
    RealtimeSessionRecordKind,
    RealtimeSessionSidecar,
    ResponseDone,
    RestartPolicy,
    ToolCall,
    open_session,
)
from realtime_async.adapters.openai import FunctionTool, OpenAIRealtimeAdapter
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeOutputFrame
from realtime_async.testing.loopback.hearing import number_of, numbered_audio
from realtime_async.testing.loopback.openai import LoopbackOpenAI, OpenAIConnection, OpenAIScript
from tests.adapters.openai.openai_side import config_for
from tests.testing.loopback.openai_types import misfits

__all__ = ["QUIET", "SPOKEN", "Call", "calling", "known_numbers", "loud", "texts"]

GOODBYE = "That is all."
QUIET = bytes(960)
SPOKEN = range(1, 9)
AT_ONCE = RestartPolicy(first_wait_s=0.01, max_wait_s=0.01)


def loud(numbers: Iterable[int] = SPOKEN) -> list[RealtimeInputFrame]:
    return [RealtimeInputFrame.audio(numbered_audio(number)) for number in numbers]


@attrs.define
class Call:
    """One session, and what its program saw of it."""

    server: LoopbackOpenAI
    adapter: OpenAIRealtimeAdapter
    session: RealtimeSession
    frames: list[RealtimeOutputFrame] = attrs.field(factory=list)
    restarts: int = 0

    @property
    def answers(self) -> int:
        """How many were heard to their end."""
        return sum(frame.event == attrs.evolve(frame.event, status="completed") for frame in self.ends)

    @property
    def ends(self) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame.event, ResponseDone)]

    async def say(self, frames: Sequence[RealtimeInputFrame]) -> None:
        for frame in frames:
            await self.session.send(frame)

    async def listen(
        self, until: Callable[[Call], bool], reaction: Callable[[RealtimeOutputFrame], Any] | None = None
    ) -> None:
        """Hear what is said, through any number of connections, until *until*."""
        while not until(self):
            try:
                async for frame in self.session.frames():
                    self.frames.append(frame)
                    if reaction is not None:
                        await reaction(frame)
                    if until(self):
                        return
            except ProviderConnectionLost:
                self.restarts += 1
                await self.session.restart(RealtimeRestartReason.CONNECTION_LOST)

    async def answer_calls(self, frame: RealtimeOutputFrame) -> None:
        match frame.event:
            case ToolCall(call_id):
                await self.ask(RealtimeInputFrame.tool_result(call_id, "booked"))

    async def ask(self, frame: RealtimeInputFrame) -> None:
        """Send *frame* and ask for an answer, while nobody listens."""
        record = await self.session.send(frame)
        await self.session.send(RealtimeInputFrame.request_response())
        if record.kind is RealtimeSessionRecordKind.BACKPRESSURE_APPLIED:
            # The connection has died, and who listens next would wait for a restart.
            self.restarts += 1
            await self.session.restart(RealtimeRestartReason.CONNECTION_LOST)

    async def say_goodbye(self) -> OpenAIConnection:
        """Ask for one answer more; return the connection that gave it, which has nothing else to say then."""
        answers = self.answers + 1
        await self.ask(RealtimeInputFrame.text(GOODBYE))
        await self.listen(lambda call: call.answers >= answers)
        return self.server.log[-1]


def texts(connection: OpenAIConnection) -> list[str]:
    """What the conversation of *connection* has in words."""
    return [
        part.get("text") or part.get("transcript") or ""
        for item in connection.items
        for part in item.get("content", ())
    ]


def known_numbers(connection: OpenAIConnection) -> set[int]:
    """The numbered frames that *connection* heard, or was told."""
    told = set(connection.heard)
    for item in connection.items:
        for part in item.get("content", ()):
            audio = base64.b64decode(part.get("audio") or "")
            pieces = (audio[at : at + 960] for at in range(0, len(audio), 960))
            told.update(number for piece in pieces if (number := number_of(piece)) is not None)
    return told


@asynccontextmanager
async def calling(script: OpenAIScript | None = None, **config: Any) -> AsyncIterator[Call]:
    async with LoopbackOpenAI(script) as server:
        fields = {"tools": [FunctionTool("book", "Book a table.")], **config}
        sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
        async with (
            OpenAIRealtimeAdapter(config_for(server, **fields)) as adapter,
            open_session(sidecar, adapter, MemoryJournal(), run_id="call", restart_policy=AT_ONCE) as session,
        ):
            with anyio.fail_after(20):
                yield Call(server, adapter, session)
        for connection in server.log:
            # The official client would have said it so, too.
            assert (
                misfits([each for each in connection.received if "append" not in each[:40]], "client") == []
            )
