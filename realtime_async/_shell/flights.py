"""Calls of the adapter that are in flight: who ends one first writes its result."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

import anyio
import attrs

from realtime_async._shell.lane import Appended
from realtime_async.errors import AgentError

__all__ = ["Flight", "tool_at_work"]

tool_at_work: ContextVar[Flight | None] = ContextVar("tool_at_work", default=None)
"""The tool call that the current task, or whoever started it, is at."""


@attrs.define(eq=False)
class Flight:
    """
    One call of the adapter, from its intent to its result.

    Whoever ends it first writes the result: the task that made the call, or a close that gave it up.
    """

    name: str
    """The adapter's method."""
    on_failure: Callable[[AgentError, Flight], Appended | None]
    """Records how it failed."""
    result: Appended | None = None
    """The record of how it failed."""
    scope: anyio.CancelScope | None = None
    started: bool = False
    settled: bool = False
    error: AgentError | None = None
    cut_by: AgentError | None = None

    @property
    def uses_the_connection(self) -> bool:
        """Whether it ends with the connection; a tool goes on."""
        return self.name != "tool"

    def cut(self, error: AgentError) -> None:
        """End the call; it fails with *error*."""
        if self.cut_by is None:
            self.cut_by = error
        if self.scope is not None:
            self.scope.cancel()

    def fail(self, error: AgentError) -> None:
        """Record that it failed, unless it has a result already."""
        if self.settled:
            return
        self.settled = True
        self.error = error
        self.result = self.on_failure(error, self)

    def succeed(self) -> None:
        """
        Claim the result for the caller.

        Raises:
            AgentError: The call was given up, and has a result already.
        """
        if self.settled:
            assert self.error is not None
            raise self.error
        self.settled = True
