"""From frames to the client's messages; each passes the official types."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from realtime_async.adapters.gemini import GeminiLiveConfig, TextInput, TurnTaking
from realtime_async.adapters.gemini.calls import ToolCalls
from realtime_async.adapters.gemini.inputs import Inputs
from realtime_async.errors import ProviderFailure
from realtime_async.ports import AudioEncoding, AudioFormat, RealtimeInputFrame, RealtimeMediaKind
from tests.adapters.gemini.official import check_client

PCM = b"\x01\x02" * 320
SECRET = "mauve-door-91"
Frame = RealtimeInputFrame
START: dict[str, Any] = {"realtimeInput": {"activityStart": {}}}
END: dict[str, Any] = {"realtimeInput": {"activityEnd": {}}}


def inputs(calls: ToolCalls | None = None, **fields: Any) -> Inputs:
    config = GeminiLiveConfig(model="m", api_key="k", **fields)
    return Inputs(config, ToolCalls() if calls is None else calls)


def said(inputs: Inputs, *frames: Frame) -> list[dict[str, Any]]:
    """What *frames* become, sent one after the other."""
    messages = []
    for frame in frames:
        plan = inputs.plan(frame)
        for step in plan.steps:
            messages.append(check_client(step.message))
            inputs.took(step)
        inputs.sent(frame, plan.kind)
    return messages


def audio(rate: int = 16_000) -> dict[str, Any]:
    data = base64.b64encode(PCM).decode()
    return {"realtimeInput": {"audio": {"data": data, "mimeType": f"audio/pcm;rate={rate}"}}}


def content(*parts: dict[str, Any], asks: bool) -> dict[str, Any]:
    turns = {"turns": [{"role": "user", "parts": list(parts)}]} if parts else {}
    return {"clientContent": {**turns, "turnComplete": asks}}


def test_audio_goes_as_pcm_of_16_khz_or_of_the_rate_that_its_frame_names() -> None:
    at_8_khz = Frame.audio(PCM, audio_format=AudioFormat(sample_rate=8000))

    assert said(inputs(), Frame.audio(PCM), at_8_khz) == [audio(), audio(8000)]


def test_pictures_go_as_video() -> None:
    picture = {"data": "/9j/", "mimeType": "image/jpeg"}

    assert (
        said(inputs(), Frame.video(b"\xff\xd8\xff"), Frame.image(b"\xff\xd8\xff"))
        == [{"realtimeInput": {"video": picture}}] * 2
    )


def test_text_is_realtime_and_asks_by_itself() -> None:
    frames = [Frame.text("Hello"), Frame.request_response(), Frame.request_response("Greet.")]

    assert said(inputs(), *frames) == [
        {"realtimeInput": {"text": "Hello"}},
        {"realtimeInput": {"text": "Greet."}},
    ]


def test_as_content_text_waits_for_the_request() -> None:
    frames = [
        Frame.text("Hello"),
        Frame.image(b"\xff"),
        Frame.request_response(),
        Frame.request_response("Be brief."),
    ]

    assert said(inputs(text_input=TextInput.CONTENT), *frames) == [
        content({"text": "Hello"}, asks=False),
        content({"inlineData": {"data": "/w==", "mimeType": "image/jpeg"}}, asks=False),
        content(asks=True),
        content({"text": "Be brief."}, asks=True),
    ]


def test_a_turn_ends_with_the_end_of_the_stream_where_the_provider_detects_speech() -> None:
    ends = {"realtimeInput": {"audioStreamEnd": True}}

    assert said(inputs(), Frame.audio(PCM), Frame.end_of_turn()) == [audio(), ends]
    assert said(inputs(), Frame.audio(PCM), Frame.request_response()) == [audio(), ends]


@pytest.mark.parametrize("text_input", list(TextInput))
@pytest.mark.parametrize("turn_taking", list(TurnTaking))
def test_a_turn_that_the_program_has_ended_asks_by_itself(
    text_input: TextInput, turn_taking: TurnTaking
) -> None:
    config: dict[str, Any] = {"text_input": text_input, "turn_taking": turn_taking}
    ended = [Frame.audio(PCM), Frame.end_of_turn()]

    asked = said(inputs(**config), *ended, Frame.request_response())

    assert asked == said(inputs(**config), *ended)


@pytest.mark.parametrize("turn_taking", list(TurnTaking))
def test_the_end_of_a_turn_leaves_to_the_request_what_was_written(turn_taking: TurnTaking) -> None:
    written = [Frame.text("Hello"), Frame.end_of_turn(), Frame.request_response()]
    config: dict[str, Any] = {"turn_taking": turn_taking}

    ordered = said(inputs(text_input=TextInput.CONTENT, **config), *written)
    realtime = said(inputs(**config), *written)

    assert ordered[0] == content({"text": "Hello"}, asks=False)
    assert ordered[-1] == content(asks=True)
    # It has asked by itself.
    assert realtime == said(inputs(**config), *written[:-1])


def test_a_turn_that_a_request_has_ended_is_asked_about_once() -> None:
    spoken = [Frame.audio(PCM), Frame.request_response()]

    assert said(inputs(), *spoken, Frame.request_response()) == said(inputs(), *spoken)


def test_an_activity_begins_with_the_first_audio_and_ends_with_the_turn() -> None:
    manual = inputs(turn_taking=TurnTaking.MANUAL)
    turn = [Frame.audio(PCM), Frame.audio(PCM), Frame.end_of_turn(), Frame.end_of_turn()]

    assert said(manual, *turn, Frame.audio(PCM), Frame.request_response()) == [
        START, audio(), audio(), END, START, audio(), END,
    ]  # fmt: skip


def test_an_activity_that_was_begun_is_not_begun_again_when_the_audio_had_no_room() -> None:
    manual = inputs(turn_taking=TurnTaking.MANUAL)
    manual.took(manual.plan(Frame.audio(PCM)).steps[0])

    assert said(manual, Frame.audio(PCM)) == [audio()]


def test_an_interruption_is_an_activity_or_content_or_left_to_speech() -> None:
    manual = inputs(turn_taking=TurnTaking.MANUAL)
    step = manual.interruption()
    assert step is not None
    manual.took(step)
    ordered = inputs(text_input=TextInput.CONTENT).interruption()

    assert check_client(step.message) == START
    assert manual.interruption() is None
    assert said(manual, Frame.audio(PCM), Frame.end_of_turn()) == [audio(), END]
    assert ordered is not None
    assert check_client(ordered.message) == content(asks=False)
    assert inputs().interruption() is None


@pytest.mark.parametrize(
    "output,response",
    [
        ('{"celsius": 21}', {"celsius": 21}),
        ("sunny", {"output": "sunny"}),
        ("[1, 2]", {"output": [1, 2]}),
        ("null", {"output": None}),
        ("[" * 100_000, {"output": "[" * 100_000}),
    ],
)
def test_a_tool_result_bears_the_name_of_its_call_and_is_an_object(
    output: str, response: dict[str, Any]
) -> None:
    calls = ToolCalls()
    calls.asked("call 1", "weather")

    (message,) = said(inputs(calls), Frame.tool_result("call 1", output))

    assert message["toolResponse"] == {
        "functionResponses": [{"id": "call 1", "name": "weather", "response": response}]
    }


@pytest.mark.parametrize("text_input", list(TextInput))
def test_results_ask_by_themselves(text_input: TextInput) -> None:
    calls = ToolCalls()
    calls.asked("call", "weather")
    frames = [Frame.tool_result("call", "21"), Frame.request_response()]

    assert len(said(inputs(calls, text_input=text_input), *frames)) == 1


def test_a_call_is_answered_once_and_not_after_it_was_taken_back() -> None:
    calls = ToolCalls()
    for call_id in ("answered", "cancelled", "lost"):
        calls.asked(call_id, "weather")
    said(inputs(calls), Frame.tool_result("answered", SECRET))
    calls.cancelled(["cancelled"])

    assert calls.connection_ended() == ("lost",)
    for call_id in ("answered", "cancelled", "lost", "never asked"):
        with pytest.raises(ProviderFailure) as refused:
            inputs(calls).plan(Frame.tool_result(call_id, SECRET))
        assert refused.value.code == "failed_precondition"
        assert SECRET not in refused.value.message


def test_a_result_that_says_nothing_is_refused_and_the_call_waits_on() -> None:
    calls = ToolCalls()
    calls.asked("call", "weather")

    with pytest.raises(ProviderFailure) as refused:
        inputs(calls).plan(Frame(media_kind=RealtimeMediaKind.TOOL_RESULT, call_id="call"))

    assert refused.value.code == "unsupported"
    assert len(said(inputs(calls), Frame.tool_result("call", "21"))) == 1


def test_of_very_many_calls_the_oldest_are_forgotten() -> None:
    calls = ToolCalls()
    for number in range(1000):
        calls.asked(str(number), "weather")

    assert len(calls.connection_ended()) == 256


@pytest.mark.parametrize(
    "frame",
    [
        Frame.clear_input(),
        Frame.request_response(),
        Frame(media_kind=RealtimeMediaKind.CONTROL),
        Frame(media_kind=RealtimeMediaKind.TEXT),
        Frame(media_kind=RealtimeMediaKind.TRANSCRIPT, payload=SECRET),
        Frame.media_ref(RealtimeMediaKind.AUDIO, "ref"),
        Frame.image(SECRET.encode(), mime_type="image/gif"),
        Frame.video(b""),
        Frame.audio(b""),
        Frame.audio(PCM, audio_format=AudioFormat(AudioEncoding.G711_ULAW)),
        Frame.audio(PCM, audio_format=AudioFormat(channels=2)),
    ],
    ids=[
        "clear_input",
        "nothing_to_answer",
        "no_signal",
        "no_text",
        "transcript",
        "reference",
        "picture_type",
        "no_picture",
        "no_audio",
        "encoding",
        "channels",
    ],
)
def test_what_the_protocol_has_no_message_for_is_refused(frame: Frame) -> None:
    with pytest.raises(ProviderFailure) as refused:
        inputs().plan(frame)

    assert refused.value.code == "unsupported"
    assert refused.value.retry == "not_retryable"
    assert SECRET not in refused.value.message


def test_no_plan_shows_what_is_said() -> None:
    assert SECRET not in repr(inputs().plan(Frame.text(SECRET)))
