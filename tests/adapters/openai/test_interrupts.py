"""Stopping an answer: what the provider is told, and what is heard afterwards."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from realtime_async.adapters.openai.hearing import hear
from realtime_async.adapters.openai.saying import interrupt
from realtime_async.adapters.openai.talk import Talk
from realtime_async.ports import OutputAudio, RealtimeInputFrame, ResponseDone, ResponseStarted
from tests.adapters.openai.talks import Message, events, heard, new_talk, said, say, to_send

MS = 48


def sound(item_id: str, ms: int) -> str:
    delta = base64.b64encode(bytes(ms * MS)).decode()
    return said("response.output_audio.delta", response_id="resp_1", item_id=item_id, delta=delta)


def words(item_id: str, text: str) -> str:
    return said("response.output_audio_transcript.delta", response_id="resp_1", item_id=item_id, delta=text)


CREATED = said("response.created", response={"id": "resp_1"})
DONE = said("response.done", response={"id": "resp_1", "status": "completed"})
CANCELLED = said("response.done", response={"id": "resp_1", "status": "cancelled"})


def stopped(talk: Talk, played_ms: int | None, response_id: str | None = "resp_1") -> list[Message]:
    interrupt(talk, response_id, played_ms)
    return [{k: v for k, v in message.items() if k != "event_id"} for message in to_send(talk)]


def talking(*messages: str) -> Talk:
    talk = new_talk()
    heard(talk, CREATED, *messages)
    return talk


def truncated(item_id: str, ms: int) -> Message:
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": 0,
        "audio_end_ms": ms,
    }


def deleted(item_id: str) -> Message:
    return {"type": "conversation.item.delete", "item_id": item_id}


CANCEL = {"type": "response.cancel", "response_id": "resp_1"}
TWO_ITEMS = (sound("item_1", 1000), sound("item_2", 500))


@pytest.mark.parametrize(
    "played_ms, told",
    [
        (None, []),
        (0, [deleted("item_1"), deleted("item_2")]),
        (400, [truncated("item_1", 400), deleted("item_2")]),
        (1000, [deleted("item_2")]),
        (1200, [truncated("item_2", 200)]),
        (1500, [truncated("item_2", 500)]),
        (9000, [truncated("item_2", 500)]),
        (-5, [deleted("item_1"), deleted("item_2")]),
    ],
)
def test_an_answer_that_is_being_given_is_cancelled_and_cut_to_what_was_heard(
    played_ms: int | None, told: list[Message]
) -> None:
    assert stopped(talking(*TWO_ITEMS), played_ms) == [CANCEL, *told]


@pytest.mark.parametrize(
    "played_ms, told",
    [(700, [truncated("item_1", 700), deleted("item_2")]), (1500, []), (2000, []), (None, [])],
)
def test_an_answer_that_is_over_and_still_heard_is_only_cut(
    played_ms: int | None, told: list[Message]
) -> None:
    assert stopped(talking(*TWO_ITEMS, DONE), played_ms) == told


def test_nothing_of_a_stopped_answer_is_heard_but_its_end() -> None:
    talk = new_talk()
    hear(talk, CREATED)
    hear(talk, sound("item_1", 100))

    stopped(talk, 0)

    assert events(heard(talk, sound("item_1", 100), words("item_1", "And"), CANCELLED)) == [
        ResponseStarted(),
        ResponseDone("cancelled"),
    ]


def test_without_a_name_the_last_answer_is_meant() -> None:
    assert stopped(talking(sound("item_1", 100)), 50, None) == [CANCEL, truncated("item_1", 50)]
    assert stopped(talking(sound("item_1", 100), DONE), 50, None) == [truncated("item_1", 50)]


def test_an_answer_that_was_asked_for_and_has_not_begun_is_cancelled_without_a_name() -> None:
    talk = new_talk()
    say(talk, RealtimeInputFrame.request_response())

    assert stopped(talk, 0, None) == [{"type": "response.cancel"}]


def test_where_nothing_was_said_nothing_is_stopped() -> None:
    assert stopped(new_talk(), 0, None) == []
    assert stopped(new_talk(), 0, "resp_unknown") == []


def test_an_answer_is_cut_once() -> None:
    talk = talking(sound("item_1", 1000))

    assert stopped(talk, 400) == [CANCEL, truncated("item_1", 400)]
    assert stopped(talk, 300) == []


def test_an_answer_without_sound_is_only_cancelled() -> None:
    text = said("response.output_text.delta", response_id="resp_1", item_id="item_1", delta="Of")

    assert stopped(talking(text), 0) == [CANCEL]


@pytest.mark.parametrize("code", ["response_cancel_not_active", "invalid_value", "unknown_parameter"])
def test_it_does_not_matter_whether_the_provider_could_stop(code: str) -> None:
    talk = talking(sound("item_1", 100))
    talk.is_begun = True
    interrupt(talk, None, 50)

    refusals = [
        said("error", error={"code": code, "event_id": message["event_id"]}) for message in to_send(talk)
    ]

    assert heard(talk, *refusals) == []


def restored(talk: Talk) -> list[Any]:
    talk.disconnected()
    return [item for _, item in talk.items.restored()]


def test_a_new_connection_is_told_the_words_that_were_heard() -> None:
    talk = talking(words("item_1", "A table for two is booked."), sound("item_1", 1000))
    stopped(talk, 600)
    heard(talk, CANCELLED)

    [item] = restored(talk)

    assert item["role"] == "assistant"
    assert item["content"] == [{"type": "output_text", "text": "A table for two"}]


def test_a_new_connection_is_not_told_what_nobody_heard() -> None:
    talk = talking(words("item_1", "A table for two is booked."), sound("item_1", 1000))
    stopped(talk, 0)
    heard(talk, CANCELLED)

    assert restored(talk) == []


def test_an_answer_of_an_old_connection_is_cut_here_and_not_there() -> None:
    talk = talking(words("item_1", "A table for two."), sound("item_1", 1000), DONE)
    talk.disconnected()
    talk.reconnected()
    to_send(talk)

    assert stopped(talk, 500) == []
    assert restored(talk)[0]["content"][0]["text"] == "A table"


def test_an_answer_that_was_stopped_is_not_asked_for_again() -> None:
    talk = talking(sound("item_1", 1000))
    stopped(talk, 500)

    talk.disconnected()
    talk.reconnected()

    assert to_send(talk) == []


def test_an_answer_that_somebody_spoke_over_is_not_asked_for_again() -> None:
    talk = talking(sound("item_1", 1000))
    heard(talk, said("input_audio_buffer.speech_started", audio_start_ms=0))

    talk.disconnected()
    talk.reconnected()

    assert to_send(talk) == []


def test_an_answer_that_was_cut_off_is_over_as_incomplete_and_asked_for_again() -> None:
    talk = talking(words("item_1", "A table"), sound("item_1", 1000))

    talk.disconnected()
    ended = heard(talk)
    put_back = talk.restoring()
    talk.reconnected()

    assert events(ended) == [ResponseDone("incomplete")]
    assert put_back == []
    assert [message["type"] for message in to_send(talk)] == ["response.create"]


def test_an_answer_that_has_called_a_tool_is_not_asked_for_again() -> None:
    item = {
        "id": "item_f",
        "type": "function_call",
        "call_id": "call_1",
        "name": "book",
        "arguments": "{}",
        "status": "completed",
    }
    talk = talking(said("response.output_item.done", response_id="resp_1", item=item))

    talk.disconnected()
    put_back = [item["type"] for _, item in talk.items.restored()]
    talk.reconnected()

    assert put_back == ["function_call"]
    assert to_send(talk) == []
    [result] = say(talk, RealtimeInputFrame.tool_result("call_1", "booked"))
    assert result["item"]["type"] == "function_call_output"


def test_audio_is_counted_though_nobody_hears_it() -> None:
    talk = talking(sound("item_1", 100))
    stopped(talk, None)
    taken = heard(talk, sound("item_1", 100))

    assert OutputAudio("item_1") not in events(taken)
    assert stopped(talk, 150) == [truncated("item_1", 150)]
