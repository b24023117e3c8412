"""
A module in place of sounddevice.

Its devices are driven by the test, or run by themselves; in either case from a thread, as PortAudio does it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from realtime_async.audio import Microphone, Speaker

__all__ = ["FakeSoundDevice", "FakeStream", "PortAudioError", "running_devices"]

Callback = Callable[[Any, int, object, object], None]

# Longer than any program here waits before it takes a sentence for finished.
SILENCE_S = 0.9


@attrs.define(eq=False)
class FakeStream:
    samplerate: int
    blocksize: int
    channels: int
    dtype: str
    device: int | str | None
    callback: Callback
    finished_callback: Callable[[], None]
    hears: bool = True
    """A microphone; else it is a speaker."""
    is_started: bool = False
    is_closed: bool = False
    played: bytearray = attrs.field(factory=bytearray)
    """What came out of a speaker: all that it was given, less what it still held when it was closed."""
    _held: bytearray = attrs.field(factory=bytearray, init=False)

    @property
    def frame_bytes(self) -> int:
        return self.blocksize * self.channels * 2

    def start(self) -> None:
        self.is_started = True

    def stop(self) -> None:
        """Play what it holds."""
        self.played += self._held
        self._held.clear()

    def close(self) -> None:
        self._held.clear()
        self.is_closed = True

    def lose(self) -> None:
        """Be unplugged."""
        _in_a_thread(self.finished_callback)

    def hear(self, pcm: bytes) -> None:
        """Give the program one frame of the microphone."""
        _in_a_thread(lambda: self.callback(memoryview(pcm), len(pcm) // 2, None, None))

    def sound(self) -> bytes:
        """Take one frame to be played when the next one is taken, and return what the program has put into it."""
        buffer = bytearray(self.frame_bytes)
        _in_a_thread(lambda: self.callback(memoryview(buffer), self.blocksize, None, None))
        self.played += self._held
        self._held[:] = buffer
        return bytes(buffer)


def running_devices(
    monkeypatch: pytest.MonkeyPatch, sound: bytes, speed: float, played: bytearray, interjection: bytes = b""
) -> FakeSoundDevice:
    """
    Put devices into the machine that run, *speed* times as fast as life.

    Microphones hear *sound*, and *interjection* once half a second of an answer was played.
    After each there is silence for long enough to be noticed, and then nothing any more: who hangs up breaks off no frame
    that is being sent.
    What speakers play, silence included, is added to *played*.

    A program may be as slow as it likes: nothing of what the microphone hears is lost, and the speakers stand still from
    the interjection on until the program stops one; else all could be said before it was noticed.
    """
    was_stopped, stop = threading.Event(), Speaker.stop

    def stopped(speaker: Speaker) -> int:
        played_ms = stop(speaker)
        was_stopped.set()
        return played_ms

    monkeypatch.setattr(Speaker, "stop", stopped)
    monkeypatch.setattr(Microphone, "BUFFER_S", 1000.0)
    devices = FakeSoundDevice(makes=_running(sound, speed, played, interjection, was_stopped))
    monkeypatch.setitem(sys.modules, "sounddevice", devices)
    return devices


def _running(
    sound: bytes, speed: float, played: bytearray, interjection: bytes, was_noticed: threading.Event
) -> Callable[..., FakeStream]:
    def is_spoken_over() -> bool:
        return bool(interjection) and len(played.strip(b"\0")) > 22_050

    class RunningStream(FakeStream):
        def start(self) -> None:
            super().start()
            self.ended = threading.Event()
            # One that a program forgets to close fails its test, and doesn't keep all of them from ending.
            self.thread = threading.Thread(target=self.run, daemon=True)
            self.thread.start()

        def run(self) -> None:
            silence = bytes(2 * round(SILENCE_S * self.samplerate))
            pending = sound + silence if self.hears else b""
            to_interject = interjection if self.hears else b""
            while not self.ended.wait(0.02 / speed):
                if to_interject and is_spoken_over():
                    pending, to_interject = pending + to_interject + silence, b""
                stands_still = not pending if self.hears else is_spoken_over() and not was_noticed.is_set()
                if stands_still:
                    continue
                # Filled up with silence, or room for what is to be played.
                buffer = bytearray(pending[: self.frame_bytes].ljust(self.frame_bytes, b"\0"))
                pending = pending[self.frame_bytes :]
                self.callback(memoryview(buffer), self.blocksize, None, None)
                if not self.hears:
                    played.extend(buffer)

        def close(self) -> None:
            self.ended.set()
            self.thread.join()
            super().close()

    return RunningStream


def _in_a_thread(step: Callable[[], None]) -> None:
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()


class PortAudioError(Exception):
    pass


@attrs.define(eq=False)
class FakeSoundDevice:
    """What is asked of the module `sounddevice`."""

    has_device: bool = True
    makes: Callable[..., FakeStream] = FakeStream
    inputs: list[FakeStream] = attrs.field(factory=list)
    outputs: list[FakeStream] = attrs.field(factory=list)
    PortAudioError: type[Exception] = PortAudioError

    def RawInputStream(self, **options: Any) -> FakeStream:  # noqa: N802 - as sounddevice names it
        return self._make(self.inputs, options, hears=True)

    def RawOutputStream(self, **options: Any) -> FakeStream:  # noqa: N802 - as sounddevice names it
        return self._make(self.outputs, options, hears=False)

    def _make(self, streams: list[FakeStream], options: dict[str, Any], *, hears: bool) -> FakeStream:
        if not self.has_device:
            raise PortAudioError("Error querying device -1")
        streams.append(self.makes(**options, hears=hears))
        return streams[-1]
