"""A speaker without a device, and a microphone that reads from a list."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager

import anyio

from realtime_async._core.given import is_number, shown
from realtime_async.audio.playout import Playout, format_of
from realtime_async.errors import ContractViolation
from realtime_async.ports import AudioFormat, RealtimeOutputFrame

__all__ = ["SilentSpeaker", "paced"]


class SilentSpeaker(AbstractAsyncContextManager["SilentSpeaker", None]):
    """
    Takes the time that playing takes, and makes no sound: for servers, files and tests.

    It may be entered like a `Speaker`, and need not be.

    Args:
        audio_format: Of what it plays: the adapter's `output_format`.
        speed: How many times as fast as life it plays.
        buffer_s: How much waits at most; then `play` waits.

    Raises:
        ContractViolation: No time can be taken at that speed, or nothing can wait.
    """

    def __init__(
        self, audio_format: AudioFormat | None = None, *, speed: float = 1.0, buffer_s: float = 60.0
    ) -> None:
        self._format = format_of(audio_format)
        self._playout = Playout(self._format, _above_0(buffer_s, "buffer_s"))
        self._speed = _above_0(speed, "speed")
        self._advanced_at: float | None = None

    async def __aexit__(self, *_: object) -> None:
        """There is nothing to give back."""

    @property
    def is_playing(self) -> bool:
        self._advance()
        return not self._playout.is_empty

    @property
    def heard_bytes(self) -> int:
        """How much was played, ever."""
        self._advance()
        return self._playout.heard_bytes

    async def play(self, frame: RealtimeOutputFrame) -> None:
        """Queue the audio of *frame*, when there is room for it."""
        self._advance()
        while not self._playout.put(frame):
            await anyio.sleep(self._seconds(len(frame.payload or b"")))
            self._advance()

    def stop(self) -> int:
        """Fall silent, and return the milliseconds that were heard of the answer being played."""
        self._advance()
        return self._playout.stop()

    async def finished(self) -> None:
        """Wait until all is played."""
        # More may be put while it waits.
        while self.is_playing:  # noqa: ASYNC110 - time is what it waits for
            await anyio.sleep(self._playout.waiting_s / self._speed)

    def _seconds(self, size: int) -> float:
        return size / self._format.bytes_per_second / self._speed

    def _advance(self) -> None:
        """Play what time has come for."""
        now = anyio.current_time()
        if self._playout.is_empty or self._advanced_at is None:
            self._advanced_at = now
            return
        sample = self._format.bytes_per_sample
        # Rounded up: who slept until the last sample must find it played.
        samples = -int(-(now - self._advanced_at) * self._speed * self._format.sample_rate // 1)
        if self._playout.take(samples * sample):
            self._advanced_at = min(now, self._advanced_at + self._seconds(samples * sample))


async def paced(
    pieces: Iterable[bytes], *, piece_s: float = 0.02, speed: float = 1.0
) -> AsyncGenerator[bytes, None]:
    """
    Yield each of *pieces* when it is time for it, as a microphone would.

    Who takes them late gets those that are due at once, and is in time again.

    Raises:
        ContractViolation: No time can be taken at that speed; on the first iteration.
    """
    _above_0(speed, "speed")
    _above_0(piece_s, "piece_s")
    begun = anyio.current_time()
    for number, piece in enumerate(pieces):
        await anyio.sleep_until(begun + number * piece_s / speed)
        yield piece


def _above_0(value: float, what: str) -> float:
    """
    *value*, if it is a finite number above 0.

    Raises:
        ContractViolation: It is not; *what* says what it was to be.
    """
    if not (is_number(value) and 0 < value < math.inf):
        raise ContractViolation(f"the {what} is {shown(value)}: give a finite number above 0")
    return value
