from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from realtime_async.errors import JournalFailure
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RunJournal
from realtime_async.testing.journal_contract import RUN, JournalContract, record
from realtime_async.testing.run_list_contract import RunListContract

__all__: list[str] = []


class TestMemoryJournal(JournalContract, RunListContract):
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        self.journal = MemoryJournal()

    def open_journal(self) -> AbstractAsyncContextManager[RunJournal]:
        return self.journal

    def open_listed_journal(self) -> AbstractAsyncContextManager[MemoryJournal]:
        return self.journal


async def test_what_it_took_is_durable_at_once() -> None:
    journal = MemoryJournal()

    taken = journal.append(record(RUN, 1))

    assert taken.is_durable


async def test_closed_it_can_still_be_read() -> None:
    journal = MemoryJournal()
    journal.append(record(RUN, 1))

    await journal.aclose()

    assert [one async for one in journal.read(RUN)] == [record(RUN, 1)]
    with pytest.raises(JournalFailure, match="closed"):
        journal.append(record(RUN, 2))
