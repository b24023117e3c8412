"""
The tool calls of a session: what its brain asked the program to do, and what came of it.

They outlive connections.
A brain that is asked again, as its answer was cut off, gets the result of the call that it made before: nothing is
done twice because a connection died.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from realtime_async.adapters.local.bell import Bell
from realtime_async.adapters.local.brain import CallTool
from realtime_async.errors import ContractViolation, ProviderFailure, RetryClassification
from realtime_async.ports import ToolCall

__all__ = ["OpenCall", "ToolCalls"]


@attrs.define(eq=False)
class OpenCall:
    """A call whose answer is not over."""

    call_id: str
    request: CallTool
    output: str | None = attrs.field(default=None, repr=False)
    """What came of it; None: nothing yet."""

    @property
    def event(self) -> ToolCall:
        return ToolCall(self.call_id, self.request.name, self.request.arguments)


class ToolCalls:
    """At most 64 calls are open, and the last 256 that ended are remembered, for results that come late."""

    OPEN = 64
    ENDED = 256

    def __init__(self, bell: Bell, token: str) -> None:
        self._bell = bell
        self._token = token
        self._begun = 0
        self._open: dict[str, OpenCall] = {}
        # Their answers were cut off; they wait to be asked for again.
        self._orphans: list[OpenCall] = []
        self._ended: deque[str] = deque(maxlen=self.ENDED)
        # Input frames whose results no request has followed yet.
        self._results_at: deque[int] = deque(maxlen=self.ENDED)

    def adopt(self, request: CallTool) -> OpenCall | None:
        """Return the call that an answer before made with the same words, and that was cut off."""
        for call in self._orphans:
            if call.request == request:
                self._orphans.remove(call)
                return call
        return None

    def begin(self, request: CallTool) -> OpenCall:
        """
        Open a call.

        Raises:
            ContractViolation: Too many are open.
        """
        if len(self._open) >= self.OPEN:
            raise ContractViolation(f"{self.OPEN} tool calls are open: let the brain end its answer")
        self._begun += 1
        call = OpenCall(f"local.call.{self._token}.{self._begun}", request)
        self._open[call.call_id] = call
        return call

    def give(self, number: int, call_id: str | None, output: str) -> None:
        """
        Take a result, which is input frame *number*; one that comes again, or late, changes nothing.

        Raises:
            ProviderFailure: There was no such call.
        """
        call = self._open.get(call_id or "")
        if call is None:
            if call_id not in self._ended:
                raise ProviderFailure(
                    f"the local adapter has asked for no tool call {call_id!r}: answer with the call_id of its ToolCall",
                    retry=RetryClassification.NOT_RETRYABLE,
                )
            return
        if call.output is None:
            call.output = output
            self._results_at.append(number)
            self._bell.ring()

    def continues(self, number: int) -> bool:
        """Whether a request that is frame *number*, and says nothing, follows a result: that answer goes on anyway."""
        # Results overtake requests that wait to be heard, and then the request that follows them is still to come.
        later = [at for at in self._results_at if at > number]
        follows = len(later) < len(self._results_at)
        self._results_at = deque(later, maxlen=self.ENDED)
        return follows

    def cut_off(self, calls: Iterable[OpenCall]) -> None:
        """The answer that made *calls* is forgotten, and will be asked for again."""
        self._orphans.extend(calls)

    def forget(self, calls: Iterable[OpenCall]) -> None:
        """Nobody has seen *calls*, and nobody will."""
        for call in calls:
            self._end(call)

    def settle(self, calls: Iterable[OpenCall]) -> tuple[str, ...]:
        """The answer that made *calls* is over; return the ids of those whose results are not wanted any more."""
        ending = [*calls, *self._orphans]
        self._orphans.clear()
        for call in ending:
            self._end(call)
        return tuple(call.call_id for call in ending if call.output is None)

    def _end(self, call: OpenCall) -> None:
        del self._open[call.call_id]
        self._ended.append(call.call_id)
