"""
Hypothesis strategies for what passes through ports: ids, frames and records.

Records are well-formed, and as wild as their types allow: they tell no story that a session could have had.
"""

from __future__ import annotations

from typing import TypeVar

import attrs
from hypothesis import strategies as st

from realtime_async.errors import AgentErrorKind, RetryClassification
from realtime_async.ports import (
    AgentId,
    AudioEncoding,
    AudioFormat,
    ContentRef,
    CursorLabel,
    CursorPrecision,
    DestinationRef,
    EffectId,
    EntityRef,
    GoAway,
    InputCommitted,
    InputTranscript,
    JournalRecord,
    OutputText,
    OutputTranscript,
    PolicyRef,
    PrivacyClass,
    ProviderWarning,
    RealtimeBackpressureAction,
    RealtimeBackpressureState,
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeEvent,
    RealtimeFrameId,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeRestartReason,
    RealtimeSessionId,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RealtimeSessionStatus,
    RecordedError,
    RecordExtent,
    ResponseDone,
    ResponseStarted,
    ResponseUsage,
    RetentionClass,
    RunId,
    SourceRef,
    SpeechStarted,
    SpeechStopped,
    StreamChannel,
    StreamCursor,
    StreamDirection,
    ToolCall,
    ToolCallCancelled,
)

__all__ = [
    "audio_formats",
    "cursors",
    "events",
    "identifiers",
    "input_frames",
    "journal_records",
    "output_frames",
    "runs",
    "session_records",
]

Id = TypeVar("Id", bound=str)

ALPHABET = "ABCXYZabcxyz0189._:-"
counts = st.integers(min_value=0, max_value=2**53)
maybe_counts = st.none() | counts
words = st.text(max_size=40)


def identifiers(kind: type[Id]) -> st.SearchStrategy[Id]:
    """Ids of *kind*, short and at the limit of 256 characters."""
    text = st.text(ALPHABET, min_size=1, max_size=24) | st.text(ALPHABET, min_size=256, max_size=256)
    return text.map(kind)


def cursors(label: CursorLabel = CursorLabel.SEND) -> st.SearchStrategy[StreamCursor]:
    """Positions of one half, exact and by frame."""
    by_frame = st.builds(StreamCursor.chunk, counts, st.just(label))
    exact = st.builds(StreamCursor, counts, counts, st.just(CursorPrecision.EXACT), st.just(label))
    return by_frame | exact


def audio_formats() -> st.SearchStrategy[AudioFormat]:
    return st.builds(
        AudioFormat,
        st.sampled_from(AudioEncoding),
        st.sampled_from([8_000, 16_000, 24_000, 48_000]),
        st.integers(1, 2),
    )


def input_frames() -> st.SearchStrategy[RealtimeInputFrame]:
    """Frames of every kind that an agent sends; audio is pcm16."""
    pcm = st.integers(0, 480).flatmap(lambda samples: st.binary(min_size=2 * samples, max_size=2 * samples))
    return st.one_of(
        st.builds(RealtimeInputFrame.audio, pcm, critical=st.booleans()),
        st.builds(RealtimeInputFrame.text, words),
        st.builds(RealtimeInputFrame.image, st.binary(max_size=64)),
        st.builds(RealtimeInputFrame.video, st.binary(max_size=64)),
        st.builds(RealtimeInputFrame.tool_result, words, words),
        st.builds(RealtimeInputFrame.request_response, st.none() | words),
        st.builds(RealtimeInputFrame.end_of_turn),
        st.builds(RealtimeInputFrame.clear_input),
        st.builds(
            RealtimeInputFrame.media_ref,
            st.sampled_from(RealtimeMediaKind),
            identifiers(ContentRef),
            st.none() | words,
        ),
    )


def events() -> st.SearchStrategy[RealtimeEvent]:
    """Everything that a provider says; a frame of audio is made by `output_frames`."""
    usage = st.builds(ResponseUsage, *[maybe_counts] * len(attrs.fields(ResponseUsage)))
    return st.one_of(
        st.builds(OutputText, words, st.booleans()),
        st.builds(OutputTranscript, words, st.booleans()),
        st.builds(InputTranscript, words, st.booleans()),
        st.builds(SpeechStarted, maybe_counts),
        st.builds(SpeechStopped, maybe_counts),
        st.builds(InputCommitted, maybe_counts),
        st.builds(ResponseStarted),
        st.builds(
            ResponseDone,
            st.sampled_from(["completed", "cancelled", "incomplete", "failed"]),
            st.none() | usage,
        ),
        st.builds(ToolCall, words, words, words),
        st.builds(ToolCallCancelled, st.lists(words, max_size=3)),
        st.builds(GoAway, st.none() | st.floats(0, 600)),
        st.builds(ProviderWarning, words),
    )


def output_frames() -> st.SearchStrategy[RealtimeOutputFrame]:
    answers = st.none() | identifiers(RealtimeResponseId)
    pcm = st.integers(0, 480).map(lambda samples: b"\x00\x00" * samples)
    return st.one_of(
        st.builds(RealtimeOutputFrame.audio, pcm, response_id=answers),
        st.builds(RealtimeOutputFrame.of, events(), response_id=answers),
    )


def session_records() -> st.SearchStrategy[RealtimeSessionRecord]:
    state = st.builds(
        RealtimeBackpressureState,
        st.integers(1, 10_000),
        counts,
        counts,
        counts,
        st.none() | st.sampled_from(RealtimeBackpressureAction),
        st.none() | identifiers(PolicyRef),
    )
    extent = st.builds(
        RecordExtent,
        st.none() | cursors(),
        st.none() | cursors(),
        counts,
        counts,
        st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    )
    error = st.builds(
        RecordedError,
        st.sampled_from(AgentErrorKind),
        st.sampled_from(RetryClassification),
        st.none() | st.sampled_from(["overloaded", "session_expired", "other"]),
        st.none() | st.integers(1000, 4999),
        st.none() | st.integers(400, 599),
    )
    return st.builds(
        RealtimeSessionRecord,
        kind=st.sampled_from(RealtimeSessionRecordKind),
        status=st.sampled_from(RealtimeSessionStatus),
        session_id=identifiers(RealtimeSessionId),
        connection_id=identifiers(RealtimeConnectionId),
        provider_route_ref=identifiers(str),
        send_cursor=cursors(),
        receive_cursor=cursors(CursorLabel.RECEIVE),
        restart_count=counts,
        backpressure_state=state,
        policy_refs=st.lists(identifiers(PolicyRef), max_size=7).map(tuple),
        frame_id=st.none() | identifiers(RealtimeFrameId),
        response_id=st.none() | identifiers(RealtimeResponseId),
        close_reason=st.none() | st.sampled_from(RealtimeCloseReason),
        restart_reason=st.none() | st.sampled_from(RealtimeRestartReason),
        channel=st.none() | st.sampled_from(StreamChannel),
        direction=st.none() | st.sampled_from(StreamDirection),
        media_kind=st.none() | st.sampled_from(RealtimeMediaKind),
        content_refs=st.lists(identifiers(ContentRef), max_size=3).map(tuple),
        privacy=st.sampled_from(PrivacyClass),
        retention=st.sampled_from(RetentionClass),
        redacted_summary=st.none() | words,
        effect_intent_ref=st.none() | identifiers(EffectId),
        effect_result_ref=st.none() | identifiers(EffectId),
        extent=st.none() | extent,
        error=st.none() | error,
    )


def journal_records(
    *, run_id: str | None = None, journal_seq: int | None = None
) -> st.SearchStrategy[JournalRecord]:
    """Records of any run and position, or of the given ones."""

    def enveloped(payload: RealtimeSessionRecord) -> st.SearchStrategy[JournalRecord]:
        return st.builds(
            JournalRecord,
            journal_seq=st.integers(1, 2**53) if journal_seq is None else st.just(journal_seq),
            record_id=st.uuids().map(lambda uuid: f"record.{uuid.hex}"),
            run_id=identifiers(RunId) if run_id is None else st.just(RunId(run_id)),
            agent_id=identifiers(AgentId),
            source=st.builds(SourceRef, st.just("host"), identifiers(str)),
            destination=st.just(DestinationRef("provider", payload.provider_route_ref)),
            subject_ref=st.just(EntityRef("realtime_session", payload.session_id)),
            tags=st.lists(words, max_size=3).map(lambda tags: ("feature:realtime", *tags)),
            event_kind=st.just(f"realtime_{payload.kind}"),
            timestamp_millis=counts,
            runtime_package_fingerprint=identifiers(str),
            privacy=st.just(payload.privacy),
            content_refs=st.just(payload.content_refs),
            redaction_policy_id=identifiers(PolicyRef),
            payload=st.just(payload),
        )

    return session_records().flatmap(enveloped)


def runs(run_id: str, *, max_size: int = 10) -> st.SearchStrategy[list[JournalRecord]]:
    """The records of a run, numbered from 1 without gap."""
    return st.lists(journal_records(run_id=run_id), max_size=max_size).map(
        lambda records: [
            attrs.evolve(record, journal_seq=number) for number, record in enumerate(records, start=1)
        ]
    )
