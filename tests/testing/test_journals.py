"""Journals that go wrong, each in its way and in no other."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from realtime_async.errors import ContractViolation, JournalConflict, JournalFailure
from realtime_async.journals import MemoryJournal
from realtime_async.ports import JournalCursor, RunId, RunJournal
from realtime_async.testing.journal_contract import JournalContract, append_all, read_all, record, records
from realtime_async.testing.journals import (
    AppendBegun,
    AppendDurable,
    AppendFailed,
    CrashingJournal,
    CrashPoint,
    FaultyJournal,
    JournalFault,
    ProcessDied,
    RecordingJournal,
    SuspendingJournal,
)

RUN = RunId("run.1")
OTHER_RUN = RunId("run.2")

NEVER = 10**6


class TestPassing(JournalContract):
    """Before anything goes wrong, each is a journal like any other."""

    @pytest.fixture(
        autouse=True,
        params=[
            lambda inner: FaultyJournal(inner, fail_at=NEVER, how=JournalFault.BEFORE),
            lambda inner: CrashingJournal(inner, crash_at=NEVER),
            SuspendingJournal,
            RecordingJournal,
        ],
        ids=["faulty", "crashing", "suspending", "recording"],
    )
    def doubled(self, request: pytest.FixtureRequest) -> None:
        self.store = MemoryJournal()
        self.double: Callable[[RunJournal], RunJournal] = request.param

    def open_journal(self) -> Opened:
        return Opened(self.store, self.double)


class Opened:
    def __init__(self, store: MemoryJournal, double: Callable[[RunJournal], RunJournal]) -> None:
        self.store = store
        self.double = double

    async def __aenter__(self) -> RunJournal:
        await self.store.__aenter__()
        return self.double(self.store)

    async def __aexit__(self, *exc_info: object) -> None:
        await self.store.aclose()


@pytest.mark.parametrize(
    "how, error, written",
    [
        (JournalFault.BEFORE, JournalFailure, 1),
        (JournalFault.AFTER, JournalFailure, 2),
        (JournalFault.CONFLICT, JournalConflict, 1),
    ],
)
async def test_a_fault_is_raised_by_every_await_and_stops_that_run_only(
    how: JournalFault, error: type[JournalFailure], written: int
) -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=2, how=how, run_id=RUN)
    await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])

    taken = journal.append(record(RUN, 2))
    for _ in range(2):
        with pytest.raises(error):
            await taken
    with pytest.raises(error):
        journal.append(record(RUN, 3))
    await append_all(journal, records(OTHER_RUN, 2, after=1))

    assert await read_all(journal, RUN) == records(RUN, written)
    assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 3)
    await journal.aclose()


async def test_a_refusal_is_raised_by_the_call() -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=1, how="refuse")

    with pytest.raises(JournalFailure):
        journal.append(record(RUN, 1))

    assert await read_all(journal, RUN) == []


async def test_a_fault_that_nobody_awaited_is_raised_by_closing() -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=1, how=JournalFault.BEFORE)
    journal.append(record(RUN, 1))

    with pytest.raises(JournalFailure):
        await journal.aclose()


async def test_without_a_run_the_appends_of_all_runs_count() -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=2, how="refuse")
    await journal.append(record(RUN, 1))

    with pytest.raises(JournalFailure):
        journal.append(record(OTHER_RUN, 1))

    assert journal.run_that_failed == OTHER_RUN


@pytest.mark.virtual_time
async def test_a_hang_holds_all_that_follows_until_it_is_released() -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=2, how=JournalFault.HANG)
    await journal.append(record(RUN, 1))
    taken = [journal.append(one) for one in records(RUN, 2, after=1)]

    with pytest.raises(TimeoutError), anyio.fail_after(3600):
        await taken[1]
    hung = await read_all(journal, RUN)
    journal.release()
    cursors = [await one for one in taken]

    assert hung == records(RUN, 1)
    assert cursors == [JournalCursor(RUN, 2), JournalCursor(RUN, 3)]
    assert await read_all(journal, RUN) == records(RUN, 3)
    await journal.append(record(RUN, 4))


@pytest.mark.virtual_time
async def test_a_stall_is_long_and_then_over() -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=1, how=JournalFault.STALL, stall_s=30)
    taken = journal.append(record(RUN, 1))
    following = journal.append(record(RUN, 2))
    began = anyio.current_time()

    await following
    waited = anyio.current_time() - began
    await taken
    await journal.append(record(RUN, 3))

    assert waited == pytest.approx(30)
    assert anyio.current_time() - began == pytest.approx(30)


@pytest.mark.parametrize(
    "point, written",
    [(CrashPoint.BEFORE, 2), (CrashPoint.AFTER, 3), (CrashPoint.UNAWAITED_LOST, 1)],
)
async def test_a_process_that_died_does_nothing_any_more(point: CrashPoint, written: int) -> None:
    store = MemoryJournal()
    journal = CrashingJournal(store, crash_at=3, point=point)
    await journal.append(record(RUN, 1))
    taken = journal.append(record(RUN, 2))

    with pytest.raises(ProcessDied):
        journal.append(record(RUN, 3))

    assert await read_all(store, RUN) == records(RUN, written)
    for call in (journal.last(RUN), journal.aclose(), wait(taken)):
        with pytest.raises(ProcessDied):
            await call
    with pytest.raises(ProcessDied):
        journal.read(RUN)
    with pytest.raises(ProcessDied):
        journal.append(record(RUN, 4))


async def wait(taken: Awaitable[JournalCursor]) -> None:
    await taken


async def test_an_await_makes_durable_what_was_begun_before_it_too() -> None:
    store = MemoryJournal()
    journal = CrashingJournal(store, crash_at=4, point=CrashPoint.UNAWAITED_LOST)
    taken = [journal.append(one) for one in records(RUN, 3)]

    await taken[1]
    with pytest.raises(ProcessDied):
        journal.append(record(RUN, 4))

    assert await read_all(store, RUN) == records(RUN, 2)


async def test_closing_makes_durable_what_a_living_process_had_begun() -> None:
    store = MemoryJournal()
    journal = CrashingJournal(store, crash_at=NEVER, point=CrashPoint.UNAWAITED_LOST)
    journal.append(record(RUN, 1))

    await journal.aclose()

    assert await read_all(store, RUN) == records(RUN, 1)


async def test_a_suspending_journal_counts_its_points() -> None:
    journal = SuspendingJournal(MemoryJournal())

    await append_all(journal, records(RUN, 3))

    assert journal.suspensions == 6


async def test_a_recording_journal_says_when_a_record_was_begun_and_known_to_be_durable() -> None:
    steps = itertools.count(1).__next__
    journal = RecordingJournal(SuspendingJournal(MemoryJournal()), steps=steps)

    first, second = journal.append(record(RUN, 1)), journal.append(record(RUN, 2))
    steps()
    await second
    await first
    await first

    assert journal.log == [
        AppendBegun(1, record(RUN, 1)),
        AppendBegun(2, record(RUN, 2)),
        AppendDurable(4, record(RUN, 2)),
        AppendDurable(5, record(RUN, 1)),
    ]


@pytest.mark.parametrize("how", [JournalFault.BEFORE, JournalFault.REFUSE])
async def test_a_recording_journal_says_what_failed(how: JournalFault) -> None:
    journal = RecordingJournal(FaultyJournal(MemoryJournal(), fail_at=1, how=how))

    with pytest.raises(JournalFailure) as caught:
        await journal.append(record(RUN, 1))

    assert journal.log[-1] == AppendFailed(2, record(RUN, 1), caught.value)


async def test_asking_whether_a_record_is_durable_is_recorded_too() -> None:
    journal = RecordingJournal(MemoryJournal())

    taken = journal.append(record(RUN, 1))

    assert getattr(taken, "is_durable", False)
    assert journal.log == [AppendBegun(1, record(RUN, 1)), AppendDurable(2, record(RUN, 1))]


@pytest.mark.parametrize("number", [0, -1, True])
def test_an_append_that_never_comes_is_refused(number: int) -> None:
    with pytest.raises(ContractViolation, match="counted from 1"):
        FaultyJournal(MemoryJournal(), fail_at=number, how=JournalFault.BEFORE)
    with pytest.raises(ContractViolation, match="counted from 1"):
        CrashingJournal(MemoryJournal(), crash_at=number)


@pytest.mark.parametrize("how", ["explode", None, 1], ids=repr)
def test_a_fault_that_no_journal_has_is_refused(how: Any) -> None:
    with pytest.raises(ContractViolation, match="choose one of refuse, before"):
        FaultyJournal(MemoryJournal(), fail_at=1, how=how)
