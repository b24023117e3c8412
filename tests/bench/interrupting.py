"""How long it takes from `interrupt` until nothing more of the answer is heard, and until the provider is told."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Coroutine, Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import attrs
from anyio.lowlevel import checkpoint

from realtime_async import (
    OutputAudio,
    RealtimeOutputFrame,
    RealtimeSession,
    RealtimeSessionController,
    RealtimeSessionId,
    RestartPolicy,
    open_session,
)
from realtime_async.journals import SqliteJournal
from realtime_async.ports import ResponseDone, ResponseStarted
from tests.bench.figures import Figure, Row, Table, quantile
from tests.bench.goals import HEARD_AFTER_INTERRUPT, INTERRUPT_TOLD_P99_MS
from tests.bench.stage import FRAME, FRAMES, SIDECAR, Effort, Loop, NowaitNullAdapter, Records

__all__ = ["interrupting"]

INTERRUPTS = 100
FRAMES_BETWEEN = 20
# Of an answer, before it is interrupted; a listener takes one each millisecond, and the session has more waiting.
FRAMES_HEARD = 10
LISTENING_S = 0.001
# A provider that is told goes on for as long as its word takes to arrive.
FRAMES_TOO_MANY = 10


class _ToldAdapter(NowaitNullAdapter):
    """Notes when it is told to stop."""

    told_at = 0.0

    async def interrupt(self, *arguments: Any, **options: Any) -> None:
        self.told_at = time.perf_counter()


class _SpeakingAdapter(NowaitNullAdapter):
    """Gives an answer without an end, until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: RealtimeOutputFrame | None = None
        self._next: deque[RealtimeOutputFrame] = deque()
        self._wake = anyio.Event()

    def speak(self, response_id: str) -> None:
        self._answer = RealtimeOutputFrame.audio(FRAME, response_id=response_id)
        self._next.append(RealtimeOutputFrame.of(ResponseStarted(), response_id=response_id))
        self._wake.set()

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        await checkpoint()
        while not self._next and self._answer is None:
            self._wake = anyio.Event()
            await self._wake.wait()
        if self._next:
            return self._next.popleft()
        return self._answer

    async def interrupt(self, *arguments: Any, **options: Any) -> None:
        assert self._answer is not None
        self._next.extend([self._answer] * FRAMES_TOO_MANY)
        done = ResponseDone("cancelled")
        self._next.append(RealtimeOutputFrame.of(done, response_id=self._answer.response_id))
        self._answer = None


def interrupting(effort: Effort, directory: Path) -> Iterator[Table]:
    with TemporaryDirectory(dir=directory) as folder:
        yield Table(
            "interrupt to fenced output, supervised, spans of 50, SQLite full",
            ("until others run, p50 µs", "p99 µs", "frames heard after"),
            [_fenced(loop, effort.rounds, Path(folder)) for loop in Loop],
        )
    with TemporaryDirectory(dir=directory) as folder:
        yield Table(
            "interrupt to the adapter's call, spans of 50, SQLite full",
            ("p50 ms", "p99 ms"),
            [_told(loop, effort.rounds, Path(folder)) for loop in Loop],
        )


# -- until the provider is told


def _told(loop: Loop, rounds: int, folder: Path) -> Row:
    readings = [
        anyio.run(_ms_until_told, folder / f"{loop}-{number}.db", backend=loop) for number in range(rounds)
    ]
    p50 = Figure(quantile(waits, 0.5) for waits in readings)
    p99 = Figure((quantile(waits, 0.99) for waits in readings), INTERRUPT_TOLD_P99_MS)
    return Row(str(loop), (p50, p99))


async def _ms_until_told(path: Path) -> list[float]:
    """Milliseconds of each."""
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
    return waits


# -- until nothing more is heard


class _Watched:
    """Awaits a call, and notes when it first lets anything else run."""

    def __init__(self, call: Coroutine[Any, Any, object]) -> None:
        self._call = call
        self.others_run_at: float | None = None
        """None: it ended before."""

    def __await__(self) -> Generator[Any, Any, object]:
        steps = self._call.__await__()
        try:
            asked = steps.send(None)
            self.others_run_at = time.perf_counter()
            while True:
                try:
                    told = yield asked
                except BaseException as raised:
                    # The call's to handle, a cancellation too.
                    asked = steps.throw(raised)
                else:
                    asked = steps.send(told)
        except StopIteration as over:
            return over.value


@attrs.define
class _Listener:
    """Takes what the session says, at the speed of a listener."""

    session: RealtimeSession
    stopped: str | None = None
    """The answer that was interrupted last."""
    heard_after: int = 0
    """Frames of an answer after its interrupt."""
    _heard: int = 0
    _is_speaking: anyio.Event = attrs.field(factory=anyio.Event)
    _is_over: anyio.Event = attrs.field(factory=anyio.Event)

    async def listen(self) -> None:
        async for frame in self.session.frames():
            match frame.event:
                case ResponseStarted():
                    self._heard = 0
                case OutputAudio():
                    self._heard += 1
                    self.heard_after += frame.response_id == self.stopped
                    if self._heard == FRAMES_HEARD:
                        self._is_speaking.set()
                case ResponseDone():
                    self._is_over.set()
                case _:
                    pass
            await anyio.sleep(LISTENING_S)

    async def some(self) -> None:
        """Wait until some of an answer was heard."""
        await self._is_speaking.wait()
        self._is_speaking = anyio.Event()

    async def end(self) -> None:
        """Wait until an answer is over."""
        await self._is_over.wait()
        self._is_over = anyio.Event()


def _fenced(loop: Loop, rounds: int, folder: Path) -> Row:
    readings = [
        anyio.run(_us_until_fenced, folder / f"{loop}-{number}.db", backend=loop) for number in range(rounds)
    ]
    p50 = Figure(quantile(waits, 0.5) for waits, _ in readings)
    p99 = Figure(quantile(waits, 0.99) for waits, _ in readings)
    return Row(str(loop), (p50, p99, Figure((heard for _, heard in readings), HEARD_AFTER_INTERRUPT)))


async def _us_until_fenced(path: Path) -> tuple[list[float], int]:
    """
    Microseconds of each until others run, and the frames of interrupted answers that were heard all the same.

    Nobody can be given a frame before others run; that nobody is given one afterwards is what makes it the time
    until the answer is fenced.
    """
    adapter = _SpeakingAdapter()
    waits = []
    async with (
        SqliteJournal.open(path) as journal,
        open_session(
            SIDECAR[Records.SPANS], adapter, journal, run_id="call-0", restart_policy=RestartPolicy()
        ) as session,
        anyio.create_task_group() as tasks,
    ):
        listener = _Listener(session)
        tasks.start_soon(listener.listen)
        for number in range(INTERRUPTS):
            answer = f"response.{number}"
            adapter.speak(answer)
            await listener.some()
            for frame in FRAMES[:FRAMES_BETWEEN]:
                await session.send(frame)
            listener.stopped = answer
            began = time.perf_counter()
            call = _Watched(session.interrupt())
            await call
            assert call.others_run_at is not None
            waits.append((call.others_run_at - began) * 1e6)
            await listener.end()
        tasks.cancel_scope.cancel()
    return waits, listener.heard_after
