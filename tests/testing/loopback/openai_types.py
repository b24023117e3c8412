"""
Messages held to the types of OpenAI's own SDK.

The SDK's models let unknown fields pass, so those are looked for too: a misspelt name would be one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import openai.types.realtime as realtime
from pydantic import BaseModel, TypeAdapter, ValidationError

# OpenAI sends them with every session; the SDK's type for it is that of a request.
SENT_AHEAD_OF_THE_TYPES = {"session.id", "session.object", "session.expires_at"}


@cache
def adapters(side: Literal["client", "server"]) -> dict[str, TypeAdapter[Any]]:
    """A model for each name of an event."""
    union: Any = realtime.RealtimeClientEvent if side == "client" else realtime.RealtimeServerEvent
    while get_origin(union) is Annotated:
        union = get_args(union)[0]
    return {
        name: TypeAdapter(model)
        for model in get_args(union)
        for name in get_args(model.model_fields["type"].annotation)
    }


def misfits(messages: Iterable[str | bytes | dict[str, Any]], side: Literal["client", "server"]) -> list[str]:
    """Say of each message in which way it isn't what the SDK's types describe."""
    return [
        f"{number}: {problem}" for number, each in enumerate(messages) for problem in _problems(each, side)
    ]


def _problems(message: str | bytes | dict[str, Any], side: Literal["client", "server"]) -> Iterator[str]:
    event = message if isinstance(message, dict) else json.loads(message)
    adapter = adapters(side).get(event["type"])
    if adapter is None:
        yield f"no event is called {event['type']!r}"
        return
    try:
        model = adapter.validate_json(json.dumps(event))
    except ValidationError as error:
        yield f"{event['type']}: {error}"
    else:
        yield from (
            f"{event['type']}: {path} is no field"
            for path in _unknown(model, "")
            if path not in SENT_AHEAD_OF_THE_TYPES
        )


def _unknown(value: Any, path: str) -> Iterator[str]:
    match value:
        case BaseModel():
            yield from (f"{path}{name}" for name in value.model_extra or {})
            for name in type(value).model_fields:
                yield from _unknown(getattr(value, name, None), f"{path}{name}.")
        case list():
            for entry in value:
                yield from _unknown(entry, path)
