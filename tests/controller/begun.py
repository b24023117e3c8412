"""An operation that was begun in a task of its own, and what has come of it so far."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

__all__ = ["Begun", "begin", "settled"]


class Begun:
    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        """Cancel it to give the operation up."""
        self.is_over = False
        self.result: object = None
        self.error: Exception | None = None
        self.ended_at = 0.0
        self._over = anyio.Event()

    async def run(self, operation: Callable[[], Awaitable[object]]) -> None:
        with self.scope:
            try:
                self.result = await operation()
            except Exception as error:
                self.error = error
            self.ended_at = anyio.current_time()
        self.is_over = True
        self._over.set()

    async def over(self) -> None:
        """Wait until it is over."""
        await self._over.wait()


async def begin(tasks: TaskGroup, operation: Callable[[], Awaitable[object]]) -> Begun:
    """Start *operation*, and return when it waits for something or is over."""
    begun = Begun()
    tasks.start_soon(begun.run, operation)
    await settled()
    return begun


async def settled() -> None:
    """Let every task come to where it waits."""
    await anyio.wait_all_tasks_blocked()
