"""What every journal that lists its runs must do, as tests that it can inherit beside `JournalContract`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs
import pytest

from realtime_async.ports import (
    AgentId,
    ListsRuns,
    RealtimeSessionRecordKind,
    RunId,
    RunJournal,
    RunSummary,
)
from realtime_async.testing._journal_records import first_of
from realtime_async.testing._patience import patiently
from realtime_async.testing.journal_contract import append_all, record, records

__all__ = ["JournalThatLists", "RunListContract"]


class JournalThatLists(RunJournal, ListsRuns, Protocol):
    """A journal that can say which runs it holds."""


async def _listed(journal: ListsRuns, *, after: str = "", tag: str | None = None) -> list[RunSummary]:
    return [one async for one in journal.runs(after=after, tag=tag)]


@patiently
@pytest.mark.anyio
class RunListContract:
    """
    The promises of `ListsRuns`, one test each, on every event loop that anyio's pytest plugin offers.

    Inherit, and say how the journal is opened.
    """

    patience_s = 30.0
    """After which a test has failed that waits for the journal still; nothing is slept for."""

    def open_listed_journal(self) -> AbstractAsyncContextManager[JournalThatLists]:
        """Open the journal of this test, which holds nothing the first time."""
        # No abstract method: pytest passes over an abstract class without a word, and a contract that was never
        # checked would look like one that holds.
        raise NotImplementedError(f"{type(self).__name__} must say how its journal is opened")

    async def test_a_journal_without_records_lists_no_run(self) -> None:
        async with self.open_listed_journal() as journal:
            assert isinstance(journal, ListsRuns)
            assert await journal.last(RunId("run.never")) is None
            assert await _listed(journal) == []

    async def test_a_run_is_listed_with_what_its_first_and_last_records_say(self) -> None:
        first, last = record("run.a", 1), record("run.a", 3, kind=RealtimeSessionRecordKind.CLOSED)
        last = attrs.evolve(last, agent_id=AgentId("agent.other"), tags=("other",))
        async with self.open_listed_journal() as journal:
            await append_all(journal, [first, record("run.a", 2), last])

            assert await _listed(journal) == [
                RunSummary(
                    run_id=RunId("run.a"),
                    records=3,
                    began_millis=first.timestamp_millis,
                    last_millis=last.timestamp_millis,
                    last_kind=RealtimeSessionRecordKind.CLOSED,
                    agent_id=first.agent_id,
                    tags=first.tags,
                )
            ]

    async def test_a_run_of_one_record_is_listed(self) -> None:
        async with self.open_listed_journal() as journal:
            await journal.append(record("run.a", 1))

            (summary,) = await _listed(journal)

        assert summary.records == 1
        assert summary.began_millis == summary.last_millis == record("run.a", 1).timestamp_millis

    async def test_runs_are_listed_in_the_order_of_their_ids_however_many(self) -> None:
        # Bytes decide: no language puts a small letter before a capital.
        names = [f"run.{number}" for number in range(230)] + ["run.B", "run.a", "Run.c"]
        async with self.open_listed_journal() as journal:
            await append_all(journal, [record(name, 1) for name in reversed(names)])

            assert [one.run_id for one in await _listed(journal)] == sorted(names)

    async def test_a_list_is_taken_up_after_any_run(self) -> None:
        async with self.open_listed_journal() as journal:
            await append_all(journal, [record(name, 1) for name in ("run.a", "run.c", "run.d")])

            assert [one.run_id for one in await _listed(journal, after="run.a")] == ["run.c", "run.d"]
            assert [one.run_id for one in await _listed(journal, after="run.b")] == ["run.c", "run.d"]
            assert await _listed(journal, after="run.d") == []

    async def test_a_tag_chooses_the_runs_whose_first_record_bears_it(self) -> None:
        runs = {f"run.{number:03}": "tenant:a" if number % 150 == 7 else "tenant:ab" for number in range(320)}
        async with self.open_listed_journal() as journal:
            await append_all(
                journal,
                [attrs.evolve(record(name, 1), tags=("feature:realtime", tag)) for name, tag in runs.items()],
            )
            # What comes later is not asked.
            await append_all(
                journal,
                [
                    attrs.evolve(record("run.000", 2), tags=("tenant:a",)),
                    attrs.evolve(record("run.007", 2), tags=("tenant:ab",)),
                ],
            )

            found = [one.run_id for one in await _listed(journal, tag="tenant:a")]
            none = await _listed(journal, tag="tenant")

        assert found == ["run.007", "run.157", "run.307"]
        assert none == []

    async def test_a_list_may_be_left_half_way(self) -> None:
        async with self.open_listed_journal() as journal:
            await append_all(journal, [record(name, 1) for name in ("run.a", "run.b")])

            assert (await first_of(journal.runs())).run_id == "run.a"

    async def test_runs_are_listed_while_they_grow(self) -> None:
        async with self.open_listed_journal() as journal:
            await append_all(journal, records("run.a", 2))
            before = await _listed(journal)
            await append_all(journal, records("run.a", 2, after=2))
            after = await _listed(journal)

        assert [one.records for one in (*before, *after)] == [2, 4]
