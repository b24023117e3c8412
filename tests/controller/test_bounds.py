"""What is remembered has a bound."""

from __future__ import annotations

from realtime_async._core.totals import DOUBTS, DeliveryTotals, Given
from realtime_async._shell.lane import REMEMBERED_RUNS, lane_of
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeSessionId, RunId


def test_of_the_frames_in_doubt_only_the_last_are_remembered_one_by_one() -> None:
    totals = DeliveryTotals()
    for number in range(1, DOUBTS + 11):
        totals.doubt(number)

    totals.left_behind(DOUBTS + 10, set(), Given())
    _, in_doubt = totals.tell(Given())

    assert [(each.first, each.last) for each in in_doubt] == [(11, DOUBTS + 10)]
    assert totals.in_doubt == DOUBTS + 10


def test_of_what_was_left_behind_and_nobody_asks_for_only_the_last_is_remembered() -> None:
    """Restarts in two halves have no report."""
    totals = DeliveryTotals()
    for last in range(1, DOUBTS + 11):
        totals.left_behind(last, set(), Given())

    unconfirmed, in_doubt = totals.tell(Given())

    assert [(each.first, each.last) for each in unconfirmed] == [(11, DOUBTS + 10)]
    assert in_doubt == ()


def test_of_the_runs_that_nobody_uses_only_the_last_are_remembered() -> None:
    journal = MemoryJournal()
    first = RunId("first")
    lane_of(journal, first).claim(RealtimeSessionId("session-1"))

    for number in range(REMEMBERED_RUNS):
        lane_of(journal, RunId(f"run-{number}"))

    # A run that is remembered refuses a second owner of its session.
    lane_of(journal, first).claim(RealtimeSessionId("session-1"))
