"""Microphone and speaker, with a module in place of sounddevice."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from realtime_async import (
    AudioEncoding,
    AudioFormat,
    ContractViolation,
    MediaSpan,
    RealtimeOutputFrame,
    RealtimeSessionSidecar,
    open_session,
)
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.audio import Microphone, Speaker
from realtime_async.journals import MemoryJournal
from tests.audio.fake_sounddevice import FakeSoundDevice, FakeStream, PortAudioError

FORMAT = AudioFormat(sample_rate=16_000)
FRAME = 640


def sound(number: int) -> bytes:
    return bytes([number % 256]) * FRAME


def answer(number: int, response_id: str = "answer.1") -> RealtimeOutputFrame:
    return RealtimeOutputFrame.audio(sound(number), response_id=response_id)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> FakeSoundDevice:
    module = FakeSoundDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


async def opened(streams: list[FakeStream]) -> FakeStream:
    """The stream that another task opens, in a thread."""
    with anyio.fail_after(10):
        while not streams or not streams[-1].is_started:
            await anyio.lowlevel.checkpoint()
    return streams[-1]


async def test_a_microphone_yields_what_the_device_hears(devices: FakeSoundDevice) -> None:
    heard: list[bytes] = []

    async def listen() -> None:
        async with aclosing(Microphone(FORMAT, device="hw:1").__aiter__()) as frames:
            async for frame in frames:
                heard.append(frame)
                if len(heard) == 3:
                    return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        stream = await opened(devices.inputs)
        for number in range(3):
            stream.hear(sound(number))

    assert heard == [sound(0), sound(1), sound(2)]
    assert (stream.samplerate, stream.blocksize, stream.channels) == (16_000, 320, 1)
    assert (stream.dtype, stream.device) == ("int16", "hw:1")
    assert stream.is_closed


async def test_what_nobody_takes_makes_room_and_is_counted(devices: FakeSoundDevice) -> None:
    microphone = Microphone(FORMAT)
    async with aclosing(microphone.__aiter__()) as frames:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first_of, frames)
            stream = await opened(devices.inputs)
            stream.hear(sound(255))

        for number in range(260):
            stream.hear(sound(number))
        first = await anext(frames)

    assert first == sound(10)
    assert microphone.lost_frames == 10


async def test_a_session_that_is_left_closes_the_device(devices: FakeSoundDevice) -> None:
    adapter = ScriptedAdapter()
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk", span=MediaSpan(5, 1.0))
    async with (
        MemoryJournal() as journal,
        open_session(sidecar, adapter, journal, run_id="call-42") as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(session.send_audio_from, Microphone(FORMAT))
        stream = await opened(devices.inputs)
        stream.hear(sound(7))
        while not session.delivery.sent:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

    assert [frame.payload for frame in adapter.sent] == [sound(7)]
    assert stream.is_closed


async def test_a_speaker_plays_what_it_is_given_in_order_and_silence_otherwise(
    devices: FakeSoundDevice,
) -> None:
    async with Speaker(FORMAT) as speaker:
        for number in (1, 2):
            await speaker.play(answer(number))
        stream = await opened(devices.outputs)

        assert [stream.sound() for _ in range(3)] == [sound(1), sound(2), bytes(FRAME)]
        assert not speaker.is_playing
        assert speaker.heard_bytes == 2 * FRAME

    assert stream.is_closed


async def test_a_speaker_that_is_left_as_soon_as_all_was_given_to_the_device_has_played_it(
    devices: FakeSoundDevice,
) -> None:
    """As a bot does that has said goodbye: PortAudio drops what a device holds when it is closed."""
    async with Speaker(FORMAT) as speaker, anyio.create_task_group() as tasks:
        stream = await opened(devices.outputs)
        for number in (1, 2):
            await speaker.play(answer(number))
        tasks.start_soon(speaker.finished)
        for _ in range(2):
            stream.sound()

    assert stream.played == sound(1) + sound(2)


async def test_a_speaker_says_how_much_of_the_answer_was_heard(devices: FakeSoundDevice) -> None:
    async with Speaker(FORMAT) as speaker:
        stream = await opened(devices.outputs)
        for name in ("answer.1", "answer.2"):
            for number in range(10):
                await speaker.play(answer(number, name))
        for _ in range(13):
            stream.sound()

        assert speaker.stop() == 60
        assert not speaker.is_playing
        assert stream.sound() == bytes(FRAME)


async def test_who_waits_for_the_end_of_an_answer_is_woken_by_it(devices: FakeSoundDevice) -> None:
    async with Speaker(FORMAT) as speaker, anyio.create_task_group() as tasks:
        stream = await opened(devices.outputs)
        await speaker.play(answer(1))
        tasks.start_soon(speaker.finished)
        tasks.start_soon(speaker.finished)
        await anyio.wait_all_tasks_blocked()

        stream.sound()

    assert not speaker.is_playing


async def test_a_full_speaker_makes_the_next_frame_wait(devices: FakeSoundDevice) -> None:
    async with Speaker(FORMAT) as speaker, anyio.create_task_group() as tasks:
        stream = await opened(devices.outputs)
        for number in range(60 * 50):
            await speaker.play(answer(number))
        tasks.start_soon(speaker.play, answer(9))
        await anyio.wait_all_tasks_blocked()

        stream.sound()

    assert speaker.is_playing


@pytest.mark.parametrize("name", ["microphone", "speaker"])
async def test_a_machine_without_the_device_is_told_so(name: str, devices: FakeSoundDevice) -> None:
    devices.has_device = False

    with pytest.raises(OSError, match=f"the {name} .default device. cannot be opened at 16000 Hz"):
        await use(name)


async def test_a_microphone_that_is_unplugged_gives_what_it_has_heard_and_then_says_so(
    devices: FakeSoundDevice,
) -> None:
    """Whoever waits for it would wait for ever, and the caller be deaf without a word."""
    heard: list[bytes] = []

    async def listen() -> None:
        async with aclosing(Microphone(FORMAT, device="hw:1").__aiter__()) as frames:
            heard.append(await anext(frames))
            with pytest.raises(OSError, match=r"the microphone \(device 'hw:1'\) has stopped"):
                await anext(frames)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            stream = await opened(devices.inputs)
            stream.hear(sound(1))
            stream.lose()

    assert heard == [sound(1)]
    assert stream.is_closed


async def test_a_speaker_that_is_unplugged_says_so_to_who_waits_and_to_who_plays(
    devices: FakeSoundDevice,
) -> None:
    async def hear_it_out() -> None:
        with pytest.raises(OSError, match=r"the speaker \(default device\) has stopped"):
            await speaker.finished()

    with anyio.fail_after(10):
        async with Speaker(FORMAT) as speaker:
            async with anyio.create_task_group() as tasks:
                stream = await opened(devices.outputs)
                await speaker.play(answer(1))
                tasks.start_soon(hear_it_out)
                await anyio.wait_all_tasks_blocked()
                stream.lose()

            with pytest.raises(OSError, match="has stopped"):
                await speaker.play(answer(2))
            assert speaker.stop() == 0

    assert stream.is_closed


@pytest.mark.parametrize("name", ["microphone", "speaker"])
async def test_a_missing_extra_is_told_with_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)

    with pytest.raises(ImportError, match=r"realtime-async\[audio\]"):
        await use(name)


async def test_a_missing_library_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_portaudio(name: str) -> object:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr("realtime_async.audio.devices.import_module", without_portaudio)

    with pytest.raises(ImportError, match="apt install libportaudio2"):
        await use("speaker")


@pytest.mark.parametrize("name", ["microphone", "speaker"])
async def test_a_machine_whose_sound_service_fails_is_told_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module asks it as it is imported."""

    def without_service(name: str) -> object:
        raise PortAudioError("Error initializing PortAudio: Unanticipated host error")

    monkeypatch.setattr("realtime_async.audio.devices.import_module", without_service)

    with pytest.raises(OSError, match="PortAudio cannot use this machine's sound"):
        await use(name)


async def first_of(frames: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(frames)


async def use(name: str) -> None:
    if name == "speaker":
        async with Speaker(FORMAT):
            return
    async with aclosing(Microphone(FORMAT).__aiter__()) as frames:
        await anext(frames)


@pytest.mark.parametrize("device", [Microphone, Speaker])
async def test_devices_are_used_in_a_format(device: Any) -> None:
    with pytest.raises(ContractViolation, match="give an AudioFormat"):
        device("pcm16")


async def test_devices_are_used_in_pcm16_only() -> None:
    with pytest.raises(ContractViolation, match="pcm16"):
        Microphone(AudioFormat(AudioEncoding.G711_ULAW, 8000))


async def test_only_audio_is_played(devices: FakeSoundDevice) -> None:
    async with Speaker(FORMAT) as speaker:
        with pytest.raises(ContractViolation, match="frames of OutputAudio"):
            await speaker.play(RealtimeOutputFrame.transcript("answer.1", "content.1", "a summary"))


async def test_a_slow_device_does_not_hold_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers take their time to open and to close a device: here, until the loop has gone on meanwhile."""
    turned = threading.Event()
    went_on: list[bool] = []

    def wait_for_a_turn() -> None:
        turned.clear()
        went_on.append(turned.wait(60))

    class SlowStream(FakeStream):
        def start(self) -> None:
            wait_for_a_turn()
            super().start()

        def close(self) -> None:
            wait_for_a_turn()
            super().close()

    async def turn() -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            turned.set()

    devices = FakeSoundDevice(makes=SlowStream)
    monkeypatch.setitem(sys.modules, "sounddevice", devices)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        async with Speaker(FORMAT):
            pass
        tasks.cancel_scope.cancel()

    assert went_on == [True, True]
    assert devices.outputs[0].is_closed


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", ["microphone", "speaker"])
async def test_a_device_that_is_being_opened_for_a_task_that_was_cancelled_natively_is_closed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C cancels it, which no shield of anyio's keeps off."""
    is_opening, may_open, was_closed = threading.Event(), threading.Event(), threading.Event()

    class SlowStream(FakeStream):
        def start(self) -> None:
            is_opening.set()
            assert may_open.wait(60)
            super().start()

        def close(self) -> None:
            super().close()
            was_closed.set()

    devices = FakeSoundDevice(makes=SlowStream)
    monkeypatch.setitem(sys.modules, "sounddevice", devices)

    using = asyncio.ensure_future(use(name))
    assert await asyncio.to_thread(is_opening.wait, 60)
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    may_open.set()

    assert await asyncio.to_thread(was_closed.wait, 60)
    assert [stream.is_closed for stream in (*devices.inputs, *devices.outputs)] == [True]
