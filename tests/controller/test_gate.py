"""The gate: what is sent without a connection waits in it, is bounded, and comes out in order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import pytest

from realtime_async._core.sidecar import RealtimeOverflowPolicy, RealtimeSessionSidecar
from realtime_async.adapters.scripted import Delay, Drop, FrameFate, Hang, Refuse, ScriptedAdapter
from realtime_async.controller import Deadlines
from realtime_async.errors import BackpressureOverflow, ContractViolation, DeadlineExceeded
from realtime_async.journals import MemoryJournal
from realtime_async.ports import AudioFormat, RealtimeInputFrame, RealtimeRestartReason, RealtimeSessionRecord
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, Stage, StagedSession, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


def holding(frames: int, policy: str = "gate_during_restart", **fields: float) -> RealtimeSessionSidecar:
    return plain_sidecar(queue_capacity=frames, overflow_policy=RealtimeOverflowPolicy(policy), **fields)


async def gated(stage: Stage, frames: Sequence[RealtimeInputFrame], **options: Any) -> StagedSession:
    """A session in the midst of a restart, with *frames* in its gate."""
    staged = await stage.connected(**options)
    await staged.controller.begin_restart()
    for frame in frames:
        await staged.controller.send(frame)
    return staged


def ids(frames: Sequence[RealtimeInputFrame]) -> list[str]:
    return [str(frame.frame_id) for frame in frames]


async def test_gated_frames_reach_the_next_connection_in_order(stage: Stage) -> None:
    frames = [audio(), text(), audio(), text()]
    staged = await gated(stage, frames)

    await staged.controller.complete_restart()

    assert ids(staged.provider.sent) == ids(frames)
    assert [*staged.provider.sent_on] == ["adapter.scripted.connection.2"]
    assert staged.controller.state.backpressure_state.queued_frames == 0


async def test_every_drained_frame_has_two_records_of_its_own(stage: Stage) -> None:
    frames = [audio(), audio()]
    staged = await gated(stage, frames)
    before = len(await staged.records())

    await staged.controller.complete_restart()

    records = [record.payload for record in (await staged.records())[before:]]
    assert [(str(record.kind), record.frame_id) for record in records] == [
        ("restart_completed", None),
        ("input_send_requested", frames[0].frame_id),
        ("input_sent", frames[0].frame_id),
        ("input_send_requested", frames[1].frame_id),
        ("input_sent", frames[1].frame_id),
    ]


async def test_the_gate_counts_what_it_holds_and_has_held(stage: Stage) -> None:
    staged = await gated(stage, [audio(), audio(), text()], sidecar=holding(5))

    held = staged.controller.state.backpressure_state
    await staged.controller.complete_restart()
    empty = staged.controller.state.backpressure_state

    assert (held.capacity, held.queued_frames, held.gated_frames, held.last_action) == (5, 3, 3, "gate")
    assert (empty.queued_frames, empty.gated_frames, empty.dropped_frames) == (0, 3, 0)


async def test_a_full_gate_makes_a_send_wait_for_room(stage: Stage) -> None:
    first, second, third, fourth = frames = [audio() for _ in range(4)]
    staged = await gated(stage, [first, second], sidecar=holding(2))
    async with anyio.create_task_group() as tasks:
        waiting = [await begin(tasks, partial(staged.controller.send, frame)) for frame in (third, fourth)]
        waited = [each.is_over for each in waiting]
        await staged.check()

        await staged.controller.complete_restart()
        await staged.controller.send(last := audio())

    assert waited == [False, False]
    assert [each.error for each in waiting] == [None, None]
    assert ids(staged.provider.sent) == ids([*frames, last])


async def test_a_send_that_waited_for_room_keeps_its_place_over_another_restart(stage: Stage) -> None:
    frames, third = [audio(), audio()], audio()
    staged = await gated(stage, frames, sidecar=holding(2))
    staged.provider.inject("send", Delay(1))
    async with anyio.create_task_group() as tasks:
        waiting = await begin(tasks, lambda: staged.controller.send(third))
        restart = await begin(tasks, staged.controller.complete_restart)
        again = await begin(tasks, staged.controller.begin_restart)
        await anyio.sleep(2)
        assert [each.error for each in (waiting, restart, again)] == [None, None, None]
        assert waiting.is_over

        await staged.controller.complete_restart()

    assert ids(staged.provider.sent) == ids([*frames, third])


async def test_waiting_for_room_ends_at_the_deadline_of_the_gate(stage: Stage) -> None:
    staged = await gated(stage, [audio()], sidecar=holding(1), deadlines=Deadlines(send=2, gate=7))
    records = await staged.kinds()
    began = anyio.current_time()

    with pytest.raises(DeadlineExceeded):
        await staged.controller.send(audio())

    assert anyio.current_time() - began == pytest.approx(7, abs=0.5)
    assert await staged.kinds() == records
    assert (staged.controller.delivery.refused, staged.controller.delivery.accepted) == (1, 1)


async def test_who_stood_in_line_before_the_gate_was_full_waits_for_room_as_long(stage: Stage) -> None:
    staged = await stage.connected(sidecar=holding(1), deadlines=Deadlines(send=4, gate=9))
    staged.provider.inject("send", Delay(2))
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        # The first is in flight, the second goes into the gate: two are in line for its room.
        sends = [await begin(tasks, partial(staged.controller.send, text())) for _ in range(4)]
        await staged.controller.begin_restart()
        await anyio.sleep(5)

        assert [send.is_over for send in sends] == [True, True, False, False]
        await anyio.sleep(5)

    assert [type(send.error) for send in sends[2:]] == [DeadlineExceeded, DeadlineExceeded]
    assert [send.ended_at - began for send in sends[2:]] == pytest.approx([9, 9], abs=0.5)


async def test_a_send_cancelled_while_it_waits_for_room_accepted_nothing(stage: Stage) -> None:
    first, second, third = audio(), audio(), audio()
    staged = await gated(stage, [first], sidecar=holding(1))
    async with anyio.create_task_group() as tasks:
        given_up = await begin(tasks, lambda: staged.controller.send(second))
        patient = await begin(tasks, lambda: staged.controller.send(third))
        records = await staged.kinds()

        given_up.scope.cancel()
        await settled()

        assert await staged.kinds() == records
        assert not patient.is_over
        await staged.controller.complete_restart()

    assert ids(staged.provider.sent) == ids([first, third])
    assert staged.controller.delivery.refused == 1


async def test_a_full_gate_that_drops_gives_up_its_oldest_frame_that_is_not_critical(stage: Stage) -> None:
    word, old, young = text(), audio(), audio()
    staged = await gated(stage, [word, old, young], sidecar=holding(3, "drop_noncritical"))
    before = len(await staged.records())

    record = await staged.controller.send(latest := text())

    appended = [each.payload for each in (await staged.records())[before:]]
    assert record.kind == "backpressure_applied"
    assert {(str(each.kind), each.frame_id) for each in appended} == {
        ("input_dropped", old.frame_id),
        ("backpressure_applied", latest.frame_id),
    }
    state = staged.controller.state.backpressure_state
    assert (state.queued_frames, state.dropped_frames, state.last_action) == (3, 1, "drop_noncritical")
    await staged.controller.complete_restart()
    assert ids(staged.provider.sent) == ids([word, young, latest])
    assert staged.controller.delivery.dropped == 1


async def test_a_full_gate_of_critical_frames_makes_even_a_dropping_session_wait(stage: Stage) -> None:
    words = [text(), text()]
    staged = await gated(stage, words, sidecar=holding(2, "drop_noncritical"))
    async with anyio.create_task_group() as tasks:
        waiting = await begin(tasks, lambda: staged.controller.send(audio(77)))
        waited = not waiting.is_over

        await staged.controller.complete_restart()

    assert waited
    assert ids(staged.provider.sent) == [*ids(words), "audio.77"]


async def test_a_full_gate_that_refuses_raises_and_appends_nothing(stage: Stage) -> None:
    staged = await gated(stage, [audio()], sidecar=holding(1, "fail_send"))
    records = await staged.kinds()

    with pytest.raises(BackpressureOverflow):
        await staged.controller.send(audio())

    assert await staged.kinds() == records
    assert staged.controller.delivery.refused == 1
    assert staged.controller.state.backpressure_state.queued_frames == 1


async def test_an_overflow_policy_may_be_given_by_its_name(stage: Stage) -> None:
    by_name = plain_sidecar(queue_capacity=1, overflow_policy="fail_send")
    staged = await gated(stage, [audio()], sidecar=by_name)

    with pytest.raises(BackpressureOverflow):
        await staged.controller.send(audio())


async def test_a_frame_larger_than_the_sidecar_allows_is_refused_as_a_mistake(stage: Stage) -> None:
    staged = await stage.connected(sidecar=plain_sidecar(max_frame_bytes=960))
    await staged.controller.send(RealtimeInputFrame.audio(FRAME))

    with pytest.raises(ContractViolation, match="max_frame_bytes"):
        await staged.controller.send(RealtimeInputFrame.audio(FRAME + FRAME[:2]))
    with pytest.raises(ContractViolation, match="max_frame_bytes"):
        await staged.controller.send(RealtimeInputFrame.text("é" * 481))

    assert staged.adapter.operations == ["connect", "send"]
    assert staged.controller.delivery.refused == 0


async def test_audio_is_cut_between_samples_of_the_adapters_format(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(input_format=AudioFormat(channels=2)))

    with pytest.raises(ContractViolation, match="samples"):
        await staged.controller.send(RealtimeInputFrame.audio(bytes(6)))

    assert staged.adapter.operations == ["connect"]


async def test_frames_that_waited_too_long_are_dropped_at_the_drain(stage: Stage) -> None:
    staged = await gated(stage, [stale := audio()], sidecar=holding(9, stale_after_s=2.0))
    await anyio.sleep(1.5)
    await staged.controller.send(fresh := text())
    await anyio.sleep(1)
    before = len(await staged.records())

    await staged.controller.complete_restart()

    records = [each.payload for each in (await staged.records())[before:]]
    assert ids(staged.provider.sent) == ids([fresh])
    assert [each.frame_id for each in records if each.kind == "input_dropped"] == [stale.frame_id]
    assert staged.controller.delivery.dropped == 1


async def test_frames_wait_as_long_as_it_takes_unless_told(stage: Stage) -> None:
    staged = await gated(stage, [frame := audio()])
    await anyio.sleep(3600)

    await staged.controller.complete_restart()

    assert ids(staged.provider.sent) == ids([frame])


async def test_a_refused_frame_does_not_stop_the_drain(stage: Stage) -> None:
    refused, taken = text(), text()
    staged = await gated(stage, [refused, taken])
    staged.provider.inject("send", Refuse())

    await staged.controller.complete_restart()

    assert ids(staged.provider.sent) == ids([taken])
    delivery = staged.controller.delivery
    assert (delivery.sent, delivery.failed, delivery.queued) == (1, 1, 0)


async def test_a_connection_lost_in_the_drain_leaves_the_rest_gated(stage: Stage) -> None:
    frames = [text() for _ in range(4)]
    staged = await gated(stage, frames)
    staged.provider.inject("send")
    staged.provider.inject("send", Drop(FrameFate.NOT_SENT))

    await staged.controller.complete_restart()

    assert ids(staged.provider.sent) == ids(frames[:1])
    assert staged.controller.state.backpressure_state.queued_frames == 3
    await staged.check()
    await staged.controller.begin_restart()
    await staged.controller.complete_restart()
    assert ids(staged.provider.sent) == ids(frames)


async def test_who_sends_during_a_drain_waits_for_nothing_and_goes_last(stage: Stage) -> None:
    frames = [audio(), audio()]
    staged = await gated(stage, frames)
    staged.provider.inject("send", Delay(1))
    async with anyio.create_task_group() as tasks:
        draining = await begin(tasks, staged.controller.complete_restart)

        joined = await staged.controller.send(last := audio())

        assert not draining.is_over
    assert joined.kind == "backpressure_applied"
    assert ids(staged.provider.sent) == ids([*frames, last])
    assert staged.controller.delivery.sent == 3
    assert (await staged.kinds())[-2:] == ["input_send_requested", "input_sent"]


async def test_a_drain_takes_in_as_many_again_and_ends_though_its_senders_do_not_pause(
    stage: Stage,
) -> None:
    frames = [audio() for _ in range(2)]
    staged = await gated(stage, frames, sidecar=holding(2))
    staged.provider.inject("send", Delay(1))
    staged.provider.inject("send", Delay(1))
    staged.provider.inject("send", Delay(1))
    late = [audio() for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        draining = await begin(tasks, staged.controller.complete_restart)
        sends = [await begin(tasks, partial(staged.controller.send, frame)) for frame in late]
        # One place is free; the second to join comes in with the next frame, and then nobody does.
        waited = [not send.is_over for send in sends]
        await draining.over()
        still_wait = [not send.is_over for send in sends]

    assert waited == [False, True, True, True]
    assert still_wait[:2] == [False, False]
    assert [send.result.kind for send in sends[2:] if isinstance(send.result, RealtimeSessionRecord)] == [
        "input_sent",
        "input_sent",
    ]
    assert ids(staged.provider.sent) == ids([*frames, *late])


async def test_who_joined_a_drain_that_lost_its_connection_waits_for_the_next(stage: Stage) -> None:
    frames = [audio(), audio()]
    staged = await gated(stage, frames)
    staged.provider.inject("send", Delay(1), Drop(FrameFate.NOT_SENT))
    async with anyio.create_task_group() as tasks:
        await begin(tasks, staged.controller.complete_restart)
        await staged.controller.send(last := audio())

    assert staged.provider.sent == []
    assert staged.controller.state.backpressure_state.queued_frames == 3
    await staged.controller.begin_restart()
    await staged.controller.complete_restart()
    assert ids(staged.provider.sent) == ids([*frames, last])


async def test_a_frame_in_doubt_in_the_drain_is_not_sent_again_by_itself(stage: Stage) -> None:
    frames = [text() for _ in range(3)]
    staged = await gated(stage, frames)
    staged.provider.inject("send", Drop(FrameFate.VANISHED))
    await staged.controller.complete_restart()
    await staged.controller.begin_restart()

    await staged.controller.complete_restart()

    assert ids(staged.provider.sent) == ids(frames[1:])
    assert (staged.controller.delivery.sent, staged.controller.delivery.in_doubt) == (2, 1)


async def test_a_restart_begun_during_the_drain_ends_it(stage: Stage) -> None:
    frames = [text() for _ in range(3)]
    staged = await gated(stage, frames)
    staged.provider.inject("send", Delay(1))
    async with anyio.create_task_group() as tasks:
        draining = await begin(tasks, staged.controller.complete_restart)

        await staged.controller.begin_restart()
        await settled()

        assert draining.is_over
        assert draining.error is None
        assert ids(staged.provider.sent) == ids(frames[:1])
        await staged.controller.complete_restart()

    assert ids(staged.provider.sent) == ids(frames)
    assert staged.controller.state.restart_count == 2


async def test_after_a_drain_that_was_cancelled_the_next_send_drains_first(stage: Stage) -> None:
    first, second, third = text(), text(), text()
    staged = await gated(stage, [first, second, third])
    staged.provider.inject("send")
    staged.provider.inject("send", Hang())
    async with anyio.create_task_group() as tasks:
        draining = await begin(tasks, staged.controller.complete_restart)
        draining.scope.cancel()
        await settled()
    await staged.check()

    await staged.controller.send(last := text())

    assert ids(staged.provider.sent) == ids([first, third, last])
    assert staged.controller.delivery.in_doubt == 1
    assert staged.controller.state.backpressure_state.queued_frames == 0


async def test_a_frame_whose_drain_was_cancelled_before_its_call_still_waits(stage: Stage) -> None:
    frames = [text() for _ in range(3)]
    staged = await gated(stage, frames)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await staged.controller.complete_restart()
    if staged.controller.state.restart_count == 0:
        await staged.controller.complete_restart()

    await staged.controller.send(last := text())

    assert ids(staged.provider.sent) == ids([*frames, last])


@pytest.mark.parametrize("reason", ["connection_lost", "stalled"])
async def test_a_frame_whose_drain_is_cut_and_cancelled_in_one_moment_waits_once(
    stage: Stage, reason: str
) -> None:
    # The first of the drain: its call waits for its intent.
    journal = FaultyJournal(MemoryJournal(), fail_at=8, how=JournalFault.STALL, stall_s=1.0)
    frames = [text() for _ in range(2)]
    staged = await gated(stage, frames, journal=journal, sidecar=holding(2))
    async with anyio.create_task_group() as tasks:
        draining = await begin(tasks, staged.controller.complete_restart)

        draining.scope.cancel()
        await staged.controller.begin_restart(RealtimeRestartReason(reason))

        assert draining.error is None
    await staged.check()
    await staged.controller.complete_restart()
    assert ids(staged.provider.sent) == ids(frames)


async def test_a_frame_whose_drain_and_close_are_cancelled_in_one_moment_waits_for_nothing(
    stage: Stage,
) -> None:
    # As above, and the close waits for that call.
    journal = FaultyJournal(MemoryJournal(), fail_at=8, how=JournalFault.STALL, stall_s=1.0)
    staged = await gated(stage, [text(), text()], journal=journal)
    async with anyio.create_task_group() as tasks:
        draining = await begin(tasks, staged.controller.complete_restart)
        closing = await begin(tasks, staged.controller.close)

        closing.scope.cancel()
        draining.scope.cancel()

    await staged.check()
    assert (await staged.kinds())[-1] == "close_failed"
    assert (staged.controller.delivery.failed, staged.controller.delivery.dropped) == (1, 1)


async def test_closing_drops_what_the_gate_holds_each_in_a_record(stage: Stage) -> None:
    frames = [audio(), text()]
    staged = await gated(stage, frames)
    before = len(await staged.records())

    await staged.controller.close()

    records = [each.payload for each in (await staged.records())[before:]]
    assert [each.frame_id for each in records if each.kind == "input_dropped"] == [
        frame.frame_id for frame in frames
    ]
    assert (staged.controller.delivery.dropped, staged.controller.delivery.queued) == (2, 0)
    assert staged.provider.sent == []


async def test_a_send_that_waits_for_room_is_woken_by_the_close(stage: Stage) -> None:
    staged = await gated(stage, [audio()], sidecar=holding(1))
    async with anyio.create_task_group() as tasks:
        waiting = await begin(tasks, lambda: staged.controller.send(audio()))

        await staged.controller.close()
        await settled()

        assert waiting.is_over
        assert waiting.error is not None

    assert staged.controller.delivery.accepted == 1
