"""
From frames to the client's messages, as far as the protocol has any.

One of these serves one connection, as a new one knows of no activity.
"""

from __future__ import annotations

import base64
import json
from typing import Any, assert_never

import attrs

from realtime_async.adapters.gemini.calls import ToolCalls
from realtime_async.adapters.gemini.config import GeminiLiveConfig, TextInput, TurnTaking
from realtime_async.adapters.gemini.coverage import InputKind
from realtime_async.errors import ProviderFailure, RetryClassification
from realtime_async.ports import (
    AudioEncoding,
    AudioFormat,
    InputSignal,
    RealtimeInputFrame,
    RealtimeMediaKind,
)

__all__ = ["INPUT_FORMAT", "Inputs", "Plan", "Step"]

INPUT_FORMAT = AudioFormat(sample_rate=16_000)

# However text is sent: content would cut off the answer to them.
_ASK_BY_THEMSELVES = frozenset({InputKind.RESULT, InputKind.ENDS_TURN})
_PICTURES = frozenset({"image/jpeg", "image/png", "image/webp", "image/heic", "image/heif"})


@attrs.frozen
class Step:
    """One message, and what the connection knows once it was sent."""

    message: str = attrs.field(repr=False)
    is_active: bool
    """Whether the person is speaking, where the program says so."""


@attrs.frozen
class Plan:
    """What a frame becomes; its steps are taken in order."""

    kind: InputKind
    steps: tuple[Step, ...] = ()


class Inputs:
    def __init__(self, config: GeminiLiveConfig, calls: ToolCalls) -> None:
        self._calls = calls
        self._is_manual = config.turn_taking is TurnTaking.MANUAL
        self._is_ordered = config.text_input is TextInput.CONTENT
        self._is_active = False
        self._said_last: InputKind | None = None

    def plan(self, frame: RealtimeInputFrame) -> Plan:
        """
        Return what *frame* becomes.

        Raises:
            ProviderFailure: Gemini Live has nothing for it.
        """
        if frame.content_refs:
            raise _refused(
                f"a frame with {len(frame.content_refs)} content references", "send what they refer to"
            )
        match frame.media_kind:
            case RealtimeMediaKind.AUDIO:
                return self._audio(frame)
            case RealtimeMediaKind.VIDEO:
                return self._picture(frame)
            case RealtimeMediaKind.IMAGE:
                return self._content_picture(frame) if self._is_ordered else self._picture(frame)
            case RealtimeMediaKind.TEXT:
                return self._text(_written(frame))
            case RealtimeMediaKind.TOOL_RESULT:
                return self._tool_result(frame)
            case RealtimeMediaKind.CONTROL:
                return self._signal(frame)
            case kind:
                raise _refused(f"a frame of {kind}", "send audio, text, pictures, tool results or signals")

    def took(self, step: Step) -> None:
        """Note that *step* was sent."""
        self._is_active = step.is_active

    def passed(self, frame: RealtimeInputFrame, kind: InputKind) -> None:
        """Note that *frame* had its turn, sent or not: what asks after it asks about it."""
        is_written = self._holds_content and not self._is_manual
        if frame.signal is InputSignal.END_OF_TURN and (is_written or kind is InputKind.NOTHING):
            # It asks about what was spoken only.
            return
        is_request = frame.media_kind is RealtimeMediaKind.CONTROL and kind is not InputKind.ENDS_TURN
        self._said_last = None if is_request else kind

    def offered_result(self) -> None:
        """Note that a result had its turn, though it may be refused: what asks after it asks about it, or about content."""
        if not self._holds_content:
            self._said_last = InputKind.RESULT

    @property
    def _holds_content(self) -> bool:
        return self._said_last is InputKind.CONTENT

    def sent(self, frame: RealtimeInputFrame, kind: InputKind) -> None:
        """Note that all steps of *frame* were."""
        self.passed(frame, kind)
        if frame.media_kind is RealtimeMediaKind.TOOL_RESULT:
            self._calls.answered(frame.call_id)

    def interruption(self) -> Step | None:
        """Return what stops the answer at the provider; None: only speech does, or it has been stopped."""
        if self._is_manual:
            return None if self._is_active else Step(_ACTIVITY_START, is_active=True)
        if self._is_ordered:
            # Any such message interrupts; this one adds nothing and asks for nothing.
            return Step(_client_content([], asks=False), is_active=False)
        return None

    def _step(self, message: str) -> Step:
        return Step(message, self._is_active)

    def _audio(self, frame: RealtimeInputFrame) -> Plan:
        audio_format = INPUT_FORMAT if frame.audio_format is None else frame.audio_format
        if audio_format.encoding is not AudioEncoding.PCM16 or audio_format.channels != 1:
            raise _refused(
                f"audio of {audio_format.encoding} with {audio_format.channels} channel(s)",
                "send pcm16, mono",
            )
        audio = _blob(frame.payload, f"audio/pcm;rate={audio_format.sample_rate}")
        message = f'{{"realtimeInput":{{"audio":{audio}}}}}'
        if not self._is_manual:
            return Plan(InputKind.MEDIA, (self._step(message),))
        step = Step(message, is_active=True)
        begins = () if self._is_active else (Step(_ACTIVITY_START, is_active=True),)
        return Plan(InputKind.MEDIA, (*begins, step))

    def _picture(self, frame: RealtimeInputFrame) -> Plan:
        video = _blob(frame.payload, _picture_type(frame))
        return Plan(InputKind.MEDIA, (self._step(f'{{"realtimeInput":{{"video":{video}}}}}'),))

    def _content_picture(self, frame: RealtimeInputFrame) -> Plan:
        part = {"inlineData": json.loads(_blob(frame.payload, _picture_type(frame)))}
        return Plan(InputKind.CONTENT, (self._step(_client_content([part], asks=False)),))

    def _text(self, text: str) -> Plan:
        if self._is_ordered:
            return Plan(InputKind.CONTENT, (self._step(_client_content([{"text": text}], asks=False)),))
        return Plan(InputKind.ASKS, (self._step(json.dumps({"realtimeInput": {"text": text}})),))

    def _tool_result(self, frame: RealtimeInputFrame) -> Plan:
        response = {
            "id": frame.call_id,
            "name": self._calls.name_of(frame.call_id),
            "response": _as_object(_written(frame)),
        }
        message = json.dumps({"toolResponse": {"functionResponses": [response]}})
        return Plan(InputKind.RESULT, (self._step(message),))

    def _signal(self, frame: RealtimeInputFrame) -> Plan:
        match frame.signal:
            case InputSignal.REQUEST_RESPONSE:
                return self._request(frame.payload)
            case InputSignal.END_OF_TURN:
                return self._end_of_turn()
            case InputSignal.CLEAR_INPUT:
                raise _refused("clear_input", "what was sent stays said; leave the signal out")
            case None:
                raise _refused("a control frame without a signal", "say which")
            case _:
                assert_never(frame.signal)

    def _request(self, instructions: object) -> Plan:
        if self._said_last in _ASK_BY_THEMSELVES and not isinstance(instructions, str):
            return Plan(InputKind.NOTHING)
        if self._is_ordered:
            parts = [{"text": instructions}] if isinstance(instructions, str) else []
            return Plan(InputKind.ASKS, (self._step(_client_content(parts, asks=True)),))
        if isinstance(instructions, str):
            return self._text(instructions)
        if self._said_last is None:
            raise _refused(
                "request_response without instructions, and nothing said before it", "give instructions"
            )
        if self._said_last is InputKind.MEDIA:
            return self._end_of_turn()
        # Text has asked by itself.
        return Plan(InputKind.NOTHING)

    def _end_of_turn(self) -> Plan:
        if not self._is_manual:
            return Plan(InputKind.ENDS_TURN, (self._step(_STREAM_END),))
        if self._is_active:
            return Plan(InputKind.ENDS_TURN, (Step(_ACTIVITY_END, is_active=False),))
        return Plan(InputKind.NOTHING)


_ACTIVITY_START = '{"realtimeInput":{"activityStart":{}}}'
_ACTIVITY_END = '{"realtimeInput":{"activityEnd":{}}}'
_STREAM_END = '{"realtimeInput":{"audioStreamEnd":true}}'


def _refused(what: str, instead: str) -> ProviderFailure:
    return ProviderFailure(
        f"Gemini Live has no message for {what}: {instead}",
        retry=RetryClassification.NOT_RETRYABLE,
        code="unsupported",
    )


def _written(frame: RealtimeInputFrame) -> str:
    if not isinstance(frame.payload, str):
        raise _refused(f"a frame of {frame.media_kind} without a text", "send some")
    return frame.payload


def _blob(payload: bytes | str | None, mime_type: str) -> str:
    """As JSON text; neither base64 nor the type need escaping, and this runs 50 times a second."""
    if not isinstance(payload, bytes) or not payload:
        raise _refused(f"{mime_type} without bytes", "send some")
    return f'{{"data":"{base64.b64encode(payload).decode()}","mimeType":"{mime_type}"}}'


def _picture_type(frame: RealtimeInputFrame) -> str:
    if frame.mime_type not in _PICTURES:
        raise _refused(
            f"a picture of type {frame.mime_type!r}", f"send one of {', '.join(sorted(_PICTURES))}"
        )
    return frame.mime_type


def _client_content(parts: list[dict[str, Any]], *, asks: bool) -> str:
    content: dict[str, Any] = {"turns": [{"role": "user", "parts": parts}]} if parts else {}
    return json.dumps({"clientContent": {**content, "turnComplete": asks}})


def _as_object(output: str) -> dict[str, Any]:
    """What the tool returned as the object that the wire wants."""
    try:
        value = json.loads(output)
    except (ValueError, RecursionError):
        return {"output": output}
    return value if isinstance(value, dict) else {"output": value}
