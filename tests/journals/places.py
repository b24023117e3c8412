"""Where a journal is that the processes of a test share: a file, or a database by its URL."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Literal, TypeAlias

import psycopg

from realtime_async.journals import PostgresJournal, SqliteJournal

__all__ = ["Place", "SharedJournal", "emptied", "opened", "without_the_dead"]

Place: TypeAlias = "str | os.PathLike[str]"
SharedJournal: TypeAlias = "SqliteJournal | PostgresJournal"


def is_database(place: Place) -> bool:
    return str(place).startswith("postgresql://")


def opened(
    place: Place, durability: Literal["full", "normal"] = "normal"
) -> AbstractAsyncContextManager[SharedJournal]:
    if is_database(place):
        return PostgresJournal.open(str(place))
    return SqliteJournal.open(place, durability=durability)


def emptied(place: Place, folder: Path) -> Place:
    """A journal that has no run yet: that database, or another file in *folder*."""
    if not is_database(place):
        return folder / "calls.db"
    with closing(psycopg.connect(str(place), autocommit=True)) as connection:
        connection.execute("TRUNCATE realtime_async.run, realtime_async.part, realtime_async.record")
    return place


def without_the_dead(place: Place) -> None:
    """Wait until the server has done what a process that was killed had still asked of it."""
    if not is_database(place):
        return
    alive = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'realtime_async'"
    with closing(psycopg.connect(str(place), autocommit=True)) as connection:
        while connection.execute(alive).fetchall():
            pass
