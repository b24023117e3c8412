"""
What a client may say to an OpenAI Realtime server: tables, and the one function that holds a message to them.

Only form is judged here; whether a message is allowed now is for `_openai_rules`.
Sources: the types of the official SDK (`openai.types.realtime`), its documentation, and published errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

__all__ = ["CLIENT_EVENTS", "Json", "Refused", "hold_to_shape", "shape_of_item"]

Json: TypeAlias = dict[str, Any]

MAX_ID_LENGTH = 32


class Refused(Exception):
    """The server's answer is an `error` event with these fields."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


@attrs.frozen
class OneOf:
    """One of these values, and nothing else."""

    values: tuple[object, ...]


@attrs.frozen
class Between:
    """A number within these bounds, both included."""

    low: float
    high: float


@attrs.frozen
class Whole:
    """A whole number, at least *low*."""

    low: int | None = None


@attrs.frozen
class Text:
    max_length: int | None = None


@attrs.frozen
class ListOf:
    shape: Shape
    length: int | None = None


@attrs.frozen
class Either:
    """The first shape whose kind of value it is."""

    shapes: tuple[Shape, ...]


@attrs.frozen
class Anything:
    pass


@attrs.frozen
class Fields:
    """An object with these keys and no others."""

    known: Mapping[str, Shape]
    required: frozenset[str] = frozenset()


@attrs.frozen
class ByType:
    """An object whose `type` says which fields it has."""

    kinds: Mapping[str, Fields]


Shape: TypeAlias = OneOf | Between | Whole | Text | ListOf | Either | Anything | Fields | ByType

ANY = Anything()
TEXT = Text()
ID = Text(max_length=MAX_ID_LENGTH)
FLAG = OneOf((True, False))
NULL = OneOf((None,))


def _fields(*required: str, **known: Shape) -> Fields:
    return Fields(known, frozenset(required))


def _or_null(shape: Shape) -> Either:
    return Either((shape, NULL))


_FORMAT = ByType(
    {
        "audio/pcm": _fields("rate", type=TEXT, rate=OneOf((24000,))),
        "audio/pcmu": _fields(type=TEXT),
        "audio/pcma": _fields(type=TEXT),
    }
)

# Off is the JSON value null; there is no type "none".
_TURN_DETECTION = ByType(
    {
        "server_vad": _fields(
            type=TEXT,
            threshold=Between(0, 1),
            prefix_padding_ms=Whole(0),
            silence_duration_ms=Whole(0),
            create_response=FLAG,
            interrupt_response=FLAG,
            idle_timeout_ms=_or_null(Whole(0)),
        ),
        "semantic_vad": _fields(
            type=TEXT,
            eagerness=OneOf(("low", "medium", "high", "auto")),
            create_response=FLAG,
            interrupt_response=FLAG,
        ),
    }
)

_MODALITIES = ListOf(OneOf(("audio", "text")), length=1)
_MAX_OUTPUT_TOKENS = Either((Between(1, 4096), OneOf(("inf",))))

_AUDIO_OUTPUT = _fields(
    format=_FORMAT, voice=Either((TEXT, _fields("id", id=TEXT))), speed=Between(0.25, 1.5)
)

_SESSION = _fields(
    "type",
    type=OneOf(("realtime",)),
    model=TEXT,
    instructions=TEXT,
    output_modalities=_MODALITIES,
    audio=_fields(
        input=_fields(
            format=_FORMAT,
            transcription=_or_null(ANY),
            noise_reduction=_or_null(ANY),
            turn_detection=_or_null(_TURN_DETECTION),
        ),
        output=_AUDIO_OUTPUT,
    ),
    tools=ListOf(ANY),
    tool_choice=ANY,
    parallel_tool_calls=FLAG,
    reasoning=ANY,
    max_output_tokens=_MAX_OUTPUT_TOKENS,
    prompt=_or_null(ANY),
    tracing=_or_null(ANY),
    include=_or_null(ListOf(TEXT)),
    truncation=ANY,
)

_RESPONSE = _fields(
    conversation=OneOf(("auto", "none")),
    instructions=TEXT,
    output_modalities=_MODALITIES,
    audio=_fields(output=_AUDIO_OUTPUT),
    tools=ListOf(ANY),
    tool_choice=ANY,
    parallel_tool_calls=FLAG,
    reasoning=ANY,
    max_output_tokens=_MAX_OUTPUT_TOKENS,
    metadata=_or_null(ANY),
    prompt=_or_null(ANY),
    input=ListOf(ANY),
)

_ITEM_HEAD: Mapping[str, Shape] = {
    "id": ID,
    "type": TEXT,
    "object": OneOf(("realtime.item",)),
    "status": OneOf(("completed", "incomplete", "in_progress")),
}
_INPUT_TEXT = _fields("text", type=TEXT, text=TEXT)

# What a message may hold depends on who is said to have said it.
_CONTENT: Mapping[str, ByType] = {
    "system": ByType({"input_text": _INPUT_TEXT}),
    "user": ByType(
        {
            "input_text": _INPUT_TEXT,
            "input_audio": _fields("audio", type=TEXT, audio=TEXT, transcript=_or_null(TEXT)),
            "input_image": _fields(
                "image_url", type=TEXT, image_url=TEXT, detail=OneOf(("auto", "low", "high"))
            ),
        }
    ),
    "assistant": ByType(
        {
            "output_text": _INPUT_TEXT,
            # The audio of an answer can't be given back: the server asks for the text instead.
            "output_audio": _fields("text", type=TEXT, text=TEXT, audio=TEXT, transcript=_or_null(TEXT)),
        }
    ),
}

_ITEM = ByType(
    {
        "message": Fields(
            {**_ITEM_HEAD, "role": OneOf(tuple(_CONTENT)), "content": ANY}, frozenset({"role", "content"})
        ),
        "function_call": Fields(
            {**_ITEM_HEAD, "call_id": ID, "name": TEXT, "arguments": TEXT}, frozenset({"name", "arguments"})
        ),
        "function_call_output": Fields(
            {**_ITEM_HEAD, "call_id": ID, "output": TEXT}, frozenset({"call_id", "output"})
        ),
    }
)


def _event(*required: str, **known: Shape) -> Fields:
    return Fields({"type": TEXT, "event_id": TEXT, **known}, frozenset(required))


CLIENT_EVENTS: Mapping[str, Fields] = {
    "session.update": _event("session", session=_SESSION),
    "input_audio_buffer.append": _event("audio", audio=TEXT),
    "input_audio_buffer.commit": _event(),
    "input_audio_buffer.clear": _event(),
    "output_audio_buffer.clear": _event(),
    "conversation.item.create": _event("item", item=_ITEM, previous_item_id=_or_null(TEXT)),
    "conversation.item.retrieve": _event("item_id", item_id=TEXT),
    "conversation.item.delete": _event("item_id", item_id=TEXT),
    "conversation.item.truncate": _event(
        "item_id",
        "content_index",
        "audio_end_ms",
        item_id=TEXT,
        content_index=Whole(0),
        audio_end_ms=Whole(0),
    ),
    "response.create": _event(response=_RESPONSE),
    "response.cancel": _event(response_id=TEXT),
}


def shape_of_item(item: Json) -> Shape:
    """Return what the content of a message with this role must look like."""
    return ListOf(_CONTENT[item["role"]])


def hold_to_shape(value: Any, shape: Shape, path: str = "") -> None:
    """
    Compare a decoded message with its shape.

    Raises:
        Refused: With the code that the real server gives, at the first difference.
    """
    match shape:
        case Fields():
            _hold_to_fields(value, shape, path)
        case ByType(kinds):
            if not isinstance(value, dict):
                raise _invalid_type(path, "an object", value)
            kind = value.get("type")
            if kind is None:
                raise _missing(_join(path, "type"))
            if kind not in kinds:
                raise _invalid_value(_join(path, "type"), tuple(kinds), kind)
            hold_to_shape(value, kinds[kind], path)
        case ListOf(inner, length):
            if not isinstance(value, list):
                raise _invalid_type(path, "an array", value)
            if length is not None and len(value) != length:
                raise Refused(
                    "invalid_value", f"Invalid '{path}': expected {length} entry, got {value!r}.", path
                )
            for index, entry in enumerate(value):
                hold_to_shape(entry, inner, f"{path}[{index}]")
        case Either(shapes):
            _hold_to_either(value, shapes, path)
        case Anything():
            pass
        case _:
            _hold_to_value(value, shape, path)


def _hold_to_fields(value: Any, shape: Fields, path: str) -> None:
    if not isinstance(value, dict):
        raise _invalid_type(path, "an object", value)
    for key in sorted(shape.required):
        if value.get(key) is None:
            raise _missing(_join(path, key))
    for key, entry in value.items():
        if key not in shape.known:
            raise Refused("unknown_parameter", f"Unknown parameter: '{_join(path, key)}'.", _join(path, key))
        hold_to_shape(entry, shape.known[key], _join(path, key))


def _hold_to_either(value: Any, shapes: tuple[Shape, ...], path: str) -> None:
    refusals = []
    for shape in shapes:
        try:
            return hold_to_shape(value, shape, path)
        except Refused as refused:
            refusals.append(refused)
    # The deepest one was the one that was meant.
    raise max(refusals, key=lambda refused: (len(refused.param or ""), refused.code != "invalid_type"))


def _hold_to_value(value: Any, shape: OneOf | Between | Whole | Text, path: str) -> None:
    match shape:
        case OneOf(values):
            # In Python 1 is True.
            if not any(value is known or (type(value) is type(known) and value == known) for known in values):
                raise _invalid_value(path, values, value)
        case Between(low, high):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _invalid_type(path, "a number", value)
            _hold_to_bounds(value, low, high, path)
        case Whole(low_or_none):
            if isinstance(value, bool) or not isinstance(value, int):
                raise _invalid_type(path, "an integer", value)
            if low_or_none is not None:
                _hold_to_bounds(value, low_or_none, float("inf"), path)
        case Text(max_length):
            if not isinstance(value, str):
                raise _invalid_type(path, "a string", value)
            if max_length is not None and len(value) > max_length:
                raise Refused(
                    "string_above_max_length",
                    f"Invalid '{path}': string too long. Expected a string with maximum length {max_length}, "
                    f"but got a string with length {len(value)} instead.",
                    path,
                )


def _hold_to_bounds(value: float, low: float, high: float, path: str) -> None:
    kind = "integer" if isinstance(value, int) else "decimal"
    if value < low:
        raise Refused(f"{kind}_below_min_value", f"Invalid '{path}': {value} is below {low}.", path)
    if value > high:
        raise Refused(f"{kind}_above_max_value", f"Invalid '{path}': {value} is above {high}.", path)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _missing(path: str) -> Refused:
    return Refused("missing_required_parameter", f"Missing required parameter: '{path}'.", path)


def _invalid_type(path: str, wanted: str, value: Any) -> Refused:
    return Refused("invalid_type", f"Invalid type for '{path}': expected {wanted}, got {value!r}.", path)


def _invalid_value(path: str, known: tuple[object, ...], value: Any) -> Refused:
    # It repeats what it was sent, as the real one does: whoever logs a provider's text must be found out.
    return Refused("invalid_value", f"Invalid value: {value!r}. Supported values are: {known!r}.", path)
