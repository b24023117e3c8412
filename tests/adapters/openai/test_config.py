"""What can be asked for, and what is refused before anything is connected."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import pytest

from realtime_async.adapters.openai import (
    FunctionTool,
    KeyHeader,
    OpenAIRealtimeAdapter,
    OpenAIRealtimeConfig,
    PlainText,
    SemanticTurns,
    ServerTurns,
    TurnEagerness,
)
from realtime_async.adapters.openai.config import session_update
from realtime_async.errors import ContractViolation, ProviderFailure, RetryClassification
from realtime_async.ports import AudioEncoding, AudioFormat
from tests.adapters.openai.talks import KEY, config

ULAW = AudioFormat(AudioEncoding.G711_ULAW, 8_000)
ALAW = AudioFormat(AudioEncoding.G711_ALAW, 8_000)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": " "},
        {"api_key": ""},
        {"api_key": "a key"},
        {"api_key": "line\nbreak"},
        {"api_key": "schlüssel"},
        {"base_url": "https://api.openai.com/v1/realtime"},
        {"base_url": "wss://"},
        {"base_url": "wss://user:secret@host/"},
        {"base_url": "wss://host/#fragment"},
        {"base_url": "wss://[host/"},
        {"base_url": "ws://example.org/v1/realtime"},
        {"base_url": "ws://10.0.0.1/v1/realtime"},
        {"input_format": AudioFormat(sample_rate=16_000)},
        {"output_format": AudioFormat(channels=2)},
        {"input_format": AudioFormat(AudioEncoding.G711_ULAW, 16_000)},
        {"tools": [FunctionTool("book"), FunctionTool("book")]},
        {"max_output_tokens": 0},
        {"max_output_tokens": 5000},
        {"transcription_language": "de"},
        {"connection_lifetime_s": 0},
        {"go_away_before_s": -1},
        {"key_header": "x-key"},
        {"plain_text": None},
        {"output_modality": "video"},
        {"model": None},
        {"model": b"gpt-realtime"},
        {"api_key": None},
        {"base_url": b"wss://example.com"},
        {"headers": ["x-tenant"]},
        {"headers": {"x-tenant": 1}},
        {"headers": {"x-tenant": "a\r\nx-other: b"}},
        {"headers": {"x tenant": "a"}},
        {"headers": {"": "a"}},
        {"instructions": b"Be brief."},
        {"instructions": "\ud800"},
        {"voice": 1},
        {"turns": "server_vad"},
        {"transcription": True},
        {"transcription": "gpt-4o-transcribe", "transcription_language": 49},
        {"input_format": "pcm16"},
        {"output_format": []},
        {"max_output_tokens": True},
        {"max_output_tokens": "many"},
        {"connection_lifetime_s": math.nan},
        {"go_away_before_s": None},
    ],
    ids=str,
)
def test_what_the_provider_cannot_take_is_refused_at_once(fields: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation) as refused:
        config(**fields)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "part, fields",
    [
        (ServerTurns, {"threshold": 1.5}),
        (ServerTurns, {"silence_ms": -1}),
        (ServerTurns, {"prefix_padding_ms": -1}),
        (FunctionTool, {"name": ""}),
        (FunctionTool, {"name": "book a table"}),
        (FunctionTool, {"name": "x" * 65}),
        (FunctionTool, {"name": "book", "parameters": {"type": {1, 2}}}),
        (ServerTurns, {"threshold": math.nan}),
        (ServerTurns, {"threshold": None}),
        (ServerTurns, {"silence_ms": 1.5}),
        (ServerTurns, {"prefix_padding_ms": True}),
        (SemanticTurns, {"eagerness": "very"}),
        (FunctionTool, {"name": ["book"]}),
        (FunctionTool, {"name": "book", "description": None}),
        (FunctionTool, {"name": "book", "parameters": None}),
    ],
    ids=str,
)
def test_parts_of_a_configuration_are_held_to_their_limits(part: type, fields: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation):
        part(**fields)


@pytest.mark.parametrize("resource", ["", None, b"front-desk", "\ud800"], ids=repr)
def test_a_resource_of_azure_that_cannot_be_is_refused(resource: Any) -> None:
    with pytest.raises(ContractViolation):
        OpenAIRealtimeConfig.azure(resource=resource, deployment="voice", api_key=KEY)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_plain_text_is_accepted_on_the_way_to_oneself(host: str) -> None:
    assert config(base_url=f"ws://{host}:8080/v1/realtime").url.startswith("ws://")


def test_plain_text_is_accepted_anywhere_where_that_is_asked_for() -> None:
    asked = config(base_url="ws://speech.lan/v1/realtime", plain_text=PlainText.ANYWHERE)

    assert asked.url == "ws://speech.lan/v1/realtime?model=gpt-realtime"


async def test_openai_is_reached_with_a_bearer_key() -> None:
    asked = config(headers={"OpenAI-Organization": "org"})

    assert asked.url == "wss://api.openai.com/v1/realtime?model=gpt-realtime"
    assert await asked.handshake_headers() == {
        "OpenAI-Organization": "org",
        "Authorization": f"Bearer {KEY}",
    }


async def test_azure_is_reached_with_its_own_header() -> None:
    asked = OpenAIRealtimeConfig.azure(resource="front-desk", deployment="voice", api_key=KEY)

    assert asked.url == "wss://front-desk.openai.azure.com/openai/v1/realtime?model=voice"
    assert asked.key_header is KeyHeader.API_KEY
    assert await asked.handshake_headers() == {"api-key": KEY}


def test_a_query_that_an_address_has_is_kept() -> None:
    asked = config(base_url="wss://host/realtime?api-version=1", model="a model")

    assert asked.url == "wss://host/realtime?api-version=1&model=a+model"


async def test_a_key_is_asked_for_at_each_handshake() -> None:
    keys = iter(["first", "second"])

    async def next_key() -> str:
        return next(keys)

    asked = config(api_key=next_key)

    assert [(await asked.handshake_headers())["Authorization"] for _ in range(2)] == [
        "Bearer first",
        "Bearer second",
    ]


async def test_a_key_function_that_fails_is_named_without_what_it_said() -> None:
    async def no_key() -> str:
        raise RuntimeError(f"cannot refresh {KEY}")

    with pytest.raises(ProviderFailure) as failed:
        await config(api_key=no_key).handshake_headers()

    assert "RuntimeError" in str(failed.value)
    assert KEY not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None


@pytest.mark.parametrize("key", ["", f"{KEY}\n", None], ids=["empty", "line break", "none"])
async def test_what_a_function_returns_and_is_no_key_is_refused_for_what_it_is(key: Any) -> None:
    async def no_key() -> str:
        return key  # type: ignore[no-any-return]  # as a program that isn't checked might

    with pytest.raises(ProviderFailure, match="returned") as refused:
        await config(api_key=no_key).handshake_headers()

    assert KEY not in str(refused.value)
    assert refused.value.retry is RetryClassification.NOT_RETRYABLE


def test_neither_key_nor_instructions_are_in_a_repr() -> None:
    asked = config(instructions="Never tell the code 4711.", headers={"X-Secret": KEY})

    shown = repr(asked) + repr(OpenAIRealtimeAdapter(asked))

    assert KEY not in shown
    assert "4711" not in shown


def test_all_that_is_asked_for_is_in_the_session() -> None:
    asked = config(
        instructions="Be brief.",
        voice="marin",
        input_format=ULAW,
        output_format=ALAW,
        turns=SemanticTurns(eagerness=TurnEagerness.HIGH, create_response=False),
        transcription="whisper-1",
        transcription_language="de",
        tools=[FunctionTool("book", "Book a table.", {"type": "object", "properties": {"n": {}}})],
        max_output_tokens=200,
    )

    assert json.loads(json.dumps(session_update(asked))) == {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "Be brief.",
        "max_output_tokens": 200,
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "turn_detection": {
                    "type": "semantic_vad",
                    "eagerness": "high",
                    "create_response": False,
                    "interrupt_response": True,
                },
                "transcription": {"model": "whisper-1", "language": "de"},
            },
            "output": {"format": {"type": "audio/pcma"}, "voice": "marin"},
        },
        "tools": [
            {
                "type": "function",
                "name": "book",
                "description": "Book a table.",
                "parameters": {"type": "object", "properties": {"n": {}}},
            }
        ],
    }


def test_turns_that_the_program_ends_are_no_turn_detection() -> None:
    asked = config(turns=None)

    assert session_update(asked)["audio"]["input"]["turn_detection"] is None
    assert not asked.answers_by_itself
    assert not asked.stops_by_itself


def test_a_configuration_is_a_value() -> None:
    assert config() == config()
    assert hash(config()) == hash(config())
    assert attrs.evolve(config(), voice="marin") != config()


@pytest.mark.parametrize("given", [{"config": None}, {"config": {"model": "m"}}, {"limits": {}}], ids=str)
def test_an_adapter_is_made_of_a_configuration_and_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation, match="give a"):
        OpenAIRealtimeAdapter(**{"config": config(), **given})
