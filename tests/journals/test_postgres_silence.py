"""
A server that is there and says nothing: nobody waits for ever, and what arrives much later does no harm.

The way to it stays open and passes nothing on, so no system call ever fails.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from realtime_async import open_session
from realtime_async._core.recovery import fold
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.errors import JournalConflict, JournalFailure
from realtime_async.journals import PostgresJournal, open_journal
from realtime_async.journals._postgres_link import GRACE_S
from realtime_async.ports import RunId
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records
from tests.controller.staged import audio, plain_sidecar
from tests.journals.cutting import Cut
from tests.journals.silencing import SilentWire, silent_wire
from tests.postgres_server import PASSWORD, Database

__all__: list[str] = []

PATIENCE_S = 0.8
# An attempt to connect takes three seconds at most, and one may follow another; a busy machine has the rest.
BOUND_S = 20.0


@pytest.fixture
def wire(postgres_database: Database) -> Iterator[SilentWire]:
    with silent_wire(int(conninfo_to_dict(postgres_database.dsn)["port"] or 0)) as wire:
        yield wire


@pytest.fixture
def through(postgres_database: Database, wire: SilentWire) -> str:
    return make_conninfo(
        postgres_database.dsn, port=wire.port, sslmode="disable", gssencmode="disable", connect_timeout=2
    )


@pytest.mark.parametrize("count", [2, 100], ids=["a few rows", "a hundred rows"])
@pytest.mark.parametrize("held", Cut)
async def test_a_connection_that_went_silent_is_left_and_all_is_written_once(
    wire: SilentWire, through: str, held: Cut, count: int
) -> None:
    begun = RunId("run.begun")
    with anyio.fail_after(BOUND_S):
        async with PostgresJournal.open(through, patience_s=PATIENCE_S) as journal:
            await append_all(journal, records(RUN, 3))
            wire.silence(held, those_to_come=False)
            silent_since = time.monotonic()

            taken = [journal.append(one) for one in [*records(RUN, count, after=3), *records(begun, 2)]]
            for one in taken:
                await one

            # By then a server would have ended a statement that took too long.
            assert time.monotonic() - silent_since >= PATIENCE_S + GRACE_S
            # What the connection still had under way comes to the server now.
            await anyio.to_thread.run_sync(wire.let_go)
            await journal.append(record(RUN, count + 4))
            assert await read_all(journal, RUN) == records(RUN, count + 4)
            assert await read_all(journal, begun) == records(begun, 2)


@pytest.mark.parametrize("held", Cut)
async def test_while_nothing_answers_a_run_stops_in_time_and_another_worker_has_it(
    postgres_database: Database, wire: SilentWire, through: str, held: Cut
) -> None:
    with anyio.fail_after(2 * BOUND_S):
        async with PostgresJournal.open(postgres_database.dsn) as rival:
            async with PostgresJournal.open(through, patience_s=PATIENCE_S, lease_s=2.4) as journal:
                await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
                # From then on the server knows the statement, so that the next needs no answer but its own.
                await journal.append(record(OTHER_RUN, 2))
                wire.silence(held, those_to_come=True)
                lost = journal.append(record(RUN, 2))
                await anyio.to_thread.run_sync(wire.wait_until_something_is_held)

                with pytest.raises(JournalFailure, match="does not answer") as stopped:
                    await lost
                assert PASSWORD not in str(stopped.value)
                with pytest.raises(JournalFailure):
                    await journal.append(record(RUN, 3))

            # Its lease is over, and whoever takes the run up reads where it stands.
            orphans = {orphan.run_id: orphan.last_seq for orphan in await rival.orphans()}
            assert set(orphans) == {RUN, OTHER_RUN}
            stands = orphans[RUN]
            # What was never answered was done; what was never passed on was not.
            assert stands == (2 if held is Cut.ANSWERED else 1)
            await rival.append(record(RUN, stands + 1, nonce="rival"))
            await anyio.to_thread.run_sync(wire.let_go)

            expected = [*records(RUN, stands), record(RUN, stands + 1, nonce="rival")]
            assert await read_all(rival, RUN) == expected
            await rival.append(record(RUN, stands + 2, nonce="rival"))


async def test_what_an_owner_sent_before_it_was_superseded_is_refused_though_it_comes_later(
    postgres_database: Database, wire: SilentWire, through: str
) -> None:
    with anyio.fail_after(BOUND_S):
        async with (
            PostgresJournal.open(postgres_database.dsn) as rival,
            PostgresJournal.open(through, patience_s=PATIENCE_S) as journal,
        ):
            await append_all(journal, records(RUN, 2))
            wire.silence(Cut.ASKED, those_to_come=False)
            late = journal.append(record(RUN, 3))
            await anyio.to_thread.run_sync(wire.wait_until_something_is_held)
            await rival.append(record(RUN, 3, nonce="rival"))
            await anyio.to_thread.run_sync(wire.let_go_at_once)

            with pytest.raises(JournalConflict):
                await late

            assert await read_all(rival, RUN) == [*records(RUN, 2), record(RUN, 3, nonce="rival")]


async def test_a_call_goes_on_with_its_totals_right_though_its_connection_went_silent(
    wire: SilentWire, through: str
) -> None:
    adapter = ScriptedAdapter()
    with anyio.fail_after(BOUND_S):
        async with PostgresJournal.open(through, patience_s=PATIENCE_S) as journal:
            async with open_session(plain_sidecar(), adapter, journal, run_id=RUN) as session:
                await session.send(audio())
                wire.silence(Cut.ANSWERED, those_to_come=False)
                for _ in range(5):
                    await session.send(audio())
                await anyio.to_thread.run_sync(wire.let_go)
                await session.send(audio())
            run = fold(await read_all(journal, RUN))

    (folded,) = run.values()
    assert folded.terminal is not None
    assert folded.delivery().sent == session.delivery.sent == len(adapter.sent) == 7
    assert session.delivery.accepted == 7


async def test_nobody_waits_for_ever_to_open_or_to_read(
    wire: SilentWire, through: str, postgres_database: Database
) -> None:
    with anyio.fail_after(2 * BOUND_S):
        async with PostgresJournal.open(through, patience_s=PATIENCE_S) as journal:
            await append_all(journal, records(RUN, 3))
            assert await read_all(journal, RUN) == records(RUN, 3)
            wire.silence(Cut.ANSWERED, those_to_come=True)

            with pytest.raises(JournalFailure, match="cannot be read: its server does not answer"):
                await read_all(journal, RUN)
            with pytest.raises(JournalFailure, match="cannot be opened: its server does not answer"):
                async with PostgresJournal.open(through, patience_s=PATIENCE_S):
                    pass
            host = f"127.0.0.1:{wire.port}"
            url = f"postgresql://somebody:{PASSWORD}@{host}/{postgres_database.name}?sslmode=disable&connect_timeout=2"
            with pytest.raises(JournalFailure, match="does not answer") as unread:
                async with open_journal(url):
                    pass
            assert PASSWORD not in str(unread.value)
            await anyio.to_thread.run_sync(wire.let_go_at_once)
