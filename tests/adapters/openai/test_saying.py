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
from tests.adapters.openai.talks import FRAME, audio, heard, new_talk, refusal, said, say, to_send

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
