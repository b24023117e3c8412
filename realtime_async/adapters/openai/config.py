"""
What an OpenAI Realtime session is to be like, checked before anything is connected.

Names and limits are those of `openai.types.realtime` 3.54.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType, NoneType
from typing import Any, Self
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import attrs

from realtime_async._core.given import choice, shown, text, text_field
from realtime_async.adapters._functions import (
    Function,
    description_of,
    each_declared,
    name_of,
    parameters_of,
)
from realtime_async.adapters._given import (
    check_key_source,
    header_fields,
    instance_of,
    number,
    text_if_any,
    whole,
)
from realtime_async.adapters.openai.wire import encode
from realtime_async.errors import ContractViolation, ProviderFailure, RetryClassification
from realtime_async.ports import AudioEncoding, AudioFormat

__all__ = [
    "FunctionTool",
    "KeyHeader",
    "OpenAIRealtimeConfig",
    "OutputModality",
    "PlainText",
    "SemanticTurns",
    "ServerTurns",
    "TurnEagerness",
    "session_update",
]

ApiKey = str | Callable[[], Awaitable[str]]


class OutputModality(StrEnum):
    """What the model answers with; never both."""

    AUDIO = "audio"
    TEXT = "text"


class KeyHeader(StrEnum):
    """The header that bears the key."""

    AUTHORIZATION = "Authorization"
    """`Authorization: Bearer KEY`, OpenAI's; also for an Entra token at Azure."""
    API_KEY = "api-key"
    """`api-key: KEY`, Azure's."""


class PlainText(StrEnum):
    """Where a `ws://` address, which shows key and speech to the network, is accepted."""

    LOOPBACK_ONLY = "loopback_only"
    ANYWHERE = "anywhere"


class TurnEagerness(StrEnum):
    """How soon a pause counts as the end: low waits up to 8 s, medium 4 s, high 2 s; auto is medium."""

    AUTO = "auto"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


# A choice may be given by its name, as a program may have it from its environment; it is the member from there on.
# Each has a function, as type checkers tell what a field takes by a function with a name only.
def _eagerness(value: str) -> TurnEagerness:
    return choice(TurnEagerness, value, "eagerness of turns")


def _key_header(value: str) -> KeyHeader:
    return choice(KeyHeader, value, "key_header")


def _output_modality(value: str) -> OutputModality:
    return choice(OutputModality, value, "output_modality")


def _plain_text(value: str) -> PlainText:
    return choice(PlainText, value, "plain_text")


@attrs.frozen(kw_only=True)
class ServerTurns:
    """The provider finds the end of a turn by the silence after it: `server_vad`."""

    threshold: float = attrs.field(default=0.5, validator=number(least=0, most=1))
    """0 to 1; higher needs louder speech."""
    prefix_padding_ms: int = attrs.field(default=300, validator=whole(0))
    """How much before the detected beginning belongs to the turn."""
    silence_ms: int = attrs.field(default=500, validator=whole(0))
    create_response: bool = True
    """Whether a turn is answered without being asked."""
    interrupt_response: bool = True
    """Whether speech stops the answer that is being given."""

    def wire(self) -> dict[str, Any]:
        return {
            "type": "server_vad",
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_ms,
            "create_response": self.create_response,
            "interrupt_response": self.interrupt_response,
        }


@attrs.frozen(kw_only=True)
class SemanticTurns:
    """The provider finds the end of a turn by what was said: `semantic_vad`."""

    eagerness: TurnEagerness = attrs.field(default=TurnEagerness.AUTO, converter=_eagerness)
    create_response: bool = True
    """Whether a turn is answered without being asked."""
    interrupt_response: bool = True
    """Whether speech stops the answer that is being given."""

    def wire(self) -> dict[str, Any]:
        return {
            "type": "semantic_vad",
            "eagerness": str(self.eagerness),
            "create_response": self.create_response,
            "interrupt_response": self.interrupt_response,
        }


Turns = ServerTurns | SemanticTurns


@attrs.frozen
class FunctionTool:
    """A function that the model may ask for."""

    name: str = attrs.field(validator=text_field)
    description: str = attrs.field(default="", validator=text_field)
    parameters: Mapping[str, Any] = attrs.field(
        factory=lambda: MappingProxyType({}), hash=False, validator=instance_of(Mapping)
    )
    """A JSON schema of its arguments, an object; empty: it takes none."""

    def __attrs_post_init__(self) -> None:
        # The provider's own limit.
        if not 1 <= len(self.name) <= 64 or not all(
            c.isascii() and (c.isalnum() or c in "_-") for c in self.name
        ):
            raise ContractViolation(f"{self.name!r} names no tool: use 1-64 characters of A-Za-z0-9_-")
        try:
            encode(self.wire())
        except ValueError:
            raise ContractViolation(
                f"the parameters of the tool {self.name!r} are no JSON: give a JSON schema as plain values"
            ) from None

    @classmethod
    def of(cls, function: Function) -> Self:
        """
        Describe an async function by its name, its docstring's first paragraph, and the annotations of its parameters.

        Those are str, int, float, bool, list, dict, Literal, or None beside one of them;
        `Annotated[int, "How many will come."]` tells the model what one is for.

        Raises:
            ContractViolation: It is no such function.
        """
        return cls(name_of(function), description_of(function), parameters_of(function))

    def wire(self) -> dict[str, Any]:
        parameters = dict(self.parameters) or {"type": "object", "properties": {}}
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": parameters,
        }


def _tools(values: Iterable[FunctionTool | Function]) -> tuple[FunctionTool, ...]:
    return each_declared(values, FunctionTool, FunctionTool.of)


PCM16 = AudioFormat()
# What `session.audio.*.format` says, and what bytes that is.
_FORMATS: Mapping[AudioFormat, Mapping[str, Any]] = {
    PCM16: {"type": "audio/pcm", "rate": 24_000},
    AudioFormat(AudioEncoding.G711_ULAW, 8_000): {"type": "audio/pcmu"},
    AudioFormat(AudioEncoding.G711_ALAW, 8_000): {"type": "audio/pcma"},
}


@attrs.frozen(kw_only=True)
class OpenAIRealtimeConfig:
    """
    A model, how it is reached, and how it is to behave.

    Raises:
        ContractViolation: The provider could not take it; nothing was connected.
    """

    model: str = attrs.field(validator=text_field)
    """At Azure: the deployment."""
    api_key: ApiKey = attrs.field(repr=False, validator=check_key_source)
    """The key, or what to await for one; it is asked for each connection, so that a short-lived token will do."""
    base_url: str = attrs.field(default="wss://api.openai.com/v1/realtime", validator=text_field)
    key_header: KeyHeader = attrs.field(default=KeyHeader.AUTHORIZATION, converter=_key_header)
    plain_text: PlainText = attrs.field(default=PlainText.LOOPBACK_ONLY, converter=_plain_text)
    headers: Mapping[str, str] = attrs.field(
        factory=lambda: MappingProxyType({}), converter=header_fields, repr=False, hash=False
    )
    """Further headers of the handshake, `OpenAI-Organization` for one."""
    instructions: str | None = attrs.field(default=None, repr=False, validator=text_if_any)
    """None: the provider's own."""
    voice: str | None = attrs.field(default=None, validator=text_if_any)
    """None: the provider's own."""
    input_format: AudioFormat = PCM16
    output_format: AudioFormat = PCM16
    turns: Turns | None = attrs.field(
        default=ServerTurns(), validator=instance_of(ServerTurns, SemanticTurns, NoneType)
    )
    """Who finds the end of a turn; None: the program, by `end_of_turn` and `request_response`."""
    transcription: str | None = attrs.field(default=None, validator=text_if_any)
    """The model that writes down what the person says, `gpt-4o-transcribe` for one; None: nobody does."""
    transcription_language: str | None = attrs.field(default=None, validator=text_if_any)
    """ISO 639-1; None: the model finds out."""
    tools: tuple[FunctionTool, ...] = attrs.field(default=(), converter=_tools)
    """What the model may call: each a `FunctionTool`, or an async function, which `FunctionTool.of` describes."""
    output_modality: OutputModality = attrs.field(default=OutputModality.AUDIO, converter=_output_modality)
    max_output_tokens: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(1)))
    """1 to 4096 for each answer; None: the model's own limit."""
    connection_lifetime_s: float = attrs.field(default=3600.0, validator=number(above=0))
    """After which the provider ends a connection; OpenAI's is 60 minutes."""
    go_away_before_s: float = attrs.field(default=60.0, validator=number(least=0))
    """How long before that `GoAway` is announced."""

    def __attrs_post_init__(self) -> None:
        if not self.model.strip():
            raise ContractViolation("an empty model was given: name one, `gpt-realtime` for example")
        _check_format("input", self.input_format)
        _check_format("output", self.output_format)
        names = [tool.name for tool in self.tools]
        if len(set(names)) < len(names):
            raise ContractViolation(f"tools share a name, of {sorted(names)!r}: give each its own")
        if self.max_output_tokens is not None and self.max_output_tokens > 4096:
            raise ContractViolation(
                f"{self.max_output_tokens!r} output tokens are impossible: give 1 to 4096"
            )
        if self.transcription_language is not None and self.transcription is None:
            raise ContractViolation(
                f"a transcription in {self.transcription_language!r} needs a model: set transcription, too"
            )
        if isinstance(self.api_key, str):
            _check_key(self.api_key)
        _checked_address(self.base_url, self.plain_text)

    @classmethod
    def azure(cls, *, resource: str, deployment: str, api_key: ApiKey, **others: Any) -> Self:
        """The same at Azure OpenAI, generally available protocol; *others* are the fields of the class."""
        if not text(resource, "resource"):
            raise ContractViolation(
                "an empty resource was given: name that of Azure which has the deployment"
            )
        return cls(
            model=deployment,
            api_key=api_key,
            base_url=f"wss://{quote(resource, safe='')}.openai.azure.com/openai/v1/realtime",
            key_header=KeyHeader.API_KEY,
            **others,
        )

    @property
    def url(self) -> str:
        """What is connected to."""
        query = urlencode({"model": self.model})
        return f"{self.base_url}{'&' if urlsplit(self.base_url).query else '?'}{query}"

    @property
    def answers_by_itself(self) -> bool:
        """Whether the provider answers a turn without being asked."""
        return self.turns is not None and self.turns.create_response

    @property
    def stops_by_itself(self) -> bool:
        """Whether the provider stops its answer when the person speaks."""
        return self.turns is not None and self.turns.interrupt_response

    async def handshake_headers(self) -> dict[str, str]:
        """
        The headers of a handshake, with a key that was asked for now.

        Raises:
            ProviderFailure: There is no key to be had.
        """
        key = self.api_key if isinstance(self.api_key, str) else await _asked(self.api_key)
        bearer = f"Bearer {key}" if self.key_header is KeyHeader.AUTHORIZATION else key
        return {**self.headers, str(self.key_header): bearer}


def _check_format(half: str, audio_format: object) -> None:
    known = isinstance(audio_format, AudioFormat)
    if not known or audio_format not in _FORMATS:
        raise ContractViolation(
            f"OpenAI Realtime has no {half} format {audio_format if known else shown(audio_format)}: use pcm16 at 24000 "
            "Hz, or g711 at 8000 Hz, of one channel"
        )


def _check_key(key: object) -> None:
    """
    Raises:
        ContractViolation: It is empty, or would break the header that bears it.
    """
    if not _is_key(key):
        raise ContractViolation(
            "the API key is empty, no text, or holds a blank: pass the key as it was issued"
        )


def _is_key(key: object) -> bool:
    """Whether a header can bear *key*."""
    return isinstance(key, str) and bool(key) and key.isascii() and key.isprintable() and " " not in key


async def _asked(source: Callable[[], Awaitable[str]]) -> str:
    key, raised = "", None
    try:
        key = await source()
    except Exception as error:  # noqa: BLE001 - whatever the program's own function raises
        raised = type(error).__name__
    # Out here, for neither its text nor its frames go with ours: they may show the key.
    if raised is not None:
        raise ProviderFailure(
            f"no API key: the api_key function raised {raised}",
            code="no_api_key",
            retry=RetryClassification.RETRYABLE,
        )
    if not _is_key(key):
        raise ProviderFailure(
            "no API key: the api_key function returned what is empty, no text, or holds a blank: look for a line break "
            "at its end",
            code="no_api_key",
            retry=RetryClassification.NOT_RETRYABLE,
        )
    return key


def _checked_address(base_url: str, plain_text: PlainText) -> None:
    # The address itself is not shown: people put keys into it.
    try:
        address = urlsplit(base_url)
        host = address.hostname
        _ = address.port
    except ValueError:
        raise ContractViolation("base_url is no address: give wss://HOST/PATH") from None
    if address.scheme not in {"ws", "wss"} or not host or address.fragment or address.username is not None:
        raise ContractViolation(
            f"base_url has the scheme {address.scheme!r}, or no host, a fragment or a user: give wss://HOST/PATH"
        )
    if address.scheme == "ws" and plain_text is PlainText.LOOPBACK_ONLY and not _is_loopback(address):
        raise ContractViolation(
            f"base_url has ws:// for {host!r}, so key and speech would travel in the clear: use wss://, "
            "or set plain_text=PlainText.ANYWHERE"
        )


def _is_loopback(address: SplitResult) -> bool:
    host = address.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def session_update(config: OpenAIRealtimeConfig) -> dict[str, Any]:
    """All of *config*, as the `session` of a `session.update`."""
    heard: dict[str, Any] = {
        "format": dict(_FORMATS[config.input_format]),
        "turn_detection": None if config.turns is None else config.turns.wire(),
        "transcription": None,
    }
    if config.transcription is not None:
        heard["transcription"] = {"model": config.transcription}
        if config.transcription_language is not None:
            heard["transcription"]["language"] = config.transcription_language
    spoken: dict[str, Any] = {"format": dict(_FORMATS[config.output_format])}
    if config.voice is not None:
        spoken["voice"] = config.voice
    session: dict[str, Any] = {
        "type": "realtime",
        "output_modalities": [str(config.output_modality)],
        "audio": {"input": heard, "output": spoken},
        "tools": [tool.wire() for tool in config.tools],
    }
    if config.instructions is not None:
        session["instructions"] = config.instructions
    if config.max_output_tokens is not None:
        session["max_output_tokens"] = config.max_output_tokens
    return session
