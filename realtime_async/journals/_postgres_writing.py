"""
The statement that moves runs on: what is written, and the lease under which it is, in one.

A run whose row has another token, or stands elsewhere than its writer believes, is left as it is, and so
are its records; the others of the batch are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final

import attrs
import orjson

from realtime_async._core.records import TERMINAL
from realtime_async.journals._postgres_asking import Asked
from realtime_async.journals._postgres_leases import Held
from realtime_async.journals._postgres_schema import Connection
from realtime_async.journals._taken import Taken
from realtime_async.ports import RunId

__all__ = ["Advance", "advance", "pieces"]

PARTS_KNOWN: Final = 1000
"""Shared texts of a run; one that is forgotten is written again, under another number."""

PIECE: Final = 2 * 1024 * 1024
"""Characters of bodies from which on what is to be written goes in pieces: the server keeps several copies of each."""

# Rows come as a text for each of their columns; as JSON each took the server four times as long.  The columns come apart
# in a SELECT list, which passes row after row on: FROM gathers each of them first, for a tenth more of a large batch.
# There is no COPY, however large a batch is: it costs more than the statement, and takes as much of the server's memory as
# one in pieces.  Nor does any timeout of the server end a COPY that waits for its client, so a worker that stops within
# one would keep its runs from all others.
_LEASE = """
    UPDATE realtime_async.run
    SET last_seq = {last}, token = {becomes}, written_token = {becomes},
        owner = %(owner)s, expires_at = clock_timestamp() + %(lease_s)s::float8 * interval '1 second',
        open_sessions = coalesce({open}::text[], open_sessions)
    {of}
    RETURNING run.id
"""
_LEASES = _LEASE.format(
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
_ADVANCE = Asked(f"WITH lease AS ({_LEASES}), records AS ({_RECORDS}) SELECT id FROM lease")
_ADVANCE_WITH_PARTS = Asked(
    f"WITH lease AS ({_LEASES}), parts AS ({_PARTS}), records AS ({_RECORDS}) SELECT id FROM lease"
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
    parameters = {"owner": owner, "lease_s": str(lease_s)}
    if any(each.numbers for each in advances):
        statement = _ADVANCE_WITH_PARTS
        parameters |= _moves(advances) | _parts(advances) | _records(advances)
    elif len(advances) == 1:
        statement = _ADVANCE_ONE
        parameters |= _move(advances[0]) | _columns(advances)
    else:
        statement = _ADVANCE
        parameters |= _moves(advances) | _records(advances)
    moved = frozenset(statement.ask(connection, parameters))
    if len(moved) == len(advances):
        return advances
    return [each for each in advances if each.held.run in moved]


def pieces(runs: Mapping[RunId, Sequence[Taken]]) -> Iterator[Mapping[RunId, Sequence[Taken]]]:
    """Cut what is to be written where a statement has enough; what is left of a run comes first in the next piece."""
    piece: dict[RunId, Sequence[Taken]] = {}
    room = PIECE
    for run_id, batch in runs.items():
        first = 0
        for end, taken in enumerate(batch, 1):
            room -= len(taken.packed[-1])
            if room <= 0:
                piece[run_id] = batch[first:end]
                yield piece
                piece, room, first = {}, PIECE, end
        if batch[first:]:
            piece[run_id] = batch[first:]
    if piece:
        yield piece


def _move(advance: Advance) -> dict[str, str]:
    return {
        "run": str(advance.held.run),
        "token": str(advance.held.token),
        "becomes": str(advance.becomes),
        "first": str(advance.batch[0].record.journal_seq),
        "last": str(advance.batch[-1].record.journal_seq),
        "open": advance.open,
    }


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
    for each in advances:
        first = each.batch[0].record.journal_seq
        runs += repeat(each.held.run, len(each.batch))
        seqs += range(first, first + len(each.batch))
    return {"runs": _integers(runs), "seqs": _integers(seqs)} | _columns(advances)


def _columns(advances: Sequence[Advance]) -> dict[str, str]:
    """What is in the records."""
    sessions: list[int] = []
    connections: list[int] = []
    sorts: list[int] = []
    bodies: list[str] = []
    for each in advances:
        numbers = {**(each.held.parts or {}), **each.numbers} if each.numbers else each.held.parts or {}
        of_sessions, of_connections, of_sorts, of_records = zip(
            *[taken.packed for taken in each.batch], strict=True
        )
        sessions += [numbers[text] for text in of_sessions]
        connections += [numbers[text] for text in of_connections]
        sorts += [numbers[text] for text in of_sorts]
        bodies += of_records
    return {
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
