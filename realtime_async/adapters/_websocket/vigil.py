"""When a peer that says nothing is asked, and when it is given up; nothing here waits."""

from __future__ import annotations

import math
import time

from realtime_async.adapters._websocket.failures import End
from realtime_async.adapters._websocket.limits import WebSocketLimits

__all__ = ["Vigil"]


class Vigil:
    """
    What is known of the peer, by the system's clock: the event loop's costs ten times as much to read, at every frame.

    Whoever keeps it looks at the moments that `next_look` names, so a frame costs it nothing.
    """

    def __init__(self, limits: WebSocketLimits) -> None:
        self._limits = limits
        self.heard_at = time.monotonic()
        """When data last came."""
        self.writing_since: float | None = None
        self.is_reading = True
        self.reminder_at = math.inf
        """When whoever receives wants to be woken."""
        self._asked_at = math.inf

    def is_reminder_due(self, now: float) -> bool:
        """Whether the moment of the reminder has come; it comes once."""
        if now < self.reminder_at:
            return False
        self.reminder_at = math.inf
        return True

    def end(self, now: float) -> End | None:
        """How the connection has ended; None: it has not, as far as anybody knows."""
        if self._heard_at(now) > self._asked_at:
            self._asked_at = math.inf
        if now >= self._writing_since(now) + self._limits.write_s:
            return End.STALLED
        return End.SILENT if now >= self._asked_at + self._limits.dead_after_s else None

    def is_question_due(self, now: float) -> bool:
        """Whether the peer is to be asked if it lives, which then counts as done."""
        if self._asked_at < math.inf or now < self._heard_at(now) + self._limits.ping_every_s:
            return False
        self._asked_at = now
        return True

    def next_look(self, now: float) -> float:
        """The next moment at which anything here could be due."""
        asked_at, limits = self._asked_at, self._limits
        due = (
            self._writing_since(now) + limits.write_s,
            asked_at + limits.dead_after_s,
            # An answer makes the next question due before a missing one would be noticed.
            (self._heard_at(now) if asked_at == math.inf else asked_at) + limits.ping_every_s,
            self.reminder_at,
        )
        return min(when for when in due if when > now)

    def _heard_at(self, now: float) -> float:
        # While nobody reads, nothing is known of the peer.
        return self.heard_at if self.is_reading else now

    def _writing_since(self, now: float) -> float:
        return now if self.writing_since is None else self.writing_since
