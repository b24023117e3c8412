"""The floor of every SQLite figure: the same rows in the same commits, by `sqlite3` alone."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import attrs

from realtime_async import JournalRecord
from realtime_async.journals._compact import Packed, pack
from realtime_async.journals._sqlite_file import CHECKPOINT_PAGES
from realtime_async.journals._taken import Taken

__all__ = ["Committed", "Kept", "Numbers", "RawRow", "commit", "kept"]

Kept: TypeAlias = tuple[str, int, Packed]
"""Run, journal_seq, and the texts of a record: what is remembered of one that was committed."""

RawRow: TypeAlias = tuple[int | str, ...]
"""Run, journal_seq, the numbers of shared texts, and the body: a row of a journal's table `record`."""


def kept(batch: Iterable[Taken]) -> list[Kept]:
    """
    What to remember of a commit.

    Whole records, which nobody keeps but a benchmark, would be looked through by the garbage collector again and again.
    """
    return [(str(taken.record.run_id), taken.record.journal_seq, taken.packed) for taken in batch]


class Numbers:
    """Gives rows the short numbers that a journal writes in place of runs and shared texts."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def row(self, record: JournalRecord) -> RawRow:
        return self._row(record.run_id, record.journal_seq, pack(record))

    def batches(self, batches: Iterable[Sequence[Kept]]) -> list[list[RawRow]]:
        return [[self._row(*each) for each in batch] for batch in batches]

    def _row(self, run_id: str, journal_seq: int, packed: Packed) -> RawRow:
        *shared, body = packed
        return self._of(run_id), journal_seq, *map(self._of, shared), body

    def _of(self, text: str) -> int:
        return self._given.setdefault(text, len(self._given) + 1)


@attrs.frozen
class Committed:
    cpu_s: float
    waits_s: tuple[float, ...]
    """Of each commit, by the clock."""


def commit(batches: Sequence[Sequence[RawRow]], directory: Path) -> Committed:
    """Write each of *batches* in a transaction of its own, which waits for the disk."""
    with (
        TemporaryDirectory(dir=directory) as folder,
        closing(sqlite3.connect(f"{folder}/raw.db", isolation_level=None)) as connection,
    ):
        for setting in (
            "journal_mode = WAL",
            "synchronous = FULL",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        ):
            connection.execute(f"PRAGMA {setting}")
        columns = [f"value_{number}" for number in range(len(batches[0][0]))]
        connection.execute(f"CREATE TABLE record ({', '.join(columns)}, PRIMARY KEY (value_0, value_1))")
        insert = f"INSERT INTO record VALUES ({', '.join('?' * len(columns))})"
        waits: list[float] = []
        started = time.process_time()
        for batch in batches:
            began = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, batch)
            connection.execute("COMMIT")
            waits.append(time.perf_counter() - began)
        return Committed(time.process_time() - started, tuple(waits))
