"""
What waits to be written, as bytes in the order of the wire.

Positions count bytes since the handshake, so that a message is known by where it starts and ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from realtime_async.adapters._websocket.limits import WebSocketLimits

__all__ = ["CHUNK_BYTES", "Outgoing"]

CHUNK_BYTES = 64 * 1024
"""
The most that is handed to the socket at once.

The write deadline is for one of these, so that a large message over a slow line isn't taken for a stalled peer.
"""

UNWRITTEN_REPLIES = 1024
"""Pongs, of at most 131 bytes each: a peer that asks and doesn't read is not read either."""


class Outgoing:
    """Frames in order, taken in chunks; nothing here waits."""

    def __init__(self, limits: WebSocketLimits) -> None:
        self._limits = limits
        self._frames: deque[bytes | memoryview] = deque()
        self._ends: deque[int] = deque()
        self._reply_ends: deque[int] = deque()
        self.queued_through = 0
        self.taken_through = 0
        self.written_through = 0

    def has_room(self, size: int) -> bool:
        """Whether a message of *size* bytes may be put now; one that is alone always may."""
        unwritten = self.queued_through - self.written_through
        return not unwritten or (
            unwritten + size <= self._limits.queued_bytes and len(self._ends) < self._limits.queued_messages
        )

    @property
    def is_full_of_replies(self) -> bool:
        return len(self._reply_ends) >= UNWRITTEN_REPLIES

    def put(self, frames: Iterable[bytes]) -> None:
        self._put(frames, self._ends)

    def put_replies(self, frames: Iterable[bytes]) -> None:
        self._put(frames, self._reply_ends)

    def _put(self, frames: Iterable[bytes], ends: deque[int]) -> None:
        for frame in frames:
            self._frames.append(frame)
            self.queued_through += len(frame)
            ends.append(self.queued_through)

    def take(self) -> bytes | None:
        """Return what to write next, in one piece; None: there is nothing."""
        frames = self._frames
        if not frames:
            return None
        batch = []
        room = CHUNK_BYTES
        while frames and room > 0:
            frame = frames.popleft()
            if len(frame) > room:
                # A view, or cutting up a large message would copy its rest each time.
                frame = memoryview(frame)
                frames.appendleft(frame[room:])
                frame = frame[:room]
            batch.append(frame)
            room -= len(frame)
        self.taken_through += CHUNK_BYTES - room
        return b"".join(batch)

    def wrote(self) -> None:
        """All that was taken is with the socket."""
        self.written_through = self.taken_through
        for ends in (self._ends, self._reply_ends):
            while ends and ends[0] <= self.written_through:
                ends.popleft()
