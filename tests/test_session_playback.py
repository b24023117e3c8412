"""What was heard of an answer, as a player tells its session."""

from __future__ import annotations

import pytest

from realtime_async import RealtimeOutputFrame, RealtimeSession
from realtime_async.adapters.scripted import CallStarted
from tests.controller.staged import FRAME
from tests.test_session import Call, next_frames

pytestmark = pytest.mark.virtual_time

FRAME_MS = 20


def spoken(count: int) -> list[RealtimeOutputFrame]:
    return [RealtimeOutputFrame.audio(FRAME, response_id="answer.1") for _ in range(count)]


def told(call: Call) -> list[int | None]:
    """What the provider was told of what was heard."""
    return [
        entry.played_ms
        for entry in call.adapter.log
        if isinstance(entry, CallStarted) and entry.operation == "interrupt"
    ]


async def heard(session: RealtimeSession, frames: int, *, played: int) -> None:
    await next_frames(session, frames)
    session.playback.play(played * len(FRAME))


async def test_the_provider_is_told_what_the_player_has_played() -> None:
    call = Call(*spoken(5))

    async with call.open() as session:
        await heard(session, 5, played=2)
        await session.interrupt()

    assert told(call) == [2 * FRAME_MS]


async def test_no_more_counts_as_heard_than_the_loop_has_taken() -> None:
    call = Call(*spoken(5))

    async with call.open() as session:
        await heard(session, 3, played=50)
        await session.interrupt("answer.1")

    assert told(call) == [3 * FRAME_MS]


async def test_a_program_that_says_itself_what_was_heard_is_believed() -> None:
    call = Call(*spoken(5))

    async with call.open() as session:
        await heard(session, 5, played=2)
        await session.interrupt(played_ms=70)

    assert told(call) == [70]


async def test_where_no_player_tells_nothing_is_claimed() -> None:
    call = Call(*spoken(5))

    async with call.open() as session:
        await next_frames(session, 5)
        await session.interrupt()

    assert told(call) == [None]
