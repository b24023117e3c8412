"""A session whose process died, taken up by the everyday door."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from realtime_async import RealtimeCompletionGate, RealtimeSession, RestartPolicy, resume_session
from realtime_async.adapters.scripted import Delay, Drop, Played, Refuse, Script, ScriptedAdapter
from realtime_async.errors import ContractViolation, JournalConflict, ProviderFailure, SessionStateError
from realtime_async.ports import RealtimeCloseReason, RealtimeOutputFrame, RunId, ToolCall, ToolCallCancelled
from tests.controller.begun import settled
from tests.controller.staged import audio, plain_sidecar, text
from tests.test_session import Call, next_frames
from tests.test_session_frames import heard, spoken
from tests.test_session_tools import BOOK, TOOL_KINDS, Tables, results

pytestmark = pytest.mark.virtual_time

UNKNOWN = ("call.1", {"error": "it was begun before, and nobody knows whether it was done"})


class Resumed(Call):
    """The call of a process that died, in another."""

    @classmethod
    async def of(cls, before: Call, *said: Played, faults: Any = None) -> Resumed:
        """Take what the process has left behind by now, which is what is in its journal."""
        after = cls(*said, faults=faults)
        async for record in before.journal.read(RunId("run-1")):
            await after.journal.append(record)
        return after

    def open(self, **options: Any) -> AbstractAsyncContextManager[RealtimeSession]:
        options.setdefault("sidecar", plain_sidecar())
        return resume_session(adapter=self.adapter, journal=self.journal, run_id="run-1", **options)


async def died(before: Call | None = None) -> Resumed:
    """What is left of a call in which two frames were sent."""
    before = before or Call()
    async with before.open() as session:
        await session.send(text())
        await session.send(audio())
        return await Resumed.of(before)


# -- the door


async def test_a_session_goes_on_within_the_block_and_is_closed_after_it() -> None:
    call = await died()

    async with call.open() as session:
        assert session.delivery.sent == 2
        await session.send(audio())

    assert session.delivery.sent == 3
    assert call.calls == ["connect", "send", "close"]
    assert await call.ending() == ("closed", RealtimeCloseReason.NORMAL)


async def test_it_is_kept_connected_like_any_other() -> None:
    call = await Resumed.of(Call())
    before = Call()
    async with before.open():
        call = await Resumed.of(before, *spoken(1), Delay(0.5), Drop(), Delay(1), *spoken(2)[1:])

    async with call.open() as session:
        frames = await next_frames(session, 3)

    assert heard(frames) == ["said.1", "restarted", "said.2"]


async def test_its_route_is_dialled_in_turn() -> None:
    call, policy = await died(), RestartPolicy(dials_per_s=0.1)

    async with Call().open(restart_policy=policy):
        began = anyio.current_time()
        async with call.open(restart_policy=policy):
            assert anyio.current_time() >= began + 9


async def test_without_a_policy_it_is_restarted_by_hand() -> None:
    call = await died()

    async with call.open(restart_policy=None) as session:
        await session.restart()

    assert call.calls == ["connect", "restart", "close"]


async def test_a_session_that_ended_is_refused() -> None:
    call = await died()
    async with call.open():
        pass

    with pytest.raises(SessionStateError, match="has ended"):
        async with call.open():
            pass

    assert call.calls == ["connect", "close"]


async def test_another_sidecar_is_refused_unless_it_is_allowed() -> None:
    call, other = await died(), plain_sidecar(queue_capacity=7)

    with pytest.raises(ContractViolation, match="allow_other_sidecar"):
        async with call.open(sidecar=other):
            pass
    async with call.open(sidecar=other, allow_other_sidecar=True) as session:
        assert session.delivery.sent == 2


async def test_a_provider_that_refuses_leaves_the_session_to_the_next() -> None:
    call, gate = await died(), RealtimeCompletionGate()
    call.adapter = ScriptedAdapter(Script(faults={("connect", 1): Refuse()}))

    with pytest.raises(ProviderFailure):
        async with call.open(gate=gate):
            pass
    async with call.open(gate=gate) as session:
        assert session.delivery.sent == 2

    assert gate.realtime_sessions_terminal


async def test_whoever_had_the_session_in_this_process_is_stopped() -> None:
    before = Call()
    after = Resumed()
    after.journal = before.journal

    async def superseded() -> None:
        async with before.open() as old, after.open():
            await settled()
            await old.send(audio())

    with pytest.raises(JournalConflict):
        await superseded()

    assert before.calls == ["connect"]
    assert await after.ending() == ("closed", RealtimeCloseReason.NORMAL)


# -- tools


async def begun(tables: Tables, *, until_s: float) -> Resumed:
    """What a process leaves behind that died so long after it had begun a tool call."""
    before = Call()
    async with before.open() as session:
        await session.answer(BOOK, tables.book)
        await anyio.sleep(until_s)
        return await Resumed.of(before)


@pytest.mark.parametrize("until_s", [1, 9], ids=["while it ran", "after its result was sent"])
async def test_a_call_that_was_begun_before_is_not_executed_again_and_the_model_is_told_once(
    until_s: float,
) -> None:
    tables = Tables(seconds=5)
    call = await begun(tables, until_s=until_s)

    async with call.open() as session:
        for _ in range(3):
            await session.answer(BOOK, tables.book)
            await anyio.sleep(1)
        await session.restart()
        await session.answer(BOOK, tables.book)
        await anyio.sleep(10)

    assert tables.booked == [2]
    assert results(call) == [UNKNOWN]
    assert [str(frame.signal) for frame in call.adapter.sent[1:]] == ["request_response"]
    recorded = [kind for kind in await call.kinds() if kind in TOOL_KINDS]
    assert recorded.count("tool_call_requested") == 1


async def test_it_is_not_executed_by_the_third_process_either() -> None:
    tables = Tables(seconds=5)
    call = await begun(tables, until_s=1)
    async with call.open() as session:
        await session.answer(ToolCall("call.2", "book_table", '{"people": 7}'), tables.book)
        await anyio.sleep(6)
        call = await Resumed.of(call)

    async with call.open() as session:
        await session.answer(BOOK, tables.book)
        await session.answer(ToolCall("call.2", "book_table", '{"people": 7}'), tables.book)
        await anyio.sleep(6)

    assert tables.booked == [2, 7]


async def test_a_call_of_its_own_is_executed() -> None:
    tables = Tables()
    call = await begun(Tables(seconds=5), until_s=1)

    async with call.open() as session:
        await session.answer(ToolCall("call.2", "book_table", '{"people": 3}'), tables.book)
        await anyio.sleep(1)

    assert tables.booked == [3]


async def test_a_call_begun_before_that_the_provider_takes_back_is_not_answered() -> None:
    call = await begun(Tables(seconds=5), until_s=1)

    async with call.open() as session:
        call.adapter.feed(RealtimeOutputFrame.of(ToolCallCancelled(["call.1"])))
        await next_frames(session, 1)
        await session.answer(BOOK, Tables().book)
        await anyio.sleep(1)

    assert results(call) == []
