"""A word to all who wait for a change of the session."""

from __future__ import annotations

import anyio

__all__ = ["Broadcast"]


class Broadcast:
    """Wakes all who wait; each looks again whether what it waits for has come."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None
        self._make: type[anyio.Event] | None = None

    async def wait(self) -> None:
        if self._event is None:
            if self._make is None:
                # The event loop's own class: asking anyio each time which loop runs costs more than the event.
                self._make = type(anyio.Event())
            self._event = self._make()
        await self._event.wait()

    def notify(self) -> None:
        if self._event is not None:
            self._event.set()
            self._event = None
