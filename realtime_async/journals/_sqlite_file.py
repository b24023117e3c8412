"""
The file of a SQLite journal: how it is told from others, written by one thread, and read by any.

    run      run_id ↔ a number
    part     texts that many records share ↔ a number
    record   (run, seq), three shared texts, the body: see `_compact`

A rowid table with (run, seq) as an index beside it takes interleaved runs
three times as fast as one ordered by (run, seq).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from realtime_async.errors import JournalCorrupt, JournalFailure
from realtime_async.journals._group_commit import Failure, Taken
from realtime_async.journals._stored import records_of
from realtime_async.journals._verdicts import closed, conflict
from realtime_async.ports import JournalRecord, RunId

__all__ = ["Durability", "SqliteFile"]

Durability: TypeAlias = Literal["full", "normal"]

APPLICATION_ID: Final = 0x52_54_41_4A  # RTAJ
VERSION: Final = 1
"""Of these tables; the records have one of their own."""

BUSY_S = 5.0
"""How long another process may hold the file before an append fails."""

CHUNK = 200
"""Records read at once: about 5 ms of decoding."""

# A statement with many rows is one call without the GIL; with many statements, each waits for it again.
ROWS_PER_STATEMENT = 64
KNOWN_AT_MOST = 10_000
# 64 MB of log.  SQLite's own 1000 makes the slowest of 100 commits wait more than twice as long.
CHECKPOINT_PAGES = 16_000

_SCHEMA = (
    "CREATE TABLE run (id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE)",
    "CREATE TABLE part (id INTEGER PRIMARY KEY, json TEXT NOT NULL UNIQUE)",
    """
    CREATE TABLE record (
        run INTEGER NOT NULL REFERENCES run,
        seq INTEGER NOT NULL,
        session INTEGER NOT NULL REFERENCES part,
        connection INTEGER NOT NULL REFERENCES part,
        sort INTEGER NOT NULL REFERENCES part,
        body TEXT NOT NULL,
        PRIMARY KEY (run, seq)
    )
    """,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
_READ = (
    "SELECT record.seq, session.json, connection.json, sort.json, record.body FROM record"
    " JOIN part AS session ON session.id = record.session"
    " JOIN part AS connection ON connection.id = record.connection"
    " JOIN part AS sort ON sort.id = record.sort"
    " WHERE record.run = (SELECT id FROM run WHERE run_id = ?) AND record.seq > ? ORDER BY record.seq LIMIT ?"
)
_LAST = "SELECT max(seq) FROM record WHERE run = (SELECT id FROM run WHERE run_id = ?)"


# By SQLite's primary result code: what whoever reads the error can do.
_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process holds it; let that one finish",
    sqlite3.SQLITE_CANTOPEN: "its directory must exist and allow writing",
    sqlite3.SQLITE_CORRUPT: "restore it from a copy",
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "look at its disk",
    sqlite3.SQLITE_NOTADB: "it is no journal; choose another path",
    sqlite3.SQLITE_PERM: "allow writing to it and to its directory",
    sqlite3.SQLITE_READONLY: "allow writing to it and to its directory",
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteFile:
    """One open file: a connection for the writer thread, and one that whoever reads takes in turn."""

    def __init__(self, path: str, durability: Durability) -> None:
        self.name = f"journal {path!r}"
        self._path = path
        self._durability = durability
        self._runs: dict[str, int] = {}
        self._parts: dict[str, int] = {}
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None

    def open(self) -> None:
        with ExitStack() as opened, self._told_as("cannot be opened"):
            self._writer = opened.enter_context(closing(self._connect()))
            self._prepare()
            reader = opened.enter_context(closing(self._connect()))
            reader.execute("PRAGMA query_only = ON")
            self._reader = reader
            opened.pop_all()

    def _connect(self) -> sqlite3.Connection:
        # isolation_level: no transactions but those that are begun here.
        return sqlite3.connect(
            self._path,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=2 * ROWS_PER_STATEMENT,
        )

    def _prepare(self) -> None:
        """Make sure that the file is a journal, before anything is written to it."""
        self._is_empty()
        mode = self._pragma("journal_mode = WAL")
        if mode != "wal":
            raise JournalFailure(
                f"{self.name} cannot be opened: SQLite keeps no write-ahead log there, but {mode!r}; "
                "choose a path on a local disk"
            )
        self._pragma(f"synchronous = {self._durability.upper()}")
        self._pragma(f"wal_autocheckpoint = {CHECKPOINT_PAGES}")
        # On macOS a plain fsync stops at the cache of the disk.
        self._pragma("fullfsync = ON")
        self._pragma("checkpoint_fullfsync = ON")
        with self._transaction():
            # Another process may have been faster.
            if self._is_empty():
                for statement in _SCHEMA:
                    self._writer.execute(statement)

    def _is_empty(self) -> bool:
        """
        Whether nothing was ever written to the file; False: it is a journal.

        Raises:
            JournalFailure: It is something else, or a later release's.
        """
        application_id, version = self._pragma("application_id"), self._pragma("user_version")
        if application_id == APPLICATION_ID:
            if version > VERSION:
                raise JournalFailure(
                    f"{self.name} cannot be opened: it has version {version} of its tables, and this release "
                    f"knows {VERSION}; open it with the release that wrote it, or a later one"
                )
            return False
        (tables,) = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application_id or version or tables:
            raise JournalFailure(
                f"{self.name} cannot be opened: it is a database of something else; choose another path"
            )
        return True

    def _pragma(self, text: str) -> Any:
        row = self._writer.execute(f"PRAGMA {text}").fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _told_as(self, what: str) -> Iterator[None]:
        """Turn what SQLite raises into what a journal raises."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            kind = JournalCorrupt if code in _DAMAGED else JournalFailure
            advice = _ADVICE.get(code, "look at what its disk and its directory allow")
            # Without its traceback, as the error is kept and the traceback keeps every record on the way.
            raise kind(f"{self.name} {what}: {error}; {advice}") from error.with_traceback(None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            # The numbers that it gave out are free again.
            self._runs.clear()
            self._parts.clear()
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise

    def write(self, batch: Sequence[Taken]) -> None:
        with self._told_as("cannot be written"):
            try:
                self._insert(batch)
            except sqlite3.IntegrityError:
                self._insert_each(batch)

    def _insert(self, batch: Sequence[Taken]) -> None:
        if len(batch) <= ROWS_PER_STATEMENT and self._knows_all_of(batch):
            # A statement by itself is a transaction.
            self._insert_rows(batch)
            return
        with self._transaction():
            self._learn(batch)
            for first in range(0, len(batch), ROWS_PER_STATEMENT):
                self._insert_rows(batch[first : first + ROWS_PER_STATEMENT])

    def _insert_each(self, batch: Sequence[Taken]) -> None:
        """Write all but what meets another record, and what comes after that in its run."""
        refused: dict[str, Failure] = {}
        with self._transaction():
            self._learn(batch)
            for taken in batch:
                run_id = taken.record.run_id
                if run_id not in refused:
                    try:
                        self._insert_rows([taken])
                    except sqlite3.IntegrityError:
                        failure = self._compared(taken.record)
                        if failure is not None:
                            refused[run_id] = failure
                taken.failure = refused.get(run_id)

    def _compared(self, record: JournalRecord) -> Failure | None:
        """None: what the file has in the place of *record* is equal."""
        rows = self._writer.execute(_READ, (record.run_id, record.journal_seq - 1, 1)).fetchall()
        try:
            (stored,) = records_of(record.run_id, rows)
        except JournalFailure as error:
            return Failure(error)
        return None if stored == record else Failure(conflict(record))

    def _insert_rows(self, batch: Sequence[Taken]) -> None:
        runs, parts = self._runs, self._parts
        values: list[object] = []
        for taken in batch:
            session, connection, sort, body = taken.packed
            run, seq = runs[taken.record.run_id], taken.record.journal_seq
            values += (run, seq, parts[session], parts[connection], parts[sort], body)
        self._writer.execute(_insertion(len(batch)), values)

    def _knows_all_of(self, batch: Sequence[Taken]) -> bool:
        runs, parts = self._runs, self._parts
        return all(
            taken.record.run_id in runs and all(map(parts.__contains__, taken.packed[:-1])) for taken in batch
        )

    def _learn(self, batch: Sequence[Taken]) -> None:
        """Find or give the numbers of what *batch* shares with other records."""
        if len(self._runs) > KNOWN_AT_MOST or len(self._parts) > KNOWN_AT_MOST:
            self._runs.clear()
            self._parts.clear()
        for taken in batch:
            if taken.record.run_id not in self._runs:
                self._runs[str(taken.record.run_id)] = self._number("run", "run_id", taken.record.run_id)
            for text in taken.packed[:-1]:
                if text not in self._parts:
                    self._parts[text] = self._number("part", "json", text)

    def _number(self, table: str, column: str, text: str) -> int:
        row = self._writer.execute(f"SELECT id FROM {table} WHERE {column} = ?", (text,)).fetchone()
        if row is None:
            return self._writer.execute(f"INSERT INTO {table} ({column}) VALUES (?)", (text,)).lastrowid or 0
        (number,) = row
        assert isinstance(number, int)
        return number

    def records_after(self, run_id: RunId, position: int) -> list[JournalRecord]:
        """The next records of a run, up to a chunk of them."""
        return records_of(run_id, self._read(_READ, run_id, position, CHUNK))

    def record_at(self, run_id: RunId, journal_seq: int) -> JournalRecord | None:
        rows = self._read(_READ, run_id, journal_seq - 1, 1)
        found = records_of(run_id, rows)
        return found[0] if found and found[0].journal_seq == journal_seq else None

    def last(self, run_id: RunId) -> int:
        """Where a run stands in the file; 0 where it isn't there."""
        ((seq,),) = self._read(_LAST, run_id)
        return seq or 0

    def _read(self, statement: str, *parameters: object) -> list[Any]:
        with self._reading:
            if self._reader is None:
                raise closed(self.name)
            with self._told_as("cannot be read"):
                return self._reader.execute(statement, parameters).fetchall()

    def tend(self) -> None:
        """A file needs no care between two commits."""

    def close(self) -> None:
        with self._reading:
            reader, self._reader = self._reader, None
        # The connection that closes last moves the log into the file; what fails there waits for the next opening.
        for connection in filter(None, (reader, self._writer)):
            with suppress(sqlite3.Error):
                connection.close()


@cache
def _insertion(rows: int) -> str:
    return "INSERT INTO record VALUES " + ",".join(["(?, ?, ?, ?, ?, ?)"] * rows)
