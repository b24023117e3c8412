"""Records to fill a journal with, where what they say doesn't matter, and how the first of them is read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from realtime_async.ports import (
    AgentId,
    DestinationRef,
    EffectId,
    EntityRef,
    JournalRecord,
    RealtimeBackpressureState,
    RealtimeConnectionId,
    RealtimeSessionId,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RealtimeSessionStatus,
    RunId,
    SourceRef,
)

__all__ = ["first_of", "record", "records"]

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


def records(run_id: str, count: int, *, after: int = 0, nonce: str = "first-owner") -> list[JournalRecord]:
    return [record(run_id, seq, nonce=nonce) for seq in range(after + 1, after + count + 1)]


async def first_of(reading: AsyncIterator[T]) -> T:
    """Take the first of *reading*, and leave the rest."""
    try:
        return await anext(reading)
    finally:
        # A generator is closed by whoever leaves it; Trio complains of one that is left to be collected.
        if isinstance(reading, AsyncGenerator):
            await reading.aclose()
