"""
The conversation that an OpenAI Realtime server holds: its items, and what a client may do to them.

No I/O and no clock; ids of the server's own are arguments.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

import attrs

from realtime_async.testing.loopback._openai_shapes import Json, Refused, hold_to_shape, shape_of_item

__all__ = ["Conversation", "bytes_of_base64", "bytes_per_ms"]

IMAGE_URL = re.compile(r"data:image/(png|jpeg);base64,")

# 16 bits at 24 kHz, or a byte at 8 kHz.
_BYTES_PER_MS = {"audio/pcm": 48, "audio/pcmu": 8, "audio/pcma": 8}


def bytes_per_ms(audio_format: Json) -> int:
    return _BYTES_PER_MS[audio_format["type"]]


def bytes_of_base64(text: str, path: str) -> bytes:
    """
    Raises:
        Refused: It isn't base64, standard and padded.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(
            "invalid_value",
            f"Invalid '{path}'. Expected base64-encoded bytes but got an invalid value.",
            path,
        ) from None


@attrs.define
class _Entry:
    body: Json
    audio_ms: float | None = None
    """How much of the model's own audio it holds; None where it is not the model's audio."""
    is_truncated: bool = False


class Conversation:
    """Items in order; each is what the server would send of it."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._order: list[str] = []

    def __iter__(self) -> Iterator[Json]:
        return (self._entries[item_id].body for item_id in self._order)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._entries

    @property
    def last_id(self) -> str | None:
        return self._order[-1] if self._order else None

    @property
    def has_model_audio(self) -> bool:
        return any(entry.audio_ms for entry in self._entries.values())

    def put(self, body: Json, *, audio_ms: float | None = None) -> str | None:
        """Append an item of the server's own; return the id of the one before it."""
        previous = self.last_id
        self._entries[body["id"]] = _Entry(body, audio_ms)
        self._order.append(body["id"])
        return previous

    def spoke(self, item_id: str, audio_ms: float) -> None:
        """Note that the model said more of an item; one that was deleted meanwhile has no place for it."""
        if item_id in self._entries:
            self._entries[item_id].audio_ms = (self._entries[item_id].audio_ms or 0.0) + audio_ms

    def replace(self, body: Json) -> None:
        """Hold *body* for the item of its id, unless that was deleted or truncated meanwhile."""
        entry = self._entries.get(body["id"])
        if entry is not None and not entry.is_truncated:
            entry.body = body

    def create(self, item: Json, previous_item_id: str | None, own_id: str) -> tuple[Json, str | None]:
        """Take an item of the client's; return it as the server holds it, and the id of the one before it."""
        _hold_to_item_rules(item)
        if item.get("id") in self._entries:
            raise Refused("invalid_value", f"Invalid 'item.id': {item['id']!r} exists already.", "item.id")
        if item["type"] == "function_call_output" and item["call_id"] not in self._call_ids():
            raise Refused(
                "invalid_tool_call_id",
                f"Tool call ID {item['call_id']!r} not found in conversation.",
                "item.call_id",
            )
        place = self._place_after(previous_item_id)
        body = {"object": "realtime.item", "status": "completed", **item}
        body["id"] = item.get("id", own_id)
        self._entries[body["id"]] = _Entry(body)
        self._order.insert(place, body["id"])
        return body, self._order[place - 1] if place else None

    def retrieve(self, item_id: str) -> Json:
        return self._entry(item_id, "retrieve").body

    def delete(self, item_id: str) -> None:
        self._entry(item_id, "delete")
        del self._entries[item_id]
        self._order.remove(item_id)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """
        Cut the model's audio to what was heard; its transcript goes with it.

        Raises:
            Refused: No such item, not the model's audio, nothing left of it, or more than there is.
        """
        entry = self._entry(item_id, "truncate")
        if entry.audio_ms is None or audio_end_ms == 0:
            raise Refused(
                "unsupported_content_type", "Only model output audio messages can be truncated", "item_id"
            )
        if content_index != 0:
            raise Refused("invalid_value", "Invalid 'content_index': must be 0.", "content_index")
        if audio_end_ms > entry.audio_ms:
            raise Refused(
                "invalid_value",
                f"Audio content of {entry.audio_ms:.0f}ms is already shorter than {audio_end_ms}ms",
                "audio_end_ms",
            )
        entry.is_truncated = True
        entry.audio_ms = float(audio_end_ms)
        entry.body = {**entry.body, "content": [{"type": "output_audio"}]}

    def _entry(self, item_id: str, verb: str) -> _Entry:
        entry = self._entries.get(item_id)
        if entry is None:
            raise Refused(
                f"item_{verb}_invalid_item_id",
                f"Error {verb.rstrip('e')}ing item: the item with id {item_id!r} does not exist.",
                "item_id",
            )
        return entry

    def _call_ids(self) -> set[str]:
        return {body["call_id"] for body in self if body["type"] == "function_call" and "call_id" in body}

    def _place_after(self, previous_item_id: str | None) -> int:
        if previous_item_id is None:
            return len(self._order)
        if previous_item_id == "root":
            return 0
        if previous_item_id not in self._entries:
            raise Refused(
                "invalid_value",
                f"Invalid 'previous_item_id': {previous_item_id!r} is not in the conversation.",
                "previous_item_id",
            )
        return self._order.index(previous_item_id) + 1


def _hold_to_item_rules(item: Json) -> None:
    """Hold a message to what its role may say; the outer shape is known to be right."""
    if item["type"] != "message":
        return
    hold_to_shape(item["content"], shape_of_item(item), "item.content")
    for index, part in enumerate(item["content"]):
        path = f"item.content[{index}]"
        if part["type"] == "input_audio":
            bytes_of_base64(part["audio"], f"{path}.audio")
        if part["type"] == "input_image" and not IMAGE_URL.match(part["image_url"]):
            raise Refused(
                "invalid_value",
                f"Invalid '{path}.image_url'. Expected a data URL of a PNG or JPEG.",
                f"{path}.image_url",
            )
