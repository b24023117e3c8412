"""What journals over a store with a writer thread share: reading, standing, and closing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import anyio.to_thread

from realtime_async._core.given import shown
from realtime_async.errors import InvalidIdentifier, JournalCorrupt, JournalFailure
from realtime_async.journals._codec import UNREADABLE
from realtime_async.journals._compact import Packed, pack, unpack
from realtime_async.journals._group_commit import GroupCommit
from realtime_async.journals._listing import Listing
from realtime_async.journals._reading import HIGHEST_SEQ, Reading
from realtime_async.ports import JournalCursor, JournalRecord, RunId, RunSummary

__all__ = ["Readable", "StoredJournal", "StoredRuns", "check_place", "packed", "records_of", "whole_of"]


class Readable(Protocol):
    """The half of a store that any thread may call."""

    def records_after(self, run_id: RunId, position: int) -> Sequence[JournalRecord]: ...

    def last(self, run_id: RunId) -> int:
        """Where a run stands in the store; 0 where it isn't there."""
        ...

    def runs_after(self, run_id: str) -> Sequence[RunSummary]:
        """A chunk of the runs that follow *run_id*."""
        ...

    def nameless(self) -> int:
        """How many runs have records and no id."""
        ...


class StoredRuns:
    """The runs that a store holds, to be looked at: what `open_journal` gives."""

    def __init__(self, store: Readable) -> None:
        self._store = store

    def read(self, run_id: RunId, *, after: int = 0) -> Reading:
        """
        Iterate over the durable records of a run whose journal_seq is greater than *after*, in order.

        Raises:
            InvalidIdentifier: There can be no such run.
            ContractViolation: *after* is no whole number from 0 to 2**63 - 1.
        """
        return Reading(run_id, after, self._records_after)

    async def _records_after(self, run_id: RunId, position: int) -> Sequence[JournalRecord]:
        return await anyio.to_thread.run_sync(self._store.records_after, run_id, position)

    async def last(self, run_id: RunId) -> JournalCursor | None:
        """
        Return the position of the run's last durable record; None: it has none.

        Raises:
            InvalidIdentifier: There can be no such run.
        """
        run = RunId(run_id)
        seq = await anyio.to_thread.run_sync(self._store.last, run)
        return JournalCursor(run, seq) if seq else None

    def runs(self, *, after: str = "", tag: str | None = None) -> Listing:
        """Iterate over the runs, as `realtime_async.ports.ListsRuns` says."""
        return Listing(after, tag, self._runs_after)

    async def _runs_after(self, run_id: str) -> Sequence[RunSummary]:
        return await anyio.to_thread.run_sync(self._store.runs_after, run_id)

    async def nameless(self) -> int:
        """Return of how many runs the store has records, though it lists none such: 0, unless it was damaged."""
        return await anyio.to_thread.run_sync(self._store.nameless)


class StoredJournal(StoredRuns):
    """A queue of appends, and the store behind it."""

    def __init__(self, store: Readable, commits: GroupCommit) -> None:
        super().__init__(store)
        self._commits = commits

    def read(self, run_id: RunId, *, after: int = 0) -> Reading:
        reading = super().read(run_id, after=after)
        self._commits.allow_again(run_id)
        return reading

    async def last(self, run_id: RunId) -> JournalCursor | None:
        self._commits.allow_again(RunId(run_id))
        return await super().last(run_id)

    async def aclose(self) -> None:
        """
        Write what was taken, and close the store; cancelled, this waits for it all the same, up to 10 s.

        Raises:
            JournalFailure: A run has stopped, and nobody was told.
        """
        await self._commits.close()


def check_place(record: JournalRecord) -> None:
    """
    Find out whether a run can have a record there.

    Raises:
        JournalFailure: There is no such run, or its place is no number that a store can keep.
    """
    try:
        RunId(record.run_id)
    except InvalidIdentifier as error:
        raise JournalFailure(f"record {shown(record.journal_seq)} cannot be appended: {error}") from error
    seq = record.journal_seq
    if type(seq) is not int or not -HIGHEST_SEQ <= seq <= HIGHEST_SEQ:
        raise JournalFailure(
            f"run {str(record.run_id)!r} cannot append {shown(seq)}: give the whole number that comes next in it"
        )


def packed(record: JournalRecord) -> Packed:
    """
    Take *record* apart for a store.

    Raises:
        JournalFailure: It cannot be written down, or not be read again.
    """
    try:
        return pack(record)
    except UNREADABLE as error:
        raise JournalFailure(
            f"run {str(record.run_id)!r} cannot append {record.journal_seq}: "
            f"a value in it has no JSON, or none that could be read again ({type(error).__name__})"
        ) from error


def records_of(run_id: RunId, rows: Iterable[tuple[Any, ...]]) -> list[JournalRecord]:
    """Put the records of a run together; a row is its journal_seq and four texts."""
    return [
        unpack(run_id, seq, (session, connection, sort, body))
        for seq, session, connection, sort, body in rows
    ]


def whole_of(run_id: RunId, rows: Iterable[tuple[Any, ...]]) -> list[JournalRecord]:
    """
    Put the records of a run together that stand before one that is damaged; who reads on begins with that one.

    Raises:
        JournalCorrupt: The first one is damaged.
    """
    found: list[JournalRecord] = []
    for row in rows:
        try:
            found += records_of(run_id, (row,))
        except JournalCorrupt:
            if not found:
                raise
            break
    return found
