"""
The moment at which a session may open a connection, among all sessions of the process on its route.

Only sessions of `open_session` and `resume_session` ask; a controller that is driven by hand dials when it is told to.

A process that was forked is another, and counts by itself.
The event loops of a process may each have a thread, and a clock that began elsewhere.
So those that live in real time count by one clock that all threads share, and lend each other no time but seconds to
wait.
A loop whose time is virtual shares its time with nobody, and so its moments neither.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import monotonic

import anyio
from anyio.lowlevel import RunVar

from realtime_async._core.dials import DialSlots

__all__ = ["Dialing"]

# Beyond it, routes that nobody has dialled lately are forgotten.
_REMEMBERED_ROUTES = 256


class _Routes:
    """The moments of every route, on one clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.forget()

    def forget(self) -> None:
        """Begin anew: a process that was forked dials for itself, and may have been forked while the lock was held."""
        # Held for no longer than it takes to look a moment up.
        self._lock = threading.Lock()
        self._slots: dict[str, DialSlots] = {}

    def take(self, route: str, per_s: float) -> tuple[float, float]:
        """Return a moment, and the seconds until then."""
        with self._lock:
            now = self.now()
            moment = self._of(route, now).take(now, per_s)
            return moment, moment - now

    def give_back(self, route: str, moment: float) -> None:
        with self._lock:
            self._of(route, self.now()).give_back(moment)

    def _of(self, route: str, now: float) -> DialSlots:
        if route not in self._slots:
            if len(self._slots) >= _REMEMBERED_ROUTES:
                self._slots = {name: slots for name, slots in self._slots.items() if not slots.is_idle(now)}
            self._slots[route] = DialSlots()
        return self._slots[route]


_in_real_time = _Routes(monotonic)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_real_time.forget)
_of_this_loop: RunVar[_Routes] = RunVar("realtime_async.dials")


class Dialing:
    """One session's dials."""

    def __init__(self, route: str, per_s: float) -> None:
        self._route = route
        self._per_s = per_s

    async def turn(self) -> None:
        """Wait until it is this session's turn to dial."""
        routes = _routes()
        moment, seconds = routes.take(self._route, self._per_s)
        try:
            await anyio.sleep(seconds)
        except BaseException:
            routes.give_back(self._route, moment)
            raise


def _routes() -> _Routes:
    routes = _of_this_loop.get(None)
    if routes is None:
        routes = _in_real_time if _time_is_real() else _Routes(anyio.current_time)
        _of_this_loop.set(routes)
    return routes


def _time_is_real() -> bool:
    """
    Whether the loop's clock is one of the machine's.

    asyncio's is `monotonic` itself, and uvloop's that of the loop's last turn; Trio's begins anywhere, and moves while
    nobody waits, which a virtual one does not.
    """
    now = anyio.current_time()
    return abs(now - monotonic()) < _SAME_CLOCK_S or anyio.current_time() > now


# A loop that was busy for so long has worse troubles than the order of its dials.
_SAME_CLOCK_S = 5.0
