"""
What was said lately: the input that a new connection may have forgotten.

The tail also knows at which position of the input audio each frame lies, and so turns a
provider's milliseconds into a cursor.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from realtime_async._core.frames import RealtimeInputFrame
from realtime_async._core.media import AudioFormat, RealtimeMediaKind, payload_bytes
from realtime_async._core.stretches import FRAMES_EACH, Stretch

__all__ = ["ReplayTail", "TailedFrame"]

# A frame that was still under way when the provider committed is not part of what it committed.
UNSTATED_COMMIT_S = 1.0
# Frames sent within so short a time are taken to be sent with the last of them.
BURST_S = 0.01
# Frames of 5 ms: none are shorter, but those that only refer to their media have no length at all.
FRAMES_PER_SECOND = 200
LEAST_FRAMES = 100
# Positions remembered: 40 s of frames of 20 ms, longer than a provider takes to speak of one.
POSITIONS = 2048


class TailedFrame(NamedTuple):
    """An input frame that may have to be said again."""

    number: int
    frame: RealtimeInputFrame
    """As the program gave it; its cursor is stamped when it is said."""
    bytes: int
    sent_at: float = 0.0


class ReplayTail:
    """
    The last seconds of input, less what is settled.

    Audio is kept by its duration, all else by when it was sent; so is audio without samples, which takes no time.
    It holds at most *seconds* of input in bytes, and one frame more; in frames, 200 a second. Of small frames, seven
    that are gone may lie in memory until the eighth goes too.
    """

    def __init__(self, seconds: float, audio_format: AudioFormat) -> None:
        self._seconds = seconds
        self._kept_ms = seconds * 1000
        self._rate = audio_format.bytes_per_second
        self._max_frames = max(LEAST_FRAMES, int(seconds * FRAMES_PER_SECOND))
        self._max_bytes = int(seconds * self._rate)
        self._bytes = 0
        self._position_ms = 0.0
        self._stretches: list[Stretch] = []
        """Of the audio whose position is remembered."""
        self._newest: Stretch | None = None
        self._positions = 0
        """How many frames they have, but for the newest."""
        self._audio: list[Stretch] = []
        """Those that keep frames."""
        self._audio_frames = 0
        self._others: deque[TailedFrame] = deque()
        self._refs: deque[tuple[float, int]] = deque(maxlen=self._max_frames)
        """When audio without samples was sent, which only refers to them, and as which frames."""
        self._refs_gone = 0
        """The last of those that were sent too long ago."""
        self._burst_began = self._sent_at = -math.inf
        self._lately: deque[tuple[float, float]] = deque()
        """When earlier bursts were sent, and the positions of their ends: the last second's, and one more."""
        self._settles_at: float | None = None
        self._answers: float | None = None
        self._answer_runs = False

    @property
    def bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return self._audio_frames + len(self._others)

    def add(self, number: int, frame: RealtimeInputFrame, now: float) -> None:
        """Keep *frame*, which was sent as *number*, or may have been."""
        payload = frame.payload
        size = len(payload) if isinstance(payload, bytes) else payload_bytes(payload)
        if frame.media_kind is RealtimeMediaKind.AUDIO:
            if not size:
                self._refs.append((now, number))
            self._add_audio(number, frame, size, now)
        elif self._seconds:
            self._others.append(TailedFrame(number, frame, size, now))
            self._bytes += size
        if self._others or self._bytes > self._max_bytes or self._audio_frames > self._max_frames:
            self._trim(now, size)

    def _add_audio(self, number: int, frame: RealtimeInputFrame, size: int, now: float) -> None:
        if now - self._burst_began >= BURST_S:
            lately = self._lately
            lately.append((self._sent_at, self._position_ms))
            self._burst_began = now
            while len(lately) > 1 and lately[1][0] <= now - UNSTATED_COMMIT_S:
                lately.popleft()
        self._sent_at = now
        rate = self._rate if frame.audio_format is None else frame.audio_format.bytes_per_second
        stretch = self._newest
        if (
            stretch is None
            or number != stretch.first + stretch.frames
            or rate != stretch.rate
            or stretch.frames >= FRAMES_EACH
        ):
            stretch = self._begin_stretch(number, frame, rate)
        audio = self._audio
        if not stretch.kept:
            audio.append(stretch)
        stretch.add(frame, size)
        self._bytes += size
        self._audio_frames += 1
        self._position_ms = position = stretch.begins_ms + stretch.bytes * 1000 / rate
        # What a call does 50 times a second: one frame comes, and one goes.
        oldest_ms = position - self._kept_ms
        while audio and audio[0].oldest_ends_ms <= oldest_ms:
            self._drop_audio()

    def _begin_stretch(self, number: int, frame: RealtimeInputFrame, rate: int) -> Stretch:
        if self._newest is not None:
            self._positions += self._newest.frames
            while self._positions - self._stretches[0].frames >= POSITIONS:
                self._positions -= self._stretches.pop(0).frames
        self._newest = stretch = Stretch(number, frame, self._position_ms, rate)
        self._stretches.append(stretch)
        return stretch

    def _drop_audio(self) -> None:
        oldest = self._audio[0]
        self._bytes -= oldest.drop()
        self._audio_frames -= 1
        if not oldest.kept:
            del self._audio[0]

    def _trim(self, now: float, newest: int) -> None:
        self._expire(now)
        others = self._others
        while self._bytes - newest > self._max_bytes or len(self) > self._max_frames:
            if not others or (self._audio and self._audio[0].oldest < others[0].number):
                self._drop_audio()
            else:
                self._bytes -= others.popleft().bytes

    def _expire(self, now: float) -> None:
        others = self._others
        while others and now - others[0].sent_at > self._seconds:
            self._bytes -= others.popleft().bytes

    def number_at(self, position_ms: float) -> int | None:
        """The last audio frame that ends by *position_ms* of the input audio; None: none that is remembered."""
        for stretch in reversed(self._stretches):
            number = stretch.number_at(position_ms)
            if number is not None:
                return number
        return None

    def committed(self, audio_end_ms: float | None, now: float) -> None:
        """The provider took the input up to *audio_end_ms*; None: it doesn't say how far."""
        if audio_end_ms is None:
            audio_end_ms = self._sent_by(now - UNSTATED_COMMIT_S)
        self._settles_at = max(audio_end_ms, self._settles_at or 0.0)

    def _sent_by(self, moment: float) -> float:
        bursts = ((self._sent_at, self._position_ms), *reversed(self._lately))
        return next((ends_ms for sent_at, ends_ms in bursts if sent_at <= moment), 0.0)

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
        while self._audio and self._audio[0].oldest_ends_ms <= settled:
            self._drop_audio()
        if self._settles_at == settled:
            self._settles_at = None

    def forgotten_after(self, number: int) -> None:
        """A new connection knows the input up to frame *number*: no answer of its own is to what another took after that."""
        known_ms = next(
            (each.ends_ms(number) for each in reversed(self._stretches) if each.first <= number), 0.0
        )
        # At the very beginning nothing is settled.
        if self._settles_at is not None:
            self._settles_at = min(self._settles_at, known_ms) or None
        if self._answers is not None:
            self._answers = min(self._answers, known_ms) or None

    def after(self, number: int, now: float) -> list[TailedFrame]:
        """What was said after frame *number*, in order."""
        # Its bytes are within their bound since the newest frame came, which may be as large as all the rest.
        self._expire(now)
        while self._refs and now - self._refs[0][0] > self._seconds:
            self._refs_gone = self._refs.popleft()[1]
        audio = (
            TailedFrame(each, frame, frame.payload_bytes())
            for kept in self._audio
            for each, frame in kept
            if frame.payload or each > self._refs_gone
        )
        return sorted(
            (tailed for tailed in (*audio, *self._others) if tailed.number > number),
            key=lambda tailed: tailed.number,
        )
