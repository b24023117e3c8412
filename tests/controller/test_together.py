"""Many tasks on one session, and long calls: order, fairness, and memory that stays flat."""

from __future__ import annotations

import gc
import tracemalloc
from functools import partial

import anyio
import pytest

from realtime_async import MediaSpan, RealtimeSessionController
from realtime_async.adapters.scripted import Delay, Script, ScriptedAdapter
from realtime_async.journals._verdicts import Durable
from realtime_async.ports import (
    JournalCursor,
    JournalRecord,
    RealtimeCloseReason,
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeSessionId,
    ResponseDone,
    StreamCursor,
)
from tests.controller.begun import begin
from tests.controller.staged import FRAME, Stage, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("span", [None, MediaSpan(7, 1.0)], ids=["alone", "spans"])
@pytest.mark.parametrize("capacity", [3, 500], ids=["full gate", "roomy gate"])
async def test_fifty_tasks_send_at_once_through_a_restart(
    stage: Stage, span: MediaSpan | None, capacity: int
) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(faults={("restart", 1): Delay(0.5)})),
        sidecar=plain_sidecar(span=span, queue_capacity=capacity),
    )
    frames = [audio(number) if number % 3 else text(number) for number in range(50)]
    staged.accepted = [str(frame.frame_id) for frame in frames]
    before = frames[:10]
    for frame in before:
        await staged.controller.send(frame)
    async with anyio.create_task_group() as tasks:
        await begin(tasks, staged.controller.begin_restart)
        for frame in frames[10:]:
            await begin(tasks, partial(staged.controller.send, frame))

        await staged.controller.complete_restart()

    assert [frame.frame_id for frame in staged.provider.sent] == [frame.frame_id for frame in frames]
    assert staged.controller.delivery.sent == 50


async def test_fifty_tasks_that_start_together_are_served_in_order(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("send", 1): Delay(1)})))
    async with anyio.create_task_group() as tasks:
        begun = [await begin(tasks, partial(staged.controller.send, text(number))) for number in range(50)]

    assert [each.error for each in begun] == [None] * 50
    assert [frame.frame_id for frame in staged.provider.sent] == [f"text.{number}" for number in range(50)]


async def test_everything_at_once_does_no_harm(stage: Stage) -> None:
    """Sends, a receive, interrupts and a restart under way together; the oracle looks at the end."""
    frames = [RealtimeOutputFrame.audio(FRAME, response_id="answer-1") for _ in range(30)]
    slow = {("send", number): Delay(0.1) for number in range(1, 40, 3)}
    staged = await stage.connected(
        ScriptedAdapter(Script(frames, faults=slow, kept_through=[StreamCursor.chunk(2)]))
    )
    controller = staged.controller

    async def send_all(first: int) -> None:
        for number in range(first, first + 10):
            await controller.send(text(number))

    async def receive_all() -> None:
        async for _ in controller.frames():
            await anyio.sleep(0.05)

    async def interrupt_often() -> None:
        for _ in range(5):
            await anyio.sleep(0.2)
            await controller.interrupt()

    async with anyio.create_task_group() as tasks:
        for sender in range(4):
            tasks.start_soon(send_all, 100 * sender + 1)
        tasks.start_soon(receive_all)
        tasks.start_soon(interrupt_often)
        for _ in range(3):
            await anyio.sleep(0.3)
            await controller.restart()
            await staged.check()
        await anyio.sleep(20)
        await controller.close()

    assert controller.delivery.sent == 40


class Silence:
    """A provider that takes everything at once, and never runs out of silence to say, one answer after the other."""

    adapter_ref = "adapter.silence"
    input_format = None
    output_format = None
    said = 0

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        return RealtimeConnectResponse("connection-1")

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        return None

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        return True

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        self.said += 1
        if self.said % 10 == 0:
            return RealtimeOutputFrame.of(ResponseDone())
        return RealtimeOutputFrame.audio(FRAME)

    async def interrupt(
        self, session_id: object, response_id: object, *, played_ms: int | None = None
    ) -> None:
        return None

    async def restart(self, session_id: object, connection_id: object) -> RealtimeConnectResponse:
        raise AssertionError

    async def close(self, session_id: RealtimeSessionId, reason: RealtimeCloseReason) -> None:
        return None


class Oblivion:
    """A journal that keeps nothing, so that what is left over is the session's own."""

    def append(self, record: JournalRecord) -> Durable:
        return Durable(JournalCursor(record.run_id, record.journal_seq))

    async def aclose(self) -> None:
        return None


# What is kept does not depend on the event loop, and watching every allocation is slow.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("span", [None, MediaSpan()], ids=["alone", "spans"])
async def test_memory_is_flat_however_long_the_session(span: MediaSpan | None) -> None:
    controller = RealtimeSessionController(
        plain_sidecar(span=span, replay_tail_s=1.0),
        Silence(),
        Oblivion(),  # type: ignore[arg-type]  # nobody reads it
        run_id="run-1",
    )

    async def talk(frames: int) -> None:
        for number in range(frames):
            await controller.send(RealtimeInputFrame.audio(FRAME))
            await controller.receive()
            if number % 100 == 0:
                await controller.interrupt()

    await controller.connect()
    tracemalloc.start()
    try:
        sizes = []
        # Every bounded buffer is full after the first.
        for frames in (2300, 500):
            await talk(frames)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    await controller.close()

    # A number kept per frame would be 16 KB, a record some 400 KB.
    assert sizes[1] - sizes[0] < 12_000
