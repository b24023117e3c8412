"""
What the provider has said and the loop has not taken yet.

A deque and a wake-up: taking awaits nothing once there is something, so no cancellation loses a frame.
When it is full the pump stops, and with it the provider.
What an interrupt has taken out may come back, and then it holds up to twice as much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from operator import attrgetter

import anyio.lowlevel
import attrs

from realtime_async._core.media import payload_bytes
from realtime_async._core.stint import CALLS_AT_MOST
from realtime_async._core.supervision import OUTPUT
from realtime_async._shell.broadcast import Broadcast
from realtime_async.errors import AgentError, ProviderFailure, SessionStateError
from realtime_async.ports import RealtimeOutputFrame, ResponseDone, Restarted

__all__ = ["MAX_BYTES", "MAX_FRAMES", "Entry", "Inbox", "TakenOut"]

# Some seconds of speech, as a provider sends it faster than it is heard.
MAX_FRAMES = 64
MAX_BYTES = 1024 * 1024
# A loop that does not listen needs no more of the restarts that it missed.
_MAX_RESTARTS = 64


@attrs.define(eq=False)
class Entry:
    what: RealtimeOutputFrame | ProviderFailure
    generation: int
    """Restarts of the session before the connection that it came by."""
    place: int = 0
    """Among all that was ever put into its inbox; 0: the pump has it in hand still."""
    is_taken_out: bool = False
    """Interrupts keep it, and may put it back."""

    @property
    def size(self) -> int:
        payload = None if isinstance(self.what, ProviderFailure) else self.what.payload
        if isinstance(payload, str):
            return payload_bytes(payload)
        return 0 if payload is None else len(payload)

    @property
    def is_output(self) -> bool:
        return isinstance(self.what, RealtimeOutputFrame) and isinstance(self.what.event, OUTPUT)

    @property
    def is_piece(self) -> bool:
        """Whether it is output that only belongs to more; a final text says all of it."""
        return self.is_output and not getattr(getattr(self.what, "event", None), "final", False)

    @property
    def ends_an_answer(self) -> bool:
        return isinstance(self.what, RealtimeOutputFrame) and isinstance(self.what.event, ResponseDone)

    @property
    def is_restart(self) -> bool:
        return isinstance(self.what, RealtimeOutputFrame) and isinstance(self.what.event, Restarted)


@attrs.define(eq=False)
class TakenOut:
    """Output that an interrupt keeps, until it is known how that ended."""

    inbox: Inbox
    entries: set[Entry]

    def put_back(self) -> None:
        """Undo it: the output that no other keeps is back in its place among all that was there."""
        self.inbox._put_back(self)

    def let_go(self) -> None:
        """The interrupt is over, and what was not put back makes room."""
        self.inbox._let_go(self)


class Inbox:
    """Filled by one pump, emptied by one loop."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._puts = 0
        self._bytes = 0
        self._taken_out: list[TakenOut] = []
        self._generation = 0
        self._failure: AgentError | None = None
        self._is_over = False
        self._is_closed = False
        """It is over, and nothing that is left is wanted any more."""
        self._is_read = False
        self._takes = 0
        self._changed = Broadcast()

    def __len__(self) -> int:
        return len(self._entries)

    # -- the pump's side

    @property
    def is_full(self) -> bool:
        if len(self._entries) >= MAX_FRAMES or self._bytes >= MAX_BYTES:
            return True
        # Not with the first of both: an adapter may have to be listened to, to learn how its interrupt ended.
        away: set[Entry] = set().union(*(taken.entries for taken in self._taken_out))
        return (
            len(self._entries) + len(away) >= 2 * MAX_FRAMES
            or self._bytes + sum(entry.size for entry in away) >= 2 * MAX_BYTES
        )

    async def room(self) -> None:
        """Wait until the loop has taken enough."""
        while self.is_full and not self._is_over:
            await self._changed.wait()

    def put(self, entry: Entry) -> None:
        """Take in *entry*; what comes after the end is nobody's, nor what an older connection still says of its answer."""
        if self._is_closed or (entry.generation < self._generation and entry.is_piece):
            return
        self._puts += 1
        entry.place = self._puts
        if entry.is_taken_out:
            return
        self._entries.append(entry)
        self._bytes += entry.size
        self._changed.notify()

    def supersede(self, generation: int) -> int:
        """
        Fence what is left of the answer that older connections did not finish.

        Returns:
            How many frames were fenced.
        """
        self._generation = generation
        open_from = max((at for at, entry in enumerate(self._entries, 1) if entry.ends_an_answer), default=0)
        fenced = [
            entry
            for entry in list(self._entries)[open_from:]
            if entry.is_piece and entry.generation < generation
        ]
        self._remove(fenced)
        return len(fenced)

    def tell(self, restarted: RealtimeOutputFrame) -> None:
        """Take in the news of a restart, whether or not there is room."""
        missed = [entry for entry in self._entries if entry.is_restart]
        self._remove(missed[: len(missed) + 1 - _MAX_RESTARTS])
        self.put(Entry(restarted, self._generation))

    def end(self, failure: AgentError | None = None) -> None:
        """There is nothing more to come; without a *failure* what is left is not wanted any more."""
        if self._is_over:
            return
        self._is_over = True
        self._failure = failure
        self._is_closed = failure is None
        if failure is None:
            self._entries.clear()
        self._changed.notify()

    # -- the loop's side

    async def take(self) -> RealtimeOutputFrame | None:
        """
        Take the next frame; None: there will be none.

        Raises:
            SessionStateError: Another loop waits.
            AgentError: What the provider refused, or what ended the session.
        """
        if self._is_read:
            raise SessionStateError(
                "the session's frames have a reader that waits already: share what that one is given"
            )
        self._is_read = True
        try:
            self._takes += 1
            if self._takes % CALLS_AT_MOST == 0:
                await anyio.lowlevel.checkpoint()
            while not self._entries and not self._is_over:
                await self._changed.wait()
        finally:
            self._is_read = False
        if not self._entries:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            return None
        entry = self._entries.popleft()
        self._bytes -= entry.size
        self._changed.notify()
        if isinstance(entry.what, ProviderFailure):
            raise entry.what
        return entry.what

    def take_out(self, response_id: str | None, in_hand: Entry | None = None) -> TakenOut:
        """
        Remove the output of an answer, of every answer if it is not named.

        Args:
            in_hand: What the pump will put in, and has not yet.
        """
        # What another keeps may come back, and must not where this one is not refused.
        kept = [entry for taken in self._taken_out for entry in taken.entries]
        held = [] if in_hand is None or in_hand.is_taken_out else [in_hand]
        taken = {
            entry
            for entry in (*self._entries, *kept, *held)
            if entry.is_output
            and isinstance(entry.what, RealtimeOutputFrame)
            and (response_id is None or entry.what.response_id in (response_id, None))
        }
        self._remove(entry for entry in taken if entry.place and not entry.is_taken_out)
        for entry in taken:
            entry.is_taken_out = True

        away = TakenOut(self, taken)
        self._taken_out.append(away)
        return away

    def _put_back(self, away: TakenOut) -> None:
        back, away.entries = away.entries, set()
        back.difference_update(*(taken.entries for taken in self._taken_out))
        for entry in back:
            entry.is_taken_out = False
        self._return([entry for entry in back if entry.place and entry.generation >= self._generation])

    def _let_go(self, away: TakenOut) -> None:
        self._taken_out.remove(away)
        for taken in self._taken_out:
            taken.entries -= away.entries
        self._changed.notify()

    def _return(self, returned: Sequence[Entry]) -> None:
        if self._is_closed or not returned:
            return
        self._entries = deque(sorted([*self._entries, *returned], key=attrgetter("place")))
        self._bytes += sum(entry.size for entry in returned)
        self._changed.notify()

    def _remove(self, entries: Iterable[Entry]) -> None:
        gone = set(entries)
        if gone:
            self._entries = deque(entry for entry in self._entries if entry not in gone)
            self._bytes -= sum(entry.size for entry in gone)
            self._changed.notify()
