"""A journal in a directory where nothing may be written: it is looked into, also while others open and close it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from realtime_async.errors import JournalFailure
from realtime_async.journals import SqliteJournal, StoredRuns, _sqlite_looking, open_journal
from realtime_async.journals._sqlite_reading import is_journal
from realtime_async.ports import JournalCursor
from realtime_async.testing.journal_contract import RUN, record
from tests.journals.test_sqlite_failures import refusal

__all__: list[str] = []

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


@contextmanager
def may_only_be_read(directory: Path) -> Iterator[None]:
    """Nobody may write there, and as the super-user may write all, we are nobody meanwhile."""
    for file in directory.iterdir():
        file.chmod(0o444)
    directory.chmod(0o555)
    me = os.geteuid()
    if me == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(me)
        directory.chmod(0o755)


@contextmanager
def may_be_written(directory: Path) -> Iterator[None]:
    """For a while, within `may_only_be_read`."""
    nobody, me = os.geteuid(), os.getuid()
    os.seteuid(me)
    directory.chmod(0o755)
    for file in directory.iterdir():
        file.chmod(0o644)
    try:
        yield
    finally:
        for file in directory.iterdir():
            file.chmod(0o444)
        directory.chmod(0o555)
        os.seteuid(nobody)


@contextmanager
def not_even_read(closed: Path) -> Iterator[None]:
    """For a while, within `may_only_be_read`."""
    nobody, me = os.geteuid(), os.getuid()
    os.seteuid(me)
    closed.chmod(0)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(me)
        closed.chmod(0o755)
        os.seteuid(nobody)


@pytest.fixture
def read_only_journal() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "calls.db"
        anyio.run(write_one, path)
        with may_only_be_read(path.parent):
            yield path


async def write_one(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await journal.append(record(RUN, 1))


async def test_it_is_refused_to_whoever_would_write(read_only_journal: Path) -> None:
    error = await refusal(read_only_journal)

    assert "allow writing" in error.message


async def test_it_is_looked_into(read_only_journal: Path) -> None:
    async with open_journal(f"sqlite:{read_only_journal}") as journal:
        assert [one async for one in journal.read(RUN)] == [record(RUN, 1)]
        assert [run.run_id async for run in journal.runs()] == [RUN]


async def test_who_looks_sees_what_is_written_later(read_only_journal: Path) -> None:
    """Nobody had it open, so it is read without a lock at first."""

    async def check(looked: StoredRuns, records: int) -> None:
        assert await looked.last(RUN) == JournalCursor(RUN, records)
        assert [run.records async for run in looked.runs()] == [records]

    async with open_journal(f"sqlite:{read_only_journal}") as looked:
        await check(looked, 1)
        with may_be_written(read_only_journal.parent):
            async with SqliteJournal.open(read_only_journal) as journal:
                await journal.append(record(RUN, 2))
        await check(looked, 2)
        with may_be_written(read_only_journal.parent):
            opened = SqliteJournal.open(read_only_journal)
            journal = await opened.__aenter__()
            await journal.append(record(RUN, 3))
        await check(looked, 3)
        with may_be_written(read_only_journal.parent):
            await journal.append(record(RUN, 4))
            await opened.__aexit__(None, None, None)
        await check(looked, 4)


@pytest.mark.parametrize("is_coming", [True, False], ids=["opens", "closes"])
async def test_it_is_looked_into_in_the_midst_of_somebody_who(
    read_only_journal: Path, monkeypatch: pytest.MonkeyPatch, is_coming: bool
) -> None:
    """The log is there, and what readers share is not."""
    log = read_only_journal.with_name("calls.db-wal")
    with may_be_written(read_only_journal.parent):
        log.touch()
    opened = SqliteJournal.open(read_only_journal)

    def go_on() -> None:
        with may_be_written(read_only_journal.parent):
            if is_coming:
                anyio.from_thread.run(opened.__aenter__)
            else:
                # Once more, where the file was written within this tick of the clock.
                log.unlink(missing_ok=True)

    monkeypatch.setattr(_sqlite_looking, "_pause", go_on)

    async with open_journal(f"sqlite:{read_only_journal}") as looked:
        assert await looked.last(RUN) == JournalCursor(RUN, 1)
        with may_be_written(read_only_journal.parent):
            if is_coming:
                await opened.__aexit__(None, None, None)


async def test_it_is_looked_into_past_the_tick_of_the_clock_in_which_it_was_changed(
    read_only_journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows within it cannot be told from what was there before."""
    tick = (await anyio.Path(read_only_journal).stat()).st_mtime_ns
    clock = [tick]
    monkeypatch.setattr(_sqlite_looking, "time_ns", lambda: clock[0])

    async def write_another() -> None:
        async with SqliteJournal.open(read_only_journal) as journal:
            await journal.append(record(RUN, 2))
        os.utime(read_only_journal, ns=(tick, tick))

    def go_on() -> None:
        with may_be_written(read_only_journal.parent):
            anyio.from_thread.run(write_another)
        clock[0] += _sqlite_looking.TICK_NS

    monkeypatch.setattr(_sqlite_looking, "_pause", go_on)

    async with open_journal(f"sqlite:{read_only_journal}") as looked:
        assert await looked.last(RUN) == JournalCursor(RUN, 2)


def unidentified(path: Path) -> bytes:
    """Take its identity from the file, and return how it was."""
    whole = path.read_bytes()
    with may_be_written(path.parent):
        # Of another size too, as the clock of the file's system may not tell the two apart.
        path.write_bytes(whole[:68] + bytes(4) + whole[72:] + bytes(4096))
    return whole


async def test_it_is_looked_into_though_it_is_found_half_made(
    read_only_journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read without a lock while somebody makes it: what was found is not what there is."""
    whole = unidentified(read_only_journal)
    seen: list[str] = []

    def met(connection: sqlite3.Connection, name: str) -> bool:
        try:
            found = is_journal(connection, name)
        except JournalFailure as error:
            seen.append(error.message)
            with may_be_written(read_only_journal.parent):
                read_only_journal.write_bytes(whole)
            raise
        seen.append("a journal")
        return found

    monkeypatch.setattr(_sqlite_looking, "is_journal", met)

    async with open_journal(f"sqlite:{read_only_journal}") as looked:
        assert await looked.last(RUN) == JournalCursor(RUN, 1)
    assert len(seen) == 2
    assert "something else" in seen[0]


async def test_a_copy_is_not_looked_into_past_its_log(path: Path) -> None:
    """What is in the log is missing from the file."""
    with tempfile.TemporaryDirectory() as name:
        async with SqliteJournal.open(path) as journal:
            await journal.append(record(RUN, 1))
            for file in (path, path.with_name("calls.db-wal")):
                shutil.copy(file, name)

        with may_only_be_read(Path(name)), pytest.raises(JournalFailure, match="directory"):
            async with open_journal(f"sqlite:{name}/calls.db"):
                pass


@pytest.mark.parametrize(
    "closed, said",
    [
        ("calls.db", "cannot be opened: it may not be read; allow reading it$"),
        (".", "cannot be opened: Permission denied; look at its path, and at what its directory allows$"),
    ],
    ids=["the file", "its directory"],
)
async def test_one_that_may_not_be_read_is_told_from_one_that_is_not_there(closed: str, said: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "calls.db"
        await write_one(path)
        with (
            may_only_be_read(path.parent),
            not_even_read(path.parent / closed),
            pytest.raises(JournalFailure, match=said),
        ):
            async with open_journal(f"sqlite:{path}"):
                pass
