"""The input buffer of an OpenAI Realtime server: what was appended and not committed yet, and where speech is in it."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from realtime_async.testing.loopback.hearing import FRAME_MS, Speech, Turns, number_of

__all__ = ["Edge", "InputBuffer"]


@attrs.frozen
class Edge:
    """Speech began or ended, so many milliseconds after the session's first audio."""

    speech: Speech
    at_ms: int


class InputBuffer:
    """Counts audio, and keeps none of it but what doesn't fill a frame yet."""

    def __init__(self, turns: Turns | None) -> None:
        self.heard: list[int] = []
        """The numbers of the frames that bear one, in order."""
        self.written_ms = 0.0
        """All that was ever appended."""
        self.begins_ms = 0.0
        """Where the uncommitted rest begins."""
        self._ear = None if turns is None else turns.ear()
        self._rest = b""

    @property
    def held_ms(self) -> float:
        return self.written_ms - self.begins_ms

    def empty(self) -> float:
        """Forget what is uncommitted; return how much it was, in milliseconds."""
        held = self.held_ms
        self.begins_ms = self.written_ms
        self._rest = b""
        return held

    def append(self, audio: bytes, *, bytes_per_ms: int) -> Iterator[Edge | None]:
        """Take *audio* frame by frame; what is yielded must be acted upon before the next frame is taken."""
        frame_bytes = FRAME_MS * bytes_per_ms
        whole = self._rest + audio
        already = len(self._rest)
        # Committed or cleared meanwhile, what was taken before is gone.
        self._rest = b""
        full = len(whole) // frame_bytes * frame_bytes
        for start in range(0, full, frame_bytes):
            frame = whole[start : start + frame_bytes]
            self.written_ms += (frame_bytes - already) / bytes_per_ms
            already = 0
            number = number_of(frame)
            if number is not None:
                self.heard.append(number)
            speech = None if self._ear is None else self._ear.hear(frame, bytes_per_ms=bytes_per_ms)
            yield None if speech is None else Edge(speech, round(self.written_ms))
        self._rest = whole[full:]
        self.written_ms += max(0, len(self._rest) - already) / bytes_per_ms
