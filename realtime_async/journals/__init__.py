"""Where records are kept.  Each journal is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from realtime_async._extras import needs

if TYPE_CHECKING:
    from realtime_async.journals._exporting import read_export
    from realtime_async.journals._opening import open_journal
    from realtime_async.journals._orphans import OrphanedRun
    from realtime_async.journals._stored import StoredRuns
    from realtime_async.journals.memory import MemoryJournal
    from realtime_async.journals.postgres import PostgresJournal
    from realtime_async.journals.sqlite import SqliteJournal

__all__ = [
    "MemoryJournal",
    "OrphanedRun",
    "PostgresJournal",
    "SqliteJournal",
    "StoredRuns",
    "open_journal",
    "read_export",
]

_HOMES = {
    "MemoryJournal": "realtime_async.journals.memory",
    "OrphanedRun": "realtime_async.journals._orphans",
    "PostgresJournal": "realtime_async.journals.postgres",
    "SqliteJournal": "realtime_async.journals.sqlite",
    "StoredRuns": "realtime_async.journals._stored",
    "open_journal": "realtime_async.journals._opening",
    "read_export": "realtime_async.journals._exporting",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs("psycopg", by=name, extra="postgres"):
        return getattr(import_module(_HOMES[name]), name)
