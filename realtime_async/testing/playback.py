"""
A recorded run as a script, so that an agent can be tested against how a call really went.

    records = [record async for record in journal.read("call-42")]
    adapter = ScriptedAdapter(script_of(records))

Kept are what came and when, what was refused, where the connection died, and how long restarts took.
A journal holds no content: audio comes back as silence of the recorded size, words as a placeholder,
and `fill` puts back what a test needs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

import attrs

from realtime_async._core.given import choice
from realtime_async._core.records import each_record
from realtime_async.adapters.scripted import (
    Delay,
    Drop,
    EndOfStream,
    Fault,
    FrameFate,
    Hang,
    Kept,
    Operation,
    Played,
    Refuse,
    Script,
)
from realtime_async.errors import AgentErrorKind, ContractViolation, RetryClassification
from realtime_async.ports import (
    AudioEncoding,
    AudioFormat,
    GoAway,
    InputCommitted,
    InputTranscript,
    JournalRecord,
    OutputText,
    OutputTranscript,
    ProviderWarning,
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RecordedError,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    StreamCursor,
    ToolCall,
    ToolCallCancelled,
)

__all__ = ["PLACEHOLDER", "Fill", "ForgetsLast", "Pace", "script_of"]

PLACEHOLDER = "(not recorded)"

Fill = Callable[[RealtimeSessionRecord, RealtimeOutputFrame], RealtimeOutputFrame]
"""From a record, and the frame made of it, the frame to play: the place for words and tool calls."""

DEFAULT_FORMAT = AudioFormat()

_Kind = RealtimeSessionRecordKind


class Pace(StrEnum):
    """How long the provider takes between what it says."""

    AS_RECORDED = "as_recorded"
    AT_ONCE = "at_once"


@attrs.frozen
class ForgetsLast:
    """What a new connection knows of the input: all but the last *frames*."""

    frames: int

    def __call__(self, sent: Sequence[RealtimeInputFrame]) -> StreamCursor:
        # Not how many were sent: what was said again has the number that it had.
        numbers = (frame.cursor.chunk_sequence for frame in sent if frame.cursor is not None)
        return StreamCursor.chunk(max(0, max(numbers, default=0) - self.frames))


def script_of(
    records: Iterable[JournalRecord],
    *,
    session_id: str | None = None,
    pace: Pace | str = Pace.AS_RECORDED,
    output_format: AudioFormat = DEFAULT_FORMAT,
    fill: Fill | None = None,
) -> Script:
    """
    Turn the records of a session into what its provider did.

    Failed sends come back at the same number of the call, whatever the agent sends.

    Args:
        session_id: Needed where the run has several sessions.
        output_format: Of the recorded audio.
        fill: Puts back what no journal holds.

    Raises:
        ContractViolation: They are no records, or of several sessions.
    """
    of_session = list(_of_session(records, session_id))
    telling = _Telling(choice(Pace, pace, "pace of a script"), output_format, fill, _interrupted(of_session))
    for record in of_session:
        telling.tell(record)
    return Script(
        frames=telling.played, faults=telling.faults, kept_through=telling.kept_through[1:] or [None]
    )


def _of_session(records: Iterable[JournalRecord], session_id: str | None) -> Iterator[JournalRecord]:
    chosen = session_id
    for record in each_record(records):
        found = record.payload.session_id
        if session_id is None and chosen not in (None, found):
            raise ContractViolation(
                f"the run has sessions {str(chosen)!r} and {str(found)!r}: say which one is meant with session_id="
            )
        if session_id is None:
            chosen = found
        if found == chosen:
            yield record


def _interrupted(records: Iterable[JournalRecord]) -> frozenset[int]:
    """The journal_seq of each frame upon which the agent interrupted before it took another."""
    last, found = 0, set()
    for record in records:
        if record.payload.kind is _Kind.OUTPUT_RECEIVED:
            last = record.journal_seq
        elif record.payload.kind in _STOPS_AN_ANSWER:
            found.add(last)
    return frozenset(found)


# How a call ended, by the kind of its result; what is recorded otherwise was no call.
_CALLS: Mapping[RealtimeSessionRecordKind, Operation] = {
    _Kind.CONNECTED: Operation.CONNECT,
    _Kind.CONNECT_FAILED: Operation.CONNECT,
    _Kind.INTERRUPTED: Operation.INTERRUPT,
    _Kind.INTERRUPT_FAILED: Operation.INTERRUPT,
    _Kind.RESTART_COMPLETED: Operation.RESTART,
    _Kind.RESTART_FAILED: Operation.RESTART,
    _Kind.CLOSED: Operation.CLOSE,
    _Kind.CLOSE_FAILED: Operation.CLOSE,
    _Kind.HANDED_OVER: Operation.CLOSE,
    _Kind.HAND_OVER_FAILED: Operation.CLOSE,
}
_SENDS = frozenset(
    {_Kind.INPUT_SENT, _Kind.INPUT_SEND_FAILED, _Kind.INPUT_REPLAYED, _Kind.INPUT_REPLAY_FAILED}
)
_ENDS_A_SPAN = frozenset({_Kind.OUTPUT_RECEIVE_FAILED, _Kind.OUTPUT_ENDED})
_STOPS_AN_ANSWER = frozenset({_Kind.INTERRUPT_REQUESTED, _Kind.OUTPUT_FENCED})


class _Telling:
    """A script while it is written."""

    def __init__(
        self, pace: Pace, output_format: AudioFormat, fill: Fill | None, interrupted: frozenset[int]
    ) -> None:
        self.played: list[Played] = []
        self.faults: dict[tuple[str, int], Sequence[Fault]] = {}
        self.kept_through: list[Kept] = []
        """One entry for each connection, the first included."""
        self._pace = pace
        self._format = output_format
        self._fill = fill
        self._interrupted = interrupted
        self._calls: Counter[Operation] = Counter()
        self._begun_ms: dict[str, int] = {}
        self._arrived = 0
        """The number of the last frame that the provider was sent."""
        self._told_ms: int | None = None
        """Where the script stands, in the journal's time."""
        self._answering: RealtimeResponseId | None = None
        self._is_stopped = False
        self._is_closing = False

    def tell(self, record: JournalRecord) -> None:
        step, kind = record.payload, record.payload.kind
        if step.effect_intent_ref == record.record_id:
            self._begun_ms[record.record_id] = record.timestamp_millis
        if kind in _CALLS:
            self._called(_CALLS[kind], record)
        elif kind in _SENDS:
            self._sent(step)
        self._is_stopped |= kind in _STOPS_AN_ANSWER
        if kind in _ENDS_A_SPAN and step.extent is not None:
            # What came before the end came.
            self._said(record)
        match kind:
            case _Kind.CONNECTED | _Kind.RESTART_COMPLETED:
                self.kept_through.append(None)
                if self._told_ms is None:
                    self._told_ms = record.timestamp_millis
            # One that was cut off goes on with another, which tells less of what had been forgotten.
            case _Kind.INPUT_REPLAY_REQUESTED if self.kept_through[-1] is None:
                # A frame in doubt is replayed, too, and was nothing that this provider could forget.
                first = None if step.extent is None else step.extent.first
                kept = self._arrived if first is None else first.chunk_sequence - 1
                self.kept_through[-1] = ForgetsLast(max(0, self._arrived - kept))
            case _Kind.OUTPUT_RECEIVED | _Kind.OUTPUT_DISCARDED:
                self._said(record)
            case _Kind.OUTPUT_RECEIVE_FAILED:
                self._play(record.timestamp_millis, *_raised_by(step.error))
            case _Kind.CLOSE_REQUESTED:
                self._is_closing = True
            case _Kind.OUTPUT_ENDED if not self._is_closing:
                self._play(record.timestamp_millis, EndOfStream())
            case _:
                pass

    def _called(self, operation: Operation, record: JournalRecord) -> None:
        error = record.payload.error
        self._calls[operation] += 1
        begun_ms = self._begun_ms.get(record.payload.effect_intent_ref or "", record.timestamp_millis)
        faults: list[Fault] = []
        if self._pace is Pace.AS_RECORDED and record.timestamp_millis > begun_ms:
            faults.append(Delay((record.timestamp_millis - begun_ms) / 1000))
        faults += _faults_of(error)
        if faults:
            self.faults[operation, self._calls[operation]] = faults

    def _sent(self, step: RealtimeSessionRecord) -> None:
        error, faults = step.error, _faults_of(step.error)
        if step.extent is not None:
            self._calls[Operation.SEND] += step.extent.frames
            went = step.extent.last
        elif error is None:
            self._calls[Operation.SEND] += 1
            went = step.send_cursor
        else:
            went = None
        if went is not None:
            self._arrived = max(self._arrived, went.chunk_sequence)
        # A frame that was given up before its call is no call.
        if faults or (error is not None and error.retry is RetryClassification.UNKNOWN_OUTCOME):
            self._calls[Operation.SEND] += 1
        if faults:
            self.faults[Operation.SEND, self._calls[Operation.SEND]] = faults

    def _said(self, record: JournalRecord) -> None:
        step, extent = record.payload, record.payload.extent
        if extent is None:
            frame = self._frame(record)
            self._play(record.timestamp_millis, frame if self._fill is None else self._fill(step, frame))
            return
        if extent.frames == 0:
            return
        # When each frame of a span came isn't recorded: they end with the record, and take as long as they sound.
        sounds_ms = 1000 * extent.bytes // self._format.bytes_per_second
        begun_ms = max(self._told_ms or 0, record.timestamp_millis - sounds_ms)
        for number, payload in enumerate(self._silences(extent.frames, extent.bytes), start=1):
            frame = RealtimeOutputFrame.audio(payload, response_id=step.response_id or self._answering)
            at_ms = begun_ms + (record.timestamp_millis - begun_ms) * number // extent.frames
            self._play(at_ms, frame if self._fill is None else self._fill(step, frame))

    def _play(self, at_ms: int, *items: Played) -> None:
        gap_ms = 0 if self._told_ms is None else at_ms - self._told_ms
        if items and gap_ms > 0 and self._pace is Pace.AS_RECORDED:
            self.played.append(Delay(gap_ms / 1000))
        self._told_ms = max(at_ms, self._told_ms or 0)
        self.played += items

    def _silences(self, frames: int, total: int) -> Iterator[bytes]:
        sample = self._format.bytes_per_sample
        samples, longer = divmod(total // sample, frames)
        for number in range(frames):
            yield SILENCE[self._format.encoding] * (sample * (samples + (number < longer)))

    def _frame(self, record: JournalRecord) -> RealtimeOutputFrame:
        step = record.payload
        if step.media_kind is RealtimeMediaKind.AUDIO:
            size = self._format.bytes_per_second // 50
            [payload] = self._silences(1, size)
            return RealtimeOutputFrame.audio(payload, response_id=step.response_id)
        event = _EVENTS.get(step.redacted_summary or "") or self._guessed(record)
        match event:
            case ResponseStarted():
                self._answering, self._is_stopped = step.response_id, False
            case ResponseDone():
                self._answering = None
                if self._is_stopped:
                    event = ResponseDone("cancelled")
            case _:
                pass
        return attrs.evolve(
            RealtimeOutputFrame.of(event, response_id=step.response_id),
            content_refs=step.content_refs,
            redacted_summary=step.redacted_summary,
        )

    def _guessed(self, record: JournalRecord) -> RealtimeEvent:
        """What a frame meant whose record doesn't say."""
        step = record.payload
        match step.media_kind:
            case RealtimeMediaKind.TEXT:
                return OutputText(PLACEHOLDER, final=True)
            case RealtimeMediaKind.TRANSCRIPT if step.response_id is None:
                return InputTranscript(PLACEHOLDER, final=True)
            case RealtimeMediaKind.TRANSCRIPT:
                return OutputTranscript(PLACEHOLDER, final=True)
            case RealtimeMediaKind.TOOL_CALL:
                return ToolCall(call_id=str(step.frame_id), name=PLACEHOLDER, arguments="{}")
            case _ if step.response_id is not None:
                return ResponseDone() if step.response_id == self._answering else ResponseStarted()
            case _ if record.journal_seq in self._interrupted:
                return SpeechStarted()
            case _:
                return ProviderWarning("not_recorded")


# One byte of it.
SILENCE: Mapping[AudioEncoding, bytes] = {
    AudioEncoding.PCM16: b"\x00",
    AudioEncoding.G711_ULAW: b"\xff",
    AudioEncoding.G711_ALAW: b"\xd5",
}


def _named(*events: RealtimeEvent) -> dict[str, RealtimeEvent]:
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower(): event for event in events}


# By the redacted summary of their record.
_EVENTS: Mapping[str, RealtimeEvent] = _named(
    GoAway(),
    InputCommitted(),
    InputTranscript(PLACEHOLDER, final=True),
    OutputText(PLACEHOLDER, final=True),
    OutputTranscript(PLACEHOLDER, final=True),
    ProviderWarning(),
    ResponseDone(),
    ResponseStarted(),
    SpeechStarted(),
    SpeechStopped(),
    ToolCall(name=PLACEHOLDER, arguments="{}"),
    ToolCallCancelled(),
)


def _faults_of(error: RecordedError | None) -> list[Fault]:
    """What the provider did to a call that ended so."""
    if error is not None and error.kind is AgentErrorKind.DEADLINE_EXCEEDED:
        return [Hang()]
    return [*_raised_by(error)]


def _raised_by(error: RecordedError | None) -> list[Drop | Refuse]:
    """What the provider said; nothing where the agent gave up, as what it does this time is what is tested."""
    if error is None:
        return []
    match error.kind:
        case AgentErrorKind.PROVIDER_CONNECTION_LOST:
            in_doubt = error.retry is RetryClassification.UNKNOWN_OUTCOME
            return [Drop(FrameFate.VANISHED if in_doubt else FrameFate.NOT_SENT)]
        case AgentErrorKind.PROVIDER_FAILURE:
            return [Refuse(error.code or "other", error.retry)]
        case _:
            return []
