"""What a new connection is told, and what is left to be replayed."""

from __future__ import annotations

import base64
import gc
from types import FunctionType, ModuleType
from typing import Any

import pytest

from realtime_async.adapters.openai.input_audio import InputAudio
from realtime_async.adapters.openai.talk import Talk
from realtime_async.ports import InputCommitted, RealtimeInputFrame, SpeechStarted, SpeechStopped
from tests.adapters.openai.talks import audio, events, heard, new_talk, said, say, stamped, to_send

Frame = RealtimeInputFrame
COMMITTED = said("input_audio_buffer.committed", item_id="item_u")
SPEECH = (
    said("input_audio_buffer.speech_started", audio_start_ms=200),
    said("input_audio_buffer.speech_stopped", audio_end_ms=1000),
    COMMITTED,
)
TRANSCRIPT = said(
    "conversation.item.input_audio_transcription.completed", item_id="item_u", transcript="A table."
)
CREATED = said("response.created", response={"id": "resp_1"})
DONE = said("response.done", response={"id": "resp_1", "status": "completed"})
ANSWER = said(
    "response.output_audio_transcript.done", response_id="resp_1", item_id="item_a", transcript="Yes."
)


def items(talk: Talk) -> list[Any]:
    return [item for _, item in talk.items.restored()]


def refused_commit(code: str, **fields: Any) -> str:
    return said("error", error={"type": "invalid_request_error", "code": code, **fields})


def replaced(talk: Talk) -> tuple[int, list[str]]:
    """Replace the connection; return what it knows, and what it is asked for."""
    talk.disconnected()
    kept = talk.reconnected()
    return kept, [message["type"] for message in to_send(talk)]


def test_the_conversation_is_put_back_in_order() -> None:
    talk = new_talk()
    say(talk, Frame.text("Hello."), *audio(60))
    heard(talk, *SPEECH, TRANSCRIPT, CREATED, ANSWER, DONE)
    say(talk, Frame.text("Thank you."))

    assert [(item["role"], item["content"][0]["text"]) for item in items(talk)] == [
        ("user", "Hello."),
        ("user", "A table."),
        ("assistant", "Yes."),
        ("user", "Thank you."),
    ]


def test_what_was_said_and_not_written_down_is_put_back_as_sound() -> None:
    talk = new_talk()
    say(talk, *audio(60))
    heard(talk, *SPEECH)

    [item] = items(talk)

    # From 200 ms to 1000 ms, in frames of 20 ms.
    assert len(base64.b64decode(item["content"][0]["audio"])) == 40 * 960


@pytest.mark.parametrize("begins_ms", [1000, 980, 700])
def test_a_turn_whose_padding_reaches_into_the_turn_before_is_put_back_from_there(begins_ms: int) -> None:
    talk = new_talk()
    say(talk, *audio(100))
    heard(
        talk,
        *SPEECH,
        CREATED,
        DONE,
        said("input_audio_buffer.speech_started", audio_start_ms=begins_ms),
        said("input_audio_buffer.speech_stopped", audio_end_ms=1600),
        said("input_audio_buffer.committed", item_id="item_v"),
    )

    [_, item] = items(talk)

    assert len(base64.b64decode(item["content"][0]["audio"])) == 30 * 960


def test_what_was_written_down_is_no_longer_kept_as_sound() -> None:
    talk = new_talk()
    say(talk, *audio(60))
    heard(talk, *SPEECH)
    before = talk.items.bytes

    heard(talk, TRANSCRIPT)

    assert talk.items.bytes < before / 100


@pytest.mark.parametrize("events, asked", [(0, []), (1, []), (2, []), (3, ["response.create"])])
def test_an_answer_is_owed_from_the_commit_on(events: int, asked: list[str]) -> None:
    talk = new_talk()
    say(talk, *stamped(audio(60)))
    heard(talk, *SPEECH[:events])

    kept, asked_for = replaced(talk)

    assert asked_for == asked
    assert kept == (50 if events == 3 else 0)


def test_an_answer_that_was_given_is_not_owed() -> None:
    talk = new_talk()
    say(talk, *stamped(audio(60)))
    heard(talk, *SPEECH, CREATED, DONE)

    assert replaced(talk) == (50, [])


def test_a_connection_that_dies_before_the_replay_leaves_it_to_the_next() -> None:
    talk = new_talk()
    say(talk, *stamped(audio(60)))
    heard(talk, *SPEECH, CREATED, DONE)

    assert replaced(talk)[0] == replaced(talk)[0] == 50


def test_a_turn_that_the_program_ends_is_replayed_with_its_end_and_its_request() -> None:
    talk = new_talk(turns=None)
    frames = stamped([*audio(10), Frame.end_of_turn(), Frame.request_response()])
    before = say(talk, *frames)

    kept, asked = replaced(talk)
    again = say(talk, *frames)

    assert (kept, asked) == (0, [])
    assert [message["type"] for message in again] == [message["type"] for message in before]


def test_a_turn_that_was_committed_is_not_replayed_and_its_answer_is_asked_for() -> None:
    talk = new_talk(turns=None)
    frames = stamped([*audio(10), Frame.end_of_turn(), Frame.request_response(), *audio(5)])
    say(talk, *frames)
    heard(talk, COMMITTED)

    kept, asked = replaced(talk)
    again = say(talk, *frames[kept:])

    assert (kept, asked) == (11, ["response.create"])
    assert [message["type"] for message in again] == ["input_audio_buffer.append"] * 5


def test_a_turn_that_the_provider_took_before_the_program_ended_it_goes_as_far_as_the_provider_says() -> None:
    talk = new_talk()
    say(talk, *stamped([*audio(60), Frame.end_of_turn()]))

    taken = heard(talk, *SPEECH, refused_commit("input_audio_buffer_commit_empty"))

    assert events(taken) == [SpeechStarted(200), SpeechStopped(1000), InputCommitted(1000)]
    assert replaced(talk) == (50, ["response.create"])


def test_an_answer_that_the_provider_owes_stays_owed_though_a_commit_of_ours_comes_after_it() -> None:
    talk = new_talk()
    say(talk, *stamped([*audio(60), Frame.end_of_turn()]))

    taken = heard(talk, *SPEECH, said("input_audio_buffer.committed", item_id="item_v"))

    assert events(taken)[-2:] == [InputCommitted(1000), InputCommitted(1200)]
    assert replaced(talk)[1] == ["response.create"]


@pytest.mark.parametrize(
    "code, names_it",
    [
        ("not_implemented", True),
        ("input_audio_buffer_commit_empty", True),
        ("input_audio_buffer_commit_empty", False),
    ],
)
def test_a_commit_that_was_refused_is_not_taken_for_the_next_one(code: str, names_it: bool) -> None:
    talk = new_talk(turns=None)
    talk.is_begun = True
    asked = say(talk, *stamped([*audio(10), Frame.end_of_turn()]))[-1]
    heard(talk, refused_commit(code, event_id=asked["event_id"] if names_it else None))
    say(talk, *stamped([*audio(10), Frame.end_of_turn()], first=12))

    taken = heard(talk, COMMITTED)

    assert events(taken) == [InputCommitted(400)]
    assert replaced(talk)[0] == 22


def test_what_was_put_back_is_not_said_again_by_a_replay() -> None:
    talk = new_talk()
    frames = stamped([*audio(5), Frame.text("A table."), Frame.request_response(), *audio(5)])
    say(talk, *frames)

    kept, asked = replaced(talk)
    again = say(talk, *frames)

    assert (kept, asked) == (0, ["response.create"])
    assert [message["type"] for message in again] == ["input_audio_buffer.append"] * 10


def test_cleared_input_is_not_wanted_back() -> None:
    talk = new_talk()
    frames = stamped([*audio(5), Frame.clear_input(), *audio(5)])
    say(talk, *frames)

    assert replaced(talk)[0] == 6
    assert len(say(talk, *frames[6:])) == 5


def test_a_turn_that_was_ended_before_a_clear_is_wanted_back_until_it_is_committed() -> None:
    talk = new_talk(turns=None)
    frames = stamped([*audio(10), Frame.end_of_turn(), *audio(3), Frame.clear_input(), *audio(5)])
    say(talk, *frames)

    assert replaced(talk)[0] == 0
    assert [message["type"] for message in say(talk, *frames)].count("input_audio_buffer.append") == 18


def test_a_turn_that_was_ended_before_a_clear_is_put_back_without_what_was_cleared() -> None:
    talk = new_talk(turns=None)
    say(talk, *stamped([*audio(10), Frame.end_of_turn(), *audio(3), Frame.clear_input(), *audio(5)]))
    say(talk, *stamped([Frame.end_of_turn()], first=21))

    taken = heard(talk, COMMITTED, said("input_audio_buffer.committed", item_id="item_v"))

    assert events(taken) == [InputCommitted(200), InputCommitted(360)]
    assert [len(item["content"][0]["audio"]) for item in items(talk)] == [12_800, 6_400]
    assert replaced(talk)[0] == 21


def test_a_clear_holds_though_the_commit_before_it_was_refused() -> None:
    talk = new_talk(turns=None)
    talk.is_begun = True
    asked = say(talk, *stamped([*audio(3), Frame.end_of_turn(), Frame.clear_input(), *audio(5)]))[3]

    heard(talk, refused_commit("input_audio_buffer_commit_empty", event_id=asked["event_id"]))

    assert replaced(talk)[0] == 5


def test_what_was_cleared_behind_a_refused_commit_is_no_part_of_the_next_turn() -> None:
    talk = new_talk(turns=None)
    talk.is_begun = True
    turns = [*audio(3), Frame.end_of_turn(), Frame.clear_input(), *audio(6), Frame.end_of_turn()]
    asked = say(talk, *stamped(turns))[3]

    heard(talk, refused_commit("input_audio_buffer_commit_empty", event_id=asked["event_id"]), COMMITTED)

    assert [len(item["content"][0]["audio"]) for item in items(talk)] == [6 * 1280]


def test_a_clear_behind_a_refused_commit_waits_for_the_turn_before_that() -> None:
    talk = new_talk(turns=None)
    talk.is_begun = True
    turns = [*audio(10), Frame.end_of_turn(), *audio(3), Frame.end_of_turn(), Frame.clear_input(), *audio(5)]
    asked = say(talk, *stamped(turns))[14]

    heard(talk, refused_commit("input_audio_buffer_commit_empty", event_id=asked["event_id"]), COMMITTED)

    assert [len(item["content"][0]["audio"]) for item in items(talk)] == [10 * 1280]
    assert replaced(talk)[0] == 16


def test_a_turn_after_a_clear_is_put_back_though_the_provider_had_taken_what_was_cleared() -> None:
    talk = new_talk()
    say(talk, *stamped([*audio(20), Frame.clear_input(), *audio(30)]))

    heard(
        talk,
        said("input_audio_buffer.speech_started", audio_start_ms=0),
        said("input_audio_buffer.speech_stopped", audio_end_ms=300),
        COMMITTED,
        said("input_audio_buffer.speech_started", audio_start_ms=350),
        said("input_audio_buffer.speech_stopped", audio_end_ms=1000),
        said("input_audio_buffer.committed", item_id="item_v"),
    )

    [put_back] = items(talk)
    assert len(put_back["content"][0]["audio"]) == 30 * 1280
    assert replaced(talk)[0] == 51


@pytest.mark.parametrize("heard_before", [1, 2])
def test_a_clear_that_crosses_the_end_of_a_turn_leaves_what_follows_unsaid(heard_before: int) -> None:
    """Nor is what follows it told to be committed."""
    talk = new_talk()
    say(talk, *stamped(audio(20)))
    turn = (
        said("input_audio_buffer.speech_started", audio_start_ms=0),
        said("input_audio_buffer.speech_stopped", audio_end_ms=300),
        COMMITTED,
    )
    heard(talk, *turn[:heard_before])
    say(talk, *stamped([Frame.clear_input(), *audio(30)], first=21))

    told = heard(talk, *turn[heard_before:])

    assert events(told)[-1] == InputCommitted(300)
    assert items(talk) == []
    assert replaced(talk)[0] == 21


def test_a_turn_after_a_clear_that_crossed_the_end_of_another_is_said_once() -> None:
    talk = new_talk()
    say(talk, *stamped(audio(20)))
    heard(talk, said("input_audio_buffer.speech_started", audio_start_ms=0))
    say(talk, *stamped([Frame.clear_input(), *audio(30)], first=21))

    heard(
        talk,
        said("input_audio_buffer.speech_stopped", audio_end_ms=300),
        COMMITTED,
        said("input_audio_buffer.speech_started", audio_start_ms=400),
        said("input_audio_buffer.speech_stopped", audio_end_ms=1000),
        said("input_audio_buffer.committed", item_id="item_v"),
    )

    assert [len(item["content"][0]["audio"]) for item in items(talk)] == [30 * 1280]
    assert replaced(talk)[0] == 51


def test_speech_that_is_too_long_to_be_kept_is_replayed() -> None:
    talk = new_talk(turns=None)
    frames = InputAudio.BYTES // 960 + 100
    say(talk, *stamped([*audio(frames), Frame.end_of_turn(), Frame.request_response()]))
    heard(talk, COMMITTED)

    kept, asked = replaced(talk)

    assert (kept, asked) == (0, [])
    assert items(talk) == []


def test_input_is_kept_in_bounds_while_nobody_speaks() -> None:
    talk = new_talk()

    say(talk, *audio(20_000))

    assert talk.input._bytes <= InputAudio.SILENCE_S * 48_000


def test_a_result_whose_call_was_forgotten_is_put_back_in_words() -> None:
    talk = new_talk()
    item = {"id": "item_f", "type": "function_call", "call_id": "call_1", "name": "book", "arguments": "{}"}
    heard(talk, CREATED, said("response.output_item.done", response_id="resp_1", item=item), DONE)
    say(talk, Frame.tool_result("call_1", "booked"))
    talk.items.drop("call.call_1")

    [put_back] = items(talk)

    assert put_back["type"] == "message"
    assert "booked" in put_back["content"][0]["text"]


def test_an_item_that_the_provider_refused_is_not_put_back() -> None:
    talk = new_talk()
    talk.is_begun = True
    [message] = say(talk, Frame.image(b"no picture", mime_type="image/png"))

    heard(talk, said("error", error={"code": "invalid_value", "event_id": message["event_id"]}))

    assert items(talk) == []


def test_messages_that_put_something_back_are_known_by_the_same_name() -> None:
    talk = new_talk()
    [message] = say(talk, Frame.text("A table."))

    [again] = talk.restoring()

    assert message["event_id"] in again


def reachable(talk: Talk) -> int:
    """How many objects of its own *talk* holds."""
    seen: set[int] = set()
    to_see: list[object] = [talk]
    while to_see:
        value = to_see.pop()
        if id(value) not in seen and not isinstance(value, type | ModuleType | FunctionType):
            seen.add(id(value))
            to_see += gc.get_referents(value)
    return len(seen)


def test_a_long_call_holds_no_more_than_a_short_one() -> None:
    talk = new_talk(transcription="whisper-1")

    def converse(turns: range) -> int:
        for number in turns:
            say(talk, *audio(2), Frame.text("And?"), Frame.request_response())
            heard(
                talk,
                said("input_audio_buffer.speech_started", audio_start_ms=40 * number),
                said("input_audio_buffer.speech_stopped", audio_end_ms=40 * number + 40),
                said("input_audio_buffer.committed", item_id=f"item_{number}"),
                said("response.created", response={"id": f"resp_{number}"}),
                ANSWER.replace("resp_1", f"resp_{number}").replace("item_a", f"item_a{number}"),
                said("response.done", response={"id": f"resp_{number}", "status": "completed"}),
            )
            to_send(talk)
        return reachable(talk)

    after_some = converse(range(600))
    after_many = converse(range(600, 1200))

    assert after_many <= after_some * 1.02
