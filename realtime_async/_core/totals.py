"""The running totals of one session, and which cursors of the connection are not known to have arrived."""

from __future__ import annotations

from collections import deque

from realtime_async._core.accounting import Delivery
from realtime_async._core.cursors import CursorRange, StreamCursor, ranges_of

__all__ = ["DeliveryTotals"]

# Cursors in doubt that are remembered one by one for the next report.
DOUBTS = 4096


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
        self._told_through = 0
        """The last frame of which a report has told whether it was left behind."""
        self._given_again: frozenset[int] = frozenset()
        """Of the frames up to there, those that were replayed after it."""
        self._told_ahead: frozenset[int] = frozenset()
        """Later ones of which it has told that they are in doubt."""

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

    def left_behind(
        self, last: int, replayed: set[int]
    ) -> tuple[tuple[CursorRange, ...], tuple[CursorRange, ...]]:
        """
        What of the frames up to *last* the next connection was not given, and nobody saw arrive.

        Later ones are in doubt on that connection itself.
        A frame is told of once; again only where a connection that was given it anew has ended, too.

        Returns:
            The cursors that were sent, and those that were in doubt.
        """
        # What went with an earlier process is told by its records, not by the reports of this one.
        known = max(self.confirmed, self._recovered_through)
        begin = max(known, self._told_through)
        again = {number for number in self._given_again if known < number <= begin} - replayed
        doubts = {number for number in self._doubts if number > begin or number in again}
        in_doubt = ranges_of(doubts - replayed - self._told_ahead)
        unconfirmed = [*ranges_of(again - doubts)]
        for number in [*sorted(doubts | replayed), last + 1]:
            if begin < number - 1 and begin < last:
                unconfirmed.append(CursorRange(begin + 1, min(number - 1, last)))
            begin = max(begin, number)
        self._told_through, self._given_again = last, frozenset(replayed)
        self._told_ahead = frozenset(number for number in doubts if number > last)
        return tuple(unconfirmed), in_doubt
