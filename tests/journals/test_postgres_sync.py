"""Before an append returns, the server has flushed its log beyond it, whatever its database has for a default."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from realtime_async.journals import PostgresJournal
from realtime_async.testing.journal_contract import RUN, append_all, record, records
from tests.postgres_server import Database, DatabaseMaker

__all__: list[str] = []


@pytest.fixture
def careless(stoppable: DatabaseMaker) -> Iterator[Database]:
    """A database whose commits don't wait for the disk, on a server of ours, which writes its log once in 10 s."""
    with stoppable.database() as database:
        database.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = off")
        yield database


def written(database: Database) -> str:
    """Where the log ends, after all of it was flushed."""
    database.execute("SET synchronous_commit = on; SELECT pg_catalog.txid_current()")
    ((lsn,),) = database.execute("SELECT pg_current_wal_insert_lsn()::text")
    return str(lsn)


def is_flushed_beyond(database: Database, lsn: str) -> bool:
    ((flushed,),) = database.execute(f"SELECT pg_current_wal_flush_lsn() > '{lsn}'")
    return bool(flushed)


@pytest.mark.parametrize("count", [1, 100])
async def test_a_flush_lies_between_the_write_of_records_and_their_return(
    careless: Database, count: int
) -> None:
    async with PostgresJournal.open(careless.dsn) as journal:
        await journal.append(record(RUN, 1))
        before = written(careless)

        await append_all(journal, records(RUN, count, after=1))

        assert is_flushed_beyond(careless, before)


async def test_a_run_that_begins_is_flushed_too(careless: Database) -> None:
    async with PostgresJournal.open(careless.dsn) as journal:
        before = written(careless)

        await journal.append(record(RUN, 1))

        assert is_flushed_beyond(careless, before)


def test_without_the_journal_no_flush_does(careless: Database) -> None:
    """So the tests above see a flush that is missing."""
    flushed: list[bool] = []
    with psycopg.connect(careless.admin_dsn, autocommit=True) as connection:
        for number in range(3):
            before = written(careless)

            connection.execute("INSERT INTO realtime_async.part VALUES (%s, 1, '')", (number,))

            flushed.append(is_flushed_beyond(careless, before))

    # Once in 10 s the server flushes of its own accord, which may be just then.
    assert flushed.count(False) >= 2
