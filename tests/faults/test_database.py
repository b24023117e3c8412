"""
What calls notice of a database server that is restarted, or killed, while they go on.

The outages are short; `nox -s database` has them at their real lengths.
"""

from __future__ import annotations

import signal

import pytest

from realtime_async import Deadlines
from tests.faults.database import Outage, broken_promises, live_through
from tests.postgres_server import Cluster, DatabaseMaker

__all__: list[str] = []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["stopped", "killed"])
async def test_calls_outlive_a_restart_of_the_server_and_no_record_is_lost(
    stoppable: DatabaseMaker, own_cluster: Cluster, how: signal.Signals
) -> None:
    # A busy machine may take long to start a server; what it has promised is no matter of time.
    patient = Deadlines(send=60, gate=60, journal=60)
    outage = Outage(0.2, calls=8, how=how, patience_s=30.0, deadlines=patient, margin_s=1.2)

    with stoppable.database() as database:
        tale = await live_through(outage, own_cluster, database)

    assert [*broken_promises(tale)] == []
    assert tale.lost == {}
    assert sum(map(len, tale.heard.values())) == tale.sent > 8 * 2 * 50
    assert len(tale.kept) == 8
    for run in tale.kept.values():
        assert [each.journal_seq for each in run] == [*range(1, len(run) + 1)]
        assert run[-1].payload.kind == "closed"


async def test_calls_that_lose_patience_end_and_what_had_returned_is_kept(
    stoppable: DatabaseMaker, own_cluster: Cluster
) -> None:
    # Each call writes once a second, which is time enough to lose patience before the server is back.
    outage = Outage(3.0, calls=4, patience_s=0.8, margin_s=1.2)

    with stoppable.database() as database:
        tale = await live_through(outage, own_cluster, database)

    assert set(tale.lost) == {f"call-{number}" for number in range(4)}
    assert set(tale.lost.values()) == {"JournalFailure"}
    assert tale.records_lost == 0
    assert len(tale.returned) > 4 * 3
