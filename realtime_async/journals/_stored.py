"""What journals over a store with a writer thread share: reading, standing, and closing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import anyio.to_thread

from realtime_async.errors import JournalFailure
from realtime_async.journals._compact import Packed, pack, unpack
from realtime_async.journals._group_commit import GroupCommit
from realtime_async.journals._reading import Reading
from realtime_async.ports import JournalCursor, JournalRecord, RunId

__all__ = ["Readable", "StoredJournal", "packed", "records_of"]


class Readable(Protocol):
    """The half of a store that any thread may call."""

    def records_after(self, run_id: RunId, position: int) -> Sequence[JournalRecord]: ...

    def last(self, run_id: RunId) -> int:
        """Where a run stands in the store; 0 where it isn't there."""
        ...


class StoredJournal:
    """A queue of appends, and the store behind it."""

    def __init__(self, store: Readable, commits: GroupCommit) -> None:
        self._store = store
        self._commits = commits

    def read(self, run_id: RunId, *, after: int = 0) -> Reading:
        self._commits.allow_again(run_id)
        return Reading(run_id, after, self._records_after)

    async def _records_after(self, run_id: RunId, position: int) -> Sequence[JournalRecord]:
        return await anyio.to_thread.run_sync(self._store.records_after, run_id, position)

    async def last(self, run_id: RunId) -> JournalCursor | None:
        self._commits.allow_again(run_id)
        seq = await anyio.to_thread.run_sync(self._store.last, run_id)
        return JournalCursor(RunId(run_id), seq) if seq else None

    async def aclose(self) -> None:
        """
        Write what was taken, and close the store; cancelled, this waits for it all the same, up to 10 s.

        Raises:
            JournalFailure: A run has stopped, and nobody was told.
        """
        await self._commits.close()


def packed(record: JournalRecord) -> Packed:
    """
    Take *record* apart for a store.

    Raises:
        JournalFailure: It cannot be written down.
    """
    try:
        return pack(record)
    except (AttributeError, TypeError, ValueError) as error:
        raise JournalFailure(
            f"run {str(record.run_id)!r} cannot append {record.journal_seq}: "
            f"a value in it has no JSON ({type(error).__name__})"
        ) from error


def records_of(run_id: RunId, rows: Iterable[tuple[Any, ...]]) -> list[JournalRecord]:
    """Put the records of a run together; a row is its journal_seq and four texts."""
    return [
        unpack(run_id, seq, (session, connection, sort, body))
        for seq, session, connection, sort, body in rows
    ]
