"""A look into a journal that is left while a thread is at work for it, as native cancellation leaves it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from realtime_async.journals import (
    SqliteJournal,
    _postgres_link,
    _postgres_reading,
    _sqlite_looking,
    open_journal,
)
from realtime_async.journals._postgres_schema import check_for_reading
from realtime_async.journals._sqlite_reading import SqliteReading, is_journal
from realtime_async.testing.journal_contract import RUN, append_all, records
from tests.postgres_server import Database

__all__: list[str] = []

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

IN_TIME_S = 5.0


@attrs.define
class Work:
    """What a thread does for a look: it stops there until it may go on, and its connection says when it is closed."""

    is_begun: threading.Event = attrs.field(factory=threading.Event)
    may_go_on: threading.Event = attrs.field(factory=threading.Event)
    was_let_go_on: bool = False
    opened: int = 0
    is_closed: threading.Event = attrs.field(factory=threading.Event)

    def stopping(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def stop(*arguments: Any, **named: Any) -> Any:
            self.is_begun.set()
            self.was_let_go_on = self.may_go_on.wait(IN_TIME_S)
            return work(*arguments, **named)

        return stop

    async def begun(self) -> None:
        assert await anyio.to_thread.run_sync(self.is_begun.wait, IN_TIME_S)

    async def check(self) -> None:
        """Let it go on: nobody may have waited for that, and what it has opened is closed."""
        self.may_go_on.set()
        assert await anyio.to_thread.run_sync(self.is_closed.wait, IN_TIME_S)
        assert self.was_let_go_on
        assert self.opened == 1


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Connections to a file or a server are counted, and say when they are closed."""
    work = Work()

    class File(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            work.is_closed.set()

    connect = sqlite3.connect

    def connected(*arguments: Any, **named: Any) -> sqlite3.Connection:
        work.opened += 1
        return connect(*arguments, factory=File, **named)

    class Server(_postgres_link._LimitedConnection):
        @classmethod
        def connect(cls, *arguments: Any, **named: Any) -> Any:
            work.opened += 1
            return super().connect(*arguments, **named)

        def close(self) -> None:
            super().close()
            work.is_closed.set()

    monkeypatch.setattr(sqlite3, "connect", connected)
    monkeypatch.setattr(_postgres_link, "_LimitedConnection", Server)
    return work


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A journal with a run."""
    if request.param == "postgres":
        database: Database = request.getfixturevalue("postgres_database")
        return database.dsn

    async def write() -> None:
        async with SqliteJournal.open(tmp_path / "calls.db") as journal:
            await append_all(journal, records(RUN, 3))

    anyio.run(write)
    return f"sqlite:{tmp_path / 'calls.db'}"


async def look(url: str) -> None:
    async with open_journal(url) as looked:
        await looked.last(RUN)


async def leave_at_work(url: str, work: Work) -> None:
    task = asyncio.create_task(look(url))
    await work.begun()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await work.check()


async def test_what_it_opens_is_closed(url: str, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite_looking, "is_journal", work.stopping(is_journal))
    monkeypatch.setattr(_postgres_reading, "check_for_reading", work.stopping(check_for_reading))

    await leave_at_work(url, work)


async def test_what_it_reads_from_is_closed(url: str, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteReading, "_fetched", work.stopping(SqliteReading._fetched))
    monkeypatch.setattr(_postgres_reading, "stands", work.stopping(_postgres_reading.stands))

    await leave_at_work(url, work)
