"""What a durable record costs in PostgreSQL, beside a COPY of the same rows in the same commits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import attrs

from realtime_async import JournalRecord, RunId
from realtime_async.journals import PostgresJournal
from realtime_async.journals._compact import pack
from realtime_async.journals._group_commit import GroupCommit
from realtime_async.journals._postgres_link import Address
from realtime_async.journals._postgres_store import PostgresStore
from realtime_async.journals._taken import Batch, Taken
from tests.bench import raw_postgres
from tests.bench.figures import Figure, Row, Table, quantile
from tests.bench.goals import WRITE_TO_COPY
from tests.bench.raw_sqlite import Kept, kept
from tests.bench.stage import Effort, Loop, in_turn, recorded_run
from tests.postgres_server import Database, DatabaseMaker, cluster, databases

__all__ = ["postgres", "written_out"]

SIZES = (1, 8, 64, 512, 4_096, 16_384)
"""Rows of a commit; the last is nearly all that may gather behind one."""
APPENDERS = (1, 10, 100, 1000)
ROWS = 5_000
"""About as many as one reading has, however many appenders share them."""
COMMITS = 100
"""In one reading of a commit's waits, or as many as `MOST_ROWS` allow."""
FEWEST_COMMITS = 5
MOST_ROWS = 60_000

Run = Sequence[JournalRecord]


class WatchedStore(PostgresStore):
    """Remembers what was committed at once, and how long that took."""

    def __init__(self, dsn: str) -> None:
        super().__init__(Address.of(dsn), patience_s=8.0, lease_s=30.0)
        self.batches: list[list[Kept]] = []
        self.waits_s: list[float] = []

    def write(self, batch: Sequence[Taken]) -> None:
        began = time.perf_counter()
        super().write(batch)
        self.waits_s.append(time.perf_counter() - began)
        self.batches.append(kept(batch))
        assert all(taken.failure is None for taken in batch)


def postgres(effort: Effort, directory: Path) -> Iterator[Table]:
    with cluster() as server, databases(server.admin_dsn) as maker:
        yield _commits(effort, maker)
        for loop in Loop:
            yield _appenders(effort, maker, loop)


@contextmanager
def written_out(maker: DatabaseMaker) -> Iterator[Database]:
    """A database whose log was written out before, so that no reading pays for what the last one left."""
    with maker.database() as database:
        database.execute("CHECKPOINT")
        yield database


def _commits(effort: Effort, maker: DatabaseMaker) -> Table:
    """Single commits of a given size, without the way to the writer thread."""
    rows: list[Row] = []
    for size in SIZES:
        commits = max(FEWEST_COMMITS, min(COMMITS, effort.appends, MOST_ROWS // size))
        run = anyio.run(recorded_run, size * commits // 2 + 4)
        rounds = [_commit_waits(maker, run, size, number) for number in range(effort.rounds)]
        raw, mine = zip(*rounds, strict=True)
        ratios = (one / floor for one, floor in zip(mine, raw, strict=True))
        rows.append(Row(f"{size} rows", (Figure(raw), Figure(mine), Figure(ratios, WRITE_TO_COPY.get(size)))))
    return Table("commit, PostgreSQL", ("raw COPY p50 µs", "journal p50 µs", "× raw COPY"), rows)


def _commit_waits(maker: DatabaseMaker, run: Run, size: int, number: int) -> tuple[float, float]:
    taken = [Taken(each, pack(each), Batch(), is_repeat=False) for each in run]
    begin, rest = taken[:1], taken[1:]
    batches = [rest[first : first + size] for first in range(0, len(rest), size) if rest[first + size - 1 :]]

    texts = raw_postgres.blocks(map(kept, batches))
    raw_s: list[float] = []
    with written_out(maker) as database, raw_postgres.copying(database.admin_dsn) as copied:
        store = WatchedStore(database.dsn)
        store.open()
        store.write(begin)
        for turn, (batch, text) in enumerate(zip(batches, texts, strict=True), number):
            # By turns, as a disk is slow for seconds at a time.
            waited_s, _ = in_turn(turn, partial(copied, text), partial(store.write, batch))
            raw_s.append(waited_s)
        store.close()
    return quantile(raw_s, 0.5) * 1e6, quantile(store.waits_s[1:], 0.5) * 1e6


@attrs.frozen
class Reading:
    p50_us: float
    """Of an append, until it is durable."""
    rate: float
    """Rows a second."""
    per_commit: float
    to_raw: float
    """The time of all commits, as a multiple of that of COPY."""


def _appenders(effort: Effort, maker: DatabaseMaker, loop: Loop) -> Table:
    rows: list[Row] = []
    for count in APPENDERS:
        each = max(4, min(effort.appends, ROWS // count))
        run = anyio.run(recorded_run, each // 2)
        runs = [[attrs.evolve(one, run_id=RunId(f"run-{number}")) for one in run] for number in range(count)]
        read = [anyio.run(_appended, maker, runs, backend=loop) for _ in range(effort.rounds)]
        figures = zip(*(attrs.astuple(reading) for reading in read), strict=True)
        rows.append(Row(f"{count} appenders", [Figure(figure) for figure in figures]))
    columns = ("append p50 µs", "rows/s", "rows/commit", "commits × raw COPY")
    return Table(f"append until durable, PostgreSQL, {loop}", columns, rows)


async def _appended(maker: DatabaseMaker, runs: Sequence[Run]) -> Reading:
    waits: list[float] = []

    async def append_each(run: Run) -> None:
        for record in run:
            began = time.perf_counter()
            await journal.append(record)
            waits.append(time.perf_counter() - began)

    with written_out(maker) as database:
        store = WatchedStore(database.dsn)
        commits = GroupCommit(store, store.name)
        await commits.open()
        journal = PostgresJournal(store, commits)
        # A run begins with statements of its own, once.
        for first in [journal.append(run[0]) for run in runs]:
            await first
        begun = len(store.batches)
        started = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for run in runs:
                tasks.start_soon(append_each, run[1:])
        elapsed = time.perf_counter() - started
        await journal.aclose()
        batches = store.batches[begun:]
        raw = raw_postgres.copy(raw_postgres.blocks(batches), database.admin_dsn)
    return Reading(
        quantile(waits, 0.5) * 1e6,
        len(waits) / elapsed,
        len(waits) / len(batches),
        sum(store.waits_s[begun:]) / sum(raw.waits_s),
    )
