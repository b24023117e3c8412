"""The codec without a network: messages in, frames out, and the other way round."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import attrs

from realtime_async.adapters.openai import OpenAIRealtimeConfig
from realtime_async.adapters.openai.hearing import hear
from realtime_async.adapters.openai.saying import message_for, sent
from realtime_async.adapters.openai.talk import Heard, Talk
from realtime_async.errors import ProviderFailure
from realtime_async.ports import RealtimeEvent, RealtimeInputFrame, RealtimeOutputFrame, StreamCursor
from tests.testing.loopback.openai_types import misfits

__all__ = [
    "KEY",
    "Message",
    "audio",
    "config",
    "events",
    "heard",
    "new_talk",
    "refusal",
    "said",
    "say",
    "shown",
    "stamped",
    "to_send",
]

KEY = "sk-mauve-door-91"
FRAME = bytes(960)

Message = dict[str, Any]


def config(**fields: Any) -> OpenAIRealtimeConfig:
    return OpenAIRealtimeConfig(**{"model": "gpt-realtime", "api_key": KEY, **fields})


def new_talk(**fields: Any) -> Talk:
    return Talk(config(**fields))


def audio(frames: int = 1) -> list[RealtimeInputFrame]:
    return [RealtimeInputFrame.audio(FRAME)] * frames


def stamped(frames: Iterable[RealtimeInputFrame], *, first: int = 1) -> list[RealtimeInputFrame]:
    return [frame.stamped(StreamCursor.chunk(number)) for number, frame in enumerate(frames, start=first)]


def say(talk: Talk, *frames: RealtimeInputFrame) -> list[Message]:
    """Send *frames*; return what goes over the wire."""
    messages = []
    for frame in frames:
        message = message_for(talk, frame)
        sent(talk, frame)
        if message is not None:
            messages.append(json.loads(message))
    # The official client would send them so, too; that many frames of audio are all alike.
    assert misfits(messages[-50:], "client") == []
    return messages


def said(kind: str, **fields: Any) -> str:
    """A message of the provider's."""
    return json.dumps({"type": kind, "event_id": "event", **fields})


def refusal(event_id: str | None, code: str = "conversation_already_has_active_response") -> str:
    """An error of the provider's, about the message *event_id*."""
    error = {"type": "invalid_request_error", "code": code, "message": "secret", "event_id": event_id}
    return said("error", error=error)


def heard(talk: Talk, *messages: str | bytes) -> list[Heard]:
    """Take *messages* in; return what they mean."""
    for message in messages:
        hear(talk, message)
    taken = list(talk.outbox)
    talk.outbox.clear()
    return taken


def events(taken: Iterable[Heard]) -> list[RealtimeEvent]:
    frames = [each for each in taken if isinstance(each, RealtimeOutputFrame)]
    return [frame.event for frame in frames]


def to_send(talk: Talk) -> list[Message]:
    """What the talk wants to send of itself."""
    messages = [json.loads(message) for message in talk.to_send]
    talk.to_send.clear()
    assert misfits(messages, "client") == []
    return messages


def shown(frame: Heard) -> Message:
    """*frame* as a golden file has it."""
    if isinstance(frame, ProviderFailure):
        return {"error": frame.code, "retry": str(frame.retry)}
    payload: Any = frame.payload
    if isinstance(payload, bytes):
        payload = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()[:16]}
    line = {
        "event": type(frame.event).__name__,
        **attrs.asdict(frame.event),
        "response_id": frame.response_id,
        "payload": payload,
    }
    return json.loads(json.dumps(line))  # type: ignore[no-any-return]  # what a file would give back
