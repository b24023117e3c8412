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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeAlias

from realtime_async.errors import JournalFailure
from realtime_async.journals._sqlite_reading import (
    APPLICATION_ID,
    BUSY_S,
    READ,
    VERSION,
    SqliteReading,
    is_journal,
    told_as,
)
from realtime_async.journals._stored import records_of
from realtime_async.journals._taken import Failure, Taken
from realtime_async.journals._verdicts import conflict
from realtime_async.ports import JournalRecord

__all__ = ["Durability", "SqliteFile"]

Durability: TypeAlias = Literal["full", "normal"]

# A statement with many rows is one call without the GIL; with many statements, each waits for it again.
ROWS_PER_STATEMENT = 64
COLUMNS = 6
KNOWN_AT_MOST = 10_000
# SQLite looks less and less often whether a lock is free, at last ten times a second: then one process may find it free
# never, while others write all the time.  So it gives up early, and is asked anew.
LOOKING_S = 0.025
# How often the writer looks, while it has something to write, whether its file is where it was.  Not at each commit:
# that would be one more turn to wait for the interpreter.
LOOK_S = 1.0
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


class SqliteFile:
    """One open file: a connection for the writer thread, and one that whoever reads takes in turn."""

    def __init__(self, path: str, durability: Durability) -> None:
        self.name = f"journal {path!r}"
        # Some builds of SQLite take what begins so for a URI, and that for another file.
        self._path = f"./{path}" if path.startswith("file:") else path
        self._durability = durability
        self._runs: dict[str, int] = {}
        self._parts: dict[str, int] = {}
        self._look_at = 0.0
        self._is_gone = False
        self.reading = SqliteReading(self.name)

    def open(self) -> None:
        with ExitStack() as opened, told_as(self.name, "cannot be opened"):
            self._writer = opened.enter_context(closing(self._connect(LOOKING_S)))
            self._in_time(self._prepare)
            # As SQLite has it: whatever becomes of a link to it, or of the directory that we are in.
            self._place = Path(self._path).resolve()
            self._there = self._found()
            reader = opened.enter_context(closing(self._connect(BUSY_S)))
            reader.execute("PRAGMA query_only = ON")
            self.reading.begin(reader)
            opened.pop_all()

    def _connect(self, busy_s: float) -> sqlite3.Connection:
        # isolation_level: no transactions but those that are begun here.
        return sqlite3.connect(
            self._path,
            timeout=busy_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=2 * ROWS_PER_STATEMENT,
        )

    def _in_time(self, work: Callable[[], None]) -> None:
        """Do *work*, all of it again where another process held the file."""
        ends = monotonic() + BUSY_S
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or monotonic() >= ends:
                    raise

    def _prepare(self) -> None:
        """Make sure that the file is a journal, before anything is written to it."""
        is_journal(self._writer, self.name)
        mode = self._with_a_log()
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
            if not is_journal(self._writer, self.name):
                for statement in _SCHEMA:
                    self._writer.execute(statement)

    def _with_a_log(self) -> str:
        """Ask for a write-ahead log."""
        try:
            return str(self._pragma("journal_mode = WAL"))
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                # Whoever opens a new file beside us asks, too, and SQLite lets neither wait.  For a transaction it does.
                with self._transaction():
                    pass
            raise

    def _pragma(self, text: str) -> Any:
        row = self._writer.execute(f"PRAGMA {text}").fetchone()
        return None if row is None else row[0]

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
        if self._is_gone:
            raise JournalFailure(
                f"{self.name} cannot be written: its file is not where it was any more, and whoever opens the journal "
                "would not find what is written now; put it back, or open the journal again"
            )
        with told_as(self.name, "cannot be written"):
            self._in_time(partial(self._write, batch))

    def _write(self, batch: Sequence[Taken]) -> None:
        try:
            self._insert(batch)
        except sqlite3.IntegrityError:
            self._insert_each(batch)

    def _insert(self, batch: Sequence[Taken]) -> None:
        try:
            values = self._values(batch)
        except KeyError:
            with self._transaction():
                self._learn(batch)
                self._insert_rows(self._values(batch))
            return
        if len(batch) <= ROWS_PER_STATEMENT:
            # A statement by itself is a transaction.
            self._insert_rows(values)
            return
        with self._transaction():
            self._insert_rows(values)

    def _insert_each(self, batch: Sequence[Taken]) -> None:
        """Write all but what meets another record, and what comes after that in its run."""
        refused: dict[str, Failure] = {}
        with self._transaction():
            self._learn(batch)
            for taken in batch:
                run_id = taken.record.run_id
                if run_id not in refused:
                    try:
                        self._insert_rows(self._values([taken]), verb="INSERT")
                    except sqlite3.IntegrityError:
                        failure = self._compared(taken.record)
                        if failure is not None:
                            refused[run_id] = failure
                taken.failure = refused.get(run_id)

    def _compared(self, record: JournalRecord) -> Failure | None:
        """None: what the file has in the place of *record* is equal."""
        rows = self._writer.execute(READ, (record.run_id, record.journal_seq - 1, 1)).fetchall()
        try:
            (stored,) = records_of(record.run_id, rows)
        except JournalFailure as error:
            return Failure(error)
        return None if stored == record else Failure(conflict(record))

    def _values(self, batch: Sequence[Taken]) -> list[object]:
        """
        The columns of its rows, one row after the other.

        Raises:
            KeyError: A number of a run or of a shared text is not known.
        """
        runs, parts = self._runs, self._parts
        values: list[object] = []
        for taken in batch:
            session, connection, sort, body = taken.packed
            run, seq = runs[taken.record.run_id], taken.record.journal_seq
            values += (run, seq, parts[session], parts[connection], parts[sort], body)
        return values

    def _insert_rows(self, values: Sequence[object], *, verb: str = "INSERT OR ROLLBACK") -> None:
        at_once = ROWS_PER_STATEMENT * COLUMNS
        for first in range(0, len(values), at_once):
            some = values[first : first + at_once]
            self._writer.execute(_insertion(verb, len(some) // COLUMNS), some)

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

    def tend(self) -> None:
        now = monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._is_gone = self._found() != self._there

    def _found(self) -> tuple[int, int] | None:
        """Which file is at the path; None: none is."""
        try:
            found = self._place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            # Whoever gave up rights since it was opened may not look, and can write all the same.
            return self._there
        return found.st_dev, found.st_ino

    def close(self) -> None:
        self.reading.close()
        with suppress(sqlite3.Error):
            self._writer.close()


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


@cache
def _insertion(verb: str, rows: int) -> str:
    """
    Write so many rows.

    Where one of several is refused, a bare INSERT takes those before it back and goes on with its transaction.
    For that, SQLite first saves each page that it changes: a third more of a commit of a hundred rows.
    """
    return f"{verb} INTO record VALUES " + ",".join([f"({', '.join('?' * COLUMNS)})"] * rows)
