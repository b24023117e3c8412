"""
Cancellation at every point: run an operation again and again, and cancel it at each place where it waits.

A point is a suspension that the event loop sees: the driver steps the operation itself and counts
what it yields, so nothing is missed and nothing is guessed by time.
Each point is cancelled at two moments, as the operation begins to wait, and as it is about to go on
because what it waited for has happened.
The second is where a value is lost that was handed over already.

Native cancellation is asyncio's own and passes through anyio's shields, which is why asyncio is imported here.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from enum import StrEnum
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
import attrs

__all__ = ["Cancellation", "Ending", "Moment", "Outcome", "cancel_at_every_point", "ways_to_cancel"]

F = TypeVar("F")
T = TypeVar("T")


class Cancellation(StrEnum):
    """Who cancels, and how."""

    SCOPE = "scope"
    """An anyio cancel scope around the operation; a wait that is over by then goes on to the next one."""
    NATIVE = "native"
    """`Task.cancel`, once."""
    NATIVE_TWICE = "native_twice"
    """`Task.cancel`, and once more at each point at which the operation waits while it unwinds."""
    WAIT_FOR = "wait_for"
    """The deadline of `asyncio.wait_for`."""


WAYS: Mapping[str, tuple[Cancellation, ...]] = {
    "asyncio": tuple(Cancellation),
    "trio": (Cancellation.SCOPE,),
}


def ways_to_cancel(backend: str | None = None) -> tuple[Cancellation, ...]:
    """Return the ways to cancel that *backend* knows; None: the one that runs."""
    if backend is None:
        backend = "asyncio" if anyio.get_cancelled_exc_class() is asyncio.CancelledError else "trio"
    return WAYS[backend]


class Moment(StrEnum):
    SUSPENDING = "suspending"
    """What it waits for has not happened, unless it happened before."""
    RESUMING = "resuming"
    """What it waited for has happened, and it has not run since."""


class Ending(StrEnum):
    RETURNED = "returned"
    RAISED = "raised"
    CANCELLED = "cancelled"


@attrs.frozen
class Outcome(Generic[T]):
    """How one run of the operation ended."""

    ending: Ending
    value: T | None = None
    """What it returned."""
    error: Exception | None = None
    """What it raised, cancellation aside."""
    point: int | None = None
    """The suspension, from 0, at which it was cancelled; None: it was let alone."""
    moment: Moment | None = None


async def cancel_at_every_point(
    build: Callable[[], AbstractAsyncContextManager[F]],
    operate: Callable[[F], Coroutine[Any, Any, T]],
    check: Callable[[F, Outcome[T]], Awaitable[None]],
    *,
    how: Cancellation | str,
) -> int:
    """
    Cancel an operation at each of its suspensions in turn, each time in a fresh fixture.

    The last run is let alone, so the operation must end by itself.

    Args:
        build: Opens a fixture; it is closed after *check*.
        operate: The operation.
        check: Called with the fixture after each run; raises where a promise is broken.

    Returns:
        How many points the operation has; assert it, so that the test notices when there is nothing to cancel.
    """
    how = Cancellation(how)
    for point in itertools.count():
        for moment in Moment:
            plan = _Plan(point, moment, again_after=1 if how is Cancellation.NATIVE_TWICE else None)
            await _run_once(build, operate, check, how, plan)
            while plan.is_reached_again:
                plan = plan.a_step_later()
                await _run_once(build, operate, check, how, plan)
            if not plan.is_reached:
                return point
    raise AssertionError("whatever ends has a last point")


async def _run_once(
    build: Callable[[], AbstractAsyncContextManager[F]],
    operate: Callable[[F], Coroutine[Any, Any, T]],
    check: Callable[[F, Outcome[T]], Awaitable[None]],
    how: Cancellation,
    plan: _Plan,
) -> None:
    try:
        async with build() as fixture:
            run = _Run(operate(fixture), plan)
            await _RUNNERS[how](run)
            await check(fixture, run.outcome())
    except Exception as error:
        error.add_note(f"cancelled by {how} at {plan}")
        raise


@attrs.define
class _Plan:
    """Where to cancel, and how far that has come."""

    point: int
    moment: Moment
    again_after: int | None
    """How many suspensions later to cancel once more; None: not at all."""
    suspensions: int = 0
    is_reached: bool = False
    is_reached_again: bool = False
    """The second cancellation was reached too."""

    def is_due(self) -> bool:
        """Count a suspension, and say whether to cancel at it."""
        number = self.suspensions
        self.suspensions += 1
        if number == self.point:
            self.is_reached = True
            return True
        if self.again_after is not None and number == self.point + self.again_after:
            self.is_reached_again = True
            return True
        return False

    def a_step_later(self) -> _Plan:
        """The plan whose second cancellation comes a suspension later."""
        assert self.again_after is not None
        return _Plan(self.point, self.moment, self.again_after + 1)

    def __str__(self) -> str:
        again = "" if self.again_after is None else f", and again {self.again_after} later"
        return f"point {self.point} ({self.moment}){again}"


class _Run(Generic[T]):
    """One run of the operation, stepped by hand so that every suspension passes through here."""

    def __init__(self, operation: Coroutine[Any, Any, T], plan: _Plan) -> None:
        self._operation = operation
        self._plan = plan
        self._cancel: Callable[[], object] = bool
        self._outcome: Outcome[T] | None = None

    def outcome(self) -> Outcome[T]:
        assert self._outcome is not None
        return self._outcome

    async def under(self, cancel: Callable[[], object]) -> None:
        """Run, and call *cancel* where the plan says so; only a cancellation gets out."""
        self._cancel = cancel
        try:
            value = await self
        except anyio.get_cancelled_exc_class():
            self._end(Ending.CANCELLED)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the check shall see it
            self._end(Ending.RAISED, error=error)
        else:
            self._end(Ending.RETURNED, value=value)

    def _end(self, ending: Ending, *, value: T | None = None, error: Exception | None = None) -> None:
        plan = self._plan
        where = (plan.point, plan.moment) if plan.is_reached else (None, None)
        self._outcome = Outcome(ending, value, error, *where)

    def __await__(self) -> Generator[Any, Any, T]:
        advance: Callable[[], Any] = partial(self._operation.send, None)
        while True:
            try:
                awaited = advance()
            except StopIteration as stop:
                value: T = stop.value
                return value
            try:
                advance = partial(self._operation.send, (yield from self._suspend(awaited)))
            except BaseException as error:  # noqa: BLE001 - the operation's own to handle
                advance = partial(self._operation.throw, error)

    def _suspend(self, awaited: Any) -> Generator[Any, Any, Any]:
        if not self._plan.is_due():
            return (yield awaited)
        if isinstance(awaited, asyncio.Future) and self._plan.moment is Moment.RESUMING:
            # The future tells us before it tells the task: that is cancelled first, and goes on then.
            awaited.add_done_callback(lambda _: self._cancel())
            return (yield awaited)
        if self._plan.moment is Moment.SUSPENDING or awaited is None:
            self._cancel()
            return (yield awaited)
        answer = yield awaited
        self._cancel()
        return answer


async def _by_scope(run: _Run[T]) -> None:
    with anyio.CancelScope() as scope:
        await run.under(scope.cancel)


async def _natively(run: _Run[T]) -> None:
    async def operate() -> None:
        task = asyncio.current_task()
        assert task is not None
        await run.under(task.cancel)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(operate())


async def _by_wait_for(run: _Run[T]) -> None:
    async def operate() -> None:
        with suppress(TimeoutError), _first_timer() as fire:
            await asyncio.wait_for(run.under(fire), timeout=math.inf)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(operate())


@contextmanager
def _first_timer() -> Iterator[Callable[[], object]]:
    """Catch the first timer that is set, and let it go off when asked instead of by time."""
    loop = asyncio.get_running_loop()
    timers: list[Callable[[], object]] = []

    def fire() -> None:
        timers[0]()

    def caught(set_timer: Callable[..., asyncio.TimerHandle]) -> Callable[..., asyncio.TimerHandle]:
        def call(
            when: float, callback: Callable[..., object], *args: Any, **options: Any
        ) -> asyncio.TimerHandle:
            if not timers:
                timers.append(partial(callback, *args))
            return set_timer(when, callback, *args, **options)

        return call

    # There is no other way to a deadline that is not ours.  Which of the two sets it is the loop's own affair: asyncio's
    # comes to the first by way of the second, uvloop's doesn't.
    for name in ("call_at", "call_later"):
        setattr(loop, name, caught(getattr(loop, name)))
    try:
        yield fire
    finally:
        del loop.call_at, loop.call_later


_RUNNERS: Mapping[Cancellation, Callable[[_Run[Any]], Awaitable[None]]] = {
    Cancellation.SCOPE: _by_scope,
    Cancellation.NATIVE: _natively,
    Cancellation.NATIVE_TWICE: _natively,
    Cancellation.WAIT_FOR: _by_wait_for,
}
