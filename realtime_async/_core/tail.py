"""
What was said lately: the input that a new connection may have forgotten.

The tail also knows at which position of the input audio each frame lies, and so turns a
provider's milliseconds into a cursor.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from realtime_async._core.frames import RealtimeInputFrame
from realtime_async._core.media import AudioFormat, RealtimeMediaKind, payload_bytes

__all__ = ["ReplayTail", "TailedFrame"]

# A frame that was still under way when the provider committed is not part of what it committed.
UNSTATED_COMMIT_S = 1.0
# Frames of 5 ms: none are shorter, but those that only refer to their media have no length at all.
FRAMES_PER_SECOND = 200
LEAST_FRAMES = 100
# Positions remembered: 40 s of frames of 20 ms, longer than a provider takes to speak of one.
POSITIONS = 2048


class TailedFrame(NamedTuple):
    """An input frame that may have to be said again."""

    number: int
    frame: RealtimeInputFrame
    """As the program gave it: a copy with its cursor would be as large as its audio."""
    sent_at: float
    ends_at_ms: float
    """Position of its end in the session's input audio."""
    bytes: int


class ReplayTail:
    """
    The last seconds of input, less what is settled.

    Audio is kept by its duration, all else by when it was sent.
    It holds at most *seconds* of input in bytes, and one frame more; in frames, 200 a second.
    """

    def __init__(self, seconds: float, audio_format: AudioFormat) -> None:
        self._seconds = seconds
        self._kept_ms = seconds * 1000
        self._rate = audio_format.bytes_per_second
        self._max_frames = max(LEAST_FRAMES, int(seconds * FRAMES_PER_SECOND))
        self._max_bytes = int(seconds * self._rate)
        self._audio: deque[TailedFrame] = deque()
        self._others: deque[TailedFrame] = deque()
        self._bytes = 0
        self._position_ms = 0.0
        self._positions: deque[tuple[int, float, float]] = deque(maxlen=POSITIONS)
        self._settles_at: float | None = None
        self._answers: float | None = None
        self._answer_runs = False

    @property
    def bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._audio) + len(self._others)

    def add(self, number: int, frame: RealtimeInputFrame, now: float) -> None:
        """Keep *frame*, which was sent as *number*, or may have been."""
        payload = frame.payload
        size = len(payload) if isinstance(payload, bytes) else payload_bytes(payload)
        is_audio = frame.media_kind is RealtimeMediaKind.AUDIO
        position = self._position_ms
        if is_audio:
            rate = self._rate if frame.audio_format is None else frame.audio_format.bytes_per_second
            self._position_ms = position = position + size * 1000 / rate
            self._positions.append((number, position, now))
        if not self._seconds:
            return
        audio = self._audio
        (audio if is_audio else self._others).append(TailedFrame(number, frame, now, position, size))
        self._bytes += size
        if self._others:
            self._trim(now, size)
            return
        # What a call does 50 times a second: one frame comes, and one goes.
        oldest_ms = position - self._kept_ms
        while audio and audio[0].ends_at_ms <= oldest_ms:
            self._bytes -= audio.popleft().bytes
        if self._bytes > self._max_bytes or len(audio) > self._max_frames:
            self._trim(now, size)

    def _trim(self, now: float, newest: int) -> None:
        audio, others = self._audio, self._others
        if audio:
            oldest_ms = self._position_ms - self._kept_ms
            while audio and audio[0].ends_at_ms <= oldest_ms:
                self._bytes -= audio.popleft().bytes
        while others and now - others[0].sent_at > self._seconds:
            self._bytes -= others.popleft().bytes
        while self._bytes - newest > self._max_bytes or len(audio) + len(others) > self._max_frames:
            self._bytes -= self._older().popleft().bytes

    def _older(self) -> deque[TailedFrame]:
        if not self._others or (self._audio and self._audio[0].number < self._others[0].number):
            return self._audio
        return self._others

    def number_at(self, position_ms: float) -> int | None:
        """The last audio frame that ends by *position_ms* of the input audio; None: none that is remembered."""
        for number, ends_at_ms, _ in reversed(self._positions):
            if ends_at_ms <= position_ms:
                return number
        return None

    def committed(self, audio_end_ms: float | None, now: float) -> None:
        """The provider took the input up to *audio_end_ms*; None: it doesn't say how far."""
        if audio_end_ms is None:
            audio_end_ms = self._sent_by(now - UNSTATED_COMMIT_S)
        self._settles_at = max(audio_end_ms, self._settles_at or 0.0)

    def _sent_by(self, moment: float) -> float:
        for _, ends_at_ms, sent_at in reversed(self._positions):
            if sent_at <= moment:
                return ends_at_ms
        return 0.0

    def answer_started(self) -> None:
        """An answer begins: it answers what is committed by now, not what is said into it."""
        self._answer_runs = True
        self._answers = self._settles_at

    def answer_ended(self, *, completed: bool) -> None:
        """
        The answer is over.

        Where it was *completed*, the audio it answers need not be said again; else that stays owed.
        """
        # A provider that doesn't announce its answers answers all that it has committed.
        settled = self._answers if self._answer_runs else self._settles_at
        self._answer_runs = False
        self._answers = None
        if settled is None or not completed:
            return
        while self._audio and self._audio[0].ends_at_ms <= settled:
            self._bytes -= self._audio.popleft().bytes
        if self._settles_at == settled:
            self._settles_at = None

    def after(self, number: int, now: float) -> list[TailedFrame]:
        """What was said after frame *number*, in order."""
        self._trim(now, self._max_bytes)
        return sorted(
            (tailed for kept in (self._audio, self._others) for tailed in kept if tailed.number > number),
            key=lambda tailed: tailed.number,
        )
