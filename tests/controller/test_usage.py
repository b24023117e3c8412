"""What answers cost is in the records, once for each, through interruptions, restarts and the death of the process."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_async import MediaSpan
from realtime_async.adapters.scripted import Drop
from realtime_async.errors import ProviderConnectionLost
from realtime_async.ports import (
    OutputAudio,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    ResponseUsage,
)
from realtime_async.reports import UsageTold, report_of
from tests.controller.staged import FRAME, SECRET, Stage, StagedSession, plain_sidecar

pytestmark = pytest.mark.virtual_time

COST = ResponseUsage(input_text_tokens=10, input_audio_tokens=200, output_audio_tokens=3000)


def answer(number: int, usage: ResponseUsage | None = COST) -> list[RealtimeOutputFrame]:
    response_id = f"answer.{number}"
    return [
        RealtimeOutputFrame.of(ResponseStarted(), response_id=response_id),
        RealtimeOutputFrame.of(OutputAudio(), response_id=response_id, payload=FRAME),
        RealtimeOutputFrame.of(ResponseDone("completed", usage), response_id=response_id),
    ]


async def hear(staged: StagedSession, *frames: RealtimeOutputFrame) -> None:
    staged.provider.feed(*frames)
    for _ in frames:
        await staged.controller.receive()


async def told(staged: StagedSession) -> UsageTold:
    (session,) = report_of(await staged.records()).sessions
    return session.usage


@pytest.mark.parametrize("span", [None, MediaSpan(50, 1.0)])
async def test_the_record_of_an_answer_s_end_says_what_it_cost(stage: Stage, span: MediaSpan | None) -> None:
    staged = await stage.connected(sidecar=plain_sidecar(span=span))

    await hear(staged, *answer(1), *answer(2, None))

    payloads = [record.payload for record in await staged.records()]
    assert [each.usage for each in payloads if each.usage is not None] == [COST, ResponseUsage()]
    assert {each.kind for each in payloads if each.usage is not None} == {"output_received"}
    assert await told(staged) == UsageTold(1, 1, COST)


async def test_an_answer_that_was_interrupted_has_cost_something_too(stage: Stage) -> None:
    staged = await stage.connected()
    begun, sound, done = answer(1)
    await hear(staged, begun)

    await staged.controller.interrupt()
    staged.provider.feed(sound, done)
    received = await staged.controller.receive()

    assert received is not None
    assert received.frame.event == done.event
    assert await told(staged) == UsageTold(1, 0, COST)


async def test_through_restarts_each_answer_counts_once(stage: Stage) -> None:
    staged = await stage.connected()
    await hear(staged, *answer(1))
    await hear(staged, *answer(2)[:2])
    staged.provider.feed(Drop())
    with pytest.raises(ProviderConnectionLost):
        await staged.controller.receive()
    await staged.controller.restart()

    await hear(staged, *answer(3))

    assert await told(staged) == UsageTold(2, 0, COST_TWICE)


async def test_after_the_process_died_each_answer_counts_once(stage: Stage) -> None:
    before = await stage.connected(sidecar=plain_sidecar(span=MediaSpan(50, 1.0)))
    await hear(before, *answer(1))
    # The intent of the next frame is open, and is closed as unknown.
    await hear(before, *answer(2)[:2])

    after = await stage.resumed(before)
    await hear(after, *answer(3))

    assert "outcome_unknown" in await after.kinds()
    assert await told(after) == UsageTold(2, 0, COST_TWICE)


@pytest.mark.parametrize("value", [SECRET, 10**30, 0.5, -1])
async def test_what_is_no_count_is_not_recorded(stage: Stage, value: Any) -> None:
    staged = await stage.connected()

    await hear(staged, *answer(1, ResponseUsage(value, output_text_tokens=4)))

    # What the oracle sees in each record holds nothing of it either.
    assert await told(staged) == UsageTold(1, 0, ResponseUsage(output_text_tokens=4))


COST_TWICE = ResponseUsage(input_text_tokens=20, input_audio_tokens=400, output_audio_tokens=6000)
