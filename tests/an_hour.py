"""An hour of a call, in virtual time: who talks, what goes wrong when, and what is left to look at afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from typing import Any

import anyio
import attrs

from realtime_async import (
    RealtimeSession,
    RealtimeSessionSidecar,
    RestartExhausted,
    RestartPolicy,
    RestartReport,
    open_session,
)
from realtime_async.adapters.scripted import Drop, FrameFate, Hang, Refuse, Script, ScriptedAdapter
from realtime_async.errors import ProviderConnectionLost
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    GoAway,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    Restarted,
    RunId,
    StreamCursor,
    ToolCall,
)
from tests.controller.recording import RecordedJournal, recorded_adapter
from tests.controller.staged import FRAME, SECRET, audio
from tests.oracle.evidence import Violation
from tests.oracle.invariants import check

__all__ = ["HOUR_S", "POLICY", "Hour", "Trouble", "Weather"]

HOUR_S = 3600.0
MICROPHONE_S = 10.0
ANSWER_S = 30.0
TOOL_EVERY = 4
TOOL_S = 20.0

POLICY = RestartPolicy(max_connection_age_s=540, turn_wait_s=10, stalled_after_s=50)


class Weather(StrEnum):
    """What goes wrong; its strength says how badly."""

    DROP = "drop"
    """The connection dies."""
    OUTAGE = "outage"
    """It dies, and so many attempts to replace it are refused."""
    HANG = "hang"
    """It dies, and the first attempt to replace it hangs."""
    SEND = "send"
    """It dies under the next frame."""
    GOODBYE = "goodbye"
    """The provider says that it goes away."""
    STALL = "stall"
    """The provider is silent for so many minutes."""
    DEAF = "deaf"
    """The program's loop is busy for so many minutes."""


@attrs.frozen
class Trouble:
    at_s: float
    what: Weather
    strength: int = 1

    @property
    def dials(self) -> int:
        """How many connections it may cost; an attempt is met by the next trouble, too."""
        if self.what is Weather.STALL:
            # Every 50 s one.
            return 2 * self.strength
        return 1 + (self.strength if self.what is Weather.OUTAGE else 0) + (self.what is Weather.HANG)


def _forgets_two(has: Any) -> StreamCursor:
    return StreamCursor.chunk(max(0, has[-1].cursor.chunk_sequence - 2 if has else 0))


class Hour:
    """One call, and what became of it."""

    def __init__(self, troubles: Iterable[Trouble], policy: RestartPolicy = POLICY) -> None:
        self.troubles = sorted(troubles, key=lambda trouble: trouble.at_s)
        self.policy = policy
        self.journal = RecordedJournal(MemoryJournal())
        self.provider = ScriptedAdapter(Script(kept_through=[_forgets_two]))
        self.adapter = recorded_adapter(self.provider, self.journal, "run-1")
        self.reports: list[RestartReport] = []
        self.given: list[str] = []
        """Frames that were given to `send`, and not refused."""
        self.asked: list[str] = []
        self.executed: list[str] = []
        self.exhausted: RestartExhausted | None = None
        self.ended_at = 0.0
        self._silent_until = 0.0
        self._deaf_until = 0.0

    @property
    def dials(self) -> int:
        return self.provider.calls.count("connect") + self.provider.calls.count("restart")

    async def run(self, sidecar: RealtimeSessionSidecar) -> None:
        async with (
            open_session(
                sidecar, self.adapter, self.journal, run_id="run-1", restart_policy=self.policy
            ) as self.session,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._talk)
            tasks.start_soon(self._answer)
            tasks.start_soon(self._go_wrong)
            with anyio.move_on_after(HOUR_S):
                await self._listen(self.session)
            tasks.cancel_scope.cancel()
        self.ended_at = anyio.current_time()

    async def violations(self) -> list[Violation]:
        """What the oracle finds."""
        records = [record async for record in self.journal.read(RunId("run-1"))]
        plain = json.loads(json.dumps([attrs.asdict(record) for record in records]))
        session_id = str(self.session.state.session_id)
        live = {
            "delivery": json.loads(json.dumps(attrs.asdict(self.session.delivery))),
            "state": json.loads(json.dumps(attrs.asdict(self.session.state))),
        }
        return check(plain, self.adapter.log, live={session_id: live}, secrets=[SECRET, FRAME.hex()])

    # -- the program

    async def _listen(self, session: RealtimeSession) -> None:
        try:
            async for frame in session.frames():
                await anyio.sleep_until(self._deaf_until)
                match frame.event:
                    case ToolCall() as call:
                        self.asked.append(call.call_id)
                        await session.answer(call, self._tool(call.call_id))
                    case Restarted(report):
                        self.reports.append(report)
        except RestartExhausted as exhausted:
            self.exhausted = exhausted

    def _tool(self, call_id: str) -> Any:
        async def tool() -> str:
            self.executed.append(call_id)
            await anyio.sleep(TOOL_S)
            return SECRET

        return tool

    async def _talk(self) -> None:
        with suppress(RestartExhausted):
            while True:
                frame = audio()
                await self._send(frame)
                await anyio.sleep(MICROPHONE_S)

    async def _send(self, frame: RealtimeInputFrame) -> None:
        with suppress(ProviderConnectionLost):
            self.given.append(str(frame.frame_id))
            await self.session.send(frame)

    # -- the provider

    async def _answer(self) -> None:
        number = 0
        while True:
            await anyio.sleep(ANSWER_S)
            if anyio.current_time() < self._silent_until:
                continue
            number += 1
            response = f"answer.{number}"
            said = [RealtimeOutputFrame.audio(FRAME, response_id=response) for _ in range(3)]
            events = [RealtimeOutputFrame.of(ResponseStarted(), response_id=response), *said]
            if number % TOOL_EVERY == 0:
                events.append(RealtimeOutputFrame.of(ToolCall(f"call.{number}", "tool", "{}")))
            self.provider.feed(*events, RealtimeOutputFrame.of(ResponseDone(), response_id=response))

    async def _go_wrong(self) -> None:
        for trouble in self.troubles:
            await anyio.sleep_until(trouble.at_s)
            self._meet(trouble)

    def _meet(self, trouble: Trouble) -> None:
        minutes = anyio.current_time() + 60.0 * trouble.strength
        match trouble.what:
            case Weather.DROP:
                self.provider.drop()
            case Weather.OUTAGE:
                for _ in range(trouble.strength):
                    self.provider.inject("restart", Refuse("overloaded"))
                self.provider.drop()
            case Weather.HANG:
                self.provider.inject("restart", Hang())
                self.provider.drop()
            case Weather.SEND:
                self.provider.inject("send", Drop(list(FrameFate)[trouble.strength % 3]))
            case Weather.GOODBYE:
                self.provider.feed(RealtimeOutputFrame.of(GoAway(30)))
            case Weather.STALL:
                self._silent_until = minutes
            case Weather.DEAF:
                self._deaf_until = minutes
