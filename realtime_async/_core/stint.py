"""When a task that goes on and on has to let the others run."""

from __future__ import annotations

import math

__all__ = ["CALLS_AT_MOST", "SECONDS_AT_MOST", "Stint"]

# Where no time passes, as where it is virtual, or much between two calls.
CALLS_AT_MOST = 50
# With twenty that have fallen behind, a handshake gets its turn fifty times a second.  Less costs whoever has the loop
# to itself: what it sends between two turns goes out in one system call.
SECONDS_AT_MOST = 0.001
# Whoever comes as late as this has most likely let others run meanwhile.
_PAUSE_S = 0.005


class Stint:
    """
    How long one task has called without letting others run: a loop that never suspends would starve them.

    A caller who speaks like a clock has to wait for nobody. One who has fallen behind has, and then it matters most,
    as the connection that all wait for is made by the same event loop.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._since = -math.inf
        self._last = -math.inf

    def is_over(self, now: float) -> bool:
        """Take note of a call; whether the others have to be let run before it."""
        if now - self._last > _PAUSE_S:
            self._since = now
        self._last = now
        self._calls += 1
        if self._calls < CALLS_AT_MOST and now - self._since < SECONDS_AT_MOST:
            return False
        self._calls = 0
        self.waited()
        return True

    def waited(self) -> None:
        """Take note that something was awaited: as a rule others ran meanwhile, so the time begins anew."""
        self._last = -math.inf
