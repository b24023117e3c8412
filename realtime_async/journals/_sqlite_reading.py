"""
Reading the file of a SQLite journal, from any thread and beside whoever writes it.

Each chunk is a statement by itself: none keeps the log of the file from being moved into it for long.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from realtime_async.errors import JournalCorrupt, JournalFailure
from realtime_async.journals._in_turn import InTurn
from realtime_async.journals._listing import LISTED_AT_ONCE, check_names, summaries_of
from realtime_async.journals._stored import records_of, whole_of
from realtime_async.journals._verdicts import closed, numbered
from realtime_async.ports import JournalRecord, RunId, RunSummary

__all__ = [
    "APPLICATION_ID",
    "BUSY_S",
    "READ",
    "VERSION",
    "SqliteReading",
    "is_journal",
    "told_as",
]

APPLICATION_ID: Final = 0x52_54_41_4A  # RTAJ
VERSION: Final = 1
"""Of these tables; the records have one of their own."""

BUSY_S = 5.0
"""How long another process may hold the file before an append fails."""

CHUNK = 200
"""Records read at once: about 5 ms of decoding."""

# What is numbered below the first record is damage, and is to be met by whoever reads from there.
_BELOW_ALL: Final = -math.inf

# A text that is missing must not take its record out, which is to be said to be damaged: hence the left joins.
READ: Final = (
    "SELECT record.seq, session.json, connection.json, sort.json, record.body FROM record"
    " LEFT JOIN part AS session ON session.id = record.session"
    " LEFT JOIN part AS connection ON connection.id = record.connection"
    " LEFT JOIN part AS sort ON sort.id = record.sort"
    " WHERE record.run = (SELECT id FROM run WHERE run_id = ?) AND record.seq > ? ORDER BY record.seq LIMIT ?"
)
# One statement, so that it sees all or nothing of the tables that another process makes.
_KIND = (
    "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
    " FROM pragma_application_id, pragma_user_version"
)
_LAST = "SELECT max(seq) FROM record WHERE run = (SELECT id FROM run WHERE run_id = ?)"
# What `RunId` takes.  No comparison finds any other, nor does the driver read a text that is no UTF-8.
_IS_AN_ID = (
    "(typeof(run_id) = 'text' AND run_id NOT GLOB '*[^A-Za-z0-9._:-]*'"
    # A text ends for SQLite where it has a zero, its bytes don't.
    " AND length(run_id) BETWEEN 1 AND 256 AND length(run_id) = length(CAST(run_id AS BLOB)))"
)
_MISNAMED = (
    "SELECT CASE typeof(run_id) WHEN 'text' THEN CAST(run_id AS BLOB) END, count(*) OVER () FROM run"
    f" WHERE NOT {_IS_AN_ID} ORDER BY id LIMIT 1"
)
# Rows of a run and its last number, so that they are found by their index alone.
_RUNS = (
    "SELECT run.run_id, run.last, record.seq, session.json, connection.json, sort.json, record.body FROM ("
    " SELECT id, run_id, (SELECT max(seq) FROM record WHERE record.run = run.id) AS last FROM run"
    f" WHERE run_id > ? AND {_IS_AN_ID} AND last IS NOT NULL ORDER BY run_id LIMIT ?"
    ") AS run JOIN record ON record.run = run.id AND record.seq IN (1, run.last)"
    " LEFT JOIN part AS session ON session.id = record.session"
    " LEFT JOIN part AS connection ON connection.id = record.connection"
    " LEFT JOIN part AS sort ON sort.id = record.sort"
    " ORDER BY run.run_id, record.seq"
)
# From one run to the next by the index, so that not every record is looked at.
_NAMELESS = (
    "WITH RECURSIVE each (run) AS ("
    " SELECT min(run) FROM record UNION ALL"
    " SELECT (SELECT min(run) FROM record WHERE run > each.run) FROM each WHERE each.run IS NOT NULL"
    ") SELECT count(*) FROM each WHERE run IS NOT NULL AND run NOT IN (SELECT id FROM run)"
)

# By SQLite's primary result code: what whoever reads the error can do.
_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process holds it; let that one finish",
    sqlite3.SQLITE_CANTOPEN: "its directory must exist and allow writing",
    sqlite3.SQLITE_CORRUPT: "restore it from a copy",
    # A statement of ours that it does not understand.
    sqlite3.SQLITE_ERROR: "its tables are not those of a journal any more; restore it from a copy",
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "look at its disk",
    sqlite3.SQLITE_NOTADB: "it is no journal; choose another path",
    sqlite3.SQLITE_PERM: "allow writing to it and to its directory",
    sqlite3.SQLITE_READONLY: "allow writing to it and to its directory",
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteReading:
    """The connection that whoever reads takes in turn."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = InTurn(self._drop)
        self._connection: sqlite3.Connection | None = None

    def begin(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def records_after(self, run_id: RunId, position: int) -> list[JournalRecord]:
        """The next records of a run, up to a chunk of them."""
        return whole_of(run_id, self._read(READ, run_id, position or _BELOW_ALL, CHUNK))

    def record_at(self, run_id: RunId, journal_seq: int) -> JournalRecord | None:
        rows = self._read(READ, run_id, journal_seq - 1, 1)
        found = records_of(run_id, rows)
        return found[0] if found and found[0].journal_seq == journal_seq else None

    def last(self, run_id: RunId) -> int:
        """Where a run stands in the file; 0 where it isn't there."""
        ((seq,),) = self._read(_LAST, run_id)
        return 0 if seq is None else numbered(run_id, seq)

    def runs_after(self, run_id: str) -> list[RunSummary]:
        found = summaries_of(self._read(_RUNS, run_id, LISTED_AT_ONCE))
        if not found:
            check_names(self._read(_MISNAMED))
        return found

    def nameless(self) -> int:
        ((count,),) = self._read(_NAMELESS)
        return int(count)

    def _read(self, statement: str, *parameters: object) -> list[Any]:
        with self._turn.taken():
            if self._connection is None:
                raise closed(self._name)
            with told_as(self._name, "cannot be read"):
                return self._fetched(self._connection, statement, parameters)

    def _fetched(
        self, connection: sqlite3.Connection, statement: str, parameters: tuple[object, ...]
    ) -> list[Any]:
        return connection.execute(statement, parameters).fetchall()

    def close(self) -> None:
        """Close the connection, after whoever has it; what reads later is refused."""
        with self._turn.taken():
            self._drop()

    def leave(self) -> None:
        """Close the connection without waiting for anybody."""
        self._turn.end()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # The connection that closes last moves the log into the file; what fails there waits for the next opening.
            with suppress(sqlite3.Error):
                connection.close()


def is_journal(connection: sqlite3.Connection, name: str) -> bool:
    """
    Whether the file is a journal; False: nothing was ever written to it.

    Raises:
        JournalFailure: It is something else, or a later release's.
    """
    application_id, version, tables = connection.execute(_KIND).fetchone()
    if application_id == APPLICATION_ID:
        if version > VERSION:
            raise JournalFailure(
                f"{name} cannot be opened: it has version {version} of its tables, and this release "
                f"knows {VERSION}; open it with the release that wrote it, or a later one"
            )
        return True
    if application_id or version or tables:
        raise JournalFailure(
            f"{name} cannot be opened: it is a database of something else; choose another path"
        )
    return False


@contextmanager
def told_as(name: str, what: str) -> Iterator[None]:
    """Turn what SQLite raises into what a journal raises."""
    try:
        yield
    except sqlite3.Error as error:
        if isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorcode"):
            # Of the driver, whose text quotes what it found; and so would the error, were it the cause.
            raise JournalCorrupt(
                f"{name} {what}: it holds text that is no UTF-8; restore it from a copy"
            ) from None
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        kind = JournalCorrupt if code in _DAMAGED else JournalFailure
        advice = _ADVICE.get(code, "look at what its disk and its directory allow")
        # Without its traceback, as the error is kept and the traceback keeps every record on the way.
        raise kind(f"{name} {what}: {error}; {advice}") from error.with_traceback(None)
