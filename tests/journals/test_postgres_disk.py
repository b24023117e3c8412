"""
A disk that is full for a server of ours: what was begun fails by saying so, what had returned is kept.

Its files may not grow beyond a size, which the server meets, and takes, as a disk without room.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from realtime_async.errors import JournalFailure
from realtime_async.journals import PostgresJournal
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records
from tests.postgres_server import Cluster, DatabaseMaker

__all__: list[str] = []

# More than a segment of its log, and half a page more than whole pages, so that the last is written in part.
ROOM = (1 << 20) + 4096


@contextmanager
def without_room(server: Cluster) -> Iterator[None]:
    server.stop()
    server.start(largest_file=ROOM)
    try:
        yield
    finally:
        server.stop()
        server.start()


async def fill(journal: PostgresJournal, returned: list[int]) -> None:
    while len(returned) < 50_000:
        cursors = await append_all(journal, records(RUN, 200, after=len(returned)))
        returned += [cursor.journal_seq for cursor in cursors]


async def test_a_full_disk_stops_the_run_and_keeps_what_had_returned(
    stoppable: DatabaseMaker, own_cluster: Cluster
) -> None:
    returned: list[int] = []
    with stoppable.database() as database:
        with without_room(own_cluster):
            async with PostgresJournal.open(database.dsn) as journal:
                await journal.append(record(OTHER_RUN, 1))
                with pytest.raises(
                    JournalFailure, match=r"the disk of its server is full; .* \(SQLSTATE 53100\)"
                ):
                    await fill(journal, returned)

        async with PostgresJournal.open(database.dsn) as journal:
            last = await journal.last(RUN)
            assert last is not None
            assert last.journal_seq >= len(returned) > 0
            assert await read_all(journal, RUN) == records(RUN, last.journal_seq)
            await append_all(journal, records(RUN, 200, after=last.journal_seq))
            await journal.append(record(OTHER_RUN, 2))
