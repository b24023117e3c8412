"""How long it takes to take a call up again, by the length of its journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from realtime_async import RealtimeSessionController
from realtime_async.journals import SqliteJournal
from tests.bench.figures import Figure, Row, Table
from tests.bench.goals import RESUME_S
from tests.bench.stage import FRAME_S, FRAMES, SIDECAR, Effort, Loop, NowaitNullAdapter, Records

__all__ = ["resuming"]

RUN = "call-0"


def resuming(effort: Effort, directory: Path) -> Iterator[Table]:
    rows = []
    with TemporaryDirectory(dir=directory) as folder:
        path = Path(folder, "journal.db")
        anyio.run(_abandoned_call, effort.call_s, path)
        for loop in Loop:
            readings = [anyio.run(_resumed, path, backend=loop) for _ in range(effort.rounds)]
            wall, cpu = zip(*readings, strict=True)
            rows.append(Row(f"{loop}, a call of {effort.call_s} s", (Figure(wall, RESUME_S), Figure(cpu))))
    yield Table("resume, audio both ways throughout, spans of 50, SQLite full", ("s", "CPU s"), rows)


async def _abandoned_call(seconds: int, path: Path) -> None:
    """Write the journal of a call that does not end."""
    async with SqliteJournal.open(path) as journal:
        controller = RealtimeSessionController(
            SIDECAR[Records.SPANS], NowaitNullAdapter(), journal, run_id=RUN
        )
        await controller.connect()
        for number in range(round(seconds / FRAME_S)):
            await controller.send(FRAMES[number % len(FRAMES)])
            await controller.receive()


async def _resumed(path: Path) -> tuple[float, float]:
    """Seconds by the clock, and of CPU; the call is left as it was found, not closed."""
    async with SqliteJournal.open(path) as journal:
        wall, cpu = time.perf_counter(), time.process_time()
        await RealtimeSessionController.resume(
            SIDECAR[Records.SPANS], NowaitNullAdapter(), journal, run_id=RUN
        )
        return time.perf_counter() - wall, time.process_time() - cpu
