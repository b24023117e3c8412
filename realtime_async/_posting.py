"""From a thread to an event loop without waiting for it, and from a turn of the loop to the next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from anyio.lowlevel import current_token

__all__ = ["after_turn", "poster"]


def poster() -> Callable[[Callable[[], object]], None]:
    """
    Return what calls a function in the current event loop, from another thread and without waiting for it.

    anyio's own way waits until the function has run: a commit, or the callback of a sound device, would cost a
    turn of the loop each.
    """
    native: Any = current_token().native_token
    soon = native.call_soon_threadsafe if hasattr(native, "call_soon_threadsafe") else native.run_sync_soon

    def post(function: Callable[[], object]) -> None:
        try:
            soon(function)
        except RuntimeError:
            # The loop has ended, and all who waited with it.
            return

    return post


def after_turn() -> Callable[[Callable[[], object]], None]:
    """Return what the current event loop may call to have a function called once all tasks that can run have run."""
    native: Any = current_token().native_token
    if hasattr(native, "call_soon"):
        behind: Callable[[Callable[[], object]], None] = native.call_soon
        return behind
    # Trio runs what is ready in any order, this among it: only the next time has all of that behind it.
    return lambda function: native.run_sync_soon(partial(native.run_sync_soon, function))
