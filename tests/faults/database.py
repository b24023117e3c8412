"""
Restart the database server while calls go on, and tell what they noticed.

    python -m tests.faults.database [--calls N] [--killed] [SECONDS ...]

Each caller speaks like a clock, one frame every 20 ms; what could not be sent in time is sent at once afterwards.
What reached the provider, and what the journal holds in the end, is counted there.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import anyio
import anyio.to_thread
import attrs
import structlog

from realtime_async import Deadlines, RealtimeInputFrame, RealtimeSessionSidecar, open_session
from realtime_async.errors import AgentError
from realtime_async.journals import PostgresJournal
from realtime_async.journals._taken import Taken
from realtime_async.ports import JournalRecord, RealtimeSessionId, RunId, RunJournal
from realtime_async.testing.clock import BACKENDS
from tests.bench.stage import FRAME, FRAME_S, NullAdapter
from tests.postgres_server import Cluster, Database, cluster, databases

__all__ = ["Outage", "Tale", "broken_promises", "live_through"]

SIDECAR = RealtimeSessionSidecar.voice_defaults("restarted-database")
BEFORE_S = AFTER_S = 2.0


@attrs.frozen
class Outage:
    seconds: float
    """From when the server has ended until it is started again."""
    calls: int = 50
    how: signal.Signals = signal.SIGINT
    patience_s: float = 8.0
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    margin_s: float = BEFORE_S
    """How long the callers speak before, and after."""

    @property
    def is_within_patience(self) -> bool:
        # A server takes a moment to end, and another to begin.
        return self.seconds + 2.0 < self.patience_s


@attrs.define
class Tale:
    """What each side knows."""

    outage: Outage
    all_speak: anyio.Event = attrs.field(factory=anyio.Event)
    speaking: int = 0
    away_s: float = 0.0
    """From the order to stop until somebody was let in again."""
    sent: int = 0
    heard: defaultdict[str, list[float]] = attrs.field(factory=lambda: defaultdict(list))
    """When the provider heard each frame, by session."""
    lost: dict[str, str] = attrs.field(factory=dict)
    """The calls that ended before their time, and by what."""
    returned: list[JournalRecord] = attrs.field(factory=list)
    """The records that were said to be durable."""
    kept: dict[RunId, list[JournalRecord]] = attrs.field(factory=dict)

    @property
    def worst_gap_s(self) -> float:
        return max(
            later - earlier for times in self.heard.values() for earlier, later in itertools.pairwise(times)
        )

    @property
    def records_lost(self) -> int:
        kept = {(run_id, each.journal_seq): each for run_id, run in self.kept.items() for each in run}
        return sum(kept.get((each.run_id, each.journal_seq)) != each for each in self.returned)


class Provider(NullAdapter):
    """Notes when it hears something, and has nothing to say."""

    def __init__(self, tale: Tale) -> None:
        super().__init__()
        self._tale = tale

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        self._tale.heard[session_id].append(time.monotonic())
        return True

    async def receive(self, session_id: RealtimeSessionId) -> None:
        await anyio.sleep_forever()


class NotedJournal:
    """Remembers what it was given."""

    def __init__(self, inner: RunJournal) -> None:
        self._inner = inner
        self.taken: list[Taken] = []
        self.read, self.last, self.aclose = inner.read, inner.last, inner.aclose

    def append(self, record: JournalRecord) -> Taken:
        taken = self._inner.append(record)
        assert isinstance(taken, Taken)
        self.taken.append(taken)
        return taken


async def live_through(outage: Outage, server: Cluster, database: Database) -> Tale:
    tale = Tale(outage)
    leased_s = 3 * outage.patience_s
    async with PostgresJournal.open(database.dsn, patience_s=outage.patience_s, lease_s=leased_s) as opened:
        journal = NotedJournal(opened)
        over = anyio.Event()
        async with anyio.create_task_group() as calls:
            for number in range(outage.calls):
                calls.start_soon(_call, tale, journal, f"call-{number}", over)
            # The dials of a route are spread over time.
            await tale.all_speak.wait()
            await anyio.sleep(outage.margin_s)
            began = time.monotonic()
            await anyio.to_thread.run_sync(server.stop, outage.how)
            await anyio.sleep(outage.seconds)
            await anyio.to_thread.run_sync(server.start)
            tale.away_s = time.monotonic() - began
            await anyio.sleep(outage.margin_s)
            over.set()
        tale.returned = [taken.record for taken in journal.taken if taken.is_durable]
    async with PostgresJournal.open(database.dsn) as opened:
        for run_id in {taken.record.run_id for taken in journal.taken}:
            tale.kept[run_id] = [record async for record in opened.read(run_id)]
    return tale


async def _call(tale: Tale, journal: RunJournal, run_id: str, over: anyio.Event) -> None:
    adapter, frame = Provider(tale), RealtimeInputFrame.audio(FRAME)
    try:
        async with open_session(
            SIDECAR, adapter, journal, run_id=run_id, deadlines=tale.outage.deadlines
        ) as session:
            tale.speaking += 1
            if tale.speaking == tale.outage.calls:
                tale.all_speak.set()
            due = anyio.current_time()
            while not over.is_set():
                await anyio.sleep_until(due)
                await session.send(frame)
                tale.sent += 1
                due += FRAME_S
    except* AgentError as ended:
        tale.lost[run_id] = type(ended.exceptions[0]).__name__


def broken_promises(tale: Tale) -> Iterator[str]:
    if tale.records_lost:
        yield f"{tale.records_lost} records lost"
    if tale.outage.is_within_patience and tale.lost:
        yield f"{len(tale.lost)} calls lost, {sorted(set(tale.lost.values()))}"
    heard = sum(map(len, tale.heard.values()))
    if tale.outage.is_within_patience and heard != tale.sent:
        yield f"{tale.sent} frames sent, {heard} heard"


COLUMNS = "{:<22}{:<9}{:>8}{:>7}{:>7}{:>9}{:>9}{:>9}{:>9}{:>7}  {}"


def _line(name: str, backend: str, tale: Tale) -> str:
    return COLUMNS.format(
        name,
        backend,
        f"{tale.away_s:.1f} s",
        tale.outage.calls,
        len(tale.lost),
        "-" if tale.lost else f"{tale.worst_gap_s:.2f} s",
        tale.sent,
        sum(map(len, tale.heard.values())),
        len(tale.returned),
        tale.records_lost,
        ", ".join(broken_promises(tale)) or ", ".join(sorted(set(tale.lost.values()))) or "-",
    )


def outages(seconds: list[float], calls: int, how: signal.Signals) -> Iterator[tuple[str, Outage]]:
    """Each with what a journal and a session have for a default, and those that outlast that, with patience, too."""
    for each in seconds:
        outage = Outage(each, calls, how)
        yield f"{each:g} s", outage
        if not outage.is_within_patience:
            waiting = Deadlines(send=each + 20, gate=each + 20, journal=each + 20)
            yield f"{each:g} s, with patience", attrs.evolve(outage, patience_s=each + 10, deadlines=waiting)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.database", description=__doc__)
    parser.add_argument("seconds", nargs="*", type=float, default=[1.0, 5.0, 20.0])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--killed", action="store_true", help="the server cannot say goodbye")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    how = signal.SIGKILL if asked.killed else signal.SIGINT
    heads = ("away", "calls", "lost", "gap", "sent", "heard", "records", "lost", "not kept, or met")
    print(COLUMNS.format("server away for", "loop", *heads), flush=True)
    failed = False
    with cluster() as server, databases(server.admin_dsn) as maker:
        for name, outage in outages(asked.seconds, asked.calls, how):
            for backend in BACKENDS:
                with maker.database() as database:
                    tale = anyio.run(partial(live_through, outage, server, database), backend=backend)
                failed = failed or any(broken_promises(tale))
                print(_line(name, backend, tale), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
