from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from realtime_async.errors import JournalConflict, JournalCorrupt, JournalFailure
from realtime_async.journals import _group_commit
from realtime_async.journals._compact import pack
from realtime_async.journals._group_commit import GroupCommit
from realtime_async.journals._taken import Failure, Taken
from realtime_async.ports import JournalCursor, JournalRecord, RunId
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, record, records
from tests.journals.gated import GatedStore, group_commit, take, taken_up

__all__: list[str] = []


async def test_what_gathers_while_a_commit_runs_is_one_commit() -> None:
    store = GatedStore()
    async with group_commit(store) as commits:
        take(commits, record(RUN, 1))
        await taken_up(commits)
        gathered = [take(commits, one) for one in records(RUN, 20, after=1)]
        store.let_through()

        await gathered[-1]

    assert store.batches == [[record(RUN, 1)], records(RUN, 20, after=1)]


async def test_a_batch_wakes_the_event_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(function: Callable[[], object]) -> None:
        posts.append(function)
        post(function)

    store = GatedStore()
    posts: list[object] = []
    async with group_commit(store) as commits:
        post = commits._post
        monkeypatch.setattr(commits, "_post", counted)
        async with anyio.create_task_group() as tasks:

            async def wait(taken: Taken) -> None:
                await taken

            for one in records(RUN, 20):
                tasks.start_soon(wait, take(commits, one))
            await anyio.wait_all_tasks_blocked()
            store.let_through()

        assert len(posts) == len(store.batches) <= 2


async def test_a_batch_that_nobody_awaits_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    store = GatedStore()
    store.let_through()
    async with group_commit(store) as commits:
        monkeypatch.setattr(commits, "_post", pytest.fail)
        taken = [take(commits, one) for one in records(RUN, 20)]
        while not taken[-1].is_durable:
            await anyio.lowlevel.checkpoint()
        monkeypatch.undo()

        assert await taken[-1] == JournalCursor(RUN, 20)


async def test_a_record_that_failed_is_not_on_its_way_though_its_batch_is() -> None:
    store = GatedStore()
    async with group_commit(store) as commits:
        lost = take(commits, record(RUN, 1))
        await taken_up(commits)
        behind = [take(commits, record(RUN, 2)), take(commits, record(OTHER_RUN, 1))]
        store.error = JournalCorrupt("the store is damaged")
        assert commits.pending(RUN, 2) is behind[0]

        store.let_through(1)
        with pytest.raises(JournalCorrupt, match=r"run 'run\.contract' stopped at 1: the store is damaged"):
            await lost

        assert commits.pending(RUN, 2) is None
        assert commits.pending(OTHER_RUN, 1) is behind[1]
        store.error = None


async def test_closing_says_when_the_writer_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_group_commit, "CLOSING_S", 0)
    store = GatedStore()
    async with group_commit(store) as commits:
        take(commits, record(RUN, 1))

        with pytest.raises(JournalFailure, match="store is still being written after 0 s"):
            await commits.close()

        monkeypatch.undo()


async def test_an_error_that_no_store_should_raise_reaches_who_waits() -> None:
    store = GatedStore()
    store.error = ZeroDivisionError()
    store.let_through()
    async with group_commit(store) as commits:
        with pytest.raises(
            JournalFailure, match=r"run 'run\.contract' stopped at 1: .* met ZeroDivisionError"
        ) as raised:
            await take(commits, record(RUN, 1))

        store.error = None
        assert await take(commits, record(OTHER_RUN, 1)) == JournalCursor(OTHER_RUN, 1)

    assert isinstance(raised.value.__cause__, ZeroDivisionError)


async def test_a_store_that_cannot_be_opened_is_told_to_who_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    store = GatedStore()
    monkeypatch.setattr(store, "open", fail)

    with pytest.raises(JournalFailure, match="met ZeroDivisionError"):
        async with group_commit(store):
            pass


async def test_a_store_is_tended_while_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def tend() -> float:
        tended.append(store.batches.copy())
        return 0.001

    store = GatedStore()
    tended: list[list[list[JournalRecord]]] = []
    monkeypatch.setattr(store, "tend", tend)
    async with group_commit(store) as commits:
        while len(tended) < 5:
            await anyio.lowlevel.checkpoint()
        store.let_through()

        # A wait that is over leaves the writer as easy to wake as one that lasts.
        assert await take(commits, record(RUN, 1)) == JournalCursor(RUN, 1)

    assert tended[:5] == [[]] * 5
    assert tended[-1] == [[record(RUN, 1)]]


class RefusingStore(GatedStore):
    """Refuses what is no continuation, as a store does that cannot be asked in the call."""

    def write(self, batch: Sequence[Taken]) -> None:
        super().write(batch)
        refused = Failure(JournalConflict("somebody else's"), is_refusal=True)
        is_refused = False
        for taken in batch:
            is_refused = is_refused or taken.record.record_id.endswith("stranger")
            taken.failure = refused if is_refused else None


async def test_what_queued_behind_a_refusal_fails_with_it_and_the_run_is_not_stopped() -> None:
    store = RefusingStore()
    async with group_commit(store) as commits:
        refused = take(commits, record(RUN, 7, nonce="stranger"))
        await taken_up(commits)
        behind = take(commits, record(RUN, 8))
        store.let_through()

        for one in (refused, behind):
            with pytest.raises(JournalConflict):
                await one
        assert commits.position(RUN) == 0
        assert await take(commits, record(RUN, 1)) == JournalCursor(RUN, 1)


async def test_a_repeat_that_is_refused_leaves_the_run_to_its_owner() -> None:
    store = RefusingStore()
    async with group_commit(store) as commits:
        store.let_through()
        await take(commits, record(RUN, 1))
        refused = commits.take(stranger := record(RUN, 1, nonce="stranger"), pack(stranger), is_repeat=True)
        with pytest.raises(JournalConflict):
            await refused

        assert commits.position(RUN) == 1
        assert await take(commits, record(RUN, 2)) == JournalCursor(RUN, 2)


async def test_a_refusal_that_nobody_was_told_is_raised_once_by_whoever_asks_next() -> None:
    store = RefusingStore()
    async with group_commit(store) as commits:
        store.let_through()
        lost = take(commits, record(RUN, 7, nonce="stranger"))
        while commits.pending(RUN, 7) is lost:
            await anyio.lowlevel.checkpoint()

        with pytest.raises(JournalConflict):
            commits.position(RUN)

        assert commits.position(RUN) == 0


async def test_a_run_that_is_given_up_lands_first_and_takes_no_more() -> None:
    store = GatedStore()
    async with group_commit(store) as commits:
        take(commits, record(RUN, 1))
        await taken_up(commits)
        last = take(commits, record(RUN, 2))
        other = take(commits, record(OTHER_RUN, 1))

        assert commits.give_up(RUN, JournalConflict("released")) is last
        with pytest.raises(JournalConflict, match="released"):
            take(commits, record(RUN, 3))
        store.let_through()

        assert [await last, await other] == [JournalCursor(RUN, 2), JournalCursor(OTHER_RUN, 1)]
        commits.allow_again(RUN)
        assert await take(commits, record(RUN, 3)) == JournalCursor(RUN, 3)


async def test_runs_that_were_given_up_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_group_commit, "MAX_RUNS", 2)
    store = GatedStore()
    store.let_through()
    async with group_commit(store) as commits:
        for number in range(1, 4):
            commits.give_up(RunId(f"run.{number}"), JournalConflict(f"released {number}"))

        for number in (2, 3):
            with pytest.raises(JournalConflict, match=f"released {number}"):
                take(commits, record(f"run.{number}", 1))
        assert await take(commits, record("run.1", 1)) == JournalCursor(RunId("run.1"), 1)


async def idle(commits: GroupCommit) -> None:
    # The writer's thread tells nobody that it is.
    while not commits._is_idle:
        await anyio.lowlevel.checkpoint()


def is_interrupted_at(line: int, work: Callable[[], object]) -> bool:
    """Whether *work* has so many lines of an append; a KeyboardInterrupt comes before the last of them."""
    watched = (GroupCommit.take.__code__, GroupCommit._rouse.__code__)
    lines = itertools.count(1)
    locks: set[int] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code not in watched:
            return None
        # The line of the lock comes once more on the way out; Python looks for no signal before it has let go.
        if frame.f_code is GroupCommit.take.__code__ and event == "line":
            if frame.f_lineno in locks:
                return trace
            locks.add(frame.f_lineno)
        if event == "line" and next(lines) == line:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@asynccontextmanager
async def appended_to(line: int) -> AsyncIterator[tuple[GatedStore, GroupCommit, bool]]:
    """A journal that was idle when record 1 was appended, and whether that was interrupted, at its line *line*."""
    store = GatedStore()
    store.let_through()
    async with group_commit(store) as commits:
        await idle(commits)
        yield store, commits, is_interrupted_at(line, partial(take, commits, record(RUN, 1)))


async def test_an_interrupt_at_any_line_of_an_append_neither_leaves_the_writer_asleep_nor_a_gap() -> None:
    """Trio raises KeyboardInterrupt wherever the program is."""
    for line in itertools.count(1):
        async with appended_to(line) as (store, commits, is_interrupted):
            position = commits.position(RUN)
            assert not commits._lock.locked()
        written = [one for batch in store.batches for one in batch]
        # What was counted is written; what was queued and not counted may be appended again, as it is equal.
        assert written in ([record(RUN, 1)], [] if position == 0 else [record(RUN, 1)])
        if not is_interrupted:
            break
    assert line > 10


async def test_a_writer_that_was_woken_by_an_interrupted_append_writes_the_next() -> None:
    for line in itertools.count(1):
        async with appended_to(line) as (_, commits, is_interrupted):
            with anyio.fail_after(5):
                await take(commits, record(OTHER_RUN, 1))
        if not is_interrupted:
            break
    assert line > 10
