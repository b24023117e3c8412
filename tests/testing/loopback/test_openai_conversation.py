"""What the OpenAI server does of itself: it hears turns, transcribes them and answers, as its script says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from realtime_async.testing.loopback.hearing import TurnsByFrame, TurnsByLoudness, TurnsByNumber
from realtime_async.testing.loopback.openai import (
    Answer,
    AnswerEnd,
    Call,
    Configuration,
    LoopbackOpenAI,
    OpenAIScript,
    Transcribes,
)
from tests.testing.loopback.openai_types import misfits
from tests.testing.loopback.raw_openai import Event, RawClient, raw_client, user_says

TRANSCRIBED = {"transcription": {"model": "gpt-realtime-whisper"}}

OF_AN_ANSWER = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


def kinds(client: RawClient, *, after: int = 0) -> list[str]:
    return [event["type"] for event in client.events[after:]]


def test_a_turn_is_heard_committed_transcribed_and_answered() -> None:
    script = OpenAIScript(
        answers=[Answer("Good morning.", audio_ms=100)], turns=TurnsByFrame([(20, 40)]), transcripts=["Hello"]
    )
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.configure(audio={"input": TRANSCRIBED})
        heard = len(client.events)
        client.speak(*range(50))
        done = client.until("response.done")

    assert kinds(client, after=heard) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        *OF_AN_ANSWER,
    ]
    started, stopped, committed, added = client.events[heard : heard + 4]
    # The 20th frame ends at 400 ms, and 300 ms before it belong to what was said.
    assert (started["audio_start_ms"], stopped["audio_end_ms"]) == (100, 800)
    assert started["item_id"] == stopped["item_id"] == committed["item_id"] == added["item"]["id"]
    # 800 ms were heard, at 10 tokens a second; 100 ms were spoken, at 20, and two words.
    assert done["response"]["usage"]["input_token_details"]["audio_tokens"] == 8
    assert done["response"]["usage"]["output_token_details"] == {"text_tokens": 2, "audio_tokens": 2}


def test_deltas_add_up_to_what_was_said() -> None:
    text = "One two three four five"
    with (
        LoopbackOpenAI(OpenAIScript(answers=[Answer(text, audio_ms=330)])) as server,
        raw_client(server) as client,
    ):
        client.configure()
        client.say("response.create")
        done = client.until("response.done")

    said = "".join(e["delta"] for e in client.events if e["type"] == "response.output_audio_transcript.delta")
    audio = sum(len(e["delta"]) * 3 // 4 for e in client.events if e["type"] == "response.output_audio.delta")
    assert said == text == done["response"]["output"][0]["content"][0]["transcript"]
    assert audio == 330 * 48


def test_a_session_of_text_is_answered_in_text() -> None:
    with LoopbackOpenAI(OpenAIScript(answers=[Answer("In writing")])) as server, raw_client(server) as client:
        client.configure(output_modalities=["text"])
        client.say("conversation.item.create", item=user_says("How do you answer?"))
        client.say("response.create")
        done = client.until("response.done")

    assert done["response"]["output"][0]["content"] == [{"type": "output_text", "text": "In writing"}]
    assert done["response"]["usage"]["input_token_details"]["text_tokens"] == 4
    assert not [kind for kind in kinds(client) if "audio" in kind]


def test_a_call_is_asked_for_with_its_arguments() -> None:
    call = Call("book", '{"people": 2}')
    with (
        LoopbackOpenAI(OpenAIScript(answers=[Answer(None, calls=[call])])) as server,
        raw_client(server) as client,
    ):
        client.configure()
        client.say("response.create")
        asked = client.until("response.function_call_arguments.done")
        done = client.until("response.done")
        client.say(
            "conversation.item.create",
            item={"type": "function_call_output", "call_id": asked["call_id"], "output": "done"},
        )
        client.until("conversation.item.added")

    assert (asked["name"], asked["arguments"]) == ("book", '{"people": 2}')
    assert done["response"]["output"][0]["call_id"] == asked["call_id"]


def test_a_person_who_speaks_cuts_the_answer() -> None:
    script = OpenAIScript(answers=[Answer("A long one", hold_after=2)], turns=TurnsByFrame([(1, 9)]))
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.configure()
        client.say("response.create")
        client.until("response.output_audio.delta")
        client.until("response.output_audio.delta")
        client.speak(1)
        client.until("input_audio_buffer.speech_started")
        done = client.until("response.done")

    assert (done["response"]["status"], done["response"]["status_details"]["reason"]) == (
        "cancelled",
        "turn_detected",
    )
    assert "usage" not in done["response"]


def test_an_answer_that_may_not_be_interrupted_goes_on_and_the_turn_gets_none() -> None:
    script = OpenAIScript(answers=[Answer("A long one", hold_after=1)], turns=TurnsByFrame([(1, 9)]))
    patient = {"type": "server_vad", "interrupt_response": False}
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.configure(audio={"input": {"turn_detection": patient}})
        client.say("response.create")
        client.until("response.output_audio.delta")
        client.speak(*range(9))
        client.until("input_audio_buffer.committed")
        client.until("conversation.item.done")
        error = client.hear()
        server.go_on()
        done = client.until("response.done")

    assert error["error"]["code"] == "conversation_already_has_active_response"
    assert error["error"]["event_id"] is None
    assert done["response"]["status"] == "completed"


def test_a_cancelled_answer_closes_what_it_had_opened() -> None:
    script = OpenAIScript(answers=[Answer("A long one", hold_after=1)])
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.configure()
        client.say("response.create")
        delta = client.until("response.output_audio.delta")
        client.say("response.cancel", response_id=delta["response_id"])
        item = client.until("response.output_item.done")["item"]
        done = client.until("response.done")
        client.say("conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=60)
        client.until("conversation.item.truncated")
        client.say("conversation.item.retrieve", item_id=item["id"])
        left = client.until("conversation.item.retrieved")["item"]

    assert (item["status"], done["response"]["status"]) == ("incomplete", "cancelled")
    assert "transcript" not in left["content"][0]


@pytest.mark.parametrize(
    "ends, status", [(AnswerEnd.CUT_BY_LENGTH, "incomplete"), (AnswerEnd.RATE_LIMITED, "failed")]
)
def test_an_answer_ends_as_the_script_says(ends: AnswerEnd, status: str) -> None:
    with LoopbackOpenAI(OpenAIScript(answers=[Answer(ends=ends)])) as server, raw_client(server) as client:
        client.configure()
        client.say("response.create")
        done = client.until("response.done")

    details = done["response"]["status_details"]
    assert done["response"]["status"] == details["type"] == status
    assert ends in (details.get("reason"), details.get("error", {}).get("code"))


@pytest.mark.parametrize(
    "when, before",
    [
        (Transcribes.BEFORE, "response.created"),
        (Transcribes.DURING, "response.output_audio.done"),
        (Transcribes.AFTER, None),
    ],
    ids=str,
)
def test_a_transcript_arrives_when_the_script_says(when: Transcribes, before: str | None) -> None:
    script = OpenAIScript(turns=TurnsByFrame([(1, 9)]), transcribes=when)
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.configure(audio={"input": TRANSCRIBED})
        client.speak(*range(9))
        client.until("conversation.item.input_audio_transcription.completed")

    told = kinds(client)
    assert (before or "response.done") not in told if before else "response.done" in told
    assert ("response.created" in told) is (when is not Transcribes.BEFORE)


def test_a_transcription_fails_where_the_script_says() -> None:
    script = OpenAIScript(turns=TurnsByFrame([(1, 9)]), transcripts=[None])
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.configure(audio={"input": TRANSCRIBED})
        client.speak(*range(9))
        client.until("conversation.item.input_audio_transcription.failed")


def test_nothing_is_transcribed_unless_asked_for() -> None:
    with LoopbackOpenAI(OpenAIScript(turns=TurnsByFrame([(1, 9)]))) as server, raw_client(server) as client:
        client.configure()
        client.speak(*range(9))
        client.until("response.done")

    assert not [kind for kind in kinds(client) if "transcription" in kind]


def test_without_turn_detection_a_commit_starts_no_answer() -> None:
    with LoopbackOpenAI(OpenAIScript(turns=TurnsByFrame([(1, 9)]))) as server, raw_client(server) as client:
        client.configure(audio={"input": {"turn_detection": None}})
        client.speak(*range(9))
        client.say("input_audio_buffer.commit")
        client.until("conversation.item.done")
        client.configure()

    assert not [kind for kind in kinds(client) if kind.startswith("response") or "speech" in kind]


def test_what_was_cleared_is_not_committed() -> None:
    with LoopbackOpenAI(OpenAIScript(turns=None)) as server, raw_client(server) as client:
        client.configure()
        client.speak(*range(20))
        client.say("input_audio_buffer.clear")
        client.until("input_audio_buffer.cleared")
        error = client.refused("input_audio_buffer.commit")

    assert error["code"] == "input_audio_buffer_commit_empty"


LOUD = b"\x00\x20" * 480
QUIET = bytes(960)


@pytest.mark.parametrize(
    "said, cut",
    [(QUIET * 10 + LOUD * 5 + QUIET * 10, 960), (QUIET * 10 + LOUD * 5 + QUIET * 10, 700)],
    ids=["in frames", "in odd pieces"],
)
def test_speech_is_what_is_loud_long_enough(said: bytes, cut: int) -> None:
    script = OpenAIScript(turns=TurnsByLoudness(loud_frames=2, quiet_frames=5))
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "prefix_padding_ms": 0}}})
        for start in range(0, len(said), cut):
            client.append(said[start : start + cut])
        started = client.until("input_audio_buffer.speech_started")
        stopped = client.until("input_audio_buffer.speech_stopped")

    assert (started["audio_start_ms"], stopped["audio_end_ms"]) == (12 * 20, 20 * 20)


def test_a_turn_by_number_goes_on_over_connections() -> None:
    with LoopbackOpenAI(OpenAIScript(turns=TurnsByNumber([(5, 20)]))) as server:
        for numbers in (range(10), range(10, 30)):
            with raw_client(server) as client:
                client.configure()
                client.speak(*numbers)
                client.until("input_audio_buffer.speech_started")
            # It leaves before all was heard that it has said.
            server.wait(lambda: not server.peers)

    first, second = server.log
    assert first.heard == [*range(10)]
    assert second.heard[:11] == [*range(10, 21)]


def test_an_answer_that_was_given_is_not_given_again_on_the_next_connection() -> None:
    said = []
    with LoopbackOpenAI(OpenAIScript(answers=[Answer("First"), Answer("Second")])) as server:
        for _ in range(2):
            with raw_client(server) as client:
                client.configure()
                client.say("response.create")
                said.append(client.until("response.output_audio_transcript.done")["transcript"])

    assert said == ["First", "Second"]


def test_items_stand_where_the_client_puts_them() -> None:
    with LoopbackOpenAI() as server, raw_client(server) as client:
        client.configure()
        places = []
        for own, previous in (("a", None), ("b", None), ("c", "root"), ("d", "a")):
            after = {} if previous is None else {"previous_item_id": previous}
            client.say("conversation.item.create", item={**user_says(own), "id": own}, **after)
            places.append(client.until("conversation.item.added")["previous_item_id"])

    assert places == [None, "a", None, "a"]


def test_where_configuration_is_optional_the_defaults_hold() -> None:
    script = OpenAIScript(configuration=Configuration.OPTIONAL)
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        client.say("response.create")
        client.until("response.done")


def everything(client: RawClient) -> None:
    client.configure(audio={"input": TRANSCRIBED}, tools=[{"type": "function", "name": "book"}])
    client.speak(*range(30))
    client.until("response.done")
    client.say("response.create")
    delta = client.until("response.output_audio.delta")
    client.say("response.cancel")
    client.until("response.done")
    client.say("conversation.item.truncate", item_id=delta["item_id"], content_index=0, audio_end_ms=50)
    client.say("conversation.item.retrieve", item_id=delta["item_id"])
    client.say("conversation.item.create", item=user_says("Text"))
    client.say("response.create", response={"output_modalities": ["text"], "metadata": {"why": "test"}})
    client.until("response.done")
    client.say("input_audio_buffer.append", audio="AAAA")
    client.say("input_audio_buffer.clear")
    client.refused("response.cancel")
    client.say("conversation.item.delete", item_id=delta["item_id"])
    client.until("conversation.item.deleted")


def failing(client: RawClient) -> None:
    client.configure(audio={"input": TRANSCRIBED})
    client.speak(*range(30))
    client.until("response.done")


@pytest.mark.parametrize(
    "script, talk",
    [
        (
            OpenAIScript(
                answers=[Answer("Both", calls=[Call("book", '{"a": 1}')]), Answer("Held", hold_after=1)],
                turns=TurnsByFrame([(5, 25)]),
            ),
            everything,
        ),
        (
            OpenAIScript(
                answers=[Answer(ends=AnswerEnd.FAILED)], turns=TurnsByFrame([(5, 25)]), transcripts=[None]
            ),
            failing,
        ),
        (OpenAIScript(session_s=0.02), lambda client: client.hear()),
    ],
    ids=["everything", "failing", "expiring"],
)
def test_all_that_is_sent_is_of_the_types_of_the_official_sdk(
    script: OpenAIScript, talk: Callable[[RawClient], Any]
) -> None:
    with LoopbackOpenAI(script) as server, raw_client(server) as client:
        talk(client)
        sent: list[Event] = [*server.log[0].sent]

    assert len(sent) >= len(client.events)
    assert misfits(sent, "server") == []


def test_a_name_that_the_sdk_does_not_know_is_noticed() -> None:
    """What finds nothing in the server's events finds something elsewhere."""
    assert misfits([{"type": "response.cancel", "responseId": "r"}], "client") != []
    assert misfits([{"type": "response.text.delta"}], "server") != []
    assert misfits([{"type": "input_audio_buffer.committed", "event_id": "e"}], "server") != []
