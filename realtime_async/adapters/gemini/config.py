"""What a session of Gemini Live is to be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from ipaddress import ip_address
from types import NoneType
from typing import Any, Self
from urllib.parse import urlsplit

import attrs

from realtime_async._core.given import choice, shown, text_field
from realtime_async.adapters._functions import (
    Function,
    description_of,
    each_declared,
    name_of,
    parameters_of,
)
from realtime_async.adapters._given import check_key_source, instance_of, number, text_if_any, whole
from realtime_async.errors import ContractViolation

__all__ = [
    "ActivityHandling",
    "ApiKey",
    "ContextCompression",
    "FunctionDeclaration",
    "GeminiLiveConfig",
    "Modality",
    "PlainText",
    "Sensitivity",
    "SpeechDetection",
    "TextInput",
    "ToolBehavior",
    "Transcript",
    "TurnTaking",
    "is_key",
]

ApiKey = str | Callable[[], Awaitable[str]]
"""The key, or what fetches it; it is asked for each connection."""


class Modality(StrEnum):
    """In what the model answers; models with native audio refuse TEXT."""

    AUDIO = "AUDIO"
    TEXT = "TEXT"


class TurnTaking(StrEnum):
    """Who notices that the person speaks."""

    AUTOMATIC = "automatic"
    """The provider: it listens for speech, and speech interrupts the answer."""
    MANUAL = "manual"
    """The program: an activity begins with the first audio, or an interrupt, and ends with `end_of_turn`."""


class TextInput(StrEnum):
    """How text reaches the model; a conversation keeps to one."""

    REALTIME = "realtime"
    """As `realtimeInput.text`, which asks for an answer by itself; what Gemini 3.1 and later take."""
    CONTENT = "content"
    """As `clientContent`, which is ordered and answered on request; for Gemini 2.5, later models close with 1007."""


class ActivityHandling(StrEnum):
    """Whether the person may cut the answer off by speaking."""

    INTERRUPTS = "START_OF_ACTIVITY_INTERRUPTS"
    DOES_NOT_INTERRUPT = "NO_INTERRUPTION"


class Sensitivity(StrEnum):
    HIGH = "HIGH"
    LOW = "LOW"


class Transcript(StrEnum):
    """Whose speech is written down."""

    INPUT = "inputAudioTranscription"
    OUTPUT = "outputAudioTranscription"


class ToolBehavior(StrEnum):
    """Whether the model waits for a function's result."""

    BLOCKING = "BLOCKING"
    NON_BLOCKING = "NON_BLOCKING"


class PlainText(StrEnum):
    """Where a connection may go without TLS, and the key with it."""

    LOOPBACK_ONLY = "loopback_only"
    ANYWHERE = "anywhere"


# A choice may be given by its name, as a program may have it from its environment; it is the member from there on.
# Each has a function, as type checkers tell what a field takes by a function with a name only.
def _activity_handling(value: str) -> ActivityHandling:
    return choice(ActivityHandling, value, "activity_handling")


def _behavior(value: str) -> ToolBehavior:
    return choice(ToolBehavior, value, "behavior of a function")


def _modality(value: str) -> Modality:
    return choice(Modality, value, "modality")


def _plain_text(value: str) -> PlainText:
    return choice(PlainText, value, "plain_text")


def _sensitivity(value: str) -> Sensitivity:
    return choice(Sensitivity, value, "sensitivity of a speech detection")


def _text_input(value: str) -> TextInput:
    return choice(TextInput, value, "text_input")


def _transcript(value: str) -> Transcript:
    return choice(Transcript, value, "transcript")


def _turn_taking(value: str) -> TurnTaking:
    return choice(TurnTaking, value, "turn_taking")


@attrs.frozen(kw_only=True)
class SpeechDetection:
    """How the provider tells speech from silence; None leaves it to the provider."""

    start: Sensitivity | None = attrs.field(default=None, converter=attrs.converters.optional(_sensitivity))
    end: Sensitivity | None = attrs.field(default=None, converter=attrs.converters.optional(_sensitivity))
    prefix_padding_ms: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(0)))
    """Of speech before it counts as begun."""
    silence_ms: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(0)))
    """Of silence before speech counts as over."""


@attrs.frozen(kw_only=True)
class ContextCompression:
    """
    Have the provider drop the oldest of a conversation that grows too long.

    Without it a session ends after some 15 minutes of audio, or 2 of audio and video.
    """

    trigger_tokens: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(1)))
    """None: the provider's own threshold."""
    target_tokens: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(1)))
    """To which it is cut; None: the provider's own."""


@attrs.frozen(kw_only=True)
class FunctionDeclaration:
    """A function that the model may ask for."""

    name: str = attrs.field(validator=text_field)
    description: str = attrs.field(default="", validator=text_field)
    parameters: Mapping[str, Any] | None = attrs.field(default=None, validator=instance_of(Mapping, NoneType))
    """JSON Schema of an object; None: it takes none."""
    behavior: ToolBehavior = attrs.field(default=ToolBehavior.BLOCKING, converter=_behavior)

    @classmethod
    def of(cls, function: Function, *, behavior: ToolBehavior = ToolBehavior.BLOCKING) -> Self:
        """
        Describe an async function by its name, its docstring's first paragraph, and the annotations of its parameters.

        Those are str, int, float, bool, list, dict, Literal, or None beside one of them;
        `Annotated[int, "How many will come."]` tells the model what one is for.

        Raises:
            ContractViolation: It is no such function.
        """
        name, parameters = name_of(function), parameters_of(function)
        return cls(
            name=name,
            description=description_of(function),
            parameters=parameters if parameters["properties"] else None,
            behavior=behavior,
        )


def _functions(values: Iterable[FunctionDeclaration | Function]) -> tuple[FunctionDeclaration, ...]:
    return each_declared(values, FunctionDeclaration, FunctionDeclaration.of)


def _transcripts(values: Iterable[Transcript]) -> frozenset[Transcript]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ContractViolation(
            f"the transcripts are {shown(values)}: give a set of Transcript, empty for none"
        )
    return frozenset(map(_transcript, values))


@attrs.frozen(kw_only=True)
class GeminiLiveConfig:
    """
    Which model, with which key, and how it is to behave; the Developer API, not Vertex.

    Raises:
        ContractViolation: Something of it cannot be used; nothing was connected.
    """

    model: str = attrs.field(validator=text_field)
    """With or without the `models/` that the wire has before it."""
    api_key: ApiKey = attrs.field(repr=False, validator=check_key_source)
    """It travels in the header `x-goog-api-key`; an ephemeral token, `auth_tokens/...`, in `Authorization`."""
    base_url: str = attrs.field(default="wss://generativelanguage.googleapis.com", validator=text_field)
    api_version: str = attrs.field(default="v1beta", validator=text_field)
    """Ephemeral tokens may need "v1alpha"."""
    plain_text: PlainText = attrs.field(default=PlainText.LOOPBACK_ONLY, converter=_plain_text)
    """Whether *base_url* may begin with `ws:` though it leaves this machine."""
    instructions: str | None = attrs.field(default=None, repr=False, validator=text_if_any)
    functions: tuple[FunctionDeclaration, ...] = attrs.field(default=(), converter=_functions, repr=False)
    """
    What the model may call.

    Each is a `FunctionDeclaration`, or an async function, which `FunctionDeclaration.of` describes.
    """
    modality: Modality = attrs.field(default=Modality.AUDIO, converter=_modality)
    voice: str | None = attrs.field(default=None, validator=text_if_any)
    """Such as "Puck"; None: the provider's own choice."""
    language: str | None = attrs.field(default=None, validator=text_if_any)
    """BCP 47, such as "de-DE"; None: the model goes by what it hears."""
    temperature: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(number(least=0, most=2))
    )
    max_output_tokens: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(1)))
    turn_taking: TurnTaking = attrs.field(default=TurnTaking.AUTOMATIC, converter=_turn_taking)
    speech_detection: SpeechDetection | None = attrs.field(
        default=None, validator=instance_of(SpeechDetection, NoneType)
    )
    """Only where turn taking is automatic."""
    activity_handling: ActivityHandling = attrs.field(
        default=ActivityHandling.INTERRUPTS, converter=_activity_handling
    )
    text_input: TextInput = attrs.field(default=TextInput.REALTIME, converter=_text_input)
    transcripts: frozenset[Transcript] = attrs.field(default=tuple(Transcript), converter=_transcripts)
    compression: ContextCompression | None = attrs.field(
        default=None, validator=instance_of(ContextCompression, NoneType)
    )
    setup_s: float = attrs.field(default=15.0, validator=number(above=0))
    """How long the provider may take to answer the setup."""

    def __attrs_post_init__(self) -> None:
        if not self.model.removeprefix("models/"):
            raise ContractViolation(f"model {self.model!r} names none: give one such as 'gemini-3.8-live'")
        if isinstance(self.api_key, str) and not is_key(self.api_key):
            raise ContractViolation(
                "api_key is empty, or is no line of printable ASCII: look for a line break at its end"
            )
        try:
            address = urlsplit(self.base_url)
            host, _ = address.hostname, address.port
        except ValueError:
            raise ContractViolation("base_url is no address: give wss://HOST") from None
        if address.scheme not in {"wss", "ws"} or not host or address.fragment:
            raise ContractViolation(
                f"base_url has the scheme {address.scheme!r}, or no host, or a fragment: give wss://HOST"
            )
        if address.query or address.username is not None:
            raise ContractViolation(
                "base_url must have no user and no query, which would end up in logs: give the key as api_key"
            )
        if address.scheme == "ws" and self.plain_text is PlainText.LOOPBACK_ONLY and not _is_loopback(host):
            raise ContractViolation(
                f"base_url has ws:// for {host!r}, and would send the key and all that is said in the clear: "
                "use wss://, or ask for plain_text=PlainText.ANYWHERE"
            )
        if self.speech_detection is not None and self.turn_taking is TurnTaking.MANUAL:
            raise ContractViolation("speech_detection is for TurnTaking.AUTOMATIC: leave one of them out")


def is_key(key: object) -> bool:
    """Whether a header can bear *key*."""
    return isinstance(key, str) and bool(key.strip()) and key.isascii() and key.isprintable()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
