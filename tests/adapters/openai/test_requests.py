"""When the provider is asked for an answer: one at a time, and one to what several tools of an answer returned."""

from __future__ import annotations

import pytest

from realtime_async.errors import ProviderFailure
from realtime_async.ports import RealtimeInputFrame
from tests.adapters.openai.talks import audio, heard, new_talk, refusal, said, say, stamped, to_send

Frame = RealtimeInputFrame


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
