from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import anyio
import anyio.to_thread
import attrs
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from realtime_async.errors import JournalConflict
from realtime_async.journals import PostgresJournal
from realtime_async.ports import RunJournal
from realtime_async.testing.journal_contract import RUN, JournalContract, read_all, record
from realtime_async.testing.run_list_contract import RunListContract
from tests.postgres_server import Database

__all__: list[str] = []


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Let nobody write a run, as somebody may who changes a table."""
    with psycopg.connect(database.admin_dsn) as other:
        other.execute("LOCK TABLE realtime_async.run IN EXCLUSIVE MODE")
        yield
        other.rollback()


class TestPostgresJournal(JournalContract, RunListContract):
    @pytest.fixture(autouse=True)
    def _place(self, postgres_database: Database) -> None:
        self.database = postgres_database

    def open_journal(self) -> AbstractAsyncContextManager[RunJournal]:
        return PostgresJournal.open(self.database.dsn)

    def open_listed_journal(self) -> AbstractAsyncContextManager[PostgresJournal]:
        return PostgresJournal.open(self.database.dsn)

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        with held(self.database):
            yield


async def test_what_the_connection_is_said_to_be_encoded_in_spoils_no_record(
    postgres_database: Database,
) -> None:
    one = record(RUN, 1)
    one = attrs.evolve(one, payload=attrs.evolve(one.payload, redacted_summary="zwölf Grüße 🎤"))
    async with PostgresJournal.open(
        make_conninfo(postgres_database.dsn, client_encoding="latin1")
    ) as journal:
        await journal.append(one)

    async with PostgresJournal.open(postgres_database.dsn) as other:
        assert await read_all(other, RUN) == [one]


@pytest.mark.parametrize("is_under_way", [True, False])
async def test_what_follows_a_record_whose_place_is_taken_is_not_written_either(
    postgres_database: Database, is_under_way: bool
) -> None:
    """Whoever goes on from an old look at the run is told by the last of its records, the only one that it awaits."""
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        for seq in (1, 2):
            await journal.append(record(RUN, seq))
        with psycopg.connect(postgres_database.admin_dsn) as other:
            other.execute("LOCK TABLE realtime_async.record")
            refused = journal.append(record(RUN, 2, nonce="second-owner"))
            if is_under_way:
                await waited_for(postgres_database)
            journal.append(record(RUN, 3, nonce="second-owner"))
            last = journal.append(record(RUN, 4, nonce="second-owner"))
            other.rollback()
        for ack in (last, refused):
            with pytest.raises(JournalConflict):
                await ack

        await journal.append(record(RUN, 3))

        assert await read_all(journal, RUN) == [record(RUN, seq) for seq in (1, 2, 3)]


async def test_that_a_place_was_taken_is_raised_by_what_follows_where_nobody_has_awaited_it(
    postgres_database: Database,
) -> None:
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        for seq in (1, 2):
            await journal.append(record(RUN, seq))
        journal.append(record(RUN, 2, nonce="second-owner"))
        # It is refused by the time that these are durable.
        for seq in (1, 2):
            await journal.append(record("run.other", seq))

        with pytest.raises(JournalConflict):
            journal.append(record(RUN, 3, nonce="second-owner"))
        await journal.append(record(RUN, 3))

        assert await read_all(journal, RUN) == [record(RUN, seq) for seq in (1, 2, 3)]


async def waited_for(database: Database) -> None:
    """Wait until somebody waits for a row that another has locked."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not await anyio.to_thread.run_sync(database.execute, waiting):
        pass


async def test_runs_are_locked_in_the_order_of_their_numbers(postgres_database: Database) -> None:
    """Whatever their order in a batch, so that two workers never wait for each other."""
    lock = "SELECT FROM realtime_async.run WHERE run_id = %s FOR UPDATE NOWAIT"
    runs = ["run.a", "run.b", "run.c"]
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        for run_id in runs:
            await journal.append(record(run_id, 1))
        with (
            psycopg.connect(postgres_database.dsn) as rival,
            psycopg.connect(postgres_database.dsn) as another,
        ):
            another.execute(lock, ("run.c",))
            # What is appended while this waits is one batch.
            before = journal.append(record("run.c", 2))
            await waited_for(postgres_database)
            rival.execute(lock, ("run.a",))
            taken = [journal.append(record(run_id, 2)) for run_id in ("run.b", "run.a")]
            another.rollback()
            await before
            await waited_for(postgres_database)

            # It waits for the first, so it has not locked the second.
            rival.execute(lock, ("run.b",))

            rival.rollback()
            for each in taken:
                await each
