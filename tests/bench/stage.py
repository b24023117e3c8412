"""
What is measured: sessions between an adapter that does nothing and a journal that is watched.

Everything here is a floor's too: the bare call of the adapter runs in the same tasks on the same loop.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, TypeVar

import anyio
import attrs
from anyio.abc import TaskStatus

from realtime_async import (
    AudioFormat,
    JournalRecord,
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeProviderAdapter,
    RealtimeResponseId,
    RealtimeSession,
    RealtimeSessionId,
    RealtimeSessionSidecar,
    RestartPolicy,
    RunId,
    RunJournal,
    open_session,
)
from realtime_async.journals import MemoryJournal, SqliteJournal
from realtime_async.journals._group_commit import GroupCommit
from realtime_async.journals._sqlite_file import SqliteFile
from realtime_async.journals._taken import Taken
from tests.bench.raw_sqlite import Kept, kept

__all__ = [
    "FRAME",
    "FRAMES",
    "FRAME_S",
    "SIDECAR",
    "Effort",
    "Loop",
    "NowaitNullAdapter",
    "NullAdapter",
    "Operation",
    "Records",
    "Store",
    "WatchedFile",
    "Work",
    "cpu_of",
    "in_turn",
    "opened_journal",
    "opened_sessions",
    "recorded_run",
    "sqlite_journal",
]

FRAME = bytes(range(240)) * 4
"""20 ms of pcm16 at 24 kHz, mono."""
FRAME_S = 0.02
FRAMES = [RealtimeInputFrame.audio(FRAME) for _ in range(50)]
"""Sent over and over: building frames is measured by itself."""


class Loop(StrEnum):
    ASYNCIO = "asyncio"
    TRIO = "trio"


class Store(StrEnum):
    MEMORY = "memory"
    SQLITE = "SQLite full"


class Records(StrEnum):
    PER_FRAME = "per frame"
    SPANS = "spans of 50"


class Operation(StrEnum):
    SEND = "send"
    RECEIVE = "receive"
    FRAMES = "frames()"
    """What `open_session` offers in place of `receive`."""


SIDECAR: Mapping[Records, RealtimeSessionSidecar] = {
    Records.PER_FRAME: RealtimeSessionSidecar.voice_defaults("bench", span=None),
    Records.SPANS: RealtimeSessionSidecar.voice_defaults("bench"),
}


@attrs.frozen(kw_only=True)
class Effort:
    """How much is run for a figure."""

    sessions: tuple[int, ...]
    """At once; each number has tables of its own."""
    rounds: int
    """Of each pair; the median of their readings is the figure."""
    frames: Mapping[Records, int]
    """Of one reading, saturated, by all sessions together; but each has 50 at least."""
    paced_s: float
    paced_alone_s: float
    """Of one session: the p99 of 100 frames would be the slowest, which may be the first of all."""
    supervised_sessions: int
    appends: int
    runs_appends: int
    """Of each of 100 interleaved runs."""
    call_s: int
    """Of the call whose journal is measured."""
    recovered_records: int
    """Of the run that is read back."""
    open_sessions: int
    idle_sessions: int
    talking_sessions: int
    turns: tuple[int, int]
    """Of one conversation: an early one, and a late one."""

    def paced_frames(self, sessions: int) -> int:
        """Of each session in one reading, paced."""
        return round((self.paced_alone_s if sessions == 1 else self.paced_s) / FRAME_S)


_Floor = TypeVar("_Floor")
_Mine = TypeVar("_Mine")
Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""What a task does."""


class NullAdapter:
    """Takes every frame and does nothing with it; has one to give whenever it is asked."""

    adapter_ref = "adapter.null"
    input_format: AudioFormat | None = None
    output_format: AudioFormat | None = None

    def __init__(self) -> None:
        self._output = RealtimeOutputFrame.audio(FRAME, response_id="response.1")

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        return RealtimeConnectResponse("connection.1")

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None: ...

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        return self._output

    async def interrupt(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None: ...

    async def restart(
        self, session_id: RealtimeSessionId, connection_id: RealtimeConnectionId
    ) -> RealtimeConnectResponse:
        return RealtimeConnectResponse("connection.1")

    async def close(self, session_id: RealtimeSessionId, reason: RealtimeCloseReason) -> None: ...


class NowaitNullAdapter(NullAdapter):
    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        return True


class WatchedFile(SqliteFile):
    """Remembers what was committed at once, so that a floor can commit the same."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "full")
        self.batches: list[list[Kept]] = []

    def write(self, batch: Sequence[Taken]) -> None:
        self.batches.append(kept(batch))
        super().write(batch)


@asynccontextmanager
async def sqlite_journal(file: SqliteFile) -> AsyncIterator[SqliteJournal]:
    """What `SqliteJournal.open` does, with a file of our own."""
    commits = GroupCommit(file, file.name)
    await commits.open()
    journal = SqliteJournal(file, commits)
    try:
        yield journal
    finally:
        await journal.aclose()


@asynccontextmanager
async def opened_journal(
    store: Store, directory: Path
) -> AsyncIterator[tuple[RunJournal, WatchedFile | None]]:
    """A new journal, and the file that it writes to, if any."""
    if store is Store.MEMORY:
        async with MemoryJournal() as memory:
            yield memory, None
        return
    with TemporaryDirectory(dir=directory) as folder:
        file = WatchedFile(f"{folder}/journal.db")
        async with sqlite_journal(file) as journal:
            yield journal, file


@asynccontextmanager
async def opened_sessions(
    count: int,
    sidecar: RealtimeSessionSidecar,
    adapter: RealtimeProviderAdapter,
    journal: RunJournal,
    *,
    restart_policy: RestartPolicy | None = None,
) -> AsyncIterator[list[RealtimeSession]]:
    """
    Connected sessions, each with a run of its own, and a task that opened it, as each call of a server has.

    Opened in one task they would lie within each other, and whoever waits in the last of them ask fifty scopes whether
    he is cancelled.

    Args:
        restart_policy: None: nothing receives but what is measured.
    """
    over = anyio.Event()

    async def hold(run_id: str, *, task_status: TaskStatus[RealtimeSession]) -> None:
        async with open_session(
            sidecar, adapter, journal, run_id=run_id, restart_policy=restart_policy
        ) as session:
            task_status.started(session)
            await over.wait()

    async with anyio.create_task_group() as tasks:
        yield [await tasks.start(hold, f"call-{number}") for number in range(count)]
        over.set()


async def cpu_of(works: Sequence[Work], settled: Work | None = None) -> float:
    """CPU seconds of the process, all threads, while *works* run side by side and what they left is *settled*."""
    gc.collect()
    started = time.process_time()
    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(work)
    if settled is not None:
        await settled()
    return time.process_time() - started


def in_turn(number: int, floor: Callable[[], _Floor], mine: Callable[[], _Mine]) -> tuple[_Floor, _Mine]:
    """Run both in round *number*: every other round begins with the other, as a machine has moods."""
    if number % 2:
        late = mine()
        return floor(), late
    return floor(), mine()


async def recorded_run(frames: int) -> list[JournalRecord]:
    """What a session writes that sends *frames* frames with two records each."""
    async with MemoryJournal() as journal:
        sidecar = SIDECAR[Records.PER_FRAME]
        async with opened_sessions(1, sidecar, NowaitNullAdapter(), journal) as (session,):
            for number in range(frames):
                await session.send(FRAMES[number % len(FRAMES)])
        return [record async for record in journal.read(RunId("call-0"))]
