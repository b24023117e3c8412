"""Who owns a run, until when, and who may take it up."""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import anyio.lowlevel
import attrs
import psycopg
import pytest

from realtime_async import RealtimeInputFrame, RealtimeSessionController
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.errors import ContractViolation, JournalConflict, JournalFailure
from realtime_async.journals import PostgresJournal, _postgres_store
from realtime_async.journals._postgres_leases import LEFT_ALONE_S, Held, Leases
from realtime_async.ports import (
    JournalCursor,
    JournalRecord,
    RealtimeSessionId,
    RealtimeSessionRecordKind,
    RunId,
)
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records
from tests.controller.staged import plain_sidecar
from tests.journals.test_postgres import held
from tests.postgres_server import Database

__all__: list[str] = []

CLOSED = RealtimeSessionRecordKind.CLOSED


def expire(database: Database) -> None:
    """Let a long time pass: whoever held a lease holds none any more."""
    database.execute("UPDATE realtime_async.run SET expires_at = expires_at - interval '1 day'")


def expiry(database: Database) -> datetime:
    ((moment,),) = database.execute("SELECT expires_at FROM realtime_async.run")
    assert isinstance(moment, datetime)
    return moment


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


async def test_nobody_asks_for_no_orphans(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal:
        with pytest.raises(ContractViolation, match="ask for 1 or more"):
            await journal.orphans(limit=0)


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


async def test_a_lease_is_renewed_while_nothing_is_appended(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn, lease_s=2.4, patience_s=0.8) as journal:
        await journal.append(record(RUN, 1))
        before = expiry(postgres_database)

        with anyio.fail_after(20):
            while expiry(postgres_database) == before:
                await anyio.lowlevel.checkpoint()

        assert await journal.append(record(RUN, 2)) == JournalCursor(RUN, 2)


@pytest.mark.parametrize("count", [1, 100])
async def test_what_is_appended_renews_its_lease_at_once(
    dsn: str, postgres_database: Database, count: int
) -> None:
    """Long before the journal's own thread would: a run that is written is no orphan, not for a moment."""
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        await journal.append(record(RUN, 1))
        expire(postgres_database)
        expired = expiry(postgres_database)

        await append_all(journal, records(RUN, count, after=1))

        assert expiry(postgres_database) - expired > timedelta(hours=23)
        assert await other.orphans() == []


async def test_an_owner_that_was_superseded_renews_nothing_and_is_refused(
    dsn: str, postgres_database: Database
) -> None:
    async with (
        PostgresJournal.open(dsn, lease_s=2.4, patience_s=0.8) as journal,
        PostgresJournal.open(dsn) as heir,
    ):
        await journal.append(record(RUN, 1))
        expire(postgres_database)
        # It may renew before it is superseded.
        while not await heir.orphans():
            expire(postgres_database)
        claimed_until = expiry(postgres_database)
        held = journal._database._leases.get(RUN)
        assert held is not None

        with anyio.fail_after(20):
            while not held.is_superseded:
                await anyio.lowlevel.checkpoint()

        assert expiry(postgres_database) == claimed_until
        with pytest.raises(JournalConflict):
            await journal.append(record(RUN, 2))


async def test_nothing_is_renewed_of_a_run_that_has_ended(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        assert len(journal._database._leases) == 2

        await journal.append(record(RUN, 2, kind=CLOSED))

        assert [lease.run for lease in journal._database._leases.ours()] == [2]


def test_what_was_never_written_was_superseded_or_rests_too_long_is_not_renewed() -> None:
    leases, now = Leases(), 10 * LEFT_ALONE_S
    leases.hold("due", Held(1, 1, 1, renewed_at=now - 10, appended_at=now - 100))
    leases.hold("fresh", Held(2, 1, 1, renewed_at=now - 1, appended_at=now - 100))
    leases.hold("claimed", Held(3, 1, 1))
    leases.hold("superseded", Held(4, 1, 1, appended_at=now - 100, is_superseded=True))
    leases.hold("left alone", Held(5, 1, 1, renewed_at=now - 10, appended_at=now - LEFT_ALONE_S))

    assert [lease.run for lease in leases.due(now, 5)] == [1]


async def test_more_runs_than_can_be_remembered_are_refused(
    dsn: str, postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres_store, "OWNED_AT_MOST", 2)
    async with PostgresJournal.open(dsn) as journal:
        await journal.append(record("run.1", 1))

        with held(postgres_database):
            kept = [journal.append(record("run.1", 2)), journal.append(record("run.2", 1))]
            refused = journal.append(record("run.3", 1))

        for one in kept:
            await one
        with pytest.raises(JournalFailure, match="holds 2 runs that have not ended already"):
            await refused
        await journal.append(record("run.1", 3, kind=CLOSED))
        await journal.last(RunId("run.3"))
        await journal.append(record("run.3", 1))


@pytest.mark.parametrize("lease_s, patience_s", [(8, 8), (10, 5), (1, -1)])
async def test_a_lease_shorter_than_patience_is_refused(dsn: str, lease_s: float, patience_s: float) -> None:
    with pytest.raises(ContractViolation, match="more than twice as long"):
        async with PostgresJournal.open(dsn, lease_s=lease_s, patience_s=patience_s):
            pass


async def test_a_claimed_session_is_resumed_and_its_older_owner_reaches_its_provider_no_more(
    dsn: str, postgres_database: Database
) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        old_adapter, adapter = ScriptedAdapter(), ScriptedAdapter()
        owner = RealtimeSessionController(plain_sidecar(), old_adapter, journal, run_id="call-1")
        await owner.connect()
        await owner.send(RealtimeInputFrame.text("x"))
        expire(postgres_database)

        (orphan,) = await other.orphans()
        heir = await RealtimeSessionController.resume(plain_sidecar(), adapter, other, run_id=orphan.run_id)
        for _ in range(2):
            with pytest.raises(JournalConflict):
                await owner.send(RealtimeInputFrame.text("x"))
        await heir.send(RealtimeInputFrame.text("x"))
        await heir.close()

        assert old_adapter.calls == ["connect", "send"]
        assert adapter.calls == ["connect", "send", "close"]
        assert await other.orphans() == []
        numbers = [one.journal_seq for one in await read_all(other, RunId("call-1"))]
        assert numbers == [*range(1, len(numbers) + 1)]


async def test_a_live_owner_is_superseded_by_who_resumes(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as other:
        owner = RealtimeSessionController(plain_sidecar(), ScriptedAdapter(), journal, run_id="call-1")
        await owner.connect()

        heir = await RealtimeSessionController.resume(
            plain_sidecar(), ScriptedAdapter(), other, run_id="call-1"
        )

        with pytest.raises(JournalConflict):
            await owner.send(RealtimeInputFrame.text("x"))
        await heir.close()


async def test_a_batch_of_an_owner_and_of_a_superseded_one_writes_the_former(
    dsn: str, postgres_database: Database
) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as rival:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        await rival.append(record(RUN, 2, nonce="rival"))
        with held(postgres_database):
            lost = [journal.append(one) for one in records(RUN, 100, after=1)]
            kept = [journal.append(one) for one in records(OTHER_RUN, 100, after=1)]

        assert [(await one).journal_seq for one in kept] == [*range(2, 102)]
        for one in lost:
            with pytest.raises(JournalConflict):
                await one
        assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 101)
        assert len(await read_all(journal, RUN)) == 2
