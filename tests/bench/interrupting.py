"""How long it takes from `interrupt` until the provider is told, under a call that is going on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

from realtime_async import RealtimeSessionController
from realtime_async.journals import SqliteJournal
from tests.bench.figures import AtMost, Figure, Row, Table
from tests.bench.stage import FRAMES, SIDECAR, Effort, Loop, NowaitNullAdapter, Records

__all__ = ["interrupting"]

# p99 of `interrupt` to the adapter's call.
TOLD_MS = AtMost(5.0)
INTERRUPTS = 100
FRAMES_BETWEEN = 20


class _ToldAdapter(NowaitNullAdapter):
    """Notes when it is told to stop."""

    told_at = 0.0

    async def interrupt(self, *arguments: Any, **options: Any) -> None:
        self.told_at = time.perf_counter()


def interrupting(effort: Effort, directory: Path) -> Iterator[Table]:
    rows = []
    with TemporaryDirectory(dir=directory) as folder:
        for loop in Loop:
            rounds = [
                anyio.run(_interrupted, Path(folder, f"{loop}-{number}.db"), backend=loop)
                for number in range(effort.rounds)
            ]
            middle = [waits[len(waits) // 2] for waits in rounds]
            worst = [waits[len(waits) * 99 // 100] for waits in rounds]
            rows.append(Row(str(loop), (Figure(middle), Figure(worst, TOLD_MS))))
    yield Table("interrupt to the adapter's call, spans of 50, SQLite full", ("p50 ms", "p99 ms"), rows)


async def _interrupted(path: Path) -> list[float]:
    """Milliseconds of each, in order of size."""
    adapter = _ToldAdapter()
    waits = []
    async with SqliteJournal.open(path) as journal:
        controller = RealtimeSessionController(SIDECAR[Records.SPANS], adapter, journal, run_id="call-0")
        await controller.connect()
        for _ in range(INTERRUPTS):
            for number in range(FRAMES_BETWEEN):
                await controller.send(FRAMES[number % len(FRAMES)])
            began = time.perf_counter()
            await controller.interrupt()
            waits.append((adapter.told_at - began) * 1000)
        await controller.close()
    return sorted(waits)
