"""From the configuration to the address, the headers, and the first message of a connection."""

from __future__ import annotations

import json
from typing import Any

from realtime_async.adapters.gemini.config import (
    FunctionDeclaration,
    GeminiLiveConfig,
    SpeechDetection,
    ToolBehavior,
    TurnTaking,
)

__all__ = ["address", "credentials", "setup_message"]

_Json = dict[str, Any]

_EPHEMERAL = "auth_tokens/"


def address(config: GeminiLiveConfig, key: str) -> str:
    """Where a connection goes; the key isn't part of it, but decides between two methods."""
    method = "BidiGenerateContentConstrained" if key.startswith(_EPHEMERAL) else "BidiGenerateContent"
    service = f"google.ai.generativelanguage.{config.api_version}.GenerativeService"
    return f"{config.base_url.rstrip('/')}/ws/{service}.{method}"


def credentials(key: str) -> dict[str, str]:
    return {"Authorization": f"Token {key}"} if key.startswith(_EPHEMERAL) else {"x-goog-api-key": key}


def setup_message(config: GeminiLiveConfig, handle: str | None) -> str:
    """
    The first message; resumption is asked for in every one of them, as a session that didn't can't be resumed.

    Args:
        handle: Of the session that this connection goes on with; None: it begins one.
    """
    setup: _Json = {
        "model": f"models/{config.model.removeprefix('models/')}",
        "generationConfig": _generation(config),
        "realtimeInputConfig": _realtime_input(config),
        "sessionResumption": {} if handle is None else {"handle": handle},
    }
    if config.instructions is not None:
        setup["systemInstruction"] = {"parts": [{"text": config.instructions}]}
    if config.functions:
        setup["tools"] = [{"functionDeclarations": [_declared(function) for function in config.functions]}]
    if config.compression is not None:
        setup["contextWindowCompression"] = _stated(
            triggerTokens=_int64(config.compression.trigger_tokens),
            slidingWindow=_stated(targetTokens=_int64(config.compression.target_tokens)),
        )
    for transcript in sorted(config.transcripts):
        setup[transcript.value] = {}
    return json.dumps({"setup": setup})


def _generation(config: GeminiLiveConfig) -> _Json:
    voice = None
    if config.voice is not None:
        voice = {"prebuiltVoiceConfig": {"voiceName": config.voice}}
    speech = _stated(voiceConfig=voice, languageCode=config.language)
    return _stated(
        responseModalities=[config.modality],
        speechConfig=speech or None,
        temperature=config.temperature,
        maxOutputTokens=config.max_output_tokens,
    )


def _realtime_input(config: GeminiLiveConfig) -> _Json:
    detection: _Json | None = None
    if config.turn_taking is TurnTaking.MANUAL:
        detection = {"disabled": True}
    elif config.speech_detection is not None:
        detection = _detection(config.speech_detection)
    return _stated(automaticActivityDetection=detection, activityHandling=config.activity_handling)


def _detection(detection: SpeechDetection) -> _Json:
    return _stated(
        startOfSpeechSensitivity=None if detection.start is None else f"START_SENSITIVITY_{detection.start}",
        endOfSpeechSensitivity=None if detection.end is None else f"END_SENSITIVITY_{detection.end}",
        prefixPaddingMs=detection.prefix_padding_ms,
        silenceDurationMs=detection.silence_ms,
    )


def _declared(function: FunctionDeclaration) -> _Json:
    waits = function.behavior is ToolBehavior.BLOCKING
    return _stated(
        name=function.name,
        description=function.description,
        parametersJsonSchema=function.parameters,
        # What is blocking need not say so, and models without asynchronous functions know no such field.
        behavior=None if waits else function.behavior,
    )


def _int64(value: int | None) -> str | None:
    """As protobuf's JSON writes one."""
    return None if value is None else str(value)


def _stated(**fields: Any) -> _Json:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
