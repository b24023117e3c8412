"""
The tail on a new connection: what it has forgotten is said again, under one intent.

A frame that is replayed keeps its first cursor and its first place in the totals.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any

import anyio
import anyio.lowlevel

from realtime_async._core.cursors import CursorLabel
from realtime_async._core.lifecycle import Phase
from realtime_async._core.records import RecordExtent
from realtime_async._core.sidecar import MediaSpan
from realtime_async._core.spans import OpenSpan
from realtime_async._core.stint import CALLS_AT_MOST
from realtime_async._core.tail import TailedFrame
from realtime_async._core.totals import Given
from realtime_async._shell.flights import Flight
from realtime_async._shell.lane import Appended
from realtime_async._shell.runtime import SessionRuntime, recorded
from realtime_async.errors import AgentError
from realtime_async.ports import RealtimeSessionRecordKind, StreamChannel, StreamCursor, StreamDirection

__all__ = ["Replay"]

_Kind = RealtimeSessionRecordKind
_FIELDS: dict[str, Any] = {
    "channel": StreamChannel.REALTIME_MEDIA,
    "direction": StreamDirection.INPUT_TO_PROVIDER,
}


class Replay:
    """What of the tail the present connection is still to be told."""

    def __init__(self, rt: SessionRuntime) -> None:
        self._rt = rt
        self.due: list[TailedFrame] = []
        """What is still to be said."""
        self.given = Given()
        """What was said since `plan`."""
        self._known_through: int | None = None
        self._planned: frozenset[int] = frozenset()

    def plan(self, kept_through: StreamCursor | None) -> None:
        """Note what lies after *kept_through*; None: the connection knows everything."""
        rt = self._rt
        last = rt.life.send_cursor.chunk_sequence
        before, self.given = self.given, Given()
        self.due = []
        self._known_through, self._planned = None, frozenset()
        if kept_through is None:
            rt.totals.confirm_all(last)
        else:
            number = min(kept_through.chunk_sequence, last)
            rt.totals.confirm(number)
            rt.tail.forgotten_after(number)
            self.due = rt.tail.after(number, rt.now())
            self._known_through, self._planned = number, frozenset(tailed.number for tailed in self.due)
        rt.totals.left_behind(last, self._planned, before)

    def covers(self, number: int) -> bool:
        """Whether the last connection knew of frame *number*, or the tail held it: then it holds it for the next."""
        return self._known_through is None or number <= self._known_through or number in self._planned

    def forget(self) -> None:
        """The connection is gone: the next one says anew what it knows."""
        self.due = []

    async def run(self, records: MutableSequence[Appended]) -> None:
        """Replay what is due; the caller holds the wire."""
        while self.due and self._rt.life.phase is Phase.OPEN:
            await self._batch(records)

    async def _batch(self, records: MutableSequence[Appended]) -> None:
        rt, due = self._rt, self.due
        gone = OpenSpan(MediaSpan(len(due)), CursorLabel.SEND)
        intent = rt.append(_Kind.INPUT_REPLAY_REQUESTED, **_FIELDS, extent=_planned(due))
        records.append(intent)

        def failed(error: AgentError, flight: Flight) -> Appended:
            result = rt.append(
                _Kind.INPUT_REPLAY_FAILED,
                intent,
                **_FIELDS,
                extent=gone.extent(),
                error=recorded(error, in_doubt=flight.started),
            )
            records.append(result)
            return result

        flight = Flight("replay", failed)
        try:
            with anyio.CancelScope(deadline=rt.now() + rt.deadlines.send) as flight.scope:
                await rt.perform(flight, intent, lambda: self._say(due, gone, flight))
        except AgentError as error:
            rt.check()
            rt.lost_if(error)
        if flight.error is None:
            records.append(rt.append(_Kind.INPUT_REPLAYED, intent, **_FIELDS, extent=gone.extent()))
        elif due:
            # Refused, or out of time: it stays in the tail, but this connection is not asked again.
            refused = due.pop(0)
            if rt.life.phase is Phase.OPEN:
                self.given.refused.add(refused.number)

    async def _say(self, due: list[TailedFrame], gone: OpenSpan, flight: Flight) -> None:
        rt = self._rt
        assert flight.scope is not None
        while due and rt.life.phase is Phase.OPEN:
            tailed = due[0]
            now = rt.now()
            flight.scope.deadline = now + rt.deadlines.send
            if self.given.first is None:
                self.given.first = tailed.number
            stamped = tailed.frame.stamped(StreamCursor.chunk(tailed.number))
            if rt.takes is None or not rt.takes(rt.life.session_id, stamped):
                await rt.adapter.send(rt.life.session_id, stamped)
            due.pop(0)
            gone.add(tailed.number, tailed.frame.payload, now)
            rt.totals.replayed += 1
            self.given.replayed.add(tailed.number)
            if gone.frames % CALLS_AT_MOST == 0:
                await anyio.lowlevel.checkpoint()


def _planned(due: list[TailedFrame]) -> RecordExtent:
    return RecordExtent(
        StreamCursor.chunk(due[0].number),
        StreamCursor.chunk(due[-1].number),
        len(due),
        sum(tailed.bytes for tailed in due),
    )
