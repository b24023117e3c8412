"""
The statements that move runs on: what is written, and the lease under which it is, in one.

A run whose row has another token, or stands elsewhere than its writer believes, is left as it is, and so
are its records; the others of the batch are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

import attrs
import orjson

from realtime_async._core.records import TERMINAL
from realtime_async.journals._postgres_leases import Held
from realtime_async.journals._postgres_schema import Connection
from realtime_async.journals._taken import Taken

__all__ = ["Advance", "advance"]

ROWS_PER_STATEMENT: Final = 64
"""Beyond that, COPY in a transaction takes less time than JSON in one statement."""

PARTS_KNOWN: Final = 1000
"""Shared texts of a run; one that is forgotten is written again, under another number."""

_LEASE = """
    UPDATE realtime_async.run
    SET last_seq = moved.last, token = moved.becomes, written_token = moved.becomes,
        owner = {owner}, expires_at = clock_timestamp() + {lease_s} * interval '1 second',
        open_sessions = coalesce(moved.open, open_sessions)
    FROM json_to_recordset({moved}) AS moved(run bigint, token bigint, becomes bigint, first bigint, last bigint, open text[])
    WHERE run.id = moved.run AND run.token = moved.token AND run.last_seq = moved.first - 1
    RETURNING run.id
"""
_PARTS = """
    INSERT INTO realtime_async.part SELECT part.run, part.number, part.json
    FROM json_to_recordset({parts}) AS part(run bigint, number integer, json text)
"""
_RECORDS = """
    INSERT INTO realtime_async.record
    SELECT record.run, record.seq, record.session, record.connection, record.sort, record.body
    FROM json_to_recordset({records})
        AS record(run bigint, seq bigint, session integer, connection integer, sort integer, body text)
"""


def _with_parameters(text: str) -> str:
    names = {name: f"%({name})s::json" for name in ("moved", "parts", "records")}
    return text.format(owner="%(owner)s", lease_s="%(lease_s)s::float8", **names)


_LEASE_ALONE, _PARTS_ALONE = _with_parameters(_LEASE), _with_parameters(_PARTS)
_ALL_IN_ONE = _with_parameters(f"""
    WITH lease AS ({_LEASE}),
        parts AS ({_PARTS} JOIN lease ON lease.id = part.run),
        records AS ({_RECORDS} JOIN lease ON lease.id = record.run)
    SELECT id FROM lease
""")
_COPY = "COPY realtime_async.record (run, seq, session, connection, sort, body) FROM STDIN"

Row: TypeAlias = tuple[int, int, int, int, int, str]


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
        open_sessions = set(held.open_sessions)
        for taken in batch:
            for text in taken.packed[:-1]:
                if text not in known and text not in numbers:
                    numbers[text] = held.highest_part + len(numbers) + 1
            payload = taken.record.payload
            (open_sessions.discard if payload.kind in TERMINAL else open_sessions.add)(payload.session_id)
        return cls(
            held,
            held.token if becomes is None else becomes,
            batch,
            numbers,
            frozenset(map(str, open_sessions)),
        )

    def moved(self) -> dict[str, Any]:
        held = self.held
        return {
            "run": held.run,
            "token": held.token,
            "becomes": self.becomes,
            "first": self.batch[0].record.journal_seq,
            "last": self.batch[-1].record.journal_seq,
            "open": None if self.open_sessions == held.open_sessions else sorted(self.open_sessions),
        }

    def parts(self) -> Iterator[dict[str, Any]]:
        for text, number in self.numbers.items():
            yield {"run": self.held.run, "number": number, "json": text}

    def rows(self) -> Iterator[Row]:
        run, known, new = self.held.run, self.held.parts or {}, self.numbers
        for taken in self.batch:
            session, connection, sort = (known.get(text) or new[text] for text in taken.packed[:-1])
            yield run, taken.record.journal_seq, session, connection, sort, taken.packed[-1]

    def happened(self, now: float) -> None:
        """Note what the database has by now."""
        held = self.held
        held.token, held.last_seq = self.becomes, self.batch[-1].record.journal_seq
        held.parts = (held.parts or {}) | self.numbers
        held.highest_part += len(self.numbers)
        if len(held.parts) > PARTS_KNOWN:
            held.parts = {}
        held.open_sessions = self.open_sessions
        held.renewed_at = held.appended_at = now


def advance(
    connection: Connection, advances: Sequence[Advance], *, owner: str, lease_s: float
) -> list[Advance]:
    """
    Write *advances*, and renew the leases of their runs.

    Returns:
        Those that were written; the row of the others is not what they take it for.
    """
    parameters = {
        "owner": owner,
        "lease_s": lease_s,
        "moved": _json([each.moved() for each in advances]),
        "parts": _json(list(chain.from_iterable(each.parts() for each in advances))),
    }
    if sum(len(each.batch) for each in advances) <= ROWS_PER_STATEMENT:
        names = ("run", "seq", "session", "connection", "sort", "body")
        rows = chain.from_iterable(each.rows() for each in advances)
        parameters["records"] = _json([dict(zip(names, row, strict=True)) for row in rows])
        found = connection.execute(_ALL_IN_ONE, parameters).fetchall()
        return _of_runs(advances, found)
    with connection.transaction():
        written = _of_runs(advances, connection.execute(_LEASE_ALONE, parameters).fetchall())
        if any(each.numbers for each in written):
            parts = chain.from_iterable(each.parts() for each in written)
            connection.execute(_PARTS_ALONE, {"parts": _json(list(parts))})
        with connection.cursor().copy(_COPY) as copy:
            copy.write("".join(map(_line, chain.from_iterable(each.rows() for each in written))))
    return written


def _of_runs(advances: Sequence[Advance], rows: Sequence[tuple[Any, ...]]) -> list[Advance]:
    runs = {run for (run,) in rows}
    return [each for each in advances if each.held.run in runs]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _line(row: Row) -> str:
    # JSON has no bare tab or newline, so what COPY would take for its own is the backslash alone.
    *numbers, body = row
    return "\t".join(map(str, numbers)) + "\t" + body.replace("\\", "\\\\") + "\n"
