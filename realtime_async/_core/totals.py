"""The running totals of one session, and which cursors of the connection are not known to have arrived."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain

import attrs

from realtime_async._core.accounting import Delivery
from realtime_async._core.cursors import CursorRange, StreamCursor, ranges_of

__all__ = ["DeliveryTotals", "Given"]

# Cursors in doubt that are remembered one by one for the next report.
DOUBTS = 4096


@attrs.define
class Given:
    """What a connection was given again."""

    first: int | None = None
    """The first frame that was tried."""
    replayed: set[int] = attrs.field(factory=set)
    refused: set[int] = attrs.field(factory=set)
    """Tried in vain, and the connection lived on."""


class DeliveryTotals:
    """Counts frames as `Delivery` does."""

    def __init__(self) -> None:
        self.sent = 0
        self.failed = 0
        self.dropped = 0
        self.in_doubt = 0
        self.refused = 0
        self.replayed = 0
        self.confirmed = 0
        self._doubts: deque[int] = deque(maxlen=DOUBTS)
        self._recovered_through = 0
        self._known = 0
        """Up to where the provider had shown to know the input when the present connection came."""
        self._told_through = 0
        """The last frame of which it is settled whether it was left behind, by that connection or one before."""
        self._given_again: frozenset[int] = frozenset()
        """Of the frames up to there, those that it was to be given, or the last report says were given to it."""
        self._told: frozenset[int] = frozenset()
        """Of those, and of later ones that are in doubt, what a report has told of, and no connection was given since."""
        self._left_unconfirmed: deque[CursorRange] = deque(maxlen=DOUBTS)
        """What is left behind, and still to be told: that was sent."""
        self._left_in_doubt: deque[CursorRange] = deque(maxlen=DOUBTS)

    def recover(self, delivery: Delivery, last: int) -> None:
        """Go on with what an earlier process counted, whose last frame was number *last*."""
        self.sent = delivery.sent
        self.failed = delivery.failed
        self.dropped = delivery.dropped
        self.in_doubt = delivery.in_doubt
        self.replayed = delivery.replayed
        self._recovered_through = last

    def doubt(self, number: int) -> None:
        """Frame *number* may have reached the provider."""
        self.in_doubt += 1
        self._doubts.append(number)

    def confirm(self, number: int) -> None:
        """The provider has shown to know everything up to frame *number*."""
        self.confirmed = max(self.confirmed, number)

    def confirm_all(self, last: int) -> None:
        """A connection knows all frames up to *last*, whatever those between were given."""
        self.confirm(last)
        self._arrived_through(last)
        self._given_again = frozenset()

    def snapshot(self, queued: int) -> Delivery:
        return Delivery(
            sent=self.sent,
            failed=self.failed,
            dropped=self.dropped,
            in_doubt=self.in_doubt,
            queued=queued,
            refused=self.refused,
            replayed=self.replayed,
            confirmed_through=StreamCursor.chunk(self.confirmed),
        )

    def left_behind(self, last: int, planned: AbstractSet[int], before: Given) -> None:
        """
        Note what of the frames up to *last* the connection that has come now is not given, and nobody has seen arrive.

        It is noted now, as what that connection shows to know later is what it was given.
        A frame is told of once; again only where a connection that was given it anew has ended, too.

        Args:
            planned: What it is to be given.
            before: What the one before was given.
        """
        self._heed_evidence(before)
        # What went with an earlier process is told by its records, not by the reports of this one.
        known = max(self.confirmed, self._recovered_through)
        begin = max(known, self._told_through)
        again = {number for number in self._given_again if known < number <= begin} - planned
        # What the next knows of later ones, it knows from a connection that had refused these.
        again |= {number for number in self._given_again & before.refused if self._known < number} - planned
        told = self._told - before.replayed
        again -= told
        self._known = known
        doubts = {number for number in self._doubts if number > begin or number in again}
        self._left_in_doubt += ranges_of(doubts - planned - told)
        self._left_unconfirmed += ranges_of(again - doubts)
        for number in [*sorted(number for number in doubts | planned if number > begin), last + 1]:
            if begin < number - 1 and begin < last:
                self._left_unconfirmed.append(CursorRange(begin + 1, min(number - 1, last)))
            begin = max(begin, number)
        self._told_through, self._given_again = last, frozenset(planned)
        self._told = told & planned

    def _heed_evidence(self, given: Given) -> None:
        """Leave out what an earlier connection had shown to know: the present one shows no more than what it was given."""
        first = self._told_through + 1 if given.first is None else given.first
        if self._known < self.confirmed < first:
            self._arrived_through(self.confirmed)

    def _arrived_through(self, number: int) -> None:
        for left in (self._left_unconfirmed, self._left_in_doubt):
            cut = [each._replace(first=max(each.first, number + 1)) for each in left]
            left.clear()
            left += [each for each in cut if each.first <= each.last]

    def tell(self, given: Given) -> tuple[tuple[CursorRange, ...], tuple[CursorRange, ...]]:
        """
        Tell what was left behind since this was last told.

        Args:
            given: What the present connection was given of all that it was to be given.

        Returns:
            The cursors that were sent, and those that were in doubt.
        """
        self._heed_evidence(given)
        missed = {number for number in self._given_again if number > self._known} - given.replayed
        doubts = missed & {*self._doubts}
        # Later ones are in doubt on the present connection itself.
        ahead = {number for number in self._doubts if number > max(self.confirmed, self._told_through)}
        # What an earlier connection was not given may be among what this one was.
        unconfirmed = _joined(
            _without(given.replayed, self._left_unconfirmed), ranges_of(missed - doubts - self._told)
        )
        in_doubt = _joined(
            _without(given.replayed, self._left_in_doubt), ranges_of(doubts - self._told | ahead)
        )
        self._left_unconfirmed.clear()
        self._left_in_doubt.clear()
        self._given_again, self._told = frozenset(given.replayed), frozenset(missed | ahead)
        return unconfirmed, in_doubt


def _joined(*parts: Iterable[CursorRange]) -> tuple[CursorRange, ...]:
    """All of them in rising order, those that touch as one."""
    joined: list[CursorRange] = []
    for each in sorted(chain(*parts)):
        if joined and each.first <= joined[-1].last + 1:
            joined[-1] = CursorRange(joined[-1].first, max(joined[-1].last, each.last))
        else:
            joined.append(each)
    return tuple(joined)


def _without(numbers: AbstractSet[int], ranges: Iterable[CursorRange]) -> Iterator[CursorRange]:
    for begin, last in ranges:
        for number in sorted(number for number in numbers if begin <= number <= last):
            if begin < number:
                yield CursorRange(begin, number - 1)
            begin = number + 1
        if begin <= last:
            yield CursorRange(begin, last)
