"""How a journal of a file is spoilt behind its back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["DAMAGES", "changed", "path_of"]

DAMAGES = {
    "a missing record": ("DELETE FROM record WHERE run = 1 AND seq = 4", r"has no record 4, but a record 5"),
    "a damaged record": ("UPDATE record SET body = 'x' WHERE run = 1 AND seq = 4", r"record 4 of run"),
    "a record that links to nothing": (
        "UPDATE record SET body = json_set(body, '$.payload.effect_intent_ref', 'record.gone') WHERE run = 1 AND seq = 2",
        r"record 2 of run 'call-1', connected, is the result of no open intent",
    ),
}


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:"))


def changed(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(statement)
