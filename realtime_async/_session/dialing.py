"""
The moment at which a session may open a connection, among all sessions of the event loop on its route.

Only sessions of `open_session` ask; a controller that is driven by hand dials when it is told to.
"""

from __future__ import annotations

import anyio
from anyio.lowlevel import RunVar

from realtime_async._core.dials import DialSlots

__all__ = ["Dialing"]

# Kept by event loop, as its clock is what the moments are counted by.
_routes: RunVar[dict[str, DialSlots]] = RunVar("realtime_async.dials")

# Beyond it, routes that nobody has dialled lately are forgotten.
_REMEMBERED_ROUTES = 256


class Dialing:
    """One session's dials."""

    def __init__(self, route: str, per_s: float) -> None:
        self._route = route
        self._per_s = per_s

    async def turn(self) -> None:
        """Wait until it is this session's turn to dial."""
        now = anyio.current_time()
        slots = _slots_of(self._route, now)
        moment = slots.take(now, self._per_s)
        try:
            await anyio.sleep_until(moment)
        except BaseException:
            slots.give_back(moment)
            raise


def _slots_of(route: str, now: float) -> DialSlots:
    routes = _routes.get(None)
    if routes is None:
        routes = {}
        _routes.set(routes)
    if route not in routes:
        if len(routes) >= _REMEMBERED_ROUTES:
            for idle in [name for name, slots in routes.items() if slots.is_idle(now)]:
                del routes[idle]
        routes[route] = DialSlots()
    return routes[route]
