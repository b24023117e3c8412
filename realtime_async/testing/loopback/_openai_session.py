"""The configuration of an OpenAI Realtime session: what it is at first, and what `session.update` makes of it."""

from __future__ import annotations

from collections.abc import Mapping

from realtime_async.testing.loopback._openai_shapes import Json, Refused

__all__ = ["first_session", "merged"]

_PCM: Json = {"type": "audio/pcm", "rate": 24000}

_TURN_DETECTION_DEFAULTS: Mapping[str, Json] = {
    "server_vad": {
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
        "idle_timeout_ms": None,
    },
    "semantic_vad": {"eagerness": "auto", "create_response": True, "interrupt_response": True},
}

# Their fields are merged one by one; every other value is replaced whole.
_MERGED_PATHS = {"audio", "audio.input", "audio.output"}


def first_session(session_id: str, model: str, expires_at: int) -> Json:
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "expires_at": expires_at,
        "instructions": "",
        "output_modalities": ["audio"],
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": _PCM,
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": {"type": "server_vad", **_TURN_DETECTION_DEFAULTS["server_vad"]},
            },
            "output": {"format": _PCM, "voice": "alloy", "speed": 1.0},
        },
    }


def merged(session: Json, change: Json, *, has_spoken: bool) -> Json:
    """
    Return *session* with what is present in *change*.

    Raises:
        Refused: The model can't change, nor the voice once it was heard.
    """
    if change.get("model", session["model"]) != session["model"]:
        raise Refused("invalid_value", "Cannot update the model of a session.", "session.model")
    updated = _merge(session, change, "")
    if has_spoken and updated["audio"]["output"]["voice"] != session["audio"]["output"]["voice"]:
        raise Refused(
            "cannot_update_voice",
            "Cannot update a conversation's voice if assistant audio is present.",
            "session.audio.output.voice",
        )
    return updated


def _merge(old: Json, change: Json, path: str) -> Json:
    result = {**old}
    for key, value in change.items():
        inner = f"{path}.{key}" if path else key
        if inner in _MERGED_PATHS:
            result[key] = _merge(old[key], value, inner)
        elif inner == "audio.input.turn_detection" and value is not None:
            result[key] = {**_TURN_DETECTION_DEFAULTS[value["type"]], **value}
        else:
            result[key] = value
    return result
