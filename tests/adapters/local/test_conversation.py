"""What the local adapter hears, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from realtime_async.adapters.local import Voice
from realtime_async.errors import (
    ProviderFailure,
)
from realtime_async.ports import (
    InputCommitted,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeInputFrame,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
)
from tests.adapters.local.caller import (
    ANSWER,
    OTHER_QUESTION,
    QUESTION,
    asked,
    called,
    repeat,
)
from tests.adapters.local.speech import frames, noise, silence, spoken

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ready_made_ears")]


async def test_a_spoken_question_is_answered_in_speech() -> None:
    async with called() as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(caller.say, asked())
        await caller.receive_until(ResponseDone)

        pieces = [frame.payload for frame in caller.received if isinstance(frame.event, OutputAudio)]
        voice = Voice()
        alone = sum(
            len(voice.speak(sentence)) for sentence in ("A table for four is booked.", "See you tonight!")
        )

        assert caller.heard() == [QUESTION]
        assert caller.said() == [ANSWER]
        assert {len(piece) for piece in pieces if isinstance(piece, bytes)} == {voice.frame_bytes}
        assert len(pieces) * voice.frame_bytes == pytest.approx(alone, rel=0.02)


async def test_events_come_in_the_order_of_what_happened() -> None:
    async with called() as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(caller.say, asked())
        await caller.receive_until(ResponseDone)

        kinds = [type(event) for event in caller.events(*EVENTS)]
        answer = {frame.response_id for frame in caller.received if type(frame.event) in OF_AN_ANSWER}
        items = {frame.event.item_id for frame in caller.received if isinstance(frame.event, OutputAudio)}

        assert [kind for kind, following in pairwise([*kinds, None]) if kind is not following] == [
            SpeechStarted,
            SpeechStopped,
            InputCommitted,
            InputTranscript,
            ResponseStarted,
            OutputTranscript,
            OutputAudio,
            OutputTranscript,
            OutputAudio,
            OutputTranscript,
            ResponseDone,
        ]
        assert len(answer) == len(items) == 1
        assert None not in answer | items


OF_AN_ANSWER = (ResponseStarted, OutputTranscript, OutputAudio, ResponseDone)
EVENTS = (SpeechStarted, SpeechStopped, InputCommitted, InputTranscript, *OF_AN_ANSWER)


async def test_the_pieces_of_a_transcript_are_the_whole() -> None:
    async with called() as caller:
        await caller.send(RealtimeInputFrame.request_response(OTHER_QUESTION))
        await caller.receive_until(ResponseDone)

        pieces = [event for event in caller.events(OutputTranscript) if isinstance(event, OutputTranscript)]

        assert (
            "".join(piece.text for piece in pieces if not piece.final) == pieces[-1].text == caller.said()[0]
        )


async def test_positions_are_those_of_the_input_audio() -> None:
    async with called() as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(caller.say, silence(2) + spoken(OTHER_QUESTION) + silence(0.8))
        await caller.receive_until(ResponseDone)

        length_ms = len(spoken(OTHER_QUESTION)) / 32
        started, stopped, committed = caller.events(SpeechStarted, SpeechStopped, InputCommitted)
        assert isinstance(started, SpeechStarted)
        assert isinstance(stopped, SpeechStopped)
        assert isinstance(committed, InputCommitted)
        assert started.audio_start_ms == pytest.approx(2000, abs=150)
        assert stopped.audio_end_ms == pytest.approx(2000 + length_ms, abs=350)
        assert committed.audio_end_ms == (stopped.audio_end_ms or 0) + 512


async def test_two_questions_are_answered_in_turn() -> None:
    async with called() as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(caller.say, asked(OTHER_QUESTION) + asked())
        await caller.receive_until(ResponseDone, times=2)

        assert caller.heard() == [OTHER_QUESTION, QUESTION]
        assert caller.said()[1] == ANSWER


@pytest.mark.parametrize("sound", [silence(3), noise(3, rms=300)], ids=["silence", "noise"])
async def test_nobody_speaks_where_nobody_speaks(sound: bytes) -> None:
    async with called(repeat) as caller:
        await caller.say(sound)
        await caller.send(RealtimeInputFrame.request_response("over"))
        await caller.receive_until(ResponseDone)

        assert caller.events(SpeechStarted, SpeechStopped) == []


async def test_what_is_written_is_answered_when_an_answer_is_asked_for() -> None:
    async with called(repeat) as caller:
        await caller.send(RealtimeInputFrame.text("one"))
        await caller.send(RealtimeInputFrame.text("two"))
        await caller.send(RealtimeInputFrame.request_response("three"))
        await caller.send(RealtimeInputFrame.request_response("four"))
        await caller.receive_until(ResponseDone, times=2)

        assert caller.said() == ["one\ntwo\nthree", "four"]


async def test_a_sentence_can_be_ended_early() -> None:
    async with called() as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(caller.say, silence(0.5) + spoken(OTHER_QUESTION))
        await caller.receive_until(SpeechStarted)
        while len(caller.sent) < len(frames(silence(0.5) + spoken(OTHER_QUESTION))):
            await anyio.lowlevel.checkpoint()
        await caller.send(RealtimeInputFrame.end_of_turn())
        await caller.receive_until(ResponseDone)

        assert caller.heard() == [OTHER_QUESTION]


async def test_input_that_is_cleared_is_not_answered() -> None:
    async with called() as caller:
        await caller.say(silence(0.5) + spoken(QUESTION))
        await caller.send(RealtimeInputFrame.clear_input())
        await caller.say(silence(0.5) + asked(OTHER_QUESTION))
        await caller.receive_until(ResponseDone)

        assert caller.heard() == [OTHER_QUESTION]


async def test_an_answer_is_spoken_while_it_is_being_written() -> None:
    first_sentence_was_received = anyio.Event()

    async def write(question: str) -> AsyncIterator[str]:
        yield "First. "
        await first_sentence_was_received.wait()
        yield "Second."

    async with called(write) as caller:
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(OutputAudio)
        first_sentence_was_received.set()
        await caller.receive_until(ResponseDone)

        assert caller.said() == ["First. Second."]


async def test_a_brain_that_fails_ends_its_answer_and_the_caller_is_told_why() -> None:
    async def fail(question: str) -> str:
        raise ZeroDivisionError(question)

    async with called(fail) as caller:
        await caller.send(RealtimeInputFrame.request_response("mauve-door-91"))
        done = await caller.receive_until(ResponseDone)
        with pytest.raises(ProviderFailure, match="failed with ZeroDivisionError") as failure:
            await caller.receive_until(ResponseDone)
        await caller.send(RealtimeInputFrame.request_response())

        assert done.event == ResponseDone("failed")
        assert isinstance(failure.value.__cause__, ZeroDivisionError)
        assert "mauve" not in str(failure.value)
        assert (await caller.receive_until(ResponseDone)).event == ResponseDone("failed")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_brain_that_awaits_what_somebody_has_cancelled_has_failed() -> None:
    """Its cancellation looks like one of the answer's own, and nothing would be answered any more."""

    async def wait(question: str) -> str:
        if question == "wait":
            never = asyncio.get_running_loop().create_future()
            never.cancel()
            await never
        return question

    async with called(wait) as caller:
        await caller.send(RealtimeInputFrame.request_response("wait"))
        await caller.send(RealtimeInputFrame.request_response("Hello."))
        with anyio.fail_after(10):
            done = await caller.receive_until(ResponseDone)
            with pytest.raises(ProviderFailure, match="failed with CancelledError"):
                await caller.receive_until(ResponseDone)
            await caller.receive_until(ResponseDone)

        assert done.event == ResponseDone("failed")
        assert caller.said() == ["Hello."]


async def test_a_cancellation_of_another_event_loop_is_a_failure_of_the_brain() -> None:
    async def wait(question: str) -> str:
        def elsewhere() -> None:
            raise asyncio.CancelledError

        await anyio.to_thread.run_sync(elsewhere)
        return question

    async with called(wait) as caller:
        await caller.send(RealtimeInputFrame.request_response("wait"))
        with anyio.fail_after(10):
            done = await caller.receive_until(ResponseDone)

        assert done.event == ResponseDone("failed")
