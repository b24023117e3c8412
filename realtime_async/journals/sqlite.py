"""A journal in a SQLite file."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from realtime_async._core.given import shown
from realtime_async.errors import ContractViolation
from realtime_async.journals._group_commit import GroupCommit
from realtime_async.journals._sqlite_file import Durability, SqliteFile
from realtime_async.journals._stored import StoredJournal, check_place, packed
from realtime_async.journals._taken import Taken
from realtime_async.journals._verdicts import Durable, conflict, gap
from realtime_async.ports import JournalCursor, JournalRecord

__all__ = ["SqliteJournal"]


class SqliteJournal(StoredJournal):
    """
    Runs in one file on a local disk, for one or more processes.

    Make one with `open`; it belongs to the event loop that opened it.
    Beside the file lie its log, `-wal`, which grows to some 66 MB before it is moved into the file, and `-shm`.
    The last journal to be closed moves the log and removes both.
    Leave the file where it is until then: appends fail within a second of its being removed, moved or replaced, as nobody
    would find what they write.
    """

    def __init__(self, file: SqliteFile, commits: GroupCommit) -> None:
        super().__init__(file.reading, commits)
        self._file = file

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: str | os.PathLike[str], *, durability: Durability = "full"
    ) -> AsyncIterator[Self]:
        """
        Open the journal at *path*, which is made where there is none; its directory must exist.

        Args:
            durability: What a record that was awaited survives.
                "full": the death of the process, of the system, and a power cut; each commit waits for the disk.
                "normal": the death of the process; the system's own, or a power cut,
                may take the last records of any run back, never one from the middle.

        Raises:
            JournalFailure: The file is something else's, or a later release's; it cannot be written, or is locked.
                On the way out: a run has stopped, and nobody was told.
        """
        if durability not in ("full", "normal"):
            raise ContractViolation(f"durability {shown(durability)} is unknown: choose 'full' or 'normal'")
        file = SqliteFile(os.fsdecode(path), durability)
        commits = GroupCommit(file, file.name)
        await commits.open()
        journal = cls(file, commits)
        try:
            yield journal
        finally:
            await journal.aclose()

    def append(self, record: JournalRecord) -> Durable | Taken:
        """
        Take *record* into the next commit.

        Up to 20,000 records, or 32 million characters, gather while a commit runs; after that it raises.
        """
        if self._commits.follows(record):
            return self._commits.take(record, packed(record))
        check_place(record)
        met = self._met_before(record)
        return self._commits.take(record, packed(record)) if met is None else met

    def _met_before(self, record: JournalRecord) -> Durable | Taken | None:
        """
        Find *record* where it has been taken already; None: it comes next.

        This asks the file, within the call.
        It happens at a run's first append here, and when somebody repeats himself or has lost the run.
        """
        run_id, seq = record.run_id, record.journal_seq
        position = self._commits.position(run_id)
        pending = self._commits.pending(run_id, seq)
        known = self._file.reading.record_at(run_id, seq) if pending is None else pending.record
        if known is None:
            position = max(position, self._file.reading.last(run_id))
            if seq == position + 1:
                return None
            # Another process may have written it between the two looks.
            known = self._file.reading.record_at(run_id, seq) if seq <= position else None
            if known is None:
                raise gap(record, position + 1)
        if known != record:
            raise conflict(record)
        return Durable(JournalCursor(run_id, seq)) if pending is None else pending
