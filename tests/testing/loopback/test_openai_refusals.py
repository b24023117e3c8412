"""Each rule of the OpenAI server, broken by hand, and the error that tells so."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime_async.testing.loopback.hearing import numbered_audio
from realtime_async.testing.loopback.openai import Answer, Call, LoopbackOpenAI, OpenAIScript
from tests.testing.loopback.raw_openai import Event, RawClient, raw_client, user_says

LONG_ID = "x" * 33


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackOpenAI]:
    # It listens to nobody by itself: each test says when.
    with LoopbackOpenAI(OpenAIScript(turns=None)) as server:
        yield server


def item(**fields: Any) -> Event:
    return {"item": {**user_says("hello"), **fields}}


def assistant(**part: Any) -> Event:
    return {"item": {"type": "message", "role": "assistant", "content": [part]}}


def session(**fields: Any) -> Event:
    return {"session": {"type": "realtime", **fields}}


def hearing(**fields: Any) -> Event:
    return session(audio={"input": fields})


AUDIO = base64.b64encode(numbered_audio(1)).decode()

# What is said to a connection that is configured and idle, the error's code, and the parameter it names.
WRONG_IN_ITSELF: dict[str, tuple[str, Event, str, str | None]] = {
    "unknown event": ("conversation.item.commit", {}, "invalid_value", "type"),
    "unknown field": ("response.cancel", {"responseId": "r"}, "unknown_parameter", "responseId"),
    "event id that is no text": ("response.create", {"response": 3}, "invalid_type", "response"),
    "session without a type": (
        "session.update",
        {"session": {}},
        "missing_required_parameter",
        "session.type",
    ),
    "transcription session": (
        "session.update",
        {"session": {"type": "transcription"}},
        "invalid_value",
        "session.type",
    ),
    "another model": ("session.update", session(model="other"), "invalid_value", "session.model"),
    "beta's flat session": ("session.update", session(voice="sage"), "unknown_parameter", "session.voice"),
    "temperature": ("session.update", session(temperature=0.8), "unknown_parameter", "session.temperature"),
    "both modalities": (
        "session.update",
        session(output_modalities=["audio", "text"]),
        "invalid_value",
        "session.output_modalities",
    ),
    "beta's format": (
        "session.update",
        hearing(format="pcm16"),
        "invalid_type",
        "session.audio.input.format",
    ),
    "format without rate": (
        "session.update",
        hearing(format={"type": "audio/pcm"}),
        "missing_required_parameter",
        "session.audio.input.format.rate",
    ),
    "another rate": (
        "session.update",
        hearing(format={"type": "audio/pcm", "rate": 16000}),
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    "turn detection by the name of none": (
        "session.update",
        hearing(turn_detection={"type": "none"}),
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    "speed": (
        "session.update",
        session(audio={"output": {"speed": 2.0}}),
        "decimal_above_max_value",
        "session.audio.output.speed",
    ),
    "too many tokens": (
        "session.update",
        session(max_output_tokens=4097),
        "integer_above_max_value",
        "session.max_output_tokens",
    ),
    "append without audio": ("input_audio_buffer.append", {}, "missing_required_parameter", "audio"),
    "append of nothing": ("input_audio_buffer.append", {"audio": ""}, "invalid_value", "audio"),
    "append of no base64": ("input_audio_buffer.append", {"audio": "!!"}, "invalid_value", "audio"),
    "append of base64 without padding": (
        "input_audio_buffer.append",
        {"audio": "AAA"},
        "invalid_value",
        "audio",
    ),
    "commit of an empty buffer": ("input_audio_buffer.commit", {}, "input_audio_buffer_commit_empty", None),
    "clear of the output": ("output_audio_buffer.clear", {}, "invalid_value", "type"),
    "long item id": ("conversation.item.create", item(id=LONG_ID), "string_above_max_length", "item.id"),
    "unknown item type": (
        "conversation.item.create",
        {"item": {"type": "force_message"}},
        "invalid_value",
        "item.type",
    ),
    "unknown place": (
        "conversation.item.create",
        {**item(), "previous_item_id": "nobody"},
        "invalid_value",
        "previous_item_id",
    ),
    "result of a call that nobody asked for": (
        "conversation.item.create",
        {"item": {"type": "function_call_output", "call_id": "call_x", "output": "1"}},
        "invalid_tool_call_id",
        "item.call_id",
    ),
    "long call id": (
        "conversation.item.create",
        {"item": {"type": "function_call_output", "call_id": LONG_ID, "output": "1"}},
        "string_above_max_length",
        "item.call_id",
    ),
    "result that is no text": (
        "conversation.item.create",
        {"item": {"type": "function_call_output", "call_id": "c", "output": {"ok": True}}},
        "invalid_type",
        "item.output",
    ),
    "the model's audio given back": (
        "conversation.item.create",
        assistant(type="output_audio", audio=AUDIO),
        "missing_required_parameter",
        "item.content[0].text",
    ),
    "beta's text of the model": (
        "conversation.item.create",
        assistant(type="text", text="x"),
        "invalid_value",
        "item.content[0].type",
    ),
    "image from the web": (
        "conversation.item.create",
        item(content=[{"type": "input_image", "image_url": "https://example.org/a.png"}]),
        "invalid_value",
        "item.content[0].image_url",
    ),
    "system message with audio": (
        "conversation.item.create",
        item(role="system", content=[{"type": "input_audio", "audio": AUDIO}]),
        "invalid_value",
        "item.content[0].type",
    ),
    "retrieve of nothing": (
        "conversation.item.retrieve",
        {"item_id": "nobody"},
        "item_retrieve_invalid_item_id",
        "item_id",
    ),
    "delete of nothing": (
        "conversation.item.delete",
        {"item_id": "nobody"},
        "item_delete_invalid_item_id",
        "item_id",
    ),
    "truncate of nothing": (
        "conversation.item.truncate",
        {"item_id": "nobody", "content_index": 0, "audio_end_ms": 100},
        "item_truncate_invalid_item_id",
        "item_id",
    ),
    "truncate to a fraction": (
        "conversation.item.truncate",
        {"item_id": "nobody", "content_index": 0, "audio_end_ms": 99.5},
        "invalid_type",
        "audio_end_ms",
    ),
    "truncate before the beginning": (
        "conversation.item.truncate",
        {"item_id": "nobody", "content_index": 0, "audio_end_ms": -1},
        "integer_below_min_value",
        "audio_end_ms",
    ),
    "cancel of nothing": ("response.cancel", {}, "response_cancel_not_active", None),
    "answer outside the conversation": (
        "response.create",
        {"response": {"conversation": "none"}},
        "invalid_value",
        "response.conversation",
    ),
}


@pytest.mark.parametrize("broken", WRONG_IN_ITSELF)
def test_what_is_wrong_in_itself_is_refused(server: LoopbackOpenAI, broken: str) -> None:
    kind, fields, code, param = WRONG_IN_ITSELF[broken]

    with raw_client(server) as client:
        client.configure()
        error = client.refused(kind, **fields)
        # The session stays open.
        client.configure()

    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)


@pytest.mark.parametrize("message", ["{", "[]", "3", b"{}"], ids=["cut", "list", "number", "binary"])
def test_a_message_that_is_no_json_object_is_refused(server: LoopbackOpenAI, message: str | bytes) -> None:
    with raw_client(server) as client:
        client.socket.send(message)
        event = client.hear()

    assert (event["error"]["code"], event["error"]["event_id"]) == ("invalid_json", None)


def test_a_message_without_a_type_is_refused(server: LoopbackOpenAI) -> None:
    with raw_client(server) as client:
        client.socket.send("{}")
        event = client.hear()

    assert (event["error"]["code"], event["error"]["param"]) == ("missing_required_parameter", "type")


@pytest.mark.parametrize("kind", ["response.create", "input_audio_buffer.commit", "response.cancel"])
def test_a_connection_is_configured_before_it_is_used(server: LoopbackOpenAI, kind: str) -> None:
    with raw_client(server) as client:
        error = client.refused(kind)

    assert error["code"] == "session_not_configured"


def test_an_append_of_more_than_15_mib_is_refused(server: LoopbackOpenAI) -> None:
    limit = 15 * 2**20
    with raw_client(server) as client:
        client.configure()
        error = client.refused("input_audio_buffer.append", audio=base64.b64encode(bytes(limit + 1)).decode())
        client.append(bytes(limit))
        client.configure()

    assert error["code"] == "string_above_max_length"


def test_a_commit_needs_100_ms(server: LoopbackOpenAI) -> None:
    with raw_client(server) as client:
        client.configure()
        client.speak(1, 2, 3, 4)
        error = client.refused("input_audio_buffer.commit")
        client.speak(5)
        client.say("input_audio_buffer.commit")
        client.until("input_audio_buffer.committed")
        again = client.refused("input_audio_buffer.commit")

    assert error["code"] == again["code"] == "input_audio_buffer_commit_empty"
    assert "80.00ms" in error["message"]
    assert "0.00ms" in again["message"]


def test_an_item_id_is_given_once(server: LoopbackOpenAI) -> None:
    with raw_client(server) as client:
        client.configure()
        client.say("conversation.item.create", **item(id="mine"))
        client.until("conversation.item.added")
        error = client.refused("conversation.item.create", **item(id="mine"))

    assert (error["code"], error["param"]) == ("invalid_value", "item.id")


def answered(client: RawClient) -> str:
    """Have the server speak; return the id of what it said."""
    client.say("response.create")
    added = client.until("response.output_item.added")
    client.until("response.done")
    return str(added["item"]["id"])


@pytest.mark.parametrize(
    "end_ms, index, code",
    [(401, 0, "invalid_value"), (0, 0, "unsupported_content_type"), (100, 1, "invalid_value")],
    ids=["more than was said", "nothing heard", "another part"],
)
def test_a_truncate_keeps_within_what_was_said(
    server: LoopbackOpenAI, end_ms: int, index: int, code: str
) -> None:
    with raw_client(server) as client:
        client.configure()
        spoken = answered(client)
        error = client.refused(
            "conversation.item.truncate", item_id=spoken, content_index=index, audio_end_ms=end_ms
        )
        client.say("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=400)
        client.until("conversation.item.truncated")

    assert error["code"] == code


def test_what_was_cut_once_is_shorter_for_the_next_cut(server: LoopbackOpenAI) -> None:
    with raw_client(server) as client:
        client.configure()
        spoken = answered(client)
        client.say("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=200)
        client.until("conversation.item.truncated")
        error = client.refused(
            "conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=300
        )

    assert error["message"] == "Audio content of 200ms is already shorter than 300ms"


def test_only_what_the_model_spoke_is_truncated(server: LoopbackOpenAI) -> None:
    with raw_client(server) as client:
        client.configure(output_modalities=["text"])
        written = answered(client)
        client.say("conversation.item.create", **item(id="mine"))
        client.until("conversation.item.added")
        errors = [
            client.refused("conversation.item.truncate", item_id=each, content_index=0, audio_end_ms=10)
            for each in (written, "mine")
        ]

    assert [error["code"] for error in errors] == ["unsupported_content_type"] * 2


def test_the_voice_is_settled_by_the_first_sound(server: LoopbackOpenAI) -> None:
    with raw_client(server) as client:
        client.configure(audio={"output": {"voice": "sage"}})
        answered(client)
        error = client.refused("session.update", **session(audio={"output": {"voice": "alloy"}}))
        client.configure(audio={"output": {"voice": "sage"}})

    assert error["code"] == "cannot_update_voice"


def test_one_response_is_given_at_a_time() -> None:
    script = OpenAIScript(answers=[Answer("slowly", hold_after=1)], turns=None)
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.configure()
        client.say("response.create")
        client.until("response.output_audio.delta")
        error = client.refused("response.create")
        stranger = client.refused("response.cancel", response_id="another")
        server.go_on()
        client.until("response.done")
        client.say("response.create")
        client.until("response.done")

    assert error["code"] == "conversation_already_has_active_response"
    assert stranger["code"] == "response_cancel_not_active"


def test_a_call_is_answered_while_it_is_in_the_conversation() -> None:
    script = OpenAIScript(answers=[Answer(None, calls=[Call("look_up", call_id="call_1")])], turns=None)
    result = {"item": {"type": "function_call_output", "call_id": "call_1", "output": "{}"}}
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.configure()
        asked = answered(client)
        client.say("conversation.item.create", **result)
        client.until("conversation.item.added")
        client.say("conversation.item.delete", item_id=asked)
        client.until("conversation.item.deleted")
        error = client.refused("conversation.item.create", **result)

    assert error["code"] == "invalid_tool_call_id"


def test_a_session_ends_with_its_age() -> None:
    with LoopbackOpenAI(OpenAIScript(session_s=0.05)) as server, raw_client(server) as client:
        event = client.hear()
        with pytest.raises(ConnectionClosed) as closed:
            client.hear()

    assert event["error"]["code"] == "session_expired"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert closed.value.rcvd.reason.startswith("Your session hit the maximum duration")


def test_nobody_enters_without_the_key(server: LoopbackOpenAI) -> None:
    with pytest.raises(InvalidStatus) as refused, raw_client(server, key="another"):
        pass

    assert refused.value.response.status_code == 401
