"""A journal that lives as long as the process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from anyio.lowlevel import checkpoint

from realtime_async.journals._listing import LISTED_AT_ONCE, Listing
from realtime_async.journals._reading import Reading
from realtime_async.journals._stored import check_place
from realtime_async.journals._verdicts import Durable, closed, conflict, gap
from realtime_async.ports import JournalCursor, JournalRecord, RunId, RunSummary

__all__ = ["MemoryJournal"]

CHUNK = 500


class MemoryJournal:
    """
    A journal for tests, and for runs that need not outlive the process.

    It keeps every record for as long as it lives: its memory grows with each append.
    What it has taken is durable at once.
    Closed, it can still be read; entered again, it goes on with what it holds, as a store would after a new start.
    """

    def __init__(self) -> None:
        self._runs: defaultdict[str, list[JournalRecord]] = defaultdict(list)
        self._closed = False

    def append(self, record: JournalRecord) -> Durable:
        """Take *record*, or raise: there is nothing left to wait for."""
        if self._closed:
            raise closed("the memory journal")
        seq = record.journal_seq
        if type(record.run_id) is not RunId or type(seq) is not int:
            check_place(record)
        records = self._runs[record.run_id]
        if seq == len(records) + 1:
            records.append(record)
        elif not 1 <= seq <= len(records):
            raise gap(record, len(records) + 1)
        elif records[seq - 1] != record:
            raise conflict(record)
        return Durable(JournalCursor(record.run_id, seq))

    def read(self, run_id: RunId, *, after: int = 0) -> Reading:
        return Reading(run_id, after, self._records_after)

    async def _records_after(self, run_id: RunId, position: int) -> Sequence[JournalRecord]:
        await checkpoint()
        return self._runs.get(run_id, [])[position : position + CHUNK]

    async def last(self, run_id: RunId) -> JournalCursor | None:
        run = RunId(run_id)
        await checkpoint()
        records = self._runs.get(run)
        return JournalCursor(run, len(records)) if records else None

    def runs(self, *, after: str = "", tag: str | None = None) -> Listing:
        return Listing(after, tag, self._runs_after)

    async def _runs_after(self, run_id: str) -> Sequence[RunSummary]:
        await checkpoint()
        # Whoever reads a run that nobody wrote leaves nothing behind it, but a refused append does.
        found = sorted(each for each, records in self._runs.items() if records and each > run_id)
        return [self._summary(each) for each in found[:LISTED_AT_ONCE]]

    def _summary(self, run_id: str) -> RunSummary:
        records = self._runs[run_id]
        return RunSummary.of(RunId(run_id), records=len(records), first=records[0], last=records[-1])

    async def aclose(self) -> None:
        """Take no more records; those it has stay."""
        self._closed = True

    async def __aenter__(self) -> Self:
        self._closed = False
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
