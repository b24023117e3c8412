"""
What a provider's error means for the session: one table.

Some servers put the reason into `code`, some into `type`, and one sends text instead of an object.
Only the words in this table are ever shown; the rest may repeat what was said.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

import attrs

from realtime_async.adapters.openai.reading import ServerMessage

__all__ = ["PASSING", "REFUSALS", "Refusal", "Weight", "known_code", "refusal_of"]

OTHER = "other_error"


class Weight(Enum):
    """Who has to do something about an error."""

    BENIGN = auto()
    """Nobody: it is a race that both sides have settled by then."""
    WAIT = auto()
    """The request was too early: it goes out again when the present answer ends."""
    REQUEST = auto()
    """The program: the provider will not do what was asked, and the session goes on."""
    CONNECTION = auto()
    """The connection ends; another one will do."""
    FATAL = auto()
    """A person: no connection will do until something was paid, or configured."""


# Codes and types that aren't here are a matter of the request.
REFUSALS: Mapping[str, Weight] = {
    "response_cancel_not_active": Weight.BENIGN,
    "unsupported_content_type": Weight.BENIGN,
    "item_truncate_invalid_item_id": Weight.BENIGN,
    "item_delete_invalid_item_id": Weight.BENIGN,
    "item_truncate_invalid_audio_end_ms": Weight.BENIGN,
    "conversation_already_has_active_response": Weight.WAIT,
    "input_audio_buffer_commit_empty": Weight.REQUEST,
    "item_retrieve_invalid_item_id": Weight.REQUEST,
    "item_create_invalid_item_id": Weight.REQUEST,
    "invalid_item_id": Weight.REQUEST,
    "invalid_value": Weight.REQUEST,
    "invalid_type": Weight.REQUEST,
    "invalid_json": Weight.REQUEST,
    "invalid_audio_data": Weight.REQUEST,
    "invalid_conversation_item": Weight.REQUEST,
    "invalid_session_type": Weight.REQUEST,
    "invalid_event_for_transport": Weight.REQUEST,
    "unknown_or_invalid_event": Weight.REQUEST,
    "missing_required_parameter": Weight.REQUEST,
    "unknown_parameter": Weight.REQUEST,
    "unsupported_parameter": Weight.REQUEST,
    "cannot_update_voice": Weight.REQUEST,
    "not_implemented": Weight.REQUEST,
    "buffer_size_exceeded": Weight.REQUEST,
    "context_length_exceeded": Weight.REQUEST,
    "content_filter": Weight.REQUEST,
    "rate_limit_exceeded": Weight.REQUEST,
    "rate_limit_error": Weight.REQUEST,
    "transcription_failed": Weight.REQUEST,
    "tts_error": Weight.REQUEST,
    "inference_failed": Weight.REQUEST,
    "server_error": Weight.REQUEST,
    "invalid_request_error": Weight.REQUEST,
    "session_expired": Weight.CONNECTION,
    "session_limit_reached": Weight.CONNECTION,
    "insufficient_quota": Weight.FATAL,
    "billing_hard_limit_reached": Weight.FATAL,
    "invalid_api_key": Weight.FATAL,
    "authentication_error": Weight.FATAL,
    "account_deactivated": Weight.FATAL,
    "model_not_found": Weight.FATAL,
    "model_load_error": Weight.FATAL,
}

# Said in place of a welcome, these are over after a while; anything else is as it is.
PASSING = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "server_error", "inference_failed", "session_limit_reached"}
)

# What a server answers to a cancel, a truncate or a delete ends nothing: playback has stopped here.
HARMLESS_TO_REFUSE = ("cancel", "truncate", "delete")


@attrs.frozen
class Refusal:
    """An `error` event, without its text."""

    code: str
    weight: Weight
    event_id: str | None = None
    """The client's event that it answers; None: the server doesn't say, or it answers none."""


def known_code(*words: object) -> str:
    """The first of *words* that is in the table, else `other_error`."""
    return next((word for word in words if isinstance(word, str) and word in REFUSALS), OTHER)


def refusal_of(message: ServerMessage) -> Refusal:
    """Read an `error` event; none is too strange."""
    error = message.raw("error")
    fields = error if isinstance(error, dict) else {}
    code = known_code(fields.get("code"), message.raw("code"), fields.get("type"), error)
    event_id = fields.get("event_id")
    return Refusal(code, REFUSALS.get(code, Weight.REQUEST), event_id if isinstance(event_id, str) else None)
