"""What the page about fleets says of forgetting runs, said to a database that has some."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from realtime_async.journals import PostgresJournal
from realtime_async.ports import RealtimeSessionRecordKind
from realtime_async.testing.journal_contract import OTHER_RUN, RUN, append_all, read_all, record, records
from tests.postgres_server import Database

__all__: list[str] = []

PAGE = Path(__file__).parents[2] / "docs" / "howto-fleet.md"
CLOSED = RealtimeSessionRecordKind.CLOSED


@pytest.fixture
def forgetting() -> str:
    (_, statement) = re.findall(
        r"^```sql\n((?:SELECT|WITH).*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert isinstance(statement, str)
    assert "DELETE" in statement
    return statement


async def test_runs_that_ended_long_ago_are_forgotten_whole(
    postgres_database: Database, forgetting: str
) -> None:
    ended = attrs.evolve(record("run.today", 1, kind=CLOSED), timestamp_millis=4_000_000_000_000)
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        await append_all(journal, [*records(RUN, 100), record(RUN, 101, kind=CLOSED)])
        await append_all(journal, records(OTHER_RUN, 3))
        await journal.append(ended)

        postgres_database.execute(forgetting)

        assert await journal.last(RUN) is None
        assert await read_all(journal, RUN) == []
        assert await read_all(journal, OTHER_RUN) == records(OTHER_RUN, 3)
        assert await read_all(journal, ended.run_id) == [ended]
        for table, column in (("record", "run"), ("part", "run"), ("run", "id")):
            runs = postgres_database.execute(f"SELECT DISTINCT {column} FROM realtime_async.{table}")
            assert len(runs) == 2

    async with PostgresJournal.open(postgres_database.dsn) as journal:
        assert (await journal.append(record(RUN, 1, nonce="again"))).journal_seq == 1
