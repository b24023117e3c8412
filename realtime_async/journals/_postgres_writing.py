"""
The statement that moves runs on: what is written, and the lease under which it is, in one.

A run whose row has another token, or stands elsewhere than its writer believes, is left as it is, and so
are its records; the others of the batch are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import repeat
from typing import Final

from realtime_async.journals._postgres_advances import Advance, integers, moves, parts
from realtime_async.journals._postgres_asking import Asked
from realtime_async.journals._postgres_schema import Connection

__all__ = ["LEASES", "PARTS", "STATED", "advance", "written"]

STATED: Final = 2 * 1024 * 1024
"""Characters of bodies that go in one statement: the server keeps several copies of each."""

# Rows come as a text for each of their columns; as JSON each took the server four times as long.  The columns come apart
# in a SELECT list, which passes row after row on: FROM gathers each of them first, for a tenth more of a large batch.
_LEASE = """
    UPDATE realtime_async.run
    SET last_seq = {last}, token = {becomes}, written_token = {becomes},
        owner = %(owner)s, expires_at = clock_timestamp() + %(lease_s)s::float8 * interval '1 second',
        open_sessions = coalesce({open}::text[], open_sessions)
    {of}
    RETURNING run.id
"""
LEASES = _LEASE.format(
    last="moved.last",
    becomes="moved.becomes",
    open="moved.open",
    of="""
    FROM unnest(
        %(moved)s::bigint[], %(tokens)s::bigint[], %(becomes)s::bigint[], %(first)s::bigint[], %(last)s::bigint[],
        string_to_array(%(open)s::text, E'\\n', '')
    ) AS moved(run, token, becomes, first, last, open)
    WHERE run.id = moved.run AND run.token = moved.token AND run.last_seq = moved.first - 1
    """,
)
# As IN under another operator, which makes a table of the leases; as a join, each row would be held against each lease.
PARTS = """
    INSERT INTO realtime_async.part
    SELECT * FROM unnest(
        %(part_runs)s::bigint[], %(numbers)s::integer[], string_to_array(%(texts)s::text, E'\\n')
    ) AS part(run, number, json)
    WHERE (run IN (SELECT id FROM lease)) IS TRUE
"""
_RECORDS = """
    INSERT INTO realtime_async.record
    SELECT * FROM (
        SELECT unnest(%(runs)s::bigint[]) AS run, unnest(%(seqs)s::bigint[]), unnest(%(sessions)s::integer[]),
            unnest(%(connections)s::integer[]), unnest(%(sorts)s::integer[]),
            unnest(string_to_array(%(bodies)s::text, E'\\n'))
    ) AS record
    WHERE (run IN (SELECT id FROM lease)) IS TRUE
"""
_ADVANCE = Asked(f"WITH lease AS ({LEASES}), records AS ({_RECORDS}) SELECT id FROM lease")
_ADVANCE_WITH_PARTS = Asked(
    f"WITH lease AS ({LEASES}), parts AS ({PARTS}), records AS ({_RECORDS}) SELECT id FROM lease"
)

# Of a run alone, most often: with nothing to join or to look up, a commit of 8 rows takes a twentieth less.
_ONE_LEASE = _LEASE.format(
    last="%(last)s::bigint",
    becomes="%(becomes)s::bigint",
    open="nullif(%(open)s::text, '')",
    of="WHERE id = %(run)s::bigint AND token = %(token)s::bigint AND last_seq = %(first)s::bigint - 1",
)
_RECORDS_OF_ONE = """
    INSERT INTO realtime_async.record
    SELECT id, generate_series(%(first)s::bigint, %(last)s::bigint), unnest(%(sessions)s::integer[]),
        unnest(%(connections)s::integer[]), unnest(%(sorts)s::integer[]),
        unnest(string_to_array(%(bodies)s::text, E'\\n'))
    FROM lease
"""
_ADVANCE_ONE = Asked(f"WITH lease AS ({_ONE_LEASE}), records AS ({_RECORDS_OF_ONE}) SELECT id FROM lease")


def advance(
    connection: Connection, advances: Sequence[Advance], *, owner: str, lease_s: float
) -> Sequence[Advance]:
    """
    Write *advances*, and renew the leases of their runs.

    Returns:
        Those that were written; the row of the others is not what they take it for.
    """
    parameters = {"owner": owner, "lease_s": str(lease_s)}
    if any(each.numbers for each in advances):
        statement = _ADVANCE_WITH_PARTS
        parameters |= moves(advances) | parts(advances) | _records(advances)
    elif len(advances) == 1:
        statement = _ADVANCE_ONE
        parameters |= _move(advances[0]) | _columns(advances)
    else:
        statement = _ADVANCE
        parameters |= moves(advances) | _records(advances)
    return written(advances, frozenset(statement.ask(connection, parameters)))


def written(advances: Sequence[Advance], moved: AbstractSet[int]) -> Sequence[Advance]:
    """Those of *advances* whose runs were moved on."""
    if len(moved) == len(advances):
        return advances
    return [each for each in advances if each.held.run in moved]


def _move(advance: Advance) -> dict[str, str]:
    return {
        "run": str(advance.held.run),
        "token": str(advance.held.token),
        "becomes": str(advance.becomes),
        "first": str(advance.batch[0].record.journal_seq),
        "last": str(advance.batch[-1].record.journal_seq),
        "open": advance.open,
    }


def _records(advances: Sequence[Advance]) -> dict[str, str]:
    runs: list[int] = []
    seqs: list[int] = []
    for each in advances:
        first = each.batch[0].record.journal_seq
        runs += repeat(each.held.run, len(each.batch))
        seqs += range(first, first + len(each.batch))
    return {"runs": integers(runs), "seqs": integers(seqs)} | _columns(advances)


def _columns(advances: Sequence[Advance]) -> dict[str, str]:
    sessions: list[int] = []
    connections: list[int] = []
    sorts: list[int] = []
    bodies: list[str] = []
    for each in advances:
        of_sessions, of_connections, of_sorts, of_records = each.columns()
        sessions += of_sessions
        connections += of_connections
        sorts += of_sorts
        bodies += of_records
    return {
        "sessions": integers(sessions),
        "connections": integers(connections),
        "sorts": integers(sorts),
        # JSON has no bare newline.
        "bodies": "\n".join(bodies),
    }
