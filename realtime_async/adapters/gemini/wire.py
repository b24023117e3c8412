"""
A message of the server's, from bytes to values.

It is read whole before anything is made of it, so a message that is malformed anywhere has no effect at all.
What isn't known is named and left out; nothing here remembers anything.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any, NoReturn

import attrs

from realtime_async.errors import ProviderFailure, RetryClassification
from realtime_async.ports import GoAway, ResponseUsage

__all__ = [
    "Content",
    "FunctionCall",
    "Resumption",
    "ServerMessage",
    "Transcription",
    "Voice",
    "malformed",
    "read_message",
]

OUTPUT_RATE = 24_000

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)s", re.ASCII)
_RATE = re.compile(r"rate=([0-9]{1,9})", re.ASCII)
_URL_SAFE = str.maketrans("-_", "+/")


class Voice(Enum):
    """What the provider's speech detection noticed."""

    STARTED = auto()
    STOPPED = auto()


_VOICES: Mapping[str, Mapping[str, Voice]] = {
    "voiceActivity": {"ACTIVITY_START": Voice.STARTED, "ACTIVITY_END": Voice.STOPPED},
    "voiceActivityDetectionSignal": {
        "VAD_SIGNAL_TYPE_SOS": Voice.STARTED,
        "VAD_SIGNAL_TYPE_EOS": Voice.STOPPED,
    },
}
_VOICE_FIELDS = {"voiceActivity": "type", "voiceActivityDetectionSignal": "vadSignalType"}


@attrs.frozen
class Transcription:
    text: str = attrs.field(repr=False)
    is_finished: bool


@attrs.frozen
class FunctionCall:
    call_id: str
    name: str
    arguments: str = attrs.field(repr=False)
    """JSON text of an object."""


@attrs.frozen
class Resumption:
    """What can be resumed at the moment; None: nothing, the older handle stays the newest."""

    handle: str | None = attrs.field(repr=False)


@attrs.frozen
class Content:
    """What a `serverContent` says."""

    parts: tuple[bytes | str, ...] = attrs.field(repr=False)
    """Of the model's turn, in order: pcm16 of `OUTPUT_RATE`, or text."""
    heard: Transcription | None
    said: Transcription | None
    interrupted: bool
    generation_complete: bool
    turn_complete: bool
    reason: str | None
    """Why the turn ended, where it wasn't because all was said."""
    status: str | None
    """Of the interaction, which may go on after a turn."""


@attrs.frozen
class ServerMessage:
    """What one message says; it may say several things at once."""

    setup_complete: bool = False
    content: Content | None = None
    calls: tuple[FunctionCall, ...] = ()
    cancelled_calls: tuple[str, ...] = ()
    usage: ResponseUsage | None = None
    go_away: GoAway | None = None
    resumption: Resumption | None = None
    voice: Voice | None = None
    ignored: tuple[str, ...] = ()
    """Names of what is left out: known ones as they are, all others as "unknown"."""


def malformed(name: str) -> ProviderFailure:
    """The error for a message of which only the type is told."""
    return ProviderFailure(
        f"Gemini Live sent a malformed message of type {name!r}, which was left out; the connection lives: "
        "receive again",
        retry=RetryClassification.RETRYABLE,
        code="protocol_error",
    )


def read_message(data: bytes | str) -> ServerMessage:
    """
    Read one message, from a text or from a binary frame.

    Raises:
        ProviderFailure: It is malformed.
    """
    try:
        values = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise malformed("not JSON") from None
    if not isinstance(values, dict):
        raise malformed("not an object")
    fields: dict[str, Any] = {}
    ignored: list[str] = []
    for name, value in values.items():
        if name not in _READERS:
            ignored.append("unknown")
        elif value is not None:
            _READERS[name](_Object(name, name, value, ignored), fields)
    return ServerMessage(**fields, ignored=tuple(ignored))


def _refuse(constant: str) -> NoReturn:
    raise ValueError("JSON has no such number")


class _Object:
    """An object of a message; what is of another kind than asked for makes the message malformed."""

    def __init__(self, message: str, path: str, value: object, ignored: list[str]) -> None:
        self._message = message
        self._path = path
        self.ignored = ignored
        if not isinstance(value, dict):
            raise malformed(message)
        self._values: dict[str, object] = value

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def fail(self) -> NoReturn:
        # What stands behind it may hold content.
        raise malformed(self._message) from None

    def _of(self, key: str, kind: type | tuple[type, ...]) -> Any:
        value = self._values.get(key)
        if value is not None and not isinstance(value, kind):
            self.fail()
        return value

    def text(self, key: str) -> str | None:
        value: str | None = self._of(key, str)
        return value

    def flag(self, key: str) -> bool:
        return bool(self._of(key, bool))

    def whole(self, key: str) -> int | None:
        """A number of 32 or of 64 bits; the latter is a string in protobuf's JSON."""
        value = self._of(key, (int, str))
        if isinstance(value, bool):
            self.fail()
        if isinstance(value, str):
            if not re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII):
                self.fail()
            return int(value)
        return None if value is None else int(value)

    def object(self, key: str) -> _Object | None:
        value = self._values.get(key)
        return None if value is None else _Object(self._message, f"{self._path}.{key}", value, self.ignored)

    def objects(self, key: str) -> Iterator[_Object]:
        for value in self._of(key, list) or ():
            yield _Object(self._message, f"{self._path}.{key}", value, self.ignored)

    def texts(self, key: str) -> tuple[str, ...]:
        values: list[object] = self._of(key, list) or []
        if not all(isinstance(value, str) for value in values):
            self.fail()
        return tuple(map(str, values))

    def as_json(self, key: str) -> str:
        value = self._of(key, dict)
        try:
            return json.dumps(value or {}, allow_nan=False)
        except (ValueError, RecursionError):
            self.fail()

    def leave_out(self, *keys: str) -> None:
        """Name those of *keys* that are there, and that nothing is made of."""
        self.ignored += [f"{self._path}.{key}" for key in keys if key in self]


def _read_setup_complete(values: _Object, fields: dict[str, Any]) -> None:
    fields["setup_complete"] = True


def _read_content(values: _Object, fields: dict[str, Any]) -> None:
    values.leave_out("groundingMetadata", "urlContextMetadata", "interimInputTranscription")
    turn = values.object("modelTurn")
    fields["content"] = Content(
        parts=() if turn is None else tuple(_parts(turn)),
        heard=_transcription(values.object("inputTranscription")),
        said=_transcription(values.object("outputTranscription")),
        interrupted=values.flag("interrupted"),
        generation_complete=values.flag("generationComplete"),
        turn_complete=values.flag("turnComplete"),
        reason=values.text("turnCompleteReason"),
        status=values.text("interactionStatus"),
    )


def _parts(turn: _Object) -> Iterator[bytes | str]:
    for part in turn.objects("parts"):
        if part.flag("thought"):
            part.leave_out("thought")
            continue
        part.leave_out("executableCode", "codeExecutionResult", "fileData", "functionCall")
        text = part.text("text")
        if text:
            yield text
        blob = part.object("inlineData")
        if blob is not None:
            pcm = _pcm(blob)
            if pcm:
                yield pcm


def _pcm(blob: _Object) -> bytes:
    mime_type = (blob.text("mimeType") or "").lower()
    if not mime_type.startswith("audio/"):
        blob.leave_out("data")
        return b""
    rate = _RATE.search(mime_type)
    pcm = _bytes(blob)
    if not mime_type.startswith("audio/pcm") or (rate and int(rate[1]) != OUTPUT_RATE) or len(pcm) % 2:
        blob.fail()
    return pcm


def _bytes(blob: _Object) -> bytes:
    """Of base64 in either alphabet, padded or not."""
    text = (blob.text("data") or "").translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        blob.fail()


def _transcription(values: _Object | None) -> Transcription | None:
    if values is None:
        return None
    return Transcription(values.text("text") or "", values.flag("finished"))


def _read_calls(values: _Object, fields: dict[str, Any]) -> None:
    fields["calls"] = tuple(map(_call, values.objects("functionCalls")))


def _call(values: _Object) -> FunctionCall:
    call_id, name = values.text("id"), values.text("name")
    if not call_id or not name:
        values.fail()
    return FunctionCall(call_id, name, values.as_json("args"))


def _read_cancellation(values: _Object, fields: dict[str, Any]) -> None:
    fields["cancelled_calls"] = values.texts("ids")


def _read_usage(values: _Object, fields: dict[str, Any]) -> None:
    asked = _by_modality(values, "promptTokensDetails")
    # Vertex has another name for it.
    answered = _by_modality(values, "responseTokensDetails") or _by_modality(
        values, "candidatesTokensDetails"
    )
    fields["usage"] = ResponseUsage(
        input_text_tokens=asked.get("TEXT"),
        input_audio_tokens=asked.get("AUDIO"),
        cached_tokens=values.whole("cachedContentTokenCount"),
        output_text_tokens=answered.get("TEXT"),
        output_audio_tokens=answered.get("AUDIO"),
    )


def _by_modality(values: _Object, key: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for detail in values.objects(key):
        modality, count = detail.text("modality") or "", detail.whole("tokenCount") or 0
        counts[modality] = counts.get(modality, 0) + count
    return counts


def _read_go_away(values: _Object, fields: dict[str, Any]) -> None:
    left = values.text("timeLeft")
    if left is None:
        fields["go_away"] = GoAway()
        return
    found = _DURATION.fullmatch(left)
    if found is None:
        values.fail()
    fields["go_away"] = GoAway(float(found[1]))


def _read_resumption(values: _Object, fields: dict[str, Any]) -> None:
    handle = values.text("newHandle")
    fields["resumption"] = Resumption(handle if handle and values.flag("resumable") else None)


def _read_voice(values: _Object, fields: dict[str, Any]) -> None:
    for name, field in _VOICE_FIELDS.items():
        kind = values.text(field)
        if kind is not None:
            fields["voice"] = _VOICES[name].get(kind)


_READERS = {
    "setupComplete": _read_setup_complete,
    "serverContent": _read_content,
    "toolCall": _read_calls,
    "toolCallCancellation": _read_cancellation,
    "usageMetadata": _read_usage,
    "goAway": _read_go_away,
    "sessionResumptionUpdate": _read_resumption,
    "voiceActivity": _read_voice,
    "voiceActivityDetectionSignal": _read_voice,
}
