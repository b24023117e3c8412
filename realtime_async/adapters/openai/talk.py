"""What one session of the adapter knows, whatever becomes of its connections; no I/O."""

from __future__ import annotations

from collections import deque

import attrs

from realtime_async.adapters.openai import wire
from realtime_async.adapters.openai.answers import Answer, Answers
from realtime_async.adapters.openai.config import OpenAIRealtimeConfig
from realtime_async.adapters.openai.conversation import Conversation
from realtime_async.adapters.openai.input_audio import InputAudio
from realtime_async.adapters.openai.updates import Updates
from realtime_async.errors import ProviderFailure
from realtime_async.ports import (
    OutputAudio,
    OutputText,
    OutputTranscript,
    RealtimeEvent,
    RealtimeOutputFrame,
    ResponseDone,
)

__all__ = ["Heard", "Talk"]

Heard = RealtimeOutputFrame | ProviderFailure

_MEDIA = (OutputAudio, OutputText, OutputTranscript)


# Messages that wait to be sent hold what was said, so none of it is shown.
@attrs.define(eq=False, repr=False)
class Talk:
    """
    The state that wire and frames share.

    `hearing` reads the provider's messages into it, `saying` the program's frames.
    """

    config: OpenAIRealtimeConfig
    outbox: deque[Heard] = attrs.field(factory=deque)
    """What was heard, and nobody has taken."""
    to_send: deque[str] = attrs.field(factory=deque)
    """Messages that follow from what was heard, or that stop an answer."""
    input: InputAudio = attrs.field(init=False)
    items: Conversation = attrs.field(factory=Conversation)
    answers: Answers = attrs.field(factory=Answers)
    unknown_events: int = 0
    names: dict[str, str] = attrs.field(factory=dict)
    """Which of its two names an event has come under first: a server may send it under both."""
    updates: Updates = attrs.field(init=False)
    is_begun: bool = False
    """This connection has said its first word."""
    is_configured: bool = False
    """This connection has confirmed its configuration."""
    ending: str | None = None
    """Why this connection is about to end, as a code; None: it isn't."""
    refused: ProviderFailure | None = None
    """Why this connection can't be used; None: it can."""
    expires_at: float | None = None
    """When this connection ends, in seconds since 1970; None: the provider doesn't say."""
    _events: int = 0

    def __attrs_post_init__(self) -> None:
        self.input = InputAudio(self.config.input_format.bytes_per_second)
        self.input.finds_turns = self.config.turns is not None
        self.updates = Updates(self.config)

    def next_event_id(self, kind: str) -> str:
        """The id that the next message of the client will bear; the same until `count_event`."""
        return f"{kind}_{self._events + 1}"

    def count_event(self) -> None:
        self._events += 1

    def draw_event_id(self, kind: str) -> str:
        event_id = self.next_event_id(kind)
        self.count_event()
        return event_id

    def key(self, item_id: str, answer: Answer | None = None) -> str:
        """
        Under which an item of *answer* is held; None: one of the person, on this connection.

        A server may count its items anew on each connection.
        """
        connection = self.answers.connection if answer is None else answer.connection
        return f"{connection}/{item_id}"

    def say(self, event: RealtimeEvent, answer: Answer | None = None, payload: str | None = None) -> None:
        response_id = None if answer is None else answer.response_id
        self.outbox.append(RealtimeOutputFrame.of(event, response_id=response_id, payload=payload))

    def silence(self, answer: Answer) -> None:
        """Nothing of *answer* is received any more but its tool calls and its end."""
        answer.is_stopped = answer.is_silenced = True
        self.outbox = deque(
            heard
            for heard in self.outbox
            if isinstance(heard, ProviderFailure)
            or heard.response_id != answer.response_id
            or not isinstance(heard.event, _MEDIA)
        )

    def pump(self) -> None:
        """Ask for the next answer, if nothing is in its way."""
        request = self.answers.next_due()
        if request is not None:
            request.event_id = request.event_id or self.draw_event_id("response")
            self.to_send.append(wire.create_response(request.event_id, request.instructions))

    def disconnected(self) -> None:
        """The connection is gone; what it was saying is over."""
        cut = self.answers.disconnected()
        self.to_send.clear()
        self.names.clear()
        self.updates.disconnected(self.config)
        self.is_begun = self.is_configured = False
        self.ending = self.refused = self.expires_at = None
        if cut is not None:
            self.say(ResponseDone("incomplete"), cut)

    def _unsaid(self) -> set[str]:
        """The items of an answer that will be given anew: as far as it came, nobody is to know of it."""
        cut = self.answers.cut_off
        if cut is None or not self.answers.is_owed_again:
            return set()
        return {self.key(item_id, cut) for item_id in cut.item_ids}

    def restoring(self) -> list[str]:
        """What tells a new connection the conversation so far."""
        unsaid = self._unsaid()
        return [
            wire.create_item(item, f"item_{key}") for key, item in self.items.restored() if key not in unsaid
        ]

    def reconnected(self) -> int:
        """
        The new connection knows what `restoring` says; ask it for what is owed.

        Returns:
            The input frame through which nothing need be replayed.
        """
        self.items.drop_answer(self._unsaid())
        self.answers.reconnected()
        lost_after = self.items.known_after()
        kept = self.input.kept_through
        kept = kept if lost_after is None else min(kept, lost_after)
        # A question that has to be said again brings its request with it, or needs none.
        again = {
            number
            for number in self.answers.waiting_numbers()
            if lost_after is not None or (number is not None and self.input.awaits_commit_before(number))
            if number is None or number > kept
        }
        self.answers.leave_to_replay(again)
        self.items.forget_lost()
        self.input.reconnected(kept)
        self.pump()
        return kept
