"""What a durable record costs: how long its append waits, and how many fit into a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import attrs

from realtime_async import JournalRecord, RunId
from realtime_async._posting import poster
from realtime_async.journals._codec import encode
from realtime_async.journals._sqlite_file import SqliteFile
from realtime_async.journals._taken import Taken
from tests.bench import raw_sqlite
from tests.bench.figures import Figure, Row, Table, quantile
from tests.bench.goals import (
    APPEND_TO_COMMIT,
    TEN_APPENDERS_TO_ONE,
    THROUGHPUT_TO_RAW,
    UNSTORED_APPEND_US,
)
from tests.bench.stage import Effort, Loop, in_turn, recorded_run, sqlite_journal
from tests.bench.yardstick import TRIP_US, at_goals_speed, between

__all__ = ["COLUMNS", "Waits", "append_waits", "rows", "throughput"]

COLUMNS = ("p50 µs", "p50 µs at goals' speed", "× raw commit of one row", "× one appender")
TEN = 10

RUNS = 100
RAW_BATCH = 100

Run = Sequence[JournalRecord]


class CountedFile(SqliteFile):
    """Counts its commits, and remembers nothing of them: what their rows are is known."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "full")
        self.commits = 0

    def write(self, batch: Sequence[Taken]) -> None:
        self.commits += 1
        super().write(batch)


class UnstoredFile(CountedFile):
    """Calls everything durable and writes nothing: what is left is the way to the writer thread and back."""

    def write(self, batch: Sequence[Taken]) -> None:
        self.commits += 1


@attrs.frozen
class Appended:
    """What appenders met that awaited each record before the next, side by side."""

    waits_s: tuple[float, ...]
    elapsed_s: float
    commits: int

    @property
    def p50_us(self) -> float:
        return quantile(self.waits_s, 0.5) * 1e6


@attrs.frozen
class Waits:
    """One round; p50 in µs."""

    raw: float
    raw_ten: float
    """A commit of ten rows, each of another run."""
    trip: float
    """To a thread and back, beside the appends without storage."""
    unstored: float
    one: float
    ten: float


@attrs.frozen
class Rates:
    """One round; rows a second."""

    raw: float
    """Of the short rows that a journal writes."""
    raw_whole: float
    """Of records as their public JSON, which a plain journal would write."""
    mine: float
    per_commit: float


def append_waits(effort: Effort, directory: Path) -> Iterator[Table]:
    runs = anyio.run(_runs, TEN, effort.appends // 2)
    for loop in Loop:
        rounds = [_waits(loop, runs, directory, number) for number in range(effort.rounds)]
        yield Table(f"append until durable, SQLite full, {loop}", COLUMNS, rows(loop, rounds))


def rows(loop: Loop, rounds: Sequence[Waits]) -> list[Row]:
    """What the table says; the goal of an append without storage is held against its wait at the goals' speed."""
    trip, unstored = Figure(each.trip for each in rounds), Figure(each.unstored for each in rounds)
    at_goals = Figure(
        (at_goals_speed(each.unstored, each.trip, TRIP_US[loop]) for each in rounds),
        UNSTORED_APPEND_US[loop],
    )
    to_commit = Figure((each.one / each.raw for each in rounds), APPEND_TO_COMMIT[loop])
    raw_ten = Figure(each.raw_ten / each.raw for each in rounds)
    to_one = Figure((each.ten / each.one for each in rounds), TEN_APPENDERS_TO_ONE)
    return [
        Row("raw sqlite3, one row a commit", (Figure(each.raw for each in rounds), None, None, None)),
        Row("raw sqlite3, ten rows a commit", (Figure(each.raw_ten for each in rounds), None, raw_ten, None)),
        Row("a thread and back, by a bare lock", (trip, None, None, None)),
        Row("no storage, one appender", (unstored, at_goals, None, None)),
        Row("one appender", (Figure(each.one for each in rounds), None, to_commit, None)),
        Row("10 appenders", (Figure(each.ten for each in rounds), None, None, to_one)),
    ]


def throughput(effort: Effort, directory: Path) -> Iterator[Table]:
    runs = anyio.run(_runs, RUNS, effort.runs_appends)
    for loop in Loop:
        rounds = [_rates(loop, runs, directory, number) for number in range(effort.rounds)]
        to_raw = Figure((each.mine / each.raw for each in rounds), THROUGHPUT_TO_RAW[loop])
        to_whole = Figure(each.mine / each.raw_whole for each in rounds)
        batch = Figure([RAW_BATCH])
        yield Table(
            f"throughput, SQLite full, {RUNS} interleaved runs, {loop}",
            ("rows/s", "× raw", "× raw, whole records", "rows/commit"),
            [
                Row("raw sqlite3, executemany", (Figure(each.raw for each in rounds), None, None, batch)),
                Row(
                    "the same, whole records as JSON",
                    (Figure(each.raw_whole for each in rounds), None, None, batch),
                ),
                Row(
                    f"{RUNS} appenders",
                    (
                        Figure(each.mine for each in rounds),
                        to_raw,
                        to_whole,
                        Figure(each.per_commit for each in rounds),
                    ),
                ),
            ],
        )


async def _runs(count: int, frames: int) -> list[list[JournalRecord]]:
    """Runs of two records a frame, as a session without spans writes them."""
    run = await recorded_run(frames)
    return [
        [attrs.evolve(record, run_id=RunId(f"run-{number}")) for record in run] for number in range(count)
    ]


def _waits(loop: Loop, runs: Sequence[Run], directory: Path, number: int) -> Waits:
    numbers = raw_sqlite.Numbers()
    one_by_one = [[numbers.row(record)] for record in runs[0]]
    ten_by_ten = [[numbers.row(record) for record in records] for records in zip(*runs, strict=True)]
    raw, one = in_turn(
        number,
        partial(raw_sqlite.commit, one_by_one, directory),
        partial(_appended, loop, CountedFile, runs[:1], directory),
    )
    raw_ten, ten = in_turn(
        number,
        partial(raw_sqlite.commit, ten_by_ten, directory),
        partial(_appended, loop, CountedFile, runs, directory),
    )
    unstored, trip = anyio.run(
        between,
        partial(_round_trip, len(one_by_one)),
        partial(_append_all, UnstoredFile, runs[:1], directory),
        backend=loop,
    )
    return Waits(
        quantile(raw.waits_s, 0.5) * 1e6,
        quantile(raw_ten.waits_s, 0.5) * 1e6,
        trip,
        unstored.p50_us,
        one.p50_us,
        ten.p50_us,
    )


def _rates(loop: Loop, runs: Sequence[Run], directory: Path, number: int) -> Rates:
    numbers = raw_sqlite.Numbers()
    records = list(chain.from_iterable(zip(*runs, strict=True)))
    raw, mine = in_turn(
        number,
        partial(raw_sqlite.commit, _in_batches([numbers.row(record) for record in records]), directory),
        partial(_appended, loop, CountedFile, runs, directory),
    )
    whole = [(str(each.run_id), each.journal_seq, encode(each).decode()) for each in records]
    raw_whole = raw_sqlite.commit(_in_batches(whole), directory)
    return Rates(
        len(records) / sum(raw.waits_s),
        len(records) / sum(raw_whole.waits_s),
        len(records) / mine.elapsed_s,
        len(records) / mine.commits,
    )


def _in_batches(rows: Sequence[raw_sqlite.RawRow]) -> list[Sequence[raw_sqlite.RawRow]]:
    return [rows[first : first + RAW_BATCH] for first in range(0, len(rows), RAW_BATCH)]


def _appended(loop: Loop, kind: type[CountedFile], runs: Sequence[Run], directory: Path) -> Appended:
    return anyio.run(_append_all, kind, runs, directory, backend=loop)


async def _append_all(kind: type[CountedFile], runs: Sequence[Run], directory: Path) -> Appended:
    waits: list[float] = []

    async def append_each(run: Run) -> None:
        for record in run:
            began = time.perf_counter()
            await journal.append(record)
            waits.append(time.perf_counter() - began)

    with TemporaryDirectory(dir=directory) as folder:
        file = kind(f"{folder}/journal.db")
        async with sqlite_journal(file) as journal:
            began = time.perf_counter()
            async with anyio.create_task_group() as tasks:
                for run in runs:
                    tasks.start_soon(append_each, run)
            return Appended(tuple(waits), time.perf_counter() - began, file.commits)


async def _round_trip(count: int) -> float:
    """p50 in µs of the way to a thread and back, which every append has to go that waits for a writer."""
    post, asked = poster(), threading.Lock()
    asked.acquire()
    answered = anyio.Event()

    def answer_each() -> None:
        for _ in range(count):
            asked.acquire()
            post(answered.set)

    thread = threading.Thread(target=answer_each)
    thread.start()
    waits: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        answered = anyio.Event()
        asked.release()
        await answered.wait()
        waits.append(time.perf_counter() - began)
    thread.join()
    return quantile(waits, 0.5) * 1e6
