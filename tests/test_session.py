"""The everyday door: what a block over `open_session` does on its way in, within, and on its way out."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from realtime_async import RealtimeCompletionGate, RealtimeSession, RealtimeSessionSidecar, open_session
from realtime_async.adapters.scripted import (
    Fault,
    Hang,
    Played,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import (
    AgentError,
    ContractViolation,
    DeadlineExceeded,
    PolicyDenied,
    ProviderConnectionLost,
    ProviderFailure,
    RestartExhausted,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeOutputFrame,
    RealtimeSessionRecord,
    RealtimeSessionStatus,
    RunId,
    RunJournal,
    StreamCursor,
)
from realtime_async.testing import SuspendingJournal
from tests.controller.begun import settled
from tests.controller.staged import audio, plain_sidecar

pytestmark = pytest.mark.virtual_time

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


class Call:
    """What a session is opened with, and what is left of it afterwards."""

    def __init__(self, *said: Played, faults: dict[tuple[str, int], Fault] | None = None) -> None:
        self.adapter = ScriptedAdapter(Script(said, faults=faults or {}))
        self.journal: RunJournal = MemoryJournal()

    def open(self, **options: Any) -> AbstractAsyncContextManager[RealtimeSession]:
        options.setdefault("sidecar", plain_sidecar())
        return open_session(adapter=self.adapter, journal=self.journal, run_id="run-1", **options)

    @property
    def calls(self) -> list[str]:
        """What the provider was asked, but for listening."""
        return [name for name in self.adapter.calls if name != "receive"]

    async def records(self) -> list[RealtimeSessionRecord]:
        return [record.payload async for record in self.journal.read(RunId("run-1"))]

    async def kinds(self) -> list[str]:
        return [str(record.kind) for record in await self.records()]

    async def ending(self) -> tuple[str, RealtimeCloseReason | None]:
        """The last record, which is the terminal one, and the reason that it gives."""
        last = (await self.records())[-1]
        return str(last.kind), last.close_reason


async def next_frames(session: RealtimeSession, count: int) -> list[RealtimeOutputFrame]:
    """Take so many frames, and leave the loop."""
    frames = []
    async for frame in session.frames():
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


# -- in and out


async def test_a_session_is_connected_within_the_block_and_closed_after_it() -> None:
    call = Call()

    async with call.open() as session:
        assert call.adapter.is_connected()
        assert session.state.lifecycle_status == "connected"
        assert call.calls == ["connect"]

    assert call.calls == ["connect", "close"]
    assert await call.ending() == ("closed", RealtimeCloseReason.NORMAL)


ERRORS = {
    "an ordinary error": (ValueError("mine"), RealtimeCloseReason.NORMAL),
    "a provider's error": (ProviderFailure("refused"), RealtimeCloseReason.PROVIDER_FAILURE),
    "a lost connection": (ProviderConnectionLost("gone"), RealtimeCloseReason.PROVIDER_FAILURE),
    "exhausted restarts": (RestartExhausted("gone"), RealtimeCloseReason.PROVIDER_FAILURE),
    "a policy": (PolicyDenied("not this"), RealtimeCloseReason.POLICY_DENIAL),
    "a group": (
        ExceptionGroup("tasks", [ValueError("mine"), ExceptionGroup("more", [ProviderFailure("refused")])]),
        RealtimeCloseReason.PROVIDER_FAILURE,
    ),
}


@pytest.mark.parametrize("error, reason", list(ERRORS.values()), ids=list(ERRORS))
async def test_an_error_closes_the_session_and_reaches_the_caller_as_it_is(
    error: Exception, reason: RealtimeCloseReason
) -> None:
    call = Call()

    with pytest.raises(type(error)) as caught:
        async with call.open():
            raise error

    assert caught.value is error
    assert await call.ending() == ("closed", reason)


async def test_a_cancelled_block_closes_its_session_as_cancelled() -> None:
    call = Call()

    with anyio.move_on_after(5) as scope:
        async with call.open() as session:
            await next_frames(session, 1)

    assert scope.cancelled_caught
    assert await call.ending() == ("closed", RealtimeCloseReason.CANCEL)


@on_asyncio
async def test_a_block_cancelled_natively_closes_its_session_as_cancelled() -> None:
    call = Call()

    async def talk() -> None:
        async with call.open() as session:
            await next_frames(session, 1)

    task = asyncio.ensure_future(talk())
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await call.ending() == ("closed", RealtimeCloseReason.CANCEL)
    assert not call.adapter.is_connected()


async def test_a_task_that_fails_beside_the_block_closes_it_as_cancelled() -> None:
    call = Call()

    async def talk() -> None:
        async with anyio.create_task_group() as tasks, call.open() as session:
            tasks.start_soon(fail)
            await next_frames(session, 1)

    async def fail() -> None:
        raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        await talk()

    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert await call.ending() == ("closed", RealtimeCloseReason.CANCEL)


async def test_a_session_closed_within_the_block_keeps_its_reason() -> None:
    call = Call()

    async with call.open() as session:
        record = await session.close(RealtimeCloseReason.HOST_OWNED_DETACH)

    assert record == (await call.records())[-1]
    assert session.state.lifecycle_status is RealtimeSessionStatus.DETACHED
    assert call.calls == ["connect", "close"]


@pytest.mark.parametrize(
    "fault, raised", [(Refuse(), ProviderFailure), (Hang(), DeadlineExceeded)], ids=["refused", "hung"]
)
async def test_a_connect_that_fails_leaves_nothing_open(fault: Fault, raised: type[AgentError]) -> None:
    call, gate = Call(faults={("connect", 1): fault}), RealtimeCompletionGate()

    with pytest.raises(raised):
        async with call.open(gate=gate):
            pytest.fail("there is no session to talk through")

    assert not call.adapter.is_connected()
    assert call.calls == ["connect"]
    assert (await call.kinds())[-3:] == ["connect_failed", "close_requested", "closed"]
    assert gate.realtime_sessions_terminal
    assert gate.journal_terminal


async def test_a_connect_that_is_cancelled_leaves_nothing_open() -> None:
    call = Call(faults={("connect", 1): Hang()})

    with anyio.move_on_after(1):
        async with call.open():
            pytest.fail("there is no session to talk through")

    assert not call.adapter.is_connected()
    assert await call.ending() == ("closed", RealtimeCloseReason.CANCEL)


async def test_a_sidecar_that_is_not_valid_takes_no_turn_to_dial() -> None:
    call = Call()
    odd = RealtimeSessionSidecar("desk", ["front", "desk"], "realtime.voice")  # type: ignore[arg-type]  # that is the point

    with pytest.raises(ContractViolation, match="provider_route_ref"):
        async with call.open(sidecar=odd):
            pytest.fail("there is no session to talk through")


async def test_a_sidecar_that_is_not_valid_is_refused_before_anybody_is_called() -> None:
    call = Call()

    with pytest.raises(ContractViolation):
        async with call.open(sidecar=plain_sidecar(queue_capacity=0)):
            pytest.fail("there is no session to talk through")

    assert call.adapter.calls == []


async def test_a_close_that_fails_is_raised_where_nothing_else_is() -> None:
    call = Call(faults={("close", 1): Refuse()})

    with pytest.raises(ProviderFailure):
        async with call.open():
            pass

    assert await call.ending() == ("close_failed", RealtimeCloseReason.NORMAL)


async def test_a_close_that_fails_does_not_hide_the_error_of_the_block() -> None:
    call = Call(faults={("close", 1): Refuse()})

    with pytest.raises(ValueError, match="mine"):
        async with call.open():
            raise ValueError("mine")

    assert (await call.ending())[0] == "close_failed"


async def test_the_gate_given_to_a_session_is_told_of_its_end() -> None:
    call, gate = Call(), RealtimeCompletionGate()

    async with call.open(gate=gate):
        assert not gate.realtime_sessions_terminal

    assert gate.realtime_sessions_terminal
    assert gate.journal_terminal


@on_asyncio
@pytest.mark.parametrize("steps", range(10))
async def test_a_gate_is_told_of_the_end_though_the_close_is_cancelled_too(steps: int) -> None:
    """Natively, which no shield keeps off: nobody would close the session again."""
    call, gate = Call(), RealtimeCompletionGate()
    call.journal = SuspendingJournal(MemoryJournal())

    async def talk() -> None:
        async with call.open(gate=gate) as session:
            await next_frames(session, 1)

    task = asyncio.ensure_future(talk())
    await settled()
    task.cancel()
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await call.ending())[0] in ("closed", "close_failed")
    assert gate.realtime_sessions_terminal
    assert gate.journal_terminal


async def test_after_the_block_the_totals_and_the_state_can_still_be_read() -> None:
    call = Call()
    async with call.open() as session:
        for _ in range(3):
            await session.send(audio())

    delivery, state = session.delivery, session.state

    assert (delivery.sent, delivery.accepted, delivery.queued) == (3, 3, 0)
    assert state.lifecycle_status is RealtimeSessionStatus.CLOSED
    assert state.send_cursor == StreamCursor.chunk(3)


# -- talking


async def test_an_interrupt_reaches_the_provider() -> None:
    call = Call()

    async with call.open() as session:
        await session.interrupt("answer-1", played_ms=120)

    assert call.calls == ["connect", "interrupt", "close"]
