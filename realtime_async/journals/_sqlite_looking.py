"""
Looking into the file of a SQLite journal: what may only be read is read, too, while whoever writes it comes and goes.

Where somebody has the journal open, or may be let in, SQLite's locks keep what is read whole.  Where it may not make
its two files beside the journal, it can read without a lock alone; and then we look whether anybody came meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from stat import S_ISREG
from threading import Event
from time import monotonic, time_ns
from typing import Any, Final, NamedTuple

import anyio.to_thread

from realtime_async.errors import JournalFailure
from realtime_async.journals._sqlite_reading import BUSY_S, SqliteReading, is_journal, told_as
from realtime_async.journals._stored import StoredRuns

__all__ = ["looked_into"]

# Whoever opens or closes the journal makes or removes two files, one after the other; we may meet one without the other.
BETWEEN_S: Final = 1.0
PAUSE_S: Final = 0.01
# The coarsest clock by which a system stamps files, where it doesn't do so by whole seconds, is one of 10 ms.
TICK_NS: Final = 20_000_000

_MAY_NOT_WRITE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}


@asynccontextmanager
async def looked_into(path: str) -> AsyncIterator[StoredRuns]:
    """
    Open the journal at *path* for reading alone: no record is written, and no lock is taken for long.

    SQLite may leave two files beside it, `-wal` and `-shm`, which whoever writes next takes away.

    Raises:
        JournalFailure: There is no such file, it is no journal or a later release's, or may not be read.
    """
    look = _Look(path)
    try:
        await anyio.to_thread.run_sync(look.open)
        yield StoredRuns(look)
    finally:
        # Nothing is flushed, so this waits for no disk.
        look.leave()


class _Untouched(NamedTuple):
    """
    A file that nobody has open for writing, as it is told from itself after somebody had.

    It was changed a tick of the clock ago at least, so that whatever follows has changed it at another time.
    """

    inode: int
    size: int
    changed_ns: int


class _Look(SqliteReading):
    def __init__(self, path: str) -> None:
        super().__init__(f"journal {path!r}")
        self._path = Path(path)
        # What is read without a lock holds as long as the file is this one.
        self._unlocked: _Untouched | None = None

    def open(self) -> None:
        self._path = self._found()
        with self._turn.taken(), told_as(self._name, "cannot be opened"):
            self.begin(self._opened())

    def _found(self) -> Path:
        try:
            is_file = S_ISREG(self._path.stat().st_mode)
            # Its two files lie beside the file itself, not beside a link to it.
            path = self._path.resolve()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise self._refused("there is no such file; look at its path") from None
        except OSError as error:
            raise self._refused(
                f"{error.strerror}; look at its path, and at what its directory allows"
            ) from error
        if not is_file:
            raise self._refused("it is no file; look at its path")
        # Not by opening it: to close it would end the locks of a journal that this process has open there.
        if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            raise self._refused("it may not be read; allow reading it")
        return path

    def _refused(self, why: str) -> JournalFailure:
        return JournalFailure(f"{self._name} cannot be opened: {why}")

    def _opened(self) -> sqlite3.Connection:
        ends = monotonic() + BETWEEN_S
        while True:
            try:
                return self._connected("mode=ro", None)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _MAY_NOT_WRITE:
                    raise
                refused = error
            untouched = self._untouched()
            if untouched is not None:
                try:
                    return self._connected("mode=ro&immutable=1", untouched)
                except (sqlite3.Error, JournalFailure):
                    if self._untouched() == untouched:
                        raise
            if monotonic() >= ends:
                raise refused
            _pause()

    def _connected(self, how: str, unlocked: _Untouched | None) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?{how}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if not is_journal(connection, self._name):
                raise self._refused("it is empty, and no journal yet; look at its path")
        except BaseException:
            connection.close()
            raise
        self._unlocked = unlocked
        return connection

    def _untouched(self) -> _Untouched | None:
        """None: somebody has it open, or has not closed it, or only just, or it is gone."""
        try:
            # In this order, so that who closes it in between has changed what was noted.
            found = self._path.stat()
            has_log = self._path.with_name(f"{self._path.name}-wal").exists()
        except OSError:
            return None
        # A time far ahead was set by hand, or by another clock: it isn't one that a change could have now.
        is_recent = abs(time_ns() - found.st_mtime_ns) < TICK_NS
        return None if has_log or is_recent else _Untouched(found.st_ino, found.st_size, found.st_mtime_ns)

    def _fetched(
        self, connection: sqlite3.Connection, statement: str, parameters: tuple[object, ...]
    ) -> list[Any]:
        while True:
            try:
                rows = super()._fetched(connection, statement, parameters)
            except sqlite3.Error:
                if self._is_whole():
                    raise
            else:
                if self._is_whole():
                    return rows
            # Somebody came meanwhile: pages of before and of after may have been read, and what he left is missing.
            behind, connection = connection, self._opened()
            self.begin(connection)
            behind.close()

    def _is_whole(self) -> bool:
        """Whether what was just read is of one piece, and up to date."""
        return self._unlocked is None or self._unlocked == self._untouched()


def _pause() -> None:
    """Nobody tells us that he goes on."""
    Event().wait(PAUSE_S)
