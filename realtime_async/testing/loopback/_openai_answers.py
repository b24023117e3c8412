"""
What a scripted OpenAI server answers, and the events in which an answer travels.

A response is performed piece by piece, so that it can be cut between any two of them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import attrs

from realtime_async.testing.loopback._openai_items import Conversation, bytes_per_ms
from realtime_async.testing.loopback._openai_shapes import Json

__all__ = ["Answer", "AnswerEnd", "Call", "Performance"]


@attrs.frozen
class Call:
    """A function that the model asks for."""

    name: str
    arguments: str = "{}"
    """JSON text, sent as it is."""
    call_id: str | None = None
    """None: the server draws one."""


def _calls(calls: Iterable[Call]) -> tuple[Call, ...]:
    return tuple(calls)


class AnswerEnd(StrEnum):
    """How a response ends by itself."""

    COMPLETED = "completed"
    CUT_BY_LENGTH = "max_output_tokens"
    CUT_BY_FILTER = "content_filter"
    FAILED = "server_error"
    RATE_LIMITED = "rate_limit_exceeded"


@attrs.frozen
class Answer:
    """
    One response: words, spoken or written as the session's modality says, then calls of functions.

    Args:
        text: None: it says nothing.
        audio_ms: How long the words take to speak.
        delta_ms: How much audio one event holds.
        pace_s: Seconds between two deltas; 0 sends the whole answer at once.
        hold_after: After so many deltas the server goes on only when `release` is called, or the answer is cut.
    """

    text: str | None = "Of course."
    calls: tuple[Call, ...] = attrs.field(default=(), converter=_calls)
    audio_ms: int = 400
    delta_ms: int = 100
    pace_s: float = 0.0
    hold_after: int | None = None
    ends: AnswerEnd = AnswerEnd.COMPLETED

    def pieces(self) -> int:
        return max(1, -(-self.audio_ms // self.delta_ms))


_STATUS = {
    AnswerEnd.COMPLETED: "completed",
    AnswerEnd.CUT_BY_LENGTH: "incomplete",
    AnswerEnd.CUT_BY_FILTER: "incomplete",
    AnswerEnd.FAILED: "failed",
    AnswerEnd.RATE_LIMITED: "failed",
}


class Performance:
    """One response while it is given: what it has said so far, and how it goes on."""

    def __init__(
        self,
        answer: Answer,
        *,
        response_id: str,
        conversation: Conversation,
        session: Json,
        metadata: Json | None,
        draw_id: Callable[[str], str],
    ) -> None:
        self.answer = answer
        self.response_id = response_id
        self.deltas = 0
        self.audio_ms = 0.0
        self.words = 0
        self._hold_after = answer.hold_after
        self._conversation = conversation
        self._session = session
        self._metadata = metadata
        self._draw_id = draw_id
        self._is_spoken = session["output_modalities"] == ["audio"]
        self._output: list[Json] = []
        self._open: _Message | _FunctionCall | None = None
        self._rest = self._perform()

    @property
    def is_held(self) -> bool:
        return self._hold_after is not None and self.deltas >= self._hold_after

    def let_go(self) -> None:
        self._hold_after = None

    def begin(self) -> list[Json]:
        return [{"type": "response.created", "response": self._body("in_progress")}]

    def next_piece(self) -> list[Json] | None:
        """Return the next events, a delta with what belongs to it; None: all is said."""
        return next(self._rest, None)

    def end(self, usage: Json) -> list[Json]:
        """End it as the script has it."""
        ends = self.answer.ends
        details: Json = {"type": _STATUS[ends]}
        if _STATUS[ends] == "failed":
            details["error"] = {"type": str(ends), "code": str(ends)}
        elif ends is not AnswerEnd.COMPLETED:
            details["reason"] = str(ends)
        return self._end(_STATUS[ends], details, usage)

    def cut(self, reason: str) -> list[Json]:
        """End it now; the events that close what was open are sent all the same, the usage is not."""
        return self._end("cancelled", {"type": "cancelled", "reason": reason}, None)

    def _end(self, status: str, details: Json, usage: Json | None) -> list[Json]:
        closing = self._close("completed" if status == "completed" else "incomplete")
        self._rest = iter(())
        body = {**self._body(status), "status_details": details}
        if usage is not None:
            body["usage"] = usage
        return [*closing, {"type": "response.done", "response": body}]

    def _body(self, status: str) -> Json:
        return {
            "id": self.response_id,
            "object": "realtime.response",
            "status": status,
            "status_details": None,
            "output": [*self._output],
            "conversation_id": "conv_loopback",
            "output_modalities": self._session["output_modalities"],
            "max_output_tokens": self._session["max_output_tokens"],
            "metadata": self._metadata,
            "audio": {"output": {key: self._session["audio"]["output"][key] for key in ("format", "voice")}},
        }

    def _perform(self) -> Iterator[list[Json]]:
        pending: list[Json] = []
        if self.answer.text is not None:
            message = _Message(self._draw_id("item"), is_spoken=self._is_spoken)
            pending += self._start(message)
            for events in self._words(message):
                yield [*pending, *events]
                pending = []
            pending += self._close("completed")
        for call in self.answer.calls:
            asked = _FunctionCall(self._draw_id("item"), call, call.call_id or self._draw_id("call"))
            pending += self._start(asked)
            half = len(call.arguments) // 2
            for piece in (call.arguments[:half], call.arguments[half:]):
                if piece:
                    self.deltas += 1
                    yield [*pending, *map(self._place, asked.delta(piece))]
                    pending = []
            self.words += len(call.arguments.split())
            pending += self._close("completed")
        if pending:
            yield pending

    def _words(self, message: _Message) -> Iterator[list[Json]]:
        words = (self.answer.text or "").split(" ")
        pieces, said = self.answer.pieces(), 0
        for piece in range(1, pieces + 1):
            # The first words come with the first sound.
            until = -(-len(words) * piece // pieces)
            text = " ".join(words[said:until])
            text = f" {text}" if said and until > said else text
            self.words += until - said
            said = until
            self.deltas += 1
            yield [*map(self._place, message.delta(text, self._audio(piece) if self._is_spoken else b""))]

    def _audio(self, piece: int) -> bytes:
        """Return the *piece*-th delta's audio: a tone, so that a player plays something."""
        start_ms = (piece - 1) * self.answer.delta_ms
        spoken_ms = min(self.answer.delta_ms, self.answer.audio_ms - start_ms)
        size = spoken_ms * bytes_per_ms(self._session["audio"]["output"]["format"])
        self.audio_ms += spoken_ms
        assert self._open is not None
        self._conversation.spoke(self._open.item_id, spoken_ms)
        return (b"\x00\x08" * 24 + b"\x00\xf8" * 24) * (size // 96) + b"\x00" * (size % 96)

    def _start(self, part: _Message | _FunctionCall) -> list[Json]:
        self._open = part
        body = part.body("in_progress")
        previous = self._conversation.put(body, audio_ms=0.0 if part.is_model_audio else None)
        return [
            self._place({"type": "response.output_item.added", "item": body}),
            {"type": "conversation.item.added", "item": body, "previous_item_id": previous},
            *map(self._place, part.opening()),
        ]

    def _close(self, status: str) -> list[Json]:
        part, self._open = self._open, None
        if part is None:
            return []
        body = part.body(status)
        events = [
            *map(self._place, part.closing()),
            self._place({"type": "response.output_item.done", "item": body}),
            {"type": "conversation.item.done", "item": body},
        ]
        self._conversation.replace(body)
        self._output.append(body)
        return events

    def _place(self, event: Json) -> Json:
        """Say which response and which of its outputs *event* belongs to."""
        return {**event, "response_id": self.response_id, "output_index": len(self._output)}


class _Message:
    def __init__(self, item_id: str, *, is_spoken: bool) -> None:
        self.item_id = item_id
        self.is_model_audio = is_spoken
        self._text = ""

    def body(self, status: str) -> Json:
        field, kind = ("transcript", "output_audio") if self.is_model_audio else ("text", "output_text")
        content = [] if status == "in_progress" else [{"type": kind, field: self._text}]
        return _item(self.item_id, "message", status, role="assistant", content=content)

    def opening(self) -> list[Json]:
        return [self._event("response.content_part.added", part=self._part())]

    def delta(self, text: str, audio: bytes) -> list[Json]:
        self._text += text
        if not self.is_model_audio:
            return [self._event("response.output_text.delta", delta=text)]
        events = [self._event("response.output_audio.delta", delta=base64.b64encode(audio).decode())]
        if text:
            events.insert(0, self._event("response.output_audio_transcript.delta", delta=text))
        return events

    def closing(self) -> list[Json]:
        if not self.is_model_audio:
            done = [self._event("response.output_text.done", text=self._text)]
        else:
            done = [
                self._event("response.output_audio.done"),
                self._event("response.output_audio_transcript.done", transcript=self._text),
            ]
        return [*done, self._event("response.content_part.done", part=self._part())]

    def _part(self) -> Json:
        return (
            {"type": "audio", "transcript": self._text}
            if self.is_model_audio
            else {"type": "text", "text": self._text}
        )

    def _event(self, kind: str, **fields: object) -> Json:
        return {"type": kind, "item_id": self.item_id, "content_index": 0, **fields}


class _FunctionCall:
    is_model_audio = False

    def __init__(self, item_id: str, call: Call, call_id: str) -> None:
        self.item_id = item_id
        self._call = call
        self._call_id = call_id
        self._said = ""

    def body(self, status: str) -> Json:
        return _item(
            self.item_id,
            "function_call",
            status,
            name=self._call.name,
            call_id=self._call_id,
            arguments=self._said,
        )

    def opening(self) -> list[Json]:
        return []

    def delta(self, piece: str) -> list[Json]:
        self._said += piece
        return [self._event("response.function_call_arguments.delta", delta=piece)]

    def closing(self) -> list[Json]:
        return [
            self._event("response.function_call_arguments.done", name=self._call.name, arguments=self._said)
        ]

    def _event(self, kind: str, **fields: object) -> Json:
        return {"type": kind, "item_id": self.item_id, "call_id": self._call_id, **fields}


def _item(item_id: str, kind: str, status: str, **fields: object) -> Json:
    return {"id": item_id, "object": "realtime.item", "type": kind, "status": status, **fields}
