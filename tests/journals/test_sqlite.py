from __future__ import annotations

import itertools
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from realtime_async.errors import ContractViolation, JournalConflict, JournalCorrupt, JournalFailure
from realtime_async.journals import SqliteJournal, _group_commit, _sqlite_file
from realtime_async.ports import JournalCursor, JournalRecord, RunId, RunJournal
from realtime_async.testing.cancellation import Outcome, cancel_at_every_point, ways_to_cancel
from realtime_async.testing.journal_contract import (
    OTHER_RUN,
    RUN,
    JournalContract,
    append_all,
    read_all,
    record,
    records,
)
from realtime_async.testing.run_list_contract import RunListContract

__all__: list[str] = []


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the file as another process may, so that nothing can be written."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def changed(path: Path, statement: str) -> None:
    """Change a closed journal from outside."""
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(statement)


async def taken_up(journal: SqliteJournal) -> None:
    """Wait until the writer has what was appended."""
    while journal._commits._gathering.records:
        await anyio.lowlevel.checkpoint()


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("writer of")]


class TestSqliteJournal(JournalContract, RunListContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "calls.db"

    def open_journal(self) -> AbstractAsyncContextManager[RunJournal]:
        return SqliteJournal.open(self.path)

    def open_listed_journal(self) -> AbstractAsyncContextManager[SqliteJournal]:
        return SqliteJournal.open(self.path)

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        with held(self.path):
            yield


class TestSqliteJournalWithNormalDurability(TestSqliteJournal):
    def open_journal(self) -> AbstractAsyncContextManager[RunJournal]:
        return SqliteJournal.open(self.path, durability="normal")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


@pytest.mark.parametrize("durability", ["some", None, ["full"]], ids=repr)
async def test_a_durability_that_is_none_is_refused(path: Path, durability: Any) -> None:
    with pytest.raises(ContractViolation, match="choose 'full' or 'normal'"):
        async with SqliteJournal.open(path, durability=durability):
            pass

    assert not list(path.parent.iterdir())


async def test_a_record_is_durable_only_once_it_is_written(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        with held(path):
            taken = journal.append(record(RUN, 1))
            await taken_up(journal)
            assert await journal.last(RUN) is None
            assert not taken.is_durable

        await taken

        assert taken.is_durable
        assert await journal.last(RUN) == JournalCursor(RUN, 1)


async def test_a_record_that_is_in_the_file_is_durable_at_once(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await journal.append(record(RUN, 1))

        assert journal.append(record(RUN, 1)).is_durable


async def test_what_gathers_during_a_commit_is_written_by_the_next(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        with held(path):
            taken = [journal.append(one) for one in records(RUN, 200)]

        cursors = [await one for one in taken]

        assert cursors[-1] == JournalCursor(RUN, 200)
        assert await read_all(journal, RUN) == records(RUN, 200)


async def test_closing_ends_the_writer(path: Path) -> None:
    async with SqliteJournal.open(path):
        assert len(writers()) == 1

    assert not writers()


async def test_closing_leaves_one_file(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await journal.append(record(RUN, 1))

    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_closing_in_a_cancelled_scope_writes_what_was_begun(path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with SqliteJournal.open(path) as journal:
            for one in records(RUN, 50):
                journal.append(one)
            scope.cancel()

    assert not writers()
    async with SqliteJournal.open(path) as journal:
        assert await journal.last(RUN) == JournalCursor(RUN, 50)


async def test_closing_that_is_cancelled_writes_what_was_begun(path: Path) -> None:
    numbers = itertools.count()

    @asynccontextmanager
    async def begun() -> AsyncIterator[tuple[SqliteJournal, str]]:
        run_id = f"run.{next(numbers)}"
        async with SqliteJournal.open(path) as journal:
            for one in records(run_id, 50):
                journal.append(one)
            yield journal, run_id

    async def close(fixture: tuple[SqliteJournal, str]) -> None:
        await fixture[0].aclose()

    async def check(fixture: tuple[SqliteJournal, str], _: Outcome[None]) -> None:
        for writer in writers():
            writer.join()
        async with SqliteJournal.open(path) as journal:
            assert await journal.last(RunId(fixture[1])) == JournalCursor(RunId(fixture[1]), 50)

    for how in ways_to_cancel():
        assert await cancel_at_every_point(begun, close, check, how=how) > 0


async def test_opening_that_is_cancelled_leaves_no_writer(path: Path) -> None:
    async def open_and_close(_: None) -> None:
        async with SqliteJournal.open(path):
            pass

    async def check(_: None, __: Outcome[None]) -> None:
        for writer in writers():
            writer.join()

    for how in ways_to_cancel():
        assert await cancel_at_every_point(nullcontext, open_and_close, check, how=how) > 0


async def test_a_full_queue_refuses_by_saying_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_group_commit, "MAX_RECORDS", 3)
    async with SqliteJournal.open(path) as journal:
        with held(path):
            # The writer takes the first and waits for the file; the others gather.
            first = journal.append(record(RUN, 1))
            await taken_up(journal)
            for one in records(RUN, 3, after=1):
                journal.append(one)

            with pytest.raises(JournalFailure, match="3 records wait"):
                journal.append(record(RUN, 5))

        await first
        await journal.append(record(RUN, 4))
        await journal.append(record(RUN, 5))
        assert await read_all(journal, RUN) == records(RUN, 5)


async def test_a_queue_of_long_records_is_bounded_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_group_commit, "MAX_CHARACTERS", 100)
    async with SqliteJournal.open(path) as journal:
        with held(path):
            journal.append(record(RUN, 1))
            await taken_up(journal)
            journal.append(record(RUN, 2))

            with pytest.raises(JournalFailure, match="does not keep up"):
                journal.append(record(RUN, 3))


async def test_more_runs_than_are_remembered_go_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_group_commit, "MAX_RUNS", 2)
    runs = [RunId(f"run.{number}") for number in range(5)]
    async with SqliteJournal.open(path) as journal:
        for seq in (1, 2, 3):
            for run_id in runs:
                assert await journal.append(record(run_id, seq)) == JournalCursor(run_id, seq)
                assert len(journal._commits._positions) <= 2

        assert [await journal.last(run_id) for run_id in runs] == [
            JournalCursor(run_id, 3) for run_id in runs
        ]


async def test_runs_with_records_on_their_way_are_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_group_commit, "MAX_RUNS", 2)
    runs = [RunId(f"run.{number}") for number in range(5)]
    async with SqliteJournal.open(path) as journal:
        with held(path):
            taken = [journal.append(record(run_id, seq)) for seq in (1, 2, 3) for run_id in runs]

        assert [(await one).journal_seq for one in taken] == [1] * 5 + [2] * 5 + [3] * 5


async def test_more_shared_texts_than_are_remembered_are_found_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_file, "KNOWN_AT_MOST", 1)
    runs = [RunId(f"run.{number}") for number in range(5)]
    async with SqliteJournal.open(path) as journal:
        for seq in (1, 2, 3):
            await append_all(journal, [record(run_id, seq) for run_id in runs])

        for run_id in runs:
            assert await read_all(journal, run_id) == records(run_id, 3)


async def test_a_record_that_has_no_json_is_refused(path: Path) -> None:
    unwritable = attrs.evolve(record(RUN, 1), timestamp_millis=2**70)
    async with SqliteJournal.open(path) as journal:
        with pytest.raises(JournalFailure, match="a value in it has no JSON"):
            journal.append(unwritable)

        assert await journal.append(record(RUN, 1)) == JournalCursor(RUN, 1)


async def test_a_hole_in_a_run_is_corrupt(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 3))
    changed(path, "DELETE FROM record WHERE seq = 2")

    async with SqliteJournal.open(path) as journal:
        with pytest.raises(JournalCorrupt, match=r"run 'run\.contract' has no record 2, but a record 3"):
            await read_all(journal, RUN)


@pytest.mark.parametrize("number", ["0", "-1", "3.5", "'x'", "x'ff'"])
async def test_a_record_whose_number_is_none_is_corrupt(path: Path, number: str) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 3))
    changed(path, f"UPDATE record SET seq = {number} WHERE seq = 3")

    async with SqliteJournal.open(path) as journal:
        with pytest.raises(
            JournalCorrupt, match=r"run 'run\.contract' has a record whose number is .*, which"
        ):
            await read_all(journal, RUN)


async def test_a_run_whose_last_number_is_none_cannot_be_gone_on_with(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 3))
    changed(path, "UPDATE record SET seq = 'x' WHERE seq = 3")

    async with SqliteJournal.open(path) as journal:
        with pytest.raises(JournalCorrupt, match="whose number is 'x'"):
            await journal.last(RUN)
        with pytest.raises(JournalCorrupt, match="whose number is 'x'"):
            journal.append(record(RUN, 3))


async def test_a_damaged_record_is_corrupt_and_named(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 3))
    changed(path, "UPDATE record SET body = '{\"said\"' WHERE seq = 2")

    async with SqliteJournal.open(path) as journal:
        with pytest.raises(JournalCorrupt, match=r"record 2 of run 'run\.contract'") as raised:
            await read_all(journal, RUN)

    assert "said" not in raised.value.message


async def test_a_damaged_record_stops_who_would_write_in_its_place(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 3))
    changed(path, "UPDATE record SET body = '' WHERE seq = 3")

    async with SqliteJournal.open(path) as journal:
        with pytest.raises(JournalCorrupt, match="record 3"):
            journal.append(record(RUN, 3))


async def test_a_damaged_record_of_another_process_stops_the_run(path: Path) -> None:
    async with SqliteJournal.open(path) as journal, SqliteJournal.open(path) as rival:
        await journal.append(record(RUN, 1))
        await rival.append(record(RUN, 2))
        changed(path, "UPDATE record SET body = '' WHERE seq = 2")

        with pytest.raises(JournalCorrupt, match="record 2"):
            await journal.append(record(RUN, 2))


async def test_a_record_of_a_later_release_is_refused(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
    changed(
        path,
        "UPDATE part SET json = replace(json, '\"schema_version\":1', '\"schema_version\":2')"
        " WHERE id = (SELECT session FROM record JOIN run ON run.id = record.run WHERE run_id = 'run.contract')",
    )

    async with SqliteJournal.open(path) as journal:
        with pytest.raises(JournalFailure, match="schema version 2"):
            await read_all(journal, RUN)
        assert await read_all(journal, OTHER_RUN) == [record(OTHER_RUN, 1)]


def test_what_was_begun_lands_though_nobody_closed_before_the_program_ended(path: Path) -> None:
    program = f"""
import anyio
from realtime_async.journals import SqliteJournal
from realtime_async.testing._journal_records import records

async def main():
    opening = SqliteJournal.open({str(path)!r})
    journal = await opening.__aenter__()
    for one in records("run.contract", 500):
        journal.append(one)
    kept.append((opening, journal))

kept = []
anyio.run(main)
"""
    subprocess.run([sys.executable, "-c", program], check=True)

    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*), max(seq) FROM record").fetchone() == (500, 500)


async def test_those_who_share_a_reading_or_a_list_are_given_each_of_it_once(path: Path) -> None:
    async def take(shared: AsyncIterator[object]) -> None:
        async for one in shared:
            taken.append(one)
            await anyio.lowlevel.checkpoint()

    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 450))
        await append_all(journal, [record(f"run.{number:03}", 1) for number in range(250)])
        for shared, count in ((journal.read(RUN), 450), (journal.runs(after="run."), 251)):
            taken: list[object] = []
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(take, shared)

            assert len(taken) == len(set(map(repr, taken))) == count


async def test_who_waits_in_the_event_loop_of_another_thread_is_refused(
    path: Path, anyio_backend_name: str
) -> None:
    async def write() -> None:
        with held(path):
            taken = journal.append(record(RUN, 1))
            with pytest.raises(JournalFailure, match="belongs to the event loop that opened it"):
                await taken

    async def close() -> None:
        with pytest.raises(JournalFailure, match="belongs to the event loop that opened it"):
            await journal.aclose()

    async with SqliteJournal.open(path) as journal:
        for work in (write, close):
            await anyio.to_thread.run_sync(partial(anyio.run, work, backend=anyio_backend_name))

        assert await journal.append(record(RUN, 2)) == JournalCursor(RUN, 2)
        assert await read_all(journal, RUN) == records(RUN, 2)


async def test_a_copied_file_is_a_journal(path: Path, tmp_path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 3))
    shutil.copy(path, tmp_path / "copy.db")

    async with SqliteJournal.open(str(tmp_path / "copy.db")) as copy:
        assert await read_all(copy, RUN) == records(RUN, 3)


async def test_a_rival_that_writes_between_two_looks_is_met_as_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    async with SqliteJournal.open(path) as rival, SqliteJournal.open(path) as mine:
        await append_all(rival, records(RUN, 3))
        look, looks = mine._file.reading.record_at, 0

        def record_at(run_id: RunId, seq: int) -> JournalRecord | None:
            # The first look is from before the rival's commit.
            nonlocal looks
            looks += 1
            return None if looks == 1 else look(run_id, seq)

        monkeypatch.setattr(mine._file.reading, "record_at", record_at)

        with pytest.raises(JournalConflict):
            await mine.append(record(RUN, 2, nonce="second-owner"))
