"""Whatever two sessions on one completion gate go through, it opens when both have ended, and never before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_async import RealtimeSessionController
from realtime_async._core.recovery import fold
from realtime_async.adapters.scripted import Delay, Drop, EndOfStream, Hang, Refuse, ScriptedAdapter
from realtime_async.errors import AgentError
from realtime_async.journals import MemoryJournal
from realtime_async.ports import JournalRecord, RealtimeOutputFrame, SpeechStarted
from realtime_async.testing.clock import BACKENDS, run_virtual
from realtime_async.testing.journals import SuspendingJournal
from tests.controller.begun import Begun
from tests.controller.recording import Ack, RecordedJournal
from tests.controller.staged import audio, text
from tests.test_completion import MARKS, OF_THE_CONTROLLERS, Gate, mark_everything, session_on


class WatchedGate(Gate):
    """Looks at the journal in the moment in which a controller makes its claims."""

    journal: WatchedJournal

    def session_ended(self, token: int) -> None:
        super().session_ended(token)
        self.journal.look()


class WatchedJournal(RecordedJournal):
    """Suspends at each append, and keeps what it took where it can be looked at without waiting."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(SuspendingJournal(MemoryJournal()))
        self.records: list[JournalRecord] = []
        self._gate = gate

    def append(self, record: JournalRecord) -> Ack:
        assert not self._gate.can_complete_run(), f"{record.payload.kind} comes after the gate has opened"
        self.records.append(record)
        return super().append(record)

    def look(self) -> None:
        """An open gate means that both sessions have ended, and all of it is durable."""
        if not self._gate.can_complete_run():
            return
        sessions = fold(self.records).values()
        assert [session.terminal is not None for session in sessions] == [True, True]
        assert not any(session.open_intents for session in sessions)
        begun, durable = self.position("run-1")
        assert begun == durable


OPERATIONS: dict[str, Callable[[RealtimeSessionController], Awaitable[object]]] = {
    "connect": lambda session: session.connect(),
    "send text": lambda session: session.send(text()),
    "send audio": lambda session: session.send(audio()),
    "receive": lambda session: session.receive(),
    "interrupt": lambda session: session.interrupt(),
    "begin_restart": lambda session: session.begin_restart(),
    "complete_restart": lambda session: session.complete_restart(),
    "close": lambda session: session.close(),
}
HAPPENINGS: dict[str, Callable[[ScriptedAdapter, str], None]] = {
    "lose": lambda adapter, name: adapter.drop(name),
    "end": lambda adapter, name: adapter.feed(EndOfStream(), session_id=name),
    "speak": lambda adapter, name: adapter.feed(RealtimeOutputFrame.of(SpeechStarted()), session_id=name),
    "refuse": lambda adapter, name: adapter.inject("send", Refuse(), session_id=name),
    "hang": lambda adapter, name: adapter.inject("close", Hang(), session_id=name),
    "delay": lambda adapter, name: adapter.inject("send", Delay(0.2), session_id=name),
    "drop": lambda adapter, name: adapter.inject("interrupt", Drop(), session_id=name),
}
NAMES = ("session-1", "session-2")
STEPS = st.one_of(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([*OPERATIONS, *HAPPENINGS])),
    st.tuples(st.just("mark"), st.sampled_from(OF_THE_CONTROLLERS)),
    st.tuples(st.sampled_from(["pause", "cancel"]), st.just("")),
)


async def play(steps: list[tuple[str, str]]) -> None:
    gate = WatchedGate()
    gate.journal = journal = WatchedJournal(gate)
    adapter = ScriptedAdapter(suspend=checkpoint)
    sessions = {name: session_on(gate, journal, name=name, adapter=adapter) for name in NAMES}
    begun: list[Begun] = []
    # From here on only the controllers hold it back.
    mark_everything(gate)

    async def wait() -> None:
        await gate.wait()
        journal.look()

    async def take(who: str, what: str) -> None:
        if who == "mark":
            MARKS[what](gate)
        elif who == "pause":
            await anyio.sleep(0.1)
        elif who == "cancel":
            for each in begun[-1:]:
                each.scope.cancel()
        elif what in HAPPENINGS:
            HAPPENINGS[what](adapter, who)
        else:
            begun.append(Begun())
            tasks.start_soon(begun[-1].run, partial(OPERATIONS[what], sessions[who]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        for who, what in steps:
            await take(who, what)
            journal.look()
            await checkpoint()
        for session in sessions.values():
            with suppress(AgentError):
                await session.close()
            journal.look()
        mark_everything(gate)
        journal.look()
        assert gate.can_complete_run(), gate.pending()
    assert not [each.error for each in begun if each.error and not isinstance(each.error, AgentError)]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
@settings(max_examples=60)
@given(steps=st.lists(STEPS, max_size=25))
def test_the_gate_never_opens_while_an_intent_has_no_result(
    anyio_backend: str, steps: list[tuple[str, str]]
) -> None:
    run_virtual(play, steps, backend=anyio_backend)
