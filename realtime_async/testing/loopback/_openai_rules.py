"""
One connection as an OpenAI Realtime server sees it: an event in, events out.

Nothing here waits, reads a clock or touches a socket: the time is an argument, and `next_due` says when to ask again.
What the server says is decided here or by the script; how it reaches the client is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeAlias

import attrs
import orjson

from realtime_async.testing.loopback._openai_answers import Performance
from realtime_async.testing.loopback._openai_input import Edge, InputBuffer
from realtime_async.testing.loopback._openai_items import Conversation, bytes_of_base64, bytes_per_ms
from realtime_async.testing.loopback._openai_script import Configuration, Progress, Transcribes
from realtime_async.testing.loopback._openai_session import first_session, merged
from realtime_async.testing.loopback._openai_shapes import CLIENT_EVENTS, Json, Refused, hold_to_shape
from realtime_async.testing.loopback._openai_usage import Usage
from realtime_async.testing.loopback.hearing import Speech

__all__ = ["Close", "OpenAIRules", "Output"]

MAX_APPEND_BYTES = 15 * 1024 * 1024
SHORTEST_COMMIT_MS = 100

# What may be said before the session was configured, where the script asks for that.
_BEFORE_CONFIGURATION = {"session.update"}


@attrs.frozen
class Close:
    """The server ends the connection."""

    code: int
    reason: str


Output: TypeAlias = Json | Close


class OpenAIRules:
    """What one connection may do, and what it has done."""

    def __init__(self, progress: Progress, *, model: str, number: int, now: float, epoch_s: int) -> None:
        """
        Args:
            progress: The script, and how far it was played on all connections together.
            number: Of the connection; ids bear it, so none is given twice.
            now: Seconds, of a clock that only goes forward.
            epoch_s: The same moment, in seconds since 1970.
        """
        script = progress.script
        self.conversation = Conversation()
        self.input = InputBuffer(script.turns)
        self.is_configured = False
        self.is_closed = False
        self._script = script
        self._progress = progress
        self._number = number
        self._ids = 0
        self._events = 0
        self._expires = now + script.session_s
        self._session = first_session(self._draw_id("sess"), model, epoch_s + int(script.session_s))
        self._usage = Usage()
        self._answering: Performance | None = None
        self._answer_due = now
        self._speech_item: str | None = None
        self._transcripts: list[Json] = []

    @property
    def session(self) -> Json:
        return self._session

    @property
    def next_due(self) -> float:
        """When `advance` has something to do at the latest."""
        if self._answering is None or self._answering.is_held:
            return self._expires
        return min(self._expires, self._answer_due)

    def open(self) -> list[Output]:
        return [*self._stamped([{"type": "session.created", "session": self._session}])]

    def receive(self, message: str | bytes, now: float) -> list[Output]:
        """Take a message of the client's; a wrong one is answered with an `error` event."""
        if self.is_closed:
            return []
        event_id = None
        try:
            event = _decoded(message)
            event_id = event.get("event_id")
            said = self._act_upon(event, now)
        except Refused as refused:
            said = [_error(refused, event_id if isinstance(event_id, str) else None)]
        return [*self._stamped(said), *self.advance(now)]

    def advance(self, now: float) -> list[Output]:
        """Go on with what has become due."""
        if self.is_closed:
            return []
        if now >= self._expires:
            return self._expire()
        said: list[Json] = []
        while self._answering is not None and not self._answering.is_held and self._answer_due <= now:
            said += self._play_on(self._answering, now)
        return [*self._stamped(said)]

    def release(self) -> None:
        """Let an answer go on that the script holds up; `next_due` says when."""
        if self._answering is not None and self._answering.is_held:
            self._answering.let_go()
            self._answer_due = 0.0

    def _act_upon(self, event: Json, now: float) -> list[Json]:
        kind = event.get("type")
        if kind is None:
            raise Refused("missing_required_parameter", "Missing required parameter: 'type'.", "type")
        if kind not in CLIENT_EVENTS:
            raise Refused(
                "invalid_value",
                f"Invalid value: {kind!r}. Supported values are: {[*CLIENT_EVENTS]!r}.",
                "type",
            )
        hold_to_shape(event, CLIENT_EVENTS[kind])
        is_early = not self.is_configured and kind not in _BEFORE_CONFIGURATION
        if is_early and self._script.configuration is Configuration.REQUIRED:
            raise Refused("session_not_configured", f"Send session.update before {kind}.", "type")
        return self._ACTIONS[kind](self, event, now)

    def _update_session(self, event: Json, now: float) -> list[Json]:
        self._session = merged(self._session, event["session"], has_spoken=self.conversation.has_model_audio)
        self.is_configured = True
        return [{"type": "session.updated", "session": self._session}]

    def _append(self, event: Json, now: float) -> list[Json]:
        audio = bytes_of_base64(event["audio"], "audio")
        if not audio:
            raise Refused("invalid_value", "Invalid 'audio': it is empty.", "audio")
        if len(audio) > MAX_APPEND_BYTES:
            raise Refused(
                "string_above_max_length", f"Invalid 'audio': more than {MAX_APPEND_BYTES} bytes.", "audio"
            )
        rate = bytes_per_ms(self._session["audio"]["input"]["format"])
        said: list[Json] = []
        for edge in self.input.append(audio, bytes_per_ms=rate):
            if edge is not None and self._session["audio"]["input"]["turn_detection"] is not None:
                said += self._turn(edge, now)
        return said

    def _turn(self, edge: Edge, now: float) -> Iterator[Json]:
        detection = self._session["audio"]["input"]["turn_detection"]
        if edge.speech is Speech.STARTED:
            self._speech_item = self._draw_id("item")
            start_ms = max(round(self.input.begins_ms), edge.at_ms - detection.get("prefix_padding_ms", 0))
            yield {
                "type": "input_audio_buffer.speech_started",
                "audio_start_ms": start_ms,
                "item_id": self._speech_item,
            }
            if detection["interrupt_response"] and self._answering is not None:
                yield from self._cut("turn_detected")
            return
        if self._speech_item is None:
            # Committed by the client while it was being said.
            return
        yield {
            "type": "input_audio_buffer.speech_stopped",
            "audio_end_ms": edge.at_ms,
            "item_id": self._speech_item,
        }
        yield from self._take_input()
        if detection["create_response"]:
            yield from self._respond({}, now)

    def _commit(self, event: Json, now: float) -> list[Json]:
        if self.input.held_ms < SHORTEST_COMMIT_MS:
            raise Refused(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{SHORTEST_COMMIT_MS}ms of audio, but buffer only has {self.input.held_ms:.2f}ms of audio.",
            )
        return [*self._take_input()]

    def _take_input(self) -> Iterator[Json]:
        """Make an item of the input buffer."""
        item_id, self._speech_item = self._speech_item or self._draw_id("item"), None
        spoken_ms = self.input.empty()
        self._usage.heard(spoken_ms)
        body: Json = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        previous = self.conversation.put(body)
        yield {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": previous}
        yield {"type": "conversation.item.added", "item": body, "previous_item_id": previous}
        yield {"type": "conversation.item.done", "item": body, "previous_item_id": previous}
        if self._session["audio"]["input"]["transcription"] is not None:
            self._transcripts += self._progress.transcript_of(item_id, spoken_ms)
        if self._script.transcribes is Transcribes.BEFORE:
            yield from self._take_transcripts()

    def _take_transcripts(self) -> list[Json]:
        taken, self._transcripts = self._transcripts, []
        return taken

    def _clear_input(self, event: Json, now: float) -> list[Json]:
        self.input.empty()
        self._speech_item = None
        return [{"type": "input_audio_buffer.cleared"}]

    def _clear_output(self, event: Json, now: float) -> list[Json]:
        raise Refused("invalid_value", "output_audio_buffer.clear is for WebRTC and SIP only.", "type")

    def _create_item(self, event: Json, now: float) -> list[Json]:
        body, previous = self.conversation.create(
            event["item"], event.get("previous_item_id"), self._draw_id("item")
        )
        self._usage.read(body)
        return [
            {"type": f"conversation.item.{what}", "item": body, "previous_item_id": previous}
            for what in ("added", "done")
        ]

    def _retrieve_item(self, event: Json, now: float) -> list[Json]:
        return [{"type": "conversation.item.retrieved", "item": self.conversation.retrieve(event["item_id"])}]

    def _delete_item(self, event: Json, now: float) -> list[Json]:
        self.conversation.delete(event["item_id"])
        return [{"type": "conversation.item.deleted", "item_id": event["item_id"]}]

    def _truncate_item(self, event: Json, now: float) -> list[Json]:
        cut = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        self.conversation.truncate(**cut)
        return [{"type": "conversation.item.truncated", **cut}]

    def _create_response(self, event: Json, now: float) -> list[Json]:
        params = event.get("response", {})
        if params.get("conversation") == "none":
            raise Refused(
                "invalid_value",
                "This server gives no answers outside its conversation.",
                "response.conversation",
            )
        if self._answering is not None:
            raise self._busy()
        return [*self._respond(params, now)]

    def _busy(self) -> Refused:
        assert self._answering is not None
        return Refused(
            "conversation_already_has_active_response",
            f"Conversation already has an active response in progress: {self._answering.response_id}. "
            "Wait until the response is finished before creating a new one.",
        )

    def _respond(self, params: Json, now: float) -> Iterator[Json]:
        if self._answering is not None:
            # A turn that was detected asks for an answer, and no event of the client's is to blame.
            yield _error(self._busy(), None)
            return
        keys = ("output_modalities", "audio", "max_output_tokens")
        chosen = {key: params[key] for key in keys if key in params}
        self._answering = Performance(
            self._progress.next_answer(),
            response_id=self._draw_id("resp"),
            conversation=self.conversation,
            session=merged(self._session, chosen, has_spoken=False),
            metadata=params.get("metadata"),
            draw_id=self._draw_id,
        )
        self._answer_due = now
        yield from self._answering.begin()
        yield {"type": "rate_limits.updated", "rate_limits": [*_RATE_LIMITS]}

    def _play_on(self, answering: Performance, now: float) -> list[Json]:
        """Say the next piece of an answer, or end it."""
        said = answering.next_piece()
        if said is None:
            self._answering = None
            # Counted first: what was said becomes input of the next response.
            usage = self._usage.of_response(answering.words, answering.audio_ms)
            return [*answering.end(usage), *self._take_transcripts()]
        self._answer_due = now + answering.answer.pace_s
        if self._script.transcribes is Transcribes.DURING:
            said += self._take_transcripts()
        return said

    def _cancel_response(self, event: Json, now: float) -> list[Json]:
        meant = event.get("response_id")
        if self._answering is None or (meant is not None and meant != self._answering.response_id):
            raise Refused("response_cancel_not_active", "Cancellation failed: no active response found")
        return [*self._cut("client_cancelled")]

    def _cut(self, reason: str) -> list[Json]:
        assert self._answering is not None
        answering, self._answering = self._answering, None
        self._usage.of_response(answering.words, answering.audio_ms)
        return [*answering.cut(reason), *self._take_transcripts()]

    def _expire(self) -> list[Output]:
        self.is_closed = True
        minutes = f"{self._script.session_s / 60:g} minutes"
        reason = f"Your session hit the maximum duration of {minutes}."
        return [
            *self._stamped([_error(Refused("session_expired", reason), None)]),
            Close(1001, reason),
        ]

    def _draw_id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}_{self._number}_{self._ids}"

    def _stamped(self, events: list[Json]) -> Iterator[Json]:
        for event in events:
            self._events += 1
            yield {"event_id": f"event_{self._number}_{self._events}", **event}

    _ACTIONS: ClassVar[Mapping[str, Callable[[OpenAIRules, Json, float], list[Json]]]] = {
        "session.update": _update_session,
        "input_audio_buffer.append": _append,
        "input_audio_buffer.commit": _commit,
        "input_audio_buffer.clear": _clear_input,
        "output_audio_buffer.clear": _clear_output,
        "conversation.item.create": _create_item,
        "conversation.item.retrieve": _retrieve_item,
        "conversation.item.delete": _delete_item,
        "conversation.item.truncate": _truncate_item,
        "response.create": _create_response,
        "response.cancel": _cancel_response,
    }


_RATE_LIMITS: tuple[Json, ...] = (
    {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 0.06},
    {"name": "tokens", "limit": 50_000, "remaining": 49_000, "reset_seconds": 1.2},
)


def _decoded(message: str | bytes) -> Json:
    if isinstance(message, bytes):
        raise Refused("invalid_json", "Expected a text frame, got a binary one.")
    try:
        event: Any = orjson.loads(message)
    except ValueError:
        raise Refused("invalid_json", "The message is not valid JSON.") from None
    if not isinstance(event, dict):
        raise Refused("invalid_json", "The message is not a JSON object.")
    return event


def _error(refused: Refused, event_id: str | None) -> Json:
    error = {
        "type": "invalid_request_error",
        "code": refused.code,
        "message": refused.message,
        "param": refused.param,
        "event_id": event_id,
    }
    return {"type": "error", "error": error}
