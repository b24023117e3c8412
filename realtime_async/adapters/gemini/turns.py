"""
From what the server says to frames: it numbers the answers, as the wire has no ids.

An answer begins with the first thing that is said of it, and ends with `turnComplete`; with an interaction that
is in progress, it ends when that is idle.
"""

from __future__ import annotations

from collections.abc import Iterator

from realtime_async.adapters.gemini.calls import ToolCalls
from realtime_async.adapters.gemini.coverage import Coverage, Kept
from realtime_async.adapters.gemini.wire import Content, ServerMessage, Transcription, Voice
from realtime_async.ports import (
    InputCommitted,
    InputTranscript,
    OutputText,
    OutputTranscript,
    RealtimeEvent,
    RealtimeOutputFrame,
    RealtimeResponseId,
    ResponseDone,
    ResponseStarted,
    ResponseUsage,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolCallCancelled,
)

__all__ = ["LONGEST_TEXT", "Turns"]

LONGEST_TEXT = 100_000
"""Characters of a transcript or a text, after which it counts as final, and another begins."""

# Reasons that say nothing bad of the turn.
_ENDS_WELL = frozenset({None, "TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT"})
_GOES_ON = "IN_PROGRESS"
_IS_OVER = "IDLE"


class _Text:
    """Pieces of a text, until it is told as a whole."""

    def __init__(self, event: type[InputTranscript | OutputTranscript | OutputText]) -> None:
        self._event = event
        self._pieces: list[str] = []
        self._length = 0
        self._is_told = True

    def take(self, piece: str) -> Iterator[RealtimeEvent]:
        if not piece:
            return
        self._pieces.append(piece)
        self._length += len(piece)
        self._is_told = False
        yield self._event(piece)
        if self._length >= LONGEST_TEXT:
            yield from self.end()

    def whole(self) -> Iterator[RealtimeEvent]:
        """Tell what there is, unless that was told; more of it may follow."""
        if not self._is_told:
            self._is_told = True
            yield self._event("".join(self._pieces), final=True)

    def end(self) -> Iterator[RealtimeEvent]:
        yield from self.whole()
        self._pieces.clear()
        self._length = 0


class Turns:
    """
    Reads one conversation, over all its connections.

    Args:
        prefix: Of the ids of its answers.
    """

    def __init__(self, prefix: str, calls: ToolCalls, coverage: Coverage) -> None:
        self.current: RealtimeResponseId | None = None
        """The answer being given; None: there is none."""
        self._cut_off: RealtimeResponseId | None = None
        self._prefix = prefix
        self._calls = calls
        self._coverage = coverage
        self._number = 0
        self._last: RealtimeResponseId | None = None
        self._is_cut = False
        self._is_stopped_by_us = False
        self._told_provider = False
        self._speaks = False
        self._has_spoken_since = True
        self._usage: ResponseUsage | None = None
        self._heard = _Text(InputTranscript)
        self._said = _Text(OutputTranscript)
        self._written = _Text(OutputText)

    def read(self, message: ServerMessage, now: float) -> list[RealtimeOutputFrame]:
        """
        Return the frames that *message* becomes.

        Args:
            now: Seconds on a clock that only ever advances.
        """
        return list(self._read(message, now))

    def stop(self) -> bool:
        """Note that we want no more of the answer being given; False: there is none, or it ends already."""
        if self.current is None or self._is_cut:
            return False
        self._is_stopped_by_us = True
        return True

    def told_to_stop(self) -> None:
        """The provider was told, too: the interruption that it reports isn't the person's."""
        self._told_provider = True

    def asked(self) -> None:
        """Something was sent that asks for an answer: what is said from here on isn't a straggler of the last one."""
        self._last = None

    def connection_ended(self) -> list[RealtimeOutputFrame]:
        """What becomes of the answer and the function calls that were under way."""
        frames = []
        self._coverage.connection_ended()
        if self.current is not None:
            self._cut_off = self.current
            if self._is_stopped_by_us:
                self.interrupted_meanwhile(self.current)
        call_ids = self._calls.connection_ended()
        if call_ids:
            frames.append(RealtimeOutputFrame.of(ToolCallCancelled(call_ids)))
        if self.current is not None:
            frames += self._done("cancelled" if self._is_stopped_by_us or self._is_cut else "incomplete")
        self._last = None
        self._speaks = False
        return frames

    def interrupted_meanwhile(self, response_id: RealtimeResponseId | None) -> None:
        """Nobody wants that answer any more; None: the one that was cut off, else those that are owed."""
        if self._cut_off is not None and response_id in {None, self._cut_off}:
            self._cut_off = None
            self._coverage.give_up_answer()
        elif response_id is None:
            self._coverage.give_up_owed()

    def connection_began(self, kept: Kept) -> None:
        """A new connection goes on with the conversation as far as *kept* says."""
        self._cut_off = None
        self._coverage.reconnected(kept)

    def _read(self, message: ServerMessage, now: float) -> Iterator[RealtimeOutputFrame]:
        if message.voice is not None:
            yield from self._voice(message.voice)
        content = message.content
        if content is not None:
            yield from self._heard_person(content.heard)
            yield from self._spoke(content, now)
            if content.interrupted:
                yield from self._interrupted()
        if message.usage is not None and self.current is not None:
            # The counts of an answer grow from message to message; the last one has it all.
            self._usage = message.usage
        for call in message.calls:
            yield from self._begin(now)
            self._calls.asked(call.call_id, call.name)
            yield self._of_answer(ToolCall(call.call_id, call.name, call.arguments))
        if message.cancelled_calls:
            self._calls.cancelled(message.cancelled_calls)
            yield RealtimeOutputFrame.of(ToolCallCancelled(message.cancelled_calls))
        if content is not None:
            yield from self._ended(content)
        if message.resumption is not None and message.resumption.handle is not None:
            self._coverage.handle_came(now)
        if message.go_away is not None:
            yield RealtimeOutputFrame.of(message.go_away)

    # The person

    def _voice(self, voice: Voice) -> Iterator[RealtimeOutputFrame]:
        if (voice is Voice.STARTED) is self._speaks:
            return
        self._speaks = voice is Voice.STARTED
        # The wire has an offset, but doesn't say from where.
        yield RealtimeOutputFrame.of(SpeechStarted() if self._speaks else SpeechStopped())

    def _heard_person(self, heard: Transcription | None) -> Iterator[RealtimeOutputFrame]:
        if heard is None:
            return
        self._last = None
        yield from map(RealtimeOutputFrame.of, self._heard.take(heard.text))
        if heard.is_finished:
            yield from map(RealtimeOutputFrame.of, self._heard.end())

    def _interrupted(self) -> Iterator[RealtimeOutputFrame]:
        # What the person says from here on is another sentence.
        yield from map(RealtimeOutputFrame.of, self._heard.end())
        is_ours, self._told_provider = self._told_provider, False
        is_told = self._is_cut or self._speaks or not self._has_spoken_since
        self._is_cut = self.current is not None
        self._has_spoken_since = False
        if not is_ours and not is_told:
            yield RealtimeOutputFrame.of(SpeechStarted())

    # The answer

    def _spoke(self, content: Content, now: float) -> Iterator[RealtimeOutputFrame]:
        if content.parts:
            yield from self._begin(now)
        for part in content.parts:
            self._has_spoken_since = True
            if isinstance(part, bytes):
                yield RealtimeOutputFrame.audio(part, response_id=self.current)
            else:
                yield from map(self._of_answer, self._written.take(part))
        if content.said is None:
            return
        if self.current is None and self._last is not None:
            # It comes in no particular order, so this may be the rest of what was said before.
            if content.said.text and not self._is_stopped_by_us:
                straggler = OutputTranscript(content.said.text)
                yield RealtimeOutputFrame.of(straggler, response_id=self._last)
            return
        if content.said.text and not self._is_cut:
            yield from self._begin(now)
        yield from map(self._of_answer, self._said.take(content.said.text))
        if content.said.is_finished:
            yield from map(self._of_answer, self._said.end())

    def _begin(self, now: float) -> Iterator[RealtimeOutputFrame]:
        if self.current is not None and self._is_cut:
            # What was cut off says no more: this is another answer.
            yield from self._done("cancelled")
        if self.current is not None:
            return
        self._number += 1
        self._is_stopped_by_us = self._told_provider = self._is_cut = self._speaks = False
        self._has_spoken_since = True
        self.current = RealtimeResponseId(f"{self._prefix}.{self._number}")
        yield from map(RealtimeOutputFrame.of, self._heard.whole())
        if self._coverage.answer_began(now):
            yield RealtimeOutputFrame.of(InputCommitted())
        yield self._of_answer(ResponseStarted())

    def _ended(self, content: Content) -> Iterator[RealtimeOutputFrame]:
        is_over = content.status == _IS_OVER
        if content.generation_complete or content.turn_complete or is_over:
            yield from self._tell_texts()
        if self.current is None or not (content.turn_complete or is_over):
            return
        if self._is_cut or self._is_stopped_by_us:
            yield from self._done("cancelled")
        elif content.reason not in _ENDS_WELL:
            yield from self._done("failed")
        elif content.status != _GOES_ON:
            yield from self._done("completed")

    def _tell_texts(self) -> Iterator[RealtimeOutputFrame]:
        yield from map(RealtimeOutputFrame.of, self._heard.whole())
        if self.current is not None:
            yield from map(self._of_answer, self._said.whole())
            yield from map(self._of_answer, self._written.whole())

    def _done(self, status: str) -> Iterator[RealtimeOutputFrame]:
        if not self._is_cut:
            yield from map(RealtimeOutputFrame.of, self._heard.end())
        yield from map(self._of_answer, self._said.end())
        yield from map(self._of_answer, self._written.end())
        yield self._of_answer(ResponseDone(status, self._usage))
        self._last, self.current = self.current, None
        self._is_cut = False
        self._usage = None
        self._coverage.answer_ended()

    def _of_answer(self, event: RealtimeEvent) -> RealtimeOutputFrame:
        return RealtimeOutputFrame.of(event, response_id=self.current)
