"""
A server's message, field by field, and nothing taken for granted.

Servers that speak the same protocol leave fields out, keep the names of its beta, and send what nobody knows.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

from realtime_async.adapters.openai.wire import decode
from realtime_async.errors import ProviderFailure, RetryClassification
from realtime_async.ports import ResponseUsage

__all__ = ["Fields", "ServerMessage", "kind_of", "read", "usage_of"]

Fields = Mapping[str, Any]

# Names from before the protocol was generally available.
_GA_NAMES: Mapping[str, str] = {
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
}


def kind_of(name: str) -> str:
    """The generally available name of the event *name*."""
    return _GA_NAMES.get(name, name)


class ServerMessage:
    """One event; what is asked of it and isn't there, or is something else, makes it malformed."""

    __slots__ = ("_fields", "kind", "name")

    def __init__(self, name: str, fields: Fields) -> None:
        self.name = name
        """As it was sent."""
        self.kind = kind_of(name)
        self._fields = fields

    def __repr__(self) -> str:
        return f"ServerMessage({self.kind!r})"

    def malformed(self, field: str) -> ProviderFailure:
        return ProviderFailure(
            f"the provider sent an event {self.kind!r} whose field {field!r} is missing or no such thing: "
            "the session goes on without it",
            code="malformed_event",
            retry=RetryClassification.NOT_RETRYABLE,
        )

    def text(self, field: str) -> str:
        value = self._fields.get(field)
        if not isinstance(value, str):
            raise self.malformed(field)
        return value

    def optional_text(self, field: str) -> str | None:
        value = self._fields.get(field)
        if value is None or isinstance(value, str):
            return value
        raise self.malformed(field)

    def milliseconds(self, field: str) -> int | None:
        value = self._fields.get(field)
        if value is None:
            return None
        # A bool is an int to Python, and no position to anybody.
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
            raise self.malformed(field)
        return value

    def part(self, field: str) -> Fields:
        value = self._fields.get(field)
        if not isinstance(value, dict):
            raise self.malformed(field)
        return value

    def within(self, field: str) -> ServerMessage:
        """The object in *field*, to be read in the same way."""
        return ServerMessage(self.name, self.part(field))

    def optional_part(self, field: str) -> Fields:
        value = self._fields.get(field)
        if value is None:
            return {}
        return self.part(field)

    def optional_within(self, field: str) -> ServerMessage:
        return ServerMessage(self.name, self.optional_part(field))

    def parts(self, field: str) -> list[ServerMessage]:
        """The objects in the list *field*; it may be missing."""
        value = self._fields.get(field)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise self.malformed(field)
        return [ServerMessage(self.name, part) for part in value]

    def audio(self, field: str) -> bytes:
        try:
            return binascii.a2b_base64(self.text(field), strict_mode=True)
        except ValueError:
            raise self.malformed(field) from None

    def raw(self, field: str) -> object:
        return self._fields.get(field)


def read(message: str | bytes) -> ServerMessage:
    """
    *message* as an event.

    Raises:
        ProviderFailure: It is no JSON object with a type.
    """
    fields = decode(message)
    name = None if fields is None else fields.get("type")
    if fields is None or not isinstance(name, str):
        raise ProviderFailure(
            f"the provider sent {len(message)} {'characters' if isinstance(message, str) else 'bytes'} that are no "
            "JSON object with a type: the session goes on without them",
            code="malformed_event",
            retry=RetryClassification.NOT_RETRYABLE,
        )
    return ServerMessage(name, fields)


def _count(fields: Fields, name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def usage_of(response: ServerMessage) -> ResponseUsage | None:
    """What *response* cost; None: it doesn't say."""
    usage = response.optional_part("usage")
    if not usage:
        return None
    taken, given = usage.get("input_token_details"), usage.get("output_token_details")
    taken = taken if isinstance(taken, dict) else {}
    given = given if isinstance(given, dict) else {}
    return ResponseUsage(
        input_text_tokens=_count(taken, "text_tokens"),
        input_audio_tokens=_count(taken, "audio_tokens"),
        cached_tokens=_count(taken, "cached_tokens"),
        output_text_tokens=_count(given, "text_tokens"),
        output_audio_tokens=_count(given, "audio_tokens"),
    )
