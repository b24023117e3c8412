"""
What every journal must do, as tests that any implementation can inherit.

    class TestMyJournal(JournalContract):
        @pytest.fixture(autouse=True)
        def place(self, tmp_path: Path) -> None:
            self.path = tmp_path / "journal"

        def open_journal(self) -> AbstractAsyncContextManager[RunJournal]:
            return MyJournal.open(self.path)
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress

import anyio
import anyio.lowlevel
import attrs
import pytest
from anyio.abc import TaskStatus

from realtime_async.errors import JournalConflict, JournalFailure
from realtime_async.ports import (
    JournalCursor,
    JournalRecord,
    RealtimeSessionRecordKind,
    RunId,
    RunJournal,
)
from realtime_async.testing._journal_records import OTHERWISE, first_of, full_record, record, records
from realtime_async.testing._patience import patiently
from realtime_async.testing.cancellation import Outcome, cancel_at_every_point, ways_to_cancel

__all__ = ["JournalContract", "append_all", "read_all", "record", "records"]

RUN = RunId("run.contract")
OTHER_RUN = RunId("run.other")
# Whoever reads without waiting has read by then.
SEEN_WITHIN_S = 1.0


async def append_all(journal: RunJournal, run: Iterable[JournalRecord]) -> list[JournalCursor]:
    """Hand all of *run* over, then wait until all of it is durable."""
    taken = [journal.append(one) for one in run]
    return [await one for one in taken]


async def read_all(journal: RunJournal, run_id: RunId, *, after: int = 0) -> list[JournalRecord]:
    return [one async for one in journal.read(run_id, after=after)]


@attrs.frozen
class _Run:
    """A run, and what has been begun of it."""

    journal: RunJournal
    run_id: RunId
    begun: list[Awaitable[JournalCursor]] = attrs.field(factory=list)


@patiently
@pytest.mark.anyio
class JournalContract:
    """
    The promises of `RunJournal`, one test each, on every event loop that anyio's pytest plugin offers.

    Inherit, and say how the journal is opened.
    """

    patience_s = 30.0
    """After which a test has failed that waits for the journal still; nothing is slept for."""

    def open_journal(self) -> AbstractAsyncContextManager[RunJournal]:
        """
        Open the journal of this test.

        Called again in the same test, it opens the same store:
        after the first was closed, as a new start does, or beside it, as a second owner does.
        """
        # No abstract method: pytest passes over an abstract class without a word, and a contract that was never
        # checked would look like one that holds.
        raise NotImplementedError(f"{type(self).__name__} must say how its journal is opened")

    def stalled(self) -> AbstractAsyncContextManager[None]:
        """
        Keep the open journal from making anything durable, for as long as the context lasts.

        Worth overriding: only then do these tests meet every append while it waits.
        """
        return nullcontext()

    @asynccontextmanager
    async def _a_run(self) -> AsyncIterator[_Run]:
        """A run that nobody has written yet."""
        async with self.open_journal() as journal:
            yield _Run(journal, RunId(f"run.{secrets.token_hex(8)}"))

    async def test_an_append_returns_where_the_record_stands(self) -> None:
        async with self.open_journal() as journal:
            cursors = await append_all(journal, records(RUN, 3))

        assert cursors == [JournalCursor(RUN, 1), JournalCursor(RUN, 2), JournalCursor(RUN, 3)]

    async def test_what_has_returned_is_read_back_whole(self) -> None:
        async with self.open_journal() as journal:
            await journal.append(record(RUN, 1))

            assert await read_all(journal, RUN) == [record(RUN, 1)]

    async def test_every_kind_of_record_is_kept(self) -> None:
        kinds = enumerate(RealtimeSessionRecordKind, start=1)
        written = [record(RUN, seq, kind=kind) for seq, kind in kinds]
        async with self.open_journal() as journal:
            await append_all(journal, written)

        async with self.open_journal() as journal:
            assert await read_all(journal, RUN) == written

    async def test_every_field_of_a_record_is_kept(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, [full_record(RUN, 1)])

        async with self.open_journal() as journal:
            assert await read_all(journal, RUN) == [full_record(RUN, 1)]

    async def test_records_are_read_in_the_order_of_their_sequence(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 700))

            assert await read_all(journal, RUN) == records(RUN, 700)

    async def test_reading_begins_after_the_position_asked_for(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 5))

            assert await read_all(journal, RUN, after=3) == records(RUN, 2, after=3)
            assert await read_all(journal, RUN, after=5) == []
            assert await read_all(journal, RUN, after=99) == []

    async def test_a_reading_may_be_left_half_way(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))

            assert await first_of(journal.read(RUN)) == record(RUN, 1)

    async def test_a_run_that_nobody_wrote_is_empty(self) -> None:
        async with self.open_journal() as journal:
            assert await journal.last(RUN) is None
            assert await read_all(journal, RUN) == []

    async def test_last_is_the_position_of_the_last_record(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))

            assert await journal.last(RUN) == JournalCursor(RUN, 3)
            assert await journal.last(OTHER_RUN) is None

    async def test_a_run_is_read_while_it_is_written(self) -> None:
        async def write(*, task_status: TaskStatus[None]) -> None:
            for one in records(RUN, 300):
                await journal.append(one)
                if one.journal_seq == 1:
                    task_status.started()

        async with self.open_journal() as journal, anyio.create_task_group() as tasks:
            await tasks.start(write)
            seen = 0
            while seen < 300:
                async for one in journal.read(RUN, after=seen):
                    assert one == record(RUN, seen + 1)
                    seen += 1
                # A journal that has its records at hand need not wait where there is none.
                await anyio.lowlevel.checkpoint()

    async def test_runs_written_at_once_do_not_mix(self) -> None:
        async def write(run_id: RunId) -> None:
            for one in records(run_id, 30):
                await journal.append(one)

        runs = [RunId(f"run.{number}") for number in range(20)]
        async with self.open_journal() as journal:
            async with anyio.create_task_group() as tasks:
                for run_id in runs:
                    tasks.start_soon(write, run_id)

            for run_id in runs:
                assert await read_all(journal, run_id) == records(run_id, 30)

    async def test_an_equal_record_appended_again_changes_nothing(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))

            assert await journal.append(record(RUN, 2)) == JournalCursor(RUN, 2)

            assert await journal.append(record(RUN, 4)) == JournalCursor(RUN, 4)
            assert await read_all(journal, RUN) == records(RUN, 4)

    async def test_an_equal_record_appended_before_the_first_is_durable_changes_nothing(self) -> None:
        async with self.open_journal() as journal:
            async with self.stalled():
                taken = [journal.append(record(RUN, 1)) for _ in range(2)]

            assert [await one for one in taken] == [JournalCursor(RUN, 1)] * 2
            assert await read_all(journal, RUN) == records(RUN, 1)

    async def test_another_record_at_a_taken_position_is_a_conflict(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))

            with pytest.raises(JournalConflict):
                await journal.append(record(RUN, 3, nonce="second-owner"))

            assert await read_all(journal, RUN) == records(RUN, 3)

    @pytest.mark.parametrize("what", OTHERWISE)
    async def test_a_record_that_differs_in_one_field_is_another(self, what: str) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))

            with pytest.raises(JournalConflict):
                await journal.append(OTHERWISE[what](record(RUN, 2)))

            assert await read_all(journal, RUN) == records(RUN, 3)

    async def test_another_record_is_a_conflict_before_the_first_is_durable(self) -> None:
        async with self.open_journal() as journal:
            async with self.stalled():
                taken = journal.append(record(RUN, 1))
                with pytest.raises(JournalConflict):
                    journal.append(record(RUN, 1, nonce="second-owner"))

            assert await taken == JournalCursor(RUN, 1)
            assert await read_all(journal, RUN) == records(RUN, 1)

    async def test_the_owner_of_a_run_goes_on_after_somebody_else_met_a_conflict(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))
            with pytest.raises(JournalConflict):
                await journal.append(record(RUN, 2, nonce="second-owner"))

            await journal.append(record(RUN, 4))

            assert await read_all(journal, RUN) == records(RUN, 4)

    @pytest.mark.parametrize("seq", [0, 2, 7])
    async def test_a_new_run_begins_at_one(self, seq: int) -> None:
        async with self.open_journal() as journal:
            with pytest.raises(JournalFailure):
                await journal.append(record(RUN, seq))

            assert await journal.last(RUN) is None

    async def test_a_gap_is_refused_by_naming_what_was_expected(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))

            with pytest.raises(JournalFailure) as refused:
                await journal.append(record(RUN, 5))

            assert not isinstance(refused.value, JournalConflict)
            assert await read_all(journal, RUN) == records(RUN, 3)

    async def test_what_can_be_read_or_says_so_is_durable(self) -> None:
        async def read() -> None:
            seen.extend(await read_all(journal, RUN))
            seen.append(await journal.last(RUN))
            was_read.set()

        seen: list[JournalRecord | JournalCursor | None] = []
        was_read, asking = anyio.Event(), anyio.CancelScope()
        async with self.open_journal() as journal:
            await journal.append(record(RUN, 1))
            async with anyio.create_task_group() as tasks, self.stalled():
                taken = journal.append(record(RUN, 2))
                tasks.start_soon(read)
                # One that reads behind what it has yet to write shows nothing too early, and reads afterwards.
                with anyio.move_on_after(SEEN_WITHIN_S):
                    await was_read.wait()

                is_seen = record(RUN, 2) in seen or JournalCursor(RUN, 2) in seen
                if is_seen or getattr(taken, "is_durable", False) is True:
                    # It was durable at once; one that is not keeps whoever asks waiting here.
                    with anyio.move_on_after(self.patience_s / 2) as asking:
                        await taken

            assert not asking.cancelled_caught, (
                "a record could be read, or said that it is durable, while whoever awaited it was kept waiting: "
                "show and say it once it is durable"
            )
            assert await taken == JournalCursor(RUN, 2)

    async def test_what_was_begun_and_left_alone_lands(self) -> None:
        async with self.open_journal() as journal:
            for one in records(RUN, 5):
                journal.append(one)

        async with self.open_journal() as journal:
            assert await read_all(journal, RUN) == records(RUN, 5)

    async def test_what_was_begun_lands_wherever_its_wait_is_cancelled(self) -> None:
        async def write(run: _Run) -> None:
            for one in records(run.run_id, 3):
                run.begun.append(run.journal.append(one))
                await run.begun[-1]

        async def check(run: _Run, _: Outcome[None]) -> None:
            run.begun.append(run.journal.append(record(run.run_id, len(run.begun) + 1)))

            cursors = [await one for one in run.begun]

            assert cursors == [JournalCursor(run.run_id, seq) for seq in range(1, len(cursors) + 1)]
            assert await read_all(run.journal, run.run_id) == records(run.run_id, len(cursors))

        for how in ways_to_cancel():
            await cancel_at_every_point(self._a_run, write, check, how=how)

    async def test_a_cancelled_wait_harms_no_other_of_the_same_record(self) -> None:
        async def wait(run: _Run) -> None:
            cursors.append(await run.begun[0])

        @asynccontextmanager
        async def awaited_by_others() -> AsyncIterator[_Run]:
            async with self._a_run() as run, anyio.create_task_group() as others:
                run.begun.append(run.journal.append(record(run.run_id, 1)))
                others.start_soon(wait, run)
                others.start_soon(wait, run)
                yield run

        async def check(run: _Run, _: Outcome[None]) -> None:
            await wait(run)
            expected.extend([JournalCursor(run.run_id, 1)] * 3)

        cursors: list[JournalCursor] = []
        expected: list[JournalCursor] = []
        for how in ways_to_cancel():
            await cancel_at_every_point(awaited_by_others, wait, check, how=how)

        assert set(cursors) == set(expected)
        assert len(cursors) >= len(expected)

    async def test_what_an_append_returns_may_be_awaited_again(self) -> None:
        async with self.open_journal() as journal:
            taken = journal.append(record(RUN, 1))

            assert [await taken, await taken] == [JournalCursor(RUN, 1)] * 2

    async def test_closing_makes_durable_what_was_begun(self) -> None:
        async with self.open_journal() as journal:
            taken = [journal.append(one) for one in records(RUN, 50)]
            await journal.aclose()

            assert [await one for one in taken] == [JournalCursor(RUN, seq) for seq in range(1, 51)]

    async def test_a_closed_journal_takes_nothing(self) -> None:
        async with self.open_journal() as journal:
            await journal.aclose()
            await journal.aclose()

            with pytest.raises(JournalFailure):
                journal.append(record(RUN, 1))

    async def test_a_run_goes_on_after_a_new_start(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))

        async with self.open_journal() as journal:
            assert await journal.last(RUN) == JournalCursor(RUN, 3)
            await append_all(journal, records(RUN, 2, after=3))
            assert await read_all(journal, RUN) == records(RUN, 5)

    async def test_a_gap_or_a_conflict_is_refused_after_a_new_start_too(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))

        async with self.open_journal() as journal:
            with pytest.raises(JournalFailure):
                await journal.append(record(RUN, 5))
            with pytest.raises(JournalConflict):
                await journal.append(record(RUN, 3, nonce="second-owner"))
            assert await journal.append(record(RUN, 3)) == JournalCursor(RUN, 3)
            assert await read_all(journal, RUN) == records(RUN, 3)

    async def test_a_second_owner_is_fenced_at_its_first_append(self) -> None:
        async with self.open_journal() as journal, self.open_journal() as rival:
            await append_all(journal, records(RUN, 2))
            await append_all(rival, records(RUN, 2, after=2, nonce="second-owner"))

            with pytest.raises(JournalConflict):
                await append_all(journal, records(RUN, 4, after=2))

            await rival.append(record(RUN, 5, nonce="second-owner"))
            nonces = [one.record_id.rpartition(".")[2] for one in await read_all(journal, RUN)]
            assert nonces == ["first-owner"] * 2 + ["second-owner"] * 3

    async def test_a_second_owner_may_repeat_what_the_first_has_written(self) -> None:
        async with self.open_journal() as journal, self.open_journal() as rival:
            await append_all(journal, records(RUN, 2))
            await append_all(rival, records(RUN, 2, after=2))

            cursors = await append_all(journal, records(RUN, 3, after=2))

            assert cursors == [JournalCursor(RUN, 3), JournalCursor(RUN, 4), JournalCursor(RUN, 5)]
            assert await read_all(journal, RUN) == records(RUN, 5)

    async def test_a_conflict_stops_no_other_run(self) -> None:
        async with self.open_journal() as journal, self.open_journal() as rival:
            await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
            await rival.append(record(RUN, 2, nonce="second-owner"))

            lost: list[Awaitable[JournalCursor]] = []
            async with self.stalled():
                others = [journal.append(record(OTHER_RUN, 2))]
                # A journal that can know raises in the call already.
                with suppress(JournalConflict):
                    lost.append(journal.append(record(RUN, 2)))
                others.append(journal.append(record(OTHER_RUN, 3)))

            assert [await one for one in others] == [JournalCursor(OTHER_RUN, 2), JournalCursor(OTHER_RUN, 3)]
            for one in lost:
                with pytest.raises(JournalConflict):
                    await one
            assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 3)

    async def test_a_conflict_that_nobody_awaited_is_raised_by_the_next_append(self) -> None:
        async with self.open_journal() as journal, self.open_journal() as rival:
            await append_all(journal, records(RUN, 2))

            with suppress(JournalConflict):
                rival.append(record(RUN, 2, nonce="second-owner"))
            with pytest.raises(JournalConflict):
                await rival.append(record(RUN, 2, nonce="second-owner"))

            assert await read_all(journal, RUN) == records(RUN, 2)

    async def test_a_conflict_that_nobody_awaited_is_raised_by_closing(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 2))

            with pytest.raises(JournalConflict):
                async with self.open_journal() as rival:
                    rival.append(record(RUN, 2, nonce="second-owner"))

    async def test_a_run_that_was_lost_can_be_taken_over_by_who_reads_where_it_stands(self) -> None:
        async with self.open_journal() as journal, self.open_journal() as rival:
            await append_all(journal, records(RUN, 2))
            await rival.append(record(RUN, 3, nonce="second-owner"))
            with pytest.raises(JournalConflict):
                await journal.append(record(RUN, 3))

            assert await journal.last(RUN) == JournalCursor(RUN, 3)
            await journal.append(record(RUN, 4))

            with pytest.raises(JournalConflict):
                await rival.append(record(RUN, 4, nonce="second-owner"))
