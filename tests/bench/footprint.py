"""What a session takes beside its frames' time: disk, memory, the import; and what single steps cost."""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from realtime_async import RealtimeInputFrame, StreamCursor
from realtime_async.journals import SqliteJournal
from tests.bench.figures import Figure, Row, Table
from tests.bench.goals import IMPORT_MS, JOURNAL_MB_PER_HOUR, SESSION_KB
from tests.bench.stage import (
    FRAME,
    FRAME_S,
    FRAMES,
    SIDECAR,
    Effort,
    Loop,
    NowaitNullAdapter,
    Records,
    opened_sessions,
)
from tests.bench.yardstick import between, checkpoint_us

__all__ = ["footprint"]

HOUR_S = 3600
REPEATS = 20_000

_IMPORT = (
    "import time; wall, cpu = time.perf_counter(), time.process_time(); import realtime_async; "
    "print(time.perf_counter() - wall, time.process_time() - cpu)"
)


def footprint(effort: Effort, directory: Path) -> Iterator[Table]:
    yield Table("single steps", ("CPU µs",), list(_steps(effort)))
    with TemporaryDirectory(dir=directory) as folder:
        # The first one compiles, as an installer does.
        imports = [
            anyio.run(between, checkpoint_us, partial(_imported, folder), backend=Loop.ASYNCIO)
            for _ in range(effort.rounds + 1)
        ][1:]
    times, checkpoints = zip(*imports, strict=True)
    wall, cpu = zip(*times, strict=True)
    yield Table(
        "import realtime_async, in a process of its own",
        ("ms", "CPU ms", "asyncio checkpoint µs"),
        [Row("", (Figure(wall, IMPORT_MS), Figure(cpu), Figure(checkpoints)))],
    )
    with TemporaryDirectory(dir=directory) as folder:
        path = Path(folder, "journal.db")
        anyio.run(_call, effort.call_s, path, backend=Loop.ASYNCIO)
        megabytes = path.stat().st_size / 1e6 * HOUR_S / effort.call_s
    yield Table(
        "journal file of a call with audio both ways throughout, spans of 50, SQLite full",
        ("MB/hour",),
        [Row(f"a call of {effort.call_s} s", (Figure([megabytes], JOURNAL_MB_PER_HOUR),))],
    )
    yield Table("memory of a session, spans of 50, SQLite full", ("KB",), list(_memory(effort, directory)))


def _steps(effort: Effort) -> Iterator[Row]:
    digest = hashlib.sha256()
    cursor = StreamCursor.chunk(1)
    frame = FRAMES[0]
    steps: dict[str, Callable[[], object]] = {
        f"SHA-256 of {len(FRAME)} bytes": lambda: digest.update(FRAME),
        "RealtimeInputFrame.audio": lambda: RealtimeInputFrame.audio(FRAME),
        "a frame's copy with its cursor": lambda: frame.stamped(cursor),
    }
    for name, step in steps.items():
        yield Row(name, (Figure(_cpu_us(step) for _ in range(effort.rounds)),))
    for loop in Loop:
        costs = [anyio.run(checkpoint_us, backend=loop) for _ in range(effort.rounds)]
        yield Row(f"anyio.lowlevel.checkpoint, {loop}: how fast the machine is", (Figure(costs),))


def _cpu_us(step: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(REPEATS):
        step()
    return (time.process_time() - started) / REPEATS * 1e6


async def _imported(bytecode: str) -> tuple[float, float]:
    """Milliseconds by the clock, and of CPU, with the bytecode kept in a folder."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    run = await anyio.run_process([sys.executable, "-c", _IMPORT], env=env)
    wall, cpu = map(float, run.stdout.split())
    return wall * 1e3, cpu * 1e3


async def _call(seconds: int, path: Path) -> None:
    """Write the journal of a call as fast as it goes: spans end by their frames, as they would in real time."""
    async with (
        SqliteJournal.open(path) as journal,
        opened_sessions(1, SIDECAR[Records.SPANS], NowaitNullAdapter(), journal) as (session,),
    ):
        for number in range(round(seconds / FRAME_S)):
            await session.send(FRAMES[number % len(FRAMES)])
            await session.controller.receive()


def _memory(effort: Effort, directory: Path) -> Iterator[Row]:
    tail_s = SIDECAR[Records.SPANS].replay_tail_s
    tail_frames = round(tail_s / FRAME_S)
    tail_kb = tail_frames * len(FRAME) / 1024
    for loop in Loop:
        opened = anyio.run(_session_kb, effort.open_sessions, 0, directory, backend=loop)
        yield Row(f"{loop}, {effort.open_sessions} open sessions", (Figure([opened], SESSION_KB),))
    talking = anyio.run(
        _session_kb, effort.talking_sessions, tail_frames + 50, directory, backend=Loop.ASYNCIO
    )
    yield Row(
        f"{Loop.ASYNCIO}, tail of {tail_s:g} s full, beside its {tail_kb:.0f} KB of audio",
        (Figure([talking - tail_kb], SESSION_KB),),
    )


async def _session_kb(sessions: int, frames: int, directory: Path) -> float:
    """KB of Python's memory that each of *sessions* holds after *frames* frames, payloads included."""
    with TemporaryDirectory(dir=directory) as folder:
        async with SqliteJournal.open(Path(folder, "journal.db")) as journal:
            gc.collect()
            tracemalloc.start()
            try:
                async with opened_sessions(
                    sessions, SIDECAR[Records.SPANS], NowaitNullAdapter(), journal
                ) as opened:
                    for session in opened:
                        for _ in range(frames):
                            # Each with bytes of its own, as from a microphone.
                            await session.send(RealtimeInputFrame.audio(bytes(bytearray(FRAME))))
                    gc.collect()
                    return tracemalloc.get_traced_memory()[0] / 1024 / sessions
            finally:
                tracemalloc.stop()
