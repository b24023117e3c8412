"""What comes first where two things happen in one moment."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from realtime_async import MediaSpan
from realtime_async._core.stint import CALLS_AT_MOST
from realtime_async.adapters.scripted import Delay, NowaitScriptedAdapter, Script, ScriptedAdapter
from realtime_async.controller import RealtimeReceived
from realtime_async.ports import RealtimeOutputFrame
from tests.controller.begun import begin
from tests.controller.staged import FRAME, Stage, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


async def test_who_sends_again_at_once_does_not_overtake_who_waits_in_line(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("send", 1): Delay(1)})))

    async def send_two() -> None:
        await staged.controller.send(text(1))
        await staged.controller.send(text(3))

    async with anyio.create_task_group() as tasks:
        await begin(tasks, send_two)
        await begin(tasks, partial(staged.controller.send, text(2)))

    assert [str(frame.frame_id) for frame in staged.provider.sent] == ["text.1", "text.2", "text.3"]


@pytest.mark.parametrize("kind", [ScriptedAdapter, NowaitScriptedAdapter], ids=["waiting", "nowait"])
async def test_who_lets_the_others_run_is_not_overtaken_meanwhile(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = await stage.connected(kind(), sidecar=plain_sidecar(span=MediaSpan(1000, 60.0)))
    await staged.controller.send(first := audio())
    given = [first.frame_id]

    async def send_one() -> None:
        frame = audio()
        given.append(frame.frame_id)
        await staged.controller.send(frame)

    async with anyio.create_task_group() as tasks:
        for _ in range(3 * CALLS_AT_MOST):
            tasks.start_soon(send_one)

    assert [frame.frame_id for frame in staged.provider.sent] == given


async def test_a_frame_that_comes_in_the_moment_of_a_restart_is_received(stage: Stage) -> None:
    staged = await stage.connected()
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)

        staged.provider.feed(RealtimeOutputFrame.audio(FRAME, frame_id="last"))
        await staged.controller.begin_restart()
        await staged.controller.complete_restart()
        staged.provider.feed(RealtimeOutputFrame.audio(FRAME, frame_id="next"))

    assert isinstance(receiving.result, RealtimeReceived)
    assert receiving.result.frame.frame_id == "last"
