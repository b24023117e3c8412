"""A close that is cancelled while calls are in flight: its end comes after theirs, and none is called any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
import pytest

from realtime_async.adapters.scripted import Fault, Hang, HangShielded, Script, ScriptedAdapter
from realtime_async.errors import AgentError, SessionStateError
from realtime_async.journals import MemoryJournal
from realtime_async.testing.cancellation import Outcome, cancel_at_every_point, ways_to_cancel
from realtime_async.testing.journals import SuspendingJournal
from tests.controller.begun import Begun, begin, settled
from tests.controller.staged import StagedSession, text

pytestmark = pytest.mark.virtual_time

every_way = pytest.mark.parametrize(
    "anyio_backend, how",
    [(backend, way) for backend in ("asyncio", "trio") for way in ways_to_cancel(backend)],
    indirect=["anyio_backend"],
)

TERMINAL = {"closed", "close_failed"}


async def hang(staged: StagedSession, operation: str, tasks: anyio.abc.TaskGroup) -> Begun:
    """Begin an operation whose call does not return."""
    controller = staged.controller
    if operation == "connect":
        return await begin(tasks, controller.connect)
    await controller.connect()
    if operation == "restart":
        await controller.begin_restart()
    operations: dict[str, Callable[[], Awaitable[object]]] = {
        "send": partial(controller.send, text()),
        "receive": controller.receive,
        "interrupt": controller.interrupt,
        "restart": controller.complete_restart,
    }
    return await begin(tasks, operations[operation])


def faulty(operation: str, fault: Fault) -> ScriptedAdapter:
    return ScriptedAdapter(Script(faults={(operation, 1): fault}))


@asynccontextmanager
async def hanging(operation: str) -> AsyncIterator[StagedSession]:
    staged = StagedSession(faulty(operation, Hang()), journal=SuspendingJournal(MemoryJournal()))
    async with anyio.create_task_group() as tasks:
        begun = await hang(staged, operation, tasks)
        yield staged
        assert begun.is_over


# The close's intent, call and result, two each; before them, until the call has ended by itself or was cut.
# Without a connection there is no call to make.
POINTS = {"connect": 3, "send": 6, "receive": 5, "interrupt": 6, "restart": 5}


@every_way
@pytest.mark.parametrize("operation", POINTS)
async def test_the_end_comes_after_the_last_call_in_flight(operation: str, how: str) -> None:
    async def check(staged: StagedSession, outcome: Outcome[object]) -> None:
        await settled()
        await staged.check()
        kinds = await staged.kinds()
        assert kinds[-1] in TERMINAL
        calls = list(staged.adapter.operations)
        with suppress(AgentError):
            await staged.controller.close()
        assert staged.adapter.operations == calls
        assert await staged.kinds() == kinds

    points = await cancel_at_every_point(
        partial(hanging, operation), lambda staged: staged.controller.close(), check, how=how
    )

    assert points == POINTS[operation]


async def test_a_call_that_shields_itself_holds_no_cancelled_close_for_long() -> None:
    staged = StagedSession(faulty("send", HangShielded()))
    await staged.controller.connect()
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(staged.controller.send, text()))
        closing = await begin(tasks, staged.controller.close)
        began = anyio.current_time()

        closing.scope.cancel()
        await closing.over()

        assert anyio.current_time() - began <= 5
        assert (await staged.kinds())[-1] == "close_failed"
        staged.provider.release()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_who_closes_again_gets_the_end_though_a_call_never_ends() -> None:
    """Cancelled twice the close waits for nothing; the next one waits, but not for ever."""
    staged = StagedSession(faulty("send", HangShielded()))
    await staged.controller.connect()
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(staged.controller.send, text()))
        closing = asyncio.ensure_future(staged.controller.close())
        for _ in range(2):
            await settled()
            closing.cancel()
        await asyncio.wait([closing])
        assert staged.controller.state.lifecycle_status != "failed"
        began = anyio.current_time()

        with pytest.raises(AgentError, match="close was cancelled"):
            await staged.controller.close()

        assert anyio.current_time() - began == pytest.approx(5)
        assert (await staged.kinds())[-1] == "close_failed"
        with pytest.raises(SessionStateError):
            await staged.controller.send(text())
        staged.provider.release()
