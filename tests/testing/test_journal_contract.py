"""The contract of journals takes a journal that is written otherwise than those of this package."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Self

import pytest

from realtime_async.journals import MemoryJournal
from realtime_async.ports import JournalCursor, JournalRecord, RunId, RunSummary
from realtime_async.testing.journal_contract import JournalContract
from realtime_async.testing.journals import SuspendingJournal
from realtime_async.testing.run_list_contract import RunListContract

__all__: list[str] = []


class GeneratingJournal(AbstractAsyncContextManager["GeneratingJournal", None]):
    """
    Reads by async generators, as comes naturally.

    On Trio, one that the contract left to be collected would fail the test, or another.
    """

    def __init__(self) -> None:
        self.store = MemoryJournal()

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        return self.store.append(record)

    async def read(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[JournalRecord, None]:
        async for record in self.store.read(run_id, after=after):
            yield record

    async def runs(self, *, after: str = "", tag: str | None = None) -> AsyncGenerator[RunSummary, None]:
        async for run in self.store.runs(after=after, tag=tag):
            yield run

    async def last(self, run_id: RunId) -> JournalCursor | None:
        return await self.store.last(run_id)

    async def aclose(self) -> None:
        await self.store.aclose()

    async def __aenter__(self) -> Self:
        await self.store.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class TestGeneratingJournal(JournalContract, RunListContract):
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        self.journal = GeneratingJournal()

    def open_journal(self) -> GeneratingJournal:
        return self.journal

    def open_listed_journal(self) -> GeneratingJournal:
        return self.journal


class PromptJournal(GeneratingJournal):
    """Has its records at hand, so that reading waits for nothing, and only writing does."""

    def __init__(self) -> None:
        super().__init__()
        self._written = SuspendingJournal(self.store)
        self._records: dict[RunId, dict[int, JournalRecord]] = {}

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        taken = self._written.append(record)
        self._records.setdefault(record.run_id, {})[record.journal_seq] = record
        return taken

    async def read(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[JournalRecord, None]:
        for record in list(self._records.get(run_id, {}).values())[after:]:
            yield record


class TestPromptJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        self.journal = PromptJournal()

    def open_journal(self) -> PromptJournal:
        return self.journal
