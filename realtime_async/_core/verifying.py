"""
Whether the records of a run can be those of a run that this package has written.

A result without its intent, a number that is missing, or a record behind a terminal one cannot be folded at all,
and that raises; what is here adds up afterwards what the fold has counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from realtime_async._core.cursors import CursorLabel
from realtime_async._core.given import shown
from realtime_async._core.records import JournalRecord
from realtime_async._core.recovery import RecoveredSession, RunFold
from realtime_async.errors import JournalCorrupt

__all__ = ["RunCheck"]

# How a record is named where it is written; records of other programs may be named otherwise.
_NUMBERED = re.compile(r"realtime\.record\.([0-9]+)\.")


class RunCheck:
    """Checks the records of one run, in order."""

    def __init__(self) -> None:
        self._fold = RunFold()

    def add(self, record: JournalRecord) -> None:
        """
        Check that *record* can follow those before it.

        Raises:
            JournalCorrupt: It cannot; the message names it.
        """
        self._fold.add(record)
        payload = record.payload
        written_as = _NUMBERED.match(record.record_id)
        if written_as is not None and int(written_as[1]) != record.journal_seq:
            raise _wrong(record, f"bears the name {shown(record.record_id)}, as if it were another")
        if payload.effect_result_ref is not None and payload.effect_result_ref != record.record_id:
            raise _wrong(record, "names another record as its own result")
        session = self._fold.sessions[payload.session_id]
        if payload.backpressure_state.queued_frames != len(session.waiting):
            raise _wrong(
                record,
                f"says that {payload.backpressure_state.queued_frames} frames are in the gate, "
                f"and the records before it put {len(session.waiting)} there",
            )
        if payload.backpressure_state.dropped_frames != session.dropped:
            raise _wrong(
                record,
                f"says that {payload.backpressure_state.dropped_frames} frames were dropped, "
                f"and {session.dropped} are recorded",
            )
        if session.terminal is not None:
            _check_ended(record, session)

    def open_intents(self) -> Iterator[JournalRecord]:
        """Intents without a result, of sessions that have not ended."""
        for session in self._fold.sessions.values():
            yield from session.open_intents.values()


def _check_ended(record: JournalRecord, session: RecoveredSession) -> None:
    for intent in session.open_intents.values():
        raise _wrong(intent, f"has no result, though its session has ended with record {record.journal_seq}")
    reached = session.settled[CursorLabel.SEND]
    if reached != session.sent + session.in_doubt:
        raise _wrong(
            record,
            f"ends a session that has given {reached} frames a number, "
            f"and {session.sent} are recorded as sent and {session.in_doubt} as in doubt",
        )


def _wrong(record: JournalRecord, what: str) -> JournalCorrupt:
    return JournalCorrupt(
        f"record {record.journal_seq} of run {str(record.run_id)!r}, {record.payload.kind}, {what}: "
        "restore the journal from a copy"
    )
