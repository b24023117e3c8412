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
        doubts = {number for number in self._doubts if self.confirmed < number <= last}
        in_doubt = ranges_of(doubts - replayed)
        gaps = sorted(doubts | {number for number in replayed if self.confirmed < number <= last})
        unconfirmed: list[CursorRange] = []
        begin = self.confirmed + 1
        for number in [*gaps, last + 1]:
            if begin < number:
                unconfirmed.append(CursorRange(begin, number - 1))
            begin = number + 1
        return tuple(unconfirmed), in_doubt
