"""Which output is kept back, of answers with ids and of those without."""

from __future__ import annotations

import weakref

from realtime_async._core.events import (
    OutputAudio,
    OutputText,
    OutputTranscript,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    ToolCall,
)
from realtime_async._core.fence import OutputFence
from realtime_async._core.frames import RealtimeOutputFrame
from realtime_async._core.identifiers import RealtimeResponseId


def frame(event: RealtimeEvent, response_id: str | None = None) -> RealtimeOutputFrame:
    return RealtimeOutputFrame.of(event, response_id=response_id)


def fence_with(*frames: RealtimeOutputFrame) -> OutputFence:
    fence = OutputFence()
    for each in frames:
        assert fence.passes(each)
    return fence


def test_the_answer_being_given_is_kept_back_until_it_is_done() -> None:
    fence = fence_with(frame(ResponseStarted(), "r1"), frame(OutputAudio(), "r1"))
    fence.raise_against(None)

    for event in (OutputAudio(), OutputText("a"), OutputTranscript("a")):
        assert not fence.passes(frame(event, "r1"))
    assert not fence.passes(frame(OutputAudio()))
    assert fence.passes(frame(ResponseDone("cancelled"), "r1"))
    assert fence.passes(frame(OutputAudio(), "r2"))


def test_what_is_no_output_passes() -> None:
    fence = fence_with(frame(OutputAudio(), "r1"))
    fence.raise_against(None)

    assert fence.passes(frame(SpeechStarted(20)))
    assert fence.passes(frame(ToolCall("c", "n"), "r1"))


def test_late_output_of_an_interrupted_answer_does_not_hide_the_next_one() -> None:
    fence = fence_with(frame(OutputAudio(), "r1"))
    fence.raise_against(None)
    assert fence.passes(frame(ResponseStarted(), "r2"))

    assert not fence.passes(frame(OutputAudio(), "r1"))
    assert fence.passes(frame(OutputAudio(), "r2"))
    assert fence.current == "r2"


def test_an_answer_may_be_named_before_it_is_heard() -> None:
    fence = OutputFence()
    fence.raise_against(RealtimeResponseId("r9"))

    assert not fence.passes(frame(OutputAudio(), "r9"))
    assert fence.passes(frame(OutputAudio(), "r8"))


def test_without_an_answer_there_is_nothing_to_keep_back() -> None:
    fence = fence_with(frame(OutputAudio(), "r1"), frame(ResponseDone(), "r1"))

    fence.raise_against(None)

    assert fence.passes(frame(OutputAudio(), "r2"))


def test_where_the_provider_gives_no_ids_the_current_answer_is_meant() -> None:
    fence = fence_with(frame(OutputAudio()))
    fence.raise_against(RealtimeResponseId("whichever"))

    assert not fence.passes(frame(OutputAudio()))
    assert fence.passes(frame(ResponseDone()))
    assert fence.passes(frame(OutputAudio()))


def test_a_new_beginning_without_ids_is_another_answer() -> None:
    fence = fence_with(frame(OutputAudio()))
    fence.raise_against(None)

    assert fence.passes(frame(ResponseStarted()))
    assert fence.passes(frame(OutputAudio()))


def test_the_end_of_another_answer_ends_nothing() -> None:
    fence = fence_with(frame(OutputAudio(), "r2"))
    fence.raise_against(None)
    assert fence.passes(frame(ResponseDone("cancelled"), "r1"))

    assert fence.current == "r2"
    assert not fence.passes(frame(OutputAudio(), "r2"))


def test_a_refused_interrupt_lets_the_answer_through_again() -> None:
    fence = fence_with(frame(OutputAudio(), "r1"))
    fence.raise_against(RealtimeResponseId("r0"))
    raised = fence.raise_against(None)

    fence.lift(raised)

    assert fence.passes(frame(OutputAudio(), "r1"))
    assert not fence.passes(frame(OutputAudio(), "r0"))


def test_an_answer_is_kept_back_until_every_interrupt_of_it_is_refused() -> None:
    fence = fence_with(frame(OutputAudio(), "r1"))
    raised = [fence.raise_against(None), fence.raise_against(RealtimeResponseId("r1"))]

    fence.lift(raised[0])
    assert not fence.passes(frame(OutputAudio(), "r1"))
    fence.lift(raised[1])

    assert fence.passes(frame(OutputAudio(), "r1"))


def test_an_interrupt_that_was_not_refused_outlasts_one_that_is() -> None:
    fence = fence_with(frame(OutputAudio(), "r1"))
    raised = [fence.raise_against(None) for _ in range(3)]

    fence.lift(raised[0])
    fence.keep(raised[1])
    fence.lift(raised[2])

    assert not fence.passes(frame(OutputAudio(), "r1"))


def test_the_end_of_an_interrupt_says_nothing_of_the_answer_after_the_one_it_was_for() -> None:
    fence = fence_with(frame(OutputAudio()))
    first, kept = fence.raise_against(None), fence.raise_against(None)
    assert fence.passes(frame(ResponseDone("cancelled")))
    assert fence.passes(frame(OutputAudio()))
    second = fence.raise_against(None)

    fence.keep(kept)
    fence.lift(first)
    assert not fence.passes(frame(OutputAudio()))
    fence.lift(second)

    assert fence.passes(frame(OutputAudio()))


def test_an_answer_without_an_id_ends_with_its_connection() -> None:
    fence = fence_with(frame(OutputAudio()))
    fence.raise_against(None)

    fence.connection_replaced()

    assert fence.current is None
    assert fence.passes(frame(OutputAudio()))


def test_the_answers_kept_back_are_bounded() -> None:
    fence = OutputFence()
    for number in range(1025):
        fence.raise_against(RealtimeResponseId(f"r{number}"))

    assert fence.passes(frame(OutputAudio(), "r0"))
    assert not fence.passes(frame(OutputAudio(), "r1"))
    assert not fence.passes(frame(OutputAudio(), "r1024"))


def test_an_interrupt_is_not_remembered_once_it_is_known_how_it_ended() -> None:
    """However often one answer is interrupted that never ends."""
    fence = fence_with(frame(OutputAudio(), "r1"))
    raised = [fence.raise_against(None) for _ in range(3)]
    remembered = [weakref.ref(each) for each in raised]

    fence.lift(raised[0])
    fence.keep(raised[1])
    raised.clear()

    assert [each() for each in remembered] == [None, None, None]
    assert not fence.passes(frame(OutputAudio(), "r1"))


def test_an_answer_that_is_done_leaves_room_for_those_that_are_not() -> None:
    fence = OutputFence()
    fence.raise_against(RealtimeResponseId("open"))
    for number in range(2000):
        fence.raise_against(RealtimeResponseId(f"r{number}"))
        assert fence.passes(frame(ResponseDone("cancelled"), f"r{number}"))

    assert not fence.passes(frame(OutputAudio(), "open"))
