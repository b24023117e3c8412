"""The cancellation driver: it counts the points, cancels at each of them, and finds what is lost there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from contextvars import Context
from functools import partial
from typing import Any, TypeVarTuple

import anyio
import anyio.lowlevel
import attrs
import pytest

from realtime_async.testing.cancellation import (
    Cancellation,
    Ending,
    Moment,
    Outcome,
    cancel_at_every_point,
    ways_to_cancel,
)

Ts = TypeVarTuple("Ts")


@pytest.fixture(params=list(Cancellation))
def how(request: pytest.FixtureRequest, anyio_backend: tuple[str, dict[str, Any]]) -> Cancellation:
    way: Cancellation = request.param
    # Trio has nothing but scopes: there every way is that one, rather than a test that is left out.
    return way if way in ways_to_cancel(anyio_backend[0]) else Cancellation.SCOPE


@asynccontextmanager
async def trace() -> AsyncIterator[list[str]]:
    yield []


async def three_steps(steps: list[str]) -> str:
    for name in ("first", "second", "third"):
        await anyio.lowlevel.checkpoint()
        steps.append(name)
    return "done"


async def test_every_suspension_is_a_point_and_is_cancelled_at_both_moments(how: Cancellation) -> None:
    seen: list[tuple[int | None, Moment | None]] = []

    async def check(steps: list[str], outcome: Outcome[str]) -> None:
        seen.append((outcome.point, outcome.moment))
        if outcome.point is None:
            assert outcome == Outcome(Ending.RETURNED, "done")
            assert steps == ["first", "second", "third"]

    points = await cancel_at_every_point(trace, three_steps, check, how=how)

    assert points == 3
    assert set(seen) == {(point, moment) for point in range(3) for moment in Moment} | {(None, None)}


@pytest.mark.parametrize("native", [Cancellation.NATIVE, Cancellation.NATIVE_TWICE])
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_native_cancellation_strikes_at_its_very_point(native: Cancellation) -> None:
    async def check(steps: list[str], outcome: Outcome[str]) -> None:
        if outcome.point is not None:
            assert outcome.ending is Ending.CANCELLED
            assert len(steps) == outcome.point

    await cancel_at_every_point(trace, three_steps, check, how=native)


class DirectLoop(asyncio.SelectorEventLoop):
    """Sets a timer without a detour, as uvloop does: asyncio's own gets there by its instance's `call_at`."""

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(self.time() + delay, callback, *args, context=context)


def test_a_wait_runs_out_at_its_very_point_on_a_loop_of_another_make() -> None:
    cancelled_at: list[int] = []

    async def check(steps: list[str], outcome: Outcome[str]) -> None:
        if outcome.ending is Ending.CANCELLED and outcome.point is not None:
            cancelled_at.append(outcome.point)

    anyio.run(
        partial(cancel_at_every_point, trace, three_steps, check, how=Cancellation.WAIT_FOR),
        backend_options={"loop_factory": DirectLoop},
    )

    assert sorted(cancelled_at) == [0, 0, 1, 1, 2, 2]


async def test_what_the_operation_raises_is_given_to_the_check(how: Cancellation) -> None:
    async def fail(steps: list[str]) -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("as planned")

    async def check(steps: list[str], outcome: Outcome[None]) -> None:
        if outcome.point is None:
            assert outcome.ending is Ending.RAISED
            assert isinstance(outcome.error, ValueError)

    assert await cancel_at_every_point(trace, fail, check, how=how) == 1


async def test_a_failed_check_says_where_it_was_cancelled(how: Cancellation) -> None:
    async def check(steps: list[str], outcome: Outcome[str]) -> None:
        assert outcome.point != 1, "lost"

    with pytest.raises(AssertionError) as caught:
        await cancel_at_every_point(trace, three_steps, check, how=how)

    assert "point 1 (suspending)" in caught.value.__notes__[0]


async def test_an_operation_that_never_waits_has_no_point(how: Cancellation) -> None:
    async def at_once(steps: list[str]) -> None:
        steps.append("done")

    async def check(steps: list[str], outcome: Outcome[None]) -> None:
        assert outcome == Outcome(Ending.RETURNED)

    assert await cancel_at_every_point(trace, at_once, check, how=how) == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_second_cancellation_strikes_everywhere_in_the_unwinding() -> None:
    unwound: list[tuple[int, list[str]]] = []

    async def unwind_slowly(steps: list[str]) -> None:
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            await anyio.lowlevel.checkpoint()
            steps.append("one")
            await anyio.lowlevel.checkpoint()
            steps.append("two")

    async def check(steps: list[str], outcome: Outcome[None]) -> None:
        if outcome.point == 0 and outcome.moment is Moment.SUSPENDING:
            unwound.append((0, steps))

    await cancel_at_every_point(trace, unwind_slowly, check, how=Cancellation.NATIVE_TWICE)

    assert [steps for _, steps in unwound] == [[], ["one"], ["one", "two"]]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("native", [Cancellation.NATIVE, Cancellation.WAIT_FOR])
async def test_a_native_cancellation_goes_through_an_anyio_shield(native: Cancellation) -> None:
    async def shielded(steps: list[str]) -> None:
        with anyio.CancelScope(shield=True):
            await three_steps(steps)

    endings = []

    async def check(steps: list[str], outcome: Outcome[None]) -> None:
        endings.append(outcome.ending)

    await cancel_at_every_point(trace, shielded, check, how=native)

    assert Ending.CANCELLED in endings


async def test_a_scope_does_not_go_through_a_shield() -> None:
    async def shielded(steps: list[str]) -> str:
        with anyio.CancelScope(shield=True):
            await three_steps(steps)
        return "done"

    async def check(steps: list[str], outcome: Outcome[str]) -> None:
        assert outcome.value == "done"

    await cancel_at_every_point(trace, shielded, check, how=Cancellation.SCOPE)


@attrs.define
class HandedOver:
    """A queue whose items are handed to the task that waits: a zero-size memory stream."""

    pair: Any = attrs.field(factory=lambda: anyio.create_memory_object_stream[int](0))

    async def put(self, item: int) -> None:
        await self.pair[0].send(item)

    async def get(self) -> int:
        item: int = await self.pair[1].receive()
        return item

    def close(self) -> None:
        self.pair[0].close()
        self.pair[1].close()


@attrs.define
class LeftInPlace:
    """A queue whose items stay in it until a task takes them without awaiting."""

    items: deque[int] = attrs.field(factory=deque)
    changed: anyio.Event = attrs.field(factory=anyio.Event)

    async def put(self, item: int) -> None:
        await anyio.lowlevel.checkpoint()
        self.items.append(item)
        self.changed.set()

    async def get(self) -> int:
        while not self.items:
            await self.changed.wait()
        return self.items.popleft()

    def close(self) -> None:
        pass


Queue = HandedOver | LeftInPlace


def filled(queue: Callable[[], Queue]) -> Callable[[], AbstractAsyncContextManager[Queue]]:
    """Build a queue that somebody puts one item in, as soon as nobody else can go on."""

    async def fill(made: Queue) -> None:
        await anyio.wait_all_tasks_blocked()
        await made.put(42)

    @asynccontextmanager
    async def build() -> AsyncIterator[Queue]:
        made = queue()
        with closing(made):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fill, made)
                yield made
                tasks.cancel_scope.cancel()

    return build


async def take(queue: Queue) -> int:
    return await queue.get()


async def the_item_is_somewhere(queue: Queue, outcome: Outcome[int]) -> None:
    if outcome.ending is Ending.RETURNED:
        assert outcome.value == 42
        return
    item = None
    with anyio.move_on_after(1):
        item = await queue.get()
    assert item == 42, "the item is lost"


@pytest.mark.virtual_time
async def test_a_queue_that_keeps_its_items_passes_every_way(how: Cancellation) -> None:
    points = await cancel_at_every_point(filled(LeftInPlace), take, the_item_is_somewhere, how=how)

    assert points == 1


@pytest.mark.virtual_time
async def test_a_handed_over_item_is_safe_from_scopes() -> None:
    points = await cancel_at_every_point(
        filled(HandedOver), take, the_item_is_somewhere, how=Cancellation.SCOPE
    )

    assert points == 2


@pytest.mark.virtual_time
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("native", [Cancellation.NATIVE, Cancellation.NATIVE_TWICE])
async def test_a_handed_over_item_is_lost_natively_and_the_driver_says_so(native: Cancellation) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="the item is lost")) as caught:
        await cancel_at_every_point(filled(HandedOver), take, the_item_is_somewhere, how=native)

    assert "point 1 (resuming)" in caught.value.__notes__[0]
