"""The oracle finds nothing wrong with what is right, and names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.oracle.evidence import Violation
from tests.oracle.invariants import check
from tests.oracle.tale import CERTAIN, IN_DOUBT, SESSION, Tale, extent
from tests.oracle.wrongs import WRONG


def a_whole_session() -> Tale:
    """Everything that a session does, done right."""
    tale = Tale()
    tale.connect()
    tale.send("a")
    tale.receive()
    tale.send("b", "refused", "input_send_failed", error=CERTAIN)
    tale.send("c", "cancelled", "input_send_failed", error=IN_DOUBT)
    tale.send("d", "lost_undelivered", "input_send_failed", error=CERTAIN)
    tale.gate("d")
    tale.gate("e")
    tale.record("restart_requested")
    tale.connect("restart", "second")
    replay = tale.record("input_replay_requested", extent=extent(1, 2))
    tale.end(tale.start("send", "a", 1))
    tale.end(tale.start("send", "c", 2))
    tale.record("input_replayed", of=replay, extent=extent(1, 2))
    tale.ungate()
    tale.send("d")
    tale.ungate()
    tale.send("e")
    span = tale.record("input_send_requested", extent=extent(5, 9))
    for number in (5, 6):
        tale.end(tale.start("send", f"s{number}", number))
    tale.standing["send_cursor"] = 6
    tale.record("input_sent", of=span, extent=extent(5, 6))
    asked = tale.record("interrupt_requested")
    tale.end(tale.start("interrupt"))
    tale.record("interrupted", of=asked)
    tale.close()
    return tale


def live(**changes: int) -> dict[str, Any]:
    """What the controller of `a_whole_session` shows at its end."""
    delivery = {"sent": 5, "failed": 1, "dropped": 0, "in_doubt": 1, "queued": 0, "replayed": 2}
    state = {
        "connection_id": "second",
        "restart_count": 1,
        "send_cursor": {"chunk_sequence": 6},
        "receive_cursor": {"chunk_sequence": 1},
        "backpressure_state": {"queued_frames": 0, "dropped_frames": 0},
    }
    return {
        SESSION: {
            "delivery": delivery | {name: changes[name] for name in delivery if name in changes},
            "state": state | {name: changes[name] for name in state if name in changes},
        }
    }


def test_nothing_is_wrong_with_a_session_that_kept_the_contract() -> None:
    tale = a_whole_session()

    assert check(tale.journal, tale.log, live=live(), accepted=list("abcde"), secrets=["mauve"]) == []


@pytest.mark.parametrize(
    "name, value, invariant",
    [
        ("sent", 4, 4),
        ("failed", 0, 4),
        ("in_doubt", 2, 4),
        ("queued", 1, 4),
        ("dropped", 1, 4),
        ("replayed", 3, 4),
        ("restart_count", 2, 2),
    ],
)
def test_a_live_count_that_the_records_do_not_bear_out_is_found(
    name: str, value: int, invariant: int
) -> None:
    tale = a_whole_session()

    found = check(tale.journal, tale.log, live=live(**{name: value}))

    assert {violation.invariant for violation in found} == {invariant}


def test_nothing_is_wrong_with_a_session_that_is_handed_over_and_goes_on() -> None:
    tale = connected()
    for connection in ("second", "third"):
        tale.receive()
        tale.hand_over()
        tale.record("session_recovered")
        tale.connect(connection_id=connection)
    tale.close()

    assert check(tale.journal, tale.log) == []


def connected() -> Tale:
    tale = Tale()
    tale.connect()
    return tale


@pytest.mark.parametrize("fault, invariant", WRONG, ids=[fault.__name__ for fault, _ in WRONG])
def test_what_breaks_an_invariant_is_found(fault: Callable[[Tale], None], invariant: int) -> None:
    tale = connected()

    fault(tale)
    found = check(tale.journal, tale.log, secrets=["mauve"])

    assert invariant in {violation.invariant for violation in found}


def test_the_order_in_which_frames_were_given_to_send_can_be_told() -> None:
    """Frames of a span have no records of their own."""
    tale = connected()
    span = tale.record("input_send_requested", extent=extent(1, 5))
    tale.end(tale.start("send", "b", 1))
    tale.end(tale.start("send", "a", 2))
    tale.standing["send_cursor"] = 2
    tale.record("input_sent", of=span, extent=extent(1, 2))

    assert check(tale.journal, tale.log) == []
    assert [each.invariant for each in check(tale.journal, tale.log, accepted=["a", "b"])] == [5]


def test_a_gate_may_hold_one_more_only_behind_a_frame_that_came_back() -> None:
    tale = connected()
    tale.record("restart_requested")
    tale.gate("a")
    tale.gate("b")
    tale.connect("restart", "second")
    tale.ungate()
    intent = tale.record("input_send_requested", frame_id="a")
    call = tale.start("send", "a", 1)
    tale.gate("c")
    tale.end(call, "lost_undelivered")
    tale.record("input_send_failed", of=intent, frame_id="a", error=CERTAIN)
    tale.gate("a")

    assert check(tale.journal, tale.log) == []
    tale.gate("d")
    assert [each.invariant for each in check(tale.journal, tale.log)] == [11]


def test_a_frame_that_came_back_out_of_a_span_is_such_a_one_too() -> None:
    tale = connected()
    span = tale.record("input_send_requested", extent=extent(1, 5))
    call = tale.start("send", "a", 1)
    tale.gate("b")
    tale.gate("c")
    tale.end(call, "lost_undelivered")
    tale.record("input_send_failed", of=span, frame_id="a", extent=extent(None, None), error=CERTAIN)
    tale.gate("a")

    assert check(tale.journal, tale.log) == []
    tale.gate("d")
    assert [each.invariant for each in check(tale.journal, tale.log)] == [11]


def test_an_unused_reservation_is_closed_with_no_frames() -> None:
    tale = connected()
    ahead = tale.record("input_send_requested", extent=extent(1, 5))
    tale.record("close_requested")
    tale.end(tale.start("close"))
    tale.record("input_sent", of=ahead, extent=extent(None, None))
    tale.record("closed", of="record-4")

    assert check(tale.journal, tale.log) == []


def test_a_crash_closes_what_was_open_with_an_unknown_outcome() -> None:
    tale = connected()
    intent = tale.record("input_send_requested", frame_id="a")
    tale.end(tale.start("send", "a", 1), "cancelled")
    tale.standing["send_cursor"] = 1
    tale.record("outcome_unknown", of=intent)
    tale.record("session_recovered")
    tale.connect(connection_id="second")
    tale.close()

    assert check(tale.journal, tale.log) == []


def test_sessions_of_one_run_are_looked_at_each_by_itself() -> None:
    tale = connected()
    tale.record("close_requested", session="another")
    tale.record("closed", session="another", of="record-3")
    tale.close()

    assert check(tale.journal, tale.log) == []


def test_a_violation_says_what_and_which() -> None:
    tale = connected()
    tale.close()
    tale.record("output_fenced")

    assert check(tale.journal, tale.log) == [
        Violation(7, "record 5 (output_fenced) follows record 4 (closed)")
    ]
