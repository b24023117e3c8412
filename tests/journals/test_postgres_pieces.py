"""What is too long for one statement goes by COPY, or in several of them, and is written as if it had gone in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import DiskFull, QueryCanceled

from realtime_async.errors import JournalConflict
from realtime_async.journals import PostgresJournal, _postgres_store
from realtime_async.journals._compact import pack
from realtime_async.journals._postgres_advances import Advance, pieces
from realtime_async.journals._postgres_copying import advance_by_copy
from realtime_async.journals._postgres_schema import Connection
from realtime_async.journals._postgres_writing import advance
from realtime_async.journals._taken import Batch, Taken
from realtime_async.ports import JournalRecord, RealtimeSessionRecordKind, RunId
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records
from tests.journals.cutting import Cut, cut_wire
from tests.journals.test_postgres_lost_answers import through
from tests.postgres_server import Database

__all__: list[str] = []

# A body has some 150 characters, so that a piece has a few records.
SHORT = 1_000
CLOSED = RealtimeSessionRecordKind.CLOSED


@attrs.frozen
class Ways:
    """What went each way to the database, of what was short of room."""

    stated: list[list[JournalRecord]] = attrs.field(factory=list)
    copied: list[list[JournalRecord]] = attrs.field(factory=list)
    may_copy: bool = True

    def forget(self) -> None:
        self.stated.clear()
        self.copied.clear()

    def check(self, count: int) -> None:
        """That *count* records went in pieces, and large ones as they should."""
        assert sum(map(len, self.stated + self.copied)) == count
        assert max(map(len, self.stated + self.copied), default=0) < 20
        assert bool(self.copied) is (self.may_copy and count > 0)


@pytest.fixture(params=[True, False], ids=["copy", "no-copy"])
def ways(
    request: pytest.FixtureRequest, postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> Ways:
    ways = Ways(may_copy=request.param)
    if not ways.may_copy:
        postgres_database.execute(f"REVOKE TEMPORARY ON DATABASE {postgres_database.name} FROM PUBLIC")

    def watched(
        seen: list[list[JournalRecord]], way: Callable[..., Sequence[Advance]]
    ) -> Callable[..., Sequence[Advance]]:
        def watch(connection: Connection, advances: Sequence[Advance], **how: object) -> Sequence[Advance]:
            written = way(connection, advances, **how)
            seen.append([taken.record for each in advances for taken in each.batch])
            return written

        return watch

    monkeypatch.setattr(_postgres_store, "STATED", SHORT)
    monkeypatch.setattr(_postgres_store, "COPIED", 3 * SHORT // 2)
    monkeypatch.setattr(_postgres_store, "advance", watched(ways.stated, advance))
    monkeypatch.setattr(_postgres_store, "advance_by_copy", watched(ways.copied, advance_by_copy))
    return ways


def taken(run_id: RunId, sizes: Sequence[int]) -> list[Taken]:
    texts = pack(record(run_id, 1))[:3]
    return [
        Taken(record(run_id, seq), (*texts, "x" * size), Batch(), is_repeat=False)
        for seq, size in enumerate(sizes, 1)
    ]


@given(
    st.lists(st.lists(st.sampled_from([1, SHORT // 3, SHORT - 1, SHORT, 5 * SHORT]), min_size=1), max_size=5)
)
def test_pieces_are_the_whole_in_order_and_none_has_more_than_its_room(sizes: list[list[int]]) -> None:
    runs = {RunId(f"run-{number}"): taken(RunId(f"run-{number}"), each) for number, each in enumerate(sizes)}

    cut = [dict(piece) for piece in pieces(runs, SHORT)]

    for run_id, whole in runs.items():
        assert [one for piece in cut for one in piece.get(run_id, ())] == whole
    for piece in cut:
        batches = list(piece.values())
        assert all(batches)
        before_the_last = [*(one for batch in batches for one in batch)][:-1]
        assert sum(len(one.packed[-1]) for one in before_the_last) < SHORT
    # None is cut off before it is full.
    for piece in cut[:-1]:
        assert sum(len(one.packed[-1]) for batch in piece.values() for one in batch) >= SHORT


async def test_what_comes_at_once_is_written_in_statements_of_limited_length(
    postgres_database: Database, ways: Ways
) -> None:
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        ways.forget()

        # Taken within one turn of the loop: the writer has the first of them, and the rest comes in one batch.
        waiting = [
            journal.append(one)
            for pair in zip(records(RUN, 100, after=1), records(OTHER_RUN, 100, after=1), strict=True)
            for one in pair
        ]
        for one in waiting:
            await one

        ways.check(200)
        assert await read_all(journal, RUN) == records(RUN, 101)
        assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 101)


@pytest.mark.parametrize("ways", [True], indirect=True, ids=["copy"])
@pytest.mark.parametrize("error", [DiskFull, QueryCanceled])
async def test_what_a_copy_meets_is_written_by_statements(
    postgres_database: Database, ways: Ways, error: type[psycopg.Error], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the disk for temporary tables is full, or the way to the server is slow."""
    copied: list[int] = []
    by_copy: Callable[..., Sequence[Advance]] = vars(_postgres_store)["advance_by_copy"]

    def failing(connection: Connection, advances: Sequence[Advance], **how: object) -> Sequence[Advance]:
        copied.append(len(advances))
        if len(copied) == 2:
            with connection.transaction():
                connection.execute("SELECT 1")
                raise error
        return by_copy(connection, advances, **how)

    monkeypatch.setattr(_postgres_store, "advance_by_copy", failing)
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        ways.forget()

        await append_all(journal, [*records(RUN, 100, after=1), *records(OTHER_RUN, 100, after=1)])

        # How many batches come of this is the writer's affair: one that begins later goes by COPY again.
        assert len(copied) >= 2
        assert ways.stated
        assert await read_all(journal, RUN) == records(RUN, 101)
        assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 101)


@pytest.mark.parametrize("ways", [False], indirect=True, ids=["no-copy"])
async def test_a_right_that_was_taken_away_since_it_was_asked_for_stops_nobody(
    postgres_database: Database, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres_store, "may_copy", lambda connection: True)
    # Without patience, nothing is asked again: not even what was prepared, and is forgotten behind the refusal.
    async with PostgresJournal.open(postgres_database.dsn, patience_s=0) as journal:
        for one in (*records(RUN, 3), *records(OTHER_RUN, 3)):
            await journal.append(one)
        ways.forget()

        await append_all(journal, [*records(RUN, 100, after=3), *records(OTHER_RUN, 100, after=3)])

        ways.check(200)
        assert await read_all(journal, RUN) == records(RUN, 103)
        assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 103)


@pytest.mark.parametrize("cut", Cut)
async def test_a_connection_lost_between_or_within_pieces_leaves_all_written_once(
    postgres_database: Database, ways: Ways, cut: Cut
) -> None:
    dsn = postgres_database.dsn
    with cut_wire(int(conninfo_to_dict(dsn)["port"] or 0), cut) as wire:
        async with PostgresJournal.open(through(wire, dsn)) as journal:
            await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
            last, moments, was_cut = 1, 0, True
            while was_cut:
                moments += 1
                wire.arm(moments)
                await append_all(
                    journal, [*records(RUN, 20, after=last), *records(OTHER_RUN, 20, after=last)]
                )
                was_cut = wire.was_cut
                wire.arm(-1)
                for run_id in (RUN, OTHER_RUN):
                    assert await read_all(journal, run_id, after=last) == records(run_id, 20, after=last)
                last += 20

    # A message each way for every statement, at the least.
    assert moments > 5
    assert bool(ways.copied) is ways.may_copy


async def test_of_a_run_that_was_taken_over_no_piece_is_written_and_the_others_land(
    postgres_database: Database, ways: Ways
) -> None:
    dsn = postgres_database.dsn
    async with PostgresJournal.open(dsn) as journal, PostgresJournal.open(dsn) as rival:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])
        await rival.append(record(RUN, 2, nonce="rival"))

        ours: list[JournalRecord] = records(RUN, 40, after=1)
        lost = [journal.append(one) for one in ours]
        kept = [journal.append(one) for one in records(OTHER_RUN, 40, after=1)]

        for one in kept:
            await one
        for one in lost:
            with pytest.raises(JournalConflict, match="has another record at 2"):
                await one
        assert await read_all(rival, RUN) == [record(RUN, 1), record(RUN, 2, nonce="rival")]
        assert await read_all(rival, OTHER_RUN) == records(OTHER_RUN, 41)


async def test_a_session_that_ends_where_a_piece_ends_is_followed_by_the_next(
    postgres_database: Database, ways: Ways
) -> None:
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        await journal.append(record(RUN, 1))
        for last in range(1, 200, 20):
            # Sessions of different lengths, so that one of them ends with a piece.
            of_run = records(RUN, 20, after=last)
            end = 3 + last // 20
            of_run[end] = record(RUN, of_run[end].journal_seq, kind=CLOSED)

            await append_all(journal, of_run)

            assert await read_all(journal, RUN, after=last) == of_run
    assert any(records[-1].payload.kind is CLOSED for records in ways.stated + ways.copied)


@pytest.mark.parametrize("stored", [0, 1, 30, 60])
async def test_what_is_judged_is_written_in_pieces_too(
    postgres_database: Database, ways: Ways, stored: int
) -> None:
    dsn = postgres_database.dsn
    if stored:
        async with PostgresJournal.open(dsn) as before:
            await append_all(before, [*records(RUN, stored), *records(OTHER_RUN, stored)])
        ways.forget()

    async with PostgresJournal.open(dsn) as journal:
        # Nothing of them is held here: whoever doesn't know what became of his records brings them all again.
        await append_all(journal, [*records(RUN, 60), *records(OTHER_RUN, 60)])

        ways.check(2 * (60 - stored))
        assert await read_all(journal, RUN) == records(RUN, 60)
        assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 60)
