"""A journal that is looked into: by its URL, beside who writes it, and without a trace."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest

from realtime_async.errors import AgentError, ContractViolation, JournalCorrupt, JournalFailure
from realtime_async.journals import PostgresJournal, SqliteJournal, StoredRuns, open_journal
from realtime_async.ports import JournalCursor
from realtime_async.testing.journal_contract import RUN, append_all, record, records
from tests.postgres_server import PASSWORD, Database

__all__: list[str] = []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


def changed(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(statement)


async def test_a_file_is_looked_into_while_it_is_written(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 3))
        async with open_journal(f"sqlite:{path}") as looked:
            assert await read_all_of(looked) == records(RUN, 3)

            await journal.append(record(RUN, 4))

            assert await looked.last(RUN) == JournalCursor(RUN, 4)
            assert [(one.run_id, one.records) async for one in looked.runs()] == [(RUN, 4)]
        await journal.append(record(RUN, 5))


@pytest.mark.parametrize(
    "name",
    ["a b?mode=memory.db", "a%20b#c&d=e.db", "file:calls.db", "file:calls.db?mode=memory", "ü'\"€😀.db"],
)
async def test_a_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)

    async with SqliteJournal.open(name) as journal:
        await journal.append(record(RUN, 1))

    assert names(tmp_path) == [name]
    async with open_journal(f"sqlite:{name}") as looked:
        assert await looked.last(RUN) == JournalCursor(RUN, 1)


def names(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir()]


def contents(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


async def read_all_of(looked: StoredRuns) -> list[object]:
    return [one async for one in looked.read(RUN)]


async def test_a_file_that_somebody_is_writing_to_is_looked_into_without_waiting(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 3))
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            async with open_journal(f"sqlite:{path}") as looked:
                assert await looked.last(RUN) == JournalCursor(RUN, 3)
            writer.execute("ROLLBACK")


async def test_looking_into_a_closed_file_changes_nothing_in_it(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 3))
    before = contents(path)

    async with open_journal(f"sqlite:{path}") as looked:
        assert await looked.last(RUN) == JournalCursor(RUN, 3)

    assert contents(path) == before


async def test_a_file_that_is_not_there_is_not_made(path: Path) -> None:
    with pytest.raises(JournalFailure, match="no such file"):
        async with open_journal(f"sqlite:{path}"):
            pass

    assert contents(path) is None


@pytest.mark.parametrize(
    "url", ["sqlite:calls\0.db", f"sqlite:{__file__}/calls.db"], ids=["odd", "in a file"]
)
async def test_a_path_at_which_no_file_can_be_leads_to_none(url: str) -> None:
    with pytest.raises(JournalFailure, match="no such file"):
        async with open_journal(url):
            pass


async def test_a_directory_is_told_from_what_is_not_there(path: Path) -> None:
    with pytest.raises(JournalFailure, match="it is no file; look at its path"):
        async with open_journal(f"sqlite:{path.parent}"):
            pass


async def test_a_path_that_the_system_refuses_is_told_with_its_reason(path: Path) -> None:
    with pytest.raises(JournalFailure, match="cannot be opened: File name too long; look at its path"):
        async with open_journal(f"sqlite:{path}{'x' * 300}"):
            pass


async def test_an_empty_file_stays_empty(path: Path) -> None:
    await anyio.Path(path).touch()

    with pytest.raises(JournalFailure, match="it is empty"):
        async with open_journal(f"sqlite:{path}"):
            pass

    assert contents(path) == b""


async def test_a_database_of_something_else_is_refused(path: Path) -> None:
    changed(path, "CREATE TABLE songs (title TEXT)")

    with pytest.raises(JournalFailure, match="something else"):
        async with open_journal(f"sqlite:{path}"):
            pass


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    await anyio.Path(path).write_bytes(b"Once upon a time, there was a file." * 100)

    with pytest.raises(JournalCorrupt, match="choose another path"):
        async with open_journal(f"sqlite:{path}"):
            pass


@pytest.mark.parametrize(
    "url",
    ["", "calls.db", "sqlite:", "mysql://carol:open-sesame-4711@127.0.0.1/x", "postgresql", "memory:"],
)
async def test_what_is_no_url_of_a_journal_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ContractViolation, match="expected sqlite:FILE or postgresql://") as refused:
        async with open_journal(url):
            pass

    assert "open-sesame" not in str(refused.value)


@pytest.mark.parametrize("url", [None, b"sqlite:calls.db", Path("calls.db")], ids=repr)
async def test_what_is_no_text_is_no_url(url: Any) -> None:
    with pytest.raises(ContractViolation, match="expected sqlite:FILE or postgresql://"):
        async with open_journal(url):
            pass


@pytest.mark.parametrize("path", ["calls.db", "./calls", "/var/lib/calls.db", "of_today/calls"])
async def test_a_path_without_a_scheme_is_told_with_it(path: str) -> None:
    with pytest.raises(ContractViolation, match=f"; as a file that would be sqlite:{re.escape(path)}$"):
        async with open_journal(path):
            pass


@pytest.mark.parametrize(
    "text",
    [
        "",
        "postgresql",
        "carol:open-sesame.4711",
        "host=/run password=open.sesame",
        "carol@open.sesame",
        "mysql://x/y",
    ],
)
async def test_what_may_be_no_path_is_not_told_as_one(text: str) -> None:
    with pytest.raises(ContractViolation, match=r"DATABASE$"):
        async with open_journal(text):
            pass


async def test_a_closed_look_reads_nothing(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records(RUN, 1))
    async with open_journal(f"sqlite:{path}") as looked:
        pass

    with pytest.raises(JournalFailure, match="closed"):
        await looked.last(RUN)


async def test_a_damaged_first_record_keeps_no_run_from_the_list(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, [*records("run.a", 2), *records("run.b", 2)])
    changed(path, "UPDATE record SET body = 'not JSON' WHERE run = 1 AND seq = 1")

    async with open_journal(f"sqlite:{path}") as looked:
        damaged, whole = [one async for one in looked.runs()]

    assert (damaged.run_id, damaged.records, damaged.began_millis, damaged.tags) == ("run.a", 2, None, ())
    assert damaged.last_millis == record("run.a", 2).timestamp_millis
    assert whole.began_millis is not None


async def test_a_run_whose_first_record_is_missing_is_listed(path: Path) -> None:
    async with SqliteJournal.open(path) as journal:
        await append_all(journal, records("run.a", 3))
    changed(path, "DELETE FROM record WHERE seq = 1")

    async with open_journal(f"sqlite:{path}") as looked:
        (summary,) = [one async for one in looked.runs()]

    assert (summary.records, summary.began_millis) == (3, None)


async def test_a_database_is_looked_into_by_a_role_that_may_only_read(postgres_database: Database) -> None:
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        await append_all(journal, records(RUN, 3))
    role = f"reader_{os.getpid()}_{os.urandom(4).hex()}"
    with psycopg.connect(postgres_database.admin_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        try:
            dsn = psycopg.conninfo.make_conninfo(postgres_database.dsn, user=role)
            with pytest.raises(JournalFailure, match="GRANT USAGE"):
                async with open_journal(url_of(dsn)):
                    pass
            admin.execute(f"GRANT USAGE ON SCHEMA realtime_async TO {role}")
            with pytest.raises(JournalFailure, match=r"GRANT SELECT"):
                async with open_journal(url_of(dsn)):
                    pass
            admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA realtime_async TO {role}")
            async with open_journal(url_of(dsn)) as looked:
                assert await read_all_of(looked) == records(RUN, 3)
                assert [one.records async for one in looked.runs()] == [3]
        finally:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


def url_of(dsn: str) -> str:
    words = psycopg.conninfo.conninfo_to_dict(dsn)
    return (
        f"postgresql://{words['user']}:{words['password']}@{words['host']}:{words['port']}/{words['dbname']}"
    )


async def test_a_server_that_is_away_is_told_without_the_password() -> None:
    with pytest.raises(AgentError, match="cannot be opened") as refused:
        async with open_journal(f"postgresql://carol:{PASSWORD}@127.0.0.1:1/calls"):
            pass

    assert PASSWORD not in str(refused.value)


async def test_a_missing_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "realtime_async.journals._postgres_reading", None)

    with pytest.raises(JournalFailure, match=r"pip install 'realtime-async\[postgres\]'"):
        async with open_journal("postgresql://127.0.0.1/calls"):
            pass
