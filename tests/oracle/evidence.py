"""
What the oracle may look at: the journal as JSON, and the log of the adapter's calls.

It knows the runtime from its contract alone: nothing here, nor beside it, imports the package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

__all__ = [
    "INTENTS",
    "LAST_HERE",
    "RESULTS",
    "TERMINAL",
    "Call",
    "Extent",
    "Intent",
    "Json",
    "Step",
    "Violation",
    "calls_of",
    "intents_of",
    "steps_of",
]

Json = Mapping[str, Any]

INTENTS: Mapping[str, frozenset[str]] = {
    "connect_requested": frozenset({"connected", "connect_failed"}),
    "input_send_requested": frozenset({"input_sent", "input_send_failed"}),
    "input_replay_requested": frozenset({"input_replayed", "input_replay_failed"}),
    "output_receive_requested": frozenset({"output_received", "output_ended", "output_receive_failed"}),
    "interrupt_requested": frozenset({"interrupted", "interrupt_failed"}),
    "restart_started": frozenset({"restart_completed", "restart_failed"}),
    "close_requested": frozenset({"closed", "close_failed"}),
    "hand_over_requested": frozenset({"handed_over", "hand_over_failed"}),
    "tool_call_requested": frozenset({"tool_call_completed", "tool_call_failed"}),
}
"""Every intent, and the results that it can have; any can have `outcome_unknown`."""

RESULTS = frozenset(kind for kinds in INTENTS.values() for kind in kinds) | {"outcome_unknown"}
TERMINAL = frozenset({"closed", "close_failed"})
LAST_HERE = TERMINAL | {"handed_over", "hand_over_failed"}
"""Of one owner; after those that are not terminal another may go on."""


@attrs.frozen
class Violation:
    """A sentence about what happened, and the number of the invariant that forbids it."""

    invariant: int
    text: str


@attrs.frozen
class Extent:
    first: int | None
    last: int | None
    frames: int

    def holds(self, number: int) -> bool:
        return self.first is not None and self.last is not None and self.first <= number <= self.last


@attrs.frozen
class Step:
    """One record, reduced to what the invariants speak of."""

    seq: int
    record_id: str
    run_id: str
    kind: str
    session: str
    connection: str
    frame_id: str | None
    intent_ref: str | None
    result_ref: str | None
    send_cursor: int
    receive_cursor: int
    restart_count: int
    capacity: int
    queued: int
    dropped: int
    gated: int
    extent: Extent | None
    retry: str | None

    def __str__(self) -> str:
        return f"record {self.seq} ({self.kind})"


def steps_of(journal: Iterable[Json]) -> list[Step]:
    """Read the records of one run, in the order in which they are stored."""
    return [_step(record) for record in journal]


def _step(record: Json) -> Step:
    payload = record["payload"]
    queue = payload["backpressure_state"]
    extent = payload.get("extent")
    return Step(
        seq=record["journal_seq"],
        record_id=record["record_id"],
        run_id=record["run_id"],
        kind=payload["kind"],
        session=payload["session_id"],
        connection=payload["connection_id"],
        frame_id=payload.get("frame_id"),
        intent_ref=payload.get("effect_intent_ref"),
        result_ref=payload.get("effect_result_ref"),
        send_cursor=_number(payload.get("send_cursor")) or 0,
        receive_cursor=_number(payload.get("receive_cursor")) or 0,
        restart_count=payload.get("restart_count", 0),
        capacity=queue["capacity"],
        queued=queue.get("queued_frames", 0),
        dropped=queue.get("dropped_frames", 0),
        gated=queue.get("gated_frames", 0),
        extent=None
        if extent is None
        else Extent(_number(extent.get("first")), _number(extent.get("last")), extent.get("frames", 0)),
        retry=(payload.get("error") or {}).get("retry"),
    )


def _number(cursor: Json | None) -> int | None:
    return None if cursor is None else cursor.get("chunk_sequence", 0)


@attrs.frozen
class Intent:
    """An intent, its result where it has one, and what is told of the effect."""

    step: Step
    result: Step | None = None

    def open_at(self, *, begun: int, durable: int) -> bool:
        """Whether it was durable and without a result while the journal stood there."""
        return self.step.seq <= durable and (self.result is None or begun < self.result.seq)


def intents_of(steps: Sequence[Step]) -> list[Intent]:
    """Join intents with the first result that names them."""
    results: dict[str, Step] = {}
    for step in steps:
        if step.kind in RESULTS and step.intent_ref is not None:
            results.setdefault(step.intent_ref, step)
    return [Intent(step, results.get(step.record_id)) for step in steps if step.kind in INTENTS]


@attrs.frozen
class Call:
    """
    One call of the adapter, with the journal's position when it started and when it ended.

    `begun` counts the records that the journal had taken, `durable` those that could not be lost any more.
    """

    number: int
    order: int
    """Place of its start among all starts and ends."""
    operation: str
    session: str
    frame_id: str | None
    cursor: int | None
    begun: int
    durable: int
    outcome: str | None = None
    """
    returned, none, refused, lost, lost_undelivered, cancelled or failed; None: it is still under way.

    Of a call that was asked not to wait also no_room, or nothing.
    """
    connection: str | None = None
    """What connect and restart returned."""
    ended_order: int | None = None
    ended_begun: int | None = None

    def __str__(self) -> str:
        what = f" of {self.frame_id} at {self.cursor}" if self.operation == "send" else ""
        return f"call {self.number} ({self.operation}{what})"


def calls_of(log: Iterable[Json]) -> list[Call]:
    """Join the starts and the ends of calls, in the order in which they started."""
    calls: dict[int, Call] = {}
    for order, entry in enumerate(log):
        number = entry["call"]
        if entry["edge"] == "started":
            calls[number] = Call(
                number,
                order,
                entry["operation"],
                entry["session_id"],
                entry.get("frame_id"),
                entry.get("cursor"),
                entry["begun"],
                entry["durable"],
            )
        else:
            calls[number] = attrs.evolve(
                calls[number],
                outcome=entry["outcome"],
                connection=entry.get("connection_id"),
                ended_order=order,
                ended_begun=entry["begun"],
            )
    return list(calls.values())
