"""What the Gemini server says to a client that keeps the rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.gemini import (
    FirstHandle,
    GeminiAnswer,
    GeminiCall,
    GeminiScript,
    LoopbackGemini,
)
from realtime_async.testing.loopback.hearing import TurnsByLoudness
from tests.adapters.gemini.official import check_server
from tests.testing.loopback.raw_gemini import OLDER_MODEL, RawGemini, raw_gemini

WEATHER = GeminiAnswer("It is sunny there", calls=[GeminiCall("weather", {"city": "Rome"})])
LONG = GeminiAnswer("Once upon a time", audio_ms=1000, hold_after=2)
MANUAL = {"realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}}}
EVERYTHING: dict[str, Any] = {
    "sessionResumption": {},
    "inputAudioTranscription": {},
    "outputAudioTranscription": {},
}
START: dict[str, Any] = {"realtimeInput": {"activityStart": {}}}


def kinds(client: RawGemini) -> list[str]:
    """What came, in order, less the usage that rides along."""
    told = []
    for message in client.messages:
        keys = [*message.get("serverContent", {}), *message]
        told.append(next(key for key in keys if key not in {"serverContent", "usageMetadata"}))
    return told


def ask(client: RawGemini, number: int = 1) -> None:
    client.say({"realtimeInput": {"text": f"frame {number}"}})


def test_a_spoken_question_is_answered_when_its_speech_ends() -> None:
    script = GeminiScript([GeminiAnswer("Ten past one", audio_ms=200)], turns=TurnsByLoudness(3, 5))
    with LoopbackGemini(script) as server, raw_gemini(server) as client:
        client.set_up(**EVERYTHING)
        client.speak(1, 2, 3, 4, 5)
        client.be_silent(5)
        client.until("turnComplete")
        client.until("sessionResumptionUpdate")
        (conversation,) = server.conversations

    assert kinds(client) == [
        "setupComplete", "inputTranscription", "sessionResumptionUpdate",
        "modelTurn", "outputTranscription", "modelTurn", "outputTranscription",
        "generationComplete", "turnComplete", "sessionResumptionUpdate",
    ]  # fmt: skip
    assert conversation.heard == conversation.known == [1, 2, 3, 4, 5]
    for message in client.messages:
        check_server(json.dumps(message))


def test_a_call_waits_for_its_result_and_then_the_turn_goes_on() -> None:
    with LoopbackGemini(GeminiScript([WEATHER])) as server, raw_gemini(server) as client:
        client.set_up()
        ask(client)
        (call,) = client.until("toolCall")["toolCall"]["functionCalls"]
        result = {"id": call["id"], "name": call["name"], "response": {"output": "sunny"}}
        client.say({"toolResponse": {"functionResponses": [result]}})
        client.until("turnComplete")

    assert call["args"] == {"city": "Rome"}
    assert kinds(client)[:3] == ["setupComplete", "toolCall", "modelTurn"]


def test_an_activity_cuts_the_answer_off_where_it_is() -> None:
    with LoopbackGemini(GeminiScript([LONG])) as server, raw_gemini(server) as client:
        client.set_up(**MANUAL)
        ask(client)
        client.until("modelTurn")
        client.until("modelTurn")
        client.say(START)
        client.until("turnComplete")

    assert kinds(client) == ["setupComplete", "modelTurn", "modelTurn", "interrupted", "turnComplete"]


def test_speech_cuts_the_answer_off_unless_it_may_not() -> None:
    script = GeminiScript(otherwise=LONG, turns=TurnsByLoudness(3, 5))
    for handling, cut in (("START_OF_ACTIVITY_INTERRUPTS", True), ("NO_INTERRUPTION", False)):
        with LoopbackGemini(script) as server, raw_gemini(server) as client:
            client.set_up(realtimeInputConfig={"activityHandling": handling})
            ask(client)
            client.until("modelTurn")
            client.until("modelTurn")
            client.speak(2, 3, 4)
            server.wait(lambda: 4 in server.conversations[0].heard)
            server.go_on()
            client.until("turnComplete")

        assert ("interrupted" in kinds(client)) is cut


def test_any_content_cuts_the_answer_off_where_content_is_taken() -> None:
    with LoopbackGemini(GeminiScript([LONG])) as server, raw_gemini(server) as client:
        client.set_up(model=OLDER_MODEL)
        client.say({"clientContent": {"turns": [{"parts": [{"text": "frame 7"}]}], "turnComplete": True}})
        client.until("modelTurn")
        client.say({"clientContent": {"turnComplete": False}})
        client.until("turnComplete")

    assert "interrupted" in kinds(client)
    assert server.conversations[0].questions == ["frame 7"]


def test_an_answer_that_is_held_goes_on_when_told() -> None:
    with LoopbackGemini(GeminiScript([LONG])) as server, raw_gemini(server) as client:
        client.set_up()
        ask(client)
        client.until("modelTurn")
        client.until("modelTurn")
        server.go_on()
        client.until("generationComplete")

    assert kinds(client).count("modelTurn") == 10


def test_a_written_answer_is_in_the_parts_of_the_turn() -> None:
    with LoopbackGemini() as server, raw_gemini(server) as client:
        client.set_up(generationConfig={"responseModalities": ["TEXT"]})
        ask(client)
        client.until("turnComplete")

    parts = [message["serverContent"]["modelTurn"]["parts"][0]["text"] for message in client.messages[1:3]]
    assert "".join(parts) == "Of course."


def test_the_counts_of_an_answer_grow() -> None:
    with LoopbackGemini() as server, raw_gemini(server) as client:
        client.set_up()
        ask(client)
        client.until("turnComplete")

    counts = [
        message["usageMetadata"]["responseTokenCount"]
        for message in client.messages
        if "usageMetadata" in message
    ]
    assert counts == [10, 20, 30, 40, 40]


def test_a_handle_brings_back_what_was_known_when_it_was_given() -> None:
    with LoopbackGemini(GeminiScript(otherwise=GeminiAnswer(audio_ms=100))) as server:
        with raw_gemini(server) as client:
            client.set_up(sessionResumption={})
            ask(client, 1)
            client.until("turnComplete")
            handle = client.until("sessionResumptionUpdate")["sessionResumptionUpdate"]["newHandle"]
            ask(client, 2)
            client.until("turnComplete")
        (conversation,) = server.conversations
        before = list(conversation.known)
        with raw_gemini(server) as client:
            client.set_up(sessionResumption={"handle": handle})

        assert before == [1, 2]
        assert conversation.known == [1]
        assert conversation.heard == [1, 2]
        assert server.conversations == [conversation]


def test_no_handle_is_given_to_who_did_not_ask_for_one() -> None:
    with (
        LoopbackGemini(GeminiScript(first_handle=FirstHandle.AFTER_SETUP)) as server,
        raw_gemini(server) as client,
    ):
        client.set_up()
        ask(client)
        client.until("turnComplete")
        server.go_away(9.5)

        assert client.hear() == {"goAway": {"timeLeft": "9.5s"}}


@pytest.mark.parametrize("message", range(2, 6))
def test_a_connection_can_die_right_before_any_message(message: int) -> None:
    with LoopbackGemini() as server, raw_gemini(server) as client:
        server.at(message, lambda: server.drop(DropHow.CLOSE, code=1011))
        client.set_up()
        ask(client)

        assert client.closed() == (1011, "")
        assert len(client.messages) == message - 1


def test_what_was_heard_by_one_of_two_sessions_is_told_apart() -> None:
    with LoopbackGemini() as server, raw_gemini(server) as first, raw_gemini(server) as second:
        first.set_up()
        second.set_up()
        ask(first, 1)
        ask(second, 2)
        first.until("turnComplete")
        second.until("turnComplete")
        server.tell({"goAway": {}}, conversation=2)

        assert second.hear() == {"goAway": {}}
        assert [conversation.heard for conversation in server.conversations] == [[1], [2]]
        assert [entry.conversation for entry in server.log] == server.conversations
