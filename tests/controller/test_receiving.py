"""Receiving: what comes, in order, under one intent; nothing is lost by giving up."""

from __future__ import annotations

import gc

import anyio
import pytest
from anyio.lowlevel import checkpoint

from realtime_async.adapters.scripted import Drop, EndOfStream, Refuse, Script, ScriptedAdapter
from realtime_async.errors import ProviderFailure
from realtime_async.ports import (
    CursorLabel,
    CursorPrecision,
    OutputText,
    RealtimeOutputFrame,
    SpeechStarted,
    StreamCursor,
)
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, SECRET, Stage, text

pytestmark = pytest.mark.virtual_time


def spoken(number: int) -> RealtimeOutputFrame:
    return RealtimeOutputFrame.audio(FRAME, response_id="answer-1", frame_id=f"out.{number}")


async def test_a_receive_that_waits_delays_no_send(stage: Stage) -> None:
    staged = await stage.connected()
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)
        began = anyio.current_time()

        for _ in range(5):
            await staged.controller.send(text())

        assert anyio.current_time() == began
        assert not receiving.is_over
        receiving.scope.cancel()

    assert len(staged.provider.sent) == 5


async def test_a_receive_may_wait_for_ever(stage: Stage) -> None:
    staged = await stage.connected()
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)
        await anyio.sleep(24 * 3600)
        assert not receiving.is_over

        staged.provider.feed(spoken(1))
        await settled()

        assert receiving.is_over


async def test_an_idle_receive_writes_one_intent_however_often_it_is_given_up(stage: Stage) -> None:
    staged = await stage.connected()
    for _ in range(20):
        with anyio.move_on_after(0.1):
            await staged.controller.receive()

    assert await staged.kinds(after=2) == ["output_receive_requested"]
    staged.provider.feed(spoken(1))
    received = await staged.controller.receive()

    assert received is not None
    assert received.frame.frame_id == "out.1"
    assert await staged.kinds(after=2) == ["output_receive_requested", "output_received"]


async def test_what_comes_while_nobody_receives_is_received_later_in_order(stage: Stage) -> None:
    staged = await stage.connected()
    with anyio.move_on_after(0.1):
        await staged.controller.receive()
    staged.provider.feed(*map(spoken, range(1, 6)))

    received = [await staged.controller.receive() for _ in range(5)]

    assert [each.frame.frame_id for each in received if each] == [f"out.{n}" for n in range(1, 6)]
    assert [each.frame.cursor.chunk_sequence for each in received if each and each.frame.cursor] == [
        1,
        2,
        3,
        4,
        5,
    ]


async def test_frames_are_iterated_over_until_the_stream_ends(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([spoken(1), spoken(2), EndOfStream()])))

    received = [each.frame_id async for each in staged.controller.frames()]

    assert received == ["out.1", "out.2"]
    assert (await staged.kinds())[-1] == "output_ended"


async def test_leaving_the_frames_early_needs_no_clearing_up(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([spoken(1), spoken(2)])))
    async for frame in staged.controller.frames():
        assert frame.frame_id == "out.1"
        break

    gc.collect()
    received = await staged.controller.receive()

    assert received is not None
    assert received.frame.frame_id == "out.2"


async def test_a_stream_that_ended_goes_on_after_a_restart(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([EndOfStream()])))
    assert await staged.controller.receive() is None

    await staged.controller.restart()
    staged.provider.feed(spoken(1))
    received = await staged.controller.receive()

    assert received is not None
    assert received.frame.frame_id == "out.1"


async def test_a_receive_is_woken_by_a_close_with_nothing(stage: Stage) -> None:
    staged = await stage.connected()
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)

        await staged.controller.close()
        await settled()

        assert receiving.is_over
        assert (receiving.result, receiving.error) == (None, None)

    kinds = await staged.kinds()
    assert kinds.index("output_ended") < kinds.index("closed")


async def test_after_a_refusal_the_next_receive_goes_on(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([Refuse(), spoken(1)])))

    with pytest.raises(ProviderFailure):
        await staged.controller.receive()
    received = await staged.controller.receive()

    assert received is not None
    assert await staged.kinds(after=2) == [
        "output_receive_requested", "output_receive_failed", "output_receive_requested", "output_received",
    ]  # fmt: skip


async def test_a_receive_given_up_while_there_is_no_connection_does_no_harm(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([Drop()])))
    with pytest.raises(ProviderFailure):
        await staged.controller.receive()
    with anyio.move_on_after(5) as scope:
        await staged.controller.receive()
    assert scope.cancelled_caught

    await staged.controller.restart()
    staged.provider.feed(spoken(1))

    assert await staged.controller.receive() is not None


@pytest.mark.parametrize("operation", ["send", "receive"])
async def test_a_loop_over_frames_lets_others_run_at_least_once_in_50_calls(
    stage: Stage, operation: str
) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([spoken(n) for n in range(400)])))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        await checkpoint()
        before = turns
        for _ in range(400):
            if operation == "receive":
                await staged.controller.receive()
            else:
                await staged.controller.send(text())

        # Trio shuffles: of two turns that it gives away, one may come too early to be seen.
        assert turns >= before + 4
        tasks.cancel_scope.cancel()


async def test_events_without_media_are_received_like_any_other(stage: Stage) -> None:
    frames = [RealtimeOutputFrame.of(SpeechStarted(120)), RealtimeOutputFrame.of(OutputText(SECRET))]
    staged = await stage.connected(ScriptedAdapter(Script(frames)))

    received = [await staged.controller.receive() for _ in frames]

    assert [each.frame.event for each in received if each] == [SpeechStarted(120), OutputText(SECRET)]


async def test_a_cursor_that_the_adapter_gave_is_kept(stage: Stage) -> None:
    cursor = StreamCursor(7, 960, CursorPrecision.EXACT, CursorLabel.RECEIVE)
    staged = await stage.connected(ScriptedAdapter(Script([spoken(1).stamped(cursor)])))

    received = await staged.controller.receive()

    assert received is not None
    assert received.frame.cursor == cursor
