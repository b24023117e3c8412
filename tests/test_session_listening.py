"""What a session hears by itself: audio from a source that ends, or goes on until the session does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from realtime_async import RealtimeSession
from realtime_async.adapters.scripted import Delay, ScriptedAdapter
from realtime_async.errors import ContractViolation
from realtime_async.ports import (
    AudioEncoding,
    AudioFormat,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
)
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, plain_sidecar, text
from tests.test_session import Call

pytestmark = pytest.mark.virtual_time


class Source:
    """A microphone that has so many pieces to give."""

    def __init__(self, *pieces: bytes | RealtimeInputFrame) -> None:
        self.left = len(pieces)
        self._pieces = iter(pieces)

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes | RealtimeInputFrame:
        try:
            piece = next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None
        self.left -= 1
        return piece


async def test_audio_is_sent_piece_by_piece_until_its_source_ends() -> None:
    call, own = Call(), text()

    async with call.open() as session:
        await session.send_audio_from(Source(FRAME, own, FRAME[:480]))

    assert [frame.payload for frame in call.adapter.sent] == [FRAME, own.payload, FRAME[:480]]
    assert call.adapter.sent[1].frame_id == own.frame_id
    assert session.delivery.sent == 3


async def test_telephone_audio_may_come_in_pieces_of_any_length() -> None:
    call = Call()
    call.adapter = ScriptedAdapter(input_format=AudioFormat(AudioEncoding.G711_ULAW, sample_rate=8000))

    async with call.open() as session:
        await session.send_audio_from(Source(bytes(161), bytes(160)))

    assert [frame.payload_bytes() for frame in call.adapter.sent] == [161, 160]


async def test_telephone_audio_of_any_length_is_sent_and_counted_as_it_is_heard() -> None:
    call, telephone = Call(), AudioFormat(AudioEncoding.G711_ALAW, sample_rate=8000)
    call.adapter = ScriptedAdapter(input_format=telephone, output_format=telephone)
    call.adapter.feed(RealtimeOutputFrame.audio(bytes(161), response_id="answer.1"))

    async with call.open() as session:
        await session.send(RealtimeInputFrame(media_kind=RealtimeMediaKind.AUDIO, payload=bytes(161)))
        heard = await anext(session.frames())
        waiting_ms = session.playback.waiting_ms
        session.playback.play(81)
        played_ms = session.playback.played_ms("answer.1")

    assert heard.payload_bytes() == 161
    assert (waiting_ms, played_ms) == (20, 10)


async def test_audio_cut_within_a_sample_is_refused() -> None:
    call = Call()

    async with call.open() as session:
        with pytest.raises(ContractViolation):
            await session.send_audio_from(Source(FRAME, FRAME[:-1], FRAME))

    assert len(call.adapter.sent) == 1


@pytest.mark.parametrize("piece", ["ab", 960, bytearray(960), None], ids=lambda it: type(it).__name__)
async def test_a_piece_that_is_no_audio_is_refused_by_its_type(piece: Any) -> None:
    call = Call()

    async with call.open() as session:
        with pytest.raises(ContractViolation, match=f"needs a payload of bytes, not {type(piece).__name__}"):
            await session.send_audio_from(Source(FRAME, piece))

    assert len(call.adapter.sent) == 1


@pytest.mark.parametrize("source", [FRAME, [FRAME], iter([FRAME])], ids=lambda it: type(it).__name__)
async def test_a_source_that_cannot_be_waited_for_is_refused_by_its_type(source: Any) -> None:
    call = Call()

    async with call.open() as session:
        with pytest.raises(ContractViolation, match=f"async iterable, not {type(source).__name__}"):
            await session.send_audio_from(source)

    assert call.adapter.sent == []


async def test_a_source_is_asked_for_no_more_than_was_sent() -> None:
    call, source = Call(faults={("send", 2): Delay(5)}), Source(*[FRAME] * 9)

    async with call.open() as session, anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(session.send_audio_from, source))

        assert len(call.adapter.sent) == 1
        assert source.left == 7
        sending.scope.cancel()


class Device:
    """Open while somebody iterates over it."""

    is_open = False

    def __init__(self) -> None:
        self.goes_on = anyio.Event()
        self.goes_on.set()

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        self.is_open = True
        try:
            while True:
                yield FRAME
                await self.goes_on.wait()
        finally:
            # As closing a real one does.
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            self.is_open = False


async def test_a_device_is_closed_when_sending_from_it_is_cancelled() -> None:
    call, device = Call(faults={("send", 2): Delay(5)}), Device()

    async with call.open() as session, anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(session.send_audio_from, device))
        assert device.is_open
        sending.scope.cancel()
        await sending.over()

        assert not device.is_open


@pytest.mark.parametrize("end", [RealtimeSession.close, RealtimeSession.hand_over])
@pytest.mark.parametrize("hears_more", [True, False])
async def test_a_device_is_closed_when_the_session_ends_beside_it(
    end: Callable[[RealtimeSession], Awaitable[object]], hears_more: bool
) -> None:
    """A loop that ends the session needs no word with the task that listens."""
    call, device = Call(), Device()
    device.goes_on = anyio.Event()

    async with call.open() as session, anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(session.send_audio_from, device))
        await end(session)
        if hears_more:
            device.goes_on.set()
        await settled()
        assert sending.is_over
        # A group that is left waits for it.
        device.goes_on.set()

    assert (sending.error, device.is_open) == (None, False)
    assert session.delivery.accepted == len(call.adapter.sent)


async def test_a_source_that_closes_the_session_itself_comes_to_its_own_end() -> None:
    call, ended = Call(), list[float]()

    async def call_that_is_hung_up() -> AsyncGenerator[bytes, None]:
        yield FRAME
        await session.close()
        await anyio.sleep(1)
        ended.append(anyio.current_time())

    async with call.open() as session:
        await session.send_audio_from(call_that_is_hung_up())

    assert ended == [pytest.approx(1)]


async def test_a_device_that_waits_for_room_is_closed_with_the_session() -> None:
    call, device = Call(), Device()

    async with (
        call.open(sidecar=plain_sidecar(queue_capacity=1), restart_policy=None) as session,
        anyio.create_task_group() as tasks,
    ):
        await session.controller.begin_restart()
        sending = await begin(tasks, partial(session.send_audio_from, device))
        assert session.delivery.queued == 1
        await session.close()
        await sending.over()

    assert (sending.error, device.is_open) == (None, False)
    assert (session.delivery.dropped, session.delivery.refused) == (1, 1)
