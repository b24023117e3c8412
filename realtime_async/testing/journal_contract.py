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

from collections.abc import Awaitable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress

import anyio
import pytest
from anyio.abc import TaskStatus

from realtime_async.errors import JournalConflict, JournalFailure
from realtime_async.ports import (
    AgentId,
    DestinationRef,
    EffectId,
    EntityRef,
    JournalCursor,
    JournalRecord,
    RealtimeBackpressureState,
    RealtimeConnectionId,
    RealtimeSessionId,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RealtimeSessionStatus,
    RunId,
    RunJournal,
    SourceRef,
)
from realtime_async.testing._giving_up import WAYS, GiveUp

__all__ = ["JournalContract", "record"]

RUN = RunId("run.contract")
OTHER_RUN = RunId("run.other")


def record(
    run_id: str,
    journal_seq: int,
    *,
    kind: RealtimeSessionRecordKind = RealtimeSessionRecordKind.INPUT_SEND_REQUESTED,
    nonce: str = "first-owner",
) -> JournalRecord:
    """
    Build a record that any journal accepts.

    The same arguments give an equal record; another *nonce* one of another owner.
    """
    record_id = f"record.{run_id}.{journal_seq}.{nonce}"
    session_id = RealtimeSessionId(f"session.{run_id}")
    return JournalRecord(
        journal_seq=journal_seq,
        record_id=record_id,
        run_id=RunId(run_id),
        agent_id=AgentId("agent.default"),
        source=SourceRef("host", "journal_contract"),
        destination=DestinationRef("provider", "provider.contract"),
        subject_ref=EntityRef("realtime_session", session_id),
        event_kind=f"realtime_{kind}",
        timestamp_millis=1_700_000_000_000 + journal_seq,
        runtime_package_fingerprint="realtime_async.contract",
        payload=RealtimeSessionRecord(
            kind=kind,
            status=RealtimeSessionStatus.CONNECTED,
            session_id=session_id,
            connection_id=RealtimeConnectionId("connection.contract"),
            provider_route_ref="provider.contract",
            backpressure_state=RealtimeBackpressureState(capacity=500),
            effect_intent_ref=EffectId(record_id),
        ),
    )


def records(run_id: str, count: int, *, after: int = 0, nonce: str = "first-owner") -> list[JournalRecord]:
    return [record(run_id, seq, nonce=nonce) for seq in range(after + 1, after + count + 1)]


async def append_all(journal: RunJournal, run: Iterable[JournalRecord]) -> list[JournalCursor]:
    """Hand all of *run* over, then wait until all of it is durable."""
    taken = [journal.append(one) for one in run]
    return [await one for one in taken]


async def read_all(journal: RunJournal, run_id: RunId, *, after: int = 0) -> list[JournalRecord]:
    return [one async for one in journal.read(run_id, after=after)]


@pytest.mark.anyio
class JournalContract:
    """
    The promises of `RunJournal`, one test each, on every event loop that anyio's pytest plugin offers.

    Inherit, and say how the journal is opened.
    """

    def open_journal(self) -> AbstractAsyncContextManager[RunJournal]:
        """
        Open the journal of this test.

        Called again in the same test, it opens the same store:
        after the first was closed, as a new start does, or beside it, as a second owner does.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how its journal is opened")

    def stalled(self) -> AbstractAsyncContextManager[None]:
        """
        Keep the open journal from making anything durable, for as long as the context lasts.

        Worth overriding: only then do these tests meet every append while it waits.
        """
        return nullcontext()

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

            async for one in journal.read(RUN):
                assert one == record(RUN, 1)
                break

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

            with pytest.raises(JournalConflict, match=RUN):
                await journal.append(record(RUN, 3, nonce="second-owner"))

            assert await read_all(journal, RUN) == records(RUN, 3)

    async def test_another_record_is_a_conflict_before_the_first_is_durable(self) -> None:
        async with self.open_journal() as journal:
            async with self.stalled():
                taken = journal.append(record(RUN, 1))
                with pytest.raises(JournalConflict, match=RUN):
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
            with pytest.raises(JournalFailure, match="goes on at 1"):
                await journal.append(record(RUN, seq))

            assert await journal.last(RUN) is None

    async def test_a_gap_is_refused_by_naming_what_was_expected(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 3))

            with pytest.raises(JournalFailure, match="goes on at 4") as refused:
                await journal.append(record(RUN, 5))

            assert not isinstance(refused.value, JournalConflict)
            assert await read_all(journal, RUN) == records(RUN, 3)

    async def test_what_was_begun_and_left_alone_lands(self) -> None:
        async with self.open_journal() as journal:
            for one in records(RUN, 5):
                journal.append(one)

        async with self.open_journal() as journal:
            assert await read_all(journal, RUN) == records(RUN, 5)

    @pytest.mark.parametrize("give_up", WAYS)
    async def test_what_was_begun_lands_though_its_wait_is_cancelled(self, give_up: GiveUp) -> None:
        async with self.open_journal() as journal:
            async with self.stalled():
                taken = [journal.append(one) for one in records(RUN, 3)]
                await give_up(taken[1])

            assert [await one for one in taken] == [JournalCursor(RUN, seq) for seq in (1, 2, 3)]
            assert await read_all(journal, RUN) == records(RUN, 3)

    @pytest.mark.parametrize("give_up", WAYS)
    async def test_a_cancelled_wait_harms_no_other_of_the_same_record(self, give_up: GiveUp) -> None:
        async def wait() -> None:
            cursors.append(await taken)

        cursors: list[JournalCursor] = []
        async with self.open_journal() as journal, anyio.create_task_group() as tasks, self.stalled():
            taken = journal.append(record(RUN, 1))
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            await give_up(taken)
            tasks.start_soon(wait)

        assert cursors == [JournalCursor(RUN, 1)] * 3

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

            with pytest.raises(JournalFailure, match="closed"):
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
            with pytest.raises(JournalFailure, match="goes on at 4"):
                await journal.append(record(RUN, 5))
            with pytest.raises(JournalConflict):
                await journal.append(record(RUN, 3, nonce="second-owner"))
            assert await journal.append(record(RUN, 3)) == JournalCursor(RUN, 3)
            assert await read_all(journal, RUN) == records(RUN, 3)

    async def test_a_second_owner_is_fenced_at_its_first_append(self) -> None:
        async with self.open_journal() as journal, self.open_journal() as rival:
            await append_all(journal, records(RUN, 2))
            await append_all(rival, records(RUN, 2, after=2, nonce="second-owner"))

            with pytest.raises(JournalConflict, match=RUN):
                await append_all(journal, records(RUN, 4, after=2))

            await rival.append(record(RUN, 5, nonce="second-owner"))
            nonces = [one.record_id.rpartition(".")[2] for one in await read_all(journal, RUN)]
            assert nonces == ["first-owner"] * 2 + ["second-owner"] * 3

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
            with pytest.raises(JournalConflict, match=RUN):
                await rival.append(record(RUN, 2, nonce="second-owner"))

            assert await read_all(journal, RUN) == records(RUN, 2)

    async def test_a_conflict_that_nobody_awaited_is_raised_by_closing(self) -> None:
        async with self.open_journal() as journal:
            await append_all(journal, records(RUN, 2))

            with pytest.raises(JournalConflict, match=RUN):
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
