"""A run that one worker wrote, and another after it, comes back to the first."""

from __future__ import annotations

import pytest

from realtime_async import RealtimeInputFrame, RealtimeSessionController
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.errors import JournalConflict, JournalFailure
from realtime_async.journals import PostgresJournal
from realtime_async.ports import JournalCursor
from realtime_async.testing.journal_contract import RUN, append_all, read_all, record, records
from tests.controller.staged import plain_sidecar
from tests.journals.test_postgres_leases import expire
from tests.postgres_server import Database

__all__: list[str] = []


@pytest.fixture
def dsn(postgres_database: Database) -> str:
    return postgres_database.dsn


async def resumed(journal: PostgresJournal) -> RealtimeSessionController:
    controller = await RealtimeSessionController.resume(
        plain_sidecar(), ScriptedAdapter(), journal, run_id=RUN
    )
    await controller.send(RealtimeInputFrame.text("x"))
    return controller


@pytest.mark.parametrize("is_claimed", [True, False])
async def test_it_is_resumed_by_whoever_had_lost_it(
    dsn: str, postgres_database: Database, is_claimed: bool
) -> None:
    """The first was stopped for longer than its lease lasts, and the one that took its run over has died."""
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        first = RealtimeSessionController(plain_sidecar(), ScriptedAdapter(), journal, run_id=RUN)
        await first.connect()
        await resumed(other)
        if is_claimed:
            expire(postgres_database)
            # As it would find out by its next renewal.
            held = journal._database._leases.get(RUN)
            assert held is not None
            held.is_superseded = True
            assert [orphan.run_id for orphan in await journal.orphans()] == [RUN]

        last = await resumed(journal)
        await last.close()

        kept = await read_all(journal, RUN)
        assert [one.journal_seq for one in kept] == list(range(1, len(kept) + 1))
        with pytest.raises(JournalConflict):
            await first.send(RealtimeInputFrame.text("x"))


@pytest.mark.parametrize("how", ["last", "read"])
async def test_reading_where_it_stands_lets_nobody_past_who_does_not_know(dsn: str, how: str) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, records(RUN, 3))
        assert await other.last(RUN) == JournalCursor(RUN, 3)
        await append_all(other, records(RUN, 3, after=3, nonce="heir"))
        if how == "last":
            assert await journal.last(RUN) == JournalCursor(RUN, 6)
        else:
            assert len(await read_all(journal, RUN)) == 6

        journal.append(record(RUN, 4))
        with pytest.raises(JournalConflict):
            # Nobody awaited the one before.
            await journal.append(record(RUN, 5))
        for seq in (5, 7):
            with pytest.raises(JournalConflict, match="at 4"):
                journal.append(record(RUN, seq))
        await other.append(record(RUN, 7, nonce="heir"))

        assert await journal.last(RUN) == JournalCursor(RUN, 7)
        assert await journal.append(record(RUN, 8)) == JournalCursor(RUN, 8)
        with pytest.raises(JournalConflict):
            await other.append(record(RUN, 8, nonce="heir"))


async def test_it_is_given_back_by_whoever_was_superseded_and_claimed_it(
    dsn: str, postgres_database: Database
) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, records(RUN, 3))
        await append_all(other, records(RUN, 1, after=3, nonce="heir"))
        with pytest.raises(JournalConflict):
            await journal.append(record(RUN, 4))
        expire(postgres_database)
        assert [orphan.run_id for orphan in await journal.orphans()] == [RUN]

        await journal.release(RUN)

        async with PostgresJournal.open(dsn) as third:
            assert [orphan.run_id for orphan in await third.orphans()] == [RUN]


async def test_reading_what_was_appended_here_changes_nothing(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal:
        taken = [journal.append(one) for one in records(RUN, 300)]
        await taken[0]
        assert await journal.last(RUN) is not None
        await read_all(journal, RUN)

        with pytest.raises(JournalFailure, match="goes on at 301"):
            journal.append(record(RUN, 302))
        assert await journal.append(record(RUN, 301)) == JournalCursor(RUN, 301)
