"""
What this side knows of the conversation, so that a new connection can be told.

Items are kept in the order in which they were said.
They are bounded in number and in bytes; the oldest go first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator

import attrs

from realtime_async.adapters.openai import wire
from realtime_async.adapters.openai.input_audio import Committed
from realtime_async.ports import heard_text

__all__ = ["Answered", "Called", "Conversation", "Placed", "Spoken"]


@attrs.define
class Placed:
    """What the program put there: text, an image, or what a tool returned."""

    item: wire.Item = attrs.field(repr=False)
    number: int
    size: int

    def wire(self) -> wire.Item:
        return self.item


@attrs.define
class Spoken:
    """What the person said."""

    audio: tuple[bytes, ...] | None = attrs.field(repr=False)
    """None: its transcript is enough, or it is too long to be kept; empty: nobody wants it back."""
    after: int
    """The last input frame before it."""
    transcript: str | None = attrs.field(default=None, repr=False)

    @property
    def size(self) -> int:
        return len(self.transcript or "") + sum(map(len, self.audio or ()))

    @property
    def is_lost(self) -> bool:
        """Whether it can't be put back, and should be."""
        return self.audio is None and not self.transcript

    def wire(self) -> wire.Item | None:
        if self.transcript:
            return wire.user_text(self.transcript)
        return wire.spoken_by_user(self.audio) if self.audio else None


@attrs.define
class Answered:
    """What the model said, or wrote."""

    response_id: str
    text: str = attrs.field(default="", repr=False)
    received_ms: float = 0.0
    heard_ms: float | None = None
    """None: all of it, as far as is known."""

    # What a transcript can grow to; a longer one is cut.
    CHARACTERS = 65_536

    @property
    def size(self) -> int:
        return len(self.text)

    def say(self, text: str) -> None:
        self.text = (self.text + text)[: self.CHARACTERS]

    def wire(self) -> wire.Item | None:
        text = self.text
        if self.heard_ms is not None:
            text = heard_text(text, self.heard_ms, self.received_ms)
        return wire.said_by_model(text) if text else None


@attrs.define
class Called:
    """A function that the model asked for, and that the program was told of."""

    call_id: str
    name: str
    arguments: str = attrs.field(repr=False)

    @property
    def size(self) -> int:
        return len(self.arguments)

    def wire(self) -> wire.Item:
        return wire.call(self.call_id, self.name, self.arguments)


Held = Placed | Spoken | Answered | Called


class Conversation:
    """The items of one session, by the key under which they are found again."""

    ITEMS = 200
    BYTES = 4 * 2**20

    def __init__(self) -> None:
        self._items: OrderedDict[str, Held] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self.bytes = 0
        # Numbers of the frames that were put here: those of the last items, and of some that are gone.
        self._numbers: set[int] = set()
        self._oldest_numbers: deque[int] = deque()
        self._calls: set[str] = set()
        self._unanswered: deque[str] = deque(maxlen=self.ITEMS)

    def __len__(self) -> int:
        return len(self._items)

    # What comes in

    def place(self, key: str, item: wire.Item, *, number: int, size: int) -> None:
        """The program said something, in frame *number*."""
        self._put(key, Placed(item, number, size))
        self._numbers.add(number)
        self._oldest_numbers.append(number)
        while len(self._oldest_numbers) > self.ITEMS:
            self._numbers.discard(self._oldest_numbers.popleft())

    def has_frame(self, number: int) -> bool:
        """Whether frame *number* was put here: the new connection knows it without a replay."""
        return number in self._numbers

    def speak(self, item_id: str, committed: Committed) -> None:
        """The provider took what the person said."""
        self._put(item_id, Spoken(committed.audio, committed.after))
        self._unanswered.append(item_id)

    def transcribe(self, item_id: str, transcript: str) -> None:
        spoken = self._items.get(item_id)
        if isinstance(spoken, Spoken):
            spoken.transcript = transcript
            if transcript:
                spoken.audio = None
            self._resize(item_id)

    def answer(self, item_id: str, response_id: str) -> Answered:
        """The model begins an item, or goes on with it."""
        answered = self._items.get(item_id)
        if not isinstance(answered, Answered):
            answered = Answered(response_id)
            self._put(item_id, answered)
        return answered

    def answered(self, item_id: str) -> Answered | None:
        item = self._items.get(item_id)
        return item if isinstance(item, Answered) else None

    def grown(self, item_id: str) -> None:
        """More of the item is known; call when a piece of it is over."""
        if item_id in self._items:
            self._resize(item_id)

    def call(self, key: str, called: Called) -> None:
        self._put(key, called)
        self._calls.add(called.call_id)

    def knows_call(self, call_id: str) -> bool:
        return call_id in self._calls

    # What becomes of it

    def unanswered(self) -> tuple[str, ...]:
        return tuple(self._unanswered)

    def settle(self, keys: Iterable[str]) -> None:
        """What was said in the items *keys* has had its answer."""
        for key in keys:
            if key in self._unanswered:
                self._unanswered.remove(key)

    def drop(self, key: str) -> None:
        """The provider has no such item."""
        item = self._remove(key)
        if isinstance(item, Placed):
            self._numbers.discard(item.number)

    def drop_answer(self, item_ids: Iterable[str]) -> None:
        """An answer was cut off before it was heard, and is asked for anew."""
        for item_id in item_ids:
            if isinstance(self._items.get(item_id), Answered):
                self.drop(item_id)

    # What a new connection is told

    def restored(self) -> Iterator[tuple[str, wire.Item]]:
        """The items to put back, in order, with their keys."""
        for key, item in self._items.items():
            put_back = item.wire()
            if put_back is None:
                continue
            if put_back["type"] == "function_call_output" and put_back["call_id"] not in self._calls:
                put_back = wire.told_result(put_back["call_id"], put_back["output"])
            yield key, put_back

    def known_after(self) -> int | None:
        """The frame after which something unanswered was said that can't be put back; None: there is nothing."""
        lost = (
            spoken.after
            for key in self._unanswered
            if isinstance(spoken := self._items.get(key), Spoken) and spoken.is_lost
        )
        return min(lost, default=None)

    def forget_lost(self) -> None:
        """What can't be put back is replayed, and will be an item of its own."""
        for key in list(self._unanswered):
            spoken = self._items.get(key)
            if isinstance(spoken, Spoken) and spoken.is_lost:
                self.drop(key)
                self._unanswered.remove(key)

    # Bounds

    def _put(self, key: str, item: Held) -> None:
        self._remove(key)
        self._items[key] = item
        self._sizes[key] = item.size
        self.bytes += item.size
        self._evict()

    def _resize(self, key: str) -> None:
        size = self._items[key].size
        self.bytes += size - self._sizes[key]
        self._sizes[key] = size
        self._evict()

    def _evict(self) -> None:
        while len(self._items) > self.ITEMS or (self.bytes > self.BYTES and len(self._items) > 1):
            # Its frame stays known: that it is forgotten here is no reason to say it again.
            self._remove(next(iter(self._items)))

    def _remove(self, key: str) -> Held | None:
        item = self._items.pop(key, None)
        if item is not None:
            self.bytes -= self._sizes.pop(key)
        if isinstance(item, Called):
            self._calls.discard(item.call_id)
        return item
