"""
Frames one after the other, for `async for`.

Not an async generator: one that is left early keeps its cleanup for whenever it is collected, of
which Trio warns; here there is nothing to clean up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from realtime_async.ports import RealtimeOutputFrame

__all__ = ["FrameIterator"]


class FrameIterator(AsyncIterator[RealtimeOutputFrame]):
    """Awaits *next_frame* until that returns None."""

    def __init__(self, next_frame: Callable[[], Awaitable[RealtimeOutputFrame | None]]) -> None:
        self._next_frame = next_frame

    async def __anext__(self) -> RealtimeOutputFrame:
        frame = await self._next_frame()
        if frame is None:
            raise StopAsyncIteration
        return frame
