"""What whole conversations with OpenAI cost: the memory of many, and a turn of a long one beside a turn of a young one."""

from __future__ import annotations

import gc
import math
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from realtime_async import RealtimeInputFrame, RealtimeOutputFrame, RealtimeSession, RestartPolicy
from realtime_async.adapters.openai import OpenAIRealtimeAdapter, OpenAIRealtimeConfig
from realtime_async.journals import SqliteJournal
from realtime_async.ports import ResponseDone
from tests.bench.conversing_provider import KEY, conversing_provider
from tests.bench.figures import Figure, Row, Table
from tests.bench.goals import LATE_TURN_TO_EARLY, SESSION_KB
from tests.bench.stage import FRAMES, SIDECAR, Effort, Loop, Records, opened_sessions

__all__ = ["turns", "wire_memory"]

# All connect at once.
POLICY = RestartPolicy(dials_per_s=math.inf)
FRAMES_SPOKEN = 50
# Turns whose median stands for the turn in their middle.
BESIDE = 20


def wire_memory(effort: Effort, directory: Path) -> Iterator[Table]:
    rows = []
    with conversing_provider() as url:
        for loop in Loop:
            kilobytes = anyio.run(_held, effort.open_sessions, url, directory, backend=loop)
            figures = (Figure([kilobytes], SESSION_KB),)
            rows.append(Row(f"{loop}, {effort.open_sessions} conversations", figures))
    yield Table(
        "supervised sessions with OpenAI over WebSockets after a turn of 1 s, beside the sound of their tails",
        ("KB each",),
        rows,
    )


def turns(effort: Effort, directory: Path) -> Iterator[Table]:
    rows = []
    early, late = effort.turns
    with conversing_provider() as url:
        for loop in Loop:
            readings = [
                anyio.run(_turns, early, late, url, directory, backend=loop) for _ in range(effort.rounds)
            ]
            young, old = zip(*readings, strict=True)
            ratios = [after / before for before, after in readings]
            rows.append(Row(loop, (Figure(young), Figure(old), Figure(ratios, LATE_TURN_TO_EARLY))))
    yield Table(
        f"a turn with OpenAI, {FRAMES_SPOKEN} frames each way, spans of 50, SQLite full",
        (f"CPU ms, turn {early:,}", f"turn {late:,}", "× the early one"),
        rows,
    )


@asynccontextmanager
async def _conversations(count: int, url: str, directory: Path) -> AsyncIterator[list[RealtimeSession]]:
    config = OpenAIRealtimeConfig(model="bench", api_key=KEY, base_url=url, turns=None)
    with TemporaryDirectory(dir=directory) as folder:
        async with (
            SqliteJournal.open(Path(folder, "journal.db")) as journal,
            OpenAIRealtimeAdapter(config) as adapter,
            opened_sessions(
                count, SIDECAR[Records.SPANS], adapter, journal, restart_policy=POLICY
            ) as sessions,
        ):
            yield sessions


async def _held(count: int, url: str, directory: Path) -> float:
    """KB of Python's memory of each of *count* conversations; they all speak the same sound, so it is not counted."""
    # What is loaded and made once for all of them is no conversation's.
    async with _conversations(1, url, directory) as (session,):
        await _take_turn(session, session.frames())
    gc.collect()
    tracemalloc.start()
    try:
        async with _conversations(count, url, directory) as sessions:
            async with anyio.create_task_group() as tasks:
                for session in sessions:
                    tasks.start_soon(_take_turn, session, session.frames())
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / 1024 / count
    finally:
        tracemalloc.stop()


async def _turns(early: int, late: int, url: str, directory: Path) -> tuple[float, float]:
    """CPU milliseconds of a turn around the *early* one, and around the *late* one."""
    spent: list[float] = []
    async with _conversations(1, url, directory) as (session,):
        received = session.frames()
        for _ in range(late + BESIDE // 2):
            started = time.process_time()
            await _take_turn(session, received)
            spent.append((time.process_time() - started) * 1e3)
    return _around(spent, early), _around(spent, late)


def _around(spent: list[float], turn: int) -> float:
    return statistics.median(spent[turn - BESIDE // 2 : turn + BESIDE // 2])


async def _take_turn(session: RealtimeSession, received: AsyncIterator[RealtimeOutputFrame]) -> None:
    for frame in FRAMES[:FRAMES_SPOKEN]:
        await session.send(frame)
    await session.send(RealtimeInputFrame.end_of_turn())
    await session.send(RealtimeInputFrame.request_response())
    async for answered in received:
        if isinstance(answered.event, ResponseDone):
            return
