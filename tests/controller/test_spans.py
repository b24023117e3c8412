"""Spans: many frames under one intent, and what ends them."""

from __future__ import annotations

import hashlib
from functools import partial

import anyio
import pytest

from realtime_async import Deadlines, MediaSpan
from realtime_async.adapters.scripted import (
    Delay,
    Drop,
    FrameFate,
    NowaitScriptedAdapter,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import JournalFailure, ProviderConnectionLost, ProviderFailure
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    RealtimeInputFrame,
    RealtimeOutputFrame,
)
from realtime_async.testing.journals import FaultyJournal
from tests.controller.begun import begin
from tests.controller.recording import RecordedJournal
from tests.controller.spanned import SPAN, after_connecting, shown, spanned
from tests.controller.staged import FRAME, Stage, StagedSession, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=[ScriptedAdapter, NowaitScriptedAdapter], ids=["waiting", "nowait"])
def kind(request: pytest.FixtureRequest) -> type[ScriptedAdapter]:
    """Adapters that offer `send_nowait`, and those that don't."""
    chosen: type[ScriptedAdapter] = request.param
    return chosen


async def test_the_first_frame_of_a_span_reserves_the_next(stage: Stage, kind: type[ScriptedAdapter]) -> None:
    staged = await spanned(stage, kind)

    await staged.controller.send(audio())

    assert shown(await after_connecting(staged)) == [
        ("input_send_requested", 3, 1, 3),
        ("input_send_requested", 3, 4, 6),
    ]


async def test_a_full_span_has_one_intent_and_one_result(stage: Stage, kind: type[ScriptedAdapter]) -> None:
    staged = await spanned(stage, kind)

    records = [await staged.controller.send(audio()) for _ in range(4)]

    assert sorted(shown(await after_connecting(staged))) == [
        ("input_send_requested", 3, 1, 3),
        ("input_send_requested", 3, 4, 6),
        ("input_send_requested", 3, 7, 9),
        ("input_sent", 3, 1, 3),
    ]
    assert [str(record.kind) for record in records] == ["input_send_requested"] * 4
    assert records[0] == records[2] != records[3]


async def test_the_spans_of_two_runs_in_a_journal_do_not_end_together(stage: Stage) -> None:
    """What an end writes takes long: of many calls that were opened at once, each would be late by all the others."""
    sidecar = plain_sidecar(span=MediaSpan(50, 1.0), replay_tail_s=0.0)
    first = await stage.connected(sidecar=sidecar)
    second = await stage.connected(sidecar=sidecar, journal=first.journal, run_id="run-2")

    for _ in range(75):
        await anyio.sleep(0.02)
        for staged in (first, second):
            await staged.controller.send(audio())

    ends = [
        [each for each in shown(await after_connecting(staged)) if each[0] == "input_sent"]
        for staged in (first, second)
    ]
    assert ends == [[("input_sent", 50, 1, 50)], [("input_sent", 20, 1, 20), ("input_sent", 50, 21, 70)]]


async def test_a_first_span_that_fills_at_once_holds_as_many_frames_as_any(stage: Stage) -> None:
    first = await spanned(stage)
    second = await spanned(stage, journal=first.journal, run_id="run-2")

    for _ in range(3):
        await second.controller.send(audio())

    assert ("input_sent", 3, 1, 3) in shown(await after_connecting(second))


async def test_the_extent_of_a_span_states_its_bytes_and_their_hash(stage: Stage) -> None:
    staged = await spanned(stage)
    pieces = [FRAME, FRAME[:480], FRAME[:2]]
    for piece in pieces:
        await staged.controller.send(RealtimeInputFrame.audio(piece))

    await staged.controller.close()

    sent = next(record for record in await after_connecting(staged) if record.kind == "input_sent")
    assert sent.extent is not None
    assert sent.extent.bytes == 1442
    assert sent.extent.sha256 == hashlib.sha256(b"".join(pieces)).hexdigest()


async def test_frames_in_a_span_are_counted_and_numbered_one_by_one(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = await spanned(stage, kind)
    for _ in range(5):
        await staged.controller.send(audio())

    assert [frame.cursor.chunk_sequence for frame in staged.provider.sent if frame.cursor] == [1, 2, 3, 4, 5]
    assert staged.controller.delivery.sent == 5
    assert staged.controller.state.send_cursor.chunk_sequence == 5
    await staged.check()


async def test_video_goes_by_the_span_too(stage: Stage) -> None:
    staged = await spanned(stage)

    await staged.controller.send(RealtimeInputFrame.video(FRAME))

    assert [frames for _, frames, _, _ in shown(await after_connecting(staged))] == [3, 3]


async def test_a_text_frame_ends_the_span_that_is_sent_and_is_recorded_after_it(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = await spanned(stage, kind)
    await staged.controller.send(audio())
    await staged.controller.send(audio())
    before = len(await after_connecting(staged))

    await staged.controller.send(text())

    records = (await after_connecting(staged))[before:]
    assert [str(record.kind) for record in records] == ["input_sent", "input_send_requested", "input_sent"]
    assert shown(records) == [("input_sent", 2, 1, 2)]
    assert records[2].send_cursor.chunk_sequence == 3


@pytest.mark.parametrize("operation", ["interrupt", "begin_restart", "close"])
async def test_a_control_operation_ends_the_spans_of_both_directions_first(
    stage: Stage, kind: type[ScriptedAdapter], operation: str
) -> None:
    staged = await spanned(stage, kind)
    staged.provider.feed(RealtimeOutputFrame.audio(FRAME))
    await staged.controller.send(audio())
    await staged.controller.receive()
    before = len(await after_connecting(staged))

    await getattr(staged.controller, operation)()

    records = (await after_connecting(staged))[before:]
    assert sorted(shown(records)[:2]) == [("input_sent", 1, 1, 1), ("output_received", 1, 1, 1)]
    assert str(records[2].kind) in {"interrupt_requested", "restart_requested", "close_requested"}
    await staged.check()


async def test_an_unused_reservation_serves_the_next_span_from_where_the_last_one_ended(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = await spanned(stage, kind)
    await staged.controller.send(audio())
    await staged.controller.interrupt()
    intents = (await staged.kinds()).count("input_send_requested")

    for _ in range(3):
        await staged.controller.send(audio())
    await staged.controller.interrupt()

    assert intents == 2
    results = [each for each in shown(await after_connecting(staged)) if each[0] == "input_sent"]
    assert results == [("input_sent", 1, 1, 1), ("input_sent", 3, 2, 4)]
    assert (await staged.kinds()).count("input_send_requested") == 3


async def test_an_unused_reservation_gets_its_result_at_close_with_no_frames(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = await spanned(stage, kind)
    staged.provider.feed(RealtimeOutputFrame.audio(FRAME))
    await staged.controller.send(audio())
    await staged.controller.receive()

    await staged.controller.close()

    results = [each for each in shown(await after_connecting(staged)) if not each[0].endswith("requested")]
    assert ("input_sent", 1, 1, 1) in results
    assert ("output_received", 1, 1, 1) in results
    assert [frames for name, frames, _, _ in results if name == "input_sent"] == [1, 0]
    assert [frames for name, frames, _, _ in results if name != "input_sent"] == [1, 0]
    await staged.check()


async def test_a_span_ends_by_its_seconds_at_the_next_operation(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = await spanned(stage, kind)
    await staged.controller.send(audio())
    await anyio.sleep(5)
    idle = await staged.kinds()

    await staged.controller.send(audio())

    assert "input_sent" not in idle
    assert ("input_sent", 1, 1, 1) in shown(await after_connecting(staged))


async def test_a_refusal_inside_a_span_ends_it(stage: Stage, kind: type[ScriptedAdapter]) -> None:
    staged = await spanned(stage, kind, Script(faults={("send", 3): Refuse()}))
    await staged.controller.send(audio())
    await staged.controller.send(audio())

    with pytest.raises(ProviderFailure):
        await staged.controller.send(audio())

    failed = (await after_connecting(staged))[-1]
    assert shown([failed]) == [("input_send_failed", 2, 1, 2)]
    delivery = staged.controller.delivery
    assert (delivery.sent, delivery.failed) == (2, 1)
    await staged.controller.send(audio())
    assert staged.provider.sent[-1].cursor is not None
    assert staged.provider.sent[-1].cursor.chunk_sequence == 3


@pytest.mark.parametrize("fate", [FrameFate.ARRIVED, FrameFate.VANISHED])
async def test_a_frame_of_a_span_that_may_have_arrived_is_in_doubt(
    stage: Stage, kind: type[ScriptedAdapter], fate: FrameFate
) -> None:
    staged = await spanned(stage, kind, Script(faults={("send", 2): Drop(fate)}))
    await staged.controller.send(audio())

    with pytest.raises(ProviderConnectionLost):
        await staged.controller.send(audio())

    failed = (await after_connecting(staged))[-1]
    assert shown([failed]) == [("input_send_failed", 1, 1, 1)]
    assert failed.error is not None
    assert failed.error.retry == "unknown_outcome"
    delivery = staged.controller.delivery
    assert (delivery.sent, delivery.in_doubt) == (1, 1)
    await staged.check()


async def test_a_frame_of_a_span_that_certainly_did_not_arrive_goes_to_the_gate(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = await spanned(stage, kind, Script(faults={("send", 2): Drop(FrameFate.NOT_SENT)}))
    await staged.controller.send(audio())

    record = await staged.controller.send(frame := audio())

    assert record.kind == "backpressure_applied"
    delivery = staged.controller.delivery
    assert (delivery.sent, delivery.failed, delivery.queued) == (1, 0, 1)
    await staged.check()
    await staged.controller.restart()
    assert staged.provider.sent[-1].frame_id == frame.frame_id


async def test_the_first_frame_of_a_span_may_fail(stage: Stage, kind: type[ScriptedAdapter]) -> None:
    staged = await spanned(stage, kind, Script(faults={("send", 1): Refuse()}))

    with pytest.raises(ProviderFailure):
        await staged.controller.send(audio())

    assert shown([(await after_connecting(staged))[-1]]) == [("input_send_failed", 0, None, None)]
    await staged.check()


async def test_gated_frames_are_drained_with_records_of_their_own(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = await spanned(stage, kind)
    await staged.controller.send(audio())
    await staged.controller.begin_restart()
    frames = [audio(), audio()]
    for frame in frames:
        await staged.controller.send(frame)
    before = len(await after_connecting(staged))

    await staged.controller.complete_restart()
    await staged.controller.send(audio())

    records = (await after_connecting(staged))[before:]
    assert [record.frame_id for record in records if record.kind == "input_sent"] == [
        frame.frame_id for frame in frames
    ]
    assert [frame.cursor.chunk_sequence for frame in staged.provider.sent if frame.cursor] == [1, 2, 3, 4]


async def test_a_span_with_a_frame_in_flight_ends_with_it_after_the_interrupt_was_announced(
    stage: Stage,
) -> None:
    staged = await spanned(stage, script=Script(faults={("send", 2): Delay(1)}))
    await staged.controller.send(audio())
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(staged.controller.send, audio()))
        began = anyio.current_time()

        await staged.controller.interrupt()

        assert anyio.current_time() == began
        assert not sending.is_over
        await anyio.sleep(2)

    records = await after_connecting(staged)
    kinds = [str(record.kind) for record in records]
    assert ("input_sent", 2, 1, 2) in shown(records)
    assert kinds.index("interrupt_requested") < kinds.index("input_sent")
    await staged.controller.send(audio())
    assert [each for each in shown(await after_connecting(staged)) if each[0] == "input_sent"] == [
        ("input_sent", 2, 1, 2)
    ]


def stalling(fail_at: int, seconds: float) -> RecordedJournal:
    return RecordedJournal(FaultyJournal(MemoryJournal(), fail_at=fail_at, how="stall", stall_s=seconds))


async def test_a_journal_that_stalls_for_less_than_a_span_is_not_heard(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    """The fourth record reserves the second span: it is late, and the frames of the first go on."""
    staged = await spanned(stage, kind, journal=stalling(4, 0.05))
    for _ in range(6):
        before = anyio.current_time()
        await staged.controller.send(audio())
        assert anyio.current_time() == before
        await anyio.sleep(0.02)

    assert len(staged.provider.sent) == 6


async def test_a_send_waits_for_the_intent_of_its_span_beyond_that(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = await spanned(stage, kind, journal=stalling(4, 3.0))
    began = anyio.current_time()
    for _ in range(3):
        await staged.controller.send(audio())
    paused = anyio.current_time()

    await staged.controller.send(audio())

    assert paused == began
    assert anyio.current_time() - began == pytest.approx(3.0)
    await staged.check()


async def test_a_send_does_not_wait_longer_than_a_journal_may_take(
    stage: Stage, kind: type[ScriptedAdapter]
) -> None:
    staged = StagedSession(
        kind(), sidecar=plain_sidecar(span=SPAN), journal=stalling(4, 60), deadlines=Deadlines(journal=2)
    )
    await staged.controller.connect()
    for _ in range(3):
        await staged.controller.send(audio())
    began = anyio.current_time()

    with pytest.raises(JournalFailure):
        await staged.controller.send(audio())

    assert anyio.current_time() - began == pytest.approx(2.0)
    assert len(staged.provider.sent) == 3


async def test_a_long_call_writes_two_records_a_span(stage: Stage, kind: type[ScriptedAdapter]) -> None:
    sidecar = plain_sidecar(span=MediaSpan(50, 1.0), replay_tail_s=1.0)
    staged = await stage.connected(kind(), sidecar=sidecar)
    for _ in range(1000):
        await staged.controller.send(audio())

    records = await after_connecting(staged)

    assert len(records) <= 2 * 20 + 2
    assert sum(frames for name, frames, _, _ in shown(records) if name == "input_sent") >= 950


async def test_without_a_span_every_frame_has_its_own_two_records(stage: Stage) -> None:
    staged = await stage.connected()
    for _ in range(3):
        await staged.controller.send(audio())

    assert await staged.kinds(after=2) == ["input_send_requested", "input_sent"] * 3
