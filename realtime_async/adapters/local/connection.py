"""
One connection of a session: input in, events and answers out.

It ends at once, and forgets all that was not answered, like one over a network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import assert_never

import anyio
import attrs

from realtime_async.adapters.local.brain import Brain
from realtime_async.adapters.local.conversation import Conversation, Turn
from realtime_async.adapters.local.ears import Heard, SpeechBegan
from realtime_async.adapters.local.speaker import Speaker
from realtime_async.adapters.local.vad import SAMPLE_RATE
from realtime_async.adapters.local.voice import Voice
from realtime_async.errors import ProviderConnectionLost
from realtime_async.ports import (
    InputSignal,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeResponseId,
    SpeechStarted,
    SpeechStopped,
)

__all__ = ["Connection"]


@attrs.frozen
class _Received:
    number: int
    starts_at: int
    """The sample of the session's audio at which it begins, or before which it came."""
    frame: RealtimeInputFrame


class Connection:
    """
    Takes input, and listens to it.

    At most a second of input waits for the listener; then `take` says no.
    The listener in turn waits while the speaker or the outbox has no room.
    """

    INBOX_FRAMES = 50
    INBOX_BYTES = 2 * SAMPLE_RATE

    def __init__(
        self, conversation: Conversation, brain: Brain, voice: Voice, *, tools: frozenset[str]
    ) -> None:
        self.connection_id = conversation.new_connection_id()
        self._knows_through = conversation.input_kept_through
        self._conversation = conversation
        self._timeline = conversation.timeline
        self._bell = conversation.bell
        self._outbox = conversation.outbox
        self._ears = conversation.ears
        self._speaker = Speaker(conversation, brain, voice, tools)
        self._inbox: deque[_Received] = deque()
        self._inbox_bytes = 0
        self._asked_through = 0
        self._is_listening = False
        self._is_ended = False
        self._scope = anyio.CancelScope()

    # What the adapter calls; none of it waits

    def check(self) -> None:
        """
        Raise if it has ended.

        Raises:
            ProviderConnectionLost: What was being sent did not arrive.
        """
        if self._is_ended:
            raise ProviderConnectionLost(
                f"connection {str(self.connection_id)!r} has ended: restart the session", delivered=False
            )

    def take(self, frame: RealtimeInputFrame) -> bool:
        """
        Take *frame*; False: there is no room for it now.

        Raises:
            ProviderConnectionLost: It has ended.
            ProviderFailure: Too much is written, and no answer asked for; or it answers a call that never was.
        """
        self.check()
        if frame.media_kind is RealtimeMediaKind.TOOL_RESULT:
            # However full the inbox: the answer that waits for it may be what the listener waits for.
            number = self._number(frame)
            self._conversation.tools.give(number, frame.call_id, str(frame.payload))
            self._timeline.place(number, 0)
            return True
        size = frame.payload_bytes()
        if self._inbox and (
            len(self._inbox) >= self.INBOX_FRAMES or self._inbox_bytes + size > self.INBOX_BYTES
        ):
            return False
        number = self._number(frame)
        is_text = frame.media_kind is RealtimeMediaKind.TEXT
        if is_text:
            self._conversation.write(number, str(frame.payload))
        samples = size // 2 if isinstance(frame.payload, bytes) else 0
        starts_at = self._timeline.place(number, samples)
        if is_text:
            return True
        self._inbox.append(_Received(number, starts_at, frame))
        self._inbox_bytes += size
        self._bell.ring()
        return True

    def _number(self, frame: RealtimeInputFrame) -> int:
        return self._timeline.next_number if frame.cursor is None else frame.cursor.chunk_sequence

    def interrupt(self, response_id: RealtimeResponseId | None) -> None:
        """
        Stop the answer: nothing more of it is received but its end.

        Raises:
            ProviderConnectionLost: It has ended.
        """
        self.check()
        self._speaker.interrupt(response_id)

    def end(self) -> None:
        """Stop at once, and forget what was not answered."""
        if self._is_ended:
            return
        self._conversation.keep_through(self._needed_after())
        self._is_ended = True
        self._scope.cancel()
        self._inbox.clear()
        self._speaker.end()
        self._bell.ring()

    def _needed_after(self) -> Iterator[int]:
        """For each thing that still needs its input, the frame before that."""
        yield self._timeline.through(self._ears.needs_from) if self._is_listening else self._knows_through
        yield from (turn.after for turn in self._speaker.unanswered())

    # Listening

    async def run(self) -> None:
        """Serve until `end`."""
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._speaker.run)
                await self._listen()

    async def _listen(self) -> None:
        position = self._timeline.end_of(self._knows_through)
        async with self._ears.listening(position):
            self._is_listening = True
            while True:
                received = await self._next_input()
                payload, signal = received.frame.payload, received.frame.signal
                if isinstance(payload, bytes):
                    await self._follow(self._ears.listen(payload, received.starts_at), received.number)
                elif signal is InputSignal.END_OF_TURN:
                    await self._follow(self._ears.end_sentence(), received.number)
                elif signal is InputSignal.CLEAR_INPUT:
                    self._ears.forget(received.starts_at)
                elif not self._conversation.is_answered(received.number):
                    self._ask(received)

    async def _next_input(self) -> _Received:
        while not self._inbox or not self._speaker.has_room or not self._outbox.has_room:
            await self._bell.rung()
        received = self._inbox.popleft()
        self._inbox_bytes -= received.frame.payload_bytes()
        self._bell.ring()
        return received

    async def _follow(self, events: AsyncIterator[SpeechBegan | Heard], number: int) -> None:
        """Say what frame *number* brings, and have the sentences answered that end in it."""
        async for event in events:
            # Nothing awaits between the end of a sentence and its turn: in between nobody would know of it.
            match event:
                case SpeechBegan(at):
                    self._outbox.say(SpeechStarted(_milliseconds(at)))
                case Heard(text, speech):
                    self._outbox.say(SpeechStopped(_milliseconds(speech.at)))
                    self._speaker.ask(
                        Turn(
                            text,
                            after=self._timeline.through(speech.needs_from),
                            through=min(number, self._timeline.through(speech.through)),
                            audio_end_ms=_milliseconds(speech.through),
                        )
                    )
                case _:
                    assert_never(event)

    def _ask(self, request: _Received) -> None:
        """
        Have what was written since the last request answered.

        One that says nothing, and follows the result of a tool, asks for the answer that goes on with it anyway.
        """
        number, instructions = request.number, request.frame.payload
        written = self._conversation.written_between(self._asked_through, number)
        self._asked_through = number
        texts = [*written.values(), *([instructions] if isinstance(instructions, str) else [])]
        if self._conversation.tools.continues(number) and not texts:
            self._conversation.pass_over(number)
            return
        self._speaker.ask(Turn("\n".join(texts), after=number - 1, through=number, frames=(*written, number)))


def _milliseconds(samples: int) -> int:
    return samples * 1000 // SAMPLE_RATE
