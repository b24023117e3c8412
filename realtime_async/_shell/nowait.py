"""What an adapter offers beside its port: to take a frame, or to give one, without waiting."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from realtime_async.errors import ContractViolation, ProviderFailure, RetryClassification
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
    The adapter's `send_nowait`, which raises a ProviderFailure where its answer is neither yes nor no; None: it has none.

    Raises:
        ContractViolation: It is async.
    """
    if not isinstance(adapter, TakesWithoutWaiting):
        return None
    takes = adapter.send_nowait
    _check(adapter, takes)

    def is_taken(session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        answer = takes(session_id, frame)
        if answer is True or answer is False:
            return answer
        raise _no_answer(adapter, answer)

    return is_taken


def _no_answer(adapter: RealtimeProviderAdapter, answer: object) -> ProviderFailure:
    # A coroutine is true, and nothing would ever send its frame; None is what comes of a frame that was taken, too.
    if inspect.iscoroutine(answer):
        answer.close()
    return ProviderFailure(
        f"adapter {adapter.adapter_ref!r} returned {type(answer).__name__} from send_nowait: "
        "it must return True where it has taken the frame, else False",
        retry=RetryClassification.UNKNOWN_OUTCOME,
    )


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
