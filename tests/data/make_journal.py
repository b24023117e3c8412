"""
Write a journal, as a file and as lines: one record of every kind, with everything that a record can hold.

    python -m tests.data.make_journal DIRECTORY

Whoever changes how records are stored keeps the pairs that are there, and adds one with the next number:

    journal-v1   a text of each connection holds what the gate has counted
    journal-v2   so it does while the gate is empty
    journal-v3   the same, with what an answer cost
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import attrs

from realtime_async._core.records import INTENT_OF, INTENTS
from realtime_async.errors import AgentErrorKind, RetryClassification
from realtime_async.journals import SqliteJournal
from realtime_async.journals._codec import encode
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

__all__ = ["LACKS", "RUNS", "run_of_every_kind"]

RUNS = (RunId("call-42"), RunId("call-43"))
POLICIES = tuple(PolicyRef(f"policy.front-desk.{name}") for name in ("media", "send", "receive", "restart"))
Kind = RealtimeSessionRecordKind

# The kinds of records that there were not when a pair was written.
LACKS: Mapping[str, frozenset[RealtimeSessionRecordKind]] = {
    "journal-v1": frozenset({
        Kind.TOOL_CALL_REQUESTED, Kind.TOOL_CALL_COMPLETED, Kind.TOOL_CALL_FAILED,
        Kind.HAND_OVER_REQUESTED, Kind.HANDED_OVER, Kind.HAND_OVER_FAILED,
    }),
    "journal-v2": frozenset(),
    "journal-v3": frozenset(),
}  # fmt: skip
LATEST = max(LACKS)
# Of the fields of records, those that there were not.
WITHOUT_USAGE = {"journal-v1", "journal-v2"}


def run_of_every_kind(run_id: RunId, pair: str = LATEST) -> list[JournalRecord]:
    """One record of each kind; it is no run that a session could have had."""
    kinds = [kind for kind in Kind if kind not in LACKS[pair]]
    run = [_record(run_id, seq, kind) for seq, kind in enumerate(kinds, start=1)]
    return run if pair in WITHOUT_USAGE else [_with_usage(one) for one in run]


def _with_usage(one: JournalRecord) -> JournalRecord:
    if one.payload.kind is not Kind.OUTPUT_RECEIVED:
        return one
    usage = ResponseUsage(12, 340, 100, 7, 90)
    return attrs.evolve(one, payload=attrs.evolve(one.payload, usage=usage))


def _record(run_id: RunId, seq: int, kind: RealtimeSessionRecordKind) -> JournalRecord:
    record_id = f"realtime.record.{seq}.0123456789abcdef"
    payload = _payload(run_id, seq, kind)
    if kind in INTENTS:
        payload = attrs.evolve(payload, effect_intent_ref=EffectId(record_id))
    elif kind in INTENT_OF:
        intent = EffectId(f"realtime.record.{seq - 1}.0123456789abcdef")
        payload = attrs.evolve(payload, effect_intent_ref=intent, effect_result_ref=EffectId(record_id))
    return JournalRecord(
        journal_seq=seq,
        record_id=record_id,
        run_id=run_id,
        agent_id=AgentId("agent.default"),
        source=SourceRef("host", "realtime_async"),
        destination=DestinationRef("provider", "provider.front-desk"),
        subject_ref=EntityRef("realtime_session", payload.session_id),
        tags=("feature:realtime", "lobby"),
        event_kind=f"realtime_{kind}",
        timestamp_millis=1_732_286_400_000 + 20 * seq,
        runtime_package_fingerprint="realtime-async@0.1.0+sha256:c0ffee",
        privacy=payload.privacy,
        content_refs=payload.content_refs,
        redaction_policy_id=POLICIES[0],
        payload=payload,
    )


def _payload(run_id: RunId, seq: int, kind: RealtimeSessionRecordKind) -> RealtimeSessionRecord:
    restarts = seq // 12
    payload = RealtimeSessionRecord(
        kind=kind,
        status=list(RealtimeSessionStatus)[seq % len(RealtimeSessionStatus)],
        session_id=RealtimeSessionId(f"realtime.session.{run_id}"),
        connection_id=RealtimeConnectionId(f"connection.{restarts}"),
        provider_route_ref="provider.front-desk",
        send_cursor=StreamCursor.chunk(50 * seq),
        receive_cursor=StreamCursor.chunk(40 * seq, CursorLabel.RECEIVE),
        restart_count=restarts,
        backpressure_state=RealtimeBackpressureState(
            capacity=500,
            queued_frames=seq % 3,
            gated_frames=7 * restarts,
            last_action=list(RealtimeBackpressureAction)[seq % 4] if restarts else None,
            policy_ref=PolicyRef("policy.front-desk.backpressure"),
        ),
        policy_refs=POLICIES,
    )
    if kind in {Kind.INPUT_SENT, Kind.OUTPUT_RECEIVED}:
        return _media(payload, seq)
    if kind is Kind.OUTPUT_FENCED:
        return _everything(payload, seq)
    if kind.endswith("_failed"):
        error = RecordedError(
            AgentErrorKind.PROVIDER_CONNECTION_LOST, RetryClassification.UNKNOWN_OUTCOME, "other", 1006, 503
        )
        return attrs.evolve(payload, error=error)
    return payload


def _media(payload: RealtimeSessionRecord, seq: int) -> RealtimeSessionRecord:
    """The result of a span."""
    is_sent = payload.kind is Kind.INPUT_SENT
    label = CursorLabel.SEND if is_sent else CursorLabel.RECEIVE
    digest = hashlib.sha256(str(seq).encode()).hexdigest()
    return attrs.evolve(
        payload,
        channel=StreamChannel.REALTIME_MEDIA,
        direction=StreamDirection.INPUT_TO_PROVIDER if is_sent else StreamDirection.OUTPUT_FROM_PROVIDER,
        media_kind=RealtimeMediaKind.AUDIO,
        response_id=None if is_sent else RealtimeResponseId("resp.1"),
        extent=RecordExtent(StreamCursor.chunk(1, label), StreamCursor.chunk(50, label), 50, 48_000, digest),
    )


def _everything(payload: RealtimeSessionRecord, seq: int) -> RealtimeSessionRecord:
    """Every field that no other record here has."""
    exact = StreamCursor(seq, 960 * seq, CursorPrecision.EXACT, CursorLabel.RECEIVE)
    return attrs.evolve(
        payload,
        receive_cursor=exact,
        frame_id=RealtimeFrameId("frame.0a1b2c.7"),
        response_id=RealtimeResponseId("resp.1"),
        close_reason=RealtimeCloseReason.HOST_OWNED_DETACH,
        restart_reason=RealtimeRestartReason.GO_AWAY,
        channel=StreamChannel.REALTIME_TRANSCRIPT,
        content_refs=(ContentRef("content.1"), ContentRef("content.2")),
        privacy=PrivacyClass.REDACTED_SUMMARY,
        retention=RetentionClass.DURABLE,
        redacted_summary='a guest said "früher", 12 words',
        extent=RecordExtent(exact, None, 1, 960, None),
    )


async def main(directory: Path) -> None:
    runs = [run_of_every_kind(run_id) for run_id in RUNS]
    async with SqliteJournal.open(directory / f"{LATEST}.db") as journal:
        for run in runs:
            for one in run:
                await journal.append(one)
    lines = b"".join(encode(one) + b"\n" for run in runs for one in run)
    await anyio.Path(directory / f"{LATEST}.jsonl").write_bytes(lines)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
