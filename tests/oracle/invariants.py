"""
The oracle: does what was recorded, and what the adapter saw, keep the contract's invariants?

It speaks of invariants 1 to 7, 9 and 11; 8 is kept where these are kept after a cancellation,
and 10 shows in an adapter that was not called.
A run may have had several owners, one after the other; their calls are in one log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from json import dumps
from math import inf

from tests.oracle.evidence import (
    INTENTS,
    LAST_HERE,
    RESULTS,
    TERMINAL,
    Call,
    Intent,
    Json,
    Step,
    Violation,
    calls_of,
    intents_of,
    steps_of,
)
from tests.oracle.fates import check_fates, check_live

__all__ = ["check"]


def check(
    journal: Sequence[Json],
    calls: Iterable[Json],
    *,
    live: Mapping[str, Json] | None = None,
    accepted: Sequence[str] = (),
    secrets: Iterable[str] = (),
    sessions: Collection[str] | None = None,
) -> list[Violation]:
    """
    List what is wrong with one run; nothing is, where the list is empty.

    Args:
        live: By session id, the `delivery` and the `state` that its controller shows at this moment.
        accepted: Frame ids in the order in which they were given to `send`, where that is known.
        secrets: Texts that were spoken, and must not be found in any record.
        sessions: Those of the run whose calls are in the log; None: all.
    """
    steps = steps_of(journal)
    made = calls_of(calls)
    found = [*_sequence(steps), *_leaks(journal, secrets)]
    for session in sorted({step.session for step in steps} | {call.session for call in made}):
        if sessions is not None and session not in sessions:
            continue
        own = [step for step in steps if step.session == session]
        own_calls = [call for call in made if call.session == session]
        intents = intents_of(own)
        found += _results(own)
        discarded = sum(step.extent.frames for step in own if step.kind == "output_discarded" and step.extent)
        has_ended = any(step.kind in LAST_HERE for step in own)
        found += _calls(intents, own_calls, discarded, has_ended=has_ended)
        found += _truth(intents, own_calls)
        found += _gating(own, own_calls)
        found += _connections(own, own_calls)
        found += _order(own, intents, own_calls, accepted)
        found += _ending(own, own_calls)
        found += _cursors(own)
        found += _queue(own)
        found += check_fates(own, own_calls)
        if live is not None and session in live:
            found += check_live(own, own_calls, live[session])
    return found


def _sequence(steps: Sequence[Step]) -> Iterator[Violation]:
    for expected, step in enumerate(steps, 1):
        if step.seq != expected:
            yield Violation(3, f"{step} stands where {expected} belongs")
    for record_id, times in Counter(step.record_id for step in steps).items():
        if times > 1:
            yield Violation(3, f"{times} records are called {record_id}")
    if len({step.run_id for step in steps}) > 1:
        yield Violation(3, "records of several runs are in one journal")


def _leaks(journal: Sequence[Json], secrets: Iterable[str]) -> Iterator[Violation]:
    text = dumps(journal, ensure_ascii=False)
    for secret in secrets:
        if secret in text:
            yield Violation(9, f"{secret!r} is in a record")


def _results(steps: Sequence[Step]) -> Iterator[Violation]:
    """One result per intent, of its kind, after it."""
    open_intents: dict[str, Step] = {}
    resolved: set[str] = set()
    for step in steps:
        if step.kind in INTENTS:
            if step.intent_ref != step.record_id or step.result_ref is not None:
                yield Violation(2, f"{step} does not name itself, and itself only")
            open_intents[step.record_id] = step
            yield from _not_twice(step, open_intents.values())
        elif step.kind in RESULTS:
            if step.result_ref != step.record_id:
                yield Violation(2, f"{step} does not name itself as the result")
            intent = open_intents.pop(step.intent_ref or "", None)
            if intent is None:
                why = "second result of" if step.intent_ref in resolved else "result without"
                yield Violation(2, f"{step} is a {why} an intent")
            elif step.kind != "outcome_unknown" and step.kind not in INTENTS[intent.kind]:
                yield Violation(2, f"{step} is no result of {intent}")
            resolved.add(step.intent_ref or "")
        if step.kind in LAST_HERE or step.kind == "session_recovered":
            for intent in open_intents.values():
                yield Violation(2, f"{intent} has no result at {step}")


# How many of a kind may be without a result at a time; of spans, one that is filled and one ahead.
_AT_MOST = {
    "connect_requested": 1,
    "restart_started": 1,
    "input_replay_requested": 1,
    "close_requested": 1,
    "hand_over_requested": 1,
}


def _not_twice(intent: Step, open_intents: Iterable[Step]) -> Iterator[Violation]:
    same = sum(other.kind == intent.kind for other in open_intents)
    limit = _AT_MOST.get(intent.kind, same)
    if intent.kind == "output_receive_requested":
        limit = 1 if intent.extent is None else 2
    if same > limit:
        yield Violation(2, f"{intent} makes {same} of its kind without a result")


_INTENT_OF_CALL = {
    "connect": ("connect_requested",),
    "send": ("input_send_requested", "input_replay_requested"),
    "receive": ("output_receive_requested",),
    "interrupt": ("interrupt_requested",),
    "restart": ("restart_started",),
    "close": ("close_requested", "hand_over_requested"),
}


def _covers(intent: Intent, call: Call) -> bool:
    if intent.step.kind not in _INTENT_OF_CALL[call.operation]:
        return False
    if not intent.open_at(begun=call.begun, durable=call.durable):
        return False
    if call.operation != "send" or intent.step.extent is not None:
        return True
    return intent.step.frame_id == call.frame_id


def _calls(
    intents: Sequence[Intent], calls: Sequence[Call], discarded: int, *, has_ended: bool
) -> Iterator[Violation]:
    """No effect without an intent that is durable and open; and one effect per intent."""
    effects: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        covering = [intent for intent in intents if _covers(intent, call)]
        if not covering:
            yield Violation(1, f"{call} started without a durable, open intent")
        if len(covering) == 1 and call.outcome != "no_room":
            effects[covering[0].step.record_id].append(call)
    for intent in intents:
        made = effects[intent.step.record_id]
        # A receive goes on after a cancellation and after a restart, and a span bears many frames.
        if intent.step.kind != "output_receive_requested" and intent.step.extent is None and len(made) > 1:
            yield Violation(1, f"{intent.step} covers {len(made)} calls")
        # What was kept back from the listener is told with the next frame that was not, or at the close.
        is_told = has_ended or (intent.result is not None and intent.result.kind == "output_received")
        if intent.step.kind == "output_receive_requested" and intent.step.extent is None and is_told:
            taken = sum(call.outcome == "returned" for call in made)
            if taken > 1 + discarded:
                yield Violation(1, f"{intent.step} covers {taken} frames")


_SUCCESS_OF = {
    "connected": "connect",
    "restart_completed": "restart",
    "interrupted": "interrupt",
    "input_sent": "send",
    "input_replayed": "send",
}


def _truth(intents: Sequence[Intent], calls: Sequence[Call]) -> Iterator[Violation]:
    """A success is recorded only of a call that returned; an extent states what went."""
    for intent in intents:
        result = intent.result
        operation = None if result is None else _SUCCESS_OF.get(result.kind)
        if result is None or operation is None:
            continue
        within = [
            call
            for call in calls
            if call.operation == operation
            and call.outcome == "returned"
            and call.begun < result.seq
            and call.durable >= intent.step.seq
        ]
        if intent.step.extent is None:
            mine = [call for call in within if call.frame_id == intent.step.frame_id]
            if not mine:
                yield Violation(2, f"{result} tells of a {operation} that never returned")
            continue
        yield from _extent(intent.step, result, within)


def _extent(intent: Step, result: Step, within: Sequence[Call]) -> Iterator[Violation]:
    extent = result.extent
    if extent is None or intent.extent is None:
        yield Violation(2, f"{result} does not say how many frames of {intent} went")
        return
    went = [call for call in within if call.cursor is not None and extent.holds(call.cursor)]
    if len(went) != extent.frames:
        yield Violation(4, f"{result} speaks of {extent.frames} frames, of which {len(went)} went")
    if extent.frames > intent.extent.frames:
        yield Violation(1, f"{result} speaks of more frames than {intent} reserved")


def _gating(steps: Sequence[Step], calls: Sequence[Call]) -> Iterator[Violation]:
    """Between restart_requested and restart_completed no frame is on its way."""
    closed_at: int | None = None
    for step in steps:
        if step.kind == "restart_requested" and closed_at is None:
            closed_at = step.seq
        elif step.kind in {"restart_completed", "session_recovered"} and closed_at is not None:
            yield from _sends_between(closed_at, step.seq, calls)
            closed_at = None
    if closed_at is not None:
        yield from _sends_between(closed_at, steps[-1].seq + 1, calls)


def _sends_between(first: int, last: int, calls: Sequence[Call]) -> Iterator[Violation]:
    for call in calls:
        over = call.ended_begun is not None and call.ended_begun < first
        if call.operation == "send" and call.begun < last and not over:
            yield Violation(
                6, f"{call} was under way between restart_requested ({first}) and its end ({last})"
            )


def _connections(steps: Sequence[Step], calls: Sequence[Call]) -> Iterator[Violation]:
    """No frame meets a connection that is gone, and records bear the connection that there is."""
    edges = sorted(
        [(call.order, "start", call) for call in calls]
        + [(call.ended_order, "end", call) for call in calls if call.ended_order is not None],
        key=lambda edge: edge[0] or 0,
    )
    alive = False
    made: list[str | None] = []
    for _, edge, call in edges:
        if edge == "start" and call.operation == "send" and not alive:
            yield Violation(6, f"{call} met a connection that was gone")
        if edge == "end" and call.operation in {"connect", "restart"} and call.outcome == "returned":
            alive = True
            made.append(call.connection)
        elif edge == "end" and call.outcome in {"lost", "lost_undelivered", "none"}:
            alive = False
    recorded = [step.connection for step in steps if step.kind in {"connected", "restart_completed"}]
    # A connect that was cancelled when the adapter had answered is a failure.
    rest = iter(made)
    if not all(connection in rest for connection in recorded):
        yield Violation(2, f"the records speak of connections {recorded}, the adapter made {made}")


def _order(
    steps: Sequence[Step], intents: Sequence[Intent], calls: Sequence[Call], accepted: Sequence[str]
) -> Iterator[Violation]:
    replays = [intent for intent in intents if intent.step.kind == "input_replay_requested"]
    place: dict[str, int] = {}
    first_records = (
        step.frame_id
        for step in steps
        if step.kind in {"input_send_requested", "backpressure_applied"} and step.frame_id is not None
    )
    for frame_id in accepted or first_records:
        place.setdefault(frame_id, len(place))
    sends = [call for call in calls if call.operation == "send" and call.outcome != "no_room"]
    fresh = [call for call in sends if not any(_covers(intent, call) for intent in replays)]
    for before, after in pairwise(fresh):
        certainly_not = before.outcome in {"refused", "lost_undelivered", "failed"}
        step_up = 0 if certainly_not else 1
        if (after.cursor or 0) < (before.cursor or 0) + step_up:
            yield Violation(5, f"{after} follows {before}")
    known = [call for call in fresh if call.frame_id in place]
    for before, after in pairwise(known):
        back_in_line = before.outcome == "lost_undelivered" and after.frame_id == before.frame_id
        if place[after.frame_id or ""] <= place[before.frame_id or ""] and not back_in_line:
            yield Violation(5, f"{after} was accepted before {before}, or reached the provider twice")
    for intent in replays:
        again = [call for call in sends if _covers(intent, call)]
        for before, after in pairwise(again):
            if (after.cursor or 0) <= (before.cursor or 0):
                yield Violation(5, f"{after} is replayed after {before}")
        for call in again:
            if not any(call.cursor == sent.cursor and sent.order < call.order for sent in fresh):
                yield Violation(5, f"{call} is replayed and was never sent")


def _ending(steps: Sequence[Step], calls: Sequence[Call]) -> Iterator[Violation]:
    """After its last record an owner calls nobody; only another may go on, and not after a terminal one."""
    for end in (step for step in steps if step.kind in LAST_HERE):
        after = [step for step in steps if step.seq > end.seq]
        is_terminal = end.kind in TERMINAL
        if after and (is_terminal or after[0].kind != "session_recovered"):
            yield Violation(7, f"{after[0]} follows {end}")
        again = inf if is_terminal or not after else after[0].seq
        for call in calls:
            if end.seq <= call.begun < again:
                yield Violation(7, f"{call} started after {end}")
            if call.begun < end.seq and (call.ended_begun is None or call.ended_begun >= end.seq):
                yield Violation(7, f"{call} was under way at {end}")


def _cursors(steps: Sequence[Step]) -> Iterator[Violation]:
    for before, after in pairwise(steps):
        if after.send_cursor < before.send_cursor or after.receive_cursor < before.receive_cursor:
            yield Violation(5, f"a cursor goes back from {before} to {after}")
        grown = 1 if after.kind == "restart_completed" else 0
        if after.restart_count != before.restart_count + grown:
            yield Violation(2, f"{after} counts {after.restart_count} restarts after {before.restart_count}")


def _queue(steps: Sequence[Step]) -> Iterator[Violation]:
    """The gate holds what the records say that it holds, and never more than it may."""
    gate: set[str] = set()
    draining: set[str] = set()
    returned: set[str] = set()
    dropped = gated = 0
    failed: set[str] = set()
    for step in steps:
        frame = step.frame_id or ""
        if step.kind == "backpressure_applied":
            gated += 1
            gate.add(frame)
            returned |= {frame} & failed
        elif step.kind == "input_dropped":
            dropped += 1
            gate.discard(frame)
        elif step.kind == "input_send_requested":
            draining = {frame} & gate
            gate.discard(frame)
        elif step.kind in {"input_sent", "input_send_failed", "outcome_unknown"}:
            draining.discard(frame)
            if step.kind == "input_send_failed":
                # The intent of a span names none of its frames; a failure does.
                failed.add(frame)
        elif step.kind == "session_recovered" and gate:
            yield Violation(4, f"{step} leaves {len(gate)} frames in the gate of a process that died")
        allowed = step.capacity + (1 if returned & (gate | draining) else 0)
        if step.queued > allowed:
            yield Violation(11, f"{step} has {step.queued} frames in a gate of {step.capacity}")
        if not len(gate) <= step.queued <= len(gate) + len(draining):
            yield Violation(4, f"{step} has {step.queued} frames in the gate, the records {len(gate)}")
        if (step.dropped, step.gated) != (dropped, gated):
            yield Violation(
                4, f"{step} counts {step.dropped} dropped, {step.gated} gated; the records {dropped}, {gated}"
            )
