"""
A module in place of sounddevice.

Its devices are driven by the test, or run by themselves; in either case from a thread, as PortAudio does it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs

__all__ = ["FakeSoundDevice", "FakeStream", "running"]

Callback = Callable[[Any, int, object, object], None]


@attrs.define(eq=False)
class FakeStream:
    samplerate: int
    blocksize: int
    channels: int
    dtype: str
    device: int | str | None
    callback: Callback
    hears: bool = True
    """A microphone; else it is a speaker."""
    is_started: bool = False
    is_closed: bool = False

    @property
    def frame_bytes(self) -> int:
        return self.blocksize * self.channels * 2

    def start(self) -> None:
        self.is_started = True

    def close(self) -> None:
        self.is_closed = True

    def hear(self, pcm: bytes) -> None:
        """Give the program one frame of the microphone."""
        _in_a_thread(lambda: self.callback(memoryview(pcm), len(pcm) // 2, None, None))

    def sound(self) -> bytes:
        """Play one frame, and return what the program has put into it."""
        buffer = bytearray(self.frame_bytes)
        _in_a_thread(lambda: self.callback(memoryview(buffer), self.blocksize, None, None))
        return bytes(buffer)


def running(
    sound: bytes, speed: float, played: bytearray, interjection: bytes = b""
) -> Callable[..., FakeStream]:
    """
    Make streams that run.

    Microphones hear *sound* and then silence, and *interjection* once half a second of an answer was played.
    What speakers play, silence included, is added to *played*.
    """

    class RunningStream(FakeStream):
        def start(self) -> None:
            super().start()
            self.ended = threading.Event()
            self.thread = threading.Thread(target=self.run)
            self.thread.start()

        def run(self) -> None:
            pending = sound if self.hears else b""
            to_interject = interjection if self.hears else b""
            while not self.ended.wait(0.02 / speed):
                if to_interject and len(played.strip(b"\0")) > 22_050:
                    pending, to_interject = pending + to_interject, b""
                # Silence where there is no more to hear, and room for what is to be played.
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
