"""One file that several processes open and write at the same time."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from realtime_async.errors import JournalConflict
from realtime_async.journals import SqliteJournal, _sqlite_file
from realtime_async.ports import RunId
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records

__all__: list[str] = []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


async def test_two_processes_write_one_file(path: Path) -> None:
    program = f"""
import anyio
from realtime_async.journals import SqliteJournal
from realtime_async.testing._journal_records import records

async def main():
    async with SqliteJournal.open({str(path)!r}) as journal:
        for first in range(0, 100, 10):
            taken = [journal.append(one) for one in records("run.other", 10, after=first)]
            await taken[-1]

anyio.run(main)
"""
    async with SqliteJournal.open(path) as journal:
        other = await anyio.open_process([sys.executable, "-c", program], stdout=None, stderr=None)
        async with other:
            for first in range(0, 100, 10):
                await append_all(journal, records(RUN, 10, after=first))
            assert await other.wait() == 0

        assert await read_all(journal, RUN) == records(RUN, 100)
        assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 100)


async def test_a_new_file_may_be_opened_by_several_at_once(tmp_path: Path) -> None:
    """As the workers of a machine do that start together."""

    async def begin(path: Path, run_id: RunId) -> None:
        async with SqliteJournal.open(path) as journal:
            await journal.append(record(run_id, 1))

    run_ids = [RunId(f"run.{number}") for number in range(6)]
    for number in range(30):
        path = tmp_path / f"{number}.db"
        async with anyio.create_task_group() as tasks:
            for run_id in run_ids:
                tasks.start_soon(begin, path, run_id)
        async with SqliteJournal.open(path) as journal:
            assert [(await read_all(journal, run_id)) for run_id in run_ids] == [
                [record(run_id, 1)] for run_id in run_ids
            ]


@contextmanager
def hardly_ever_free(path: Path) -> Iterator[None]:
    """Hold the file as a process does that writes all the time: 194 ms of 200."""
    is_over = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as other:
            while not is_over.is_set():
                other.execute("BEGIN IMMEDIATE")
                is_over.wait(0.194)
                other.execute("ROLLBACK")
                is_over.wait(0.006)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        yield
    finally:
        is_over.set()
        holder.join()


async def test_who_seldom_writes_is_let_in_beside_one_who_writes_all_the_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody queues for a lock of SQLite's: whoever looks at the right moment has it."""
    monkeypatch.setattr(_sqlite_file, "BUSY_S", 3.0)
    async with SqliteJournal.open(path):
        pass

    with hardly_ever_free(path):
        async with SqliteJournal.open(path) as journal:
            for seq in range(1, 9):
                await journal.append(record(RUN, seq))


@pytest.mark.parametrize("in_order", [True, False], ids=["run by run", "by turns"])
async def test_a_large_batch_lands_but_for_the_run_that_another_has_written(
    path: Path, in_order: bool
) -> None:
    rivals = record(RUN, 2, nonce="rival")
    async with SqliteJournal.open(path) as journal, SqliteJournal.open(path) as rival:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        await rival.append(rivals)

        # The writer has the first of them, and the others are one batch.
        ours, others = records(RUN, 150, after=1), records(OTHER_RUN, 150, after=1)
        batch = (
            [*ours, *others] if in_order else [one for pair in zip(others, ours, strict=True) for one in pair]
        )
        for one, taken in [(one, journal.append(one)) for one in batch]:
            if one.run_id == RUN:
                with pytest.raises(JournalConflict):
                    await taken
            else:
                await taken

        assert await read_all(rival, RUN) == [record(RUN, 1), rivals]
        assert await read_all(rival, OTHER_RUN) == records(OTHER_RUN, 151)
