"""
A connection that is lost at any moment of a commit: nobody knows what became of it, until it is read back.

Every message that goes either way is lost in turn; no record may be missing then, and none be there twice.
"""

from __future__ import annotations

import attrs
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from realtime_async.journals import PostgresJournal
from realtime_async.ports import (
    JournalCursor,
    JournalRecord,
    RealtimeConnectionId,
    RealtimeSessionRecordKind,
    RunId,
)
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records
from tests.journals.cutting import Cut, CutWire, cut_wire
from tests.journals.silencing import SilentWire
from tests.postgres_server import Database

__all__: list[str] = []

MANY = 100
# Five commits come to a few messages more; records that come in more commits only add to them.
MOMENTS = {Cut.ASKED: 30, Cut.ANSWERED: 40}


async def append_in_every_way(journal: PostgresJournal, first: int) -> list[JournalRecord]:
    """
    Append few records and many, to a run that is held and to one that begins, also what shares no text with others.

    Returns:
        Those of RUN.
    """
    of_run = records(RUN, MANY + 5, after=first)
    payload = attrs.evolve(of_run[-1].payload, connection_id=RealtimeConnectionId(f"connection.{first}"))
    of_run[-1] = attrs.evolve(of_run[-1], payload=payload)
    begun = RunId(f"run.{first}")
    await append_all(journal, of_run[:3])
    await append_all(journal, of_run[3:-2])
    await append_all(journal, records(begun, 2))
    await append_all(journal, [record(begun, 3), of_run[-2]])
    await append_all(journal, of_run[-1:])
    return of_run


def through(wire: CutWire | SilentWire, dsn: str) -> str:
    return make_conninfo(dsn, port=wire.port, sslmode="disable", gssencmode="disable")


@pytest.mark.parametrize("cut", Cut)
async def test_wherever_the_connection_is_lost_all_is_written_once(
    postgres_database: Database, cut: Cut
) -> None:
    dsn = postgres_database.dsn
    with cut_wire(int(conninfo_to_dict(dsn)["port"] or 0), cut) as wire:
        async with PostgresJournal.open(through(wire, dsn)) as journal:
            appended, moments, was_cut = await append_in_every_way(journal, 0), 0, True
            while was_cut:
                moments += 1
                wire.arm(moments)
                before = appended[-1].journal_seq
                appended = await append_in_every_way(journal, before)
                was_cut = wire.was_cut
                wire.arm(-1)

                assert await read_all(journal, RUN, after=before) == appended
                begun = RunId(f"run.{before}")
                assert await read_all(journal, begun) == records(begun, 3)

    assert moments >= MOMENTS[cut]


async def test_what_was_lost_on_the_way_to_a_rivals_run_stays_the_rivals(postgres_database: Database) -> None:
    dsn = postgres_database.dsn
    with cut_wire(int(conninfo_to_dict(dsn)["port"] or 0), Cut.ANSWERED) as wire:
        async with PostgresJournal.open(through(wire, dsn)) as journal, PostgresJournal.open(dsn) as rival:
            await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
            await rival.append(record(RUN, 2, nonce="rival"))
            wire.arm(1)

            lost, kept = journal.append(record(RUN, 2)), journal.append(record(OTHER_RUN, 2))

            await kept
            with pytest.raises(Exception, match="has another record at 2"):
                await lost
            assert wire.was_cut


async def test_a_run_whose_end_was_written_is_held_no_more_though_the_answer_was_lost(
    postgres_database: Database,
) -> None:
    """Its lease would be renewed for hours, and letting it go would refuse the session that follows."""
    dsn = postgres_database.dsn
    with cut_wire(int(conninfo_to_dict(dsn)["port"] or 0), Cut.ANSWERED) as wire:
        async with PostgresJournal.open(through(wire, dsn)) as journal:
            await journal.append(record(RUN, 1))
            wire.arm(1)

            await journal.append(record(RUN, 2, kind=RealtimeSessionRecordKind.CLOSED))

            assert wire.was_cut
            assert len(journal._database._leases) == 0
            await journal.release(RUN)
            assert await journal.append(record(RUN, 3)) == JournalCursor(RUN, 3)
