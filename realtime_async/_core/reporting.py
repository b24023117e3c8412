"""
From the records of a run to its report, by the record, so that a long run needs no more memory than a short one.

What recovery folds is folded by it; here is counted what a person asks afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from realtime_async._core.cursors import CursorRange
from realtime_async._core.media import AudioFormat, RealtimeMediaKind
from realtime_async._core.records import (
    JournalRecord,
    RealtimeSessionRecordKind,
    StreamDirection,
    each_record,
)
from realtime_async._core.recovery import RecoveredSession, RunFold
from realtime_async._core.run_report import (
    Carried,
    OpenIntent,
    Resumption,
    RunReport,
    SessionReport,
)
from realtime_async._core.tallies import ERRORS_REMEMBERED, REMEMBERED, Fate, RestartTally, Tally, seconds
from realtime_async.errors import AgentErrorKind, ContractViolation, RetryClassification

__all__ = ["ReportFold", "report_of"]

_Kind = RealtimeSessionRecordKind


class ReportFold:
    """
    Folds the records of one run, in order, into a report.

    Args:
        input_format: Of the audio that was sent; None: its seconds are not told.
        output_format: Of the audio that was received.
    """

    def __init__(
        self, input_format: AudioFormat | None = None, output_format: AudioFormat | None = None
    ) -> None:
        self._formats = {
            StreamDirection.INPUT_TO_PROVIDER: input_format,
            StreamDirection.OUTPUT_FROM_PROVIDER: output_format,
        }
        self._fold = RunFold()
        self._tallies: dict[str, Tally] = {}
        self._ends: tuple[JournalRecord, JournalRecord] | None = None

    def add(self, record: JournalRecord) -> None:
        """
        Take in the next *record*.

        Raises:
            JournalCorrupt: It cannot follow those before it.
        """
        session_id = str(record.payload.session_id)
        before = self._fold.sessions.get(session_id)
        # The intent leaves the fold with its result.
        intent = None if before is None else before.open_intents.get(record.payload.effect_intent_ref or "")
        self._fold.add(record)
        self._ends = (record if self._ends is None else self._ends[0]), record
        session = self._fold.sessions[session_id]
        tally = self._tallies.get(session_id)
        if tally is None:
            tally = self._tallies[session_id] = Tally(record, record)
        kind = record.payload.kind
        tally.counts[kind] = tally.count(kind) + 1
        _note_loss(tally, record)
        tell = _TELLS.get(kind)
        if tell is not None:
            tell(tally, record, intent)
        tally.last = record
        if session.returnable is None:
            tally.failed_last = None
        # What the drain has in its hands is not gone yet, and frames are gated until it is.
        if tally.restart.completed is not None and not (session.waiting or tally.drained or tally.replays):
            tally.restart.gate_is_empty = True

    def report(self) -> RunReport:
        """
        Tell what the records so far prove.

        Raises:
            ContractViolation: There were none.
        """
        if self._ends is None:
            raise ContractViolation(
                "a run without records has no report: look at its run_id and at the journal"
            )
        first, last = self._ends
        return RunReport(
            run_id=last.run_id,
            records=last.journal_seq,
            began_millis=first.timestamp_millis,
            last_millis=last.timestamp_millis,
            sessions=tuple(
                self._session(session, self._tallies[session_id])
                for session_id, session in self._fold.sessions.items()
            ),
        )

    def _session(self, session: RecoveredSession, tally: Tally) -> SessionReport:
        audio = self._formats[StreamDirection.INPUT_TO_PROVIDER]
        delivery, terminal = session.delivery(), session.terminal
        return SessionReport(
            session_id=session.last.payload.session_id,
            status=session.last.payload.status,
            began_millis=tally.first.timestamp_millis,
            last_millis=tally.last.timestamp_millis,
            close_reason=None if terminal is None else terminal.payload.close_reason,
            delivery=delivery,
            failed=delivery.failed,
            dropped=delivery.dropped,
            in_doubt=tally.in_doubt.told(audio),
            in_doubt_still=_still(tally).told(None),
            late=tally.late.told(audio),
            longest_wait_s=tally.longest_wait / 1000,
            twice=tally.twice.told(audio),
            restarts=tuple(restart.told() for restart in tally.restarts),
            restart_count=tally.restart_count,
            resumptions=tuple(tally.resumptions),
            hand_overs=tally.count(_Kind.HANDED_OVER),
            interruptions=tally.count(_Kind.INTERRUPT_REQUESTED),
            interruptions_failed=tally.count(_Kind.INTERRUPT_FAILED),
            fenced=tally.count(_Kind.OUTPUT_FENCED),
            discarded=tally.discarded,
            tool_calls=tally.count(_Kind.TOOL_CALL_REQUESTED),
            tool_calls_failed=tally.count(_Kind.TOOL_CALL_FAILED),
            tool_calls_unknown=tally.tool_calls_unknown,
            usage=session.usage,
            carried=tuple(
                Carried(direction, kind, fate.frames, fate.bytes, self._audio_s(direction, kind, fate))
                for (direction, kind), fate in tally.carried.items()
            ),
            open_intents=tuple(
                OpenIntent(intent.journal_seq, intent.payload.kind, intent.timestamp_millis)
                for intent in session.open_intents.values()
            ),
        )

    def _audio_s(self, direction: StreamDirection, kind: RealtimeMediaKind, fate: Fate) -> float | None:
        return seconds(fate.bytes, self._formats[direction]) if kind is RealtimeMediaKind.AUDIO else None


def report_of(
    records: Iterable[JournalRecord],
    *,
    input_format: AudioFormat | None = None,
    output_format: AudioFormat | None = None,
) -> RunReport:
    """
    Tell what *records*, a whole run in order, prove; the arguments are those of `ReportFold`.

    Raises:
        JournalCorrupt: They cannot be those of a run.
        ContractViolation: There are none, or they are something else.
    """
    report = ReportFold(input_format, output_format)
    for record in each_record(records):
        report.add(record)
    return report.report()


def _still(tally: Tally) -> Fate:
    """Frames in doubt, less those that were said again."""
    still = Fate(tally.in_doubt.frames - len(tally.again))
    for doubted in tally.in_doubt.ranges:
        begin = doubted.first
        for number in sorted(each for each in tally.again if doubted.first <= each <= doubted.last):
            if begin < number:
                still.ranges.append(CursorRange(begin, number - 1))
            begin = number + 1
        if begin <= doubted.last:
            still.ranges.append(CursorRange(begin, doubted.last))
    del still.ranges[REMEMBERED:]
    return still


def _note_loss(tally: Tally, record: JournalRecord) -> None:
    error = record.payload.error
    if (
        tally.lost_millis is None
        and error is not None
        and error.kind is AgentErrorKind.PROVIDER_CONNECTION_LOST
    ):
        tally.lost_millis = record.timestamp_millis
        tally.dropped_before_loss = tally.count(_Kind.INPUT_DROPPED)


def _connected(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    tally.lost_millis = None


def _recovered(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    if len(tally.resumptions) < REMEMBERED:
        silent = record.timestamp_millis - tally.last.timestamp_millis
        tally.resumptions.append(Resumption(record.timestamp_millis, silent / 1000))
    tally.restart, tally.replays = RestartTally(record, 0), False


def _restart_requested(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    at = record.timestamp_millis
    before = tally.restart
    # The gate closes before the request is recorded, which waits for the frame in flight.
    tally.restart = RestartTally(record, at, dropped=tally.dropped_ahead)
    if tally.lost_millis is not None:
        tally.restart.lost_millis = min(at, tally.lost_millis)
        # Frames are gated, and may be dropped, from when the connection is lost.
        since_loss = tally.count(_Kind.INPUT_DROPPED) - tally.dropped_before_loss
        tally.restart.dropped = max(tally.restart.dropped, since_loss)
    if before.completed is None and before.requested.payload.kind is _Kind.RESTART_REQUESTED:
        # It has failed, and the gate has been closed since.
        tally.restart.lost_millis = min(tally.restart.lost_millis, before.lost_millis)
        tally.restart.dropped = max(tally.restart.dropped, before.dropped)
    tally.dropped_ahead = 0
    tally.restart_count += 1
    if len(tally.restarts) < REMEMBERED:
        tally.restarts.append(tally.restart)


def _restart_started(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    tally.restart.attempts += 1


def _restart_completed(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    tally.lost_millis = None
    tally.restart.completed = record


def _restart_failed(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    error = record.payload.error
    if error is not None and len(tally.restart.errors) < ERRORS_REMEMBERED:
        tally.restart.errors.append(error.kind)


def _gated(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    frame_id = str(record.payload.frame_id)
    # One that comes back waits on.
    waited = tally.failed_last[1] if tally.failed_last is not None and tally.failed_last[0] == frame_id else 0
    tally.gated_at[frame_id] = record.timestamp_millis - waited


def _send_begun(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    tally.dropped_ahead = 0
    frame_id = str(record.payload.frame_id)
    since = tally.gated_at.pop(frame_id, None)
    if since is not None:
        tally.drained[frame_id] = record.timestamp_millis - since


def _sent(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    payload = record.payload
    tally.carry(record, StreamDirection.INPUT_TO_PROVIDER)
    waited = tally.drained.pop(str(payload.frame_id), None)
    if waited is None or payload.extent is not None:
        return
    tally.longest_wait = max(tally.longest_wait, waited)
    number = payload.send_cursor.chunk_sequence
    tally.late.add(number, number, 1)
    tally.restart.late += 1


def _send_failed(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    payload = record.payload
    frame_id = str(payload.frame_id)
    tally.failed_last = frame_id, tally.drained.pop(frame_id, 0)
    if payload.extent is not None and payload.extent.frames:
        tally.carry(record, StreamDirection.INPUT_TO_PROVIDER)
    if payload.error is not None and payload.error.retry is RetryClassification.UNKNOWN_OUTCOME:
        number = payload.send_cursor.chunk_sequence
        tally.in_doubt.add(number, number, 1)


def _dropped(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    tally.gated_at.pop(str(record.payload.frame_id), None)
    tally.drained.pop(str(record.payload.frame_id), None)
    restart = tally.restart
    # What is dropped after the new connection was lost, too, belongs to the next restart.
    if not restart.gate_is_empty and (restart.completed is None or tally.lost_millis is None):
        restart.dropped += 1
    if restart.gate_is_empty or restart.requested.payload.kind is not _Kind.RESTART_REQUESTED:
        tally.dropped_ahead += 1


def _replay_begun(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    tally.replays = True
    tally.restart.gate_is_empty = False


def _replayed(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    tally.replays = False
    extent = record.payload.extent
    tally.twice.add_extent(extent)
    if extent is None or extent.first is None or extent.last is None:
        return
    tally.restart.replayed += extent.frames
    first, last = extent.first.chunk_sequence, extent.last.chunk_sequence
    # Where frames were left out, nobody knows which; then it stays in doubt.
    if extent.frames == last - first + 1:
        for doubted in tally.in_doubt.ranges:
            tally.again.update(range(max(first, doubted.first), min(last, doubted.last) + 1))


def _received(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    tally.carry(record, StreamDirection.OUTPUT_FROM_PROVIDER)


def _discarded(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    extent = record.payload.extent
    tally.discarded += 0 if extent is None else extent.frames


def _unknown(tally: Tally, record: JournalRecord, intent: JournalRecord | None) -> None:
    payload = record.payload
    if intent is not None and intent.payload.kind is _Kind.TOOL_CALL_REQUESTED:
        tally.tool_calls_unknown += 1
    if intent is None or intent.payload.kind is not _Kind.INPUT_SEND_REQUESTED:
        return
    if payload.extent is not None:
        tally.in_doubt.add_extent(payload.extent)
        return
    tally.drained.pop(str(intent.payload.frame_id), None)
    number = payload.send_cursor.chunk_sequence
    tally.in_doubt.add(number, number, 1)


_TELLS: Mapping[RealtimeSessionRecordKind, Callable[[Tally, JournalRecord, JournalRecord | None], None]] = {
    _Kind.CONNECTED: _connected,
    _Kind.SESSION_RECOVERED: _recovered,
    _Kind.RESTART_REQUESTED: _restart_requested,
    _Kind.RESTART_STARTED: _restart_started,
    _Kind.RESTART_COMPLETED: _restart_completed,
    _Kind.RESTART_FAILED: _restart_failed,
    _Kind.BACKPRESSURE_APPLIED: _gated,
    _Kind.INPUT_SEND_REQUESTED: _send_begun,
    _Kind.INPUT_SENT: _sent,
    _Kind.INPUT_SEND_FAILED: _send_failed,
    _Kind.INPUT_DROPPED: _dropped,
    _Kind.INPUT_REPLAY_REQUESTED: _replay_begun,
    _Kind.INPUT_REPLAYED: _replayed,
    _Kind.INPUT_REPLAY_FAILED: _replayed,
    _Kind.OUTPUT_RECEIVED: _received,
    _Kind.OUTPUT_DISCARDED: _discarded,
    _Kind.OUTCOME_UNKNOWN: _unknown,
}
