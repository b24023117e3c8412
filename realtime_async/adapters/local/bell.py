"""Waiting for a change that somebody else makes."""

from __future__ import annotations

import anyio

__all__ = ["Bell"]


class Bell:
    """
    Wakes whoever waits.

    It carries nothing: who was woken looks again, so no cancellation can drop anything with it.
    """

    def __init__(self) -> None:
        self._next = anyio.Event()

    def ring(self) -> None:
        self._next.set()
        self._next = anyio.Event()

    async def rung(self) -> None:
        """Wait for the next `ring`."""
        await self._next.wait()
