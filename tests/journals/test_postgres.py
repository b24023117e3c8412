from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import psycopg
import pytest

from realtime_async.journals import PostgresJournal
from realtime_async.ports import RunJournal
from realtime_async.testing.journal_contract import JournalContract
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
