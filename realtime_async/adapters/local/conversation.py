"""
One session of the local adapter: what outlives its connections.

A connection forgets what it has not answered yet, like one over a network does; the session knows where in its
audio that began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from realtime_async.adapters.local.bell import Bell
from realtime_async.adapters.local.ears import Ears
from realtime_async.adapters.local.outbox import Outbox
from realtime_async.adapters.local.timeline import InputTimeline
from realtime_async.adapters.local.tools import ToolCalls
from realtime_async.errors import ProviderFailure, RetryClassification
from realtime_async.ports import RealtimeConnectionId, RealtimeResponseId

__all__ = ["Conversation", "Turn"]


@attrs.frozen
class Turn:
    """Something that the person said, wrote or asked for, and that is to be answered."""

    text: str = attrs.field(repr=False)
    after: int
    """The input frames up to this one are not part of it."""
    through: int
    """Its last input frame."""
    frames: tuple[int, ...] = ()
    """Those of its input frames that are no audio."""
    audio_end_ms: int | None = None
    """Where its audio ends; None: it was not spoken."""


class Conversation:
    """A session: its place in the input, what was written to it, and what it has to say."""

    # Requests that were answered while a sentence was still being spoken: a handful, ever.
    ANSWERED_FRAMES = 256
    WRITTEN_CHARACTERS = 65_536

    def __init__(self, ears: Ears, token: str) -> None:
        self.ears = ears
        self.bell = Bell()
        """Rings at every change of what the session holds: one for all, as who is woken looks again."""
        self.outbox = Outbox(self.bell)
        self.timeline = InputTimeline()
        self.tools = ToolCalls(self.bell, token)
        self._token = token
        self._connections = 0
        self._responses = 0
        self._settled = 0
        self._kept = 0
        self._written: dict[int, str] = {}
        self._answered: deque[int] = deque(maxlen=self.ANSWERED_FRAMES)

    @property
    def input_kept_through(self) -> int:
        """The cursor through which the next connection knows the input, as all of it was answered, or is put back."""
        return self._kept

    def new_connection_id(self) -> RealtimeConnectionId:
        self._connections += 1
        return RealtimeConnectionId(f"local.connection.{self._token}.{self._connections}")

    def new_response_id(self) -> RealtimeResponseId:
        self._responses += 1
        return RealtimeResponseId(f"local.response.{self._token}.{self._responses}")

    def write(self, number: int, text: str) -> None:
        """
        Keep *text*, which is frame *number*, until it is answered; a connection that ends doesn't forget it.

        Raises:
            ProviderFailure: Too much is written, and no answer asked for.
        """
        if number in self._written or self.is_answered(number):
            return
        if len(text) + sum(map(len, self._written.values())) > self.WRITTEN_CHARACTERS:
            raise ProviderFailure(
                f"more than {self.WRITTEN_CHARACTERS} characters wait for an answer: send request_response() first",
                retry=RetryClassification.NOT_RETRYABLE,
            )
        self._written[number] = text

    def written_between(self, first: int, end: int) -> dict[int, str]:
        """What was written from frame *first* on and before frame *end*, by frame, in order."""
        return {number: text for number, text in sorted(self._written.items()) if first <= number < end}

    def settle(self, turn: Turn) -> None:
        """*turn* is answered, and needs to be heard no more."""
        self._settled = max(self._settled, turn.through)
        self._answered.extend(turn.frames)
        for number in turn.frames:
            self._written.pop(number, None)

    def is_answered(self, number: int) -> bool:
        """Whether frame *number*, which is no audio, was answered: it is replayed only for the audio before it."""
        return number in self._answered

    def pass_over(self, number: int) -> None:
        """Frame *number* asked for nothing: replayed, it asks for nothing either."""
        self._answered.append(number)

    def keep_through(self, needed_after: Iterable[int]) -> None:
        """The connection ended; *needed_after* says for each thing unanswered which frame lies before it."""
        self._kept = max(self._kept, min(self._settled, *needed_after))
