"""
Journals that go wrong: each passes every call on to another, and spoils one thing.

What each of them returns from `append` can be awaited more than once, by several tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from enum import StrEnum
from typing import Any

import anyio
import anyio.lowlevel
import attrs

from realtime_async._core.given import choice
from realtime_async.adapters.scripted import StepSource
from realtime_async.errors import ContractViolation, JournalConflict, JournalFailure
from realtime_async.ports import JournalCursor, JournalRecord, RunId, RunJournal

__all__ = [
    "AppendBegun",
    "AppendDurable",
    "AppendFailed",
    "CrashPoint",
    "CrashingJournal",
    "FaultyJournal",
    "JournalEntry",
    "JournalFault",
    "ProcessDied",
    "RecordingJournal",
    "SuspendingJournal",
]


@attrs.define(eq=False)
class _Ack:
    """What `append` returns: every await of it waits anew."""

    wait: Callable[[], Awaitable[JournalCursor]]
    ask: Callable[[], bool]

    @property
    def is_durable(self) -> bool:
        return self.ask()

    def __await__(self) -> Generator[Any, Any, JournalCursor]:
        return self.wait().__await__()


def _is_durable(ack: Awaitable[JournalCursor]) -> bool:
    return getattr(ack, "is_durable", False) is True


def _counted(append: int) -> int:
    if type(append) is not int or append < 1:
        # It would never be called, and the test that is about it would hold.
        raise ContractViolation(
            f"there is no append number {append!r} that could go wrong: they are counted from 1"
        )
    return append


class _PassingJournal:
    """Passes on all but `append`."""

    def __init__(self, inner: RunJournal) -> None:
        self.inner = inner

    def read(self, run_id: RunId, *, after: int = 0) -> AsyncIterator[JournalRecord]:
        return self.inner.read(run_id, after=after)

    async def last(self, run_id: RunId) -> JournalCursor | None:
        return await self.inner.last(run_id)

    async def aclose(self) -> None:
        await self.inner.aclose()


class JournalFault(StrEnum):
    """How an append goes wrong."""

    REFUSE = "refuse"
    """The call raises `JournalFailure`; nothing is written."""
    BEFORE = "before"
    """The record is taken; awaiting raises `JournalFailure`, and nothing is written."""
    AFTER = "after"
    """The record is written; awaiting raises `JournalFailure` all the same."""
    CONFLICT = "conflict"
    """The record is taken; awaiting raises `JournalConflict`, and nothing is written."""
    HANG = "hang"
    """The record is taken; it and what follows is written only after `FaultyJournal.release`."""
    STALL = "stall"
    """The record is written; whoever awaits it, or what follows, learns so only `stall_s` seconds later."""


class FaultyJournal(_PassingJournal):
    """
    A journal whose n-th append goes wrong, and with it the rest of that run; other runs go on.

    Args:
        fail_at: Which append, from 1, of *run_id* or else of all runs together.
        stall_s: Seconds that a `JournalFault.STALL` takes.

    Raises:
        ContractViolation: There is no such append, or no such fault.
    """

    def __init__(
        self,
        inner: RunJournal,
        *,
        fail_at: int,
        how: JournalFault | str,
        run_id: str | None = None,
        stall_s: float = 60.0,
    ) -> None:
        super().__init__(inner)
        self.appends = 0
        """How many were called, of the runs that count."""
        self.run_that_failed: RunId | None = None
        self._fail_at = _counted(fail_at)
        self._how = choice(JournalFault, how, "fault of a journal")
        self._run_id = run_id
        self._stall_s = stall_s
        self._stalled_until = 0.0
        self._failure: JournalFailure | None = None
        self._is_raised = False
        self._held: list[JournalRecord] = []
        self._released = anyio.Event()

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        if self._run_id in (None, record.run_id):
            self.appends += 1
            if self.appends == self._fail_at:
                return self._go_wrong(record)
        if record.run_id != self.run_that_failed:
            return self.inner.append(record)
        if self._failure is not None:
            raise self._raised()
        return self._late(record)

    async def aclose(self) -> None:
        await self.inner.aclose()
        if self._failure is not None and not self._is_raised:
            raise self._raised()

    def release(self) -> None:
        """Write what hangs, in order."""
        self.run_that_failed = None
        for record in self._held:
            self.inner.append(record)
        self._released.set()

    def _go_wrong(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        self.run_that_failed = record.run_id
        where = f"record {record.journal_seq} of run {str(record.run_id)!r}"
        match self._how:
            case JournalFault.HANG:
                return self._late(record)
            case JournalFault.STALL:
                self._stalled_until = anyio.current_time() + self._stall_s
                return self._late(record)
            case JournalFault.CONFLICT:
                self._failure = JournalConflict(f"{where} is somebody else's, says the test")
            case JournalFault.AFTER:
                self.inner.append(record)
                self._failure = JournalFailure(f"{where} was written, but the test says it was not")
            case JournalFault.BEFORE | JournalFault.REFUSE:
                self._failure = JournalFailure(f"{where} was not written, as the test asked")
        if self._how is JournalFault.REFUSE:
            raise self._raised()
        return _Ack(self._failed, bool)

    def _late(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        if self._how is JournalFault.HANG:
            self._held.append(record)
            return _Ack(lambda: self._after_release(record), self._released.is_set)
        ack = self.inner.append(record)
        return _Ack(lambda: self._after_stall(ack), lambda: not self._is_stalled() and _is_durable(ack))

    async def _after_release(self, record: JournalRecord) -> JournalCursor:
        await self._released.wait()
        # It was appended once already: this asks how that ended.
        return await self.inner.append(record)

    async def _after_stall(self, ack: Awaitable[JournalCursor]) -> JournalCursor:
        if self._is_stalled():
            await anyio.sleep_until(self._stalled_until)
        return await ack

    def _is_stalled(self) -> bool:
        return anyio.current_time() < self._stalled_until

    async def _failed(self) -> JournalCursor:
        await anyio.lowlevel.checkpoint()
        raise self._raised()

    def _raised(self) -> JournalFailure:
        assert self._failure is not None
        self._is_raised = True
        return self._failure.with_traceback(None)


class ProcessDied(BaseException):
    """The process is dead, as far as the test goes: no `except Exception` survives it."""


class CrashPoint(StrEnum):
    """What of its n-th append a dying process leaves behind."""

    BEFORE = "before"
    """Nothing."""
    AFTER = "after"
    """The record."""
    UNAWAITED_LOST = "unawaited_lost"
    """Nothing, and nothing of what was begun before it and never awaited either."""


class CrashingJournal(_PassingJournal):
    """
    A journal that takes the process with it at its n-th append: from there on every call raises `ProcessDied`.

    What is left behind is read from `inner`.
    """

    def __init__(
        self,
        inner: RunJournal,
        *,
        crash_at: int,
        point: CrashPoint | str = CrashPoint.BEFORE,
        steps: StepSource | None = None,
    ) -> None:
        super().__init__(inner)
        self.appends = 0
        self.died_at: int | None = None
        """The step of the death; whatever an adapter is asked later, nobody asked."""
        self._crash_at = _counted(crash_at)
        self._point = CrashPoint(point)
        self._steps = itertools.count(1).__next__ if steps is None else steps
        self._unawaited: list[JournalRecord] = []

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        self._live()
        self.appends += 1
        if self.appends == self._crash_at:
            if self._point is CrashPoint.AFTER:
                self.inner.append(record)
            self.died_at = self._steps()
            self._live()
        if self._point is CrashPoint.UNAWAITED_LOST:
            self._unawaited.append(record)
            return _Ack(lambda: self._flushed(record), bool)
        ack = self.inner.append(record)
        return _Ack(lambda: self._alive(ack), lambda: _is_durable(ack))

    def read(self, run_id: RunId, *, after: int = 0) -> AsyncIterator[JournalRecord]:
        self._live()
        return self.inner.read(run_id, after=after)

    async def last(self, run_id: RunId) -> JournalCursor | None:
        self._live()
        return await self.inner.last(run_id)

    async def aclose(self) -> None:
        self._live()
        for record in self._unawaited:
            self.inner.append(record)
        await self.inner.aclose()

    def _live(self) -> None:
        if self.died_at is not None:
            raise ProcessDied

    async def _alive(self, ack: Awaitable[JournalCursor]) -> JournalCursor:
        self._live()
        cursor = await ack
        self._live()
        return cursor

    async def _flushed(self, record: JournalRecord) -> JournalCursor:
        self._live()
        while self._unawaited and record in self._unawaited:
            self.inner.append(self._unawaited.pop(0))
        return await self._alive(self.inner.append(record))


class SuspendingJournal(_PassingJournal):
    """A journal whose every ack suspends before and after, so that its caller can be cancelled at both."""

    def __init__(self, inner: RunJournal) -> None:
        super().__init__(inner)
        self.suspensions = 0
        """How often a wait was suspended here."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        ack = self.inner.append(record)
        return _Ack(lambda: self._suspended(ack), bool)

    async def _suspended(self, ack: Awaitable[JournalCursor]) -> JournalCursor:
        await self._suspend()
        cursor = await ack
        await self._suspend()
        return cursor

    async def _suspend(self) -> None:
        self.suspensions += 1
        await anyio.lowlevel.checkpoint()


@attrs.frozen
class AppendBegun:
    step: int
    record: JournalRecord


@attrs.frozen
class AppendDurable:
    """Somebody learned that the record, and all before it, cannot be lost."""

    step: int
    record: JournalRecord


@attrs.frozen
class AppendFailed:
    step: int
    record: JournalRecord
    error: JournalFailure


JournalEntry = AppendBegun | AppendDurable | AppendFailed


class RecordingJournal(_PassingJournal):
    """
    A journal that logs when each record was begun, and when its writer learned that it is durable.

    Args:
        steps: Numbers the entries; give it the adapter's, and the order of both is seen.
    """

    def __init__(self, inner: RunJournal, *, steps: StepSource | None = None) -> None:
        super().__init__(inner)
        self.log: list[JournalEntry] = []
        self._steps = itertools.count(1).__next__ if steps is None else steps
        self._known_durable: set[str] = set()

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        self.log.append(AppendBegun(self._steps(), record))
        try:
            ack = self.inner.append(record)
        except JournalFailure as error:
            self.log.append(AppendFailed(self._steps(), record, error))
            raise
        return _Ack(lambda: self._watched(record, ack), lambda: self._asked(record, ack))

    async def _watched(self, record: JournalRecord, ack: Awaitable[JournalCursor]) -> JournalCursor:
        try:
            cursor = await ack
        except JournalFailure as error:
            self.log.append(AppendFailed(self._steps(), record, error))
            raise
        self._durable(record)
        return cursor

    def _asked(self, record: JournalRecord, ack: Awaitable[JournalCursor]) -> bool:
        if _is_durable(ack):
            self._durable(record)
            return True
        return False

    def _durable(self, record: JournalRecord) -> None:
        if record.record_id not in self._known_durable:
            self._known_durable.add(record.record_id)
            self.log.append(AppendDurable(self._steps(), record))
