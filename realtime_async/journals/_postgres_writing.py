"""
The statement that moves runs on: what is written, and the lease under which it is, in one.

A run whose row has another token, or stands elsewhere than its writer believes, is left as it is, and so
are its records; the others of the batch are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Final

import attrs
import orjson

from realtime_async._core.records import TERMINAL
from realtime_async.journals._postgres_asking import Asked
from realtime_async.journals._postgres_leases import Held
from realtime_async.journals._postgres_schema import Connection
from realtime_async.journals._taken import Taken

__all__ = ["Advance", "advance"]

PARTS_KNOWN: Final = 1000
"""Shared texts of a run; one that is forgotten is written again, under another number."""

# Rows come as a text for each of their columns; as JSON each took the server four times as long.  The columns come apart
# in a SELECT list, which passes row after row on: FROM gathers each of them first, for a tenth more of a large batch.
# COPY behind the same UPDATE, both in one query, takes more of both processes, as multiples of raw COPY: 1.6 for 1.3 at
# 8 rows, 1.5 for 1.4 at 64, 1.6 for 1.3 at 256, 1.45 for 1.3 at 512, and the same at 1,024.  And no timeout of the server
# ends a COPY that waits for its client: a worker that stops within one would keep its runs from all others.
_LEASE = """
    UPDATE realtime_async.run
    SET last_seq = moved.last, token = moved.becomes, written_token = moved.becomes,
        owner = %(owner)s, expires_at = clock_timestamp() + %(lease_s)s::float8 * interval '1 second',
        open_sessions = coalesce(moved.open::text[], open_sessions)
    FROM unnest(
        %(moved)s::bigint[], %(tokens)s::bigint[], %(becomes)s::bigint[], %(first)s::bigint[], %(last)s::bigint[],
        string_to_array(%(open)s::text, E'\\n', '')
    ) AS moved(run, token, becomes, first, last, open)
    WHERE run.id = moved.run AND run.token = moved.token AND run.last_seq = moved.first - 1
    RETURNING run.id
"""
# As IN under another operator, which makes a table of the leases; as a join, each row would be held against each lease.
_PARTS = """
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
_ADVANCE = Asked(f"WITH lease AS ({_LEASE}), records AS ({_RECORDS}) SELECT id FROM lease")
_ADVANCE_WITH_PARTS = Asked(
    f"WITH lease AS ({_LEASE}), parts AS ({_PARTS}), records AS ({_RECORDS}) SELECT id FROM lease"
)


@attrs.frozen
class Advance:
    """Records that continue a run, and what its lease is to be after them."""

    held: Held
    becomes: int
    """The token to write under; another than the one that is held, where the run is taken over."""
    batch: Sequence[Taken]
    numbers: dict[str, int]
    """Of the shared texts that the run does not have yet."""
    open_sessions: frozenset[str]

    @classmethod
    def of(cls, held: Held, batch: Sequence[Taken], *, becomes: int | None = None) -> Advance:
        known, numbers = held.parts or {}, dict[str, int]()
        open_sessions = held.open_sessions
        # Most records share all with one before them: its texts have numbers, and its session is open.
        seen: set[tuple[str, ...]] = set()
        for taken in batch:
            shared = taken.packed[:-1]
            if shared in seen:
                continue
            for text in shared:
                if text not in known and text not in numbers:
                    numbers[text] = held.highest_part + len(numbers) + 1
            payload = taken.record.payload
            if payload.kind in TERMINAL:
                open_sessions -= {payload.session_id}
                seen.clear()
                continue
            seen.add(shared)
            if payload.session_id not in open_sessions:
                open_sessions |= {str(payload.session_id)}
        return cls(held, held.token if becomes is None else becomes, batch, numbers, open_sessions)

    @property
    def open(self) -> str:
        """Which sessions are open after it, as an array; empty: those that were before."""
        if self.open_sessions == self.held.open_sessions:
            return ""
        # No identifier has a quotation mark.
        return _array(f'"{session}"' for session in sorted(self.open_sessions))

    def happened(self, now: float) -> None:
        """Note what the database has by now."""
        held = self.held
        held.token, held.last_seq = self.becomes, self.batch[-1].record.journal_seq
        if self.numbers or held.parts is None:
            held.parts = (held.parts or {}) | self.numbers
            held.highest_part += len(self.numbers)
            if len(held.parts) > PARTS_KNOWN:
                held.parts = {}
        held.open_sessions = self.open_sessions
        held.renewed_at = held.appended_at = now


def advance(
    connection: Connection, advances: Sequence[Advance], *, owner: str, lease_s: float
) -> Sequence[Advance]:
    """
    Write *advances*, and renew the leases of their runs.

    Returns:
        Those that were written; the row of the others is not what they take it for.
    """
    parameters = {"owner": owner, "lease_s": str(lease_s)} | _moves(advances) | _records(advances)
    statement = _ADVANCE
    if any(each.numbers for each in advances):
        statement, parameters = _ADVANCE_WITH_PARTS, parameters | _parts(advances)
    moved = frozenset(statement.ask(connection, parameters))
    if len(moved) == len(advances):
        return advances
    return [each for each in advances if each.held.run in moved]


def _moves(advances: Sequence[Advance]) -> dict[str, str]:
    return {
        "moved": _integers([each.held.run for each in advances]),
        "tokens": _integers([each.held.token for each in advances]),
        "becomes": _integers([each.becomes for each in advances]),
        "first": _integers([each.batch[0].record.journal_seq for each in advances]),
        "last": _integers([each.batch[-1].record.journal_seq for each in advances]),
        "open": "\n".join([each.open for each in advances]),
    }


def _parts(advances: Sequence[Advance]) -> dict[str, str]:
    new = [(each.held.run, number, text) for each in advances for text, number in each.numbers.items()]
    runs, numbers, texts = zip(*new, strict=True)
    return {"part_runs": _integers(runs), "numbers": _integers(numbers), "texts": "\n".join(texts)}


def _records(advances: Sequence[Advance]) -> dict[str, str]:
    runs: list[int] = []
    seqs: list[int] = []
    sessions: list[int] = []
    connections: list[int] = []
    sorts: list[int] = []
    bodies: list[str] = []
    for each in advances:
        numbers = {**(each.held.parts or {}), **each.numbers} if each.numbers else each.held.parts or {}
        packed = [taken.packed for taken in each.batch]
        first = each.batch[0].record.journal_seq
        runs += repeat(each.held.run, len(packed))
        seqs += range(first, first + len(packed))
        sessions += [numbers[session] for session, _, _, _ in packed]
        connections += [numbers[connection] for _, connection, _, _ in packed]
        sorts += [numbers[sort] for _, _, sort, _ in packed]
        bodies += [body for _, _, _, body in packed]
    return {
        "runs": _integers(runs),
        "seqs": _integers(seqs),
        "sessions": _integers(sessions),
        "connections": _integers(connections),
        "sorts": _integers(sorts),
        # JSON has no bare newline.
        "bodies": "\n".join(bodies),
    }


def _array(texts: Iterable[str]) -> str:
    return "{" + ",".join(texts) + "}"


def _integers(values: Sequence[int]) -> str:
    """The same of numbers, which JSON writes faster than they become texts one by one."""
    return "{" + orjson.dumps(values).decode()[1:-1] + "}"
