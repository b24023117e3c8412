"""The running totals add up by construction."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.accounting import Delivery, RealtimeRestartReason, RestartReport

COUNT = st.integers(0, 10**6)


@given(sent=COUNT, failed=COUNT, dropped=COUNT, in_doubt=COUNT, queued=COUNT)
def test_what_was_accepted_is_somewhere(
    sent: int, failed: int, dropped: int, in_doubt: int, queued: int
) -> None:
    delivery = Delivery(sent, failed, dropped, in_doubt, queued)

    assert delivery.accepted == sent + failed + dropped + in_doubt + queued


@given(refused=COUNT, replayed=COUNT)
def test_refused_and_replayed_frames_are_counted_beside(refused: int, replayed: int) -> None:
    assert Delivery(sent=3, refused=refused, replayed=replayed).accepted == 3


def test_a_report_of_a_restart_that_moved_nothing_is_short() -> None:
    report = RestartReport(RealtimeRestartReason.AGE, outage_s=0.4, attempts=1)

    assert (report.gated, report.replayed, report.in_doubt, report.unconfirmed) == ((), (), (), ())
    assert report.dropped == 0


def test_the_reasons_for_a_restart_are_these() -> None:
    assert [*RealtimeRestartReason] == ["requested", "connection_lost", "go_away", "age", "stalled"]
