"""What a session hears by itself: audio from a source that ends, or goes on until the session does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from realtime_async import RealtimeSession, RestartPolicy
from realtime_async.adapters.scripted import Delay, Drop, Hang, ScriptedAdapter
from realtime_async.errors import ContractViolation, JournalFailure, RestartExhausted
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    AudioEncoding,
    AudioFormat,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
)
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import Begun, begin, settled
from tests.controller.staged import FRAME, plain_sidecar, text
from tests.test_session import Call
from tests.test_session_exhausted import exhausted
from tests.test_session_supervised import EVEN

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


async def by_its_controller(session: RealtimeSession) -> None:
    await session.controller.close()


async def handed_over_by_its_controller(session: RealtimeSession) -> None:
    await session.controller.hand_over()


async def by_a_close_that_is_cancelled(session: RealtimeSession) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await session.controller.close()


@pytest.mark.parametrize(
    "end",
    [
        RealtimeSession.close,
        RealtimeSession.hand_over,
        by_its_controller,
        handed_over_by_its_controller,
        by_a_close_that_is_cancelled,
    ],
)
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


@pytest.mark.parametrize("closers", [1, 2])
async def test_a_device_is_closed_though_the_end_waited_for_what_was_sent_from_it(closers: int) -> None:
    call, device = Call(faults={("send", 1): Hang()}), Device()
    device.goes_on = anyio.Event()

    async with call.open() as session, anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(session.send_audio_from, device))
        closing = [await begin(tasks, session.controller.close) for _ in range(closers)]
        for each in closing:
            each.scope.cancel()
        await settled()
        assert sending.is_over
        device.goes_on.set()

    assert (sending.error, device.is_open) == (None, False)


async def test_a_device_is_closed_when_the_block_of_its_session_is_left() -> None:
    call, device = Call(), Device()
    device.goes_on = anyio.Event()

    async with anyio.create_task_group() as tasks:
        async with call.open() as session:
            sending = await begin(tasks, partial(session.send_audio_from, device))
        await settled()
        assert sending.is_over
        device.goes_on.set()

    assert (sending.error, device.is_open) == (None, False)


async def failing_while_it_listens(
    call: Call, policy: RestartPolicy | None, device: Device, tasks: TaskGroup
) -> Begun:
    """Say on, beside a device that says nothing, until the journal fails."""
    with suppress(JournalFailure):
        async with call.open(restart_policy=policy) as session:
            sending = await begin(tasks, partial(session.send_audio_from, device))
            assert device.is_open
            while True:
                await session.send(text())
    return sending


@pytest.mark.parametrize("policy", [RestartPolicy(), None], ids=["supervised", "by hand"])
async def test_whoever_waits_for_a_device_hears_that_the_journal_has_failed(
    policy: RestartPolicy | None,
) -> None:
    call, device = Call(), Device()
    device.goes_on = anyio.Event()
    call.journal = FaultyJournal(MemoryJournal(), fail_at=9, how=JournalFault.REFUSE)

    async with anyio.create_task_group() as tasks:
        sending = await failing_while_it_listens(call, policy, device, tasks)
        await settled()
        assert sending.is_over
        device.goes_on.set()

    assert isinstance(sending.error, JournalFailure)
    assert not device.is_open


async def test_whoever_waits_for_a_device_hears_that_the_connection_could_not_be_replaced() -> None:
    call, device = Call(Delay(1), *[Drop()] * 9), Device()
    device.goes_on = anyio.Event()

    async with call.open(restart_policy=EVEN) as session, anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(session.send_audio_from, device))
        assert device.is_open
        await exhausted(session)
        await settled()
        assert sending.is_over
        device.goes_on.set()

    assert isinstance(sending.error, RestartExhausted)
    assert not device.is_open


async def test_a_device_is_not_waited_for_where_the_session_has_ended_before() -> None:
    """A task may begin to listen when its loop has hung up already."""
    call, device = Call(), Device()
    device.goes_on = anyio.Event()

    async with call.open() as session:
        await session.close()
        with anyio.fail_after(60):
            await session.send_audio_from(device)
            await session.send_audio_from(silence())

    assert not device.is_open


async def silence() -> AsyncGenerator[bytes, None]:
    await anyio.sleep_forever()
    yield FRAME


async def test_who_would_listen_when_the_connection_could_not_be_replaced_is_told_so() -> None:
    call = Call(*[Drop()] * 9)

    async with call.open(restart_policy=EVEN) as session:
        await exhausted(session)
        with anyio.fail_after(60), pytest.raises(RestartExhausted):
            await session.send_audio_from(silence())


async def test_who_would_listen_when_the_journal_has_failed_is_told_so() -> None:
    call = Call()
    call.journal = FaultyJournal(MemoryJournal(), fail_at=9, how=JournalFault.REFUSE)

    with suppress(JournalFailure):
        async with call.open() as session:
            while True:
                await session.send(text())
    with anyio.fail_after(60), pytest.raises(JournalFailure):
        await session.send_audio_from(silence())


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
