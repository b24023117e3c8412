"""
JSON as it travels, and the messages that a client may send.

Names are those of the generally available protocol.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

__all__ = [
    "CLEAR",
    "append_audio",
    "call",
    "call_output",
    "cancel",
    "commit",
    "create_item",
    "create_response",
    "decode",
    "delete_item",
    "encode",
    "said_by_model",
    "spoken_by_user",
    "told_result",
    "truncate_item",
    "update_session",
    "user_image",
    "user_text",
]

Item = Mapping[str, Any]

CLEAR = '{"type":"input_audio_buffer.clear"}'


def encode(message: Mapping[str, Any]) -> str:
    """
    *message* as JSON text.

    Raises:
        ValueError: It holds what JSON has no word for.
    """
    try:
        return orjson.dumps(message).decode()
    except TypeError as error:
        raise ValueError(type(error).__name__) from None


def decode(message: str | bytes) -> dict[str, Any] | None:
    """The object that *message* is; None: it is none."""
    try:
        value = orjson.loads(message)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _sound(text: str) -> str:
    """*text*, with what is no character replaced: half a surrogate pair has no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def append_audio(audio: bytes) -> str:
    # Base64 needs no escapes, and this is written 50 times a second.
    return f'{{"type":"input_audio_buffer.append","audio":"{b64encode(audio).decode("ascii")}"}}'


def commit(event_id: str) -> str:
    return encode({"type": "input_audio_buffer.commit", "event_id": event_id})


def create_item(item: Item, event_id: str) -> str:
    return encode({"type": "conversation.item.create", "event_id": event_id, "item": item})


def create_response(event_id: str, instructions: str | None) -> str:
    message: dict[str, Any] = {"type": "response.create", "event_id": event_id}
    if instructions is not None:
        message["response"] = {"instructions": _sound(instructions)}
    return encode(message)


def cancel(response_id: str | None, event_id: str) -> str:
    """Stop that answer; None: the one that is being given."""
    named = {} if response_id is None else {"response_id": response_id}
    return encode({"type": "response.cancel", "event_id": event_id, **named})


def truncate_item(item_id: str, audio_end_ms: int, event_id: str) -> str:
    return encode(
        {
            "type": "conversation.item.truncate",
            "event_id": event_id,
            "item_id": item_id,
            "content_index": 0,
            "audio_end_ms": audio_end_ms,
        }
    )


def delete_item(item_id: str, event_id: str) -> str:
    return encode({"type": "conversation.item.delete", "event_id": event_id, "item_id": item_id})


def update_session(session: Mapping[str, Any], event_id: str) -> str:
    return encode({"type": "session.update", "event_id": event_id, "session": session})


# Items


def user_text(text: str) -> Item:
    return _message("user", {"type": "input_text", "text": _sound(text)})


def user_image(image: bytes, mime_type: str) -> Item:
    url = f"data:{mime_type};base64,{b64encode(image).decode('ascii')}"
    return _message("user", {"type": "input_image", "image_url": url})


def spoken_by_user(audio: Iterable[bytes]) -> Item:
    joined = b64encode(b"".join(audio)).decode("ascii")
    return _message("user", {"type": "input_audio", "audio": joined})


def said_by_model(text: str) -> Item:
    # Assistant audio cannot be put back, only what it said.
    return _message("assistant", {"type": "output_text", "text": _sound(text)})


def call(call_id: str, name: str, arguments: str) -> Item:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": _sound(arguments)}


def call_output(call_id: str, output: str) -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": _sound(output)}


def told_result(call_id: str, output: str) -> Item:
    """What a tool returned, where the connection knows of no such call."""
    # As the user's words: a tool's output must not get the weight of instructions.
    return user_text(f"(The tool call {call_id} returned: {output})")


def _message(role: str, part: Mapping[str, Any]) -> Item:
    return {"type": "message", "role": role, "content": [part]}
