from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
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


@pytest.mark.parametrize(
    "place",
    [
        {"run_id": "front desk"},
        {"run_id": None},
        {"journal_seq": True},
        {"journal_seq": 1.0},
        {"journal_seq": "1"},
    ],
    ids=repr,
)
async def test_what_has_no_place_in_a_run_is_refused_as_any_store_does(place: dict[str, Any]) -> None:
    journal = MemoryJournal()

    with pytest.raises(JournalFailure, match="cannot"):
        journal.append(attrs.evolve(record(RUN, 1), **place))

    assert [one async for one in journal.runs()] == []


async def test_closed_it_can_still_be_read() -> None:
    journal = MemoryJournal()
    journal.append(record(RUN, 1))

    await journal.aclose()

    assert [one async for one in journal.read(RUN)] == [record(RUN, 1)]
    with pytest.raises(JournalFailure, match="closed"):
        journal.append(record(RUN, 2))
