"""
Where a sentence begins and ends in a stream of audio.

Positions are samples of the session's input audio; nothing here waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import attrs

from realtime_async.adapters.local.vad import SAMPLE_RATE, VoiceActivity

__all__ = ["Endpointer", "SpeechBegan", "SpeechEnded", "SpeechPiece"]


@attrs.frozen
class SpeechBegan:
    at: int
    """The first sample of speech."""


@attrs.frozen
class SpeechPiece:
    pcm: bytes = attrs.field(repr=False)


@attrs.frozen
class SpeechEnded:
    needs_from: int
    """The first sample that was handed on."""
    at: int
    """The sample after the last one of speech."""
    through: int
    """The sample after the last one that belongs to the sentence, its closing silence included."""


class Endpointer:
    """
    Cuts sentences out of a stream.

    A sentence begins with 64 ms of speech and carries 300 ms of what was before, as voice activity misses soft
    first sounds.
    It ends after 500 ms without speech, of which 200 ms are handed on: in more of it, the recogniser hears
    words in the noise of the room.
    It ends at 30 s at the latest, as the recogniser holds all of it.
    """

    BEGINS_AFTER_S = 0.06
    PRE_ROLL_S = 0.3
    HANGOVER_S = 0.5
    AFTERGLOW_S = 0.2
    LONGEST_S = 30.0

    def __init__(self, activity: VoiceActivity) -> None:
        self._activity = activity
        self._window_bytes = activity.window_bytes
        window_s = self._window_bytes / 2 / SAMPLE_RATE
        self._begins_after = round(self.BEGINS_AFTER_S / window_s)
        self._hangover = round(self.HANGOVER_S / window_s)
        self._afterglow = round(self.AFTERGLOW_S / window_s)
        self._longest = round(self.LONGEST_S / window_s)
        self.is_open = False
        self._position = 0
        self._rest = b""
        self._pause: list[bytes] = []
        self._before: deque[bytes] = deque(maxlen=self._begins_after + round(self.PRE_ROLL_S / window_s))
        self._needs_from = 0
        self._spoken = 0
        self._length = 0
        self._ended_at = 0

    def reset(self, position: int) -> None:
        """Begin anew, with a stream whose first sample is *position*."""
        self._activity.reset()
        self.is_open = False
        self._position = position
        self._rest = b""
        self._before.clear()
        self._pause.clear()
        self._spoken = 0

    @property
    def needs_from(self) -> int:
        """The first sample that may still become part of a sentence that has not ended."""
        if self.is_open:
            return self._needs_from
        return self._position - len(self._before) * self._window_bytes // 2

    def feed(self, pcm: bytes, position: int) -> Iterator[SpeechBegan | SpeechPiece | SpeechEnded]:
        """
        Listen to *pcm*, whose first sample is *position*.

        The caller takes all that is yielded; where it waits in between, it does so between two windows.
        """
        self._position = position - len(self._rest) // 2
        data = self._rest + pcm
        size = self._window_bytes
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        for start in range(0, whole, size):
            yield from self._window(data[start : start + size])

    def end(self) -> Iterator[SpeechPiece | SpeechEnded]:
        """End the sentence here, if one has begun."""
        if not self.is_open:
            return
        self._pause.append(self._rest)
        self._position += len(self._rest) // 2
        self._rest = b""
        yield from self._close()

    def _window(self, window: bytes) -> Iterator[SpeechBegan | SpeechPiece | SpeechEnded]:
        is_speech = self._activity.is_speech(window)
        self._position += len(window) // 2
        self._spoken = self._spoken + 1 if is_speech else 0
        if not self.is_open:
            self._before.append(window)
            if self._spoken >= self._begins_after:
                yield from self._open()
            return
        self._length += 1
        self._pause.append(window)
        if is_speech:
            self._ended_at = self._position
            yield from _pieces(self._pause)
            self._pause.clear()
        if len(self._pause) >= self._hangover or self._length >= self._longest:
            yield from self._close()

    def _open(self) -> Iterator[SpeechBegan | SpeechPiece]:
        samples = self._window_bytes // 2
        self.is_open = True
        self._ended_at = self._position
        self._length = len(self._before)
        self._needs_from = self._position - self._length * samples
        yield SpeechBegan(at=self._position - self._spoken * samples)
        yield from _pieces(self._before)
        self._before.clear()

    def _close(self) -> Iterator[SpeechPiece | SpeechEnded]:
        yield from _pieces(self._pause[: self._afterglow])
        # Only here: while its last pieces are heard, the sentence is still needed from its beginning.
        self.is_open = False
        self._spoken = 0
        self._pause.clear()
        yield SpeechEnded(needs_from=self._needs_from, at=self._ended_at, through=self._position)


def _pieces(windows: Iterable[bytes]) -> Iterator[SpeechPiece]:
    return map(SpeechPiece, windows)
