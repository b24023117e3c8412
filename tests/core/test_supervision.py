"""When a connection is to be replaced, and why."""

from __future__ import annotations

import math

import pytest

from realtime_async._core.accounting import RealtimeRestartReason as Reason
from realtime_async._core.accounting import RestartReport
from realtime_async._core.events import (
    GoAway,
    InputCommitted,
    InputTranscript,
    OutputAudio,
    OutputText,
    OutputTranscript,
    ProviderWarning,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    Restarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolCallCancelled,
)
from realtime_async._core.restarts import RestartPolicy
from realtime_async._core.supervision import Supervision, Turn

POLICY = RestartPolicy(max_connection_age_s=540, turn_wait_s=10, stalled_after_s=30, unanswered_after_s=None)
RESTARTED = Restarted(RestartReport(Reason.CONNECTION_LOST, 0.8, 1))
WHOLE_TURN: list[RealtimeEvent] = [
    SpeechStarted(), SpeechStopped(), InputCommitted(), ResponseStarted(), OutputAudio(), ResponseDone(),
]  # fmt: skip


def watched(*events: RealtimeEvent, at: float = 0.0, policy: RestartPolicy = POLICY) -> Supervision:
    supervision = Supervision(policy, 0.0)
    for event in events:
        supervision.heard(event, at)
    return supervision


def test_between_turns_nobody_speaks_and_nobody_is_about_to() -> None:
    turn, over = Turn(), []

    for event in WHOLE_TURN:
        turn.heard(event)
        over.append(turn.is_over)

    assert over == [False, False, False, False, False, True]


def test_who_talks_over_an_answer_has_the_turn_when_it_is_done() -> None:
    turn = Turn()
    for event in (ResponseStarted(), SpeechStarted(), ResponseDone("cancelled")):
        turn.heard(event)

    assert not turn.is_over


CALLED: list[RealtimeEvent] = [ResponseStarted(), ToolCall(), ResponseDone()]


def test_who_has_called_a_tool_has_the_turn_until_it_says_what_came_of_it() -> None:
    turn, over = Turn(), []

    for event in (*CALLED, ResponseStarted(), OutputAudio(), ResponseDone()):
        turn.heard(event)
        over.append(turn.is_over)

    assert over == [False] * 5 + [True]


@pytest.mark.parametrize("is_told", [True, False])
def test_what_came_of_a_tool_may_be_said_in_the_answer_that_called_it_once_that_is_told(
    is_told: bool,
) -> None:
    turn = Turn()
    for event in CALLED[:2]:
        turn.heard(event)
    if is_told:
        turn.told()
    for event in WHOLE_TURN[-2:]:
        turn.heard(event)

    assert turn.is_over is is_told


def test_what_is_told_of_one_tool_is_not_told_of_the_next() -> None:
    turn = Turn()
    for event in CALLED:
        turn.heard(event)
    turn.told()
    for again in (ToolCall(), OutputText(), ResponseDone()):
        turn.heard(again)

    assert not turn.is_over


OWED: dict[str, list[RealtimeEvent]] = {
    "cut off": [ResponseStarted(), OutputAudio()],
    "owed": [InputCommitted()],
    "to say what came of a tool": CALLED,
}


@pytest.mark.parametrize("events", OWED.values(), ids=OWED)
def test_an_answer_is_owed_over_a_restart_until_it_is_given(events: list[RealtimeEvent]) -> None:
    turn, over = Turn(), []
    for event in events:
        turn.heard(event)

    for event in (RESTARTED, ResponseStarted(), ResponseDone()):
        turn.heard(event)
        over.append(turn.is_over)

    assert over == [False, False, True]


@pytest.mark.parametrize("event", [ResponseStarted(), InputCommitted()], ids=["begun", "owed"])
def test_an_answer_that_was_silenced_is_not_waited_for_after_a_restart(event: RealtimeEvent) -> None:
    turn = Turn()
    turn.heard(event)

    turn.silenced(turn.so_far)
    turn.heard(RESTARTED)

    assert turn.is_over


@pytest.mark.parametrize(
    "meanwhile",
    [[ResponseStarted()], [ResponseDone(), ResponseStarted()], [ResponseDone(), InputCommitted()]],
    ids=["begun", "another has begun", "another is owed"],
)
def test_what_came_while_an_answer_was_being_silenced_is_waited_for(meanwhile: list[RealtimeEvent]) -> None:
    turn = Turn()
    turn.heard(InputCommitted())
    if len(meanwhile) > 1:
        turn.heard(ResponseStarted())
    so_far = turn.so_far

    for event in meanwhile:
        turn.heard(event)
    turn.silenced(so_far)
    turn.heard(RESTARTED)

    assert not turn.is_over


def test_whoever_spoke_when_the_connection_was_replaced_is_heard_anew() -> None:
    turn = Turn()
    for event in (SpeechStarted(), RESTARTED):
        turn.heard(event)

    assert turn.is_over


def test_who_takes_the_call_back_waits_for_no_tool() -> None:
    turn = Turn()
    for event in (*CALLED, ToolCallCancelled(("call.1",))):
        turn.heard(event)

    assert turn.is_over


def test_what_was_asked_while_a_tool_was_called_is_owed_when_that_answer_is_done() -> None:
    turn = Turn()
    for event in CALLED[:2]:
        turn.heard(event)

    turn.asked()
    turn.heard(CALLED[2])

    assert not turn.is_over


def test_a_connection_is_settled_when_it_has_answered_or_lasts() -> None:
    policy = RestartPolicy(max_wait_s=10)
    supervision = watched(ResponseStarted(), OutputAudio(), ResponseDone("incomplete"), at=5, policy=policy)
    at_first, later = supervision.is_settled(9.9), supervision.is_settled(10)

    supervision.heard(ResponseDone("completed"), 6)
    answered = supervision.is_settled(6)
    supervision.connected(7)

    assert (at_first, later, answered) == (False, True, True)
    assert not supervision.is_settled(16.9)
    assert supervision.is_settled(17)


def test_a_connection_is_replaced_at_its_age() -> None:
    supervision = watched()

    assert supervision.deadline == 540
    assert supervision.due(539.9) is None
    assert supervision.due(540) is Reason.AGE


@pytest.mark.parametrize("events", [WHOLE_TURN[:count] for count in range(2, 6)], ids=len)
def test_a_planned_restart_waits_for_the_end_of_the_turn(events: list[RealtimeEvent]) -> None:
    supervision = watched(*events)
    at_its_age = supervision.due(540)

    supervision.heard(ResponseDone(), 545)

    assert at_its_age is None
    assert supervision.due(545) is Reason.AGE


def test_a_turn_that_does_not_end_is_waited_for_so_long_and_no_longer() -> None:
    supervision = watched(ResponseStarted())
    supervision.due(540)

    assert supervision.deadline == 550
    assert supervision.due(549.9) is None
    assert supervision.due(550) is Reason.AGE


@pytest.mark.parametrize("time_left_s, latest", [(None, 110), (60, 110), (5, 104), (0, 100), (-1, 100)])
def test_a_provider_that_says_goodbye_is_left_before_it_goes(
    time_left_s: float | None, latest: float
) -> None:
    supervision = watched(ResponseStarted(), GoAway(time_left_s), at=100)

    assert supervision.is_planned
    assert supervision.deadline == latest
    assert supervision.due(latest) is Reason.GO_AWAY


def test_a_goodbye_between_turns_is_heeded_at_once() -> None:
    assert watched(GoAway(50), at=100).due(100) is Reason.GO_AWAY


def test_frames_that_go_out_without_a_word_back_are_a_stall() -> None:
    supervision = watched()
    supervision.went_out(100)
    supervision.went_out(120)

    assert supervision.deadline == 130
    assert supervision.due(129.9) is None
    assert supervision.due(130) is Reason.STALLED


@pytest.mark.parametrize("event, is_progress", [(OutputAudio(), True), (ToolCall(), True), (GoAway(), False),
                                                (ProviderWarning(), False)])  # fmt: skip
def test_only_what_concerns_the_conversation_is_progress(event: RealtimeEvent, is_progress: bool) -> None:
    supervision = watched()
    supervision.went_out(100)

    assert supervision.heard(event, 110) is is_progress
    stalled = supervision.due(130) is Reason.STALLED
    assert stalled is not is_progress


@pytest.mark.parametrize(
    "event, gives_hope",
    [(ResponseStarted(), False), (ResponseDone("incomplete"), False), (ResponseDone("completed"), True)],
)
def test_an_answer_of_which_nothing_came_is_no_stall_and_no_reason_to_hope(
    event: RealtimeEvent, gives_hope: bool
) -> None:
    supervision = watched()
    supervision.went_out(100)

    assert supervision.heard(event, 110) is gives_hope
    assert supervision.due(130) is None


# -- an answer that is owed

OWING = RestartPolicy(max_connection_age_s=None)


def test_a_provider_that_was_asked_and_says_nothing_has_stalled() -> None:
    supervision = watched(policy=OWING)
    supervision.went_out(0)
    supervision.asked(100)

    assert supervision.due(129.9) is None
    assert supervision.due(130) is Reason.STALLED


@pytest.mark.parametrize(
    "event", [ResponseStarted(), OutputAudio(), OutputText(), OutputTranscript()], ids=str
)
def test_one_that_begins_an_answer_owes_the_rest(event: RealtimeEvent) -> None:
    supervision = watched(event, at=100, policy=OWING)

    assert supervision.due(130) is Reason.STALLED


def test_what_it_says_meanwhile_gives_it_time_and_what_is_no_progress_does_not() -> None:
    supervision = watched(policy=OWING)
    supervision.asked(100)
    supervision.heard(InputCommitted(), 110)
    supervision.heard(ProviderWarning(), 120)

    assert supervision.deadline == 140


@pytest.mark.parametrize("event", [ResponseDone(), SpeechStarted(), ToolCall()], ids=str)
def test_it_owes_nothing_when_it_is_done_or_it_is_somebody_elses_turn(event: RealtimeEvent) -> None:
    assert watched(ResponseStarted(), OutputAudio(), event, policy=OWING).deadline == math.inf


@pytest.mark.parametrize("event", [SpeechStopped(), InputCommitted(), InputTranscript()], ids=str)
def test_what_a_person_said_need_not_be_answered(event: RealtimeEvent) -> None:
    """The program may answer by itself, or have told the provider to listen only."""
    assert watched(SpeechStarted(), event, policy=OWING).deadline == math.inf


def test_an_answer_that_nobody_wants_is_not_owed() -> None:
    supervision = watched(ResponseStarted(), policy=OWING)

    supervision.interrupted()

    assert supervision.deadline == math.inf


def test_a_loop_that_did_not_listen_gives_an_answer_its_time_anew() -> None:
    supervision = watched(ResponseStarted(), at=100, policy=OWING)
    supervision.deaf()
    while_deaf = supervision.deadline
    supervision.listens(200)

    assert while_deaf == math.inf
    assert supervision.deadline == 230


def test_a_new_connection_owes_nothing_that_the_old_one_did() -> None:
    supervision = watched(ResponseStarted(), policy=OWING)

    supervision.connected(10)

    assert supervision.deadline == math.inf


def test_who_sends_nothing_waits_for_nothing() -> None:
    assert watched(policy=RestartPolicy(max_connection_age_s=None, stalled_after_s=1)).deadline == math.inf


def test_a_loop_that_does_not_listen_cannot_blame_the_provider() -> None:
    supervision = watched()
    supervision.went_out(100)
    supervision.deaf()
    while_deaf = supervision.due(200)
    supervision.listens(201)
    supervision.went_out(201)

    assert while_deaf is None
    assert supervision.due(230) is None
    assert supervision.due(231) is Reason.STALLED


def test_a_new_connection_is_watched_from_its_beginning() -> None:
    supervision = watched(ResponseStarted(), GoAway(1), at=100)
    supervision.went_out(100)

    supervision.connected(101)

    assert supervision.due(300) is None
    assert supervision.deadline == 101 + 540
    assert supervision.turn.is_over


def test_what_a_new_connection_was_given_is_to_be_answered() -> None:
    supervision = watched()

    supervision.connected(100, unanswered=3)

    assert supervision.due(130) is Reason.STALLED


def test_without_limits_no_restart_is_ever_due() -> None:
    supervision = watched(policy=RestartPolicy(max_connection_age_s=None, unanswered_after_s=None))
    supervision.went_out(0)
    supervision.asked(0)

    assert supervision.deadline == math.inf
    assert supervision.due(10**9) is None
