"""
What a scripted adapter was asked, and what came of it.

Every entry has a step, drawn from a source that journals and others may share,
so that it can be seen which came first: the durable intent, or the call it announces.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import attrs

from realtime_async.adapters.scripted.script import Operation
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeSessionId,
)

__all__ = ["CallEnded", "CallOutcome", "CallStarted", "FrameTaken", "LogEntry", "StepSource"]

StepSource = Callable[[], int]
"""Draws the next number; share one among all whose order matters."""


class CallOutcome(StrEnum):
    RETURNED = "returned"
    RAISED = "raised"
    CANCELLED = "cancelled"


@attrs.frozen(kw_only=True)
class CallStarted:
    step: int
    operation: Operation
    session_id: RealtimeSessionId
    connection_id: RealtimeConnectionId | None
    """The session's connection as the call began; None before the first."""
    frame: RealtimeInputFrame | None = None
    """Of `send`."""
    response_id: RealtimeResponseId | None = None
    """Of `interrupt`; None: the current answer."""
    played_ms: int | None = None
    reason: RealtimeCloseReason | None = None
    """Of `close`."""


@attrs.frozen(kw_only=True)
class FrameTaken:
    """The provider has the frame, whatever the caller is told."""

    step: int
    session_id: RealtimeSessionId
    connection_id: RealtimeConnectionId
    frame: RealtimeInputFrame


@attrs.frozen(kw_only=True)
class CallEnded:
    step: int
    started: int
    """The step at which the call began."""
    operation: Operation
    session_id: RealtimeSessionId
    connection_id: RealtimeConnectionId | None
    """The session's connection as the call ended."""
    outcome: CallOutcome
    frame: RealtimeOutputFrame | None = None
    """What `receive` returned; None for the end of the stream, and of other calls."""


LogEntry = CallStarted | FrameTaken | CallEnded
