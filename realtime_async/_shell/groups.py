"""What is raised by an adapter that has tasks of its own."""

from __future__ import annotations

import anyio

__all__ = ["cancellation_in"]


def cancellation_in(raised: BaseException) -> BaseException | None:
    """
    The cancellation that an adapter with tasks of its own raised in a group, beside what went wrong when they ended.

    None: it is no such group.  Trio lets the rest of one pass by every scope, up to whoever cancelled the call.
    """
    if isinstance(raised, Exception) or not isinstance(raised, BaseExceptionGroup):
        return None
    cancelled: BaseException | None
    cancelled, rest = raised.split(anyio.get_cancelled_exc_class())
    if rest is not None and not isinstance(rest, Exception):
        return None
    while isinstance(cancelled, BaseExceptionGroup):
        cancelled = cancelled.exceptions[0]
    return cancelled
