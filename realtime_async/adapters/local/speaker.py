"""
The answering half of a connection: turns in, spoken answers out.

Answers come one after the other, in the order of the questions; a turn is committed when its answer begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial

import anyio
import anyio.to_thread
import attrs

from realtime_async._raised import is_failure
from realtime_async.adapters.local.brain import Brain, CallTool, spoken_sentences
from realtime_async.adapters.local.conversation import Conversation, Turn
from realtime_async.adapters.local.tools import OpenCall
from realtime_async.adapters.local.voice import Voice
from realtime_async.errors import ProviderFailure, RetryClassification
from realtime_async.ports import (
    InputCommitted,
    InputTranscript,
    OutputTranscript,
    RealtimeOutputFrame,
    RealtimeResponseId,
    ResponseDone,
    ResponseStarted,
    ToolCallCancelled,
)

__all__ = ["Speaker"]


@attrs.define(eq=False)
class _Answer:
    response_id: RealtimeResponseId
    turn: Turn
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    is_over: bool = False
    calls: list[OpenCall] = attrs.field(factory=list)


class Speaker:
    """
    Answers turns, at most eight of which wait.

    A task that was woken may run once more before its cancellation reaches it, so it looks whether its answer is
    over before it says anything.
    """

    TURNS = 8
    # A person on the line has given up by then.
    LONGEST_TOOL_S = 60.0

    def __init__(self, conversation: Conversation, brain: Brain, voice: Voice, tools: frozenset[str]) -> None:
        self._conversation = conversation
        self._bell = conversation.bell
        self._outbox = conversation.outbox
        self._tools = tools
        self._calls = conversation.tools
        self._brain = brain
        self._voice = voice
        self._turns: deque[Turn] = deque()
        self._answer: _Answer | None = None

    @property
    def has_room(self) -> bool:
        return len(self._turns) < self.TURNS

    def ask(self, turn: Turn) -> None:
        """Answer *turn* after those before it."""
        self._turns.append(turn)
        self._bell.ring()

    def unanswered(self) -> Iterator[Turn]:
        if self._answer is not None and not self._answer.is_over:
            yield self._answer.turn
        yield from self._turns

    def interrupt(self, response_id: RealtimeResponseId | None) -> None:
        """End the answer if it is the last one that began; what lies in the outbox of it is said no more."""
        answer = self._answer
        if answer is None or response_id not in {None, answer.response_id}:
            return
        self._forget_unseen_calls(answer)
        self._outbox.silence(answer.response_id)
        self._finish(answer, "cancelled")
        answer.scope.cancel()

    def end(self) -> None:
        """Forget the turns, and take back what nobody has seen of an answer that is not over."""
        self._turns.clear()
        answer = self._answer
        was_seen = (
            answer is not None and not answer.is_over and not self._outbox.has_begun(answer.response_id)
        )
        if answer is not None and not answer.is_over:
            self._forget_unseen_calls(answer)
            self._calls.cut_off(answer.calls)
        # What is unanswered will be heard again, with all that comes of it: none of it is to be seen twice.
        self._outbox.drop_unfinished()
        if answer is None:
            return
        answer.is_over = True
        if was_seen:
            self._outbox.say(ResponseDone("incomplete"), answer.response_id)

    def _forget_unseen_calls(self, answer: _Answer) -> None:
        unseen = self._outbox.unseen_calls()
        self._calls.forget(call for call in answer.calls if call.call_id in unseen)
        answer.calls = [call for call in answer.calls if call.call_id not in unseen]

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            answer = await self._next_answer()
            with answer.scope:
                await self._give(answer)

    async def _next_answer(self) -> _Answer:
        while True:
            while not self._turns or not self._outbox.has_room:
                await self._bell.rung()
            # From here on nothing awaits: a turn is waiting, or it is being answered.
            turn = self._turns.popleft()
            self._bell.ring()
            if turn.audio_end_ms is not None:
                self._outbox.say(InputCommitted(turn.audio_end_ms))
                self._outbox.say(InputTranscript(turn.text, final=True))
            if turn.text or turn.audio_end_ms is None:
                self._answer = _Answer(self._conversation.new_response_id(), turn)
                self._outbox.say(ResponseStarted(), self._answer.response_id)
                return self._answer
            # A noise: there is nothing to answer.
            self._conversation.settle(turn)

    async def _give(self, answer: _Answer) -> None:
        try:
            await self._speak(answer)
        except BaseException as error:
            if not is_failure(error):
                raise
            # The brain is the caller's, who is told.
            self._finish(answer, "failed")
            failure = ProviderFailure(
                f"the brain failed with {type(error).__name__}: mend it; its error is the cause of this one",
                retry=RetryClassification.NOT_RETRYABLE,
            )
            failure.__cause__ = error
            self._outbox.put(failure)
        else:
            self._finish(answer, "completed")

    async def _speak(self, answer: _Answer) -> None:
        said = ""
        rest = b""
        use_tool = partial(self._use_tool, answer)
        async with aclosing(spoken_sentences(self._brain(answer.turn.text), use_tool)) as sentences:
            async for sentence in sentences:
                piece = f" {sentence}" if said else sentence
                said += piece
                pcm = rest + await anyio.to_thread.run_sync(self._voice.speak, sentence)
                await self._put(
                    answer, RealtimeOutputFrame.of(OutputTranscript(piece), response_id=answer.response_id)
                )
                rest = await self._put_audio(answer, pcm)
        if rest:
            await self._put_audio(answer, rest.ljust(self._voice.frame_bytes, b"\0"))
        whole = OutputTranscript(said, final=True)
        await self._put(answer, RealtimeOutputFrame.of(whole, response_id=answer.response_id))

    async def _use_tool(self, answer: _Answer, request: CallTool) -> str | None:
        """Have the program do what the brain wants, and return what came of it."""
        if request.name not in self._tools:
            return None
        call = self._calls.adopt(request)
        if call is None:
            # Not before there is room: from here to where it is said, nothing awaits.
            await self._room_to_speak(answer)
            call = self._calls.begin(request)
            self._outbox.say(call.event, answer.response_id)
        answer.calls.append(call)
        with anyio.move_on_after(self.LONGEST_TOOL_S):
            while call.output is None:
                await self._bell.rung()
        return call.output

    async def _put_audio(self, answer: _Answer, pcm: bytes) -> bytes:
        """Put *pcm* frame by frame, and return what is too short for one."""
        size = self._voice.frame_bytes
        whole = len(pcm) - len(pcm) % size
        for start in range(0, whole, size):
            frame = RealtimeOutputFrame.audio(
                pcm[start : start + size],
                response_id=answer.response_id,
                item_id=f"{answer.response_id}.speech",
            )
            await self._put(answer, frame)
        return pcm[whole:]

    async def _put(self, answer: _Answer, frame: RealtimeOutputFrame) -> None:
        await self._room_to_speak(answer)
        self._outbox.put(frame)

    async def _room_to_speak(self, answer: _Answer) -> None:
        while not self._outbox.has_room_for_speech:
            await self._bell.rung()
        if answer.is_over:
            # Its cancellation is under way.
            await anyio.sleep_forever()

    def _finish(self, answer: _Answer, status: str) -> None:
        if answer.is_over:
            return
        answer.is_over = True
        self._conversation.settle(answer.turn)
        if unwanted := self._calls.settle(answer.calls):
            self._outbox.say(ToolCallCancelled(unwanted), answer.response_id)
        self._outbox.say(ResponseDone(status), answer.response_id)
