"""
How fast connections may be opened on one route: each dial gets a moment.

Moments are given out in the order of asking, so whoever asked waits for those before it and for nobody else.
"""

from __future__ import annotations

import heapq
import math
from collections import deque

__all__ = ["DialSlots"]

# A higher rate than that in a second is kept in parts of a second.
_MOST_AT_ONCE = 1000


class DialSlots:
    """The moments at which one route may be dialled."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque(maxlen=_MOST_AT_ONCE)
        self._returned: list[float] = []
        self._busy_until = -math.inf

    def take(self, now: float, per_s: float) -> float:
        """
        Return the moment at which to dial, not before *now*.

        Args:
            per_s: Dials in any second, below 1 in any 1/per_s seconds; infinite: all at once.
        """
        if math.isinf(per_s):
            return now
        while self._returned:
            moment = heapq.heappop(self._returned)
            if moment >= now:
                return moment
        at_once = max(1, min(math.floor(per_s), _MOST_AT_ONCE))
        within_s = at_once / per_s
        moment = max(now, self._moments[-1]) if self._moments else now
        if len(self._moments) >= at_once:
            moment = max(moment, self._moments[-at_once] + within_s)
        self._moments.append(moment)
        self._busy_until = moment + within_s
        return moment

    def give_back(self, moment: float) -> None:
        """Nobody will dial at *moment*: the next who asks may."""
        heapq.heappush(self._returned, moment)

    def is_idle(self, now: float) -> bool:
        """Whether it remembers nothing that matters."""
        return self._busy_until <= now
