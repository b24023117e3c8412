"""What became of every frame that was accepted, derived once more from the records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import attrs

from tests.oracle.evidence import INTENTS, TERMINAL, Call, Intent, Json, Step, Violation, intents_of

__all__ = ["Totals", "check_fates", "check_live", "totals_of"]

# What may follow what, in the life of one frame that has records of its own.
_LIVES = {
    (None, "input_send_requested"): "in flight",
    (None, "backpressure_applied"): "gated",
    ("gated", "input_send_requested"): "in flight",
    ("gated", "input_dropped"): "dropped",
    ("in flight", "input_sent"): "sent",
    ("in flight", "input_send_failed"): "failed",
    ("in flight", "outcome_unknown"): "in doubt",
    # It certainly did not arrive, so it stands at the head of the gate.
    ("failed", "backpressure_applied"): "gated",
}


@attrs.define
class Totals:
    """The counts of `Delivery`, from records."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0
    in_doubt: int = 0
    queued: int = 0
    replayed: int = 0

    @property
    def accepted(self) -> int:
        return self.sent + self.failed + self.dropped + self.in_doubt + self.queued


def _lives(steps: Sequence[Step]) -> tuple[dict[str, str], list[Violation]]:
    """Follow each frame that has records of its own; a frame in a span has none."""
    wrong = []
    lives: dict[str, str] = {}
    by_intent = {step.record_id: step for step in steps if step.kind in INTENTS}
    for step in steps:
        intent = by_intent.get(step.intent_ref or "")
        if step.extent is not None or (intent is not None and intent.extent is not None):
            continue
        frame_id = step.frame_id
        if step.kind == "outcome_unknown" and intent is not None:
            frame_id = intent.frame_id if intent.kind == "input_send_requested" else None
        if frame_id is None or step.kind not in {kind for _, kind in _LIVES}:
            continue
        after = _LIVES.get((lives.get(frame_id), step.kind))
        if after is None:
            wrong.append(Violation(4, f"{step} comes upon frame {frame_id}, which is {lives.get(frame_id)}"))
            continue
        if after == "failed" and step.retry == "unknown_outcome":
            after = "in doubt"
        lives[frame_id] = after
    return lives, wrong


def totals_of(steps: Sequence[Step]) -> Totals:
    """Add up what the records say of one session."""
    lives, _ = _lives(steps)
    count = Counter(lives.values())
    totals = Totals(
        sent=count["sent"],
        failed=count["failed"],
        dropped=count["dropped"],
        in_doubt=count["in doubt"],
        queued=count["gated"] + count["in flight"],
    )
    for intent in intents_of(steps):
        result = intent.result
        if intent.step.extent is None or result is None:
            continue
        frames = 0 if result.extent is None else result.extent.frames
        if result.kind == "outcome_unknown":
            # What came of a replay is known to nobody; of a span, what its numbers do not prove.
            if intent.step.kind == "input_send_requested":
                totals.in_doubt += frames
                totals.sent += result.send_cursor - frames - _numbered(steps, result)
        elif intent.step.kind == "input_replay_requested":
            totals.replayed += frames
        elif intent.step.kind == "input_send_requested":
            totals.sent += frames
            # The frame that ended the span is not among those that went.
            if result.kind == "input_send_failed" and result.retry == "unknown_outcome":
                totals.in_doubt += 1
            elif result.kind == "input_send_failed" and not _regated(result, steps):
                totals.failed += 1
    return totals


def _numbered(steps: Sequence[Step], result: Step) -> int:
    """The last number that was spoken for when *result* was still open."""
    sends = (intent.result for intent in intents_of(steps) if intent.step.kind == "input_send_requested")
    return max((step.send_cursor for step in sends if step is not None and step.seq < result.seq), default=0)


def _regated(failure: Step, steps: Sequence[Step]) -> bool:
    later = (step for step in steps if step.seq > failure.seq and step.frame_id == failure.frame_id)
    following = next(later, None)
    return failure.frame_id is not None and following is not None and following.kind == "backpressure_applied"


def check_fates(steps: Sequence[Step], calls: Sequence[Call]) -> Iterator[Violation]:
    """Every accepted frame has one end, and the end is true."""
    lives, wrong = _lives(steps)
    yield from wrong
    ended = any(step.kind in TERMINAL for step in steps)
    taken = {call.frame_id for call in calls if call.operation == "send" and call.outcome == "returned"}
    for frame_id, life in lives.items():
        if ended and life in {"gated", "in flight"}:
            yield Violation(4, f"frame {frame_id} is {life} when the session ends")
        if life in {"failed", "dropped"} and frame_id in taken:
            yield Violation(4, f"frame {frame_id} is {life}, yet the adapter took it")
    if ended:
        yield from _numbers(steps)
        yield from _numbers_taken(steps, calls)


def _numbers(steps: Sequence[Step]) -> Iterator[Violation]:
    """Sent and in-doubt frames take a number, failed ones none."""
    totals = totals_of(steps)
    if steps[-1].send_cursor != totals.sent + totals.in_doubt:
        yield Violation(
            4,
            f"the send cursor is {steps[-1].send_cursor}, "
            f"with {totals.sent} frames sent and {totals.in_doubt} in doubt",
        )


def _numbers_taken(steps: Sequence[Step], calls: Sequence[Call]) -> Iterator[Violation]:
    """The adapter took what was sent, and beside it nothing but what is in doubt."""
    totals = totals_of(steps)
    taken = {call.cursor for call in calls if call.operation == "send" and call.outcome == "returned"}
    if not totals.sent <= len(taken) <= totals.sent + totals.in_doubt:
        yield Violation(
            4,
            f"the adapter took {len(taken)} numbers, with {totals.sent} frames sent and {totals.in_doubt} in doubt",
        )


def check_live(steps: Sequence[Step], calls: Sequence[Call], live: Json) -> Iterator[Violation]:
    """What a controller shows at this moment is what its records say."""
    totals = totals_of(steps)
    open_spans = [intent for intent in intents_of(steps) if intent.result is None and intent.step.extent]
    if any(intent.step.kind == "input_send_requested" for intent in open_spans):
        totals.sent += len(_unrecorded(steps, calls))
    delivery = live["delivery"]
    for name in ("sent", "failed", "dropped", "in_doubt"):
        if delivery[name] != getattr(totals, name):
            yield Violation(4, f"{name} is {delivery[name]} live, {getattr(totals, name)} by the records")
    # A frame that waits for the intent of its span has no record yet.
    if not 0 <= delivery["queued"] - totals.queued <= (1 if open_spans else 0):
        yield Violation(4, f"queued is {delivery['queued']} live, {totals.queued} by the records")
    replaying = any(intent.step.kind == "input_replay_requested" for intent in open_spans)
    if delivery["replayed"] != totals.replayed and not replaying:
        yield Violation(4, f"replayed is {delivery['replayed']} live, {totals.replayed} by the records")
    yield from _state(steps, open_spans, live["state"])


def _unrecorded(steps: Sequence[Step], calls: Sequence[Call]) -> list[Call]:
    """The calls that took a frame of a span that is still open."""
    intents = intents_of(steps)
    own = {step.frame_id for step in steps if step.frame_id is not None}
    # What a process that died had sent is spoken for when its session is taken up.
    spoken_for = max((step.send_cursor for step in steps if step.kind == "outcome_unknown"), default=0)
    closed = [
        intent.result.extent
        for intent in intents
        if intent.step.kind == "input_send_requested"
        and intent.step.extent is not None
        and intent.result is not None
        and intent.result.extent is not None
    ]
    return [
        call
        for call in calls
        if call.operation == "send"
        and call.outcome == "returned"
        and call.frame_id not in own
        and (call.cursor or 0) > spoken_for
        and not any(extent.holds(call.cursor or 0) for extent in closed)
    ]


def _state(steps: Sequence[Step], open_spans: Sequence[Intent], state: Json) -> Iterator[Violation]:
    if not steps:
        return
    last = steps[-1]
    queue = state["backpressure_state"]
    shown = (state["connection_id"], state["restart_count"], queue["queued_frames"], queue["dropped_frames"])
    told = (last.connection, last.restart_count, last.queued, last.dropped)
    if shown != told:
        yield Violation(2, f"the live state shows {shown}, {last} {told}")
    cursors = (state["send_cursor"]["chunk_sequence"], state["receive_cursor"]["chunk_sequence"])
    recorded = (last.send_cursor, last.receive_cursor)
    behind = cursors[0] < recorded[0] or cursors[1] < recorded[1]
    if behind or (cursors != recorded and not open_spans):
        yield Violation(5, f"the live cursors are {cursors}, those of {last} {recorded}")
