"""A server that goes away, or has no time or no room: who waits, for how long, and what is left."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from realtime_async.errors import JournalCorrupt, JournalFailure
from realtime_async.journals import PostgresJournal, _group_commit
from realtime_async.ports import JournalCursor
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records
from tests.journals.test_postgres import held
from tests.postgres_server import Cluster, Database, DatabaseMaker

__all__: list[str] = []


@pytest.fixture
def dsn(postgres_database: Database) -> str:
    return postgres_database.dsn


# A server takes seconds to end and to begin, where the machine is busy; the end of patience has tests of its own.
patient = partial(PostgresJournal.open, patience_s=30.0, lease_s=90.0)


@contextmanager
def away(cluster: Cluster, how: signal.Signals = signal.SIGINT) -> Iterator[None]:
    cluster.stop(how)
    try:
        yield
    finally:
        cluster.start()


@pytest.mark.parametrize(
    "how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL], ids=["fast", "immediate", "killed"]
)
async def test_what_was_appended_while_the_server_was_away_lands_when_it_is_back(
    stoppable: DatabaseMaker, own_cluster: Cluster, how: signal.Signals
) -> None:
    with stoppable.database() as database:
        async with patient(database.dsn) as journal:
            await append_all(journal, [*records(RUN, 3), record(OTHER_RUN, 1)])

            with away(own_cluster, how):
                taken = [journal.append(one) for one in records(RUN, 200, after=3)]
                begun = journal.append(record("run.begun", 1))
                await anyio.lowlevel.checkpoint()
                assert not taken[0].is_durable
            cursors = [await one for one in taken]

            assert cursors[-1] == JournalCursor(RUN, 203)
            assert (await begun).journal_seq == 1
            assert await read_all(journal, RUN) == records(RUN, 203)
            assert await journal.append(record(OTHER_RUN, 2)) == JournalCursor(OTHER_RUN, 2)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL], ids=["immediate", "killed"])
async def test_what_has_returned_is_there_after_the_server_died(
    stoppable: DatabaseMaker, own_cluster: Cluster, how: signal.Signals
) -> None:
    """As a power cut would end it: nothing but what it had synced is left."""
    went_on = anyio.Event()

    async def write(run_id: str) -> None:
        nonlocal went_on
        for seq in itertools.count(1):
            await journal.append(record(run_id, seq))
            returned[run_id] = seq
            went_on.set()
            went_on = anyio.Event()

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await went_on.wait()

    returned: dict[str, int] = {}
    runs = [f"run.{number}" for number in range(5)]
    with stoppable.database() as database:
        async with patient(database.dsn) as journal, anyio.create_task_group() as writers:
            for run_id in runs:
                writers.start_soon(write, run_id)
            await until(lambda: len(returned) == 5 and min(returned.values()) >= 20)
            with away(own_cluster, how):
                before = dict(returned)
            await until(lambda: min(returned[run_id] - before[run_id] for run_id in runs) >= 10)
            writers.cancel_scope.cancel()

        async with PostgresJournal.open(database.dsn) as journal:
            for run_id in runs:
                kept = await read_all(journal, journal_run := record(run_id, 1).run_id)
                assert len(kept) >= returned[run_id]
                assert kept == records(journal_run, len(kept))


async def test_reading_waits_for_a_server_that_comes_back(
    stoppable: DatabaseMaker, own_cluster: Cluster
) -> None:
    async def look() -> None:
        started.set()
        found.append(await journal.last(RUN))

    found: list[JournalCursor | None] = []
    with stoppable.database() as database:
        async with patient(database.dsn) as journal:
            await append_all(journal, records(RUN, 3))
            started = anyio.Event()
            async with anyio.create_task_group() as tasks:
                with away(own_cluster):
                    tasks.start_soon(look)
                    await started.wait()

    assert found == [JournalCursor(RUN, 3)]


async def test_a_server_that_stays_away_stops_the_run_after_patience(
    stoppable: DatabaseMaker, own_cluster: Cluster
) -> None:
    with stoppable.database() as database:
        async with PostgresJournal.open(database.dsn, patience_s=0.8) as journal:
            await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
            with away(own_cluster):
                with pytest.raises(JournalFailure, match=r"run 'run\.contract' stopped at 2: .* went away"):
                    await journal.append(record(RUN, 2))
                # Patience is over for whoever comes later, too.
                with anyio.fail_after(2), pytest.raises(JournalFailure, match="stopped at 2"):
                    await journal.append(record(OTHER_RUN, 2))
                with pytest.raises(JournalFailure, match="cannot be read"):
                    await journal.last(RUN)

            assert await journal.last(RUN) == JournalCursor(RUN, 1)
            assert await journal.append(record(RUN, 2)) == JournalCursor(RUN, 2)


async def test_a_queue_that_waits_for_the_server_is_bounded(
    stoppable: DatabaseMaker, own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_group_commit, "MAX_RECORDS", 3)
    with stoppable.database() as database:
        async with patient(database.dsn) as journal:
            await journal.append(record(RUN, 1))
            with away(own_cluster):
                # The writer has the first; the others gather.
                journal.append(record(RUN, 2))
                while journal._commits._gathering.records:
                    await anyio.lowlevel.checkpoint()
                taken = [journal.append(one) for one in records(RUN, 3, after=2)]
                with pytest.raises(JournalFailure, match="3 records wait"):
                    journal.append(record(RUN, 6))

            for one in taken:
                await one
            await journal.append(record(RUN, 6))
            assert await read_all(journal, RUN) == records(RUN, 6)


async def test_closing_waits_for_a_server_that_comes_back(
    stoppable: DatabaseMaker, own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_group_commit, "CLOSING_S", 30.0)
    with stoppable.database() as database:
        async with patient(database.dsn) as journal:
            await journal.append(record(RUN, 1))
            own_cluster.stop()
            back = threading.Thread(target=own_cluster.start)
            journal.append(record(RUN, 2))
            back.start()
        back.join()

        async with PostgresJournal.open(database.dsn) as journal:
            assert await journal.last(RUN) == JournalCursor(RUN, 2)


async def test_a_statement_that_takes_too_long_stops_the_run_after_patience(
    dsn: str, postgres_database: Database
) -> None:
    async with PostgresJournal.open(dsn, patience_s=0.8) as journal:
        await journal.append(record(RUN, 1))
        with (
            held(postgres_database),
            pytest.raises(JournalFailure, match=r"a statement took too long; .* \(SQLSTATE 57014\)"),
        ):
            await journal.append(record(RUN, 2))

        assert await journal.last(RUN) == JournalCursor(RUN, 1)
        assert await journal.append(record(RUN, 2)) == JournalCursor(RUN, 2)


async def test_a_statement_that_was_cut_short_is_asked_again(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await journal.append(record(RUN, 1))
        with held(postgres_database):
            taken = journal.append(record(RUN, 2))
            while not postgres_database.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND application_name = 'realtime_async'"
            ):
                await anyio.lowlevel.checkpoint()

        assert await taken == JournalCursor(RUN, 2)
        assert await read_all(journal, RUN) == records(RUN, 2)


async def test_a_primary_that_became_read_only_is_waited_for(dsn: str, postgres_database: Database) -> None:
    """As after a failover: the new primary is found by connecting anew."""
    name = postgres_database.name
    async with PostgresJournal.open(dsn, patience_s=0.8) as journal:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        postgres_database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        postgres_database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'realtime_async'"
        )
        with pytest.raises(JournalFailure, match="its server is read-only"):
            await journal.append(record(RUN, 2))

        postgres_database.server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert await journal.append(record(OTHER_RUN, 2)) == JournalCursor(OTHER_RUN, 2)
        assert await journal.last(RUN) == JournalCursor(RUN, 1)
        assert await journal.append(record(RUN, 2)) == JournalCursor(RUN, 2)


@pytest.mark.parametrize("count", [1, 100])
async def test_what_the_server_refuses_is_not_written_and_not_tried_again(
    dsn: str, postgres_database: Database, count: int
) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await journal.append(record(RUN, 1))
        refuse(postgres_database, "53100")

        with (
            anyio.fail_after(5),
            pytest.raises(JournalFailure, match="the disk of its server is full; make room"),
        ):
            await append_all(journal, records(RUN, count, after=1))
        allow(postgres_database)

        assert await journal.last(RUN) == JournalCursor(RUN, 1)
        await append_all(journal, records(RUN, count, after=1))
        assert await read_all(journal, RUN) == records(RUN, count + 1)


def refuse(database: Database, state: str, times: int = 1000) -> None:
    """Let the server answer to new records, so often, as it does when something is wrong with it."""
    database.execute(
        "CREATE SEQUENCE public.refusals;"
        " CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
        f" IF nextval('public.refusals') <= {times} THEN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END IF;"
        " RETURN NULL; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT ON realtime_async.record EXECUTE FUNCTION public.refuse()"
    )


def allow(database: Database) -> None:
    database.execute("DROP TRIGGER refuse ON realtime_async.record; DROP FUNCTION public.refuse")


@pytest.mark.parametrize(
    "state, said",
    [
        ("XX001", "it is damaged"),
        ("0A000", "SQLSTATE 0A000; look at its log"),
        ("42P01", "its tables are gone"),
    ],
)
async def test_each_answer_of_the_server_says_what_to_do(
    dsn: str, postgres_database: Database, state: str, said: str
) -> None:
    async with PostgresJournal.open(dsn) as journal:
        refuse(postgres_database, state)

        with pytest.raises(JournalFailure, match=said) as raised:
            await journal.append(record(RUN, 1))

        assert isinstance(raised.value, JournalCorrupt) == (state == "XX001")


@pytest.mark.parametrize("state", ["40P01", "40001", "55P03", "53300", "25P03", "25P04", "57P05"])
async def test_what_passes_is_tried_again(dsn: str, postgres_database: Database, state: str) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await journal.append(record(RUN, 1))
        refuse(postgres_database, state, times=2)

        assert await journal.append(record(RUN, 2)) == JournalCursor(RUN, 2)

    assert postgres_database.execute("SELECT last_value FROM public.refusals") == [(3,)]


async def test_a_run_whose_records_are_gone_is_corrupt(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await append_all(journal, records(RUN, 5))
    postgres_database.execute("DELETE FROM realtime_async.record WHERE seq = 3")

    async with PostgresJournal.open(dsn) as journal:
        with pytest.raises(JournalCorrupt, match="has no record 3, but a record 4"):
            await read_all(journal, RUN)
        with pytest.raises(JournalCorrupt, match="not all of its records from 3 on"):
            await append_all(journal, records(RUN, 4, after=2))


async def test_records_beyond_where_their_run_stands_are_corrupt(
    dsn: str, postgres_database: Database
) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await append_all(journal, records(RUN, 3))
        postgres_database.execute("UPDATE realtime_async.run SET last_seq = 2")

    async with PostgresJournal.open(dsn) as journal:
        with pytest.raises(JournalCorrupt, match="beyond where their run stands"):
            await journal.append(record(RUN, 3, nonce="other"))


async def test_a_damaged_record_is_corrupt_and_named(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await append_all(journal, records(RUN, 3))
    postgres_database.execute("UPDATE realtime_async.record SET body = '{\"said\"' WHERE seq = 2")

    async with PostgresJournal.open(dsn) as journal:
        with pytest.raises(JournalCorrupt, match=r"record 2 of run 'run\.contract'") as raised:
            await read_all(journal, RUN)
        assert "said" not in raised.value.message
        with pytest.raises(JournalCorrupt, match="record 2"):
            await journal.append(record(RUN, 2))


async def test_a_record_whose_shared_text_is_gone_is_corrupt(dsn: str, postgres_database: Database) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await append_all(journal, records(RUN, 3))
        postgres_database.execute("DELETE FROM realtime_async.part")

        with pytest.raises(JournalCorrupt, match=r"record 1 of run 'run\.contract'"):
            await read_all(journal, RUN)


async def test_reading_a_closed_journal_says_so(dsn: str) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await journal.append(record(RUN, 1))
        await journal.aclose()

        for question in (journal.last(RUN), read_all(journal, RUN), journal.orphans(), journal.release(RUN)):
            with pytest.raises(JournalFailure, match="closed"):
                await question


async def test_what_the_server_forgot_is_prepared_again(postgres_database: Database) -> None:
    """As it does behind a transaction that was rolled back, whether the run is held here or begins."""
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        await append_all(journal, records(RUN, 3))
        for run_id, last in ((RUN, 3), (OTHER_RUN, 0)):
            connection = journal._database._writer._connection
            assert connection is not None
            connection.execute("DEALLOCATE ALL")

            await append_all(journal, records(run_id, 3, after=last))

            assert await read_all(journal, run_id) == records(run_id, last + 3)
            assert journal._database._writer._connection is connection
