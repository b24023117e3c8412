"""A conversation with the local adapter, by its port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import anyio.lowlevel
import attrs
import pytest

from realtime_async.adapters.local import Brain, LocalSpeechAdapter, Voice, answer_command
from realtime_async.adapters.local.recogniser import PIECE_BYTES, Recogniser
from realtime_async.errors import (
    ContractViolation,
    ProviderConnectionLost,
    ProviderFailure,
    SessionStateError,
)
from realtime_async.ports import (
    AudioFormat,
    InputCommitted,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeSessionId,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    StreamCursor,
)
from tests.adapters.local.speech import frames, noise, silence, spoken

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ready_made_ears")]

SESSION = RealtimeSessionId("session.1")
QUESTION = "please book a table for four people"
ANSWER = "A table for four is booked. See you tonight!"
OTHER_QUESTION = "what can you do"


@attrs.define
class Caller:
    """A session, driven as a controller would: it numbers its frames, and replays what is forgotten."""

    adapter: LocalSpeechAdapter
    connection_id: RealtimeConnectionId
    session_id: RealtimeSessionId = SESSION
    sent: list[RealtimeInputFrame] = attrs.field(factory=list)
    received: list[RealtimeOutputFrame] = attrs.field(factory=list)

    async def send(self, frame: RealtimeInputFrame) -> None:
        self.sent.append(frame.stamped(StreamCursor.chunk(len(self.sent) + 1)))
        await self.adapter.send(self.session_id, self.sent[-1])

    async def say(self, pcm: bytes) -> None:
        for frame in frames(pcm):
            await self.send(RealtimeInputFrame.audio(frame))

    async def receive_until(self, event: type[RealtimeEvent], times: int = 1) -> RealtimeOutputFrame:
        """Receive until *event* came so many times since this was called."""
        while True:
            frame = await self.adapter.receive(self.session_id)
            assert frame is not None, "the session has ended"
            self.received.append(frame)
            times -= isinstance(frame.event, event)
            if not times:
                return frame

    async def restart(self) -> int:
        """Restart, replay, and return the cursor through which the input was kept."""
        response = await self.adapter.restart(self.session_id, self.connection_id)
        self.connection_id = response.connection_id
        assert response.input_kept_through is not None
        kept = response.input_kept_through.chunk_sequence
        for frame in self.sent[kept:]:
            await self.adapter.send(self.session_id, frame)
        return kept

    def events(self, *kinds: type[RealtimeEvent]) -> list[RealtimeEvent]:
        return [frame.event for frame in self.received if isinstance(frame.event, kinds)]

    def heard(self) -> list[str]:
        return [event.text for event in self.events(InputTranscript) if isinstance(event, InputTranscript)]

    def said(self) -> list[str]:
        return [
            event.text
            for event in self.events(OutputTranscript)
            if isinstance(event, OutputTranscript) and event.final
        ]


async def connected(adapter: LocalSpeechAdapter, session_id: RealtimeSessionId = SESSION) -> Caller:
    request = RealtimeConnectRequest(
        session_id=session_id, provider_route_ref="provider.local", realtime_capability_ref="realtime.voice"
    )
    return Caller(adapter, (await adapter.connect(request)).connection_id, session_id)


@asynccontextmanager
async def called(brain: Brain = answer_command) -> AsyncIterator[Caller]:
    async with LocalSpeechAdapter(brain) as adapter:
        yield await connected(adapter)


def asked(question: str = QUESTION) -> bytes:
    return silence(0.5) + spoken(question) + silence(0.8)


async def repeat(question: str) -> str:
    return question


async def ramble(question: str) -> AsyncIterator[str]:
    while True:
        yield "And so on. "


# Hearing and answering


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


# Interrupting


async def test_an_interrupted_answer_says_nothing_more_but_that_it_is_over() -> None:
    async with called(ramble) as caller:
        await caller.send(RealtimeInputFrame.request_response())
        started = await caller.receive_until(OutputAudio)
        await anyio.wait_all_tasks_blocked()

        await caller.adapter.interrupt(SESSION, None, played_ms=20)
        following = await caller.adapter.receive(SESSION)

        assert following is not None
        assert (following.event, following.response_id) == (ResponseDone("cancelled"), started.response_id)


async def test_an_interrupt_overtakes_a_speaker_that_was_just_given_room() -> None:
    async with called(ramble) as caller:
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseStarted)
        await anyio.wait_all_tasks_blocked()

        await caller.adapter.receive(SESSION)
        await caller.adapter.interrupt(SESSION, None)
        await anyio.wait_all_tasks_blocked()
        await caller.receive_until(ResponseDone)
        with anyio.move_on_after(0) as nothing_follows:
            await caller.adapter.receive(SESSION)

        assert nothing_follows.cancelled_caught


async def test_a_brain_that_thinks_is_interrupted() -> None:
    ended = anyio.Event()

    async def think(question: str) -> str:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return "never"

    async with called(think) as caller:
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseStarted)

        await caller.adapter.interrupt(SESSION, None)
        await ended.wait()

        assert (await caller.receive_until(ResponseDone)).event == ResponseDone("cancelled")


async def test_an_answer_that_is_complete_is_silenced_too() -> None:
    async with called() as caller:
        await caller.send(RealtimeInputFrame.request_response("hello"))
        await caller.receive_until(ResponseStarted)
        await anyio.wait_all_tasks_blocked()

        await caller.adapter.interrupt(SESSION, caller.received[-1].response_id)
        following = await caller.adapter.receive(SESSION)

        assert following is not None
        assert isinstance(following.event, ResponseDone)


async def test_an_interrupt_of_another_answer_changes_nothing() -> None:
    async with called(repeat) as caller:
        await caller.adapter.interrupt(SESSION, None)
        await caller.send(RealtimeInputFrame.request_response("first"))
        first = await caller.receive_until(ResponseDone)
        await caller.send(RealtimeInputFrame.request_response("second"))
        await caller.receive_until(ResponseStarted)

        await caller.adapter.interrupt(SESSION, first.response_id)
        done = await caller.receive_until(ResponseDone)

        assert done.event == ResponseDone("completed")


# Connections


QUESTION_FRAMES = len(frames(asked()))


@pytest.mark.parametrize("after", range(10, QUESTION_FRAMES, 14))
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


async def test_a_session_that_is_taken_over_begins_anew() -> None:
    async with called(repeat) as caller:
        await caller.send(RealtimeInputFrame.text("of the former owner"))

        owner = await connected(caller.adapter)
        await owner.send(RealtimeInputFrame.request_response("new"))
        await owner.receive_until(ResponseDone)

        assert owner.said() == ["new"]


# Bounds


async def test_a_send_waits_while_a_second_of_input_lies_unheard() -> None:
    async with called() as caller:
        frame = RealtimeInputFrame.audio(bytes(640))
        taken = 0
        while caller.adapter.send_nowait(SESSION, frame):
            taken += 1

        await caller.adapter.send(SESSION, frame)

        assert taken == 50


async def test_frames_of_any_size_are_taken_one_at_a_time() -> None:
    async with called() as caller:
        large = RealtimeInputFrame.audio(bytes(1_000_000))

        assert caller.adapter.send_nowait(SESSION, large)
        assert not caller.adapter.send_nowait(SESSION, RealtimeInputFrame.audio(b"\0\0"))


async def test_a_send_that_waits_when_the_connection_dies_was_not_delivered() -> None:
    async def wait_for_room() -> None:
        with pytest.raises(ProviderConnectionLost) as lost:
            await caller.adapter.send(SESSION, frame)
        outcomes.append(lost.value.delivered)

    outcomes: list[bool | None] = []
    frame = RealtimeInputFrame.audio(bytes(640))
    async with called() as caller, anyio.create_task_group() as tasks:
        while caller.adapter.send_nowait(SESSION, frame):
            pass
        tasks.start_soon(wait_for_room)
        await anyio.lowlevel.checkpoint()
        caller.adapter.drop(SESSION)

    assert outcomes == [False]


async def test_an_answer_that_nobody_receives_is_not_written_on() -> None:
    pieces = 0

    async def count(question: str) -> AsyncIterator[str]:
        nonlocal pieces
        while True:
            pieces += 1
            yield "And so on. "

    async with called(count) as caller:
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseStarted)
        await anyio.wait_all_tasks_blocked()

        assert 0 < pieces < 5


async def test_what_nobody_receives_stops_the_listener_and_then_the_sender() -> None:
    async def write() -> None:
        while True:
            await caller.send(RealtimeInputFrame.request_response("x"))

    async with called(repeat) as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        waiting = len(caller.sent)
        await caller.receive_until(ResponseDone, times=60)
        tasks.cancel_scope.cancel()

    assert waiting < 100


async def test_text_for_which_no_answer_is_asked_has_a_bound() -> None:
    async with called(repeat) as caller:
        await caller.send(RealtimeInputFrame.text("x" * 60_000))
        with pytest.raises(ProviderFailure, match="request_response"):
            await caller.send(RealtimeInputFrame.text("x" * 10_000))

        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseStarted)
        await caller.adapter.interrupt(SESSION, None)
        await caller.send(RealtimeInputFrame.text("x" * 60_000))


async def test_text_that_is_replayed_counts_once() -> None:
    async def measure(question: str) -> str:
        return str(len(question))

    async with called(measure) as caller:
        await caller.send(RealtimeInputFrame.text("x" * 60_000))

        await caller.restart()
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseDone)

        assert caller.said() == ["60000"]


async def test_the_recogniser_gets_20_ms_at_a_time_and_the_loop_turns_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = 0
    fed: list[tuple[int, int]] = []
    feed = Recogniser.feed

    def watched(self: Recogniser, pcm: bytes) -> None:
        fed.append((len(pcm), turns))
        feed(self, pcm)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    monkeypatch.setattr(Recogniser, "feed", watched)
    async with called() as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(count_turns)
        # A whole sentence at once, so that nothing but the adapter itself makes pauses.
        await caller.send(RealtimeInputFrame.audio(asked()))
        await caller.receive_until(ResponseDone)
        tasks.cancel_scope.cancel()

    assert caller.heard() == [QUESTION]
    assert max(size for size, _ in fed) <= PIECE_BYTES
    # Tasks that are ready run in any order, so the loop may have turned after the other task's step.
    assert all(earlier < later for (_, earlier), (_, later) in zip(fed, fed[2:], strict=False))


# Sessions


async def test_sessions_hear_what_is_said_to_them() -> None:
    async with LocalSpeechAdapter(sessions=2) as adapter, anyio.create_task_group() as tasks:
        callers = [await connected(adapter, RealtimeSessionId(name)) for name in ("first", "second")]
        for caller, question in zip(callers, (QUESTION, OTHER_QUESTION), strict=True):
            tasks.start_soon(caller.say, asked(question))
            tasks.start_soon(caller.receive_until, ResponseDone)

    assert [caller.heard() for caller in callers] == [[QUESTION], [OTHER_QUESTION]]


async def test_more_sessions_than_it_was_made_for_are_refused_until_one_is_closed() -> None:
    async with called() as caller:
        with pytest.raises(ProviderFailure, match="all 1 sessions are taken"):
            await connected(caller.adapter, RealtimeSessionId("another"))
        await caller.adapter.close(SESSION, RealtimeCloseReason.NORMAL)

        await connected(caller.adapter, RealtimeSessionId("another"))


async def test_a_session_that_is_not_known_is_an_error() -> None:
    async with called() as caller:
        with pytest.raises(SessionStateError, match="connect it first"):
            await caller.adapter.receive(RealtimeSessionId("another"))


async def test_an_adapter_that_is_not_open_says_so() -> None:
    with pytest.raises(ContractViolation, match="async with"):
        await connected(LocalSpeechAdapter())


async def test_what_is_raised_in_its_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with called():
            raise ZeroDivisionError


@pytest.mark.parametrize(
    "frame",
    [
        RealtimeInputFrame.image(b"\1"),
        RealtimeInputFrame.tool_result("call.1", "{}"),
        RealtimeInputFrame.media_ref(RealtimeMediaKind.AUDIO, "content.1"),
        RealtimeInputFrame.audio(bytes(640), audio_format=AudioFormat(sample_rate=8000)),
    ],
    ids=["image", "tool result", "reference", "other rate"],
)
async def test_what_it_cannot_hear_or_read_is_refused(frame: RealtimeInputFrame) -> None:
    async with called() as caller:
        with pytest.raises(ProviderFailure, match="takes audio") as refused:
            await caller.send(frame)

        assert refused.value.retry == "not_retryable"
