"""Who owns a run, and until when."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import anyio
import anyio.lowlevel
import pytest

from realtime_async import RealtimeInputFrame, RealtimeSessionController
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.errors import ContractViolation, JournalConflict, JournalFailure
from realtime_async.journals import PostgresJournal, _postgres_store
from realtime_async.journals._postgres_leases import LEFT_ALONE_S, Held, Leases
from realtime_async.ports import (
    JournalCursor,
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


@pytest.fixture
def dsn(postgres_database: Database) -> str:
    return postgres_database.dsn


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


class Clock:
    """The monotonic one, set ahead."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


async def test_claims_that_nobody_followed_up_are_forgotten_in_time(
    dsn: str, postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, remembered = Clock(), list[int]()
    monkeypatch.setattr(_postgres_store, "time", clock)
    async with PostgresJournal.open(dsn) as dead, PostgresJournal.open(dsn, lease_s=30) as journal:
        await append_all(dead, [record(f"run.{number}", 1) for number in range(6)])
        expire(postgres_database)
        for _ in range(3):
            await journal.orphans(limit=2)
            remembered.append(len(journal._database._leases))
            clock.ahead_s += 40

        # What was claimed 80 s before is gone, and what was claimed 40 s before may be resumed still.
        assert remembered == [2, 4, 4]


async def test_claims_that_nobody_followed_up_take_no_place_of_a_run_that_begins(
    dsn: str, postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(_postgres_store, "time", clock)
    monkeypatch.setattr(_postgres_store, "OWNED_AT_MOST", 2)
    async with PostgresJournal.open(dsn) as dead, PostgresJournal.open(dsn, lease_s=30) as journal:
        await append_all(dead, [record("run.1", 1), record("run.2", 1)])
        expire(postgres_database)
        await journal.orphans()
        with pytest.raises(JournalFailure, match="holds 2 runs"):
            await journal.append(record("run.3", 1))

        clock.ahead_s = 60
        await journal.append(record("run.4", 1))

        # Who resumes one after all takes it over, as by its id.
        assert await journal.last(RunId("run.1")) == JournalCursor(RunId("run.1"), 1)
        await journal.append(record("run.1", 2, nonce="heir"))


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


@pytest.mark.parametrize("lease_s", [float("inf"), 1e30, 86_401])
async def test_a_lease_without_a_sensible_end_is_refused(dsn: str, lease_s: float) -> None:
    with pytest.raises(ContractViolation, match="86400 s at most"):
        async with PostgresJournal.open(dsn, lease_s=lease_s):
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


@pytest.mark.parametrize("written", [0, 1], ids=["claimed", "written"])
async def test_a_batch_of_an_owner_and_of_a_superseded_one_writes_the_former(
    dsn: str, postgres_database: Database, written: int
) -> None:
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as rival:
        first = RunId("run.first")
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1), record(first, 1)])
        postgres_database.execute(
            f"UPDATE realtime_async.run SET expires_at = expires_at - interval '1 day' WHERE run_id = '{RUN}'"
        )
        assert [orphan.run_id for orphan in await rival.orphans()] == [RUN]
        await append_all(rival, [record(RUN, 2, nonce="rival")][:written])
        with held(postgres_database):
            # The writer begins with this one alone, and all others gather behind it.
            begun = journal.append(record(first, 2))
            lost = [journal.append(one) for one in records(RUN, 100, after=1)]
            kept = [journal.append(one) for one in records(OTHER_RUN, 100, after=1)]

        assert (await begun).journal_seq == 2
        assert [(await one).journal_seq for one in kept] == [*range(2, 102)]
        for one in lost:
            with pytest.raises(JournalConflict):
                await one
        assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 101)
        assert len(await read_all(journal, RUN)) == 1 + written
