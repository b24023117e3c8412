"""Spans of what is received: many frames under one intent, and what ends them."""

from __future__ import annotations

import anyio
import pytest

from realtime_async.ports import OutputTranscript, RealtimeOutputFrame
from tests.controller.begun import begin, settled
from tests.controller.spanned import after_connecting, shown, spanned
from tests.controller.staged import FRAME, SECRET, Stage, audio, text

pytestmark = pytest.mark.virtual_time


async def test_received_frames_go_by_the_span(stage: Stage) -> None:
    staged = await spanned(stage)
    staged.provider.feed(*[RealtimeOutputFrame.audio(FRAME) for _ in range(4)])

    received = [await staged.controller.receive() for _ in range(4)]

    assert sorted(shown(await after_connecting(staged))) == [
        ("output_receive_requested", 3, 1, 3),
        ("output_receive_requested", 3, 4, 6),
        ("output_receive_requested", 3, 7, 9),
        ("output_received", 3, 1, 3),
    ]
    assert {str(each.record.kind) for each in received if each} == {"output_receive_requested"}
    assert [each.frame.cursor.chunk_sequence for each in received if each and each.frame.cursor] == [
        1,
        2,
        3,
        4,
    ]
    await staged.check()


PIECE = RealtimeOutputFrame.audio(FRAME)
PARTIAL = RealtimeOutputFrame.of(OutputTranscript(SECRET, final=False))


@pytest.mark.parametrize(
    "frames, channel, media_kind",
    [
        ([PIECE, PIECE, PIECE], "realtime_media", "audio"),
        ([PARTIAL, PIECE, PARTIAL], "realtime_media", "audio"),
        ([PARTIAL, PARTIAL, PARTIAL], "realtime_transcript", "transcript"),
    ],
)
async def test_a_span_says_on_which_channel_its_frames_came(
    stage: Stage, frames: list[RealtimeOutputFrame], channel: str, media_kind: str
) -> None:
    staged = await spanned(stage)
    staged.provider.feed(*frames, PIECE, PIECE, PIECE)

    for _ in range(6):
        await staged.controller.receive()

    ends = [each for each in await after_connecting(staged) if each.kind == "output_received"]
    assert [(each.channel, each.media_kind) for each in ends] == [
        (channel, media_kind),
        ("realtime_media", "audio"),
    ]
    assert {each.direction for each in ends} == {"output_from_provider"}


async def test_a_text_frame_leaves_the_span_that_is_received_alone(stage: Stage) -> None:
    staged = await spanned(stage)
    staged.provider.feed(RealtimeOutputFrame.audio(FRAME))
    await staged.controller.receive()

    await staged.controller.send(text())

    assert "output_received" not in await staged.kinds()


async def test_a_final_transcript_ends_the_span_that_is_received_and_is_recorded_after_it(
    stage: Stage,
) -> None:
    staged = await spanned(stage)
    staged.provider.feed(
        RealtimeOutputFrame.audio(FRAME), RealtimeOutputFrame.of(OutputTranscript(SECRET, final=True))
    )
    await staged.controller.send(audio())
    await staged.controller.receive()
    before = len(await after_connecting(staged))

    received = await staged.controller.receive()

    records = (await after_connecting(staged))[before:]
    assert received is not None
    assert [str(each.kind) for each in records if each.kind == "output_received"] == ["output_received"] * 2
    assert shown([each for each in records if each.kind == "output_received"])[0][1:] == (1, 1, 1)
    assert records[-1].frame_id == received.frame.frame_id
    assert "input_sent" not in [str(each.kind) for each in records]


async def test_a_receive_that_only_waited_has_ended_at_close(stage: Stage) -> None:
    staged = await spanned(stage)
    async with anyio.create_task_group() as tasks:
        await begin(tasks, staged.controller.receive)

        await staged.controller.close()

    kinds = await staged.kinds()
    assert "output_ended" in kinds
    assert "output_received" not in kinds


async def test_receiving_goes_on_after_a_restart_with_the_reservation_that_it_has(stage: Stage) -> None:
    staged = await spanned(stage)
    staged.provider.feed(RealtimeOutputFrame.audio(FRAME))
    await staged.controller.receive()
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)
        await staged.controller.restart()
        intents = (await staged.kinds()).count("output_receive_requested")
        staged.provider.feed(RealtimeOutputFrame.audio(FRAME))
        await settled()
        assert receiving.is_over
        assert receiving.error is None

    assert intents == 2
    await staged.check()
