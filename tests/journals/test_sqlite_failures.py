"""What cannot be opened or written: a clear error each, and nothing half-written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from realtime_async.errors import JournalConflict, JournalFailure, RetryClassification
from realtime_async.journals import SqliteJournal, _group_commit, _sqlite_file
from realtime_async.ports import JournalCursor
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records
from tests.journals.test_sqlite import changed, held, taken_up, writers

__all__: list[str] = []

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a locked file."""
    monkeypatch.setattr(_sqlite_file, "BUSY_S", 0.0)


def written(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def refusal(path: Path) -> JournalFailure:
    """The error of opening *path*, which leaves neither a writer nor a file that wasn't there."""
    before = {entry: entry.read_bytes() for entry in path.parent.glob("*") if entry.is_file()}
    with pytest.raises(JournalFailure) as raised:
        async with SqliteJournal.open(path):
            pass
    after = {entry: entry.read_bytes() for entry in path.parent.glob("*") if entry.is_file()}
    assert after == before
    assert not writers()
    assert raised.value.retry is RetryClassification.REPAIR_NEEDED
    return raised.value


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    written(path, b"Dear diary, today a provider went away. " * 50)

    error = await refusal(path)

    assert "file is not a database; it is no journal; choose another path" in error.message


async def test_a_database_of_something_else_is_refused(path: Path) -> None:
    changed(path, "CREATE TABLE guests (name)")

    error = await refusal(path)

    assert "a database of something else" in error.message


async def test_an_empty_database_of_something_else_is_refused(path: Path) -> None:
    changed(path, "PRAGMA application_id = 7")

    error = await refusal(path)

    assert "a database of something else" in error.message


async def test_a_journal_of_a_later_release_is_refused(path: Path) -> None:
    async with SqliteJournal.open(path):
        pass
    changed(path, "PRAGMA user_version = 2")

    error = await refusal(path)

    assert "version 2 of its tables, and this release knows 1" in error.message


async def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    written(path, b"")

    async with SqliteJournal.open(path) as journal:
        assert await journal.append(record(RUN, 1)) == JournalCursor(RUN, 1)


async def test_a_directory_that_is_not_there_is_named(path: Path) -> None:
    error = await refusal(path / "deeper" / "calls.db")

    assert "its directory must exist" in error.message


async def test_a_path_that_sqlite_cannot_take_is_refused(path: Path) -> None:
    error = await refusal(path.with_name("calls\0.db"))

    assert "ValueError" in error.message


async def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(JournalFailure, match="no write-ahead log there, but 'memory'"):
        async with SqliteJournal.open(":memory:"):
            pass


@pytest.mark.usefixtures("impatient")
async def test_a_file_that_is_locked_cannot_be_opened(path: Path) -> None:
    async with SqliteJournal.open(path):
        pass

    with held(path), pytest.raises(JournalFailure, match="database is locked; another process holds it"):
        async with SqliteJournal.open(path):
            pass


@pytest.mark.usefixtures("impatient")
async def test_a_file_that_stays_locked_stops_the_run(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await journal.append(record(RUN, 1))
        with held(path):
            taken = journal.append(record(RUN, 2))
            with pytest.raises(
                JournalFailure, match=r"run 'run\.contract' stopped at 2: .* database is locked"
            ):
                await taken

        assert await read_all(journal, RUN) == [record(RUN, 1)]


def fill(journal: SqliteJournal) -> None:
    """Let the disk be full: the file cannot grow by a page."""
    writer = journal._file._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")


def make_room(journal: SqliteJournal) -> None:
    journal._file._writer.execute("PRAGMA max_page_count = 1000000")


async def test_a_full_disk_stops_the_run_where_it_was(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await journal.append(record(RUN, 1))
        fill(journal)
        with pytest.raises(JournalFailure, match="database or disk is full; make room on its disk") as raised:
            await append_all(journal, records(RUN, 500, after=1))
        make_room(journal)

        assert isinstance(raised.value.__cause__, sqlite3.OperationalError)
        kept = await read_all(journal, RUN)
        assert kept == records(RUN, len(kept))

    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_stopped_run_refuses_by_what_stopped_it_until_it_is_read(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await journal.append(record(RUN, 1))
        fill(journal)
        with pytest.raises(JournalFailure):
            await append_all(journal, records(RUN, 500, after=1))
        make_room(journal)

        for seq in (2, 3, 501):
            with pytest.raises(JournalFailure, match="disk is full"):
                journal.append(record(RUN, seq))
        await journal.append(record(OTHER_RUN, 1))

        last = await journal.last(RUN)
        assert last is not None
        await append_all(journal, records(RUN, 3, after=last.journal_seq))
        assert await read_all(journal, RUN) == records(RUN, last.journal_seq + 3)


@pytest.mark.usefixtures("impatient")
async def test_reading_a_stopped_run_lets_nobody_past_who_was_not_told(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await journal.append(record(RUN, 1))
        with held(path):
            journal.append(record(RUN, 2))
            # Written after it, or with it.
            with pytest.raises(JournalFailure):
                await journal.append(record(OTHER_RUN, 1))
        assert await journal.last(RUN) == JournalCursor(RUN, 1)

        with pytest.raises(JournalFailure, match="stopped at 2"):
            journal.append(record(RUN, 2))

        assert await journal.last(RUN) == JournalCursor(RUN, 1)
        assert await journal.append(record(RUN, 2)) == JournalCursor(RUN, 2)


async def test_what_queued_behind_a_failure_fails_with_it(path: Path) -> None:
    async with SqliteJournal.open(path) as journal, SqliteJournal.open(path) as rival:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        await rival.append(record(RUN, 2, nonce="second-owner"))
        with held(path):
            in_commit = [journal.append(record(RUN, 2)), journal.append(record(OTHER_RUN, 2))]
            await taken_up(journal)
            gathered = [journal.append(record(RUN, 3)), journal.append(record(OTHER_RUN, 3))]

        for lost in (in_commit[0], gathered[0]):
            with pytest.raises(JournalConflict):
                await lost
        assert [await in_commit[1], await gathered[1]] == [
            JournalCursor(OTHER_RUN, 2),
            JournalCursor(OTHER_RUN, 3),
        ]
        assert len(await read_all(journal, RUN)) == 2


async def test_each_waiter_gets_an_error_of_its_own(path: Path) -> None:
    errors: list[JournalFailure] = []

    async def wait() -> None:
        with pytest.raises(JournalConflict) as raised:
            await taken
        errors.append(raised.value)

    async with SqliteJournal.open(path) as journal, SqliteJournal.open(path) as rival:
        await journal.append(record(RUN, 1))
        await rival.append(record(RUN, 2, nonce="second-owner"))
        async with anyio.create_task_group() as tasks:
            with held(path):
                taken = journal.append(record(RUN, 2))
                for _ in range(3):
                    tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()

    assert len({id(error) for error in errors}) == 3


@pytest.mark.usefixtures("impatient")
async def test_closing_raises_what_nobody_was_told_and_how_many_runs_it_met(path: Path) -> None:
    async def write() -> None:
        async with SqliteJournal.open(path) as journal:
            runs = [f"run.{number}" for number in range(3)]
            await append_all(journal, [record(run_id, 1) for run_id in runs])
            with held(path):
                for run_id in runs:
                    journal.append(record(run_id, 2))
                # Written after them, or with them.
                with pytest.raises(JournalFailure):
                    await journal.append(record(RUN, 1))

    with pytest.raises(JournalFailure, match=r"run 'run\.0' stopped at 2: .* locked") as raised:
        await write()

    (note,) = raised.value.__notes__
    assert note.startswith("2 other runs")


@pytest.mark.usefixtures("impatient")
async def test_failures_are_remembered_up_to_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [f"run.{number}" for number in range(5)]
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, [record(run_id, 1) for run_id in runs])
        monkeypatch.setattr(_group_commit, "MAX_RUNS", 2)
        with held(path):
            for lost in [journal.append(record(run_id, 2)) for run_id in runs]:
                with pytest.raises(JournalFailure, match="locked"):
                    await lost

        assert len(journal._commits._stopped) == 2
        # Of what is forgotten the file knows enough.
        with pytest.raises(JournalFailure, match="goes on at 2"):
            journal.append(record("run.0", 3))


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    path.unlink()
    path.touch()


def moved(path: Path) -> None:
    path.rename(path.with_name("older.db"))


def put_back(path: Path) -> None:
    path.with_name("older.db").rename(path)


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file is is looked at before each commit."""
    monkeypatch.setattr(_sqlite_file, "LOOK_S", 0.0)


async def at_rest(journal: SqliteJournal) -> None:
    """Wait until the writer has looked after its last commit."""
    while not journal._commits._is_idle:
        await anyio.lowlevel.checkpoint()


@pytest.mark.usefixtures("watchful")
@pytest.mark.parametrize("what", [removed, replaced, moved])
async def test_a_file_that_is_gone_stops_the_runs_that_are_written_there(
    path: Path, what: Callable[[Path], None]
) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 2))
        await at_rest(journal)

        what(path)

        with pytest.raises(JournalFailure, match="its file is not where it was any more"):
            await journal.append(record(RUN, 3))


@pytest.mark.usefixtures("watchful")
async def test_a_file_that_was_put_back_is_gone_on_with(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 2))
        await at_rest(journal)
        moved(path)
        with pytest.raises(JournalFailure):
            await journal.append(record(RUN, 3))
        await at_rest(journal)
        put_back(path)

        assert await journal.last(RUN) == JournalCursor(RUN, 2)
        await journal.append(record(RUN, 3))

    async with SqliteJournal.open(path) as journal:
        assert await read_all(journal, RUN) == records(RUN, 3)


@pytest.mark.usefixtures("watchful")
async def test_a_file_is_where_it_was_though_we_are_elsewhere_and_its_link_is_gone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = path.parent / "there"
    linked(path, there)
    monkeypatch.chdir(path.parent)
    async with SqliteJournal.open(path.name) as journal:
        monkeypatch.chdir(there)
        removed(path)

        await append_all(journal, records(RUN, 3))


def linked(path: Path, directory: Path) -> None:
    directory.mkdir()
    path.symlink_to(directory / "calls.db")


async def test_reading_a_closed_journal_says_so(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await journal.append(record(RUN, 1))
        await journal.aclose()

        with pytest.raises(JournalFailure, match="closed"):
            await journal.last(RUN)
        with pytest.raises(JournalFailure, match="closed"):
            await read_all(journal, RUN)


def damage(path: Path) -> None:
    content = path.read_bytes()
    kept = 4 * 4096
    path.write_bytes(content[:kept] + b"\xff" * (len(content) - kept))


async def test_a_file_that_is_damaged_is_corrupt(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 500))
    damage(path)

    async with SqliteJournal.open(path) as journal:
        with pytest.raises(JournalFailure, match=r"malformed; restore it from a copy|has no record"):
            await read_all(journal, RUN)
