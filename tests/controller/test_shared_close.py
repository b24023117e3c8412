"""Two close a session at once, and the first is cancelled: the second does what is still to be done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import attrs
import pytest

from realtime_async.adapters.scripted import Delay, Fault, Hang, Script, ScriptedAdapter
from realtime_async.errors import JournalFailure
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeCloseReason, RealtimeSessionRecord
from realtime_async.testing.cancellation import (
    Cancellation,
    Ending,
    Outcome,
    cancel_at_every_point,
    ways_to_cancel,
)
from realtime_async.testing.journals import FaultyJournal, JournalFault, SuspendingJournal
from tests.controller.begun import Begun, begin, settled
from tests.controller.staged import StagedSession, text
from tests.controller.test_abandoned_close import TERMINAL, every_way

pytestmark = pytest.mark.virtual_time


@attrs.define
class Two:
    """A session, and what becomes of those who close it."""

    staged: StagedSession
    tasks: anyio.abc.TaskGroup
    second: Begun = attrs.field(factory=Begun)
    provider_was_called: bool = False
    """When the first had ended."""

    async def close_first(self) -> object:
        close = partial(self.staged.controller.close, RealtimeCloseReason.POLICY_DENIAL)
        self.tasks.start_soon(self.second.run, close)
        try:
            return await self.staged.controller.close()
        finally:
            self.provider_was_called = "close" in self.staged.adapter.operations

    async def check(self, outcome: Outcome[object]) -> bool:
        """Returns whether the second went on where the first had been cancelled."""
        await self.second.over()
        await settled()
        await self.staged.check()
        kinds = await self.staged.kinds()
        assert kinds[-1] in TERMINAL
        assert self.staged.adapter.operations.count("close") <= 1
        if outcome.ending is not Ending.CANCELLED or self.provider_was_called:
            return False
        # Trio has no order: there the second may come when the first was cancelled where it waited first.
        goes_on = self.second.error is None and kinds[-1] == "closed"
        assert goes_on or (outcome.point == 0 and ways_to_cancel() == (Cancellation.SCOPE,))
        if goes_on:
            assert self.staged.adapter.operations.count("close") == 1
            assert isinstance(self.second.result, RealtimeSessionRecord)
            assert self.second.result == (await self.staged.records())[-1].payload
        return goes_on


@asynccontextmanager
async def two(in_flight: str) -> AsyncIterator[Two]:
    faults: dict[tuple[str, int], Fault] = {("close", 1): Delay(0.1)}
    if in_flight:
        faults[(in_flight, 1)] = Hang()
    staged = StagedSession(ScriptedAdapter(Script(faults=faults)), journal=SuspendingJournal(MemoryJournal()))
    await staged.controller.connect()
    async with anyio.create_task_group() as tasks:
        if in_flight:
            operation = (
                partial(staged.controller.send, text()) if in_flight == "send" else staged.controller.receive
            )
            await begin(tasks, operation)
        yield Two(staged, tasks)


@every_way
@pytest.mark.parametrize("in_flight", ["", "send", "receive"])
async def test_the_second_goes_on_wherever_the_first_is_cancelled(in_flight: str, how: str) -> None:
    went_on = 0

    async def check(both: Two, outcome: Outcome[object]) -> None:
        nonlocal went_on
        went_on += await both.check(outcome)

    points = await cancel_at_every_point(partial(two, in_flight), Two.close_first, check, how=how)

    assert points >= 3
    assert went_on >= 2


@pytest.mark.parametrize("others", [1, 2])
async def test_the_last_who_waits_is_cancelled_too_and_the_session_ends(others: int) -> None:
    async with two("send") as both:
        controller = both.staged.controller
        closing = [await begin(both.tasks, controller.close) for _ in range(1 + others)]

        for each in closing:
            each.scope.cancel()
        for each in closing:
            await each.over()

        assert (await both.staged.kinds())[-1] == "close_failed"
        await both.staged.check()
        assert (await controller.close()).kind == "close_failed"


async def test_each_of_several_goes_on_in_turn() -> None:
    async with two("send") as both:
        closing = [await begin(both.tasks, both.staged.controller.close) for _ in range(4)]

        for each in closing[:3]:
            each.scope.cancel()
            await each.over()
            await settled()

        await closing[3].over()
        assert closing[3].error is None
        assert (await both.staged.kinds())[-1] == "closed"
        await both.staged.check()


async def test_it_ends_within_the_deadline_of_the_second() -> None:
    async with two("send") as both:
        first = await begin(both.tasks, both.staged.controller.close)
        second = await begin(both.tasks, both.staged.controller.close)
        began = anyio.current_time()

        first.scope.cancel()
        await second.over()

        assert second.ended_at - began <= 5
        assert second.error is None


async def test_a_journal_that_fails_meanwhile_is_told_to_the_second() -> None:
    # What was sent has its result there, which the end writes first.
    journal = FaultyJournal(MemoryJournal(), fail_at=4, how=JournalFault.REFUSE)
    staged = StagedSession(ScriptedAdapter(Script(faults={("send", 1): Hang()})), journal=journal)
    await staged.controller.connect()
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(staged.controller.send, text()))
        first = await begin(tasks, staged.controller.close)
        second = await begin(tasks, staged.controller.close)

        first.scope.cancel()
        await second.over()

    assert isinstance(second.error, JournalFailure)
    assert "close" not in staged.adapter.operations
