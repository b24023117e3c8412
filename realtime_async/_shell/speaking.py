"""
What a session logs: one event for each change of its life and for each failure.

Never a payload, a key or a provider's text; nothing for an audio frame above debug.
No log can stop a call: what it raises ends here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from realtime_async.ports import RealtimeSessionRecord, RealtimeSessionRecordKind

__all__ = ["LEVELS", "LEVELS_BESIDE_RECORDS", "speak", "speak_beside", "voice_of"]

_Kind = RealtimeSessionRecordKind

# The level at which a record is logged.  A kind that is missing is not: it happens per frame.
LEVELS: Mapping[RealtimeSessionRecordKind, str] = {
    _Kind.CONNECTED: "info",
    _Kind.CONNECT_FAILED: "warning",
    _Kind.INPUT_SEND_FAILED: "warning",
    _Kind.INPUT_REPLAYED: "info",
    _Kind.INPUT_REPLAY_FAILED: "warning",
    _Kind.INPUT_DROPPED: "debug",
    _Kind.OUTPUT_ENDED: "info",
    _Kind.OUTPUT_RECEIVE_FAILED: "warning",
    _Kind.OUTPUT_FENCED: "info",
    _Kind.INTERRUPTED: "info",
    _Kind.INTERRUPT_FAILED: "warning",
    _Kind.RESTART_REQUESTED: "info",
    _Kind.RESTART_COMPLETED: "info",
    _Kind.RESTART_FAILED: "warning",
    _Kind.BACKPRESSURE_APPLIED: "debug",
    _Kind.SESSION_RECOVERED: "info",
    _Kind.CLOSED: "info",
    _Kind.CLOSE_FAILED: "warning",
    _Kind.HANDED_OVER: "info",
    _Kind.HAND_OVER_FAILED: "warning",
    _Kind.TOOL_CALL_COMPLETED: "info",
    _Kind.TOOL_CALL_FAILED: "warning",
}

# What is in no record.
LEVELS_BESIDE_RECORDS: Mapping[str, str] = {
    "gate_full": "warning",
    "tool_call_raised": "warning",
    "tool_result_not_sent": "warning",
    "journal_failed": "error",
}


def voice_of(run_id: str, session_id: str) -> Any:
    """The logger of one session."""
    # Imports rich where that is installed, which takes longer than all else in this package:
    # the first session pays for it, and a program that only imports us does not.
    import structlog  # noqa: PLC0415

    return structlog.get_logger().bind(run_id=run_id, session_id=session_id)


def speak(log: Any, record: RealtimeSessionRecord) -> None:
    """Log *record*, if it is worth a line."""
    level = LEVELS.get(record.kind)
    if level is None:
        return
    facts: dict[str, object] = {"connection_id": str(record.connection_id)}
    if record.error is not None:
        facts["error_kind"] = str(record.error.kind)
        facts["retry"] = str(record.error.retry)
    for name in ("restart_reason", "close_reason", "response_id"):
        value = getattr(record, name)
        if value is not None:
            facts[name] = str(value)
    if record.extent is not None:
        facts["frames"] = record.extent.frames
    _tell(log, level, f"realtime_{record.kind}", facts)


def speak_beside(log: Any, event: str, **facts: object) -> None:
    """Log what is in no record."""
    _tell(log, LEVELS_BESIDE_RECORDS[event], event, facts)


def _tell(log: Any, level: str, event: str, facts: Mapping[str, object]) -> None:
    # The disk of the log is full, its pipe is closed, a processor of the program's own is wrong: none of that is
    # a reason to lose a call.  Raised between a record and what follows from it, it would leave an intent without
    # its result, or a closed session open.  There is no other place to tell it; the journal has the fact itself.
    with suppress(Exception):
        getattr(log, level)(event, **facts)
