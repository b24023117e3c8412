"""Records to fill a journal with, where what they say doesn't matter, and how the first of them is read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import TypeVar

import attrs

from realtime_async.errors import AgentErrorKind, RetryClassification
from realtime_async.ports import (
    AgentId,
    ContentRef,
    CursorLabel,
    CursorPrecision,
    DestinationRef,
    EffectId,
    EntityRef,
    JournalRecord,
    PolicyRef,
    PrivacyClass,
    RealtimeBackpressureAction,
    RealtimeBackpressureState,
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeFrameId,
    RealtimeMediaKind,
    RealtimeResponseId,
    RealtimeRestartReason,
    RealtimeSessionId,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RealtimeSessionStatus,
    RecordedError,
    RecordExtent,
    ResponseUsage,
    RetentionClass,
    RunId,
    SourceRef,
    StreamChannel,
    StreamCursor,
    StreamDirection,
)

__all__ = ["OTHERWISE", "first_of", "full_record", "record", "records"]

T = TypeVar("T")


def record(
    run_id: str,
    journal_seq: int,
    *,
    kind: RealtimeSessionRecordKind = RealtimeSessionRecordKind.INPUT_SEND_REQUESTED,
    nonce: str = "first-owner",
) -> JournalRecord:
    """
    Build a record that any journal accepts.

    The same arguments give an equal record; another *nonce* one of another owner.
    """
    record_id = f"record.{run_id}.{journal_seq}.{nonce}"
    session_id = RealtimeSessionId(f"session.{run_id}")
    return JournalRecord(
        journal_seq=journal_seq,
        record_id=record_id,
        run_id=RunId(run_id),
        agent_id=AgentId("agent.default"),
        source=SourceRef("host", "journal_contract"),
        destination=DestinationRef("provider", "provider.contract"),
        subject_ref=EntityRef("realtime_session", session_id),
        event_kind=f"realtime_{kind}",
        timestamp_millis=1_700_000_000_000 + journal_seq,
        runtime_package_fingerprint="realtime_async.contract",
        payload=RealtimeSessionRecord(
            kind=kind,
            status=RealtimeSessionStatus.CONNECTED,
            session_id=session_id,
            connection_id=RealtimeConnectionId("connection.contract"),
            provider_route_ref="provider.contract",
            backpressure_state=RealtimeBackpressureState(capacity=500),
            effect_intent_ref=EffectId(record_id),
        ),
    )


def full_record(run_id: str, journal_seq: int) -> JournalRecord:
    """
    Build a record in which every field says something that it doesn't say by itself.

    Where it has several of a kind they stand in no order, and one of them twice: a store that takes them for a set
    would give back another record.
    """
    plain = record(run_id, journal_seq, kind=RealtimeSessionRecordKind.OUTPUT_RECEIVE_FAILED)
    content = (ContentRef("content.2"), ContentRef("content.1"), ContentRef("content.2"))
    policies = (
        PolicyRef("policy.contract.send"),
        PolicyRef("policy.contract.media"),
        PolicyRef("policy.contract.send"),
    )
    position = StreamCursor(chunk_sequence=7, byte_offset=960, precision=CursorPrecision.EXACT)
    payload = attrs.evolve(
        plain.payload,
        status=RealtimeSessionStatus.RESTART_STARTED,
        send_cursor=position,
        receive_cursor=StreamCursor.chunk(5, CursorLabel.RECEIVE),
        restart_count=3,
        backpressure_state=RealtimeBackpressureState(
            capacity=500,
            queued_frames=1,
            dropped_frames=2,
            gated_frames=3,
            last_action=RealtimeBackpressureAction.GATE,
            policy_ref=policies[0],
        ),
        policy_refs=policies,
        frame_id=RealtimeFrameId("frame.1"),
        response_id=RealtimeResponseId("answer.1"),
        close_reason=RealtimeCloseReason.CANCEL,
        restart_reason=RealtimeRestartReason.STALLED,
        channel=StreamChannel.REALTIME_MEDIA,
        direction=StreamDirection.OUTPUT_FROM_PROVIDER,
        media_kind=RealtimeMediaKind.AUDIO,
        content_refs=content,
        privacy=PrivacyClass.REDACTED_SUMMARY,
        retention=RetentionClass.DURABLE,
        redacted_summary='of "two" lines:\n日本',
        effect_result_ref=EffectId(f"result.{journal_seq}"),
        extent=RecordExtent(StreamCursor.chunk(1), position, frames=7, bytes=6720, sha256="ab" * 32),
        error=RecordedError(
            AgentErrorKind.PROVIDER_CONNECTION_LOST,
            RetryClassification.UNKNOWN_OUTCOME,
            code="overloaded",
            close_code=1011,
            http_status=503,
        ),
        usage=ResponseUsage(1, 2, 3, 4, 5),
    )
    return attrs.evolve(
        plain,
        tags=("tenant:日本", "feature:realtime", "tenant:日本"),
        privacy=PrivacyClass.RAW_CONTENT_ALLOWED,
        content_refs=content,
        redaction_policy_id=policies[0],
        payload=payload,
    )


def records(run_id: str, count: int, *, after: int = 0, nonce: str = "first-owner") -> list[JournalRecord]:
    return [record(run_id, seq, nonce=nonce) for seq in range(after + 1, after + count + 1)]


# A store that looks for an id alone, or for what it has in columns of its own, takes these for the same.
OTHERWISE: Mapping[str, Callable[[JournalRecord], JournalRecord]] = {
    "id": lambda one: attrs.evolve(one, record_id=f"{one.record_id}.other"),
    "time": lambda one: attrs.evolve(one, timestamp_millis=one.timestamp_millis + 1),
    "tags": lambda one: attrs.evolve(one, tags=(*one.tags, "other")),
    "payload": lambda one: attrs.evolve(
        one, payload=attrs.evolve(one.payload, send_cursor=StreamCursor.chunk(99))
    ),
}


async def first_of(reading: AsyncIterator[T]) -> T:
    """Take the first of *reading*, and leave the rest."""
    try:
        return await anext(reading)
    finally:
        # A generator is closed by whoever leaves it; Trio complains of one that is left to be collected.
        if isinstance(reading, AsyncGenerator):
            await reading.aclose()
