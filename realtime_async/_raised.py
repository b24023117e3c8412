"""What is raised by an adapter, a journal, a tool or a brain, which may have tasks of their own."""

from __future__ import annotations

import math

import anyio

__all__ = ["cancellation_in", "is_failure"]


def is_failure(raised: BaseException) -> bool:
    """
    Whether a call failed with *raised*; else it was cancelled, or the program ends.

    On asyncio whoever awaits a task or a future that another has cancelled is raised its cancellation.
    It would pass for one of the call, and end the task that made it without a word.
    """
    return isinstance(raised, Exception) or _is_nobodys(raised)


def _is_nobodys(raised: BaseException) -> bool:
    # Only here, as under Trio hardly anybody needs it.
    from asyncio import CancelledError, current_task  # noqa: PLC0415

    if not isinstance(raised, CancelledError):
        return False
    if not isinstance(raised, anyio.get_cancelled_exc_class()):
        # On Trio it comes of a loop in another thread, as of one that an adapter or a tool runs there.
        return True
    task = current_task()
    # A scope that is left takes its own request back, though one around it is cancelled too.
    return task is not None and not task.cancelling() and anyio.current_effective_deadline() != -math.inf


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
