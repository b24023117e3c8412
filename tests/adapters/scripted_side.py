"""The scripted provider, as the adapter contract and the tests of the scripted adapter see it."""

from __future__ import annotations

import attrs

from realtime_async.adapters.scripted import (
    CallEnded,
    FrameTaken,
    Operation,
    ScriptedAdapter,
)
from realtime_async.ports import (
    OutputText,
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeSessionId,
    TakesWithoutWaiting,
)

__all__ = ["NORMAL", "OTHER_SESSION", "SESSION", "ScriptedSide", "asked", "call", "connect", "said", "send"]

SESSION = RealtimeSessionId("session.1")
OTHER_SESSION = RealtimeSessionId("session.2")
NORMAL = RealtimeCloseReason.NORMAL


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


async def connect(adapter: ScriptedAdapter, session_id: RealtimeSessionId = SESSION) -> RealtimeConnectionId:
    request = RealtimeConnectRequest(
        session_id=session_id, provider_route_ref="provider.test", realtime_capability_ref="realtime.voice"
    )
    return (await adapter.connect(request)).connection_id


def asked(text: str) -> RealtimeInputFrame:
    return RealtimeInputFrame.text(text)


async def send(adapter: ScriptedAdapter, frame: RealtimeInputFrame) -> None:
    if not isinstance(adapter, TakesWithoutWaiting) or not adapter.send_nowait(SESSION, frame):
        await adapter.send(SESSION, frame)


async def call(adapter: ScriptedAdapter, operation: str) -> None:
    connection_id = next(
        entry.connection_id
        for entry in reversed(adapter.log)
        if isinstance(entry, CallEnded) and entry.connection_id
    )
    match Operation(operation):
        case Operation.CONNECT:
            await connect(adapter)
        case Operation.SEND:
            await adapter.send(SESSION, asked("hello"))
        case Operation.RECEIVE:
            await adapter.receive(SESSION)
        case Operation.INTERRUPT:
            await adapter.interrupt(SESSION, RealtimeResponseId("response.1"), played_ms=20)
        case Operation.RESTART:
            await adapter.restart(SESSION, connection_id)
        case Operation.CLOSE:
            await adapter.close(SESSION, NORMAL)
