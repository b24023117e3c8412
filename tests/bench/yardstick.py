"""
How fast the machine is at the moment, and what a figure would be at the speed at which the goals were set.

A goal in microseconds speaks of one machine, and a virtual one changes its speed from minute to minute.
So what is held against such a goal is read between two readings of a step, of which it is known what it took there.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from tests.bench.stage import Loop

__all__ = ["CHECKPOINT_US", "TRIP_US", "at_goals_speed", "between", "checkpoint_us"]

CHECKPOINT_US: Mapping[Loop, float] = {Loop.ASYNCIO: 3.3, Loop.TRIO: 4.3}
"""CPU of an anyio checkpoint, where the goals were set."""
TRIP_US: Mapping[Loop, float] = {Loop.ASYNCIO: 29, Loop.TRIO: 36}
"""Of the way to a waiting thread and back by the clock, p50, where the goals were set."""

CHECKPOINTS = 5_000

_Read = TypeVar("_Read")


def at_goals_speed(us: float, step_us: float, goals_step_us: float) -> float:
    """What took *us* where a step took *step_us*, had it been where that step takes *goals_step_us*."""
    return us * goals_step_us / step_us


async def between(
    step: Callable[[], Awaitable[float]], read: Callable[[], Awaitable[_Read]]
) -> tuple[_Read, float]:
    """What *read* gives, and what *step* does on the same loop: the mean of directly before and directly after."""
    before = await step()
    reading = await read()
    return reading, (before + await step()) / 2


async def checkpoint_us() -> float:
    """CPU of a checkpoint while nothing else runs on the loop, which waits for that."""
    await wait_all_tasks_blocked()
    started = time.thread_time()
    for _ in range(CHECKPOINTS):
        await checkpoint()
    return (time.thread_time() - started) / CHECKPOINTS * 1e6
