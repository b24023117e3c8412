"""
Acknowledgements that one task can spoil for all others, made into such as the port asks for.

A journal whose `append` is an async function, or returns a coroutine, gives something that runs only while it
is awaited, for one task, and is gone once that task is cancelled.
Here whoever waits for a record runs what was begun before it first, so that records are taken in their order.
One that gives a future of asyncio, or a task, gives something that is cancelled with whoever awaits it.
Here nobody awaits it: who waits is told when it is done.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol, cast

import anyio

from realtime_async._core.records import JournalCursor
from realtime_async.errors import JournalFailure

__all__ = ["CoroutineLine", "outcome"]


class CoroutineLine:
    """The coroutines of one run that have not ended, oldest first."""

    __slots__ = ("_failure", "_running", "_waiting")

    def __init__(self) -> None:
        # As long as what may be begun without being awaited: the line has no bound of its own.
        self._waiting: deque[_Turn] = deque()
        self._running: anyio.Event | None = None
        self._failure: Exception | None = None

    def add(
        self,
        ack: Coroutine[Any, Any, JournalCursor | None],
        again: Callable[[], Awaitable[JournalCursor | None]],
    ) -> Awaitable[JournalCursor | None]:
        """
        Put *ack* at the end of the line; what is returned may be awaited by many.

        Args:
            again: Appends the same record once more, where the task that ran *ack* was cancelled.
        """
        turn = _Turn(self, ack, again)
        self._waiting.append(turn)
        return turn

    @property
    def is_waiting(self) -> bool:
        """Whether there is one that somebody still has to await."""
        return bool(self._waiting)

    def give_up(self, failure: Exception) -> None:
        """Run nothing any more, because of *failure*, which whoever waits is told."""
        if self._failure is None:
            self._failure = failure
        for turn in self._waiting:
            turn.drop()
        self._waiting.clear()

    async def run_through(self, turn: _Turn) -> JournalCursor | None:
        while not turn.is_over:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._running is not None:
                await self._running.wait()
            else:
                await self._run_first()
        return turn.cursor

    async def _run_first(self) -> None:
        self._running = ended = anyio.Event()
        try:
            await self._waiting[0].run()
            if self._waiting:
                self._waiting.popleft()
        except Exception as failure:
            self.give_up(failure)
            raise
        finally:
            self._running = None
            ended.set()


class _Turn:
    __slots__ = ("_ack", "_again", "_line", "cursor", "is_over")

    def __init__(
        self,
        line: CoroutineLine,
        ack: Coroutine[Any, Any, JournalCursor | None],
        again: Callable[[], Awaitable[JournalCursor | None]],
    ) -> None:
        self._line = line
        self._ack: Coroutine[Any, Any, JournalCursor | None] | None = ack
        self._again = again
        self.cursor: JournalCursor | None = None
        """What the journal returned at the end, where it did not forget to."""
        self.is_over = False

    def __await__(self) -> Generator[Any, Any, JournalCursor | None]:
        return self._line.run_through(self).__await__()

    async def run(self) -> None:
        # A coroutine that was cut cannot be awaited again; an equal record may be appended again.
        ack, self._ack = self._ack, None
        self.cursor = await (self._again() if ack is None else ack)
        self.is_over = True

    def drop(self) -> None:
        if self._ack is not None:
            self._ack.close()


class _Future(Protocol):
    """What asyncio's futures and tasks have, and those of other loops for it."""

    def add_done_callback(self, fn: Callable[[_Future], object], /) -> object: ...
    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def result(self) -> JournalCursor: ...


async def outcome(ack: Awaitable[JournalCursor | None] | None) -> JournalCursor | None:
    """
    Wait for *ack*, and leave it whole for those who wait for it too.

    Raises:
        JournalFailure: The journal has cancelled it, or it is something else; or what *ack* raises.
    """
    # The first look is a tenth of the second, and nearly always enough.
    if ack is None or not (hasattr(ack, "__await__") or inspect.isawaitable(ack)):
        raise JournalFailure(
            f"the journal's append returned something of type {type(ack).__name__}, which nobody can wait for: let it return an awaitable"
        )
    if not hasattr(ack, "add_done_callback"):
        return await ack
    return await _outcome_of_future(cast("_Future", ack))


async def _outcome_of_future(future: _Future) -> JournalCursor:
    if not future.done():
        ended = anyio.Event()
        future.add_done_callback(lambda _: ended.set())
        await ended.wait()
    if future.cancelled():
        # Its CancelledError would pass for the cancellation of whoever waits.
        raise JournalFailure(
            "the journal cancelled what its append returned: look at its storage, and resume the run"
        )
    return future.result()
