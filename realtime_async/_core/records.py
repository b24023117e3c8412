"""
What a journal holds: the record of one step of a session, and the envelope it travels in.

A record never bears a payload, a key or a provider's text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

import attrs

from realtime_async._core.accounting import RealtimeRestartReason
from realtime_async._core.cursors import CursorLabel, StreamCursor
from realtime_async._core.given import shown
from realtime_async._core.identifiers import (
    AgentId,
    ContentRef,
    DestinationRef,
    EffectId,
    EntityRef,
    PolicyRef,
    RealtimeConnectionId,
    RealtimeFrameId,
    RealtimeResponseId,
    RealtimeSessionId,
    RunId,
    SourceRef,
)
from realtime_async._core.media import PrivacyClass, RealtimeMediaKind, RetentionClass
from realtime_async._core.usage import ResponseUsage
from realtime_async.errors import (
    AgentError,
    AgentErrorKind,
    ContractViolation,
    ProviderFailure,
    RetryClassification,
)

__all__ = [
    "INTENT_OF",
    "JournalCursor",
    "JournalRecord",
    "RealtimeBackpressureAction",
    "RealtimeBackpressureState",
    "RealtimeCloseReason",
    "RealtimeSessionRecord",
    "RealtimeSessionRecordKind",
    "RealtimeSessionStatus",
    "RecordExtent",
    "RecordedError",
    "StreamChannel",
    "StreamDirection",
    "each_record",
]

SCHEMA_VERSION = 1


class StreamChannel(StrEnum):
    ASSISTANT_TEXT = "assistant_text"
    REASONING_SUMMARY = "reasoning_summary"
    TOOL_CALL_ARGUMENTS = "tool_call_arguments"
    TOOL_RESULT_TEXT = "tool_result_text"
    REALTIME_TRANSCRIPT = "realtime_transcript"
    REALTIME_MEDIA = "realtime_media"


class StreamDirection(StrEnum):
    INPUT_TO_PROVIDER = "input_to_provider"
    OUTPUT_FROM_PROVIDER = "output_from_provider"


class RealtimeSessionStatus(StrEnum):
    """What happened last.  It decides nothing."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    INPUT_SENT = "input_sent"
    OUTPUT_RECEIVED = "output_received"
    INTERRUPTED = "interrupted"
    RESTART_REQUESTED = "restart_requested"
    RESTART_STARTED = "restart_started"
    RESTART_COMPLETED = "restart_completed"
    RESTART_FAILED = "restart_failed"
    CLOSED = "closed"
    FAILED = "failed"
    DETACHED = "detached"
    BACKPRESSURE_APPLIED = "backpressure_applied"


class RealtimeCloseReason(StrEnum):
    NORMAL = "normal"
    CANCEL = "cancel"
    PROVIDER_FAILURE = "provider_failure"
    POLICY_DENIAL = "policy_denial"
    HOST_OWNED_DETACH = "host_owned_detach"
    """The host goes on with the provider's own session; the adapter leaves that alone."""


class RealtimeBackpressureAction(StrEnum):
    """How the last frame that met a closed gate was taken."""

    GATE = "gate"
    BLOCK = "block"
    """It waited for room first."""
    DROP_NONCRITICAL = "drop_noncritical"
    FAIL_SEND = "fail_send"


class RealtimeSessionRecordKind(StrEnum):
    CONNECT_REQUESTED = "connect_requested"
    CONNECTED = "connected"
    CONNECT_FAILED = "connect_failed"
    INPUT_SEND_REQUESTED = "input_send_requested"
    INPUT_SENT = "input_sent"
    INPUT_SEND_FAILED = "input_send_failed"
    INPUT_REPLAY_REQUESTED = "input_replay_requested"
    INPUT_REPLAYED = "input_replayed"
    INPUT_REPLAY_FAILED = "input_replay_failed"
    INPUT_DROPPED = "input_dropped"
    OUTPUT_RECEIVE_REQUESTED = "output_receive_requested"
    OUTPUT_RECEIVED = "output_received"
    OUTPUT_ENDED = "output_ended"
    OUTPUT_RECEIVE_FAILED = "output_receive_failed"
    OUTPUT_DISCARDED = "output_discarded"
    OUTPUT_FENCED = "output_fenced"
    INTERRUPT_REQUESTED = "interrupt_requested"
    INTERRUPTED = "interrupted"
    INTERRUPT_FAILED = "interrupt_failed"
    RESTART_REQUESTED = "restart_requested"
    RESTART_STARTED = "restart_started"
    RESTART_COMPLETED = "restart_completed"
    RESTART_FAILED = "restart_failed"
    BACKPRESSURE_APPLIED = "backpressure_applied"
    SESSION_RECOVERED = "session_recovered"
    CLOSE_REQUESTED = "close_requested"
    CLOSED = "closed"
    CLOSE_FAILED = "close_failed"
    HAND_OVER_REQUESTED = "hand_over_requested"
    """The session is about to be left to another process."""
    HANDED_OVER = "handed_over"
    """Its controller has ended; the session has not, and waits to be resumed."""
    HAND_OVER_FAILED = "hand_over_failed"
    OUTCOME_UNKNOWN = "outcome_unknown"
    """The result of any intent whose process died."""
    TOOL_CALL_REQUESTED = "tool_call_requested"
    """A function of the program is about to be called for the model."""
    TOOL_CALL_COMPLETED = "tool_call_completed"
    """It returned; `frame_id` is the frame that bears what it returned."""
    TOOL_CALL_FAILED = "tool_call_failed"


_Kind = RealtimeSessionRecordKind

INTENT_OF: Mapping[RealtimeSessionRecordKind, RealtimeSessionRecordKind] = {
    _Kind.CONNECTED: _Kind.CONNECT_REQUESTED,
    _Kind.CONNECT_FAILED: _Kind.CONNECT_REQUESTED,
    _Kind.INPUT_SENT: _Kind.INPUT_SEND_REQUESTED,
    _Kind.INPUT_SEND_FAILED: _Kind.INPUT_SEND_REQUESTED,
    _Kind.INPUT_REPLAYED: _Kind.INPUT_REPLAY_REQUESTED,
    _Kind.INPUT_REPLAY_FAILED: _Kind.INPUT_REPLAY_REQUESTED,
    _Kind.OUTPUT_RECEIVED: _Kind.OUTPUT_RECEIVE_REQUESTED,
    _Kind.OUTPUT_ENDED: _Kind.OUTPUT_RECEIVE_REQUESTED,
    _Kind.OUTPUT_RECEIVE_FAILED: _Kind.OUTPUT_RECEIVE_REQUESTED,
    _Kind.INTERRUPTED: _Kind.INTERRUPT_REQUESTED,
    _Kind.INTERRUPT_FAILED: _Kind.INTERRUPT_REQUESTED,
    _Kind.RESTART_COMPLETED: _Kind.RESTART_STARTED,
    _Kind.RESTART_FAILED: _Kind.RESTART_STARTED,
    _Kind.CLOSED: _Kind.CLOSE_REQUESTED,
    _Kind.CLOSE_FAILED: _Kind.CLOSE_REQUESTED,
    _Kind.HANDED_OVER: _Kind.HAND_OVER_REQUESTED,
    _Kind.HAND_OVER_FAILED: _Kind.HAND_OVER_REQUESTED,
    _Kind.TOOL_CALL_COMPLETED: _Kind.TOOL_CALL_REQUESTED,
    _Kind.TOOL_CALL_FAILED: _Kind.TOOL_CALL_REQUESTED,
}
"""Which intent a result closes.  `outcome_unknown` closes any; the kinds that are neither are not here."""

INTENTS = frozenset(INTENT_OF.values())
EVENT_KIND: Mapping[RealtimeSessionRecordKind, str] = {kind: f"realtime_{kind}" for kind in _Kind}
TERMINAL = frozenset({_Kind.CLOSED, _Kind.CLOSE_FAILED})


@attrs.frozen
class RealtimeBackpressureState:
    """What the gate holds, and has held."""

    capacity: int
    queued_frames: int = 0
    """Now."""
    dropped_frames: int = 0
    """Ever."""
    gated_frames: int = 0
    """Ever."""
    last_action: RealtimeBackpressureAction | None = None
    policy_ref: PolicyRef | None = None


@attrs.frozen
class RecordExtent:
    """The frames that one record stands for; of an intent, those it reserves at most."""

    first: StreamCursor | None = None
    """None: no frame."""
    last: StreamCursor | None = None
    frames: int = 0
    bytes: int = 0
    """Of payload."""
    sha256: str | None = None
    """Hexadecimal digest of the payloads one after the other; None on an intent and for no frame."""


# Codes that a provider may put in a record: whatever else it says could hold what was spoken.
KNOWN_PROVIDER_CODES = frozenset({
    "account_deactivated", "authentication_error", "bad_gateway", "billing_hard_limit_reached", "cancelled",
    "content_filter", "context_length_exceeded", "deadline_exceeded", "failed_precondition",
    "handshake_refused", "inference_failed", "insufficient_quota", "internal_error", "invalid_api_key",
    "invalid_argument", "invalid_json", "invalid_request", "invalid_request_error", "invalid_session_type",
    "invalid_type", "invalid_value", "malformed_event", "message_too_big", "missing_required_parameter",
    "model_load_error", "model_not_found", "no_api_key", "not_found", "not_implemented", "overloaded",
    "permission_denied", "policy_violation", "protocol_error", "quota_exceeded", "rate_limit_error",
    "rate_limit_exceeded", "resource_exhausted", "server_error", "service_unavailable", "session_expired",
    "session_limit_reached", "session_not_found", "timeout", "too_many_requests", "unauthenticated",
    "unavailable", "unknown_or_invalid_event", "unknown_parameter", "unsupported", "unsupported_frame",
    "unsupported_parameter", "untrusted_certificate",
})  # fmt: skip
OTHER_CODE = "other"


@attrs.frozen
class RecordedError:
    """How an effect failed; never the provider's text."""

    kind: AgentErrorKind
    retry: RetryClassification
    code: str | None = None
    """One of the codes known here, or "other"."""
    close_code: int | None = None
    """Of the WebSocket."""
    http_status: int | None = None

    @classmethod
    def of(cls, error: AgentError) -> RecordedError:
        if not isinstance(error, ProviderFailure):
            return cls(error.kind, error.retry)
        return cls(
            error.kind, error.retry, _code(error.code), _number(error.close_code), _number(error.http_status)
        )


def _code(code: object) -> str | None:
    """What may be recorded of a provider's *code*; an adapter may have taken it from anywhere."""
    if code is None:
        return None
    return str.__str__(code) if isinstance(code, str) and code in KNOWN_PROVIDER_CODES else OTHER_CODE


# A close code has two bytes; a status of HTTP has three digits.
_LARGEST_NUMBER = 0xFFFF


def _number(number: object) -> int | None:
    """A close code or a status as it may be recorded; what is none is left out, as there could be anything in it."""
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _LARGEST_NUMBER:
        return None
    return int(number)


NOWHERE_RECEIVED = StreamCursor.chunk(0, CursorLabel.RECEIVE)


@attrs.frozen(kw_only=True, slots=False)
class RealtimeSessionRecord:
    """One step of a session: the payload of a journal record."""

    kind: RealtimeSessionRecordKind
    status: RealtimeSessionStatus
    session_id: RealtimeSessionId
    connection_id: RealtimeConnectionId
    provider_route_ref: str
    send_cursor: StreamCursor = StreamCursor()
    receive_cursor: StreamCursor = NOWHERE_RECEIVED
    restart_count: int = 0
    backpressure_state: RealtimeBackpressureState
    policy_refs: tuple[PolicyRef, ...] = ()
    frame_id: RealtimeFrameId | None = None
    response_id: RealtimeResponseId | None = None
    close_reason: RealtimeCloseReason | None = None
    restart_reason: RealtimeRestartReason | None = None
    channel: StreamChannel | None = None
    direction: StreamDirection | None = None
    media_kind: RealtimeMediaKind | None = None
    content_refs: tuple[ContentRef, ...] = ()
    privacy: PrivacyClass = PrivacyClass.CONTENT_REFS_ONLY
    retention: RetentionClass = RetentionClass.RUN_SCOPED
    redacted_summary: str | None = None
    effect_intent_ref: EffectId | None = None
    """On an intent its own effect, which is the record_id of its envelope; on a result that of its intent."""
    effect_result_ref: EffectId | None = None
    """On a result, the record_id of its own envelope."""
    extent: RecordExtent | None = None
    error: RecordedError | None = None
    usage: ResponseUsage | None = None
    """On the record of an answer's end, what the answer cost: numbers, empty where the provider said none."""


DEFAULT_REDACTION_POLICY = PolicyRef("policy.redaction.realtime.default")
FEATURE_TAG = "feature:realtime"


@attrs.frozen(kw_only=True, slots=False)
class JournalRecord:
    """The envelope of one record, as any journal stores it."""

    schema_version: int = SCHEMA_VERSION
    journal_seq: int
    """1, 2, 3 …, per run, without gap."""
    record_id: str
    """Unique: ends in a nonce of its writer, so that two owners of a run never write the same."""
    record_kind: str = "realtime_session"
    run_id: RunId
    agent_id: AgentId
    source: SourceRef
    destination: DestinationRef
    subject_ref: EntityRef
    tags: tuple[str, ...] = (FEATURE_TAG,)
    event_family: str = "realtime"
    event_kind: str
    timestamp_millis: int
    """Milliseconds since 1970, by the writer's clock."""
    runtime_package_fingerprint: str
    privacy: PrivacyClass = PrivacyClass.CONTENT_REFS_ONLY
    content_refs: tuple[ContentRef, ...] = ()
    redaction_policy_id: PolicyRef = DEFAULT_REDACTION_POLICY
    payload: RealtimeSessionRecord


@attrs.frozen
class JournalCursor:
    """Where a record stands."""

    run_id: RunId
    journal_seq: int


def each_record(records: Iterable[JournalRecord]) -> Iterator[JournalRecord]:
    """
    Iterate over *records*.

    Raises:
        ContractViolation: They are something else, such as what a journal's `read` returns, which has to be awaited.
    """
    if not isinstance(records, Iterable):
        raise ContractViolation(
            f"the records are {shown(records)}: give a list of them, as in "
            "[record async for record in journal.read(run_id)]"
        )
    for record in records:
        if not isinstance(record, JournalRecord):
            raise ContractViolation(
                f"one of the records is {shown(record)}: give JournalRecords, as a journal's read has them"
            )
        yield record
