"""
One session on the provider's side: its connection, and the script as far as it was played.

Only `ScriptedSession.until_ready` awaits, and it takes nothing; `take` is a plain call.
So no cancellation comes between a frame and whoever receives it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable

import anyio
import attrs

from realtime_async.adapters.scripted.script import (
    AfterSent,
    Delay,
    Drop,
    EndOfStream,
    Fault,
    OnInterrupt,
    Operation,
    Played,
    Refuse,
    Script,
)
from realtime_async.errors import ProviderConnectionLost, ProviderFailure
from realtime_async.ports import (
    RealtimeConnectionId,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeResponseId,
    ResponseDone,
    StreamCursor,
)

__all__ = ["ScriptedSession"]


@attrs.frozen
class _Due:
    """A `Delay` that has begun; *time* is the event loop's."""

    time: float


class ScriptedSession:
    """What the provider knows of one session."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connection_id: RealtimeConnectionId | None = None
        """The last one that a caller was given."""
        self.is_alive = False
        self.is_closed = False
        self.is_ended = False
        self.is_being_replaced = False
        """A connect or restart is under way; a `receive` that waits goes on with what it brings."""
        self.sent: list[RealtimeInputFrame] = []
        """What the provider has, on whichever connection."""
        self.answering: RealtimeResponseId | None = None
        self.coming: deque[Played | _Due] = deque(script.frames)
        self._arrived: deque[RealtimeOutputFrame] = deque()
        self._calls: Counter[Operation] = Counter()
        self._injected: dict[Operation, deque[tuple[Fault, ...]]] = {}
        self._connections = 0
        self._changed = anyio.Event()

    def inject(self, operation: Operation, faults: tuple[Fault, ...]) -> None:
        self._injected.setdefault(operation, deque()).append(faults)

    def next_faults(self, operation: Operation) -> tuple[Fault, ...]:
        """Return what the next call of *operation* will suffer."""
        injected = self._injected.get(operation)
        if injected:
            return injected[0]
        return self.script.faults.get((operation, self._calls[operation] + 1), ())

    def begin_call(self, operation: Operation) -> tuple[Fault, ...]:
        """Count a call of *operation*, and return what it suffers."""
        faults = self.next_faults(operation)
        self._calls[operation] += 1
        injected = self._injected.get(operation)
        if injected:
            injected.popleft()
        return faults

    def replace(self) -> None:
        """End the connection, if there is one, in favour of one that is to come."""
        self.is_alive = False
        self.is_being_replaced = True

    def open(self, connection_id: RealtimeConnectionId) -> StreamCursor | None:
        """Begin a connection; return what it knows of the input."""
        self._connections += 1
        self.connection_id = connection_id
        self.is_alive = True
        self.is_closed = self.is_ended = self.is_being_replaced = False
        self._start_delay()
        self.wake()
        if self._connections == 1:
            return None
        kept = self.script.kept_through
        chosen = kept[min(self._connections - 2, len(kept) - 1)]
        return chosen(self.sent) if callable(chosen) else chosen

    def abandon(self, previous: RealtimeConnectionId | None) -> None:
        """End a connect or restart of which the caller was told nothing."""
        if self.connection_id != previous:
            self._connections -= 1
        self.connection_id = previous
        self.lose()

    def lose(self) -> None:
        """Let the connection die."""
        self.is_alive = self.is_being_replaced = False
        self.wake()

    def lose_after_delivery(self) -> None:
        """Let the connection die behind the frames that have reached this side already."""
        while self.is_alive and self._is_due() and isinstance(self.coming[0], RealtimeOutputFrame):
            self._arrived.append(self.coming[0])
            self.coming.popleft()
        self.lose()

    def close(self) -> None:
        self.is_closed = True
        self.lose()

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._changed.set()
        self._changed = anyio.Event()

    async def until_ready(self) -> None:
        """Wait until `take` has something to return or to raise."""
        while not self.is_ready():
            first = self.coming[0] if self.coming else None
            with anyio.CancelScope(deadline=first.time if isinstance(first, _Due) else math.inf):
                await self._changed.wait()

    def is_ready(self) -> bool:
        if self._arrived or self.is_closed:
            return True
        return self._is_due() if self.is_alive else not self.is_being_replaced

    def has_something(self) -> bool:
        """Whether `take` has a frame to return, or something to raise, and does not tell the end."""
        if not self.is_ready() or self.is_closed:
            return False
        if self._arrived:
            return True
        return not self.is_ended and not (self.is_alive and isinstance(self.coming[0], EndOfStream))

    def take(self) -> RealtimeOutputFrame | None:
        """
        Take the next thing that the provider says; None: the stream has ended.

        Raises:
            ProviderConnectionLost: The connection is dead, and nothing is left of what it delivered.
            ProviderFailure: The script says so.
        """
        if self.is_closed:
            return None
        if self._arrived:
            return self._played(self._arrived.popleft())
        if self.is_ended:
            return None
        if not self.is_alive:
            raise self.lost()
        assert self._is_due()
        item = self.coming.popleft()
        self._start_delay()
        match item:
            case RealtimeOutputFrame():
                return self._played(item)
            case EndOfStream():
                self.is_ended = True
                self.lose()
                return None
            case Drop():
                self.lose()
                raise self.lost()
            case Refuse(code, retry):
                raise ProviderFailure("the script refuses to go on", code=code, retry=retry)
            case _:
                raise AssertionError("only what is due is taken")

    def lost(self) -> ProviderConnectionLost:
        return ProviderConnectionLost(
            f"the scripted connection {str(self.connection_id)!r} is gone: restart", delivered=False
        )

    def stop_answer(self, response_id: RealtimeResponseId | None) -> None:
        """Leave out the rest of an answer where the script says so."""
        if self.script.on_interrupt is OnInterrupt.GO_ON:
            return
        stopped = self._current_answer() if response_id is None else response_id
        others = _without_answer(stopped, self.coming)
        if stopped is None or (len(others) == len(self.coming) and stopped != self.answering):
            return
        done = RealtimeOutputFrame.of(ResponseDone("cancelled"), response_id=stopped)
        self.coming = deque([done, *others])
        self.wake()

    def _current_answer(self) -> RealtimeResponseId | None:
        return self.answering or next(filter(None, map(_answer_of, self.coming)), None)

    def _played(self, frame: RealtimeOutputFrame) -> RealtimeOutputFrame:
        if frame.response_id is not None:
            self.answering = None if isinstance(frame.event, ResponseDone) else frame.response_id
        return frame

    def _is_due(self) -> bool:
        """Step over what only holds the script up; True: something to take comes first."""
        while self.coming:
            match self.coming[0]:
                case Delay():
                    self._start_delay()
                case _Due(time) if anyio.current_time() < time:
                    return False
                case AfterSent(frames) if len(self.sent) < frames:
                    return False
                case _Due() | AfterSent():
                    self.coming.popleft()
                    self._start_delay()
                case _:
                    return True
        return False

    def _start_delay(self) -> None:
        if self.coming and isinstance(self.coming[0], Delay):
            self.coming[0] = _Due(anyio.current_time() + self.coming[0].seconds)


def _answer_of(item: Played | _Due) -> RealtimeResponseId | None:
    return item.response_id if isinstance(item, RealtimeOutputFrame) else None


def _without_answer(answer: RealtimeResponseId | None, items: Iterable[Played | _Due]) -> list[Played | _Due]:
    """Leave out the frames of *answer*, and the pauses before them."""
    kept: list[Played | _Due] = []
    pauses: list[Played | _Due] = []
    for item in items:
        if isinstance(item, Delay | _Due | AfterSent):
            pauses.append(item)
        elif _answer_of(item) == answer is not None:
            pauses.clear()
        else:
            kept += [*pauses, item]
            pauses.clear()
    return kept + pauses
