"""
How fast connections may be opened on one route: each dial gets a moment of its own.

Moments are given out in the order of asking, so whoever asked waits for those before it and for nobody else.
"""

from __future__ import annotations

import heapq

__all__ = ["DialSlots"]


class DialSlots:
    """The moments at which one route may be dialled."""

    def __init__(self) -> None:
        self._next = float("-inf")
        self._returned: list[float] = []

    def take(self, now: float, per_s: float) -> float:
        """
        Return the moment at which to dial, not before *now*.

        Args:
            per_s: Dials in a second; infinite: all at once.
        """
        while self._returned:
            slot = heapq.heappop(self._returned)
            if slot >= now:
                return slot
        slot = max(self._next, now)
        self._next = slot + 1 / per_s
        return slot

    def give_back(self, slot: float) -> None:
        """Nobody will dial at *slot*: the next who asks may."""
        heapq.heappush(self._returned, slot)

    def is_idle(self, now: float) -> bool:
        """Whether it remembers nothing that matters."""
        return self._next <= now
