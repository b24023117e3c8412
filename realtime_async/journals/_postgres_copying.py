"""
How large batches are written: by COPY into a table of the connection's own, and from there into the journal.

No timeout of the server ends a COPY that waits for its client.  One into the records themselves, by a worker that is
stopped within it, would keep its runs from all others until somebody finds it; here it holds nothing that others
want, until everything has arrived.  Then one statement checks the leases and moves the rows on, as for small batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, repeat
from typing import Final

from realtime_async.journals._postgres_advances import Advance, moves, parts
from realtime_async.journals._postgres_schema import Connection
from realtime_async.journals._postgres_writing import LEASES, PARTS, written

__all__ = ["COPIED", "advance_by_copy", "may_copy"]

COPIED: Final = 8 * 1024 * 1024
"""Characters of bodies that go in one COPY: as many as the server keeps of such a table in memory, by default."""

_MAY_COPY = "SELECT has_database_privilege(current_database(), 'TEMPORARY')"
# A table for each batch.  One that was kept would have the server remember all transactions since it was made: those are
# forgotten table by table, as it is vacuumed, and nobody vacuums another connection's.
_TABLE = """
    CREATE TEMPORARY TABLE realtime_async_copied (
        run bigint NOT NULL, seq bigint NOT NULL,
        session integer NOT NULL, connection integer NOT NULL, sort integer NOT NULL, body text NOT NULL
    ) ON COMMIT DROP
"""
_COPY = "COPY pg_temp.realtime_async_copied FROM STDIN (FORMAT BINARY)"
_TYPES = ("int8", "int8", "int4", "int4", "int4", "text")
_RECORDS = """
    INSERT INTO realtime_async.record
    SELECT * FROM pg_temp.realtime_async_copied WHERE (run IN (SELECT id FROM lease)) IS TRUE
"""
_ADVANCE = f"WITH lease AS ({LEASES}), parts AS ({PARTS}), records AS ({_RECORDS}) SELECT id FROM lease"


def may_copy(connection: Connection) -> bool:
    """Whether the role may make the table: everybody may, where nobody has taken that right away."""
    row = connection.execute(_MAY_COPY).fetchone()
    return row is not None and bool(row[0])


def advance_by_copy(
    connection: Connection, advances: Sequence[Advance], *, owner: str, lease_s: float
) -> Sequence[Advance]:
    """
    Write *advances* as `advance` does, in a transaction of their own.

    Returns:
        Those that were written; the row of the others is not what they take it for.
    """
    leases = {"owner": owner, "lease_s": lease_s} | moves(advances) | parts(advances)
    with connection.transaction():
        cursor = connection.cursor()
        # Prepared, each would be for a table that is gone the next time.
        cursor.execute(_TABLE, prepare=False)
        with cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in _rows(advances):
                copy.write_row(row)
        moved = frozenset(run for (run,) in cursor.execute(_ADVANCE, leases, prepare=False))
    return written(advances, moved)


def _rows(advances: Sequence[Advance]) -> Iterator[tuple[int | str, ...]]:
    for each in advances:
        first = each.batch[0].record.journal_seq
        yield from zip(repeat(each.held.run), count(first), *each.columns(), strict=False)
