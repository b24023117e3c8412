"""An interrupt that meets no connection: the adapter learns of it under the intent of the restart, and no sooner."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any

import anyio
import pytest

from realtime_async import ProviderConnectionLost, RealtimeSessionController
from realtime_async.adapters.scripted import Delay, Drop, Refuse, Script, ScriptedAdapter
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    JournalCursor,
    JournalRecord,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeSessionId,
    ResponseStarted,
)
from tests.controller.begun import begin
from tests.controller.staged import FRAME, plain_sidecar

pytestmark = pytest.mark.virtual_time

ANSWER = [
    RealtimeOutputFrame.of(ResponseStarted(), response_id="answer-1"),
    RealtimeOutputFrame.audio(FRAME, response_id="answer-1"),
]


class SlowJournal:
    """A record is durable a second after somebody began to wait for it."""

    def __init__(self) -> None:
        self._inner = MemoryJournal()
        self.durable: list[str] = []
        self.read = self._inner.read
        self.last = self._inner.last
        self.aclose = self._inner.aclose

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        return _Later(self, str(record.payload.kind), self._inner.append(record))


class _Later:
    def __init__(self, journal: SlowJournal, kind: str, inner: Awaitable[JournalCursor]) -> None:
        self._journal, self._kind, self._inner = journal, kind, inner

    def __await__(self) -> Generator[Any, Any, JournalCursor]:
        yield from anyio.sleep(1).__await__()
        self._journal.durable.append(self._kind)
        return (yield from self._inner.__await__())


class Learner(ScriptedAdapter):
    def __init__(self, script: Script, journal: SlowJournal) -> None:
        super().__init__(script)
        self._journal = journal
        self.learnt: list[tuple[str | None, int | None, bool]] = []
        """Which answer was stopped, what of it was heard, and whether the intent of a restart was durable then."""

    def interrupted_meanwhile(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        self.learnt.append((response_id, played_ms, "restart_started" in self._journal.durable))


async def talking(**faults: Any) -> tuple[RealtimeSessionController, Learner]:
    """A session in the middle of an answer, and its adapter."""
    journal = SlowJournal()
    calls = {
        (name.rstrip("_0123456789"), int(name.rpartition("_")[2])): fault for name, fault in faults.items()
    }
    adapter = Learner(Script(ANSWER, faults=calls), journal)
    controller = RealtimeSessionController(plain_sidecar(), adapter, journal, run_id="run-1")
    await controller.connect()
    for _ in ANSWER:
        await controller.receive()
    return controller, adapter


async def lost(**faults: Any) -> tuple[RealtimeSessionController, Learner]:
    """A session that has lost its connection in the middle of an answer, and its adapter."""
    controller, adapter = await talking(receive_3=Drop(), **faults)
    with pytest.raises(ProviderConnectionLost):
        await controller.receive()
    return controller, adapter


async def test_the_adapter_learns_of_it_when_the_intent_of_the_restart_is_durable() -> None:
    controller, adapter = await lost()

    await controller.interrupt(played_ms=40)
    before = list(adapter.learnt)
    await controller.restart()
    await controller.close()

    assert before == []
    assert adapter.learnt == [("answer-1", 40, True)]


async def test_the_adapter_learns_at_once_while_it_restarts() -> None:
    controller, adapter = await lost(restart_1=Delay(60))
    async with anyio.create_task_group() as tasks:
        await controller.begin_restart()
        restart = await begin(tasks, controller.complete_restart)
        await anyio.sleep(10)
        before = list(adapter.learnt)
        await controller.interrupt("answer-0")
        learnt = list(adapter.learnt)
        restart.scope.cancel()
    await controller.close()

    assert before == []
    assert learnt == [("answer-0", None, True)]


async def test_the_adapter_learns_once_however_often_the_restart_is_tried() -> None:
    controller, adapter = await lost(restart_1=Refuse())

    await controller.interrupt()
    await controller.restart()
    await controller.close()

    assert [learnt[0] for learnt in adapter.learnt] == ["answer-1"]


async def test_an_interrupt_that_lost_the_connection_is_told_again() -> None:
    controller, adapter = await talking(interrupt_1=Drop())

    with pytest.raises(ProviderConnectionLost):
        await controller.interrupt(played_ms=20)
    await controller.restart()
    await controller.close()

    assert adapter.learnt == [("answer-1", 20, True)]


async def test_an_interrupt_that_the_provider_heard_is_not_told_again() -> None:
    controller, adapter = await talking()

    await controller.interrupt()
    await controller.restart()
    await controller.close()

    assert adapter.learnt == []
