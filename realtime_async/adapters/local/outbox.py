"""What a session says to its receiver, in order, until it is taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from realtime_async.adapters.local.bell import Bell
from realtime_async.errors import ProviderFailure
from realtime_async.ports import (
    InputTranscript,
    RealtimeEvent,
    RealtimeOutputFrame,
    RealtimeResponseId,
    ResponseDone,
    ResponseStarted,
    ToolCall,
)

__all__ = ["Outbox"]

_Item = RealtimeOutputFrame | ProviderFailure


class Outbox:
    """
    A deque and a bell: nothing that a cancellation can drop lies between a frame's origin and its receiver.

    The speaker waits while 50 frames lie in it, a second of speech; the listener takes no more input while 100
    do, so that an answer which nobody takes doesn't make a session deaf at once.
    Nothing is dropped to make room.
    """

    ROOM_FOR_SPEECH = 50
    ROOM = 100

    def __init__(self, bell: Bell) -> None:
        self._items: deque[_Item] = deque()
        self._bell = bell

    @property
    def has_room(self) -> bool:
        return len(self._items) < self.ROOM

    @property
    def has_room_for_speech(self) -> bool:
        return len(self._items) < self.ROOM_FOR_SPEECH

    def put(self, item: _Item) -> None:
        self._items.append(item)
        self._bell.ring()

    def say(self, event: RealtimeEvent, response_id: RealtimeResponseId | None = None) -> None:
        self.put(RealtimeOutputFrame.of(event, response_id=response_id))

    def take(self) -> _Item | None:
        """Remove the oldest item and return it; None: there is none."""
        if not self._items:
            return None
        item = self._items.popleft()
        self._bell.ring()
        return item

    def clear(self) -> None:
        self._keep(lambda item: False)

    def silence(self, response_id: RealtimeResponseId) -> None:
        """Drop what that answer says, less its beginning and its end."""
        self._keep(
            lambda item: (
                isinstance(item, ProviderFailure)
                or item.response_id != response_id
                or isinstance(item.event, ResponseStarted | ResponseDone)
            )
        )

    def drop_unfinished(self) -> None:
        """Drop what came after the end of the last turn."""
        while self._items and not _ends_a_turn(self._items[-1]):
            self._items.pop()
        self._bell.ring()

    def has_begun(self, response_id: RealtimeResponseId) -> bool:
        """Whether the beginning of that answer lies here, and nobody has seen it yet."""
        return any(
            isinstance(item, RealtimeOutputFrame)
            and item.response_id == response_id
            and isinstance(item.event, ResponseStarted)
            for item in self._items
        )

    def unseen_calls(self) -> list[str]:
        """The ids of the tool calls that lie here."""
        events = (item.event for item in self._items if isinstance(item, RealtimeOutputFrame))
        return [event.call_id for event in events if isinstance(event, ToolCall)]

    def _keep(self, is_kept: Callable[[_Item], bool]) -> None:
        self._items = deque(filter(is_kept, self._items))
        self._bell.ring()


def _ends_a_turn(item: _Item) -> bool:
    match item:
        case ProviderFailure():
            return True
        case RealtimeOutputFrame(event=InputTranscript(text="")):
            # There is nothing to answer.
            return True
        case _:
            return isinstance(item.event, ResponseDone)
