"""Which runs have no worker any more, and who may take them up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import psycopg
import pytest

from realtime_async.errors import ContractViolation, JournalConflict
from realtime_async.journals import PostgresJournal
from realtime_async.ports import (
    JournalCursor,
    JournalRecord,
    RealtimeSessionId,
)
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, record, records
from tests.journals.test_postgres import held
from tests.journals.test_postgres_leases import CLOSED, expire, expiry
from tests.postgres_server import Database

__all__: list[str] = []


def of_session(one: JournalRecord, session: str) -> JournalRecord:
    return attrs.evolve(one, payload=attrs.evolve(one.payload, session_id=RealtimeSessionId(session)))


@pytest.fixture
def dsn(postgres_database: Database) -> str:
    return postgres_database.dsn


async def test_a_run_with_a_lease_is_no_orphan(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, records(RUN, 3))

        assert await other.orphans() == []


async def test_a_run_whose_lease_has_expired_is_an_orphan(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, records(RUN, 3))
        expire(postgres_database)
        since = expiry(postgres_database)

        (orphan,) = await other.orphans()

        assert (orphan.run_id, orphan.last_seq, orphan.since) == (RUN, 3, since)
        assert orphan.since.utcoffset() is not None


async def test_when_a_lease_expired_is_told_wherever_the_database_is(
    dsn: str, postgres_database: Database
) -> None:
    """Its administrators write dates, and live, as they like."""
    for setting in ("datestyle = 'German, DMY'", "timezone = 'Asia/Kathmandu'"):
        postgres_database.execute(f"ALTER DATABASE {postgres_database.name} SET {setting}")
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await journal.append(record(RUN, 1))
        expire(postgres_database)

        (orphan,) = await other.orphans()

        assert timedelta(days=0.99) < datetime.now(UTC) - orphan.since < timedelta(days=1.01)


async def test_whoever_claims_an_orphan_writes_it_and_the_older_owner_does_not(
    dsn: str, postgres_database: Database
) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, records(RUN, 3))
        expire(postgres_database)
        await other.orphans()

        # Nobody has written since, so its place alone would not tell.
        with pytest.raises(JournalConflict, match="has another owner"):
            await journal.append(record(RUN, 4))

        assert await other.append(record(RUN, 4, nonce="heir")) == JournalCursor(RUN, 4)


async def test_a_claim_is_a_lease(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, records(RUN, 3))
        expire(postgres_database)
        await other.orphans()

        async with PostgresJournal.open(dsn) as third:
            assert await third.orphans() == []


async def test_a_claim_that_nobody_followed_up_is_an_orphan_again(
    dsn: str, postgres_database: Database
) -> None:
    async with (
        PostgresJournal.open(dsn) as journal,
        PostgresJournal.open(dsn) as dead,
        PostgresJournal.open(dsn) as heir,
    ):
        await append_all(journal, records(RUN, 3))
        expire(postgres_database)
        await dead.orphans()
        expire(postgres_database)

        (orphan,) = await heir.orphans()

        assert orphan.run_id == RUN
        with pytest.raises(JournalConflict):
            await dead.append(record(RUN, 4, nonce="dead"))
        await heir.append(record(RUN, 4, nonce="heir"))


async def test_a_claim_that_nobody_followed_up_is_an_orphan_again_to_whoever_claimed_it(
    dsn: str, postgres_database: Database
) -> None:
    """A fleet may be one worker, and who asked may have been cancelled before the answer reached him."""
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as only:
        await append_all(journal, records(RUN, 3))
        expire(postgres_database)
        await only.orphans()
        assert await only.orphans() == []
        expire(postgres_database)

        (orphan,) = await only.orphans()

        assert (orphan.run_id, orphan.last_seq) == (RUN, 3)
        assert await only.append(record(RUN, 4, nonce="heir")) == JournalCursor(RUN, 4)
        expire(postgres_database)
        assert await only.orphans() == []


async def test_what_another_worker_is_looking_at_is_left_to_it(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        expire(postgres_database)

        with psycopg.connect(postgres_database.admin_dsn) as rival:
            rival.execute("SELECT FROM realtime_async.run WHERE run_id = %s FOR UPDATE", (RUN,))
            with anyio.fail_after(5):
                claimed = await other.orphans()

        assert [orphan.run_id for orphan in claimed] == [OTHER_RUN]


async def test_no_two_workers_get_the_same_run(dsn: str, postgres_database: Database) -> None:
    async def claim() -> None:
        async with PostgresJournal.open(dsn) as worker:
            ready.append(worker)
            while len(ready) < 4:
                await anyio.lowlevel.checkpoint()
            while mine := await worker.orphans(limit=5):
                claimed.extend(orphan.run_id for orphan in mine)
            # Until then nobody gives up what he has claimed.
            done.append(worker)
            while len(done) < 4:
                await anyio.lowlevel.checkpoint()

    runs = [f"run.{number}" for number in range(60)]
    claimed: list[str] = []
    ready: list[PostgresJournal] = []
    done: list[PostgresJournal] = []
    async with PostgresJournal.open(dsn) as journal:
        await append_all(journal, [record(run_id, 1) for run_id in runs])
        expire(postgres_database)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(claim)

    assert sorted(claimed) == sorted(runs)


@pytest.mark.parametrize("limit", [0, -1, 2**63, True, 1.5, float("inf"), "1", None], ids=repr)
async def test_nobody_asks_for_no_orphans(dsn: str, limit: Any) -> None:
    async with PostgresJournal.open(dsn) as journal:
        with pytest.raises(ContractViolation, match="ask for 1 or more"):
            await journal.orphans(limit=limit)


async def test_the_longest_abandoned_come_first(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        expire(postgres_database)
        postgres_database.execute(
            f"UPDATE realtime_async.run SET expires_at = expires_at - interval '1 s' WHERE run_id = '{OTHER_RUN}'"
        )

        assert [orphan.run_id for orphan in await other.orphans(limit=1)] == [OTHER_RUN]
        assert [orphan.run_id for orphan in await other.orphans(limit=1)] == [RUN]


async def test_a_run_that_has_ended_is_no_orphan(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, [*records(RUN, 3), record(RUN, 4, kind=CLOSED)])
        expire(postgres_database)

        assert await other.orphans() == []


async def test_a_run_has_ended_when_each_of_its_sessions_has(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(
            journal,
            [
                of_session(record(RUN, 1), "one"),
                of_session(record(RUN, 2), "two"),
                of_session(record(RUN, 3, kind=CLOSED), "one"),
            ],
        )
        expire(postgres_database)
        assert [orphan.run_id for orphan in await other.orphans()] == [RUN]

        await other.append(of_session(record(RUN, 4, kind=CLOSED), "two"))
        expire(postgres_database)
        assert await other.orphans() == []


async def test_a_session_that_goes_on_after_its_end_has_not_ended(
    dsn: str, postgres_database: Database
) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, records(RUN, 1))
        with held(postgres_database):
            taken = [
                journal.append(one)
                for one in (record(RUN, 2), record(RUN, 3), record(RUN, 4, kind=CLOSED), record(RUN, 5))
            ]
        for each in taken:
            await each
        expire(postgres_database)

        assert [orphan.run_id for orphan in await other.orphans()] == [RUN]


async def test_a_session_that_follows_an_ended_one_makes_the_run_live_again(
    dsn: str, postgres_database: Database
) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, [record(RUN, 1), record(RUN, 2, kind=CLOSED)])
        await journal.append(of_session(record(RUN, 3), "next"))
        expire(postgres_database)

        assert [orphan.run_id for orphan in await other.orphans()] == [RUN]


async def test_what_is_held_here_is_no_orphan_here(dsn: str, postgres_database: Database) -> None:
    """After an outage that outlasted its lease, the owner goes on unless another was faster."""
    async with PostgresJournal.open(dsn) as journal:
        await append_all(journal, records(RUN, 3))
        expire(postgres_database)

        assert await journal.orphans() == []
        await journal.append(record(RUN, 4))


async def test_a_run_that_was_released_is_found_at_once(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        for one in records(RUN, 50):
            journal.append(one)
        await journal.release(RUN)

        (orphan,) = await other.orphans()

        assert orphan.last_seq == 50
        with pytest.raises(JournalConflict, match="was released"):
            journal.append(record(RUN, 51))
        await other.append(record(RUN, 51, nonce="heir"))


async def test_whoever_released_a_run_may_take_it_up_by_reading_where_it_stands(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await append_all(journal, records(RUN, 3))
        await journal.release(RUN)

        assert await journal.last(RUN) == JournalCursor(RUN, 3)
        assert await journal.append(record(RUN, 4)) == JournalCursor(RUN, 4)


async def test_releasing_a_run_again_changes_nothing(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, records(RUN, 3))
        await journal.release(RUN)
        assert [orphan.run_id for orphan in await other.orphans()] == [RUN]

        await journal.release(RUN)

        with pytest.raises(JournalConflict, match="was released"):
            journal.append(record(RUN, 4))
        await other.append(record(RUN, 4, nonce="heir"))


async def test_a_run_whose_release_was_cancelled_can_be_released(
    dsn: str, postgres_database: Database
) -> None:
    """While its last records wait for a server that is slow; its lease would be renewed for hours."""
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await append_all(journal, records(RUN, 3))
        with held(postgres_database):
            journal.append(record(RUN, 4))
            with anyio.move_on_after(0) as scope:
                await journal.release(RUN)
        assert scope.cancelled_caught

        await journal.release(RUN)

        assert [orphan.last_seq for orphan in await other.orphans()] == [4]


async def test_releasing_what_is_not_held_changes_nothing(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await journal.release(OTHER_RUN)
        await append_all(journal, [record(RUN, 1), record(RUN, 2, kind=CLOSED)])
        await journal.release(RUN)

        await journal.append(record(OTHER_RUN, 1))
        await journal.append(record(RUN, 3))


async def test_closing_a_journal_gives_up_what_has_not_ended(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await append_all(journal, records(RUN, 3))

    async with PostgresJournal.open(dsn) as other:
        assert [orphan.run_id for orphan in await other.orphans()] == [RUN]
