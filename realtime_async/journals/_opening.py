"""Which journal a URL means."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module

from realtime_async.errors import ContractViolation, JournalFailure
from realtime_async.journals._stored import StoredRuns

__all__ = ["open_journal"]

# By scheme.  A driver may be an extra, so each is imported when it is asked for.
_READERS: Mapping[str, str] = {
    "sqlite": "realtime_async.journals._sqlite_looking",
    "postgresql": "realtime_async.journals._postgres_reading",
    "postgres": "realtime_async.journals._postgres_reading",
}
# A file that lacks its scheme.  In none of these does a password have a place, so it may be shown.
_PATH = re.compile(r"[^\s:@=?]*[./\\][^\s:@=?]+")
EXPECTED = "expected sqlite:FILE or postgresql://USER@HOST:PORT/DATABASE"


@asynccontextmanager
async def open_journal(url: str) -> AsyncIterator[StoredRuns]:
    """
    Open the journal at *url* to look into it: its runs can be listed and read, while others write them.

    Nothing is made or written there.

    Args:
        url: `sqlite:FILE`, the path as it is, or `postgresql://USER@HOST:PORT/DATABASE`, which needs the extra postgres.

    Raises:
        ContractViolation: It is no such URL.
        JournalFailure: It cannot be reached, holds no journal, or the extra is missing.
    """
    async with _reader(url) as runs:
        yield runs


def _reader(url: object) -> AbstractAsyncContextManager[StoredRuns]:
    # Where it comes from the environment, it may be missing there.
    if not isinstance(url, str):
        raise ContractViolation(f"the URL of a journal cannot be read: {EXPECTED}")
    scheme, colon, rest = url.partition(":")
    home = _READERS.get(scheme) if colon else None
    # Not the URL itself: a DSN may hold a password.
    if home is None or not rest:
        advice = f"; as a file that would be sqlite:{url}" if _PATH.fullmatch(url) else ""
        raise ContractViolation(f"the URL of a journal cannot be read: {EXPECTED}{advice}")
    try:
        looked_into: Callable[[str], AbstractAsyncContextManager[StoredRuns]] = import_module(
            home
        ).looked_into
    except ImportError as error:
        raise JournalFailure(
            f"a journal in PostgreSQL needs {error.name}: pip install 'realtime-async[postgres]'"
        ) from error
    return looked_into(rest if scheme == "sqlite" else url)
