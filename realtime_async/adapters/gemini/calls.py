"""Which of the model's function calls wait for their result, by the ids that the provider gave them."""

from __future__ import annotations

from collections.abc import Iterable

from realtime_async.errors import ProviderFailure, RetryClassification

__all__ = ["ToolCalls"]

# More are never under way at once; the oldest are forgotten, and their results refused.
_REMEMBERED = 256


class ToolCalls:
    """A call is answered once, and not at all where it was taken back or its connection is gone."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._cancelled: dict[str, None] = {}

    def asked(self, call_id: str, name: str) -> None:
        self._names[call_id] = name
        self._cancelled.pop(call_id, None)
        _forget_oldest(self._names)

    def name_of(self, call_id: str | None) -> str:
        """
        Return which function was called.

        Raises:
            ProviderFailure: The call doesn't wait for a result.
        """
        if call_id is not None and call_id in self._names:
            return self._names[call_id]
        if call_id in self._cancelled:
            why = "was taken back, or its connection was lost: undo what the tool did, if that can be done"
        else:
            why = "isn't known, or has its result: answer with the call_id of a ToolCall, once"
        raise ProviderFailure(
            f"a tool result of Gemini Live can't be sent, as its call {why}",
            retry=RetryClassification.NOT_RETRYABLE,
            code="failed_precondition",
        )

    def answered(self, call_id: str | None) -> None:
        if call_id is not None:
            self._names.pop(call_id, None)

    def cancelled(self, call_ids: Iterable[str]) -> None:
        for call_id in call_ids:
            self._names.pop(call_id, None)
            self._cancelled[call_id] = None
        _forget_oldest(self._cancelled)

    def connection_ended(self) -> tuple[str, ...]:
        """Cancel what waits, as no later connection is sure to know of it; return the ids."""
        call_ids = tuple(self._names)
        self.cancelled(call_ids)
        return call_ids


def _forget_oldest(calls: dict[str, str] | dict[str, None]) -> None:
    while len(calls) > _REMEMBERED:
        del calls[next(iter(calls))]
