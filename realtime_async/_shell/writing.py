"""Who writes: the part of every record of a session that is the same."""

from __future__ import annotations

from typing import Any

import attrs

from realtime_async.ports import (
    AgentId,
    DestinationRef,
    EntityRef,
    JournalRecord,
    RealtimeSessionRecord,
    RunId,
    SourceRef,
)

__all__ = ["Writer"]


@attrs.frozen(eq=False)
class Writer:
    agent_id: AgentId
    source: SourceRef
    destination: DestinationRef
    subject: EntityRef
    tags: tuple[str, ...]
    fingerprint: str
    redaction: dict[str, Any]
    nonce: str

    def envelope(self, run_id: RunId, payload: RealtimeSessionRecord) -> JournalRecord:
        """What every envelope of the session is a copy of; the number, the moment and the payload are each one's own."""
        return JournalRecord(
            journal_seq=0,
            record_id="",
            run_id=run_id,
            agent_id=self.agent_id,
            source=self.source,
            destination=self.destination,
            subject_ref=self.subject,
            tags=self.tags,
            event_kind="",
            timestamp_millis=0,
            runtime_package_fingerprint=self.fingerprint,
            payload=payload,
            **self.redaction,
        )
