"""Local connections that die, and what the next one knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from realtime_async.adapters.local import Brain, answer_command
from realtime_async.adapters.local.recogniser import Recogniser
from realtime_async.ports import (
    InputCommitted,
    InputTranscript,
    OutputAudio,
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
    SESSION,
    Caller,
    asked,
    called,
    connected,
    ramble,
    repeat,
)
from tests.adapters.local.speech import frames, silence, spoken

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ready_made_ears")]


@pytest.mark.parametrize("after", range(10, 180, 14))
async def test_whenever_the_connection_dies_the_whole_sentence_is_heard(after: int) -> None:
    pcm = asked()
    async with called() as caller, anyio.create_task_group() as tasks:
        for frame in frames(pcm)[:after]:
            await caller.send(RealtimeInputFrame.audio(frame))
        await anyio.wait_all_tasks_blocked()
        if after % 4:
            caller.adapter.drop(SESSION)

        await caller.restart()
        for frame in frames(pcm)[after:]:
            await caller.send(RealtimeInputFrame.audio(frame))
        tasks.start_soon(caller.say, silence(0.6))
        await caller.receive_until(ResponseDone)

        length_ms = len(spoken(QUESTION)) / 32
        assert caller.heard() == [QUESTION]
        assert caller.said() == [ANSWER]
        for event in caller.events(SpeechStarted):
            assert isinstance(event, SpeechStarted)
            assert event.audio_start_ms == pytest.approx(500, abs=150)
        for event in caller.events(SpeechStopped):
            assert isinstance(event, SpeechStopped)
            assert event.audio_end_ms == pytest.approx(500 + length_ms, abs=350)


async def test_a_question_that_was_answered_is_not_asked_for_again() -> None:
    async with called() as caller:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller.receive_until, ResponseDone)
            await caller.say(asked(OTHER_QUESTION) + asked())

        kept = await caller.restart()
        await caller.receive_until(ResponseDone)

        asked_by = len(frames(silence(0.5) + spoken(OTHER_QUESTION)))
        assert asked_by < kept < len(frames(asked(OTHER_QUESTION))) + 25
        assert caller.said()[1:] == [ANSWER]


async def test_a_question_whose_answer_was_cut_off_is_answered_again() -> None:
    async with called(ramble) as caller:
        await caller.send(RealtimeInputFrame.request_response("first"))
        cut = await caller.receive_until(OutputAudio)
        await anyio.wait_all_tasks_blocked()

        kept = await caller.restart()
        over = await caller.receive_until(ResponseDone)
        again = await caller.receive_until(OutputAudio)

        assert kept == 0
        assert (over.event, over.response_id) == (ResponseDone("incomplete"), cut.response_id)
        assert again.response_id != cut.response_id


async def test_an_answer_of_which_nothing_was_seen_comes_as_if_for_the_first_time() -> None:
    async with called() as caller:
        await caller.send(RealtimeInputFrame.request_response("please book a table for three"))
        await anyio.wait_all_tasks_blocked()

        await caller.restart()
        await caller.receive_until(ResponseDone)

        assert len(caller.events(ResponseStarted)) == len(caller.events(ResponseDone)) == 1
        assert len(caller.said()) == 1


@asynccontextmanager
async def greeted_into_a_sentence(brain: Brain) -> AsyncIterator[Caller]:
    """A caller who was greeted, as was asked for, after 70 frames of the question."""
    async with called(brain) as caller:
        for frame in frames(asked())[:70]:
            await caller.send(RealtimeInputFrame.audio(frame))
        await caller.send(RealtimeInputFrame.text("This is:"))
        await caller.send(RealtimeInputFrame.request_response("Greet the caller."))
        await caller.receive_until(ResponseDone)
        yield caller


@pytest.mark.parametrize("restarts", [1, 2])
async def test_a_request_that_was_answered_into_a_sentence_is_not_answered_again_with_it(
    restarts: int,
) -> None:
    async with greeted_into_a_sentence(answer_command) as caller, anyio.create_task_group() as tasks:
        for _ in range(restarts - 1):
            await caller.adapter.restart(SESSION, caller.connection_id)
        kept = await caller.restart()
        for frame in frames(asked())[70:]:
            await caller.send(RealtimeInputFrame.audio(frame))
        tasks.start_soon(caller.say, silence(0.6))
        await caller.receive_until(ResponseDone)

        assert kept < 25
        assert caller.heard() == [QUESTION]
        assert caller.said()[1:] == [ANSWER]


async def test_a_sentence_into_which_a_request_was_answered_is_answered_on_the_next_connection() -> None:
    asked_for: list[str] = []

    async def think_first(question: str) -> str:
        asked_for.append(question)
        if asked_for.count(QUESTION) == 1:
            await anyio.sleep_forever()
        return question

    async with greeted_into_a_sentence(think_first) as caller:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller.receive_until, ResponseStarted)
            for frame in frames(asked())[70:]:
                await caller.send(RealtimeInputFrame.audio(frame))

        kept = await caller.restart()
        await caller.receive_until(ResponseDone, times=2)

        assert kept < 25
        assert caller.said()[1:] == [QUESTION]


async def test_what_was_written_before_a_restart_is_answered_after_it() -> None:
    async with called(repeat) as caller:
        await caller.send(RealtimeInputFrame.text("one"))
        await caller.send(RealtimeInputFrame.request_response("two"))
        await caller.receive_until(ResponseDone)
        await caller.send(RealtimeInputFrame.text("three"))

        await caller.restart()
        await caller.send(RealtimeInputFrame.request_response("four"))
        await caller.receive_until(ResponseDone)

        assert caller.said() == ["one\ntwo", "three\nfour"]


async def test_what_was_written_is_answered_anew_where_its_answer_was_cut_off() -> None:
    async with called(repeat) as caller:
        await caller.send(RealtimeInputFrame.text("one"))
        await caller.send(RealtimeInputFrame.request_response("two"))
        await caller.send(RealtimeInputFrame.text("three"))
        await caller.send(RealtimeInputFrame.request_response("four"))
        await anyio.wait_all_tasks_blocked()
        caller.adapter.drop(SESSION)

        await caller.restart()
        await caller.receive_until(ResponseDone, times=2)

        assert caller.said() == ["one\ntwo", "three\nfour"]


async def test_an_answer_that_was_interrupted_is_not_given_again() -> None:
    async with called(repeat) as caller:
        await caller.send(RealtimeInputFrame.request_response("first"))
        await caller.receive_until(ResponseStarted)
        await caller.adapter.interrupt(SESSION, None)

        kept = await caller.restart()

        assert kept == 1


async def test_that_nothing_was_understood_is_told_though_the_connection_dies_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not heard again, so whoever saw that somebody speaks would wait for the end of it."""
    finish = Recogniser.finish
    monkeypatch.setattr(Recogniser, "finish", lambda recogniser: finish(recogniser)[:0])
    async with called() as caller:
        await caller.say(asked())
        await caller.receive_until(SpeechStarted)
        await anyio.wait_all_tasks_blocked()

        await caller.restart()
        with anyio.fail_after(10):
            await caller.receive_until(InputTranscript)

        events = [type(frame.event) for frame in caller.received]
        assert events == [SpeechStarted, SpeechStopped, InputCommitted, InputTranscript]


async def test_a_session_that_is_taken_over_begins_anew() -> None:
    async with called(repeat) as caller:
        await caller.send(RealtimeInputFrame.text("of the former owner"))

        owner = await connected(caller.adapter)
        await owner.send(RealtimeInputFrame.request_response("new"))
        await owner.receive_until(ResponseDone)

        assert owner.said() == ["new"]
