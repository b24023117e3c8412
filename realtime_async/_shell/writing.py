"""Who writes: the part of every record of a session that is the same."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import attrs

from realtime_async._core.given import shown, text
from realtime_async._core.lifecycle import policies_if_valid, route_if_valid
from realtime_async._core.records import FEATURE_TAG
from realtime_async._core.recovery import fingerprint_of
from realtime_async._core.sidecar import RealtimeSessionSidecar
from realtime_async._version import __version__
from realtime_async.errors import ContractViolation
from realtime_async.ports import (
    AgentId,
    DestinationRef,
    EntityRef,
    JournalRecord,
    RealtimeSessionId,
    RealtimeSessionRecord,
    RunId,
    SourceRef,
)

__all__ = ["Writer", "writer_of"]


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


def writer_of(
    sidecar: RealtimeSessionSidecar,
    session_id: RealtimeSessionId,
    *,
    agent_id: str,
    source: SourceRef,
    fingerprint: str | None,
    tags: Sequence[str],
) -> Writer:
    """
    Make the writer of a session, of what the program gave.

    Raises:
        ContractViolation: One of it could not be read again.
    """
    if not isinstance(source, SourceRef):
        raise ContractViolation(
            f"the source is {shown(source)}: give a SourceRef, such as SourceRef('host', 'my-program')"
        )
    if fingerprint is None:
        fingerprint = fingerprint_of(sidecar, __version__)
    policies = policies_if_valid(sidecar)
    return Writer(
        agent_id=AgentId(agent_id),
        source=source,
        destination=DestinationRef("provider", route_if_valid(sidecar)),
        subject=EntityRef("realtime_session", session_id),
        tags=(FEATURE_TAG, *(tag for tag in _tags(tags) if tag != FEATURE_TAG)),
        fingerprint=text(fingerprint, "runtime_package_fingerprint"),
        redaction={"redaction_policy_id": policies[0]} if policies else {},
        nonce=secrets.token_hex(8),
    )


def _tags(tags: Sequence[str]) -> list[str]:
    # A text is a sequence of texts too.
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        raise ContractViolation(f"the tags are {shown(tags)}: give a tuple of them, such as ('beta',)")
    return [text(tag, "tag") for tag in tags]
