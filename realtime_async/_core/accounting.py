"""What became of every frame: the running totals, and what one restart did."""

from __future__ import annotations

from enum import StrEnum

import attrs

from realtime_async._core.cursors import CursorRange, StreamCursor

__all__ = ["Delivery", "RealtimeRestartReason", "RestartReport"]


class RealtimeRestartReason(StrEnum):
    """Why a connection is replaced."""

    REQUESTED = "requested"
    CONNECTION_LOST = "connection_lost"
    GO_AWAY = "go_away"
    AGE = "age"
    STALLED = "stalled"


@attrs.frozen
class Delivery:
    """
    Where the frames given to `send` are.

    `accepted` is the sum of `sent`, `failed`, `dropped`, `in_doubt` and `queued`; nothing is lost in silence.
    """

    sent: int = 0
    """The transport took it.  What the provider is known to know is `confirmed_through`."""
    failed: int = 0
    """Certainly did not reach the provider, and will not."""
    dropped: int = 0
    in_doubt: int = 0
    """May have reached the provider."""
    queued: int = 0
    """Waiting in the gate now, or in flight."""
    refused: int = 0
    """Raised before they were accepted: a full gate, a deadline or a cancellation."""
    replayed: int = 0
    """Given to a new connection once more; each keeps its first place in the totals."""
    confirmed_through: StreamCursor = StreamCursor()
    """The last input frame that the provider has shown to know."""

    @property
    def accepted(self) -> int:
        return self.sent + self.failed + self.dropped + self.in_doubt + self.queued

    def __str__(self) -> str:
        """On one line, for people: every frame that was accepted, then what is no part of that sum."""
        return (
            f"{self.accepted} accepted: {self.sent} sent, {self.failed} failed, {self.dropped} dropped, "
            f"{self.in_doubt} in doubt, {self.queued} queued; {self.refused} refused, {self.replayed} replayed, "
            f"confirmed through {self.confirmed_through.chunk_sequence}"
        )


@attrs.frozen
class RestartReport:
    """What one restart did to the frames; ranges are of input cursors."""

    reason: RealtimeRestartReason
    outage_s: float
    """Seconds from the closing of the gate, or the loss of the connection if earlier, to the new connection."""
    attempts: int
    gated: tuple[CursorRange, ...] = ()
    """Waited in the gate and were sent on the new connection."""
    replayed: tuple[CursorRange, ...] = ()
    dropped: int = 0
    """Frames dropped while gated, from when the connection was lost; a dropped frame never had a cursor."""
    in_doubt: tuple[CursorRange, ...] = ()
    """May have reached the old connection, and were not given to the new one; or left the gate and may have reached that."""
    unconfirmed: tuple[CursorRange, ...] = ()
    """Sent on the old connection, never shown to be known there, and not given to the new one."""
    fenced: int = 0
    """Received frames of the answer that the old connection did not finish, kept from the loop of `session.frames`."""

    def __str__(self) -> str:
        """On one line, for people; what concerned no frame is left out."""
        facts = {
            "gated": _told(self.gated),
            "replayed": _told(self.replayed),
            "dropped": str(self.dropped or ""),
            "in doubt": _told(self.in_doubt),
            "unconfirmed": _told(self.unconfirmed),
            "fenced": str(self.fenced or ""),
        }
        told = "; ".join(f"{name} {what}" for name, what in facts.items() if what)
        attempts = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"{self.reason}: {self.outage_s:.3f} s away, {attempts}; {told or 'no frame concerned'}"


def _told(ranges: tuple[CursorRange, ...]) -> str:
    return ", ".join(f"{first}-{last}" if first != last else str(first) for first, last in ranges)
