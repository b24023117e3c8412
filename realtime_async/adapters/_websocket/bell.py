"""Waiting for a change that somebody else makes, at no cost to them where nobody waits."""

from __future__ import annotations

import anyio

__all__ = ["Bell"]


class Bell:
    """
    Wakes whoever waits.

    It carries nothing: who was woken looks again, so no cancellation can drop anything with it.
    """

    def __init__(self) -> None:
        # The event loop's own class: asking anyio each time which loop runs costs more than the event.
        self._event = type(anyio.Event())
        self._next: anyio.Event | None = None

    def ring(self) -> None:
        waited_for = self._next
        if waited_for is not None:
            self._next = None
            waited_for.set()

    async def rung(self) -> None:
        """Wait for the next `ring`."""
        if self._next is None:
            self._next = self._event()
        await self._next.wait()
