"""The first message, the address and the headers; and configurations that cannot be."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from realtime_async.adapters.gemini import (
    ActivityHandling,
    ContextCompression,
    FunctionDeclaration,
    GeminiLiveAdapter,
    GeminiLiveConfig,
    Modality,
    PlainText,
    Sensitivity,
    SpeechDetection,
    ToolBehavior,
    Transcript,
    TurnTaking,
)
from realtime_async.adapters.gemini.setup import address, credentials, setup_message
from realtime_async.adapters.openai import PlainText as OpenAIPlainText
from realtime_async.errors import ContractViolation
from tests.adapters.gemini.official import check_client

KEY = "mauve-door-91"


def config(**fields: Any) -> GeminiLiveConfig:
    return GeminiLiveConfig(**{"model": "gemini-3.8-live", "api_key": KEY, **fields})


def setup(handle: str | None = None, **fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = check_client(setup_message(config(**fields), handle))["setup"]
    return value


def test_the_least_setup_asks_for_audio_transcripts_and_resumption() -> None:
    assert setup() == {
        "model": "models/gemini-3.8-live",
        "generationConfig": {"responseModalities": ["AUDIO"]},
        "realtimeInputConfig": {"activityHandling": "START_OF_ACTIVITY_INTERRUPTS"},
        "sessionResumption": {},
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
    }


def test_everything_that_can_be_configured_is_in_the_setup() -> None:
    weather = FunctionDeclaration(
        name="weather",
        description="Of a city.",
        parameters={"type": "object", "properties": {"some_city": {"type": "string"}}},
        behavior=ToolBehavior.NON_BLOCKING,
    )

    message = setup(
        "handle-1",
        model="models/gemini-3.8-live",
        instructions="Be brief.",
        functions=[weather, FunctionDeclaration(name="time")],
        modality=Modality.AUDIO,
        voice="Puck",
        language="de-DE",
        temperature=0.5,
        max_output_tokens=100,
        activity_handling=ActivityHandling.DOES_NOT_INTERRUPT,
        speech_detection=SpeechDetection(
            start=Sensitivity.LOW, end=Sensitivity.HIGH, prefix_padding_ms=20, silence_ms=500
        ),
        transcripts=[Transcript.OUTPUT],
        compression=ContextCompression(trigger_tokens=25_600, target_tokens=12_800),
    )

    assert message == {
        "model": "models/gemini-3.8-live",
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {
                "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}},
                "languageCode": "de-DE",
            },
            "temperature": 0.5,
            "maxOutputTokens": 100,
        },
        "realtimeInputConfig": {
            "automaticActivityDetection": {
                "startOfSpeechSensitivity": "START_SENSITIVITY_LOW",
                "endOfSpeechSensitivity": "END_SENSITIVITY_HIGH",
                "prefixPaddingMs": 20,
                "silenceDurationMs": 500,
            },
            "activityHandling": "NO_INTERRUPTION",
        },
        "sessionResumption": {"handle": "handle-1"},
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "weather",
                        "description": "Of a city.",
                        "parametersJsonSchema": weather.parameters,
                        "behavior": "NON_BLOCKING",
                    },
                    {"name": "time", "description": ""},
                ]
            }
        ],
        "contextWindowCompression": {"triggerTokens": "25600", "slidingWindow": {"targetTokens": "12800"}},
        "outputAudioTranscription": {},
    }


def test_manual_turn_taking_switches_the_detection_off() -> None:
    assert setup(turn_taking=TurnTaking.MANUAL)["realtimeInputConfig"] == {
        "automaticActivityDetection": {"disabled": True},
        "activityHandling": "START_OF_ACTIVITY_INTERRUPTS",
    }


def test_the_key_travels_in_a_header_and_a_token_in_another() -> None:
    token = "auth_tokens/abc"

    assert credentials(KEY) == {"x-goog-api-key": KEY}
    assert credentials(token) == {"Authorization": f"Token {token}"}
    assert address(config(), KEY) == (
        "wss://generativelanguage.googleapis.com/ws/"
        "google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    )
    assert address(config(base_url="ws://[::1]:1/", api_version="v1alpha"), token) == (
        "ws://[::1]:1/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"model": ""},
        {"model": "models/"},
        {"base_url": "https://example.com"},
        {"base_url": "wss://"},
        {"base_url": "wss://[::1"},
        {"base_url": "wss://example.com:99999"},
        {"base_url": "wss://example.com:port"},
        {"base_url": "wss://example.com/#live"},
        {"base_url": f"wss://example.com/?key={KEY}"},
        {"base_url": f"wss://{KEY}@example.com"},
        {"base_url": "ws://example.com"},
        {"base_url": "ws://10.0.0.1:80"},
        {"turn_taking": TurnTaking.MANUAL, "speech_detection": SpeechDetection()},
        {"model": None},
        {"model": b"gemini-3.8-live"},
        {"api_key": None},
        {"base_url": b"wss://example.com"},
        {"api_version": 1},
        {"instructions": b"Be brief."},
        {"instructions": "\ud800"},
        {"voice": 1},
        {"language": b"de-DE"},
        {"temperature": math.nan},
        {"temperature": "hot"},
        {"temperature": 2.5},
        {"max_output_tokens": 0},
        {"max_output_tokens": 1.5},
        {"speech_detection": "low"},
        {"compression": True},
        {"setup_s": 0},
        {"setup_s": None},
        {"functions": "weather"},
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation) as refused:
        config(**fields)

    assert KEY not in refused.value.message


@pytest.mark.parametrize(
    "part, fields",
    [
        (FunctionDeclaration, {"name": None}),
        (FunctionDeclaration, {"name": "weather", "description": b"Of a city."}),
        (FunctionDeclaration, {"name": "weather", "parameters": "{}"}),
        (SpeechDetection, {"silence_ms": -1}),
        (SpeechDetection, {"prefix_padding_ms": 0.5}),
        (ContextCompression, {"trigger_tokens": "1000"}),
        (ContextCompression, {"target_tokens": 0}),
    ],
    ids=str,
)
def test_a_part_that_cannot_be_is_refused(part: type[object], fields: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation):
        part(**fields)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:80", "127.9.9.9"])
def test_plain_text_is_for_loopback(host: str) -> None:
    assert config(base_url=f"ws://{host}").base_url == f"ws://{host}"


@pytest.mark.parametrize("plain_text", ["loopback_only", OpenAIPlainText.LOOPBACK_ONLY], ids=repr)
def test_plain_text_for_loopback_may_be_asked_for_by_name(plain_text: Any) -> None:
    with pytest.raises(ContractViolation, match="in the clear"):
        config(base_url="ws://example.com", plain_text=plain_text)


def test_what_is_chosen_by_name_is_sent_as_what_is_chosen_by_member() -> None:
    by_member = FunctionDeclaration(name="weather", behavior=ToolBehavior.BLOCKING)
    by_name = FunctionDeclaration(name="weather", behavior="BLOCKING")

    assert setup(functions=[by_name]) == setup(functions=[by_member])
    assert setup(turn_taking="manual") == setup(turn_taking=TurnTaking.MANUAL)
    assert setup(transcripts=["inputAudioTranscription"]) == setup(transcripts=[Transcript.INPUT])


@pytest.mark.parametrize(
    "field", ["activity_handling", "modality", "plain_text", "text_input", "transcripts", "turn_taking"]
)
@pytest.mark.parametrize("value", [None, 1, "audio", ["audio"]], ids=repr)
def test_a_choice_that_there_is_not_is_refused(field: str, value: object) -> None:
    with pytest.raises(ContractViolation, match=r"choose one of|give a set"):
        config(**{field: value})


def test_a_choice_of_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(ContractViolation, match="choose one of HIGH, LOW"):
        SpeechDetection(start="loud")
    with pytest.raises(ContractViolation, match="choose one of BLOCKING"):
        FunctionDeclaration(name="weather", behavior="sometimes")


def test_plain_text_goes_elsewhere_where_asked_for() -> None:
    assert config(base_url="ws://example.com", plain_text=PlainText.ANYWHERE).base_url == "ws://example.com"


def test_no_repr_shows_the_key_the_instructions_or_the_functions() -> None:
    secret = FunctionDeclaration(name=KEY)

    assert KEY not in repr(config(instructions=KEY, functions=[secret]))


def test_the_setup_is_one_line_of_json() -> None:
    assert json.loads(setup_message(config(instructions="a\nb"), None))["setup"]["systemInstruction"]
    assert "\n" not in setup_message(config(instructions="a\nb"), None)


@pytest.mark.parametrize("function", [int, None, print, "weather", SpeechDetection()], ids=repr)
def test_what_is_no_async_function_declares_none(function: Any) -> None:
    with pytest.raises(ContractViolation, match="give an async function"):
        FunctionDeclaration.of(function)


@pytest.mark.parametrize("given", [{"config": None}, {"config": {"model": "m"}}, {"limits": {}}], ids=str)
def test_an_adapter_is_made_of_a_configuration_and_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation, match="give a"):
        GeminiLiveAdapter(**{"config": config(), **given})
