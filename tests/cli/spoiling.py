"""How a journal of a file is spoilt behind its back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["DAMAGES", "NO_NUMBERS", "changed", "one_more_at", "path_of"]


def one_more_at(number: str) -> str:
    """The statement that gives the first run a record more, at *number*; SQLite keeps there whatever it is given."""
    return (
        f"INSERT INTO record SELECT run, {number}, session, connection, sort, body FROM record"
        " WHERE run = 1 AND seq = 4"
    )


NO_NUMBERS = {
    "zero": "0",
    "below zero": "-1",
    "below all": str(-(2**63)),
    "between two": "4.5",
    "behind the last": "27.5",
    "beyond counting": "1e300",
    "text": "'x'",
    "bytes": "x'ff'",
}

DAMAGES = {
    "a missing record": ("DELETE FROM record WHERE run = 1 AND seq = 4", r"has no record 4, but a record 5"),
    "a damaged record": ("UPDATE record SET body = 'x' WHERE run = 1 AND seq = 4", r"record 4 of run"),
    "a record that links to nothing": (
        "UPDATE record SET body = json_set(body, '$.payload.effect_intent_ref', 'record.gone') WHERE run = 1 AND seq = 2",
        r"record 2 of run 'call-1', connected, is the result of no open intent",
    ),
    "a record below the first": (
        one_more_at(NO_NUMBERS["zero"]),
        r"run 'call-1' has a record whose number is 0, which is none",
    ),
    "a number that is text": (
        one_more_at(NO_NUMBERS["text"]),
        r"run 'call-1' has a record whose number is 'x', which is none",
    ),
    "no record with a number": (
        "UPDATE record SET seq = -seq WHERE run = 1",
        r"run 'call-1' has a record whose number is -1, which is none",
    ),
}


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:"))


def changed(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(statement)
