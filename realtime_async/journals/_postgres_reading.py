"""Reading the database of a PostgreSQL journal, from any thread and beside whoever writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import anyio.to_thread

from realtime_async.journals._in_turn import InTurn
from realtime_async.journals._listing import LISTED_AT_ONCE, check_names, summaries_of
from realtime_async.journals._postgres_link import Address, Link
from realtime_async.journals._postgres_schema import Connection, check_for_reading
from realtime_async.journals._stored import StoredRuns, records_of, whole_of
from realtime_async.journals._verdicts import numbered
from realtime_async.ports import JournalRecord, RunId, RunSummary

__all__ = ["PostgresReading", "looked_into", "records", "stands"]

T = TypeVar("T")

CHUNK: Final = 200
"""Records read at once: about 5 ms of decoding."""

PATIENCE_S: Final = 3.0
"""How long somebody who only looks waits for a server that is away."""

# What is numbered below the first record is damage, and is to be met by whoever reads from there.
_LOWEST: Final = -(2**63)

# Of a row of `record`.  No joins: a chunk would be cut only when all that is left of the run was joined,
# and a text that is missing would take its record out, where the record is to be said to be damaged.
_COLUMNS = """
    record.seq,
    (SELECT json FROM realtime_async.part WHERE part.run = record.run AND number = record.session),
    (SELECT json FROM realtime_async.part WHERE part.run = record.run AND number = record.connection),
    (SELECT json FROM realtime_async.part WHERE part.run = record.run AND number = record.sort),
    record.body
"""
_READ = f"""
    SELECT {_COLUMNS} FROM realtime_async.record
    WHERE record.run = (SELECT id FROM realtime_async.run WHERE run_id = %s) AND record.seq >= %s
    ORDER BY record.seq LIMIT %s
"""
_LAST = "SELECT last_seq FROM realtime_async.run WHERE run_id = %s"
# What `RunId` takes.
_IS_AN_ID = "(run_id ~ '^[A-Za-z0-9._:-]+$' AND length(run_id) <= 256)"
_MISNAMED = f"""
    SELECT convert_to(run_id, 'UTF8'), count(*) OVER () FROM realtime_async.run
    WHERE NOT {_IS_AN_ID} ORDER BY id LIMIT 1
"""
_RUNS = f"""
    SELECT run.run_id, run.last_seq, {_COLUMNS}
    FROM (
        SELECT id, run_id, last_seq FROM realtime_async.run
        WHERE run_id > %s AND {_IS_AN_ID} AND last_seq <> 0 ORDER BY run_id LIMIT %s
    ) AS run
    LEFT JOIN realtime_async.record ON record.run = run.id AND record.seq IN (1, run.last_seq)
    ORDER BY run.run_id, record.seq
"""
# From one run to the next by the index, so that not every record is looked at.
_NAMELESS = """
    WITH RECURSIVE each (run) AS (
        SELECT min(run) FROM realtime_async.record
        UNION ALL
        SELECT (SELECT min(run) FROM realtime_async.record WHERE run > each.run) FROM each WHERE each.run IS NOT NULL
    )
    SELECT count(*) FROM each
    WHERE run IS NOT NULL AND NOT EXISTS (SELECT FROM realtime_async.run WHERE run.id = each.run)
"""


class PostgresReading:
    """The connection that whoever reads takes in turn."""

    def __init__(self, link: Link) -> None:
        self._turn = InTurn(link.close)
        self._link = link

    def records_after(self, run_id: RunId, position: int) -> list[JournalRecord]:
        """The next records of a run, up to a chunk of them."""
        first = position + 1 if position else _LOWEST
        return self.run(lambda connection: whole_of(run_id, _rows(connection, run_id, first, CHUNK)))

    def last(self, run_id: RunId) -> int:
        """Where a run stands in the database; 0 where it isn't there."""
        seq = self.run(lambda connection: stands(connection, run_id))
        return numbered(run_id, seq) if seq else 0

    def runs_after(self, run_id: str) -> list[RunSummary]:
        def listed(connection: Connection) -> list[RunSummary]:
            found = summaries_of(connection.execute(_RUNS, (run_id, LISTED_AT_ONCE)).fetchall())
            if not found:
                check_names(connection.execute(_MISNAMED).fetchall())
            return found

        return self.run(listed)

    def nameless(self) -> int:
        ((count,),) = self.run(lambda connection: connection.execute(_NAMELESS).fetchall())
        return int(count)

    def run(self, work: Callable[[Connection], T], what: str = "cannot be read") -> T:
        with self._turn.taken():
            return self._link.run(what, work)

    def close(self) -> None:
        """Close the connection without waiting for whoever has it; a server that is away is asked no more."""
        self._link.end_patience()
        self._turn.end()


@asynccontextmanager
async def looked_into(dsn: str) -> AsyncIterator[StoredRuns]:
    """
    Open the journal in the database of *dsn* for reading alone; a standby, or a role that may only read, will do.

    Raises:
        ContractViolation: The DSN cannot be read.
        JournalFailure: The server is away or refuses, or the database is no journal of this release.
    """
    link = Link(Address.of(dsn), PATIENCE_S)
    reading = PostgresReading(link)
    try:
        await anyio.to_thread.run_sync(
            reading.run, partial(check_for_reading, name=link.name), "cannot be opened"
        )
        yield StoredRuns(reading)
    finally:
        reading.close()


def records(connection: Connection, run_id: RunId, first: int, count: int) -> list[JournalRecord]:
    return records_of(run_id, _rows(connection, run_id, first, count))


def _rows(connection: Connection, run_id: RunId, first: int, count: int) -> list[tuple[Any, ...]]:
    return connection.execute(_READ, (run_id, first, count)).fetchall()


def stands(connection: Connection, run_id: RunId) -> int:
    row = connection.execute(_LAST, (run_id,)).fetchone()
    return 0 if row is None else int(row[0])
