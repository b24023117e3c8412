"""
The microphone and the speaker of this machine, by sounddevice.

PortAudio calls us in a thread of its own, every 20 ms; what it may do there is to move bytes into or out of a
buffer, and to ring a bell.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any

import anyio
import anyio.to_thread

from realtime_async._extras import lacking
from realtime_async._posting import poster
from realtime_async.audio.playout import Playout, format_of
from realtime_async.errors import ContractViolation
from realtime_async.ports import AudioEncoding, AudioFormat, RealtimeOutputFrame

__all__ = ["Microphone", "Speaker"]

FRAMES_PER_SECOND = 50

Device = int | str | None
"""As sounddevice names it; None: the system's default."""


class Microphone:
    """
    Yields 20 ms of sound at a time while it is iterated over, and holds the device only so long.

    `RealtimeSession.send_audio_from` lets go of it however it ends.
    Whoever iterates by hand does so within `contextlib.aclosing(aiter(microphone))`: left in the loop's body, it would hold
    the device until it is collected.

    What nobody takes within 5 s makes room for what is said now, and is counted in `lost_frames`.

    Args:
        audio_format: The adapter's `input_format`; pcm16.
        device: Which microphone.

    Raises:
        ImportError: The extra `audio`, or the system's PortAudio, is not installed; on the first iteration.
        OSError: There is no such device, or it doesn't take the format, on the first iteration; or it is gone, once what it
            heard before was taken.
    """

    BUFFER_S = 5.0

    def __init__(self, audio_format: AudioFormat | None = None, *, device: Device = None) -> None:
        self._format = _pcm16(audio_format)
        self._device = device
        self.lost_frames = 0
        """Frames that nobody took in time."""

    def __aiter__(self) -> AsyncGenerator[bytes, None]:  # noqa: PYI058 - to be closed by who iterates
        return self._frames()

    async def _frames(self) -> AsyncGenerator[bytes, None]:
        buffer: deque[bytes] = deque(maxlen=round(self.BUFFER_S * FRAMES_PER_SECOND))
        bell = _Bell("microphone", self._device)

        def take(sound: Any, _frames: int, _time: object, _status: object) -> None:
            self.lost_frames += len(buffer) == buffer.maxlen
            buffer.append(bytes(sound))
            bell.ring()

        opened = partial(_opened, "RawInputStream", "microphone", self._format, self._device, take, bell)
        async with _stream(opened):
            while True:
                while buffer:
                    yield buffer.popleft()
                await bell.rung()


class Speaker(anyio.AsyncContextManagerMixin):
    """
    Plays answers in the order in which they come, and knows how much of them was heard.

    A minute waits at most; then `play` waits.
    So a provider that answers faster than life doesn't keep the loop from hearing that the person speaks.

    Args:
        audio_format: The adapter's `output_format`; pcm16.
        device: Which speaker.

    Raises:
        ImportError: The extra `audio`, or the system's PortAudio, is not installed; when it is entered.
        OSError: There is no such device, or it doesn't take the format, when it is entered; or it is gone, when more is to be
            played.
    """

    BUFFER_S = 60.0

    def __init__(self, audio_format: AudioFormat | None = None, *, device: Device = None) -> None:
        self._format = _pcm16(audio_format)
        self._device = device
        self._playout = Playout(self._format, self.BUFFER_S)
        self._bell: _Bell | None = None

    @property
    def is_playing(self) -> bool:
        return not self._playout.is_empty

    @property
    def heard_bytes(self) -> int:
        """How much was played, ever."""
        return self._playout.heard_bytes

    async def play(self, frame: RealtimeOutputFrame) -> None:
        """Queue the audio of *frame*, when there is room for it."""
        if self._bell is not None:
            self._bell.check()
        while not self._playout.put(frame):
            await self._opened_bell().rung()

    def stop(self) -> int:
        """Fall silent, and return the milliseconds that were heard of the answer being played."""
        return self._playout.stop()

    async def finished(self) -> None:
        """Wait until all is played."""
        while self.is_playing:
            await self._opened_bell().rung()

    def _opened_bell(self) -> _Bell:
        if self._bell is None:
            raise ContractViolation("the speaker is not open: enter it with `async with`")
        return self._bell

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Speaker, None]:
        bell = self._bell = _Bell("speaker", self._device)

        def give(sound: Any, _frames: int, _time: object, _status: object) -> None:
            pcm = self._playout.take(len(sound))
            sound[:] = pcm.ljust(len(sound), b"\0")
            if pcm:
                bell.ring()

        opened = partial(_opened, "RawOutputStream", "speaker", self._format, self._device, give, bell)
        async with _stream(opened):
            yield self


class _Bell:
    """Rung by a device's thread; who was woken looks again."""

    def __init__(self, name: str, device: Device) -> None:
        self._name = name
        self._device = device
        self._has_stopped = False
        self._post = poster()
        self._next = anyio.Event()

    def ring(self) -> None:
        self._post(self._wake)

    def stop(self) -> None:
        """It will ring no more: the device has stopped, as one does that is unplugged."""
        # In the loop: who finds nothing more to take must not miss what came just before.
        self._post(self._stop)

    def check(self) -> None:
        """
        Raises:
            OSError: The device has stopped.
        """
        if self._has_stopped:
            raise OSError(
                f"the {self._name} ({_chosen(self._device)}) has stopped, as one does that is unplugged: "
                "`python -m sounddevice` lists the devices that this machine has; open one of them"
            )

    def _stop(self) -> None:
        self._has_stopped = True
        self._wake()

    def _wake(self) -> None:
        self._next.set()
        self._next = anyio.Event()

    async def rung(self) -> None:
        """
        Wait for the next `ring`; what happened before this was called may ring it, too.

        Raises:
            OSError: The device has stopped.
        """
        self.check()
        await self._next.wait()


def _pcm16(audio_format: AudioFormat | None) -> AudioFormat:
    audio_format = format_of(audio_format)
    if audio_format.encoding is not AudioEncoding.PCM16:
        raise ContractViolation(
            f"sound devices are used in pcm16, not in {audio_format.encoding}: configure the adapter for it"
        )
    return audio_format


@asynccontextmanager
async def _stream(opened: Callable[[], Any]) -> AsyncIterator[None]:
    """Hold the device that *opened* gives; opening and closing one takes a while, so a thread does it."""
    held = _Held(opened)
    try:
        await anyio.to_thread.run_sync(held.open)
        yield
    finally:
        # Otherwise the device would stay open, and the callback would go on.
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(held.close)


class _Held:
    """
    A device that one thread opens and another closes.

    A task that is cancelled natively doesn't wait until its thread has opened it: then that thread closes it.
    """

    def __init__(self, opened: Callable[[], Any]) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._stream: Any = None
        self._is_wanted = True

    def open(self) -> None:
        stream = self._opened()
        with self._lock:
            if self._is_wanted:
                self._stream = stream
                return
        stream.close()

    def close(self) -> None:
        with self._lock:
            stream, self._stream = self._stream, None
            self._is_wanted = False
        if stream is not None:
            # A device has taken what it will play in the next tenth of a second; closed at once, it would drop that, and
            # with it the end of the last word.
            stream.stop()
            stream.close()


def _opened(
    kind: str,
    name: str,
    audio_format: AudioFormat,
    device: Device,
    callback: Callable[..., None],
    bell: _Bell,
) -> Any:
    sounddevice = _sounddevice()
    stream = None
    try:
        stream = getattr(sounddevice, kind)(
            samplerate=audio_format.sample_rate,
            blocksize=audio_format.sample_rate // FRAMES_PER_SECOND,
            channels=audio_format.channels,
            dtype="int16",
            device=device,
            callback=callback,
            # Called as soon as the callback is called no more, whatever the reason.
            finished_callback=bell.stop,
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        if stream is not None:
            stream.close()
        raise OSError(
            f"the {name} ({_chosen(device)}) cannot be opened at {audio_format.sample_rate} Hz: "
            "`python -m sounddevice` lists the devices that this machine has"
        ) from error
    return stream


def _chosen(device: Device) -> str:
    return "default device" if device is None else f"device {device!r}"


def _sounddevice() -> Any:
    try:
        return import_module("sounddevice")
    except ImportError as error:
        raise lacking("sounddevice", by="a microphone or a speaker", extra="audio") from error
    except OSError as error:
        # What it raises where its library is missing, as on Linux, where no wheel brings it.
        raise ImportError(
            "sounddevice finds no PortAudio library: install it, on Debian and Ubuntu with "
            "`apt install libportaudio2`",
            name="sounddevice",
        ) from error
    except Exception as error:
        # Its PortAudioError has no other base, and cannot be had from a module that failed: it starts PortAudio at once.
        raise OSError(
            "PortAudio cannot use this machine's sound: see that its sound service runs, and that "
            "`python -m sounddevice` lists devices"
        ) from error
