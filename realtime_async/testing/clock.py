"""
Virtual time on both event loops: a clock that jumps to the next deadline when every task waits.

`anyio.current_time`, `anyio.sleep` and every deadline follow it, so an hour of restarts is tested in
milliseconds.
Trio brings such a clock; for asyncio there is `VirtualTimeLoop`, which is why asyncio is imported here.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Any, TypeVar, TypeVarTuple, Unpack

import anyio

__all__ = ["BACKENDS", "VirtualTimeLoop", "backend_options", "run_virtual"]

BACKENDS = ("asyncio", "trio")

T = TypeVar("T")
Args = TypeVarTuple("Args")


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for I/O a moment only, and then lets the clock jump over the rest."""

    def __init__(self, grace_s: float) -> None:
        super().__init__()
        self.now = 0.0
        self._grace_s = grace_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(self._grace_s)
        # A thread that calls back writes to a socket of the loop, so it is among the events.
        if not events:
            self.now += timeout
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """
    An asyncio loop whose clock starts at 0, stands still while anything runs, and jumps when nothing does.

    Args:
        grace_s: Real seconds that sockets and threads have to answer before the clock jumps.
            0 suits tests without either.
    """

    def __init__(self, grace_s: float = 0.0) -> None:
        self._virtual = _JumpingSelector(grace_s)
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Args]], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        if math.isinf(when):
            # `sleep_forever` asks for this; in the schedule it would have the clock jump without end.
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)


def backend_options(backend: str, *, grace_s: float = 0.0) -> dict[str, Any]:
    """
    Return the options that give *backend* a virtual clock, for `anyio.run` or the `anyio_backend` fixture.

    They serve one run: Trio's clock belongs to the run it was first used in.

    Args:
        grace_s: Real seconds that sockets and threads have to answer before the clock jumps.
    """
    if backend == "asyncio":
        return {"loop_factory": partial(VirtualTimeLoop, grace_s)}
    # Costs 0.2 s, and asyncio alone must do without it.
    from trio.testing import MockClock  # noqa: PLC0415

    return {"clock": MockClock(autojump_threshold=grace_s)}


def run_virtual(
    function: Callable[[Unpack[Args]], Awaitable[T]],
    *args: *Args,
    backend: str = "asyncio",
    grace_s: float = 0.0,
) -> T:
    """Run *function* to its end in virtual time; for what has no pytest, or many runs in one test."""
    options = backend_options(backend, grace_s=grace_s)
    return anyio.run(function, *args, backend=backend, backend_options=options)
