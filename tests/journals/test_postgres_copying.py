"""A worker that is stopped while the server reads a large batch of it keeps nobody from anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import anyio
import anyio.to_thread
import pytest
from psycopg.conninfo import conninfo_to_dict

from realtime_async.errors import JournalConflict
from realtime_async.journals import PostgresJournal, _postgres_copying, _postgres_store
from realtime_async.journals._postgres_advances import Advance
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records
from tests.journals.cutting import Cut
from tests.journals.silencing import SilentWire, silent_wire
from tests.journals.test_postgres_lost_answers import through
from tests.postgres_server import Database

__all__: list[str] = []

# Far less than the server's patience with a lock, and the lease's.
AT_ONCE_S = 5.0
OURS = 300


@pytest.fixture
def wire(postgres_database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentWire]:
    """A way to the server on which nothing is passed on any more once the second row of a COPY is to be sent."""
    rows_of = _postgres_copying._rows
    with silent_wire(int(conninfo_to_dict(postgres_database.dsn)["port"] or 0)) as wire:

        def rows(advances: Sequence[Advance]) -> Iterator[tuple[int | str, ...]]:
            rows = rows_of(advances)
            yield next(rows)
            wire.silence(Cut.ASKED, those_to_come=False)
            yield from rows

        monkeypatch.setattr(_postgres_copying, "_rows", rows)
        monkeypatch.setattr(_postgres_store, "STATED", 1_000)
        yield wire


async def test_whoever_takes_a_run_over_waits_for_nobody_who_is_stopped_within_a_copy(
    postgres_database: Database, wire: SilentWire
) -> None:
    dsn = postgres_database.dsn
    # Some 40 KB, of which the driver sends the first part before it has the last.
    ours = records(RUN, OURS, after=1)
    rivals = record(RUN, 2, nonce="rival")
    async with PostgresJournal.open(dsn) as rival, PostgresJournal.open(through(wire, dsn)) as journal:
        await append_all(journal, [record(RUN, 1), record(OTHER_RUN, 1)])

        lost = [journal.append(one) for one in ours]
        kept = [journal.append(one) for one in records(OTHER_RUN, 3, after=1)]
        await anyio.to_thread.run_sync(wire.wait_until_something_is_held)
        assert postgres_database.execute("SELECT relid FROM pg_stat_progress_copy")
        with anyio.fail_after(AT_ONCE_S):
            assert await read_all(rival, RUN) == [record(RUN, 1)]
            await rival.append(rivals)

        wire.let_go_at_once()
        for one in kept:
            await one
        for one in lost:
            with pytest.raises(JournalConflict):
                await one
        assert await read_all(rival, RUN) == [record(RUN, 1), rivals]
        assert await read_all(rival, OTHER_RUN) == records(OTHER_RUN, 4)
