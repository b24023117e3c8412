"""A session with a server on loopback: turns, interrupts, tools, resumption."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from realtime_async.adapters.gemini import GeminiLiveAdapter, TextInput, TurnTaking
from realtime_async.errors import ProviderFailure
from realtime_async.ports import (
    GoAway,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeInputFrame,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    StreamCursor,
    ToolCall,
    ToolCallCancelled,
)
from realtime_async.testing.loopback.gemini import LoopbackGemini
from tests.adapters.gemini.gemini_side import KEY, config_for
from tests.adapters.gemini.talking import LONG, REQUEST, SECRET, SESSION, WEATHER, Talk, speech, talk

Frame = RealtimeInputFrame


async def test_a_spoken_question_is_transcribed_and_answered() -> None:
    async with talk() as it:
        await it.say(*speech(1, 2, 3, 4, 5))
        done = await it.until(ResponseDone)

    assert it.server.conversations[0].known == [1, 2, 3, 4, 5]
    assert [frame.event.text for frame in it.frames if isinstance(frame.event, InputTranscript)] == [
        "Hello there."
    ] * 2
    assert (
        "".join(
            f.event.text for f in it.frames if isinstance(f.event, OutputTranscript) and not f.event.final
        )
        == "Of course."
    )
    assert (
        sum(frame.payload_bytes() for frame in it.frames if isinstance(frame.event, OutputAudio)) == 400 * 48
    )
    assert isinstance(done.event, ResponseDone)
    assert done.event.status == "completed"
    assert done.event.usage is not None
    assert done.event.usage.output_audio_tokens == 40


async def test_the_program_marks_the_turns_where_it_says_so() -> None:
    async with talk(turn_taking=TurnTaking.MANUAL) as it:
        await it.say(*speech(1, 2), Frame.end_of_turn())
        await it.until(ResponseDone)
        await it.say(*speech(3), Frame.request_response())
        await it.until(ResponseDone)

    assert it.server.conversations[0].known == [1, 2, 3]


async def test_a_tool_is_called_and_its_result_goes_on_with_the_answer() -> None:
    async with talk(WEATHER) as it:
        await it.say(Frame.text("How is the weather?"))
        call = (await it.until(ToolCall)).event
        assert isinstance(call, ToolCall)
        await it.say(Frame.tool_result(call.call_id, '{"celsius": 21}'))
        done = await it.until(ResponseDone)

    assert (call.name, call.arguments) == ("weather", '{"city": "Rome"}')
    assert {frame.response_id for frame in it.frames if frame.response_id} == {done.response_id}


async def test_an_interrupt_where_the_program_marks_turns_stops_the_model_and_nobody_spoke() -> None:
    async with talk(LONG, turn_taking=TurnTaking.MANUAL) as it:
        await it.say(Frame.text("Tell me a story."))
        begun = await it.until(OutputAudio)
        await it.adapter.interrupt(SESSION, begun.response_id, played_ms=10)
        await it.adapter.interrupt(SESSION, begun.response_id)
        done = await it.until(ResponseDone)
        await it.say(*speech(1), Frame.end_of_turn())
        answer = await it.until(ResponseStarted)

    assert isinstance(done.event, ResponseDone)
    assert done.event.status == "cancelled"
    assert answer.response_id != done.response_id
    assert "SpeechStarted" not in it.kinds()
    assert it.server.conversations[0].heard == [1]


async def test_an_interrupt_with_ordered_text_stops_the_model() -> None:
    async with talk(LONG, model="gemini-2.5-flash-native-audio", text_input=TextInput.CONTENT) as it:
        await it.say(Frame.text("Tell me a story."), Frame.request_response())
        await it.until(OutputAudio)
        await it.adapter.interrupt(SESSION, None)
        done = await it.until(ResponseDone)

    assert isinstance(done.event, ResponseDone)
    assert done.event.status == "cancelled"
    assert "SpeechStarted" not in it.kinds()


async def test_an_interrupt_that_the_protocol_has_nothing_for_lets_the_answer_end_as_cancelled() -> None:
    async with talk(LONG) as it:
        await it.say(Frame.text("Tell me a story."))
        begun = await it.until(OutputAudio)
        await it.adapter.interrupt(SESSION, begun.response_id)
        it.server.go_on()
        done = await it.until(ResponseDone)
        await it.say(Frame.text("And now?"))
        again = await it.until(ResponseDone)

    assert isinstance(done.event, ResponseDone)
    assert isinstance(again.event, ResponseDone)
    assert [done.event.status, again.event.status] == ["cancelled", "completed"]


async def test_an_interrupt_of_an_answer_that_is_over_does_nothing() -> None:
    async with talk(turn_taking=TurnTaking.MANUAL) as it:
        await it.say(Frame.text("Hello"))
        done = await it.until(ResponseDone)
        before = it.server.received
        await it.adapter.interrupt(SESSION, done.response_id)
        await it.adapter.interrupt(SESSION, None)

    assert it.server.received == before


async def test_the_person_talks_over_the_answer() -> None:
    async with talk(LONG) as it:
        await it.say(Frame.text("Tell me a story."))
        await it.until(OutputAudio)
        await it.say(*speech(1, 2))
        await it.until(SpeechStarted)
        done = await it.until(ResponseDone)

    assert isinstance(done.event, ResponseDone)
    assert done.event.status == "cancelled"


async def test_a_restart_resumes_by_the_newest_handle_and_says_what_it_keeps() -> None:
    async with talk() as it:
        await it.say(Frame.text("frame 1"))
        await it.until(ResponseDone)
        it.server.tell({"goAway": {"timeLeft": "50s"}})
        going = (await it.until(GoAway)).event
        kept = await it.restart()
        await it.say(Frame.text("frame 2"))
        await it.until(ResponseDone)

    assert going == GoAway(50.0)
    assert kept == StreamCursor.chunk(1)
    assert it.server.conversations[0].known == [1, 2]
    assert it.server.log[1].setup is not None
    assert it.server.log[1].setup["sessionResumption"] == {"handle": "handle-1"}
    assert it.server.close_codes == {1000: 2}


async def test_without_a_handle_a_restart_begins_a_conversation_that_knows_nothing() -> None:
    async with talk(LONG) as it:
        await it.say(Frame.text("frame 1"))
        begun = await it.until(ResponseStarted)
        kept = await it.restart()
        done = await it.until(ResponseDone)

    assert kept == StreamCursor.chunk(0)
    assert done.response_id == begun.response_id
    assert isinstance(done.event, ResponseDone)
    assert done.event.status == "incomplete"
    assert len(it.server.conversations) == 2


async def test_a_handle_that_is_refused_is_dropped_and_the_conversation_begun_anew() -> None:
    with LoopbackGemini(key=KEY) as server, anyio.fail_after(20):
        async with GeminiLiveAdapter(config_for(server)) as adapter:
            it = Talk(adapter, server, (await adapter.connect(REQUEST)).connection_id)
            await it.say(Frame.text("frame 1"))
            await it.until(ResponseDone)
            server.forget_handles()
            kept = await it.restart()

    assert kept == StreamCursor.chunk(0)
    assert [entry.refused is None for entry in server.log] == [True, False, True]


async def test_a_question_that_the_conversation_holds_is_not_asked_again() -> None:
    async with talk() as it:
        # Somebody begins to speak, and types in between.
        await it.say(*speech(11, 12), Frame.text("frame 3"))
        await it.until(ResponseDone)
        kept = await it.restart()
        it.sent = 0
        await it.say(*speech(11, 12), Frame.text("frame 3"), Frame.text("frame 4"))
        await it.until(ResponseDone)

    assert kept == StreamCursor.chunk(0)
    assert it.server.conversations[0].heard == [11, 12, 3, 11, 12, 4]


async def test_a_call_does_not_outlive_its_connection() -> None:
    async with talk(WEATHER) as it:
        await it.say(Frame.text("How is the weather?"))
        call = (await it.until(ToolCall)).event
        assert isinstance(call, ToolCall)
        await it.restart()
        cancelled = await it.until(ToolCallCancelled)

        with pytest.raises(ProviderFailure) as refused:
            await it.say(Frame.tool_result(call.call_id, SECRET))

    assert cancelled.event == ToolCallCancelled((call.call_id,))
    assert refused.value.code == "failed_precondition"


@pytest.mark.parametrize("is_known", [True, False], ids=["answered", "cut off"])
async def test_a_replayed_result_ends_no_turn_that_is_replayed_with_it(is_known: bool) -> None:
    async with talk(WEATHER) as it:
        await it.say(*speech(*range(1, 6)))
        call = (await it.until(ToolCall)).event
        assert isinstance(call, ToolCall)
        told = Frame.tool_result(call.call_id, '{"celsius": 21}')
        await it.say(told, Frame.request_response())
        if is_known:
            await it.until(ResponseDone)
        await it.restart()
        it.sent = 0
        await it.say(*speech(*range(1, 6)))
        if is_known:
            await it.say(told)
        else:
            with pytest.raises(ProviderFailure):
                await it.say(told)
        await it.say(Frame.request_response(), *speech(6))
        await it.server.until(lambda: 6 in it.server.conversations[-1].heard)

    assert not any("audioStreamEnd" in str(message) for message in it.server.log[-1].received)


async def test_a_request_that_needed_no_message_needs_none_when_it_is_replayed_alone() -> None:
    config: dict[str, Any] = {"model": "gemini-2.5-flash-native-audio", "text_input": TextInput.CONTENT}
    async with talk(WEATHER, LONG, LONG, **config) as it:
        asked = [Frame.text("How is the weather?"), Frame.request_response()]
        await it.say(*asked)
        call = (await it.until(ToolCall)).event
        assert isinstance(call, ToolCall)
        await it.restart()
        with pytest.raises(ProviderFailure):
            await it.say(Frame.tool_result(call.call_id, SECRET))
        await it.say(Frame.request_response())
        await it.restart()
        last, it.sent = it.sent, 0
        await it.say(*asked)
        it.sent = last - 1
        await it.say(Frame.request_response(), *speech(6))
        await it.server.until(lambda: 6 in it.server.conversations[-1].heard)

    assert str(it.server.log[-1].received).count('"turnComplete": true') == 1


async def test_a_result_that_is_refused_takes_no_answer_from_what_was_written_before_it() -> None:
    config: dict[str, Any] = {"model": "gemini-2.5-flash-native-audio", "text_input": TextInput.CONTENT}
    async with talk(**config) as it:
        await it.say(Frame.text("Hello there."))
        with pytest.raises(ProviderFailure):
            await it.say(Frame.tool_result("call-of-nobody", SECRET))
        await it.say(Frame.request_response())
        with anyio.fail_after(10):
            done = await it.until(ResponseDone)

    assert isinstance(done.event, ResponseDone)
    assert done.event.status == "completed"
