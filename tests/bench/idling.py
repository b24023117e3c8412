"""What sessions cost that are open, supervised, and silent."""

from __future__ import annotations

import gc
import math
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from realtime_async import RealtimeOutputFrame, RealtimeSessionId, RestartPolicy
from realtime_async.journals import SqliteJournal
from tests.bench.figures import Figure, Row, Table
from tests.bench.goals import SESSION_KB
from tests.bench.stage import SIDECAR, Effort, Loop, NowaitNullAdapter, Records, opened_sessions

__all__ = ["idling"]

# As by default, but all of them connect at once: a thousand would take 50 s, and are the same afterwards.
POLICY = RestartPolicy(dials_per_s=math.inf)
# For every pump to wait for the provider, and every watch for its deadline.
SETTLING_S = 0.1


class _SilentAdapter(NowaitNullAdapter):
    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        await anyio.sleep_forever()
        return None


def idling(effort: Effort, directory: Path) -> Iterator[Table]:
    rows = []
    for loop in Loop:
        kilobytes, busy = anyio.run(_idle, effort.idle_sessions, effort.paced_s, directory, backend=loop)
        figures = Figure([kilobytes], SESSION_KB), Figure([busy])
        rows.append(Row(f"{loop}, {effort.idle_sessions:,} sessions", figures))
    yield Table("idle supervised sessions, spans of 50, SQLite full", ("KB each", "CPU µs/s each"), rows)


async def _idle(sessions: int, seconds: float, directory: Path) -> tuple[float, float]:
    """KB of Python's memory that each of *sessions* holds, and µs of CPU that it takes in a second."""
    with TemporaryDirectory(dir=directory) as folder:
        async with SqliteJournal.open(Path(folder, "journal.db")) as journal:
            adapter = _SilentAdapter()
            gc.collect()
            tracemalloc.start()
            try:
                async with opened_sessions(
                    sessions, SIDECAR[Records.SPANS], adapter, journal, restart_policy=POLICY
                ):
                    await anyio.sleep(SETTLING_S)
                    gc.collect()
                    held = tracemalloc.get_traced_memory()[0]
                    # It counts what is allocated, at a cost of its own.
                    tracemalloc.stop()
                    began = time.process_time()
                    await anyio.sleep(seconds)
                    busy = time.process_time() - began
            finally:
                tracemalloc.stop()
    return held / 1024 / sessions, busy / seconds / sessions * 1e6
