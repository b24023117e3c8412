"""What an adapter offers beside its port: to take a frame, or to give one, without waiting."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from realtime_async.errors import ContractViolation
from realtime_async.ports import (
    GivesWithoutWaiting,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeProviderAdapter,
    RealtimeSessionId,
    TakesWithoutWaiting,
)

__all__ = ["given_by", "taken_by"]


def taken_by(
    adapter: RealtimeProviderAdapter,
) -> Callable[[RealtimeSessionId, RealtimeInputFrame], bool] | None:
    """
    The adapter's `send_nowait`; None: it has none.

    Raises:
        ContractViolation: It is async.
    """
    if not isinstance(adapter, TakesWithoutWaiting):
        return None
    _check(adapter, adapter.send_nowait)
    return adapter.send_nowait


def given_by(
    adapter: RealtimeProviderAdapter,
) -> Callable[[RealtimeSessionId], RealtimeOutputFrame | None] | None:
    """
    The adapter's `receive_nowait`; None: it has none.

    Raises:
        ContractViolation: It is async.
    """
    if not isinstance(adapter, GivesWithoutWaiting):
        return None
    _check(adapter, adapter.receive_nowait)
    return adapter.receive_nowait


def _check(adapter: RealtimeProviderAdapter, function: Callable[..., object]) -> None:
    # The coroutine that it returned would pass for a yes, or for a frame, and nothing would ever run it.
    if inspect.iscoroutinefunction(function):
        raise ContractViolation(
            f"{function.__name__} of adapter {adapter.adapter_ref!r} is async, and must not wait: "
            "make it a plain function, or leave it out"
        )
