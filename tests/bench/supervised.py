"""
What supervised sessions cost in real time: each sends 50 frames a second, and is given as many.

They are what `open_session` gives by default: a pump receives, a watch waits, and a loop takes the frames.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import attrs

from realtime_async import (
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeSession,
    RealtimeSessionId,
    RestartPolicy,
)
from tests.bench.figures import Figure, Row, Table, quantile
from tests.bench.goals import ADDED_P99_MS, STALL_MS
from tests.bench.stage import (
    FRAME_S,
    FRAMES,
    SIDECAR,
    Effort,
    Loop,
    NowaitNullAdapter,
    Records,
    Store,
    Work,
    cpu_of,
    opened_journal,
    opened_sessions,
)

__all__ = ["supervised"]

COLUMNS = (
    "CPU µs/pair",
    "added µs/pair",
    "cores busy",
    "send p50 µs",
    "send p99 ms",
    "added p50 µs",
    "added p99 ms",
    "frames() added p99 ms",
    "stall ms",
)
# Before the first frame, for all tasks to be ready.
LEAD_S = 0.1
# Of the frames of which the waits are not counted.
EARLY_S = 0.5
# How often it is looked whether the loop is late.
TICK_S = 0.005


class _PacedAdapter(NowaitNullAdapter):
    """Has a frame to give each session 50 times a second, from when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[str, float] = {}
        self._given: dict[str, int] = {}
        self._frames = 0
        self._begun = anyio.Event()

    def begin(self, first: dict[str, float], frames: int) -> None:
        """Give each session *frames* frames, the first at its moment."""
        self._first, self._frames = first, frames
        self._given = dict.fromkeys(first, 0)
        self._begun.set()

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        if not self._begun.is_set():
            await self._begun.wait()
        number = self._given[session_id]
        if number == self._frames:
            await anyio.sleep_forever()
        self._given[session_id] += 1
        await anyio.sleep_until(self._first[session_id] + number * FRAME_S)
        return self._output


@attrs.frozen
class _Client:
    """One conversation: how it sends a frame, and how it takes one."""

    session_id: RealtimeSessionId
    send: Callable[[RealtimeInputFrame], Awaitable[object]]
    take: Callable[[], Awaitable[object]]


_Opens: TypeAlias = Callable[[_PacedAdapter], AbstractAsyncContextManager[Sequence[_Client]]]


@attrs.frozen
class Reading:
    cpu_us: float
    """Of a frame out and one in."""
    cores: float
    send_p50_us: float
    send_p99_ms: float
    take_p99_ms: float
    """From when a frame was there until the loop had it."""
    stall_ms: float
    """The most that a task was late which wakes every 5 ms."""


def supervised(effort: Effort, directory: Path) -> Iterator[Table]:
    frames = round(effort.paced_s / FRAME_S)
    count = effort.supervised_sessions
    for loop in Loop:
        variants: dict[Records | None, _Opens] = {None: partial(_bare, count)}
        for records in Records:
            variants[records] = partial(_sessions, count, records, directory)
        readings: dict[Records | None, list[Reading]] = {variant: [] for variant in variants}
        for number in range(effort.rounds):
            # There and back, so that each of them meets the same noise.
            for variant in list(variants) if number % 2 == 0 else reversed(list(variants)):
                readings[variant].append(anyio.run(_read, variants[variant], frames, backend=loop))
        yield Table(
            f"{count} supervised sessions, paced 50 frames/s each way, SQLite full, {loop}",
            COLUMNS,
            [_row(variant, readings[variant], readings[None]) for variant in variants],
        )


def _row(records: Records | None, mine: Sequence[Reading], bare: Sequence[Reading]) -> Row:
    pairs = list(zip(mine, bare, strict=True))
    costs = Figure(each.cpu_us for each in mine)
    cores = Figure(each.cores for each in mine)
    p50 = Figure(each.send_p50_us for each in mine)
    p99 = Figure(each.send_p99_ms for each in mine)
    stalls = [each.stall_ms for each in mine]
    if records is None:
        # How late the machine is by itself.
        return Row(
            "no session: the bare calls", (costs, None, cores, p50, p99, None, None, None, Figure(stalls))
        )
    goal = ADDED_P99_MS[records]
    return Row(
        str(records),
        (
            costs,
            Figure(each.cpu_us - floor.cpu_us for each, floor in pairs),
            cores,
            p50,
            p99,
            Figure(each.send_p50_us - floor.send_p50_us for each, floor in pairs),
            Figure((each.send_p99_ms - floor.send_p99_ms for each, floor in pairs), goal),
            Figure((each.take_p99_ms - floor.take_p99_ms for each, floor in pairs), goal),
            Figure(stalls, STALL_MS),
        ),
    )


@asynccontextmanager
async def _bare(count: int, adapter: _PacedAdapter) -> AsyncIterator[Sequence[_Client]]:
    ids = [RealtimeSessionId(f"session-{number}") for number in range(count)]
    yield [_Client(each, partial(adapter.send, each), partial(adapter.receive, each)) for each in ids]


@asynccontextmanager
async def _sessions(
    count: int, records: Records, directory: Path, adapter: _PacedAdapter
) -> AsyncIterator[Sequence[_Client]]:
    # By default they connect twenty a second at most, so this takes a while; it is not counted.
    async with (
        opened_journal(Store.SQLITE, directory) as (journal, _),
        opened_sessions(
            count, SIDECAR[records], adapter, journal, restart_policy=RestartPolicy()
        ) as sessions,
    ):
        yield [_client(each) for each in sessions]


def _client(session: RealtimeSession) -> _Client:
    return _Client(session.controller.session_id, session.send, session.frames().__anext__)


async def _read(opens: _Opens, frames: int) -> Reading:
    adapter = _PacedAdapter()
    async with opens(adapter) as clients:
        return await _paced(adapter, clients, frames)


async def _paced(adapter: _PacedAdapter, clients: Sequence[_Client], frames: int) -> Reading:
    """Let all of *clients* talk, spread over the 20 ms of a frame."""
    sends: list[float] = []
    takes: list[float] = []
    ticks: list[float] = []
    # Fifty calls that begin within 20 ms are the benchmark's doing, and all wait for their first intents.
    early = round(EARLY_S / FRAME_S)
    frames += early

    async def send_each(client: _Client, first: float) -> None:
        for number in range(frames):
            await anyio.sleep_until(first + number * FRAME_S)
            began = time.perf_counter()
            await client.send(FRAMES[number % len(FRAMES)])
            if number >= early:
                sends.append(time.perf_counter() - began)

    async def take_each(client: _Client, first: float) -> None:
        for number in range(frames):
            await client.take()
            if number >= early:
                takes.append(anyio.current_time() - (first + number * FRAME_S))

    async def tick(first: float) -> None:
        for number in range(round(frames * FRAME_S / TICK_S)):
            due = first + number * TICK_S
            await anyio.sleep_until(due)
            if due >= first + EARLY_S:
                ticks.append(anyio.current_time() - due)

    gc.collect()
    begin = anyio.current_time() + LEAD_S
    moments = [begin + number * FRAME_S / len(clients) for number in range(len(clients))]
    adapter.begin({client.session_id: first for client, first in zip(clients, moments, strict=True)}, frames)
    works: list[Work] = [partial(tick, begin)]
    for client, first in zip(clients, moments, strict=True):
        works += partial(send_each, client, first), partial(take_each, client, first)
    started = time.perf_counter()
    cpu = await cpu_of(works)
    elapsed = time.perf_counter() - started - LEAD_S
    return Reading(
        cpu_us=cpu / (frames * len(clients)) * 1e6,
        cores=cpu / elapsed,
        send_p50_us=quantile(sends, 0.5) * 1e6,
        send_p99_ms=quantile(sends, 0.99) * 1e3,
        take_p99_ms=quantile(takes, 0.99) * 1e3,
        stall_ms=max(ticks) * 1e3,
    )
