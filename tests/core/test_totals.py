"""What a restart left behind, against a plain set of numbers."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.cursors import CursorRange, StreamCursor, ranges_of
from realtime_async._core.totals import DeliveryTotals, Given

NUMBERS = st.sets(st.integers(1, 40))


def numbers(ranges: Iterable[CursorRange]) -> list[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]


def told(
    totals: DeliveryTotals, last: int, replayed: set[int]
) -> tuple[tuple[CursorRange, ...], tuple[CursorRange, ...]]:
    """What a restart tells whose connection took all that it was to be given."""
    totals.left_behind(last, replayed, Given())
    return totals.tell(Given(min(replayed, default=None), replayed))


@given(st.integers(0, 40), st.integers(0, 40), NUMBERS, NUMBERS)
def test_what_nobody_saw_arrive_is_unconfirmed_or_in_doubt(
    last: int, confirmed: int, doubted: set[int], replayed: set[int]
) -> None:
    replayed = {number for number in replayed if number <= last}
    totals = DeliveryTotals()
    totals.confirm(confirmed)
    for number in sorted(doubted):
        totals.doubt(number)

    unconfirmed, in_doubt = told(totals, last, replayed)

    unseen = set(range(confirmed + 1, last + 1)) - replayed
    # Later ones went to the next connection, from the gate.
    ahead = {number for number in doubted if number > max(last, confirmed)}
    assert in_doubt == ranges_of(unseen & doubted | ahead)
    assert unconfirmed == ranges_of(unseen - doubted)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3), NUMBERS, NUMBERS), min_size=2, max_size=4))
def test_each_report_tells_of_what_a_connection_took_with_it_since_the_last(
    rounds: list[tuple[int, int, set[int], set[int]]],
) -> None:
    totals = DeliveryTotals()
    given_to_it: set[int] = set()
    ahead: set[int] = set()
    sent = 0
    given = Given()
    doubted_ever: set[int] = set()
    for sends, drains, doubted, replayed in rounds:
        last = sent + sends
        given_to_it |= set(range(sent + 1, last + 1))
        begin, sent = sent, last + drains
        for number in sorted(number for number in doubted if begin < number <= last):
            totals.doubt(number)
        doubted_ever |= {number for number in doubted if begin < number <= sent}
        replayed = {number for number in replayed if number <= last}

        totals.left_behind(last, replayed, given)
        for number in sorted(number for number in doubted if last < number <= sent):
            totals.doubt(number)
        given = Given(min(replayed, default=None), replayed)
        unconfirmed, in_doubt = totals.tell(given)

        lost = given_to_it - replayed
        drained = set(range(last + 1, sent + 1))
        assert numbers(unconfirmed) == sorted(lost - doubted_ever)
        assert numbers(in_doubt) == sorted((lost & doubted_ever) - ahead | drained & doubted_ever)
        ahead = drained & doubted_ever
        given_to_it = replayed | drained


def test_what_an_earlier_connection_was_not_given_is_told_but_for_what_the_next_one_was() -> None:
    totals = DeliveryTotals()
    totals.left_behind(5, set(), Given())
    totals.left_behind(5, {3}, Given())

    unconfirmed, in_doubt = totals.tell(Given(3, {3}))

    assert unconfirmed == (CursorRange(1, 2), CursorRange(4, 5))
    assert in_doubt == ()


def test_confirmation_only_grows() -> None:
    totals = DeliveryTotals()
    for number in (3, 7, 5):
        totals.confirm(number)

    assert totals.snapshot(0).confirmed_through == StreamCursor.chunk(7)


def test_a_snapshot_is_of_the_moment() -> None:
    totals = DeliveryTotals()
    totals.sent, totals.failed, totals.dropped, totals.refused, totals.replayed = 5, 4, 3, 2, 1
    totals.doubt(6)
    before = totals.snapshot(7)
    totals.sent += 1

    assert (before.sent, before.failed, before.dropped, before.in_doubt, before.queued) == (5, 4, 3, 1, 7)
    assert before.accepted == 20
    assert (before.refused, before.replayed) == (2, 1)


def test_a_range_has_as_many_frames_as_numbers() -> None:
    assert CursorRange(3, 5).frames == 3
    assert CursorRange(3, 5) == (3, 5)
