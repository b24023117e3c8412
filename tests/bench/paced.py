"""What a frame costs in real time: 50 frames a second and session, each at its moment."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import anyio
import attrs

from realtime_async import RealtimeInputFrame, RealtimeOutputFrame, RealtimeSessionId, RunJournal
from tests.bench import raw_sqlite
from tests.bench.figures import Figure, Row, Table, quantile
from tests.bench.goals import ADDED_P99_MS, WAIT_P50_TO_COMMIT
from tests.bench.stage import (
    FRAME_S,
    FRAMES,
    SIDECAR,
    Effort,
    Loop,
    NowaitNullAdapter,
    Operation,
    Records,
    Store,
    Work,
    cpu_of,
    opened_journal,
    opened_sessions,
)

__all__ = ["PacedNullAdapter", "Place", "Reading", "bare_calls", "paced", "session_calls"]

COLUMNS = (
    "CPU µs/frame",
    "× bare call",
    "cores busy",
    "wait p50 µs",
    "wait p99 ms",
    "added p99 ms",
    "p50 × raw commit",
)
# A commit's median needs no more rows.
ROWS = 200
# Before the first frame, for all tasks to be ready.
LEAD_S = 0.1
# Of one session, whose readings take five times as long; no goal is held against them.
ROUNDS_ALONE = 2

Variant = tuple[Store, Records] | None
"""A row of a table; None: the bare call of the adapter."""


class PacedNullAdapter(NowaitNullAdapter):
    """Has a frame to give 50 times a second to each session."""

    def __init__(self) -> None:
        super().__init__()
        self.due: dict[str, float] = {}
        """When each session's last frame was there to be had."""

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        self.due[session_id] += FRAME_S
        await anyio.sleep_until(self.due[session_id])
        return self._output


@attrs.frozen
class Place:
    """What all rows of a table have in common."""

    operation: Operation
    loop: Loop
    sessions: int
    frames: int
    """Of each session in one reading."""
    directory: Path


@attrs.frozen
class Reading:
    cpu_us: float
    """Per frame."""
    cores: float
    p50_us: float
    p99_ms: float
    commit_us: float | None = None
    """p50 of a raw commit of one of the rows that were written."""


def paced(effort: Effort, directory: Path) -> Iterator[Table]:
    variants: list[Variant] = [None, *product(Store, Records)]
    for operation, loop, sessions in product((Operation.SEND, Operation.RECEIVE), Loop, effort.sessions):
        place = Place(operation, loop, sessions, effort.paced_frames(sessions), directory)
        readings: dict[Variant, list[Reading]] = {variant: [] for variant in variants}
        for number in range(min(effort.rounds, ROUNDS_ALONE) if sessions == 1 else effort.rounds):
            # There and back, so that each of them meets the same noise.
            for variant in variants if number % 2 == 0 else reversed(variants):
                readings[variant].append(_read(place, variant))
        yield Table(
            f"{operation}, paced 50 frames/s each, {loop}, {sessions} {'session' if sessions == 1 else 'sessions'}",
            COLUMNS,
            [_row(place, variant, readings[variant], readings[None]) for variant in variants],
        )


def _row(place: Place, variant: Variant, mine: Sequence[Reading], bare: Sequence[Reading]) -> Row:
    costs = Figure(each.cpu_us for each in mine)
    cores = Figure(each.cores for each in mine)
    p50 = Figure(each.p50_us for each in mine)
    p99 = Figure(each.p99_ms for each in mine)
    if variant is None:
        return Row("no journal: the bare call", (costs, None, cores, p50, p99, None, None))
    store, records = variant
    commits = [each.p50_us / each.commit_us for each in mine if each.commit_us is not None]
    is_goal = store is Store.SQLITE and place.sessions > 1
    compares = place.operation is Operation.SEND and records is Records.PER_FRAME and commits
    return Row(
        f"{store}, {records}",
        (
            costs,
            Figure(each.cpu_us / floor.cpu_us for each, floor in zip(mine, bare, strict=True)),
            cores,
            p50,
            p99,
            Figure(
                (each.p99_ms - floor.p99_ms for each, floor in zip(mine, bare, strict=True)),
                ADDED_P99_MS[records] if is_goal else None,
            ),
            Figure(commits, WAIT_P50_TO_COMMIT if is_goal else None) if compares else None,
        ),
    )


def _read(place: Place, variant: Variant) -> Reading:
    if variant is None:
        return anyio.run(bare_calls, place, backend=place.loop)
    reading, rows = anyio.run(_stored_calls, place, *variant, backend=place.loop)
    if not rows:
        return reading
    one_by_one = [[row] for row in rows[:ROWS]]
    commit_us = quantile(raw_sqlite.commit(one_by_one, place.directory).waits_s, 0.5) * 1e6
    return attrs.evolve(reading, commit_us=commit_us)


async def bare_calls(place: Place) -> Reading:
    """Call the adapter itself."""
    adapter = PacedNullAdapter()

    async def send(session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        adapter.send_nowait(session_id, frame)

    ids = [RealtimeSessionId(f"session-{number}") for number in range(place.sessions)]
    calls = {each: (partial(send, each), partial(adapter.receive, each)) for each in ids}
    return await _paced(place, adapter, calls)


async def session_calls(place: Place, journal: RunJournal, records: Records) -> Reading:
    """Call the adapter by sessions that write to *journal*."""
    adapter = PacedNullAdapter()
    async with opened_sessions(place.sessions, SIDECAR[records], adapter, journal) as sessions:
        controllers = [session.controller for session in sessions]
        calls = {each.session_id: (each.send, each.receive) for each in controllers}
        return await _paced(place, adapter, calls)


async def _stored_calls(
    place: Place, store: Store, records: Records
) -> tuple[Reading, list[raw_sqlite.RawRow]]:
    async with opened_journal(store, place.directory) as (journal, file):
        reading = await session_calls(place, journal, records)
        batches = [] if file is None else raw_sqlite.Numbers().batches(list(file.batches))
    return reading, [row for batch in batches for row in batch]


Calls = Mapping[
    RealtimeSessionId,
    tuple[Callable[[RealtimeInputFrame], Awaitable[object]], Callable[[], Awaitable[object]]],
]
"""How each session sends, and how it receives."""


async def _paced(place: Place, adapter: PacedNullAdapter, calls: Calls) -> Reading:
    """
    Let all sessions send, or receive, spread over the 20 ms of a frame.

    A wait is from the call of `send` to its return, or from when a frame was there to its return by `receive`.
    """
    waits: list[float] = []
    gc.collect()
    begin = anyio.current_time() + LEAD_S

    async def send_each(send: Callable[[RealtimeInputFrame], Awaitable[object]], first: float) -> None:
        for number in range(place.frames):
            await anyio.sleep_until(first + number * FRAME_S)
            began = time.perf_counter()
            await send(FRAMES[number % len(FRAMES)])
            waits.append(time.perf_counter() - began)

    async def receive_each(
        receive: Callable[[], Awaitable[object]], session_id: RealtimeSessionId, first: float
    ) -> None:
        adapter.due[session_id] = first
        for _ in range(place.frames):
            await receive()
            waits.append(anyio.current_time() - adapter.due[session_id])

    works: list[Work] = []
    for number, (session_id, (send, receive)) in enumerate(calls.items()):
        first = begin + number * FRAME_S / len(calls)
        if place.operation is Operation.SEND:
            works.append(partial(send_each, send, first))
        else:
            works.append(partial(receive_each, receive, session_id, first))
    started = time.perf_counter()
    cpu = await cpu_of(works)
    elapsed = time.perf_counter() - started - LEAD_S
    return Reading(
        cpu / len(waits) * 1e6, cpu / elapsed, quantile(waits, 0.5) * 1e6, quantile(waits, 0.99) * 1e3
    )
