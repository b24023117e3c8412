"""Those whom a commit wakes have their turn before the next begins."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import anyio
import pytest

from realtime_async.journals import _group_commit
from realtime_async.journals._group_commit import GroupCommit
from realtime_async.journals._taken import Taken
from realtime_async.ports import JournalCursor, RunId
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, record
from tests.journals.gated import GatedStore, group_commit, take, taken_up

__all__: list[str] = []

EARLY, LATE = ([RunId(f"run.{half}.{number}") for number in range(10)] for half in ("early", "late"))


@pytest.fixture
def turns_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_group_commit, "TURN_TO_COMMIT", math.inf)


@pytest.fixture
def turns_without_limit(monkeypatch: pytest.MonkeyPatch, turns_of_any_length: None) -> None:
    monkeypatch.setattr(_group_commit, "TURN_S", 60)


async def two_wait_for_one_commit(commits: GroupCommit, store: GatedStore) -> tuple[Taken, Taken]:
    take(commits, record(RUN, 1))
    await taken_up(commits)
    return take(commits, record(RUN, 2)), take(commits, record(OTHER_RUN, 1))


async def sizes_of_two_halves() -> list[int]:
    """What is committed at once where ten append three times each, and ten others while the first are written."""
    store = GatedStore()
    async with group_commit(store) as commits, anyio.create_task_group() as tasks:

        async def append_each(run_id: RunId) -> None:
            for seq in (1, 2, 3):
                await take(commits, record(run_id, seq))

        take(commits, record(RUN, 1))
        await taken_up(commits)
        for run_id in EARLY:
            tasks.start_soon(append_each, run_id)
        await anyio.wait_all_tasks_blocked()
        store.let_through(1)
        await taken_up(commits)
        for run_id in LATE:
            tasks.start_soon(append_each, run_id)
        await anyio.wait_all_tasks_blocked()
        store.let_through()

    return [len(batch) for batch in store.batches]


@pytest.mark.usefixtures("turns_without_limit")
async def test_what_those_who_were_woken_append_joins_what_waits_already() -> None:
    assert await sizes_of_two_halves() == [1, 10, 20, 20, 10]


async def test_a_turn_that_lasts_much_longer_than_a_commit_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_group_commit, "TURN_TO_COMMIT", 0)

    assert (await sizes_of_two_halves())[:3] == [1, 10, 10]


@pytest.mark.usefixtures("turns_without_limit")
async def test_whoever_appends_alone_waits_for_nobody() -> None:
    store = GatedStore()
    store.let_through()
    async with group_commit(store) as commits:
        with anyio.fail_after(5):
            for seq in range(1, 6):
                await take(commits, record(RUN, seq))

    assert [len(batch) for batch in store.batches] == [1] * 5


@pytest.mark.usefixtures("turns_without_limit")
async def test_those_who_were_woken_and_append_nothing_keep_nobody_waiting() -> None:
    store = GatedStore()
    async with group_commit(store) as commits, anyio.create_task_group() as tasks:

        async def wait(taken: Taken) -> None:
            await taken

        for taken in await two_wait_for_one_commit(commits, store):
            tasks.start_soon(wait, taken)
        await anyio.wait_all_tasks_blocked()
        store.let_through()

        with anyio.fail_after(5):
            await take(commits, record(RUN, 3))


@pytest.mark.usefixtures("turns_without_limit")
async def test_a_journal_that_is_closed_within_a_turn_writes_what_it_has_taken() -> None:
    store = GatedStore()
    async with group_commit(store) as commits, anyio.create_task_group() as tasks:
        ends: list[JournalCursor] = []

        async def close_after(taken: Taken) -> None:
            ends.append(await taken)
            if len(ends) == 1:
                last = take(commits, record(taken.record.run_id, taken.record.journal_seq + 1))
                with anyio.fail_after(5):
                    await commits.close()
                ends.append(await last)

        for taken in await two_wait_for_one_commit(commits, store):
            tasks.start_soon(close_after, taken)
        await anyio.wait_all_tasks_blocked()
        store.let_through()

    assert len(ends) == 3


class TellingStore(GatedStore):
    """Says when it has written four records."""

    def __init__(self) -> None:
        super().__init__()
        self.has_written_four = threading.Event()

    def write(self, batch: Sequence[Taken]) -> None:
        super().write(batch)
        if sum(map(len, self.batches)) >= 4:
            self.has_written_four.set()


@pytest.mark.usefixtures("turns_of_any_length")
async def test_a_turn_that_does_not_end_keeps_no_record_from_the_store() -> None:
    store = TellingStore()
    are_written: list[bool] = []
    async with group_commit(store) as commits, anyio.create_task_group() as tasks:

        async def append_and_stop_the_loop(taken: Taken) -> None:
            await taken
            if not are_written:
                take(commits, record(taken.record.run_id, taken.record.journal_seq + 1))
                are_written.append(store.has_written_four.wait(5))

        for taken in await two_wait_for_one_commit(commits, store):
            tasks.start_soon(append_and_stop_the_loop, taken)
        await anyio.wait_all_tasks_blocked()
        store.let_through()

    assert are_written == [True]
