"""The everyday door: what a block over `open_session` does on its way in, within, and on its way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from realtime_async import RealtimeCompletionGate, RealtimeSession, open_session
from realtime_async.adapters.scripted import (
    Delay,
    Fault,
    Hang,
    Played,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import (
    AgentError,
    ContractViolation,
    DeadlineExceeded,
    PolicyDenied,
    ProviderConnectionLost,
    ProviderFailure,
    RestartExhausted,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    AudioEncoding,
    AudioFormat,
    RealtimeCloseReason,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeSessionRecord,
    RealtimeSessionStatus,
    RunId,
    RunJournal,
    StreamCursor,
)
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


class Call:
    """What a session is opened with, and what is left of it afterwards."""

    def __init__(self, *said: Played, faults: dict[tuple[str, int], Fault] | None = None) -> None:
        self.adapter = ScriptedAdapter(Script(said, faults=faults or {}))
        self.journal: RunJournal = MemoryJournal()

    def open(self, **options: Any) -> AbstractAsyncContextManager[RealtimeSession]:
        options.setdefault("sidecar", plain_sidecar())
        return open_session(adapter=self.adapter, journal=self.journal, run_id="run-1", **options)

    @property
    def calls(self) -> list[str]:
        """What the provider was asked, but for listening."""
        return [name for name in self.adapter.calls if name != "receive"]

    async def records(self) -> list[RealtimeSessionRecord]:
        return [record.payload async for record in self.journal.read(RunId("run-1"))]

    async def kinds(self) -> list[str]:
        return [str(record.kind) for record in await self.records()]

    async def ending(self) -> tuple[str, RealtimeCloseReason | None]:
        """The last record, which is the terminal one, and the reason that it gives."""
        last = (await self.records())[-1]
        return str(last.kind), last.close_reason


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


async def next_frames(session: RealtimeSession, count: int) -> list[RealtimeOutputFrame]:
    """Take so many frames, and leave the loop."""
    frames = []
    async for frame in session.frames():
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


# -- in and out


async def test_a_session_is_connected_within_the_block_and_closed_after_it() -> None:
    call = Call()

    async with call.open() as session:
        assert call.adapter.is_connected()
        assert session.state.lifecycle_status == "connected"
        assert call.calls == ["connect"]

    assert call.calls == ["connect", "close"]
    assert await call.ending() == ("closed", RealtimeCloseReason.NORMAL)


ERRORS = {
    "an ordinary error": (ValueError("mine"), RealtimeCloseReason.NORMAL),
    "a provider's error": (ProviderFailure("refused"), RealtimeCloseReason.PROVIDER_FAILURE),
    "a lost connection": (ProviderConnectionLost("gone"), RealtimeCloseReason.PROVIDER_FAILURE),
    "exhausted restarts": (RestartExhausted("gone"), RealtimeCloseReason.PROVIDER_FAILURE),
    "a policy": (PolicyDenied("not this"), RealtimeCloseReason.POLICY_DENIAL),
    "a group": (
        ExceptionGroup("tasks", [ValueError("mine"), ExceptionGroup("more", [ProviderFailure("refused")])]),
        RealtimeCloseReason.PROVIDER_FAILURE,
    ),
}


@pytest.mark.parametrize("error, reason", list(ERRORS.values()), ids=list(ERRORS))
async def test_an_error_closes_the_session_and_reaches_the_caller_as_it_is(
    error: Exception, reason: RealtimeCloseReason
) -> None:
    call = Call()

    with pytest.raises(type(error)) as caught:
        async with call.open():
            raise error

    assert caught.value is error
    assert await call.ending() == ("closed", reason)


async def test_a_cancelled_block_closes_its_session_as_cancelled() -> None:
    call = Call()

    with anyio.move_on_after(5) as scope:
        async with call.open() as session:
            await next_frames(session, 1)

    assert scope.cancelled_caught
    assert await call.ending() == ("closed", RealtimeCloseReason.CANCEL)


@on_asyncio
async def test_a_block_cancelled_natively_closes_its_session_as_cancelled() -> None:
    call = Call()

    async def talk() -> None:
        async with call.open() as session:
            await next_frames(session, 1)

    task = asyncio.ensure_future(talk())
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await call.ending() == ("closed", RealtimeCloseReason.CANCEL)
    assert not call.adapter.is_connected()


async def test_a_task_that_fails_beside_the_block_closes_it_as_cancelled() -> None:
    call = Call()

    async def talk() -> None:
        async with anyio.create_task_group() as tasks, call.open() as session:
            tasks.start_soon(fail)
            await next_frames(session, 1)

    async def fail() -> None:
        raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        await talk()

    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert await call.ending() == ("closed", RealtimeCloseReason.CANCEL)


async def test_a_session_closed_within_the_block_keeps_its_reason() -> None:
    call = Call()

    async with call.open() as session:
        record = await session.close(RealtimeCloseReason.HOST_OWNED_DETACH)

    assert record == (await call.records())[-1]
    assert session.state.lifecycle_status is RealtimeSessionStatus.DETACHED
    assert call.calls == ["connect", "close"]


@pytest.mark.parametrize(
    "fault, raised", [(Refuse(), ProviderFailure), (Hang(), DeadlineExceeded)], ids=["refused", "hung"]
)
async def test_a_connect_that_fails_leaves_nothing_open(fault: Fault, raised: type[AgentError]) -> None:
    call, gate = Call(faults={("connect", 1): fault}), RealtimeCompletionGate()

    with pytest.raises(raised):
        async with call.open(gate=gate):
            pytest.fail("there is no session to talk through")

    assert not call.adapter.is_connected()
    assert call.calls == ["connect"]
    assert (await call.kinds())[-3:] == ["connect_failed", "close_requested", "closed"]
    assert gate.realtime_sessions_terminal
    assert gate.journal_terminal


async def test_a_connect_that_is_cancelled_leaves_nothing_open() -> None:
    call = Call(faults={("connect", 1): Hang()})

    with anyio.move_on_after(1):
        async with call.open():
            pytest.fail("there is no session to talk through")

    assert not call.adapter.is_connected()
    assert await call.ending() == ("closed", RealtimeCloseReason.CANCEL)


async def test_a_sidecar_that_is_not_valid_is_refused_before_anybody_is_called() -> None:
    call = Call()

    with pytest.raises(ContractViolation):
        async with call.open(sidecar=plain_sidecar(queue_capacity=0)):
            pytest.fail("there is no session to talk through")

    assert call.adapter.calls == []


async def test_a_close_that_fails_is_raised_where_nothing_else_is() -> None:
    call = Call(faults={("close", 1): Refuse()})

    with pytest.raises(ProviderFailure):
        async with call.open():
            pass

    assert await call.ending() == ("close_failed", RealtimeCloseReason.NORMAL)


async def test_a_close_that_fails_does_not_hide_the_error_of_the_block() -> None:
    call = Call(faults={("close", 1): Refuse()})

    with pytest.raises(ValueError, match="mine"):
        async with call.open():
            raise ValueError("mine")

    assert (await call.ending())[0] == "close_failed"


async def test_the_gate_given_to_a_session_is_told_of_its_end() -> None:
    call, gate = Call(), RealtimeCompletionGate()

    async with call.open(gate=gate):
        assert not gate.realtime_sessions_terminal

    assert gate.realtime_sessions_terminal
    assert gate.journal_terminal


async def test_after_the_block_the_totals_and_the_state_can_still_be_read() -> None:
    call = Call()
    async with call.open() as session:
        for _ in range(3):
            await session.send(audio())

    delivery, state = session.delivery, session.state

    assert (delivery.sent, delivery.accepted, delivery.queued) == (3, 3, 0)
    assert state.lifecycle_status is RealtimeSessionStatus.CLOSED
    assert state.send_cursor == StreamCursor.chunk(3)


# -- talking


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
async def test_a_device_is_closed_when_the_session_ends_beside_it(
    end: Callable[[RealtimeSession], Awaitable[object]],
) -> None:
    """A loop that ends the session needs no word with the task that listens."""
    call, device = Call(), Device()
    device.goes_on = anyio.Event()

    async with call.open() as session, anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(session.send_audio_from, device))
        await end(session)
        device.goes_on.set()
        await sending.over()

    assert (sending.error, device.is_open) == (None, False)
    assert session.delivery.accepted == len(call.adapter.sent)


@pytest.mark.parametrize("end", [RealtimeSession.close, RealtimeSession.hand_over])
async def test_a_device_that_hears_nothing_more_is_closed_when_the_session_ends_beside_it(
    end: Callable[[RealtimeSession], Awaitable[object]],
) -> None:
    call, device = Call(), Device()
    device.goes_on = anyio.Event()

    async with call.open() as session, anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(session.send_audio_from, device))
        await end(session)
        await settled()
        assert sending.is_over
        # A group that is left waits for it.
        device.goes_on.set()

    assert (sending.error, device.is_open) == (None, False)


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


async def test_an_interrupt_reaches_the_provider() -> None:
    call = Call()

    async with call.open() as session:
        await session.interrupt("answer-1", played_ms=120)

    assert call.calls == ["connect", "interrupt", "close"]
