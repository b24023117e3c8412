"""
What an adapter, a tool or a journal awaits is cancelled by somebody else: then their call has failed, and nobody gave it up.

On asyncio whoever awaits a task or a future that was cancelled is raised its cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.errors import AgentError, JournalFailure, ProviderFailure
from realtime_async.journals import MemoryJournal
from realtime_async.ports import JournalCursor, JournalRecord, RealtimeSessionId
from tests.controller.begun import begin, settled
from tests.controller.staged import StagedSession, text
from tests.controller.test_odd_adapters import OPERATIONS, taken
from tests.test_session import Call, next_frames, on_asyncio
from tests.test_session_frames import heard, spoken
from tests.test_session_tools import BOOK, results, tool_kinds

pytestmark = pytest.mark.virtual_time


async def await_what_was_cancelled() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


def once_cancelled_beside(adapter: ScriptedAdapter, operation: str) -> ScriptedAdapter:
    """Let the first call of *operation* await what was cancelled."""
    sound: Callable[..., Awaitable[Any]] = getattr(adapter, operation)

    async def call(*args: Any, **options: Any) -> None:
        setattr(adapter, operation, sound)
        await await_what_was_cancelled()

    setattr(adapter, operation, call)
    return adapter


async def has_failed(staged: StagedSession, operation: str) -> None:
    try:
        error = await taken(staged, operation)
    except AgentError as raised:
        error = raised

    assert getattr(error, "kind", None) == "provider_failure"
    if operation != "close":
        await staged.controller.close()
    await staged.check()


@on_asyncio
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_call_of_the_adapter_has_failed(operation: str) -> None:
    staged = StagedSession(once_cancelled_beside(ScriptedAdapter(), operation))
    await has_failed(staged, operation)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_call_has_failed_whose_loop_in_another_thread_was_cancelled(operation: str) -> None:
    """Also on Trio, where nobody who calls is cancelled so."""
    adapter = ScriptedAdapter()
    sound = getattr(adapter, operation)

    async def call(*args: Any, **options: Any) -> None:
        setattr(adapter, operation, sound)
        # As `to_thread.run_sync` raises what `asyncio.run` ended with there.
        raise asyncio.CancelledError

    setattr(adapter, operation, call)
    staged = StagedSession(adapter)
    await has_failed(staged, operation)


@on_asyncio
async def test_a_loop_hears_of_it_and_goes_on() -> None:
    call = Call(*spoken(1))
    once_cancelled_beside(call.adapter, "receive")

    async with call.open() as session:
        with anyio.fail_after(60):
            with pytest.raises(ProviderFailure, match="raised CancelledError in receive"):
                await next_frames(session, 1)
            frames = await next_frames(session, 1)

    assert heard(frames) == ["said.1"]


@on_asyncio
async def test_a_restart_is_tried_again() -> None:
    call = Call()
    once_cancelled_beside(call.adapter, "restart")

    async with call.open() as session:
        with anyio.fail_after(60):
            report = await session.restart()

    assert report.attempts == 2


@on_asyncio
async def test_a_tool_is_answered() -> None:
    call = Call()

    async def book(people: int) -> None:
        await await_what_was_cancelled()

    async with call.open() as session:
        await session.answer(BOOK, book)
        await settled()

    assert results(call) == [("call.1", {"error": "it failed"})]
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_failed"]


@on_asyncio
async def test_a_journal_stops_the_run() -> None:
    class Beside(MemoryJournal):
        async def append(self, record: JournalRecord) -> JournalCursor:  # type: ignore[override]  # a journal may be so
            if record.journal_seq == 3:
                await await_what_was_cancelled()
            return await super().append(record)

    staged = StagedSession(journal=Beside())
    await staged.controller.connect()

    with pytest.raises(JournalFailure, match="raised CancelledError"):
        await staged.controller.send(text())
    with pytest.raises(JournalFailure):
        await staged.controller.close()


@pytest.mark.parametrize("limit_s", [1, 2])
async def test_a_call_that_has_a_limit_of_its_own_is_given_up_where_that_of_the_caller_is_over(
    limit_s: float,
) -> None:
    adapter = ScriptedAdapter()

    async def send(session_id: RealtimeSessionId, frame: object) -> None:
        with anyio.move_on_after(limit_s):
            await anyio.sleep_forever()
        await anyio.sleep_forever()

    adapter.send = send  # type: ignore[method-assign]  # of this one alone
    staged = StagedSession(adapter)
    await staged.controller.connect()

    with anyio.move_on_after(1) as scope:
        await staged.controller.send(text())

    assert scope.cancelled_caught
    assert staged.controller.delivery.in_doubt == 1
    await staged.controller.close()
    await staged.check()


@on_asyncio
async def test_a_tool_that_its_session_gives_up_is_not_answered() -> None:
    call, ended = Call(), list[bool]()

    async def book(people: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    async with call.open() as session, anyio.create_task_group() as tasks:
        await begin(tasks, partial(session.answer, BOOK, book))

    assert ended
    assert results(call) == []
