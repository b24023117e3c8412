"""The running totals add up by construction."""

from __future__ import annotations

import json

import cattrs
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.accounting import Delivery, RealtimeRestartReason, RestartReport
from realtime_async._core.cursors import CursorRange, StreamCursor

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


def test_the_totals_are_told_on_one_line() -> None:
    delivery = Delivery(1, 2, 3, 4, 5, 6, 7, StreamCursor.chunk(8))

    assert str(delivery) == (
        "15 accepted: 1 sent, 2 failed, 3 dropped, 4 in doubt, 5 queued; "
        "6 refused, 7 replayed, confirmed through 8"
    )


def test_a_report_is_told_on_one_line() -> None:
    ranges = (CursorRange(1, 4), CursorRange(6, 6))
    whole = RestartReport(
        RealtimeRestartReason.GO_AWAY, 1.25, 2, ranges, ranges[1:], 3, ranges[:1], ranges[1:], 9
    )
    nothing = RestartReport(RealtimeRestartReason.AGE, outage_s=0.4, attempts=1)

    assert str(whole) == (
        "go_away: 1.250 s away, 2 attempts; gated 1-4, 6; replayed 6; dropped 3; in doubt 1-4; "
        "unconfirmed 6; fenced 9"
    )
    assert str(nothing) == "age: 0.400 s away, 1 attempt; no frame concerned"


RANGES = st.lists(st.builds(CursorRange, COUNT, COUNT)).map(tuple)
REPORTS = st.builds(
    RestartReport,
    st.sampled_from(RealtimeRestartReason),
    st.floats(0, 1e6),
    COUNT,
    gated=RANGES,
    replayed=RANGES,
    dropped=COUNT,
    in_doubt=RANGES,
    unconfirmed=RANGES,
    fenced=COUNT,
)


@given(REPORTS)
def test_a_report_is_plain_data_to_any_converter(report: RestartReport) -> None:
    """A program that keeps its reports needs no hooks of ours, as they are, and as JSON."""
    written = cattrs.unstructure(report)

    assert cattrs.structure(written, RestartReport) == report
    read = cattrs.structure(json.loads(json.dumps(written)), RestartReport)
    assert read == report
    assert all(type(each) is CursorRange for each in (*read.gated, *read.unconfirmed))


def test_the_reasons_for_a_restart_are_these() -> None:
    assert [*RealtimeRestartReason] == ["requested", "connection_lost", "go_away", "age", "stalled"]
