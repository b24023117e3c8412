"""How a wait is given up: by anyio, and by what each event loop has of its own, which goes through anyio's shields."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

__all__ = ["WAYS", "GiveUp"]

GiveUp = Callable[[Awaitable[object]], Awaitable[None]]


async def give_up_by_scope(taken: Awaitable[object]) -> None:
    """Wait for *taken* until an anyio scope is cancelled."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_waiting, taken)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()


async def give_up_natively(taken: Awaitable[object]) -> None:
    """Wait for *taken* in a task of the event loop's own that is cancelled once."""
    await _give_up_times(taken, 1)


async def give_up_natively_twice(taken: Awaitable[object]) -> None:
    """Wait for *taken* in a task of the event loop's own that is cancelled twice."""
    await _give_up_times(taken, 2)


async def give_up_in_no_time(taken: Awaitable[object]) -> None:
    """Wait for *taken* under a deadline of the event loop's own that has passed."""
    if _on_asyncio():
        with suppress(TimeoutError):
            await asyncio.wait_for(_waiting(taken), timeout=0)
        return
    import trio  # noqa: PLC0415 - not installed for everybody

    with trio.move_on_after(0):
        await taken


async def _give_up_times(taken: Awaitable[object], times: int) -> None:
    if _on_asyncio():
        task = asyncio.create_task(_waiting(taken))
        await asyncio.sleep(0)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        return
    import trio  # noqa: PLC0415 - not installed for everybody

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_waiting, taken)
        await anyio.wait_all_tasks_blocked()
        for _ in range(times):
            nursery.cancel_scope.cancel()


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _waiting(taken: Awaitable[object]) -> None:
    await taken


WAYS = [give_up_by_scope, give_up_natively, give_up_natively_twice, give_up_in_no_time]
