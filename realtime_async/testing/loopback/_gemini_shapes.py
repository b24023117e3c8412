"""
What a client may say to Gemini Live: tables, and the one function that holds a message to them.

Only form is judged here; whether a message is allowed now is for `_gemini_rules`.
Sources: the types and the converters of Google's SDK (`google.genai`), its documentation, and published errors.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, TypeAlias

import attrs

__all__ = ["CLIENT_MESSAGES", "Json", "Refused", "bytes_of", "client_message"]

Json: TypeAlias = dict[str, Any]

INVALID = 1007


class Refused(Exception):
    """The server's answer is a close frame: the protocol has no message for errors."""

    def __init__(self, reason: str, code: int = INVALID) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


@attrs.frozen
class ListOf:
    shape: Shape


@attrs.frozen
class OneOf:
    values: tuple[str, ...]


# A table has these fields and no others; a type, any value of it; None, any object.
Shape: TypeAlias = "dict[str, Shape] | type | tuple[type, ...] | ListOf | OneOf | None"

# 64 bits are a string in protobuf's JSON, and read from a number too.
_INT64 = (int, str)
_BLOB: Shape = {"data": str, "mimeType": str}
_CONTENT: Shape = {"role": OneOf(("user", "model")), "parts": ListOf(None)}
_TOOLS: Shape = ListOf(None)
_SENSITIVITY = "{}_SENSITIVITY_HIGH {}_SENSITIVITY_LOW {}_SENSITIVITY_UNSPECIFIED"

_GENERATION: Shape = {
    "responseModalities": ListOf(OneOf(("AUDIO", "TEXT"))),
    "speechConfig": {"voiceConfig": None, "languageCode": str, "multiSpeakerVoiceConfig": None},
    "temperature": (int, float),
    "topP": (int, float),
    "topK": (int, float),
    "maxOutputTokens": int,
    "seed": int,
    "mediaResolution": str,
    "thinkingConfig": None,
    "enableAffectiveDialog": bool,
}
_REALTIME_CONFIG: Shape = {
    "automaticActivityDetection": {
        "disabled": bool,
        "startOfSpeechSensitivity": OneOf(tuple(_SENSITIVITY.replace("{}", "START").split())),
        "endOfSpeechSensitivity": OneOf(tuple(_SENSITIVITY.replace("{}", "END").split())),
        "prefixPaddingMs": int,
        "silenceDurationMs": int,
    },
    "activityHandling": OneOf(
        ("ACTIVITY_HANDLING_UNSPECIFIED", "START_OF_ACTIVITY_INTERRUPTS", "NO_INTERRUPTION")
    ),
    "turnCoverage": OneOf(
        (
            "TURN_COVERAGE_UNSPECIFIED",
            "TURN_INCLUDES_ONLY_ACTIVITY",
            "TURN_INCLUDES_ALL_INPUT",
            "TURN_INCLUDES_AUDIO_ACTIVITY_AND_ALL_VIDEO",
        )
    ),
}

CLIENT_MESSAGES: dict[str, Shape] = {
    "setup": {
        "model": str,
        "generationConfig": _GENERATION,
        "systemInstruction": {"role": str, "parts": ListOf(None)},
        "tools": _TOOLS,
        "realtimeInputConfig": _REALTIME_CONFIG,
        "sessionResumption": {"handle": str, "transparent": bool},
        "contextWindowCompression": {"triggerTokens": _INT64, "slidingWindow": {"targetTokens": _INT64}},
        "inputAudioTranscription": None,
        "outputAudioTranscription": None,
        "historyConfig": {"initialHistoryInClientContent": bool},
        "proactivity": None,
        "explicitVadSignal": bool,
        "avatarConfig": None,
        "safetySettings": ListOf(None),
        "labels": None,
    },
    "clientContent": {"turns": ListOf(_CONTENT), "turnComplete": bool},
    "realtimeInput": {
        "mediaChunks": ListOf(_BLOB),
        "audio": _BLOB,
        "video": _BLOB,
        "text": str,
        "audioStreamEnd": bool,
        "activityStart": {},
        "activityEnd": {},
    },
    "toolResponse": {
        "functionResponses": ListOf(
            {
                "id": str,
                "name": str,
                "response": None,
                "scheduling": OneOf(("SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT")),
                "willContinue": bool,
                "parts": ListOf(None),
            }
        )
    },
    "contextUpdate": {"systemInstruction": None, "tools": {"tools": _TOOLS}},
}

_MEDIA = {
    "audio": re.compile(r"audio/pcm(;\s*rate=\d+)?"),
    "video": re.compile(r"image/(jpeg|png|webp|heic|heif)"),
}


def client_message(data: str | bytes) -> tuple[str, Json]:
    """
    Return what *data* is, and what it holds, its names in camel case: both spellings are taken.

    Raises:
        Refused: It is malformed.
    """
    try:
        message = json.loads(data)
    except ValueError:
        raise Refused("Invalid JSON payload received.") from None
    if not isinstance(message, dict) or len(message) != 1:
        raise Refused("Invalid JSON payload received. A message has exactly one field.")
    ((name, body),) = message.items()
    name = _camel(name)
    if name not in CLIENT_MESSAGES:
        raise Refused(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    held: Json = _held_to(CLIENT_MESSAGES[name], body, name)
    return name, held


def bytes_of(kind: str, blob: Json) -> bytes:
    """
    Return the media of a `realtimeInput`.

    Raises:
        Refused: Its type isn't one of *kind*, or it isn't base64.
    """
    if not _MEDIA[kind].fullmatch(blob.get("mimeType", "")):
        raise Refused(f"Unsupported MIME type for realtimeInput.{kind}.")
    data = blob.get("data", "").replace("-", "+").replace("_", "/")
    try:
        media = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise Refused(f"Invalid value at 'realtimeInput.{kind}.data': Base64 decoding failed.") from None
    if not media:
        raise Refused(f"realtimeInput.{kind} is empty.")
    return media


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _held_to(shape: Shape, value: object, path: str) -> Any:
    if isinstance(shape, ListOf):
        if not isinstance(value, list):
            raise _wrong(path)
        return [_held_to(shape.shape, each, f"{path}[{place}]") for place, each in enumerate(value)]
    if isinstance(shape, OneOf):
        if value not in shape.values:
            raise _wrong(path)
        return value
    if isinstance(shape, dict) or shape is None:
        if not isinstance(value, dict):
            raise _wrong(path)
        return value if shape is None else _fields(shape, value, path)
    # In Python a flag is a number, on the wire it isn't.
    if not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
        raise _wrong(path)
    return value


def _fields(shape: dict[str, Shape], values: Json, path: str) -> Json:
    held: Json = {}
    for name, value in values.items():
        camel = _camel(name)
        if camel not in shape:
            raise Refused(
                f"Invalid JSON payload received. Unknown name \"{camel}\" at '{path}': Cannot find field."
            )
        if value is not None:
            held[camel] = _held_to(shape[camel], value, f"{path}.{camel}")
    return held


def _wrong(path: str) -> Refused:
    return Refused(f"Invalid value at '{path}'.")
