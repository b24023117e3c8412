from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import pytest

from realtime_async.journals import SqliteJournal
from realtime_async.ports import RunJournal
from realtime_async.testing.journal_contract import JournalContract

__all__: list[str] = []


class TestSqliteJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "calls.db"

    def open_journal(self) -> AbstractAsyncContextManager[RunJournal]:
        return SqliteJournal.open(self.path)

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        """Hold the file, as another process may."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
