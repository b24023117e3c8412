"""A run as steps on a clock: when each record was written, and how long its effect took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from realtime_async._core.records import JournalRecord, RealtimeSessionRecordKind

__all__ = ["Step", "steps_of"]

# Of a medium that is none, its summary says more.
_QUIET = "control"


@attrs.frozen
class Step:
    """A record, and when it was written."""

    record: JournalRecord
    at_s: float
    """Seconds since the first record."""
    since_intent_s: float | None
    """Seconds since the intent that it closes; None: it is no result, or its intent was not seen."""

    @property
    def kind(self) -> RealtimeSessionRecordKind:
        return self.record.payload.kind

    @property
    def about(self) -> str:
        """What of the record says more than its kind: the medium, the reason, the error."""
        payload = self.record.payload
        facts: list[str] = [
            fact
            for fact in (
                payload.media_kind,
                payload.redacted_summary,
                payload.restart_reason,
                payload.close_reason,
            )
            if fact is not None and fact != _QUIET
        ]
        if payload.error is not None:
            facts.append(f"{payload.error.kind}, {payload.error.retry}")
        return " ".join(facts)

    @property
    def is_trouble(self) -> bool:
        return self.record.payload.error is not None or self.kind is RealtimeSessionRecordKind.OUTCOME_UNKNOWN

    @property
    def is_notable(self) -> bool:
        """Whether it tells of a restart, an interruption, or frames that had to wait."""
        return self.kind.startswith(("restart", "interrupt", "backpressure", "input_dropped"))


def steps_of(records: Iterable[JournalRecord]) -> Iterator[Step]:
    """Put *records*, in order, on a clock; what is kept of them is one number for each intent that is open."""
    begun_at: int | None = None
    intents: dict[str, int] = {}
    for record in records:
        at = record.timestamp_millis
        begun_at = at if begun_at is None else begun_at
        intent = record.payload.effect_intent_ref
        since_intent_s = None
        if intent == record.record_id:
            intents[intent] = at
        elif intent is not None and intent in intents:
            since_intent_s = (at - intents.pop(intent)) / 1000
        yield Step(record, (at - begun_at) / 1000, since_intent_s)
