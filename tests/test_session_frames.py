"""A loop over the frames of a session that its program restarts: what it hears, left and entered again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import anyio
import pytest

from realtime_async import RealtimeSession
from realtime_async.adapters.scripted import Delay, Drop, FrameFate
from realtime_async.errors import ProviderConnectionLost, SessionStateError
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeOutputFrame,
    RealtimeRestartReason,
    Restarted,
)
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, audio, text
from tests.test_session import Call, next_frames

pytestmark = pytest.mark.virtual_time


class ByHand(Call):
    """A call whose connection is replaced when the program says so."""

    def open(self, **options: Any) -> AbstractAsyncContextManager[RealtimeSession]:
        return super().open(restart_policy=None, **options)


def spoken(count: int) -> list[RealtimeOutputFrame]:
    return [RealtimeOutputFrame.audio(FRAME, frame_id=f"said.{number}") for number in range(1, count + 1)]


def heard(frames: Sequence[RealtimeOutputFrame]) -> list[str]:
    return ["restarted" if isinstance(frame.event, Restarted) else str(frame.frame_id) for frame in frames]


async def test_the_loop_yields_what_the_provider_says_until_the_session_closes() -> None:
    call = ByHand(*spoken(3))
    frames: list[RealtimeOutputFrame] = []

    async with call.open() as session:
        async for frame in session.frames():
            frames.append(frame)
            if len(frames) == 3:
                await session.close()

    assert heard(frames) == ["said.1", "said.2", "said.3"]


async def test_a_loop_left_and_entered_again_goes_on_where_it_stopped() -> None:
    call = ByHand(*spoken(2), Delay(1), *spoken(4)[2:])
    frames: list[RealtimeOutputFrame] = []

    async with call.open() as session:
        while len(frames) < 4:
            # Time runs out while it waits for the third.
            with anyio.move_on_after(0.4):
                frames += await next_frames(session, 1)

    assert heard(frames) == ["said.1", "said.2", "said.3", "said.4"]


async def test_a_slow_loop_slows_the_provider() -> None:
    """Nothing is taken before it is asked for, so nothing can pile up."""
    call = ByHand(*spoken(100))
    taken = 0

    async with call.open() as session:
        async for _ in session.frames():
            taken += 1
            assert call.adapter.calls.count("receive") == taken
            await anyio.sleep(1)
            assert call.adapter.calls.count("receive") == taken
            if taken == 20:
                break

    assert (await call.kinds()).count("output_received") == 20


# -- restarts


async def test_a_loop_that_waits_hears_of_a_restart_at_once() -> None:
    call = ByHand()
    async with call.open() as session, anyio.create_task_group() as tasks:
        loop = await begin(tasks, partial(next_frames, session, 1))
        await anyio.sleep(5)

        report = await session.restart(RealtimeRestartReason.GO_AWAY)
        await settled()

        assert loop.is_over
        assert loop.ended_at == 5
        assert isinstance(loop.result, list)
        assert [frame.event for frame in loop.result] == [Restarted(report)]
        assert report.reason is RealtimeRestartReason.GO_AWAY


async def test_a_loop_that_is_busy_hears_of_a_restart_when_it_comes_back() -> None:
    call = ByHand(*spoken(3))
    async with call.open() as session:
        before = await next_frames(session, 1)
        await session.restart()

        after = await next_frames(session, 3)

    assert heard(before + after) == ["said.1", "restarted", "said.2", "said.3"]


async def test_each_restart_is_told_once_and_in_order() -> None:
    call = ByHand(*spoken(1))
    async with call.open() as session:
        reports = [await session.restart(reason) for reason in RealtimeRestartReason]

        frames = await next_frames(session, len(reports) + 1)

    assert [frame.event for frame in frames[:-1]] == [Restarted(report) for report in reports]
    assert heard(frames)[-1] == "said.1"


async def test_restarts_that_nobody_hears_of_do_not_pile_up() -> None:
    call = ByHand(*spoken(1))
    async with call.open() as session:
        for _ in range(200):
            await session.restart()

        frames: list[RealtimeOutputFrame] = []
        async for frame in session.frames():
            frames.append(frame)
            if frame.frame_id == "said.1":
                break

    assert 1 < len(frames) < 200


async def test_nothing_is_lost_when_a_restart_meets_a_loop_that_waits() -> None:
    call = ByHand(Delay(1), *spoken(1), Delay(1), *spoken(2)[1:], Delay(1), *spoken(3)[2:])
    async with call.open() as session, anyio.create_task_group() as tasks:
        loop = await begin(tasks, partial(next_frames, session, 6))
        for _ in range(3):
            # A frame comes at the very moment at which the connection is replaced.
            await anyio.sleep(1)
            await session.restart()
        await anyio.sleep(5)

        assert isinstance(loop.result, list)
        assert sorted(heard(loop.result)) == ["restarted"] * 3 + ["said.1", "said.2", "said.3"]
        assert [name for name in heard(loop.result) if name != "restarted"] == ["said.1", "said.2", "said.3"]


async def test_a_second_loop_is_refused_and_does_not_deafen_the_first() -> None:
    call = ByHand()
    async with call.open() as session, anyio.create_task_group() as tasks:
        loop = await begin(tasks, partial(next_frames, session, 1))
        with pytest.raises(SessionStateError):
            await next_frames(session, 1)

        await session.restart()
        await settled()

        assert loop.is_over


async def test_a_lost_connection_is_raised_in_the_loop_which_goes_on_after_a_restart() -> None:
    call = ByHand(*spoken(1), Drop(), *spoken(3)[1:])
    frames: list[RealtimeOutputFrame] = []

    async with call.open() as session:
        frames += await next_frames(session, 1)
        with pytest.raises(ProviderConnectionLost):
            await next_frames(session, 1)
        await session.send(text())
        report = await session.restart(RealtimeRestartReason.CONNECTION_LOST)
        frames += await next_frames(session, 3)

    assert heard(frames) == ["said.1", "restarted", "said.2", "said.3"]
    assert [(part.first, part.last) for part in report.gated] == [(1, 1)]
    assert session.delivery.sent == 1
    assert await call.ending() == ("closed", RealtimeCloseReason.NORMAL)


async def test_what_a_dying_connection_did_not_take_is_sent_after_the_restart() -> None:
    call = ByHand(faults={("send", 2): Drop(FrameFate.NOT_SENT)})
    frames = [audio(number) for number in range(1, 5)]

    async with call.open() as session:
        for frame in frames:
            await session.send(frame)
        assert session.delivery.queued == 3
        await session.restart()

    assert [frame.frame_id for frame in call.adapter.sent] == [frame.frame_id for frame in frames]
    assert session.delivery.sent == 4


async def test_a_session_that_closes_ends_a_loop_that_waits() -> None:
    call = ByHand()
    async with call.open() as session, anyio.create_task_group() as tasks:
        loop = await begin(tasks, partial(next_frames, session, 1))

        await session.close()
        await settled()

        assert loop.is_over
        assert loop.error is None
        assert loop.result == []


async def test_a_closed_session_tells_of_no_restart_that_was_not_heard_of() -> None:
    call = ByHand()
    async with call.open() as session:
        await session.restart()
        await session.close()
        within = [frame async for frame in session.frames()]

    assert within == [frame async for frame in session.frames()] == []
