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

        Returns:
            The cursors that were sent, and those that were in doubt.
        """
        # What went with an earlier process is told by its records, not by the reports of this one.
        known = max(self.confirmed, self._recovered_through)
        doubts = {number for number in self._doubts if known < number <= last}
        in_doubt = ranges_of(doubts - replayed)
        gaps = sorted(doubts | {number for number in replayed if known < number <= last})
        unconfirmed: list[CursorRange] = []
        begin = known + 1
        for number in [*gaps, last + 1]:
            if begin < number:
                unconfirmed.append(CursorRange(begin, number - 1))
            begin = number + 1
        return tuple(unconfirmed), in_doubt
