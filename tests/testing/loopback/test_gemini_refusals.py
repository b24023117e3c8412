"""Each rule of the Gemini server, broken by a client that sends raw JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from realtime_async.testing.loopback.gemini import (
    FirstHandle,
    GeminiAnswer,
    GeminiCall,
    GeminiScript,
    LoopbackGemini,
)
from tests.testing.loopback.raw_gemini import MODEL, OLDER_MODEL, PATH, RawGemini, raw_gemini

SETUP: dict[str, Any] = {"setup": {"model": MODEL}}
MANUAL = {"realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}}}
WEATHER = GeminiAnswer("Sunny.", calls=[GeminiCall("weather", {"city": "Rome"})])
TEXT = {"realtimeInput": {"text": "frame 1"}}
RESULT = {"id": "function-call-1", "name": "weather", "response": {"output": 21}}


def setup(**fields: Any) -> dict[str, Any]:
    return {"setup": {"model": MODEL, **fields}}


def media(kind: str, mime_type: str, data: str = "AAAA") -> dict[str, Any]:
    return {"realtimeInput": {kind: {"data": data, "mimeType": mime_type}}}


def content(role: str = "user", **fields: Any) -> dict[str, Any]:
    return {"clientContent": {"turns": [{"role": role, "parts": [{"text": "Hi"}]}], **fields}}


def results(*responses: dict[str, Any]) -> dict[str, Any]:
    return {"toolResponse": {"functionResponses": list(responses)}}


@pytest.fixture
def server() -> Iterator[LoopbackGemini]:
    with LoopbackGemini(GeminiScript([WEATHER], max_message_bytes=10_000)) as server:
        yield server


@pytest.fixture
def client(server: LoopbackGemini) -> Iterator[RawGemini]:
    with raw_gemini(server) as client:
        yield client


FIRST: dict[str, tuple[dict[str, Any] | str, int, str]] = {
    "no_json": ("{", 1007, "Invalid JSON"),
    "no_object": ("[]", 1007, "Invalid JSON"),
    "two_fields": ({**SETUP, **TEXT}, 1007, "exactly one field"),
    "empty": ({}, 1007, "exactly one field"),
    "unknown_message": ({"config": {}}, 1007, 'Unknown name "config"'),
    "before_setup": (TEXT, 1007, "setup must be the first"),
    "unknown_field": (setup(responseModalities=["AUDIO"]), 1007, 'Unknown name "responseModalities"'),
    "unknown_nested_field": (
        setup(realtimeInputConfig={"automaticActivityDetection": {"enabled": False}}), 1007, 'Unknown name "enabled"',
    ),
    "wrong_kind": (setup(generationConfig={"maxOutputTokens": "many"}), 1007, "Invalid value"),
    "flag_for_a_number": (setup(generationConfig={"seed": True}), 1007, "Invalid value"),
    "no_list": (setup(tools={}), 1007, "Invalid value"),
    "no_table": (setup(sessionResumption=True), 1007, "Invalid value"),
    "unknown_enum": (setup(realtimeInputConfig={"activityHandling": "SOMETIMES"}), 1007, "Invalid value"),
    "unknown_modality": (setup(generationConfig={"responseModalities": ["SOUND"]}), 1007, "Invalid value"),
    "two_modalities": (setup(generationConfig={"responseModalities": ["AUDIO", "TEXT"]}), 1007, "At most one"),
    "no_model": ({"setup": {}}, 1007, "Invalid model name"),
    "short_model": ({"setup": {"model": "gemini-3.8-live"}}, 1007, "Invalid model name"),
    "unknown_model": ({"setup": {"model": "models/gemini-1"}}, 1008, "is not found"),
    "transparent": (setup(sessionResumption={"transparent": True}), 1007, "Developer API"),
    "explicit_vad": (setup(explicitVadSignal=True), 1007, "Developer API"),
    "unknown_handle": (setup(sessionResumption={"handle": "h"}), 1007, "session handle"),
    "too_big": (setup(labels={"a": "x" * 10_000}), 1009, "too big"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST)
def test_a_first_message_is_refused(client: RawGemini, name: str) -> None:
    message, code, reason = FIRST[name]

    closed = client.refused(message)

    assert closed[0] == code
    assert reason in closed[1]
    assert client.messages == []


LATER: dict[str, tuple[dict[str, Any], str]] = {
    "second_setup": (SETUP, "sent only once"),
    "no_input": ({"realtimeInput": {}}, "exactly one field"),
    "two_inputs": ({"realtimeInput": {"text": "a", "audioStreamEnd": True}}, "exactly one field"),
    "media_chunks": ({"realtimeInput": {"mediaChunks": [{"data": "AA==", "mimeType": "audio/pcm"}]}}, "deprecated"),
    "audio_type": (media("audio", "audio/wav"), "Unsupported MIME type"),
    "audio_as_video": (media("video", "audio/pcm"), "Unsupported MIME type"),
    "no_base64": (media("audio", "audio/pcm;rate=16000", "%%%%"), "Base64"),
    "no_audio": (media("audio", "audio/pcm", ""), "is empty"),
    "activity_start": ({"realtimeInput": {"activityStart": {}}}, "Explicit activity control"),
    "activity_end": ({"realtimeInput": {"activityEnd": {}}}, "Explicit activity control"),
    "content": (content(turnComplete=True), "only for the initial history"),
    "content_role": (content("assistant"), "Invalid value"),
    "no_results": ({"toolResponse": {}}, "is empty"),
    "result_without_id": (results({"name": "weather", "response": {}}), "must have an id"),
    "result_without_name": (results({"id": "function-call-1", "response": {}}), "must have an id"),
    "result_without_response": (results({"id": "function-call-1", "name": "weather"}), "must have an id"),
    "result_that_is_text": (results({**RESULT, "response": "21"}), "Invalid value"),
    "result_of_no_call": (results(RESULT), "No function call"),
}  # fmt: skip


@pytest.mark.parametrize("name", LATER)
def test_a_later_message_is_refused(client: RawGemini, name: str) -> None:
    message, reason = LATER[name]
    client.set_up()

    closed = client.refused(message)

    assert closed[0] == 1007
    assert reason in closed[1]


def test_the_end_of_the_stream_is_for_automatic_detection(client: RawGemini) -> None:
    client.set_up(**MANUAL)

    assert "audioStreamEnd" in client.refused({"realtimeInput": {"audioStreamEnd": True}})[1]


def test_an_activity_ends_once(client: RawGemini) -> None:
    client.set_up(**MANUAL)

    assert "without an activityStart" in client.refused({"realtimeInput": {"activityEnd": {}}})[1]


def test_history_that_was_announced_must_be_complete_before_anything_else(client: RawGemini) -> None:
    client.set_up(historyConfig={"initialHistoryInClientContent": True})
    client.say(content(turnComplete=False))

    assert "not complete" in client.refused(TEXT)[1]


def test_history_is_taken_once(client: RawGemini) -> None:
    client.set_up(historyConfig={"initialHistoryInClientContent": True})
    client.say(content(turnComplete=True))

    assert "only for the initial history" in client.refused(content(turnComplete=True))[1]


def test_a_call_is_answered_by_its_name(client: RawGemini) -> None:
    client.set_up()
    client.say(TEXT)
    client.until("toolCall")

    assert "is not that of its call" in client.refused(results({**RESULT, "name": "time"}))[1]


def test_a_call_is_answered_once(client: RawGemini) -> None:
    client.set_up()
    client.say(TEXT)
    client.until("toolCall")
    client.say(results(RESULT))
    client.until("turnComplete")

    assert "No function call" in client.refused(results(RESULT))[1]


def test_a_cancelled_call_is_not_answered(client: RawGemini) -> None:
    client.set_up(**MANUAL)
    client.say(TEXT)
    client.until("toolCall")
    client.say({"realtimeInput": {"activityStart": {}}})
    client.until("toolCallCancellation")

    assert "was cancelled" in client.refused(results(RESULT))[1]


def test_nothing_is_sent_before_the_setup_is_complete() -> None:
    with LoopbackGemini(GeminiScript(setup_s=5.0)) as server, raw_gemini(server) as client:
        client.say(SETUP)

        assert "before setupComplete" in client.refused(TEXT)[1]


def test_a_handle_is_good_for_a_time() -> None:
    script = GeminiScript(first_handle=FirstHandle.AFTER_SETUP, handle_s=0.0)
    with LoopbackGemini(script) as server:
        with raw_gemini(server) as client:
            client.set_up(sessionResumption={})
            handle = client.until("sessionResumptionUpdate")["sessionResumptionUpdate"]["newHandle"]

        with raw_gemini(server) as client:
            assert "session handle" in client.refused(setup(sessionResumption={"handle": handle}))[1]


@pytest.mark.parametrize(
    "path,key,status", [("/ws/other", None, 404), (PATH, "wrong", 401), (f"{PATH}?key=wrong", "", 401)]
)
def test_a_wrong_address_and_a_wrong_key_are_refused_by_http(
    server: LoopbackGemini, path: str, key: str | None, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused, raw_gemini(server, path=path, key=key):
        pass

    assert refused.value.response.status_code == status


def test_one_session_too_many_is_refused_by_http() -> None:
    with LoopbackGemini(GeminiScript(sessions=1)) as server, raw_gemini(server) as client:
        client.set_up()

        with pytest.raises(InvalidStatus) as refused, raw_gemini(server):
            pass

    assert refused.value.response.status_code == 429


def test_who_stays_after_the_announced_end_is_closed() -> None:
    # It has to be set up before its end is announced, however busy the machine is.
    script = GeminiScript(connection_s=1.5, go_away_s=0.1)
    with LoopbackGemini(script) as server, raw_gemini(server) as client:
        client.set_up()

        code, reason = client.closed()

    assert client.messages[-1] == {"goAway": {"timeLeft": "0.1s"}}
    assert code == 1008
    assert "after receiving a GoAway signal" in reason


def test_the_older_model_takes_content_at_any_time(client: RawGemini) -> None:
    client.set_up(model=OLDER_MODEL)

    client.say(content(turnComplete=True))

    assert client.until("toolCall")["toolCall"]["functionCalls"][0]["name"] == "weather"


def test_both_spellings_of_names_are_taken(client: RawGemini) -> None:
    client.say(
        {
            "setup": {
                "model": MODEL,
                "realtime_input_config": {"automatic_activity_detection": {"disabled": True}},
            }
        }
    )
    client.until("setupComplete")
    client.say({"realtime_input": {"activity_start": {}}})
    client.say({"realtime_input": {"audio": {"data": "__79_A==", "mime_type": "audio/pcm"}}})
    client.say({"realtime_input": {"activity_end": {}}})

    assert client.until("toolCall")


def test_a_key_in_the_query_is_taken_as_well(server: LoopbackGemini) -> None:
    with raw_gemini(server, path=f"{PATH}?key={server.key}", key="") as client:
        assert client.set_up() == {"setupComplete": {"sessionId": "session-1"}}
