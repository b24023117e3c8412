"""Which input a resumption handle brings back, concluded from when things happened."""

from __future__ import annotations

from realtime_async.adapters.gemini.coverage import Coverage, InputKind, Kept

MEDIA, CONTENT, ASKS = InputKind.MEDIA, InputKind.CONTENT, InputKind.ASKS
ENDS_TURN, RESULT, NOTHING = InputKind.ENDS_TURN, InputKind.RESULT, InputKind.NOTHING


def sent(coverage: Coverage, kind: InputKind, numbers: range, since: float = 0.0) -> float:
    """Send frames of 20 ms; return when the last one had gone."""
    for place, number in enumerate(numbers):
        coverage.sent(number, kind, since + place * 0.02)
    return since + len(numbers) * 0.02


def answered(coverage: Coverage, now: float) -> None:
    coverage.answer_began(now)
    coverage.answer_ended()


def test_without_a_handle_nothing_is_kept() -> None:
    coverage = Coverage()
    coverage.sent(1, ASKS, 0.0)
    answered(coverage, 5.0)

    assert coverage.kept == Kept()


def test_a_handle_keeps_the_audio_sent_a_second_before_the_answer_began() -> None:
    coverage = Coverage()
    now = sent(coverage, MEDIA, range(1, 101))
    answered(coverage, now)

    coverage.handle_came(now + 1)

    assert coverage.kept.through == 51


def test_a_handle_during_an_answer_keeps_nothing_of_its_question() -> None:
    coverage = Coverage()
    now = sent(coverage, MEDIA, range(1, 101))
    coverage.answer_began(now)

    coverage.handle_came(now + 1)

    assert coverage.kept.through == 0


def test_a_turn_that_the_program_ended_is_kept_whole() -> None:
    coverage = Coverage()
    now = sent(coverage, MEDIA, range(1, 101))
    coverage.sent(101, ENDS_TURN, now)
    sent(coverage, MEDIA, range(102, 104), now)
    answered(coverage, now + 0.1)

    coverage.handle_came(now + 0.2)

    assert coverage.kept.through == 101


def test_an_answer_is_to_the_question_that_waited_longest() -> None:
    coverage = Coverage()
    coverage.sent(1, CONTENT, 0.0)
    coverage.sent(2, ASKS, 0.0)
    coverage.sent(3, ASKS, 0.1)
    answered(coverage, 0.3)

    coverage.handle_came(0.4)

    assert coverage.kept.through == 2


def test_a_handle_between_answers_keeps_every_question_sent_a_second_before() -> None:
    coverage = Coverage()
    coverage.sent(1, ASKS, 0.0)
    coverage.sent(2, ASKS, 0.1)
    answered(coverage, 0.3)

    coverage.handle_came(1.2)

    assert coverage.kept.through == 2


def test_a_question_typed_while_somebody_speaks_is_kept_but_not_the_speech() -> None:
    coverage = Coverage()
    now = sent(coverage, MEDIA, range(1, 60))
    coverage.sent(60, ASKS, now)
    sent(coverage, MEDIA, range(61, 71), now)
    answered(coverage, now + 0.5)
    coverage.handle_came(now + 2)
    kept = coverage.kept

    coverage.resumed(kept)

    assert kept.through < 59
    assert coverage.knows(60, ASKS)
    assert not coverage.knows(59, MEDIA)
    assert coverage.knows(kept.through, MEDIA)


def test_a_tool_result_belongs_to_the_answer_being_given() -> None:
    coverage = Coverage()
    coverage.sent(1, ASKS, 0.0)
    coverage.answer_began(0.1)
    coverage.sent(2, RESULT, 0.2)
    coverage.answer_ended()

    coverage.handle_came(0.3)

    assert coverage.kept.through == 2


def test_a_frame_without_a_message_keeps_nothing_back() -> None:
    coverage = Coverage()
    coverage.sent(1, ASKS, 0.0)
    coverage.sent(2, NOTHING, 0.0)
    answered(coverage, 0.1)

    coverage.handle_came(0.2)

    assert coverage.kept.through == 2


def test_an_answer_cut_off_is_still_an_answer() -> None:
    coverage = Coverage()
    coverage.sent(1, ASKS, 0.0)
    answered(coverage, 0.1)
    coverage.answer_ended()

    coverage.handle_came(0.2)

    assert coverage.kept.through == 1


def test_a_new_connection_knows_what_was_kept_and_then_what_it_is_told() -> None:
    coverage = Coverage()
    coverage.sent(1, ASKS, 0.0)
    answered(coverage, 0.1)
    coverage.handle_came(0.2)
    kept = coverage.kept
    coverage.sent(2, ASKS, 5.0)

    coverage.resumed(kept)
    coverage.handle_came(20.0)
    before_replay = coverage.kept.through
    coverage.sent(2, ASKS, 20.0)
    coverage.handle_came(30.0)

    assert before_replay == 1
    assert coverage.kept.through == 2


def test_numbers_go_on_for_frames_that_bear_none() -> None:
    coverage = Coverage()
    coverage.sent(coverage.next_number, ASKS, 0.0)
    coverage.sent(coverage.next_number, MEDIA, 0.0)
    coverage.resumed(Kept())

    assert coverage.next_number == 3


def test_only_audio_that_no_answer_knew_before_is_committed() -> None:
    coverage = Coverage()
    now = sent(coverage, MEDIA, range(1, 101))

    assert coverage.answer_began(now)
    coverage.answer_ended()
    assert not coverage.answer_began(now)
    assert coverage.answer_began(now + 5)


def test_an_hour_of_audio_without_an_answer_is_not_remembered_and_not_claimed() -> None:
    coverage = Coverage()
    now = sent(coverage, MEDIA, range(1, 101))
    answered(coverage, now)
    sent(coverage, MEDIA, range(101, 10_001), now)

    coverage.handle_came(now + 200)

    assert coverage.kept.through == 51
