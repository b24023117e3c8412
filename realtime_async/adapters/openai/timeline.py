"""
Where each input frame lies: in the audio of the session, and in that of the present connection.

The provider counts milliseconds from the beginning of a connection, and hears replayed frames a second time;
everybody else counts from the beginning of the session.
"""

from __future__ import annotations

from collections import deque

import attrs

__all__ = ["InputTimeline"]


@attrs.define
class _Run:
    """Audio frames of one length, with consecutive numbers, heard one after the other; positions in bytes."""

    first: int
    frames: int
    size: int
    session_at: int
    connection_at: int

    @property
    def connection_end(self) -> int:
        return self.connection_at + self.frames * self.size


class InputTimeline:
    """
    The position of every audio frame that was sent.

    It remembers the last 512 runs of frames of one length: an hour of 20 ms frames is one.
    """

    RUNS = 512

    def __init__(self, bytes_per_ms: int) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._runs: deque[_Run] = deque(maxlen=self.RUNS)
        self._here = 0
        """How many of the newest runs are of this connection."""
        self._session_bytes = 0
        self.connection_bytes = 0
        """How much this connection was sent."""
        self.last_number = 0
        """The highest number that any frame has had."""

    def reconnected(self) -> None:
        self._here = 0
        self.connection_bytes = 0

    def number_of(self, stamped: int | None) -> int:
        """The number of a frame whose cursor says *stamped*; None: it has none, and is the next."""
        return self.last_number + 1 if stamped is None else stamped

    def passed(self, number: int) -> None:
        """Frame *number*, which is no audio, was sent."""
        self.last_number = max(self.last_number, number)

    def sent(self, number: int, size: int) -> None:
        """Frame *number*, *size* bytes of audio, was sent on this connection."""
        session_at = self._place(number, size)
        run = self._runs[-1] if self._here else None
        if (
            run is not None
            and number == run.first + run.frames
            and size == run.size
            and session_at == run.session_at + run.frames * run.size
        ):
            run.frames += 1
        else:
            self._runs.append(_Run(number, 1, size, session_at, self.connection_bytes))
            self._here = min(self._here + 1, self.RUNS)
        self.connection_bytes += size

    def _place(self, number: int, size: int) -> int:
        """Return where frame *number* begins in the session's audio."""
        if number <= self.last_number:
            return self._known(number)
        # Numbers that never came here were lost on the way, and count in the session all the same;
        # but in another process's session the first frame has a high number and stands at the beginning.
        if self._runs:
            self._session_bytes += (number - self.last_number - 1) * size
        at = self._session_bytes
        self._session_bytes += size
        self.last_number = number
        return at

    def _known(self, number: int) -> int:
        for run in reversed(self._runs):
            if run.first <= number < run.first + run.frames:
                return run.session_at + (number - run.first) * run.size
        return self._runs[0].session_at if self._runs else 0

    def _run_at(self, position: int) -> _Run | None:
        """The run of this connection in which the byte at *position* lies, or the one before it."""
        for index in range(1, self._here + 1):
            if self._runs[-index].connection_at <= position:
                return self._runs[-index]
        return self._runs[-self._here] if self._here else None

    def session_ms(self, connection_ms: int) -> int:
        """The position in the session's audio of what the provider calls *connection_ms*."""
        position = connection_ms * self._bytes_per_ms
        run = self._run_at(position)
        if run is None:
            return self._session_bytes // self._bytes_per_ms
        inside = max(0, min(position - run.connection_at, run.frames * run.size))
        return (run.session_at + inside) // self._bytes_per_ms

    def last_ended_by(self, connection_ms: int) -> int:
        """The last audio frame of this connection that ends by *connection_ms*; 0: none that is remembered."""
        position = connection_ms * self._bytes_per_ms
        for index in range(1, self._here + 1):
            run = self._runs[-index]
            whole = min(run.frames, (position - run.connection_at) // run.size) if run.size else 0
            if whole > 0:
                return run.first + whole - 1
        return 0

    @property
    def connection_ms(self) -> int:
        return self.connection_bytes // self._bytes_per_ms
