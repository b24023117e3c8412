"""What each frame of the program is on the wire."""

from __future__ import annotations

import base64
from typing import Any

import attrs
import pytest

from realtime_async.adapters.openai import saying
from realtime_async.adapters.openai.conversation import Conversation
from realtime_async.adapters.openai.saying import MAX_AUDIO_BYTES
from realtime_async.errors import ContractViolation, ProviderFailure, RetryClassification
from realtime_async.ports import AudioFormat, RealtimeInputFrame, RealtimeMediaKind
from tests.adapters.openai.talks import FRAME, audio, heard, new_talk, said, say, stamped, to_send

Frame = RealtimeInputFrame
PICTURE = b"\x89PNG"


def user(part: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [part]},
    }


@pytest.mark.parametrize(
    "frame, message",
    [
        (
            Frame.audio(FRAME),
            {"type": "input_audio_buffer.append", "audio": base64.b64encode(FRAME).decode()},
        ),
        (Frame.text("A table."), user({"type": "input_text", "text": "A table."})),
        (
            Frame.image(PICTURE, mime_type="image/png"),
            user({"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="}),
        ),
        (
            Frame.video(PICTURE),
            user({"type": "input_image", "image_url": "data:image/jpeg;base64,iVBORw=="}),
        ),
        (Frame.request_response(), {"type": "response.create"}),
        (
            Frame.request_response("Be brief."),
            {"type": "response.create", "response": {"instructions": "Be brief."}},
        ),
        (Frame.end_of_turn(), {"type": "input_audio_buffer.commit"}),
        (Frame.clear_input(), {"type": "input_audio_buffer.clear"}),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)
def test_a_frame_is_one_message(frame: Frame, message: dict[str, Any]) -> None:
    [sent] = say(new_talk(), frame)

    sent.pop("event_id", None)
    assert sent == message


def test_half_a_character_does_not_stop_a_text() -> None:
    [sent] = say(new_talk(), Frame.text("a \ud800 b"))

    assert sent["item"]["content"][0]["text"] == "a ? b"


def test_audio_without_samples_is_no_message() -> None:
    assert say(new_talk(), Frame.audio(b"")) == []


@pytest.mark.parametrize(
    "frame",
    [
        Frame.audio(bytes(640), audio_format=AudioFormat(sample_rate=16_000)),
        Frame.audio(bytes(MAX_AUDIO_BYTES + 2)),
        Frame.image(PICTURE, mime_type="image/gif"),
        Frame.media_ref(RealtimeMediaKind.IMAGE, "content.1"),
        Frame.media_ref(RealtimeMediaKind.AUDIO, "content.1"),
        Frame(media_kind=RealtimeMediaKind.TRANSCRIPT, payload="secret words"),
        Frame(media_kind=RealtimeMediaKind.CONTROL),
    ],
    ids=["rate", "size", "picture", "reference", "reference to audio", "transcript", "no signal"],
)
def test_what_the_provider_has_no_word_for_is_refused(frame: Frame) -> None:
    with pytest.raises(ProviderFailure) as refused:
        say(new_talk(), frame)

    assert refused.value.retry is RetryClassification.NOT_RETRYABLE
    assert "secret" not in str(refused.value)


def called(call_id: str = "call_1") -> tuple[str, ...]:
    item = {"id": "item_f", "type": "function_call", "call_id": call_id, "name": "book", "arguments": "{}"}
    done = {**item, "status": "completed"}
    return (
        said("response.created", response={"id": "resp_1"}),
        said("response.output_item.done", response_id="resp_1", output_index=0, item=done),
        said("response.done", response={"id": "resp_1", "status": "completed"}),
    )


def test_a_result_goes_to_the_call_that_the_provider_made() -> None:
    talk = new_talk()
    heard(talk, *called())

    [sent] = say(talk, Frame.tool_result("call_1", "booked"))

    assert sent["item"] == {"type": "function_call_output", "call_id": "call_1", "output": "booked"}


def test_a_result_of_a_call_that_nobody_knows_is_told_in_words() -> None:
    [sent] = say(new_talk(), Frame.tool_result("call_of_another_process", "booked"))

    assert sent["item"]["role"] == "user"
    assert "booked" in sent["item"]["content"][0]["text"]


def test_a_request_during_an_answer_waits_for_its_end() -> None:
    talk = new_talk()
    [first] = say(talk, Frame.request_response("First."))
    assert say(talk, Frame.request_response("Second."), Frame.request_response("Third.")) == []

    heard(talk, said("response.created", response={"id": "resp_1"}))
    assert to_send(talk) == []
    heard(talk, said("response.done", response={"id": "resp_1", "status": "completed"}))
    [second] = to_send(talk)
    heard(talk, said("response.created", response={"id": "resp_2"}))
    heard(talk, said("response.done", response={"id": "resp_2", "status": "failed"}))
    [third] = to_send(talk)

    said_with = [each["response"]["instructions"] for each in (first, second, third)]
    assert said_with == ["First.", "Second.", "Third."]


def calls_made(*call_ids: str) -> list[str]:
    """An answer that begins, and calls these tools; it isn't over."""
    items = [
        {"id": f"item_{each}", "type": "function_call", "call_id": each, "name": "book", "arguments": "{}"}
        for each in call_ids
    ]
    return [
        said("response.created", response={"id": "resp_1"}),
        *(
            said("response.output_item.done", response_id="resp_1", output_index=0, item=item)
            for item in items
        ),
    ]


OVER = said("response.done", response={"id": "resp_1", "status": "completed"})


def kinds(messages: list[dict[str, object]]) -> list[object]:
    return [message["type"] for message in messages]


@pytest.mark.parametrize("is_quick", [False, True])
def test_an_answer_is_asked_for_once_though_each_of_its_tools_brings_a_request(is_quick: bool) -> None:
    talk = new_talk()
    first, second, asked = (
        Frame.tool_result("call_1", "1"),
        Frame.tool_result("call_2", "2"),
        Frame.request_response(),
    )
    heard(talk, *calls_made("call_1", "call_2"))
    say(talk, first, asked)
    heard(talk, OVER)
    early = to_send(talk)

    say(talk, second)
    due = to_send(talk)
    begun = said("response.created", response={"id": "resp_2"})
    if is_quick:
        heard(talk, begun)
    say(talk, asked)
    if not is_quick:
        heard(talk, begun)
    heard(talk, said("response.done", response={"id": "resp_2", "status": "completed"}))

    assert early == []
    assert kinds(due) == ["response.create"]
    assert to_send(talk) == []


def test_a_request_after_one_of_two_results_waits_though_the_answer_that_called_is_over() -> None:
    talk = new_talk()
    heard(talk, *calls_made("call_1", "call_2"), OVER)

    early = say(talk, Frame.tool_result("call_1", "1"), Frame.request_response())
    late = say(talk, Frame.tool_result("call_2", "2"))

    assert kinds([*early, *late, *to_send(talk)]) == [
        "conversation.item.create",
        "conversation.item.create",
        "response.create",
    ]


@pytest.mark.parametrize(
    "frames",
    [
        [Frame.request_response("Go on without it.")],
        [Frame.text("Go on."), Frame.request_response()],
        [Frame.request_response(), Frame.request_response()],
    ],
    ids=["instructions", "text", "twice"],
)
def test_a_program_may_ask_for_an_answer_though_a_call_has_no_result(frames: list[Frame]) -> None:
    talk = new_talk()
    heard(talk, *calls_made("call_1", "call_2"), OVER)

    sent = say(talk, Frame.tool_result("call_1", "1"), *frames)

    assert kinds(sent)[-1] == "response.create"


def test_a_turn_that_ends_after_a_result_has_an_answer_of_its_own() -> None:
    talk = new_talk(turns=None)
    told = [Frame.tool_result(f"call_{number}", "booked") for number in (1, 2)]
    heard(talk, *calls_made("call_1", "call_2"), OVER)
    say(talk, told[0], Frame.request_response(), told[1])
    of_tools = to_send(talk)

    say(talk, *audio(10), Frame.end_of_turn(), Frame.request_response())
    heard(talk, said("response.created", response={"id": "resp_2"}))
    heard(talk, said("response.done", response={"id": "resp_2", "status": "completed"}))

    assert kinds(of_tools) == ["response.create"]
    assert kinds(to_send(talk)) == ["response.create"]


def test_a_request_about_a_result_waits_for_the_others_when_it_is_replayed_too() -> None:
    talk = new_talk(turns=None)
    spoken = [*audio(10), Frame.end_of_turn()]
    again = stamped([*spoken, Frame.tool_result("call_1", "booked"), Frame.request_response()])
    heard(talk, *calls_made("call_1", "call_2"), OVER)
    say(talk, *again)

    talk.disconnected()
    talk.reconnected()
    replayed = kinds(say(talk, *again))
    late = say(talk, *stamped([Frame.tool_result("call_2", "booked"), Frame.request_response()], first=14))

    assert replayed == [*["input_audio_buffer.append"] * 10, "input_audio_buffer.commit"]
    assert kinds([*late, *to_send(talk)]) == ["conversation.item.create", "response.create"]


def test_a_request_that_waits_for_a_result_stops_none_behind_it() -> None:
    talk = new_talk()
    heard(talk, *calls_made("call_1", "call_2"))
    say(talk, Frame.tool_result("call_1", "1"), Frame.request_response(), Frame.request_response("Mine."))

    heard(talk, OVER)

    assert [each["response"] for each in to_send(talk)] == [{"instructions": "Mine."}]


def test_a_call_is_waited_for_on_later_connections_too_until_nobody_expects_its_result() -> None:
    talk = new_talk()
    heard(talk, *calls_made("call_1", "call_2"), OVER)
    say(talk, Frame.tool_result("call_1", "1"), Frame.request_response())

    for _ in range(3):
        talk.disconnected()
        talk.reconnected()
    early = to_send(talk)
    talk.answers.expect_no_results()
    talk.pump()

    assert early == []
    assert kinds(to_send(talk)) == ["response.create"]


def test_a_request_that_is_made_anew_is_about_the_results_that_came_after_it_too() -> None:
    talk = new_talk()
    told = [Frame.tool_result(f"call_{number}", "booked") for number in (1, 2)]
    heard(talk, *calls_made("call_1"), OVER)
    say(talk, *stamped([told[0], Frame.request_response(), told[1]]))

    talk.disconnected()
    talk.reconnected()
    again = to_send(talk)
    late = say(talk, *stamped([Frame.request_response()], first=4))
    heard(talk, said("response.created", response={"id": "resp_2"}))
    heard(talk, said("response.done", response={"id": "resp_2", "status": "completed"}))

    assert kinds(again) == ["response.create"]
    assert [*late, *to_send(talk)] == []


def test_a_request_that_waited_is_one_with_that_which_a_new_connection_is_owed() -> None:
    talk = new_talk()
    told = [Frame.tool_result(f"call_{number}", "booked") for number in (1, 2)]
    heard(talk, *calls_made("call_1"), OVER)
    say(talk, *stamped([told[0], Frame.request_response()]))
    heard(talk, said("response.created", response={"id": "resp_2"}))
    say(talk, *stamped([told[1], Frame.request_response()], first=3))

    talk.disconnected()
    talk.reconnected()
    again = to_send(talk)
    heard(talk, said("response.created", response={"id": "resp_3"}))
    heard(talk, said("response.done", response={"id": "resp_3", "status": "completed"}))

    assert kinds(again) == ["response.create"]
    assert to_send(talk) == []


@pytest.mark.parametrize("is_asked_first", [False, True])
def test_a_request_that_came_too_early_is_one_with_that_of_a_later_result(is_asked_first: bool) -> None:
    talk = new_talk()
    told = [Frame.tool_result(f"call_{number}", "booked") for number in (1, 2)]
    heard(talk, *calls_made("call_1"), OVER)
    [_, request] = say(talk, told[0], Frame.request_response())
    say(talk, told[1])
    heard(talk, said("response.created", response={"id": "resp_auto"}))

    if is_asked_first:
        say(talk, Frame.request_response())
    heard(talk, refusal(request["event_id"]))
    if not is_asked_first:
        say(talk, Frame.request_response())
    heard(talk, said("response.done", response={"id": "resp_auto", "status": "completed"}))
    again = to_send(talk)
    heard(talk, said("response.created", response={"id": "resp_2"}))
    heard(talk, said("response.done", response={"id": "resp_2", "status": "completed"}))

    assert kinds(again) == ["response.create"]
    assert to_send(talk) == []


def test_results_that_come_on_two_connections_have_one_answer() -> None:
    talk = new_talk()
    first, second = (Frame.tool_result(f"call_{number}", "booked") for number in (1, 2))
    heard(talk, *calls_made("call_1", "call_2"))
    say(talk, *stamped([first, Frame.request_response()]))

    talk.disconnected()
    talk.reconnected()
    early = to_send(talk)
    late = say(talk, *stamped([second, Frame.request_response()], first=3))

    assert early == []
    assert kinds([*late, *to_send(talk)]) == ["conversation.item.create", "response.create"]


def test_too_many_requests_are_refused() -> None:
    talk = new_talk()
    say(talk, *[Frame.request_response()] * 33)

    with pytest.raises(ProviderFailure, match="ResponseDone"):
        say(talk, Frame.request_response())


def refusal(event_id: str | None, code: str = "conversation_already_has_active_response") -> str:
    error = {"type": "invalid_request_error", "code": code, "message": "secret", "event_id": event_id}
    return said("error", error=error)


def test_a_request_that_came_too_early_goes_out_again_when_the_answer_ends() -> None:
    talk = new_talk()
    [request] = say(talk, Frame.request_response("Mine."))
    # The provider has begun an answer by itself, at the same moment.
    heard(talk, said("response.created", response={"id": "resp_auto"}))

    assert heard(talk, refusal(request["event_id"])) == []
    assert to_send(talk) == []
    heard(talk, said("response.done", response={"id": "resp_auto", "status": "completed"}))

    assert [each["response"] for each in to_send(talk)] == [{"instructions": "Mine."}]


def test_an_answer_that_the_provider_denies_itself_concerns_no_request() -> None:
    talk = new_talk()
    say(talk, Frame.request_response())
    heard(talk, said("response.created", response={"id": "resp_1"}))

    assert heard(talk, refusal(None)) == []
    heard(talk, said("response.done", response={"id": "resp_1", "status": "completed"}))

    assert to_send(talk) == []


def test_a_request_that_is_refused_though_nobody_speaks_is_given_up_in_the_end() -> None:
    talk = new_talk()
    [request] = say(talk, Frame.request_response())

    assert heard(talk, refusal(request["event_id"])) == []
    assert len(to_send(talk)) == 1
    assert heard(talk, refusal(request["event_id"])) == []
    assert len(to_send(talk)) == 1
    assert len(heard(talk, refusal(request["event_id"]))) == 1
    assert to_send(talk) == []


def test_a_request_that_is_given_up_stops_none_behind_it() -> None:
    talk = new_talk()
    [request] = say(talk, Frame.request_response("Mine."), Frame.request_response("Next."))

    for _ in range(3):
        heard(talk, refusal(request["event_id"]))

    assert [each["response"]["instructions"] for each in to_send(talk)] == ["Mine.", "Mine.", "Next."]


def test_a_configuration_is_changed_by_what_is_new_in_it() -> None:
    talk = new_talk(instructions="Be brief.", voice="marin", max_output_tokens=100)
    saying.update(talk, attrs.evolve(talk.config, voice="cedar", turns=None))
    [first] = to_send(talk)
    saying.update(talk, attrs.evolve(talk.config, instructions=None, max_output_tokens=None))
    [second] = to_send(talk)
    saying.update(talk, talk.config)

    assert first["session"] == {
        "type": "realtime",
        "audio": {"input": {"turn_detection": None}, "output": {"voice": "cedar"}},
    }
    assert second["session"] == {"type": "realtime", "instructions": "", "max_output_tokens": "inf"}
    assert to_send(talk) == []
    with pytest.raises(ContractViolation, match="model"):
        saying.update(talk, attrs.evolve(talk.config, model="another"))


def test_a_change_that_the_provider_refuses_did_not_happen() -> None:
    talk = new_talk()
    talk.is_begun = talk.is_configured = True
    before = talk.config
    saying.update(talk, attrs.evolve(before, voice="cedar"))
    [message] = to_send(talk)

    [warning] = heard(talk, refusal(message["event_id"], "cannot_update_voice"))

    assert talk.config == before
    assert "cannot_update_voice" in repr(warning)


REFUSALS: dict[str, tuple[list[int], dict[str, object]]] = {
    "none": ([], {"voice": "cedar", "max_output_tokens": 99, "instructions": "Be brief."}),
    "the first": ([0], {"voice": "marin", "max_output_tokens": 99, "instructions": "Be brief."}),
    "the last": ([2], {"voice": "cedar", "max_output_tokens": 99, "instructions": None}),
    "both ends": ([0, 2], {"voice": "marin", "max_output_tokens": 99, "instructions": None}),
    "both ends, the last first": ([2, 0], {"voice": "marin", "max_output_tokens": 99, "instructions": None}),
    "all": ([0, 1, 2], {"voice": "marin", "max_output_tokens": None, "instructions": None}),
}


@pytest.mark.parametrize("refused", REFUSALS)
def test_a_change_that_is_refused_takes_none_of_those_beside_it_along(refused: str) -> None:
    """A new connection would be refused for good that is told what the provider has refused."""
    talk, (numbers, remains) = new_talk(voice="marin"), REFUSALS[refused]
    talk.is_begun = talk.is_configured = True
    for change in ({"voice": "cedar"}, {"max_output_tokens": 99}, {"instructions": "Be brief."}):
        saying.update(talk, attrs.evolve(talk.config, **change))
    saying.update(talk, attrs.evolve(talk.config, connection_lifetime_s=600.0))
    ids = [message["event_id"] for message in to_send(talk)]

    heard(talk, *[refusal(ids[number], "invalid_value") for number in numbers])

    assert {name: getattr(talk.config, name) for name in remains} == remains
    assert talk.config.connection_lifetime_s == 600


def test_what_is_replaced_whole_at_the_provider_is_so_when_a_change_before_it_is_refused() -> None:
    talk = new_talk()
    talk.is_begun = talk.is_configured = True
    saying.update(talk, attrs.evolve(talk.config, transcription="gpt-4o-transcribe"))
    saying.update(talk, attrs.evolve(talk.config, transcription_language="de"))
    first, second = to_send(talk)

    heard(talk, refusal(first["event_id"], "invalid_value"))

    told = second["session"]["audio"]["input"]["transcription"]
    assert told == {"model": "gpt-4o-transcribe", "language": "de"}
    assert (talk.config.transcription, talk.config.transcription_language) == ("gpt-4o-transcribe", "de")


def test_what_is_held_is_bounded_in_items_and_bytes() -> None:
    talk = new_talk()

    for _ in range(Conversation.ITEMS + 50):
        say(talk, Frame.text("x" * 50_000))
    say(talk, *audio(3_000))

    assert len(talk.items) <= Conversation.ITEMS
    assert talk.items.bytes <= Conversation.BYTES
    assert len(list(talk.restoring())) == len(talk.items)


def test_what_is_said_is_in_no_repr() -> None:
    talk = new_talk(instructions="mauve-door")
    say(talk, Frame.text("mauve-door"), Frame.request_response(), Frame.request_response("mauve-door"))
    heard(talk, said("response.created", response={"id": "resp_1"}))
    talk.pump()

    shown = [talk, talk.config, talk.input, talk.items, *talk.items._items.values(), talk.answers.last]

    assert "mauve-door" not in repr([*shown, *talk.answers._waiting])
