"""A connection that threads take in turn, and that is closed without waiting for whoever has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["InTurn"]


class InTurn:
    """
    One thread at a time, and an end that nobody waits for.

    Whoever awaits a thread may be cancelled natively, and leaves it at work: waiting for it would then hold up the event
    loop, and what it opens meanwhile would stay open.

    Args:
        close: Closes what is taken in turn, if it is open; called by the one who has it, and raises nothing.
    """

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._has_ended = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        finally:
            if self._has_ended:
                self._close_if_free()

    def end(self) -> None:
        """Close it at once, or when the thread that has it is done."""
        self._has_ended = True
        self._close_if_free()

    def _close_if_free(self) -> None:
        # Who has it looks after he has let it go, and then nobody can have missed that it has ended.
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()
