"""
The gate: where outbound frames wait while there is no connection.

A bounded anyio memory channel, used in its nowait forms alone: whoever must wait for room waits
outside it, in order, and is not accepted until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import anyio
import attrs

from realtime_async.ports import RealtimeInputFrame

if TYPE_CHECKING:
    # The event loop's side of anyio has it: whoever only imports us need not wait for it.
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

__all__ = ["GateChannel", "Gated"]


@attrs.frozen(eq=False)
class Gated:
    frame: RealtimeInputFrame
    since: float
    """When it was accepted."""


class GateChannel:
    """Frames in the order in which they were accepted; open only while it holds some."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.is_empty = True
        self._ends: tuple[MemoryObjectSendStream[Gated], MemoryObjectReceiveStream[Gated]] | None = None

    def __len__(self) -> int:
        return 0 if self._ends is None else self._ends[0].statistics().current_buffer_used

    @property
    def is_full(self) -> bool:
        return len(self) >= self._capacity

    def put(self, gated: Gated) -> None:
        """Take *gated* in last; the caller has seen that there is room."""
        if self._ends is None:
            # One more than the capacity: a frame that did not reach its connection comes back to the head.
            self._ends = anyio.create_memory_object_stream[Gated](self._capacity + 1)
            self.is_empty = False
        self._ends[0].send_nowait(gated)

    def put_first(self, gated: Gated) -> None:
        """Take *gated* in before all others, though it be one more than the capacity."""
        self._refill([gated, *self.take_all()])

    def take(self) -> Gated:
        """Give out the first; there must be one."""
        assert self._ends is not None
        gated = self._ends[1].receive_nowait()
        if not len(self):
            self._shut()
        return gated

    def take_all(self) -> list[Gated]:
        everything = []
        while len(self):
            everything.append(self.take())
        return everything

    def frames(self) -> list[RealtimeInputFrame]:
        """What waits, in order."""
        everything = self.take_all()
        self._refill(everything)
        return [gated.frame for gated in everything]

    def evict(self, may_go: Callable[[RealtimeInputFrame], bool]) -> Gated | None:
        """Give out the oldest that *may_go*; None: there is none."""
        if not len(self):
            return None
        everything = [self.take()]
        if may_go(everything[0].frame):
            # As a rule; the rest stays where it is, however much that is.
            return everything[0]
        everything += self.take_all()
        evicted = next((gated for gated in everything if may_go(gated.frame)), None)
        self._refill(gated for gated in everything if gated is not evicted)
        return evicted

    def _refill(self, everything: Iterable[Gated]) -> None:
        for gated in everything:
            self.put(gated)

    def _shut(self) -> None:
        if self._ends is not None:
            self._ends[0].close()
            self._ends[1].close()
            self._ends = None
            self.is_empty = True
